import { defineOp } from '../../autograd/define.js';
import { primitives } from '../../autograd/primitives.js';
import {
  contiguousStrides,
  inferShape,
  normalizeDim,
  numel,
  sameShape,
  showShape,
  viewStrides,
} from '../../tensor/shape.js';
import {
  argumentReader,
  checkCount,
  optionReader,
  type Needed,
  type Trailing,
} from '../../tensor/options.js';
import { isTensor, type Tensor } from '../../tensor/tensor.js';
import { checkTensors } from './tensors.js';
import { aliasOf, copyAs, copyInto } from './copies.js';
import { rowMajorTwin, tied } from './layout.js';
import { listOf, type Sizes } from './sizes.js';

export type { Sizes };

type DimList = number | readonly number[];

const viewOp = defineOp<[Tensor, readonly number[], readonly number[]], Tensor, readonly number[]>({
  name: 'view',
  forward(ctx, x, shape, strides) {
    ctx.state = x.shape;
    return x.alias(shape, strides);
  },
  backward: (ctx, grad) => [() => reshape(grad, ctx.state)],
});

/**
 * `torch.Tensor.view`: the same memory under another shape; one size may be -1. Throws when strides forbid
 * it.
 */
export function view(x: Tensor, ...sizes: Sizes<'size'>): Tensor {
  checkTensors('view', x);
  const shape = inferShape('view', x.numel(), listOf('view', sizes));
  const strides = viewStrides(x.shape, x.strides, shape);
  if (strides === null) {
    throw new Error(
      `view: shape ${showShape(x.shape)} with strides ${showShape(x.strides)} cannot be seen as ${showShape(shape)} without a copy; use reshape()`,
    );
  }
  return viewOp(x, shape, strides);
}

/**
 * `torch.reshape`: a view where strides allow it, else a copy. One size may be -1. Where PyTorch's answer
 * would be the other one, because the engine stores images channels-last, the result is tied to `x`
 * (layout.ts): reading is fine, writing to either is an error.
 */
export function reshape(x: Tensor, ...sizes: Sizes<'shape'>): Tensor {
  checkTensors('reshape', x);
  const shape = inferShape('reshape', x.numel(), listOf('reshape', sizes, 'shape'));
  return reshaped('reshape', x, shape);
}

function reshapedCopy(x: Tensor, shape: readonly number[]): Tensor {
  const dense = copyAs(x, contiguousStrides(x.shape));
  const result = viewOp(dense, shape, contiguousStrides(shape));
  // Nobody else sees the copy: the result is no view of anything.
  result.viewOf = null;
  dense.dispose();
  return result;
}

function reshaped(op: string, x: Tensor, shape: readonly number[]): Tensor {
  const strides = viewStrides(x.shape, x.strides, shape);
  const result = strides === null ? reshapedCopy(x, shape) : viewOp(x, shape, strides);
  const twin = rowMajorTwin(x);
  if (twin === null || (viewStrides(x.shape, twin, shape) === null) === (strides === null)) return result;
  return tied(op, result, x);
}

const readFlatten = optionReader('flatten', { startDim: 0, endDim: -1 }, 'startDim', 'endDim');

/**
 * `torch.flatten`: the tensor itself if there is but one dim to merge; merges dims `startDim..endDim`
 * (inclusive) into one.
 */
export function flatten(
  x: Tensor,
  ...args: Trailing<[startDim: number, endDim: number], { startDim?: number; endDim?: number }>
): Tensor {
  checkTensors('flatten', x);
  const { startDim, endDim } = readFlatten(args);
  if (x.ndim === 0) return reshape(x, [1]);
  const start = normalizeDim('flatten', startDim, x.ndim);
  const end = normalizeDim('flatten', endDim, x.ndim);
  if (start > end) throw new Error(`flatten: startDim ${startDim} comes after endDim ${endDim}`);
  if (start === end) return x;
  const merged = numel(x.shape.slice(start, end + 1));
  return reshaped('flatten', x, [...x.shape.slice(0, start), merged, ...x.shape.slice(end + 1)]);
}

const readUnflatten = argumentReader<[dim: number, sizes: readonly number[]]>('unflatten', 'dim', 'sizes');

/** `torch.unflatten`: splits one dim into `sizes` (one may be -1). */
export function unflatten(
  x: Tensor,
  ...args: Needed<[dim: number, sizes: readonly number[]], ['dim', 'sizes']>
): Tensor {
  const [dim, sizes] = readUnflatten(args);
  const d = normalizeDim('unflatten', dim, x.ndim);
  const split = inferShape('unflatten', x.shape[d] as number, sizes);
  return reshaped('unflatten', x, [...x.shape.slice(0, d), ...split, ...x.shape.slice(d + 1)]);
}

