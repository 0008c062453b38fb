import { contiguousStrides, isContiguous, type Shape } from '../../tensor/shape.js';
import type { Tensor } from '../../tensor/tensor.js';

/*
 * Activations are stored channels-last and convolution weights with their output channels innermost, where
 * PyTorch stores both row-major. Whether reshape, flatten and contiguous give a view or a copy depends on
 * that. Where the answer would not be PyTorch's, the result is tied to its source: it can be read as long as
 * nobody writes to either, and the write or the late read is an error.
 */

/**
 * Orders of dims in memory, outermost first, in which the engine stores what PyTorch stores row-major; by
 * rank.
 */
const ownOrders: Readonly<Record<number, readonly (readonly number[])[]>> = {
  // Channels innermost, of a batch of rows and of one image.
  3: [
    [0, 2, 1],
    [1, 2, 0],
  ],
  // Channels innermost, and the weights of convolutions.
  4: [
    [0, 2, 3, 1],
    [2, 3, 1, 0],
  ],
  5: [[0, 2, 3, 4, 1]],
};

/**
 * The strides that PyTorch would have for `x`, where `x` is (a view of) something stored otherwise; null
 * where they are x's own.
 */
export function rowMajorTwin(x: Tensor): number[] | null {
  const { shape, strides } = x.viewOf?.base ?? x;
  const orders = ownOrders[shape.length];
  if (orders === undefined || !x.storage.ownOrder || isContiguous(shape, strides)) return null;
  if (!orders.some((order) => isInOrder(shape, strides, order))) return null;
  const own = contiguousStrides(shape);
  return x.strides.map((stride) => translate(stride, strides, own, shape));
}

function isInOrder(shape: Shape, strides: readonly number[], order: readonly number[]): boolean {
  let step = 1;
  for (let i = order.length - 1; i >= 0; i--) {
    const d = order[i] as number;
    if (shape[d] === 1) continue;
    if (strides[d] !== step) return false;
    step *= shape[d] as number;
  }
  return true;
}

/** A step of `stride` elements along `from` as steps along the same dims of `to`. */
function translate(stride: number, from: readonly number[], to: readonly number[], shape: Shape): number {
  const outermostFirst = shape
    .map((_, d) => d)
    .filter((d) => shape[d] !== 1)
    .sort((a, b) => (from[b] as number) - (from[a] as number));
  let out = 0;
  for (const d of outermostFirst) {
    const steps = Math.floor(stride / (from[d] as number));
    out += steps * (to[d] as number);
    stride -= steps * (from[d] as number);
  }
  return out;
}

/** `result`, which `op` made of `source`, tied to it. */
export function tied(op: string, result: Tensor, source: Tensor): Tensor {
  result.tie = {
    op,
    source: source.storage,
    version: source.storage.version,
    copied: result.storage !== source.storage,
    outer: source.tie,
  };
  return result;
}
