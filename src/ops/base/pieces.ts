import { checkTensors } from './tensors.js';
import { defineOp } from '../../autograd/define.js';
import { isGradEnabled } from '../../autograd/mode.js';
import { markView } from '../../autograd/view.js';
import { normalizeDim, showShape } from '../../tensor/shape.js';
import { Tensor } from '../../tensor/tensor.js';
import { readAlong, readValueAlong, type AlongArgs, type ValueAlongArgs } from './along.js';
import { copyInto, fillInto } from './copies.js';
import { narrow, select } from './view.js';

/* Several views of one tensor, side by side. */

type DimList = number | readonly number[];

/** Along `dim`: pieces of these sizes one after the other, or (null) each index, without the dim. */
interface Cut {
  readonly dim: number;
  readonly sizes: readonly number[] | null;
}

interface SizedCut extends Cut {
  readonly sizes: readonly number[];
}

function windows(x: Tensor, { dim, sizes }: Cut): Tensor[] {
  const stride = x.strides[dim] as number;
  const without = (list: readonly number[]): number[] => list.filter((_, d) => d !== dim);
  if (sizes === null)
    return Array.from({ length: x.shape[dim] as number }, (_, i) =>
      x.alias(without(x.shape), without(x.strides), x.offset + i * stride),
    );
  let at = 0;
  return sizes.map((length) => {
    const start = at;
    at += length;
    const shape = x.shape.map((size, d) => (d === dim ? length : size));
    return x.alias(shape, x.strides, x.offset + (length > 0 ? start * stride : 0));
  });
}

/** What was cut, and how it lay in memory where that was without gaps. */
interface Whole extends Cut {
  readonly shape: readonly number[];
  readonly strides: readonly number[] | undefined;
  /** `Storage.ownOrder` */
  readonly ownOrder: boolean;
}

/** The gradient of what was cut from those of the pieces, zeros for the ones without. */
const joinPieces: (grads: readonly (Tensor | null)[], whole: Whole) => Tensor = defineOp<
  [readonly (Tensor | null)[], Whole],
  Tensor,
  { whole: Whole; at: readonly number[] }
>({
  name: 'joinPieces',
  forward(ctx, grads, whole) {
    const at = grads.flatMap((grad, i) => (grad === null ? [] : [i]));
    ctx.state = { whole, at };
    const { dtype } = grads[at[0] as number] as Tensor;
    const out = Tensor.empty(whole.shape, dtype, 'joinPieces', whole.strides);
    out.storage.ownOrder = whole.ownOrder;
    // Many without a gradient are cleared at once.
    const isCleared = grads.length - at.length > 2;
    if (isCleared) fillInto(out, 0, false);
    windows(out, whole).forEach((window, i) => {
      const grad = grads[i] ?? null;
      if (window.numel() === 0) return;
      if (grad !== null) copyInto(window, grad);
      else if (!isCleared) fillInto(window, 0);
    });
    return out;
  },
  backward({ state: { whole, at } }, grad) {
    const { dim, sizes } = whole;
    const starts = [0];
    for (const size of sizes ?? []) starts.push((starts.at(-1) as number) + size);
    return at.map(
      (i) => () =>
        sizes === null ? select(grad, dim, i) : narrow(grad, dim, starts[i] as number, sizes[i] as number),
    );
  },
});

/**
 * Views on one node of the tape: their gradients come together in memory that is written once, where views
 * on their own would each make a whole one to be added up.
 */
function cutter(name: string): (x: Tensor, cut: Cut) => Tensor[] {
  const op = defineOp<[Tensor, Cut], Tensor[], Whole>({
    name,
    forward(ctx, x, cut) {
      const strides = x.isDense() ? x.strides : undefined;
      ctx.state = { ...cut, shape: x.shape, strides, ownOrder: strides !== undefined && x.storage.ownOrder };
      return windows(x, cut);
    },
    backwardOfSome: (ctx, grads) => [() => joinPieces(grads, ctx.state)],
  });
  return (x, cut) => {
    const views = op(x, cut);
    for (const view of views) {
      markView(view, x, isGradEnabled());
      if (isGradEnabled() && view.viewOf !== null) view.viewOf.limit = 'several';
    }
    return views;
  };
}

