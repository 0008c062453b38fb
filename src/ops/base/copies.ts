/*
 * Copies, fills and their kin, on which the tape itself stands: recording writes (apply.ts) and views
 * (view.ts) need them.
 */
import { defineOp } from '../../autograd/define.js';
import { registerPrimitives } from '../../autograd/primitives.js';
import { dtypeInfo } from '../../kernels/base/dtype.js';
import { e, input, param, type Expr } from '../../kernels/expr/expr.js';
import { elementOf, type DType } from '../../tensor/dtype.js';
import {
  channelsLastStrides,
  contiguousStrides,
  denseStrides,
  isChannelsLast,
  isDense,
  showShape,
  stridesLike,
} from '../../tensor/shape.js';
import { Tensor } from '../../tensor/tensor.js';
import { launchInPlace, launchPointwise, type Computation } from './launch-pointwise.js';

/** How a tensor's elements lie in memory, as PyTorch names it. */
export type MemoryFormat = 'contiguous' | 'channelsLast' | 'preserve';

const casts = new Map<string, Computation>();

function castOp(from: DType, to: DType): Computation {
  const key = `${from}>${to}`;
  let op = casts.get(key);
  if (op === undefined) {
    const x = input(0, dtypeInfo[from].compute);
    op = {
      name: from === to ? 'copy' : 'to',
      expr: e.cast(x, dtypeInfo[to].compute),
      params: [],
    };
    casts.set(key, op);
  }
  return op;
}

/** @internal Writes `source` (broadcast, converted) over `target`, outside the tape. */
export function copyInto(target: Tensor, source: Tensor): void {
  launchPointwise(castOp(source.dtype, target.dtype), [source], [], target, true);
}

/** @internal The strides of a copy of `x` in `format`. */
export function formatStrides(op: string, x: Tensor, format: MemoryFormat): readonly number[] {
  if (format === 'contiguous') return contiguousStrides(x.shape);
  if (format === 'channelsLast') {
    if (x.ndim !== 4)
      throw new Error(`${op}: channelsLast needs a 4-dimensional tensor, got shape ${showShape(x.shape)}`);
    return channelsLastStrides(x.shape);
  }
  if (format !== 'preserve')
    throw new Error(
      `${op}: memory format must be 'contiguous', 'channelsLast' or 'preserve', got '${String(format)}'`,
    );
  return x.isDense() ? stridesLike(x.shape, x.shape, x.strides) : denseStrides(x.shape, x.strides);
}

/** @internal */
export const ownOrderOf = (x: Tensor, format: MemoryFormat): boolean =>
  format === 'preserve' && x.storage.ownOrder;

/** `own`: the order is the engine's choice (`Storage.ownOrder`). */
export const copyOp = defineOp<[Tensor, DType, readonly number[], boolean], Tensor, DType>({
  name: 'clone',
  forward(ctx, x, dtype, strides, own) {
    ctx.state = x.dtype;
    const out = Tensor.empty(x.shape, dtype, 'clone', strides);
    out.storage.ownOrder = own;
    launchPointwise(castOp(x.dtype, dtype), [x], [], out, false);
    return out;
  },
  backward: (ctx, grad) => [() => castTo(grad, ctx.state)],
});

/** @internal A copy with the given dense strides, which are the engine's choice unless `own` is false. */
export const copyAs = (x: Tensor, strides: readonly number[], own = true): Tensor =>
  copyOp(x, x.dtype, strides, own);

/** @internal `x` in another dtype and its own order; `x` itself if that is its dtype. */
const castTo = (x: Tensor, dtype: DType): Tensor =>
  dtype === x.dtype ? x : copyOp(x, dtype, formatStrides('to', x, 'preserve'), x.storage.ownOrder);

/** Another handle on the same memory, on the tape. */
export const aliasOf: (x: Tensor) => Tensor = defineOp<[Tensor], Tensor>({
  name: 'alias',
  forward: (_, x) => x.alias(),
  backward: (_, grad) => [() => grad],
});

const fills = new Map<DType, Computation>();

/** @internal */
export function fillOp(dtype: DType): Computation {
  let op = fills.get(dtype);
  if (op === undefined) {
    const compute = dtypeInfo[dtype].compute;
    const value = compute === 'bool' ? e.ne(param('value', 'u32'), 0) : param('value', compute);
    op = { name: 'fill', expr: value, params: ['value'] };
    fills.set(dtype, op);
  }
  return op;
}

/** @internal Fills fresh or exclusively written memory, outside the tape. */
export function fillInto(target: Tensor, value: number, exact = true): void {
  const { dtype } = target;
  const stored = dtype === 'bool' ? Number(value !== 0) : elementOf('fill_', value, dtype);
  launchPointwise(fillOp(dtype), [], [stored], target, exact);
}

const sums = new Map<DType, Computation>();

/** @internal Adds `source`, of the same dtype, to `target`, outside the tape. */
export function addInto(target: Tensor, source: Tensor): void {
  const { dtype } = target;
  let op = sums.get(dtype);
  if (op === undefined) {
    const [a, b] = [0, 1].map((i) => input(i, dtypeInfo[dtype].compute)) as [Expr, Expr];
    sums.set(dtype, (op = { name: 'add_', expr: e.add(a, b), params: [] }));
  }
  launchInPlace(op, [target, source], [], target);
}

/** @internal `x` itself, or a copy that is row-major from element 0 of its buffer on. */
export const rowMajor = (x: Tensor): Tensor =>
  x.isContiguous() && x.offset === 0 ? x : copyAs(x, contiguousStrides(x.shape), false);

/** @internal `x` itself, or a copy that is channels-last from element 0 of its buffer on. */
export const channelsLast = (x: Tensor): Tensor =>
  isChannelsLast(x.shape, x.strides) && x.offset === 0
    ? x
    : copyOp(x, x.dtype, formatStrides('clone', x, 'channelsLast'), false);

/** @internal A dense copy in the memory order and dtype of `like`, of the same shape. */
export const cloneLike = (x: Tensor, like: Tensor): Tensor =>
  copyOp(
    x,
    like.dtype,
    isDense(like.shape, like.strides) ? like.strides : contiguousStrides(like.shape),
    like.storage.ownOrder,
  );

// An in-place write makes the tape copy what it was lent, also in a program that never runs it back.
registerPrimitives({ cloneLike, assign: copyInto });
