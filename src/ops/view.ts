import { defineOp } from '../autograd/define.js';
import { isGradEnabled } from '../autograd/mode.js';
import { primitives } from '../autograd/primitives.js';
import {
  contiguousStrides,
  inferShape,
  normalizeDim,
  numel,
  sameShape,
  showShape,
  viewStrides,
} from '../tensor/shape.js';
import type { Tensor } from '../tensor/tensor.js';
import { aliasOf, copyAs, copyInto } from './copies.js';
import { rowMajorTwin, tied } from './layout.js';

/** Sizes as separate arguments or as one array, as PyTorch takes them. */
export type Sizes = number[] | [sizes: readonly number[]];

const sizesOf = (sizes: Sizes): readonly number[] =>
  (Array.isArray(sizes[0]) ? sizes[0] : sizes) as readonly number[];

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
export function view(x: Tensor, ...sizes: Sizes): Tensor {
  const shape = inferShape('view', x.numel(), sizesOf(sizes));
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
export function reshape(x: Tensor, ...sizes: Sizes): Tensor {
  const shape = inferShape('reshape', x.numel(), sizesOf(sizes));
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

/**
 * `torch.flatten`: the tensor itself if there is but one dim to merge; merges dims `startDim..endDim`
 * (inclusive) into one.
 */
export function flatten(x: Tensor, startDim = 0, endDim = -1): Tensor {
  if (x.ndim === 0) return reshape(x, [1]);
  const start = normalizeDim('flatten', startDim, x.ndim);
  const end = normalizeDim('flatten', endDim, x.ndim);
  if (start > end) throw new Error(`flatten: startDim ${startDim} comes after endDim ${endDim}`);
  if (start === end) return x;
  const merged = numel(x.shape.slice(start, end + 1));
  return reshaped('flatten', x, [...x.shape.slice(0, start), merged, ...x.shape.slice(end + 1)]);
}

/** `torch.unflatten`: splits one dim into `sizes` (one may be -1). */
export function unflatten(x: Tensor, dim: number, sizes: readonly number[]): Tensor {
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
export function permute(x: Tensor, ...dims: Sizes): Tensor {
  const list = sizesOf(dims);
  const order = list.map((d) => normalizeDim('permute', d, x.ndim));
  if (order.length !== x.ndim || new Set(order).size !== order.length) {
    throw new Error(
      `permute: ${showShape(list)} is not an order of the ${x.ndim} dims of shape ${showShape(x.shape)}`,
    );
  }
  return permuteOp(x, order);
}

/** `torch.transpose`: swaps two dims, a view. */
export function transpose(x: Tensor, dim0: number, dim1: number): Tensor {
  const a = normalizeDim('transpose', dim0, x.ndim);
  const b = normalizeDim('transpose', dim1, x.ndim);
  const order = x.shape.map((_, i) => (i === a ? b : i === b ? a : i));
  return permuteOp(x, order);
}

/** `torch.t`: transposes a tensor of at most two dims. */
export function t(x: Tensor): Tensor {
  if (x.ndim > 2)
    throw new Error(`t: expected at most 2 dims, got shape ${showShape(x.shape)}; use transpose(dim0, dim1)`);
  return x.ndim < 2 ? aliasOf(x) : transpose(x, 0, 1);
}

/** `torch.movedim` for one dim. */
export function movedim(x: Tensor, source: number, destination: number): Tensor {
  const from = normalizeDim('movedim', source, x.ndim);
  const to = normalizeDim('movedim', destination, x.ndim);
  const order = x.shape.map((_, i) => i).filter((i) => i !== from);
  order.splice(to, 0, from);
  return permuteOp(x, order);
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
export function expand(x: Tensor, ...sizes: Sizes): Tensor {
  const to = sizesOf(sizes);
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
export function broadcastTo(x: Tensor, shape: readonly number[]): Tensor {
  return expand(x, shape);
}

/** `torch.Tensor.expand_as`. */
export function expandAs(x: Tensor, other: Tensor): Tensor {
  return expand(x, other.shape);
}

/** `torch.squeeze`: drops one size-1 dim, or all of them. */
export function squeeze(x: Tensor, dim?: number | readonly number[]): Tensor {
  const drop =
    dim === undefined
      ? x.shape.map((_, i) => i)
      : (typeof dim === 'number' ? [dim] : dim).map((d) => normalizeDim('squeeze', d, x.ndim));
  const keep = x.shape.map((_, i) => i).filter((i) => x.shape[i] !== 1 || !drop.includes(i));
  return viewOp(
    x,
    keep.map((i) => x.shape[i] as number),
    keep.map((i) => x.strides[i] as number),
  );
}

/** `torch.unsqueeze`: inserts a dim of size 1 at `dim`. */
export function unsqueeze(x: Tensor, dim: number): Tensor {
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

/** `torch.narrow`: `length` elements of `dim` from `start` on, a view. */
export function narrow(x: Tensor, dim: number, start: number, length: number): Tensor {
  const d = normalizeDim('narrow', dim, x.ndim);
  const size = x.shape[d] as number;
  const from = start < 0 ? start + size : start;
  if (
    !Number.isInteger(from) ||
    !Number.isInteger(length) ||
    from < 0 ||
    length < 0 ||
    from + length > size
  ) {
    throw new Error(
      `narrow: ${start}..${start + length} is outside dim ${dim} of shape ${showShape(x.shape)}`,
    );
  }
  return sliceOp(x, d, from, length, 1);
}

/** `torch.select`: index `index` of `dim`, which disappears; a view. */
export function select(x: Tensor, dim: number, index: number): Tensor {
  const d = normalizeDim('select', dim, x.ndim);
  const size = x.shape[d];
  if (size === undefined) throw new Error('select: a zero-dim tensor has nothing to select from');
  if (!Number.isInteger(index) || index < -size || index >= size) {
    throw new Error(`select: index ${index} is out of range for dim ${dim} of shape ${showShape(x.shape)}`);
  }
  return squeeze(sliceOp(x, d, index < 0 ? index + size : index, 1, 1), d);
}

/**
 * Python's `x[start:end:step]` along one dim, a view; bounds are clamped as Python clamps them. `step` must
 * be positive.
 */
export function slice(x: Tensor, dim = 0, start?: number | null, end?: number | null, step = 1): Tensor {
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

/**
 * One part of an {@link index}: an integer, `[start, end, step?]` (null for open ends), `null` for a new dim,
 * or `'...'`.
 */
export type Index = number | readonly [(number | null)?, (number | null)?, number?] | null | '...';

/** Python's basic indexing `x[i, a:b, None, ...]` as `x.index(i, [a, b], null, '...')`; a view. */
export function index(x: Tensor, ...parts: readonly Index[]): Tensor {
  const used = parts.filter((part) => part !== null && part !== '...').length;
  if (used > x.ndim) throw new Error(`index: ${used} indices for a tensor of shape ${showShape(x.shape)}`);
  let out = x;
  let dim = 0;
  for (const part of parts) {
    if (part === '...') dim += x.ndim - used;
    else if (part === null) out = unsqueeze(out, dim++);
    else if (typeof part === 'number') out = select(out, dim, part);
    else out = slice(out, dim++, part[0] ?? null, part[1] ?? null, part[2] ?? 1);
  }
  return out === x ? aliasOf(x) : out;
}

/** `torch.split`: pieces of `size` along `dim` (the last may be smaller), or of the given sizes; views. */
export function split(x: Tensor, size: number | readonly number[], dim = 0): Tensor[] {
  const d = normalizeDim('split', dim, x.ndim);
  const total = x.shape[d] as number;
  if (typeof size === 'number' && !(Number.isInteger(size) && size > 0))
    throw new Error(`split: size must be a positive integer, got ${size}`);
  const sizes =
    typeof size === 'number'
      ? Array.from({ length: Math.max(1, Math.ceil(total / size)) }, (_, i) =>
          Math.min(size, total - i * size),
        )
      : size;
  if (sizes.reduce((a, b) => a + b, 0) !== total) {
    throw new Error(
      `split: sizes ${showShape(sizes)} do not add up to ${total}, dim ${dim} of shape ${showShape(x.shape)}`,
    );
  }
  let at = 0;
  return sizes.map((length) => oneOfSeveral(sliceOp(x, d, (at += length) - length, length, 1)));
}

function oneOfSeveral(view: Tensor): Tensor {
  if (isGradEnabled() && view.viewOf !== null) view.viewOf.limit = 'several';
  return view;
}

/** `torch.chunk`: at most `chunks` pieces of equal size along `dim`; views. */
export function chunk(x: Tensor, chunks: number, dim = 0): Tensor[] {
  if (!Number.isInteger(chunks) || chunks < 1)
    throw new Error(`chunk: chunks must be a positive integer, got ${chunks}`);
  const d = normalizeDim('chunk', dim, x.ndim);
  return split(x, Math.max(1, Math.ceil((x.shape[d] as number) / chunks)), d);
}

/** `torch.unbind`: every index of `dim`, which disappears; views. */
export function unbind(x: Tensor, dim = 0): Tensor[] {
  const d = normalizeDim('unbind', dim, x.ndim);
  return Array.from({ length: x.shape[d] as number }, (_, i) => oneOfSeveral(select(x, d, i)));
}

/** `torch.Tensor.detach`: the same memory, cut off from the tape. */
export function detach(x: Tensor): Tensor {
  return x.alias();
}

/**
 * `torch.Tensor.detach_`: cuts this tensor itself off from the tape. Views are refused, as PyTorch refuses
 * them: `detach()` them.
 */
export function detach_(x: Tensor): Tensor {
  if (x.viewOf !== null) {
    throw new Error('detach_: a view shares its place on the tape with its base; use detach() instead');
  }
  x.node = null;
  x.wantsGrad = false;
  return x;
}

const diagonalOp: (x: Tensor, offset: number, a: number, b: number) => Tensor = defineOp<
  [Tensor, number, number, number],
  Tensor,
  { shape: readonly number[]; at: [number, number, number] }
>({
  name: 'diagonal',
  forward(ctx, x, offset, a, b) {
    ctx.state = { shape: x.shape, at: [offset, a, b] };
    const rows = x.shape[a] as number;
    const columns = x.shape[b] as number;
    const length = Math.max(
      0,
      offset >= 0 ? Math.min(rows, columns - offset) : Math.min(rows + offset, columns),
    );
    const start = offset >= 0 ? offset * (x.strides[b] as number) : -offset * (x.strides[a] as number);
    const rest = x.shape.map((_, i) => i).filter((i) => i !== a && i !== b);
    return x.alias(
      [...rest.map((i) => x.shape[i] as number), length],
      [...rest.map((i) => x.strides[i] as number), (x.strides[a] as number) + (x.strides[b] as number)],
      x.offset + (length > 0 ? start : 0),
    );
  },
  backward: (ctx, grad) => [() => diagonalBackward(grad, ctx.state.shape, ctx.state.at)],
});

const diagonalBackward: (
  grad: Tensor,
  shape: readonly number[],
  at: readonly [number, number, number],
) => Tensor = defineOp<
  [Tensor, readonly number[], readonly [number, number, number]],
  Tensor,
  readonly [number, number, number]
>({
  name: 'diagonalBackward',
  forward(ctx, grad, shape, at) {
    ctx.state = at;
    const out = primitives().zeros(shape, grad.dtype);
    copyInto(diagonalOp(out, ...(at as [number, number, number])), grad);
    return out;
  },
  backward: (ctx, grad) => [() => diagonalOp(grad, ...(ctx.state as [number, number, number]))],
});

/** `torch.diagonal`: the diagonal of two dims as a new last dim; a view. */
export function diagonal(x: Tensor, options: { offset?: number; dim1?: number; dim2?: number } = {}): Tensor {
  const a = normalizeDim('diagonal', options.dim1 ?? 0, x.ndim);
  const b = normalizeDim('diagonal', options.dim2 ?? 1, x.ndim);
  if (a === b || x.ndim < 2)
    throw new Error(`diagonal: needs two different dims of shape ${showShape(x.shape)}`);
  return diagonalOp(x, options.offset ?? 0, a, b);
}

/** `torch.Tensor.view_as`. */
export function viewAs(x: Tensor, other: Tensor): Tensor {
  return sameShape(x.shape, other.shape) ? aliasOf(x) : view(x, other.shape);
}
