import { defineOp } from '../../autograd/define.js';
import type { Geometry } from '../../autograd/primitives.js';
import { overlapsItself, sameShape } from '../../tensor/shape.js';
import { Tensor } from '../../tensor/tensor.js';
import { addInto, fillInto, copyInto } from './copies.js';
import { sumDims } from './sum-to.js';
import { select } from './view.js';

/*
 * The part of a tensor that a view covers, for gradients that go through writes into views (PyTorch's
 * CopySlices and the backward of as_strided). `place` says how the tensor's elements lie, `slice` how the
 * view's elements lie in the same memory. Each op's gradient is made of the others, so that they can be
 * differentiated again.
 */

type Part = readonly [place: Geometry, slice: Geometry];

/** `x` in the order of `place`: as it is, or a copy. */
function laidOut(x: Tensor, { shape, strides }: Geometry): Tensor {
  if (sameShape(x.strides, strides)) return x.alias();
  return copied(x, { shape, strides, offset: 0 });
}

function copied(x: Tensor, { shape, strides }: Geometry): Tensor {
  const out = Tensor.empty(shape, x.dtype, 'clone', strides);
  copyInto(out, x);
  return out;
}

const windowOf = (whole: Tensor, [place, slice]: Part): Tensor =>
  whole.alias(slice.shape, slice.strides, whole.offset + slice.offset - place.offset);

/** The elements of `x` (of `place`'s shape) that `slice` covers. */
export const takeRegion: (x: Tensor, ...part: Part) => Tensor = defineOp<[Tensor, ...Part], Tensor, Part>({
  name: 'takeRegion',
  forward(ctx, x, ...part) {
    ctx.state = part;
    return windowOf(laidOut(x, part[0]), part);
  },
  backward: (ctx, grad) => [() => placeRegion(grad, ...ctx.state)],
});

/** Zeros of `place`'s shape with `x` added where `slice` lies; elements that share an address add up. */
export const placeRegion: (x: Tensor, ...part: Part) => Tensor = defineOp<[Tensor, ...Part], Tensor, Part>({
  name: 'placeRegion',
  forward(ctx, x, ...part) {
    ctx.state = part;
    const [place] = part;
    const out = Tensor.empty(place.shape, x.dtype, 'view', place.strides);
    fillInto(out, 0, false);
    const window = windowOf(out, part);
    if (overlapsItself(window.shape, window.strides)) addOverlapping(window, x);
    else copyInto(window, x);
    return out;
  },
  backward: (ctx, grad) => [() => takeRegion(grad, ...ctx.state)],
});

/** `x` (of `place`'s shape) with `part` where `slice` lies. */
export const replaceRegion: (x: Tensor, part: Tensor, ...at: Part) => Tensor = defineOp<
  [Tensor, Tensor, ...Part],
  Tensor,
  Part
>({
  name: 'replaceRegion',
  forward(ctx, x, part, ...at) {
    ctx.state = at;
    const out = copied(x, at[0]);
    copyInto(windowOf(out, at), part);
    return out;
  },
  backward(ctx, grad) {
    const [place, slice] = ctx.state;
    return [
      () => replaceRegion(grad, zeros(slice, grad), place, slice),
      () => takeRegion(grad, place, slice),
    ];
  },
});

function zeros({ shape }: Geometry, like: Tensor): Tensor {
  const out = Tensor.empty(shape, like.dtype, 'zeros');
  fillInto(out, 0, false);
  return out;
}

/** Adds `x` to `window`, one after another along dims whose elements share addresses. */
function addOverlapping(window: Tensor, x: Tensor): void {
  const repeated = window.shape.flatMap((size, d) => (size > 1 && window.strides[d] === 0 ? [d] : []));
  if (repeated.length > 0) {
    const once = window.alias(
      window.shape.map((size, d) => (repeated.includes(d) ? 1 : size)),
      window.strides,
    );
    return addOverlapping(once, sumDims(x, repeated, true));
  }
  if (!overlapsItself(window.shape, window.strides)) {
    addInto(window, x);
    return;
  }
  const dim = dimToUnroll(window);
  for (let i = 0; i < (window.shape[dim] as number); i++)
    addOverlapping(select(window, dim, i), select(x, dim, i));
}

/** The shortest dim without which nothing overlaps, or else the shortest. */
function dimToUnroll({ shape, strides }: Tensor): number {
  const dims = shape.map((_, d) => d).filter((d) => shape[d] !== 1);
  dims.sort((a, b) => (shape[a] as number) - (shape[b] as number));
  const without = (list: readonly number[], d: number): number[] => list.filter((_, i) => i !== d);
  return dims.find((d) => !overlapsItself(without(shape, d), without(strides, d))) ?? (dims[0] as number);
}
