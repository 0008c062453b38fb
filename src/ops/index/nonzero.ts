import { defineComposite } from '../../autograd/define.js';
import { e } from '../../kernels/expr/expr.js';
import { checkCount, optionReader } from '../../tensor/options.js';
import { broadcastShapes } from '../../tensor/shape.js';
import { Tensor } from '../../tensor/tensor.js';
import { scoped } from '../../tensor/tidy.js';
import { checkOnDevice } from '../base/check.js';
import { endsOfNonzero, ownersOf, pickedBy, route, withTotal } from './compact.js';
import { checkSameDtype } from '../gather/gather.js';
import { stack } from '../shape/join.js';
import { overwrite } from '../base/overwrite.js';
import { rowFunction, type PointwiseFn } from '../base/row.js';
import { expand, narrow, reshape } from '../base/view.js';
import { checkCondition, where } from '../pointwise/where.js';
import { checkTensors } from '../base/tensors.js';

export interface NonzeroOptions {
  /** A list of one index tensor per dim instead. */
  asTuple?: boolean;
}

const coordinateRow: PointwiseFn = rowFunction({
  name: 'coordinate',
  kind: 'promote',
  expr: (position, stride, size) => {
    const steps = e.div(position, stride);
    return e.sub(steps, e.mul(e.div(steps, size), size));
  },
});

/** @internal Positions in row-major order as one int32 list of coordinates per dim of `shape`. */
export function coordinates(positions: Tensor, shape: readonly number[]): Tensor[] {
  let stride = 1;
  return shape
    .map((_, i) => shape.length - 1 - i)
    .map((d) => {
      const size = shape[d] as number;
      const out = coordinateRow(positions, stride, Math.max(1, size));
      stride *= Math.max(1, size);
      return out;
    })
    .reverse();
}

const readNonzero = optionReader('nonzero', { asTuple: false }, 'asTuple');

/**
 * `torch.nonzero`: the int32 coordinates [N, ndim] of the elements that are not zero (NaN is not), in
 * row-major order; with `asTuple` a list of ndim tensors [N], where a zero-dim tensor counts as a list of
 * one. A promise: N is read from the GPU.
 *
 * @throws Error when `x` is changed in place before N has come
 */
export function nonzero(x: Tensor, options: NonzeroOptions & { asTuple: true }): Promise<Tensor[]>;
export function nonzero(x: Tensor, options?: NonzeroOptions): Promise<Tensor>;
export function nonzero(x: Tensor, ...args: readonly unknown[]): Promise<Tensor | Tensor[]> {
  checkTensors('nonzero', x);
  const { asTuple } = readNonzero(args);
  return found('nonzero', x, x.ndim === 0 && asTuple ? [1] : x.shape, (lists, count) =>
    asTuple ? lists : columns(lists, count),
  );
}

/** `torch.argwhere`: {@link nonzero} without the option. */
export function argwhere(x: Tensor): Promise<Tensor> {
  checkTensors('argwhere', x);
  checkCount('argwhere', arguments.length, 1);
  return found('argwhere', x, x.shape, columns);
}

function columns(lists: readonly Tensor[], count: number): Tensor {
  return lists.length === 0 ? Tensor.empty([count, 0], 'int32', 'nonzero') : stack(lists, 1);
}

function found<R>(
  op: string,
  x: Tensor,
  shape: readonly number[],
  make: (lists: Tensor[], count: number) => R,
): Promise<R> {
  checkTensors(op, x);
  const ends = scoped(op, () => endsOfNonzero(x));
  return withTotal(op, ends, [], (count) => make(coordinates(ownersOf(ends, count), shape), count));
}

/** The mask over `shape` as a flat list. */
const flagsOf = (mask: Tensor, shape: readonly number[]): Tensor => reshape(expand(mask, shape), [-1]);

/**
 * `torch.masked_select`: the elements of `x` where `mask` (bool, both broadcast) is true, as a list in
 * row-major order. A promise: their number is read from the GPU.
 *
 * @throws Error when `x` or `mask` is changed in place before the number has come
 */
export function maskedSelect(x: Tensor, mask: Tensor): Promise<Tensor> {
  checkCount('maskedSelect', arguments.length, 2);
  checkCondition('maskedSelect', mask);
  const shape = broadcastShapes('maskedSelect', x.shape, mask.shape);
  const ends = scoped('maskedSelect', () => endsOfNonzero(flagsOf(mask, shape)));
  return withTotal('maskedSelect', ends, [x, mask], (count) => {
    const { from, to } = pickedBy(flagsOf(mask, shape), ends, count);
    return route(reshape(expand(x, shape), [-1]), from, to, 0);
  });
}

/**
 * `torch.Tensor.masked_scatter`: `x` with the elements of `source`, in row-major order, where `mask` (bool;
 * it and `x` broadcast) is true.
 *
 * @throws (at the next await) DataError when `source` has too few elements
 */
export const maskedScatter: (x: Tensor, mask: Tensor, source: Tensor) => Tensor = defineComposite(
  'maskedScatter',
  (x: Tensor, mask: Tensor, source: Tensor): Tensor => {
    checkCondition('maskedScatter', mask);
    checkSameDtype('maskedScatter', x, source);
    const shape = broadcastShapes('maskedScatter', x.shape, mask.shape);
    const flags = flagsOf(mask, shape);
    const spread = fromMask('maskedScatter', flags, reshape(source, [-1]), 0);
    return where(expand(mask, shape), reshape(spread, shape), x);
  },
  3,
);

/**
 * @internal The entries of `x` along `dim`, one after another where the flat list `flags` is true; undefined
 * elsewhere. Too few entries are raised as a fault of `op`, and with 'fit' too many as well.
 */
export function fromMask(
  op: string,
  flags: Tensor,
  x: Tensor,
  dim: number,
  check: 'count' | 'fit' = 'count',
): Tensor {
  const count = x.shape[dim] as number;
  const ends = endsOfNonzero(flags);
  const n = ends.numel();
  if (n > 0) checkOnDevice(op, check, narrow(ends, 0, n - 1, 1), [count]);
  const { from, to } = pickedBy(flags, ends, count);
  return route(x, to, from, dim);
}

/** `torch.Tensor.masked_scatter_`. */
export function maskedScatter_(x: Tensor, mask: Tensor, source: Tensor): Tensor {
  checkCount('maskedScatter_', arguments.length, 3);
  return overwrite('maskedScatter_', x, () => maskedScatter(x, mask, source));
}
