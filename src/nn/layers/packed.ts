/** `torch.nn.utils.rnn`: sequences of different lengths in one tensor. */
import { defineComposite } from '../../autograd/define.js';
import { cat, full, indexSelect, narrow, reshape, select, tensor } from '../../ops/index.js';
import { optionReader, type Trailing, noMore } from '../../tensor/options.js';
import { showShape } from '../../tensor/shape.js';
import { isTensor, type Tensor } from '../../tensor/tensor.js';

/** Lengths on the host: numbers, or a short tensor of integers that was made from them. */
export type Lengths = readonly number[] | Tensor;

/**
 * `torch.nn.utils.rnn.PackedSequence`: the rows of all time steps one after the other, without padding. At
 * step `t` there are `batchSizes[t]` sequences, the longest first.
 */
export class PackedSequence {
  constructor(
    /** [sum of lengths, ...]. */
    readonly data: Tensor,
    readonly batchSizes: readonly number[],
    /** int32: which of the sequences given comes at each place; null where they were sorted. */
    readonly sortedIndices: Tensor | null = null,
    /** The inverse of `sortedIndices`. */
    readonly unsortedIndices: Tensor | null = null,
  ) {
    noMore(new.target.name, arguments, 4);
    const total = batchSizes.reduce((a, b) => a + b, 0);
    if (total !== data.shape[0])
      throw new Error(
        `PackedSequence: the batch sizes add up to ${total}, but data has shape ${showShape(data.shape)}`,
      );
  }

  /** The same packing of other data. */
  withData(data: Tensor): PackedSequence {
    return new PackedSequence(data, this.batchSizes, this.sortedIndices, this.unsortedIndices);
  }
}

function hostLengths(op: string, lengths: Lengths): number[] {
  const values = isTensor(lengths) ? lengths.hostValues() : lengths;
  if (values === null)
    throw new Error(
      `${op}: lengths must be known on the host; give an array of numbers (await lengths.toArray())`,
    );
  return [...values];
}

const int32 = (values: readonly number[]): Tensor =>
  tensor(Int32Array.from(values), { shape: [values.length] });

/** Rows of `rows` [M, ...] by position, at -1 the padding. */
function placed(rows: Tensor, positions: readonly number[], value: number): Tensor {
  const m = rows.shape[0] as number;
  if (!positions.includes(-1)) return indexSelect(rows, 0, int32(positions));
  const padding = full([1, ...rows.shape.slice(1)], value, { dtype: rows.dtype });
  return indexSelect(cat([rows, padding]), 0, int32(positions.map((at) => (at < 0 ? m : at))));
}

/** For each step and sequence, in that order or the other one, the position that `at` says. */
function grid(
  steps: number,
  batch: number,
  batchFirst: boolean,
  at: (step: number, b: number) => number,
): number[] {
  const positions = new Array<number>(steps * batch);
  for (let step = 0; step < steps; step++)
    for (let b = 0; b < batch; b++) positions[batchFirst ? b * steps + step : step * batch + b] = at(step, b);
  return positions;
}

const batchSizesOf = (sorted: readonly number[]): number[] =>
  Array.from({ length: sorted[0] as number }, (_, step) => sorted.filter((length) => length > step).length);

/** First row of each step. */
function startsOf(sizes: readonly number[]): number[] {
  let at = 0;
  return sizes.map((size) => (at += size) - size);
}

interface PackOptions {
  batchFirst: boolean;
  /**
   * The sequences come longest first; false sorts them (and what they go through comes back in this order).
   */
  enforceSorted: boolean;
}
const readPack = optionReader<PackOptions>(
  'packPaddedSequence',
  { batchFirst: false, enforceSorted: true },
  'batchFirst',
  'enforceSorted',
);

/**
 * `torch.nn.utils.rnn.pack_padded_sequence`: a padded batch [T, B, ...] (batch first: [B, T, ...]) and the
 * lengths of its sequences, without the padding.
 *
 * @throws Error when a length is not from 1 to T, or the sequences are not sorted and should be
 */
export const packPaddedSequence: (
  x: Tensor,
  lengths: Lengths,
  ...args: Trailing<[batchFirst: boolean, enforceSorted: boolean], Partial<PackOptions>>
) => PackedSequence = defineComposite('packPaddedSequence', (x: Tensor, given: Lengths, ...args) => {
  const op = 'packPaddedSequence';
  const { batchFirst, enforceSorted } = readPack(args);
  if (x.ndim < 2) throw new Error(`${op}: expected at least 2 dims, got shape ${showShape(x.shape)}`);
  const lengths = hostLengths(op, given);
  const [steps, batch] = (batchFirst ? [x.shape[1], x.shape[0]] : x.shape) as [number, number];
  if (lengths.length !== batch)
    throw new Error(`${op}: ${lengths.length} lengths for ${batch} sequences (shape ${showShape(x.shape)})`);
  if (!lengths.every((length) => Number.isInteger(length) && length > 0 && length <= steps))
    throw new Error(`${op}: lengths must be from 1 to ${steps}, got [${lengths.join(', ')}]`);
  const order = lengths.map((_, b) => b);
  if (!enforceSorted) order.sort((a, b) => (lengths[b] as number) - (lengths[a] as number));
  const sorted = order.map((b) => lengths[b] as number);
  if (sorted.some((length, i) => i > 0 && length > (sorted[i - 1] as number)))
    throw new Error(
      `${op}: lengths must not grow, got [${lengths.join(', ')}]; pass { enforceSorted: false }`,
    );
  const sizes = batchSizesOf(sorted);
  const positions = sizes.flatMap((size, step) =>
    order.slice(0, size).map((b) => (batchFirst ? b * steps + step : step * batch + b)),
  );
  const data = placed(reshape(x, [steps * batch, ...x.shape.slice(2)]), positions, 0);
  if (enforceSorted) return new PackedSequence(data, sizes);
  return new PackedSequence(data, sizes, int32(order), int32(order.map((_, b) => order.indexOf(b))));
});