const permuteOp: (x: Tensor, dims: readonly number[]) => Tensor = defineOp<
  [Tensor, readonly number[]],
  Tensor,
  readonly number[]
>({
  name: 'permute',
  forward(ctx, x, dims) {
    ctx.state = dims;
    return x.alias(
      dims.map((d) => x.shape[d] as number),
      dims.map((d) => x.strides[d] as number),
    );
  },
  backward(ctx, grad) {
    const inverse = new Array<number>(ctx.state.length);
    ctx.state.forEach((d, i) => (inverse[d] = i));
    return [() => permuteOp(grad, inverse)];
  },
});

/** `torch.permute`: dims in a new order, a view. */
export function permute(x: Tensor, ...dims: Sizes<'dims'>): Tensor {
  checkTensors('permute', x);
  const list = listOf('permute', dims, 'dims');
  const order = list.map((d) => normalizeDim('permute', d, x.ndim));
  if (order.length !== x.ndim || new Set(order).size !== order.length) {
    throw new Error(
      `permute: ${showShape(list)} is not an order of the ${x.ndim} dims of shape ${showShape(x.shape)}`,
    );
  }
  return permuteOp(x, order);
}

const readTranspose = argumentReader<[dim0: number, dim1: number]>('transpose', 'dim0', 'dim1');

function swapped(op: string, x: Tensor, dim0: number, dim1: number): Tensor {
  const a = normalizeDim(op, dim0, x.ndim);
  const b = normalizeDim(op, dim1, x.ndim);
  const order = x.shape.map((_, i) => (i === a ? b : i === b ? a : i));
  return permuteOp(x, order);
}

/** `torch.transpose`, `torch.swapdims`: swaps two dims, a view. */
export function transpose(
  x: Tensor,
  ...args: Needed<[dim0: number, dim1: number], ['dim0', 'dim1']>
): Tensor {
  const [dim0, dim1] = readTranspose(args);
  return swapped('transpose', x, dim0, dim1);
}

const readSwapaxes = argumentReader<[axis0: number, axis1: number]>('swapaxes', 'axis0', 'axis1');

/** `torch.swapaxes`: {@link transpose}. */
export function swapaxes(
  x: Tensor,
  ...args: Needed<[axis0: number, axis1: number], ['axis0', 'axis1']>
): Tensor {
  const [axis0, axis1] = readSwapaxes(args);
  return swapped('swapaxes', x, axis0, axis1);
}

/** `torch.t`: transposes a tensor of at most two dims. */
export function t(x: Tensor): Tensor {
  checkTensors('t', x);
  checkCount('t', arguments.length, 1);
  if (x.ndim > 2)
    throw new Error(`t: expected at most 2 dims, got shape ${showShape(x.shape)}; use transpose(dim0, dim1)`);
  return x.ndim < 2 ? aliasOf(x) : transpose(x, 0, 1);
}

const readMovedim = argumentReader<[source: DimList, destination: DimList]>(
  'movedim',
  'source',
  'destination',
);

/** `torch.movedim`: puts one dim, or each of several, in another place; the rest keep their order. A view. */
export function movedim(
  x: Tensor,
  ...args: Needed<[source: DimList, destination: DimList], ['source', 'destination']>
): Tensor {
  const [source, destination] = readMovedim(args);
  const [from, to] = [source, destination].map((dims) =>
    [dims].flat().map((d) => normalizeDim('movedim', d as number, x.ndim)),
  ) as [number[], number[]];
  if (from.length !== to.length || new Set(from).size !== from.length || new Set(to).size !== to.length) {
    throw new Error(
      `movedim: source and destination must be as many different dims each, got ${showShape(from)} and ${showShape(to)}`,
    );
  }
  const rest = x.shape.map((_, i) => i).filter((i) => !from.includes(i));
  return permuteOp(
    x,
    x.shape.map((_, i) => (to.includes(i) ? (from[to.indexOf(i)] as number) : (rest.shift() as number))),
  );
}

const expandOp = defineOp<[Tensor, readonly number[], readonly number[]], Tensor, readonly number[]>({
  name: 'expand',
  forward(ctx, x, shape, strides) {
    ctx.state = x.shape;
    return x.alias(shape, strides);
  },
  backward: (ctx, grad) => [() => primitives().fit(grad, ctx.state, grad.dtype)],
});

