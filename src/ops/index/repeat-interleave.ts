import { defineComposite } from '../../autograd/define.js';
import { optionReader } from '../../tensor/options.js';
import { normalizeDim, showShape } from '../../tensor/shape.js';
import { isTensor, type Tensor } from '../../tensor/tensor.js';
import { scoped } from '../../tensor/tidy.js';
import { checkOnDevice } from '../base/check.js';
import { endsOf, ownersOf, withTotal } from './compact.js';
import { clone, to } from '../base/copy.js';
import { indexSelect } from '../gather/gather.js';
import { expand, narrow, reshape, unsqueeze } from '../base/view.js';
import { checkTensors } from '../base/tensors.js';

export interface RepeatInterleaveOptions {
  /** Without it the flattened tensor is repeated. */
  dim?: number | null;
  /** The sum of a tensor of repeats: where it is known, nothing must be read. */
  outputSize?: number;
}

const read = optionReader(
  'repeatInterleave',
  {
    repeats: undefined as number | Tensor | undefined,
    dim: null as number | null,
    outputSize: undefined as number | undefined,
  },
  'repeats',
  'dim',
);

type Args<R, O> =
  [repeats: R, dim?: number | null, options?: O] | [repeats: R, options: O & { dim?: number | null }];
type Sized = { outputSize: number };
type Unsized = { outputSize?: undefined };

/**
 * `torch.repeat_interleave`: each entry of `dim` (or of the flattened tensor) `repeats` times in a row. A
 * tensor of repeats (int32; one for each entry, or one for all) needs `outputSize`, their sum, or gives a
 * promise: the sum is read from the GPU. Without anything to repeat, `x` has the repeats (one dim), and the
 * result is the int32 index of each, as often as it says.
 *
 * @throws Error for negative repeats that the host knows; (at the next await) DataError for those computed on
 * the GPU, and where the repeats do not add up to `outputSize`
 */
export function repeatInterleave(x: Tensor, ...args: Args<number, RepeatInterleaveOptions>): Tensor;
export function repeatInterleave(x: Tensor, ...args: Args<Tensor, Sized> | [options: Sized]): Tensor;
export function repeatInterleave(
  x: Tensor,
  ...args: Args<Tensor, Unsized> | [options?: Unsized]
): Promise<Tensor>;
export function repeatInterleave(x: Tensor, ...args: readonly unknown[]): Tensor | Promise<Tensor> {
  const { repeats, dim, outputSize } = read(args);
  checkTensors('repeatInterleave', x);
  if (repeats !== undefined && !isTensor(repeats)) return byNumber(x, repeats, dim, outputSize);
  const [source, counts] = repeats === undefined ? [null, x] : [x, repeats];
  if (source === null && dim !== null)
    throw new Error('repeatInterleave: dim says what is repeated; give the repeats as well');
  if (outputSize !== undefined) return byTensor(source, counts, dim, outputSize);
  const ends = scoped('repeatInterleave', () => endsOfRepeats(source, counts, dim));
  return withTotal('repeatInterleave', ends, source === null ? [] : [source], (total) =>
    repeated(source, ends, dim, total),
  );
}

const byNumber = defineComposite(
  'repeatInterleave',
  (x: Tensor, repeats: number, dim: number | null, outputSize?: number): Tensor => {
    if (!Number.isInteger(repeats) || repeats < 0)
      throw new Error(`repeatInterleave: repeats must be an integer of 0 or more, got ${repeats}`);
    const source = dim === null ? reshape(x, [-1]) : x.ndim === 0 ? reshape(x, [1]) : x;
    const d = normalizeDim('repeatInterleave', dim ?? 0, source.ndim);
    const wide = [...source.shape.slice(0, d + 1), repeats, ...source.shape.slice(d + 1)];
    const shape = source.shape.map((size, i) => (i === d ? size * repeats : size));
    if (outputSize !== undefined && outputSize !== shape[d])
      throw new Error(`repeatInterleave: repeats add up to ${shape[d]}, outputSize is ${outputSize}`);
    const out = reshape(expand(unsqueeze(source, d + 1), wide), shape);
    return out.storage === x.storage ? clone(out) : out;
  },
);

const byTensor = defineComposite(
  'repeatInterleave',
  (x: Tensor | null, repeats: Tensor, dim: number | null, outputSize: number): Tensor => {
    if (!Number.isInteger(outputSize) || outputSize < 0)
      throw new Error(`repeatInterleave: outputSize must be an integer of 0 or more, got ${outputSize}`);
    const ends = endsOfRepeats(x, repeats, dim);
    const n = ends.numel();
    if (n > 0) checkOnDevice('repeatInterleave', 'size', narrow(ends, 0, n - 1, 1), [outputSize]);
    return repeated(x, ends, dim, outputSize);
  },
);

/** Without `x`, of the repeats of their own indices. */
function endsOfRepeats(x: Tensor | null, repeats: Tensor, dim: number | null): Tensor {
  if (x === null && repeats.ndim !== 1)
    throw new Error(
      `repeatInterleave: repeats alone must have one dim, got shape ${showShape(repeats.shape)}; to repeat a tensor give its repeats too`,
    );
  const d = x === null || dim === null ? null : normalizeDim('repeatInterleave', dim, x.ndim);
  const size = d === null ? (x ?? repeats).numel() : (x?.shape[d] ?? 1);
  return endsOf(countsOf(repeats, size));
}

function countsOf(repeats: Tensor, size: number): Tensor {
  if (repeats.dtype !== 'int32' && repeats.dtype !== 'uint8')
    throw new Error(
      `repeatInterleave: repeats must be int32, got ${repeats.dtype}; convert them with .to('int32')`,
    );
  const count = repeats.numel();
  if (repeats.ndim > 1 || (count !== size && count !== 1))
    throw new Error(
      `repeatInterleave: expected ${size} repeats in a list, or one for all, got shape ${showShape(repeats.shape)}`,
    );
  const known = repeats.hostValues();
  const negative = known?.find((value) => value < 0);
  if (negative !== undefined)
    throw new Error(`repeatInterleave: repeats must not be negative, got ${negative}`);
  const list = to(reshape(repeats, [count]), 'int32');
  if (known === null) checkOnDevice('repeatInterleave', 'upTo', list, [0x7fffffff]);
  return expand(list, [size]);
}

function repeated(x: Tensor | null, ends: Tensor, dim: number | null, total: number): Tensor {
  if (x === null) return ownersOf(ends, total);
  const source = dim === null || x.ndim === 0 ? reshape(x, [-1]) : x;
  return indexSelect(source, dim ?? 0, ownersOf(ends, total));
}