interface PadPackedOptions {
  batchFirst: boolean;
  paddingValue: number;
  /** Steps of the result; default: those of the longest sequence. */
  totalLength: number | null;
}
const readPadPacked = optionReader<PadPackedOptions>(
  'padPackedSequence',
  { batchFirst: false, paddingValue: 0, totalLength: null },
  'batchFirst',
  'paddingValue',
  'totalLength',
);

/**
 * `torch.nn.utils.rnn.pad_packed_sequence`: the padded batch [T, B, ...] and the lengths, an int32 tensor.
 */
export const padPackedSequence: (
  packed: PackedSequence,
  ...args: Trailing<
    [batchFirst: boolean, paddingValue: number, totalLength: number],
    Partial<PadPackedOptions>
  >
) => [padded: Tensor, lengths: Tensor] = defineComposite(
  'padPackedSequence',
  (packed: PackedSequence, ...args): [Tensor, Tensor] => {
    const { batchFirst, paddingValue, totalLength } = readPadPacked(args);
    const { data, batchSizes, unsortedIndices } = packed;
    const batch = batchSizes[0] ?? 0;
    const steps = totalLength ?? batchSizes.length;
    if (steps < batchSizes.length)
      throw new Error(
        `padPackedSequence: totalLength ${steps} is less than the ${batchSizes.length} steps of the longest sequence`,
      );
    const place = unsortedIndices?.hostValues() ?? null;
    if (unsortedIndices !== null && place === null)
      throw new Error('padPackedSequence: the order of the packed sequences is not known on the host');
    const starts = startsOf(batchSizes);
    const positions = grid(steps, batch, batchFirst, (step, b) => {
      const at = place === null ? b : (place[b] as number);
      return at < (batchSizes[step] ?? 0) ? (starts[step] as number) + at : -1;
    });
    const lengths = Array.from({ length: batch }, (_, b) => {
      const at = place === null ? b : (place[b] as number);
      return batchSizes.filter((size) => size > at).length;
    });
    const shape = batchFirst ? [batch, steps] : [steps, batch];
    return [
      reshape(placed(data, positions, paddingValue), [...shape, ...data.shape.slice(1)]),
      int32(lengths),
    ];
  },
);

const readPad = optionReader(
  'padSequence',
  { batchFirst: false, paddingValue: 0 },
  'batchFirst',
  'paddingValue',
);

/**
 * `torch.nn.utils.rnn.pad_sequence`: sequences [L, ...] in one tensor [longest, B, ...], padded at the end.
 */
export const padSequence: (
  sequences: readonly Tensor[],
  ...args: Trailing<
    [batchFirst: boolean, paddingValue: number],
    { batchFirst?: boolean; paddingValue?: number }
  >
) => Tensor = defineComposite('padSequence', (sequences: readonly Tensor[], ...args): Tensor => {
  const { batchFirst, paddingValue } = readPad(args);
  if (sequences.length === 0) throw new Error('padSequence: expected at least one sequence');
  const lengths = sequences.map((x) => {
    if (x.ndim === 0) throw new Error('padSequence: a sequence needs at least one dim');
    return x.shape[0] as number;
  });
  const rows = cat(sequences);
  const starts = startsOf(lengths);
  const steps = Math.max(...lengths);
  const positions = grid(steps, lengths.length, batchFirst, (step, b) =>
    step < (lengths[b] as number) ? (starts[b] as number) + step : -1,
  );
  const shape = batchFirst ? [lengths.length, steps] : [steps, lengths.length];
  return reshape(placed(rows, positions, paddingValue), [...shape, ...rows.shape.slice(1)]);
});

const readUnpad = optionReader('unpadSequence', { batchFirst: false }, 'batchFirst');

/** `torch.nn.utils.rnn.unpad_sequence`: the sequences of a padded batch, without the padding (views). */
export function unpadSequence(
  padded: Tensor,
  lengths: Lengths,
  ...args: Trailing<[batchFirst: boolean], { batchFirst?: boolean }>
): Tensor[] {
  const { batchFirst } = readUnpad(args);
  return hostLengths('unpadSequence', lengths).map((length, b) =>
    narrow(select(padded, batchFirst ? 0 : 1, b), 0, 0, length),
  );
}

const readPackSequence = optionReader('packSequence', { enforceSorted: true }, 'enforceSorted');

/**
 * `torch.nn.utils.rnn.pack_sequence`: sequences [L, ...] packed, longest first unless `enforceSorted` is
 * false.
 */
export function packSequence(
  sequences: readonly Tensor[],
  ...args: Trailing<[enforceSorted: boolean], { enforceSorted?: boolean }>
): PackedSequence {
  const { enforceSorted } = readPackSequence(args);
  const lengths = sequences.map((x) => x.shape[0] as number);
  return packPaddedSequence(padSequence(sequences), lengths, { enforceSorted });
}

/** `torch.nn.utils.rnn.unpack_sequence`: the inverse of {@link packSequence}. */
export function unpackSequence(packed: PackedSequence): Tensor[] {
  noMore('unpackSequence', arguments, 1);
  const [padded, lengths] = padPackedSequence(packed);
  return unpadSequence(padded, lengths);
}