/** `torch.Tensor.expand`: repeats size-1 dims without a copy; -1 keeps a size; new dims go in front. */
export function expand(x: Tensor, ...sizes: Sizes<'size'>): Tensor {
  checkTensors('expand', x);
  const to = listOf('expand', sizes);
  const lead = to.length - x.ndim;
  if (lead < 0) throw new Error(`expand: ${showShape(to)} has fewer dims than shape ${showShape(x.shape)}`);
  const shape: number[] = [];
  const strides: number[] = [];
  to.forEach((size, i) => {
    const have = i < lead ? 1 : (x.shape[i - lead] as number);
    const want = size === -1 && i >= lead ? have : size;
    if (have !== want && have !== 1) {
      throw new Error(
        `expand: shape ${showShape(x.shape)} does not expand to ${showShape(to)} (dim ${i}: ${have} to ${want})`,
      );
    }
    if (want < 0) throw new Error(`expand: -1 is not allowed for the new leading dim ${i}`);
    shape.push(want);
    strides.push(i < lead || have !== want ? 0 : (x.strides[i - lead] as number));
  });
  return expandOp(x, shape, strides);
}

/** `torch.broadcast_to`. */
export function broadcastTo(x: Tensor, shape: readonly number[] | { size: readonly number[] }): Tensor {
  checkCount('broadcastTo', arguments.length, 2);
  return expand(x, listOf('broadcastTo', [shape]));
}

/** `torch.Tensor.expand_as`. */
export function expandAs(x: Tensor, other: Tensor): Tensor {
  checkCount('expandAs', arguments.length, 2);
  checkTensors('expandAs', other);
  return expand(x, other.shape);
}

const readSqueeze = optionReader('squeeze', { dim: null as DimList | null }, 'dim');

/** `torch.squeeze`: drops one size-1 dim, or all of them. */
export function squeeze(x: Tensor, ...args: Trailing<[dim: DimList], { dim?: DimList }>): Tensor {
  checkTensors('squeeze', x);
  const { dim } = readSqueeze(args);
  const drop =
    dim === null
      ? x.shape.map((_, i) => i)
      : [dim].flat().map((d) => normalizeDim('squeeze', d as number, x.ndim));
  const keep = x.shape.map((_, i) => i).filter((i) => x.shape[i] !== 1 || !drop.includes(i));
  return viewOp(
    x,
    keep.map((i) => x.shape[i] as number),
    keep.map((i) => x.strides[i] as number),
  );
}

const readUnsqueeze = argumentReader<[dim: number]>('unsqueeze', 'dim');

/** `torch.unsqueeze`: inserts a dim of size 1 at `dim`. */
export function unsqueeze(x: Tensor, ...args: Needed<[dim: number], ['dim']>): Tensor {
  const [dim] = readUnsqueeze(args);
  const d = normalizeDim('unsqueeze', dim, x.ndim + 1);
  const shape = [...x.shape];
  const strides = [...x.strides];
  shape.splice(d, 0, 1);
  strides.splice(d, 0, d < x.ndim ? (x.strides[d] as number) * (x.shape[d] as number) : 1);
  return viewOp(x, shape, strides);
}

interface SliceState {
  readonly shape: readonly number[];
  readonly dim: number;
  readonly start: number;
  readonly step: number;
}

const sliceOp: (x: Tensor, dim: number, start: number, length: number, step: number) => Tensor = defineOp<
  [Tensor, number, number, number, number],
  Tensor,
  SliceState
>({
  name: 'slice',
  forward(ctx, x, dim, start, length, step) {
    ctx.state = { shape: x.shape, dim, start, step };
    const stride = x.strides[dim] as number;
    return x.alias(
      x.shape.map((size, i) => (i === dim ? length : size)),
      x.strides.map((s, i) => (i === dim ? s * step : s)),
      x.offset + (length > 0 ? start * stride : 0),
    );
  },
  backward: (ctx, grad) => [() => sliceBackward(grad, ctx.state)],
});

/** Zeros of the sliced shape with `grad` laid where the slice was. */
const sliceBackward: (grad: Tensor, state: SliceState) => Tensor = defineOp<
  [Tensor, SliceState],
  Tensor,
  SliceState & { length: number }
>({
  name: 'sliceBackward',
  forward(ctx, grad, state) {
    const length = grad.shape[state.dim] as number;
    ctx.state = { ...state, length };
    const out = primitives().zeros(state.shape, grad.dtype);
    copyInto(sliceOp(out, state.dim, state.start, length, state.step), grad);
    return out;
  },
  backward: (ctx, grad) => [
    () => sliceOp(grad, ctx.state.dim, ctx.state.start, ctx.state.length, ctx.state.step),
  ],
});

const readNarrow = argumentReader<[dim: number, start: number | Tensor, length: number]>(
  'narrow',
  'dim',
  'start',
  'length',
);

/**
 * `torch.narrow`: `length` elements of `dim` from `start` on, a view. `start` may be a zero-dim int32 tensor
 * whose value the host knows because it was uploaded.
 */
