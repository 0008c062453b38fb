import { type Needed, optionReader } from '../../tensor/options.js';
import { normalizeDim, showShape } from '../../tensor/shape.js';
import { isTensor, type Tensor } from '../../tensor/tensor.js';
import { readValueAlong, type AlongArgs, type ValueAlongArgs } from '../base/along.js';
import { clone } from '../base/copy.js';
import { checkTensors } from '../base/tensors.js';
import { split, unsafeSplit } from '../base/pieces.js';
import { narrow, slice } from '../base/view.js';

/* Several views of one tensor, beside `split`, `chunk` and `unbind`. */

/** How many parts, or where each part but the first begins. */
export type Sections = number | readonly number[];

function parts(op: string, x: Tensor, sections: Sections, d: number): Tensor[] {
  const size = x.shape[d];
  if (size === undefined) throw new Error(`${op}: a zero-dim tensor cannot be split`);
  if (typeof sections !== 'number') {
    if (!Array.isArray(sections) || !sections.every(Number.isInteger))
      throw new Error(`${op}: expected a number of parts or an array of indices, got ${String(sections)}`);
    const bounds = [0, ...(sections as readonly number[]), size];
    return bounds.slice(1).map((end, i) => slice(x, d, bounds[i], end));
  }
  if (!Number.isInteger(sections) || sections < 1)
    throw new Error(`${op}: the number of parts must be a positive integer, got ${sections}`);
  const [least, longer] = [Math.floor(size / sections), size % sections];
  let at = 0;
  return Array.from({ length: sections }, (_, i) => {
    const length = least + (i < longer ? 1 : 0);
    return narrow(x, d, (at += length) - length, length);
  });
}

const readSections = async (sections: Tensor): Promise<Sections> => {
  if (sections.ndim > 1 || sections.dtype !== 'int32')
    throw new Error(
      `tensorSplit: expected indices as a vector or a count as a zero-dim tensor, int32, got shape ${showShape(sections.shape)} (${sections.dtype})`,
    );
  return sections.ndim === 0 ? sections.item() : Array.from(await sections.data());
};

type SplitOptions = { dim?: number };

const readSplit = optionReader(
  'tensorSplit',
  { sections: null as Sections | Tensor | null, dim: 0, indices: null as Sections | Tensor | null },
  'sections',
  'dim',
);

/**
 * `torch.tensor_split`: so many parts along `dim`, of sizes that differ by at most 1, or parts that begin at
 * the given indices; views. By name they are `sections` and `indices`. A tensor of them must be read first,
 * so that it gives a promise.
 */
export function tensorSplit(
  x: Tensor,
  ...args:
    | [sections: Sections, ...AlongArgs]
    | [options: SplitOptions & ({ sections: number } | { indices: readonly number[] })]
): Tensor[];
export function tensorSplit(
  x: Tensor,
  ...args:
    [sections: Tensor, ...AlongArgs] | [options: SplitOptions & ({ sections: Tensor } | { indices: Tensor })]
): Promise<Tensor[]>;
export function tensorSplit(x: Tensor, ...args: unknown[]): Tensor[] | Promise<Tensor[]> {
  checkTensors('tensorSplit', x);
  const { indices, sections: count, dim } = readSplit(args);
  const sections = indices ?? count;
  if (sections === null)
    throw new Error("tensorSplit: 'sections' is missing: how many parts, or where they begin");
  const d = normalizeDim('tensorSplit', dim, x.ndim);
  if (!isTensor(sections)) return parts('tensorSplit', x, sections, d);
  return readSections(sections).then((known) => parts('tensorSplit', x, known, d));
}

type SplitAlong = (
  x: Tensor,
  ...args: [sections: Sections] | [options: { sections: number } | { indices: readonly number[] }]
) => Tensor[];

/** As {@link tensorSplit} along a dim of its own; a count must divide the size. */
const splitAlong =
  (op: string, rank: number, dimOf: (rank: number) => number): SplitAlong =>
  (x, ...args) => {
    const given = optionReader(
      op,
      { sections: null as Sections | null, indices: null as Sections | null },
      'sections',
    )(args);
    const sections = given.indices ?? given.sections;
    if (sections === null)
      throw new Error(`${op}: 'sections' is missing: how many parts, or where they begin`);
    if (x.ndim < rank)
      throw new Error(`${op}: expected at least ${rank} dims, got shape ${showShape(x.shape)}`);
    const d = dimOf(x.ndim);
    if (typeof sections === 'number' && (x.shape[d] as number) % sections !== 0) {
      throw new Error(
        `${op}: ${sections} parts do not divide dim ${d} of shape ${showShape(x.shape)}; tensorSplit() gives unequal ones`,
      );
    }
    return parts(op, x, sections, d);
  };

/** `torch.hsplit`: {@link tensorSplit} into equal parts along dim 1 (a vector's dim 0). */
export const hsplit: SplitAlong = splitAlong('hsplit', 1, (rank) => (rank === 1 ? 0 : 1));
/** `torch.vsplit`: {@link tensorSplit} into equal parts along dim 0. */
export const vsplit: SplitAlong = splitAlong('vsplit', 2, () => 0);
/** `torch.dsplit`: {@link tensorSplit} into equal parts along dim 2. */
export const dsplit: SplitAlong = splitAlong('dsplit', 3, () => 2);

type SizesArgs = ValueAlongArgs<readonly number[], 'splitSizes'>;

function readSizes(op: string, args: SizesArgs): [sizes: readonly number[], dim: number] {
  const read = readValueAlong<readonly number[]>(op, 'splitSizes', args);
  if (!Array.isArray(read[0])) throw new Error(`${op}: expected an array of sizes`);
  return read;
}

/** `torch.split_with_sizes`: {@link split} into parts of these sizes. */
export function splitWithSizes(x: Tensor, ...args: SizesArgs): Tensor[] {
  return split(x, ...readSizes('splitWithSizes', args));
}

/** `torch.unsafe_split_with_sizes`: `unsafeSplit` into parts of these sizes. */
export function unsafeSplitWithSizes(x: Tensor, ...args: SizesArgs): Tensor[] {
  return unsafeSplit(x, ...readSizes('unsafeSplitWithSizes', args));
}

/** `torch.narrow_copy`: `narrow` as a copy. */
export function narrowCopy(
  x: Tensor,
  ...args: Needed<[dim: number, start: number, length: number], ['dim', 'start', 'length']>
): Tensor {
  checkTensors('narrowCopy', x);
  return clone(narrow(x, ...args), { memoryFormat: 'contiguous' });
}
