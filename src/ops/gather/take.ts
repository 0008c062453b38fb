import { defineComposite } from '../../autograd/define.js';
import { outOfRange } from '../../kernels/base/faults.js';
import { e } from '../../kernels/expr/expr.js';
import { argumentReader, type Needed, optionReader, required } from '../../tensor/options.js';
import { broadcastShapes, normalizeDim, sameShape, showShape } from '../../tensor/shape.js';
import { isTensor, type Tensor } from '../../tensor/tensor.js';
import { to } from '../base/copy.js';
import { checkIndex, checkSameDtype, gatherAs, lookupOp, putRowsOp, type Lookup } from './gather.js';
import { rowFunction, type PointwiseFn } from '../base/row.js';
import { expand, reshape } from '../base/view.js';

/* Indices of the flattened tensor, and those that may be negative, counted from the end. */

const wrapRow: PointwiseFn = rowFunction({
  name: 'wrapIndex',
  kind: 'promote',
  expr: (index, size) => e.select(e.lt(index, 0), e.add(index, size), index),
});

/**
 * @internal Indices of dims of `sizes`, negative ones allowed, in int32, and what is left to check.
 * @throws Error for an index out of range that the host knows
 */
export function wrappedIndices(
  op: string,
  indices: readonly Tensor[],
  sizes: readonly number[],
): [indices: Tensor[], lookup: Lookup] {
  // Kernels that do not check count negative ones from the end themselves.
  let checked = false;
  indices.forEach((index, i) => {
    const size = sizes[i] as number;
    const values = index.hostValues();
    if (values === null) checked = true;
    for (const value of values ?? [])
      if (value < -size || value >= size) throw new Error(outOfRange(op, value, size));
  });
  const wrap = (index: Tensor, i: number): Tensor =>
    checked ? wrapRow(to(index, 'int32'), sizes[i] as number) : to(index, 'int32');
  return [indices.map(wrap), { name: op, checked }];
}

/** @internal As {@link wrappedIndices}, of one index. @throws Error also unless it is int32 or uint8 */
export function wrappedIndex(op: string, index: Tensor, size: number): [index: Tensor, lookup: Lookup] {
  if (!isTensor(index) || index.dtype !== 'int32') checkIndex(op, index, Infinity);
  const [[at], lookup] = wrappedIndices(op, [index], [size]) as [[Tensor], Lookup];
  return [at, lookup];
}

type TakeArgs = Needed<[index: Tensor], ['index']>;
const readTake = argumentReader<[index: Tensor]>('take', 'index');

/**
 * `torch.take`: elements of the flattened tensor, in the shape of `index` (int32; negative ones count from
 * the end).
 *
 * @throws Error for an index out of range that the host knows; (at the next await) DataError for one computed
 * on the GPU
 */
export const take: (x: Tensor, ...args: TakeArgs) => Tensor = defineComposite(
  'take',
  (x: Tensor, ...args: TakeArgs): Tensor => {
    const [index] = readTake(args);
    const [at, lookup] = wrappedIndex('take', index, x.numel());
    return lookupOp(reshape(x, [-1]), [at], 0, lookup);
  },
);

type PutArgs = Needed<
  [index: Tensor, source: Tensor],
  ['index', 'source'],
  [accumulate: boolean],
  { accumulate?: boolean }
>;

const readPut = optionReader(
  'put',
  { index: required<Tensor>(), source: required<Tensor>(), accumulate: false },
  'index',
  'source',
  'accumulate',
);

/**
 * `torch.Tensor.put`: `x` with the elements of `source` at positions `index` (as many; int32, negative ones
 * count from the end) of the flattened tensor, written, or added with `accumulate`.
 *
 * @throws Error for an index out of range that the host knows; (at the next await) DataError for one computed
 * on the GPU
 */
export const put: (x: Tensor, ...args: PutArgs) => Tensor = defineComposite(
  'put',
  (x: Tensor, ...args: PutArgs): Tensor => {
    const { index, source, accumulate } = readPut(args);
    const [at, lookup] = wrappedIndex('put', index, x.numel());
    checkSameDtype('put', x, source);
    if (source.numel() !== index.numel())
      throw new Error(
        `put: ${index.numel()} indices (shape ${showShape(index.shape)}) for ${source.numel()} elements (shape ${showShape(source.shape)})`,
      );
    const how = { ...lookup, reduce: accumulate ? 'add' : 'assign' } as const;
    const out = putRowsOp(reshape(x, [-1]), [reshape(at, [-1])], reshape(source, [-1]), 0, how);
    return reshape(out, x.shape);
  },
);

type AlongArgs = Needed<[indices: Tensor], ['indices'], [dim: number | null], { dim?: number | null }>;

const readTakeAlongDim = optionReader(
  'takeAlongDim',
  { indices: required<Tensor>(), dim: null as number | null },
  'indices',
  'dim',
);

/**
 * `torch.take_along_dim`: {@link gather} with `indices` and `x` broadcast together but for `dim`; without
 * `dim` both are flattened.
 *
 * @throws Error for an index out of range that the host knows; (at the next await) DataError for one computed
 * on the GPU
 */
export const takeAlongDim: (x: Tensor, ...args: AlongArgs) => Tensor = defineComposite(
  'takeAlongDim',
  (x: Tensor, ...args: AlongArgs): Tensor => {
    const { indices, dim } = readTakeAlongDim(args);
    if (!isTensor(indices)) checkIndex('takeAlongDim', indices, 0);
    if (dim === null) return gatherAs('takeAlongDim', reshape(x, [-1]), 0, reshape(indices, [-1]));
    const d = normalizeDim('takeAlongDim', dim, x.ndim);
    if (indices.ndim !== x.ndim)
      throw new Error(
        `takeAlongDim: indices of shape ${showShape(indices.shape)} and a tensor of shape ${showShape(x.shape)} must have the same rank`,
      );
    const besides = ({ shape }: Tensor): number[] => shape.map((size, i) => (i === d ? 1 : size));
    const common = broadcastShapes('takeAlongDim', besides(x), besides(indices));
    const whole = (t: Tensor): Tensor => {
      const shape = common.map((size, i) => (i === d ? (t.shape[i] as number) : size));
      return sameShape(shape, t.shape) ? t : expand(t, shape);
    };
    return gatherAs('takeAlongDim', whole(x), d, whole(indices));
  },
);