const cutSplit = cutter('split');
const cutUnbind = cutter('unbind');

/** The sizes that `split` makes of a dim. */
function sizesOf(op: string, x: Tensor, size: DimList, dim: number): SizedCut {
  const d = normalizeDim(op, dim, x.ndim);
  const total = x.shape[d];
  if (total === undefined) throw new Error(`${op}: a zero-dim tensor cannot be split`);
  if (typeof size === 'number' && !(Number.isInteger(size) && (size > 0 || (size === 0 && total === 0))))
    throw new Error(`${op}: size must be a positive integer (or 0 of an empty dim), got ${size}`);
  const sizes =
    typeof size === 'number'
      ? Array.from({ length: Math.ceil(total / size) || 1 }, (_, i) => Math.min(size, total - i * size))
      : size;
  if (!Array.isArray(sizes) || !sizes.every((length) => Number.isInteger(length) && length >= 0))
    throw new Error(`${op}: sizes must be an array of integers of 0 or more, got ${String(sizes)}`);
  if (sizes.reduce((a, b) => a + b, 0) !== total) {
    throw new Error(
      `${op}: sizes ${showShape(sizes)} do not add up to ${total}, dim ${dim} of shape ${showShape(x.shape)}`,
    );
  }
  return { dim: d, sizes };
}

/** Views of their own, which may be written in place on the tape. */
function slices(x: Tensor, { dim, sizes }: SizedCut): Tensor[] {
  let at = 0;
  return sizes.map((length) => narrow(x, dim, (at += length) - length, length));
}

type SplitArgs = ValueAlongArgs<number | readonly number[], 'splitSize'>;

/** `torch.split`: pieces of `size` along `dim` (the last may be smaller), or of the given sizes; views. */
export function split(x: Tensor, ...args: SplitArgs): Tensor[] {
  return cutSplit(x, sizesOf('split', x, ...readValueAlong<DimList>('split', 'splitSize', args)));
}

/** `torch.unsafe_split`: {@link split} whose views may be written in place on the tape. */
export function unsafeSplit(x: Tensor, ...args: SplitArgs): Tensor[] {
  return slices(x, sizesOf('unsafeSplit', x, ...readValueAlong<DimList>('unsafeSplit', 'splitSize', args)));
}

function chunkSizes(op: string, x: Tensor, args: ValueAlongArgs<number, 'chunks'>): SizedCut {
  const [chunks, dim] = readValueAlong<number>(op, 'chunks', args);
  if (!Number.isInteger(chunks) || chunks < 1)
    throw new Error(`${op}: chunks must be a positive integer, got ${chunks}`);
  const size = Math.ceil((x.shape[normalizeDim(op, dim, x.ndim)] ?? 1) / chunks);
  return sizesOf(op, x, size === 0 ? new Array<number>(chunks).fill(0) : size, dim);
}

/** `torch.chunk`: at most `chunks` pieces of equal size along `dim`, of an empty dim as many; views. */
export function chunk(x: Tensor, ...args: ValueAlongArgs<number, 'chunks'>): Tensor[] {
  return cutSplit(x, chunkSizes('chunk', x, args));
}

/** `torch.unsafe_chunk`: {@link chunk} whose views may be written in place on the tape. */
export function unsafeChunk(x: Tensor, ...args: ValueAlongArgs<number, 'chunks'>): Tensor[] {
  return slices(x, chunkSizes('unsafeChunk', x, args));
}

/** `torch.unbind`: every index of `dim`, which disappears; views. */
export function unbind(x: Tensor, ...args: AlongArgs): Tensor[] {
  checkTensors('unbind', x);
  const d = normalizeDim('unbind', readAlong('unbind', args), x.ndim);
  const length = x.shape[d];
  if (length === undefined) throw new Error('unbind: a zero-dim tensor has no dim to take apart');
  return cutUnbind(x, { dim: d, sizes: null });
}