export function narrow(
  x: Tensor,
  ...args: Needed<[dim: number, start: number | Tensor, length: number], ['dim', 'start', 'length']>
): Tensor {
  const [dim, start, length] = readNarrow(args);
  const d = normalizeDim('narrow', dim, x.ndim);
  const size = x.shape[d] as number;
  const first = typeof start === 'number' ? start : knownStart(start);
  const from = first < 0 ? first + size : first;
  if (
    !Number.isInteger(from) ||
    !Number.isInteger(length) ||
    from < 0 ||
    length < 0 ||
    from + length > size
  ) {
    throw new Error(
      `narrow: ${first}..${first + length} is outside dim ${dim} of shape ${showShape(x.shape)}`,
    );
  }
  return sliceOp(x, d, from, length, 1);
}

function knownStart(start: Tensor): number {
  if (!isTensor(start) || start.ndim !== 0 || start.dtype !== 'int32')
    throw new Error(`narrow: start must be an integer or a zero-dim int32 tensor, got ${String(start)}`);
  const known = start.hostValues()?.[0];
  if (known === undefined)
    throw new Error('narrow: start was computed on the GPU; read it with await start.item() first');
  return known;
}

const readSelect = argumentReader<[dim: number, index: number]>('select', 'dim', 'index');

/** `torch.select`: index `index` of `dim`, which disappears; a view. */
export function select(x: Tensor, ...args: Needed<[dim: number, index: number], ['dim', 'index']>): Tensor {
  const [dim, index] = readSelect(args);
  const d = normalizeDim('select', dim, x.ndim);
  const size = x.shape[d];
  if (size === undefined) throw new Error('select: a zero-dim tensor has nothing to select from');
  if (!Number.isInteger(index) || index < -size || index >= size) {
    throw new Error(`select: index ${index} is out of range for dim ${dim} of shape ${showShape(x.shape)}`);
  }
  const one = sliceOp(x, d, index < 0 ? index + size : index, 1, 1);
  const others = (list: readonly number[]): number[] => list.filter((_, i) => i !== d);
  return viewOp(one, others(x.shape), others(x.strides));
}

type Bound = number | null | undefined;

const readSlice = optionReader(
  'slice',
  { dim: 0, start: null as number | null, end: null as number | null, step: 1 },
  'dim',
  'start',
  'end',
  'step',
);

/**
 * Python's `x[start:end:step]` along one dim, a view; bounds are clamped as Python clamps them. `step` must
 * be positive.
 */
export function slice(
  x: Tensor,
  ...args: Trailing<
    [dim: number | undefined, start: Bound, end: Bound, step: number],
    { dim?: number; start?: Bound; end?: Bound; step?: number }
  >
): Tensor {
  checkTensors('slice', x);
  const { dim, start, end, step } = readSlice(args);
  for (const bound of [start ?? 0, end ?? 0])
    if (!Number.isInteger(bound) && Math.abs(bound) !== Infinity)
      throw new Error(`slice: bounds must be integers, got ${String(bound)}`);
  const d = normalizeDim('slice', dim, x.ndim);
  const size = x.shape[d];
  if (size === undefined) throw new Error('slice: a zero-dim tensor cannot be sliced');
  if (!Number.isInteger(step) || step < 1)
    throw new Error(`slice: step must be a positive integer, got ${step}; use flip() to reverse`);
  const clamp = (i: number): number => Math.min(size, Math.max(0, i < 0 ? i + size : i));
  const from = clamp(start ?? 0);
  const to = clamp(end ?? size);
  return sliceOp(x, d, from, Math.max(0, Math.ceil((to - from) / step)), step);
}

/** `torch.Tensor.detach`: the same memory, cut off from the tape. */
export function detach(x: Tensor): Tensor {
  checkTensors('detach', x);
  checkCount('detach', arguments.length, 1);
  return x.alias();
}

/**
 * `torch.Tensor.detach_`: cuts this tensor itself off from the tape. Views are refused, as PyTorch refuses
 * them: `detach()` them.
 */
export function detach_(x: Tensor): Tensor {
  checkTensors('detach_', x);
  checkCount('detach_', arguments.length, 1);
  if (x.viewOf !== null) {
    throw new Error('detach_: a view shares its place on the tape with its base; use detach() instead');
  }
  x.node = null;
  x.wantsGrad = false;
  return x;
}

/** `torch.swapdims`: {@link transpose}. `torch.moveaxis`: {@link movedim}. */
export { transpose as swapdims, movedim as moveaxis };

/** `torch.Tensor.reshape_as`. */
export function reshapeAs(x: Tensor, other: Tensor): Tensor {
  checkCount('reshapeAs', arguments.length, 2);
  checkTensors('reshapeAs', other);
  return reshape(x, other.shape);
}

/** `torch.Tensor.view_as`. */
export function viewAs(x: Tensor, other: Tensor): Tensor {
  checkCount('viewAs', arguments.length, 2);
  checkTensors('viewAs', other);
  return sameShape(x.shape, other.shape) ? aliasOf(x) : view(x, other.shape);
}
