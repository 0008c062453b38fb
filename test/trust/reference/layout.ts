import { broadcastStrides, numel, rowMajor, sameShape, type Shape } from './ndarray.js';
import type { Geometry } from './tensor.js';

/* Where results lie in memory, and what overlaps: it decides which views exist and which writes PyTorch refuses. */

/** Row-major, whatever the strides of dims of size 1. */
export function isContiguous({ shape, strides }: Geometry): boolean {
  const wanted = rowMajor(shape);
  return shape.every((size, d) => size === 1 || strides[d] === wanted[d]);
}

/** Every location from the first to the last is used once (PyTorch's `is_non_overlapping_and_dense`). */
export function isDense({ shape, strides }: Geometry): boolean {
  const order = shape.map((_, d) => d).filter((d) => shape[d] !== 1);
  order.sort((a, b) => (strides[a] as number) - (strides[b] as number));
  let step = 1;
  for (const d of order) {
    if (strides[d] !== step) return false;
    step *= shape[d] as number;
  }
  return true;
}

/** Some location is used twice for certain: PyTorch looks for strides of 0 only. */
export const overlapsItself = ({ shape, strides }: Geometry): boolean =>
  shape.some((size, d) => size > 1 && strides[d] === 0);

/** PyTorch's `get_overlap_status` for two windows on one storage; 'unknown' is not refused. */
export function overlap(a: Geometry, b: Geometry): 'none' | 'full' | 'partial' | 'unknown' {
  if (!isDense(a) || !isDense(b)) return 'unknown';
  const [endA, endB] = [a.offset + numel(a.shape), b.offset + numel(b.shape)];
  if (a.offset === b.offset && endA === endB) return sameShape(a.strides, b.strides) ? 'full' : 'partial';
  return a.offset < endB && b.offset < endA ? 'partial' : 'none';
}

/**
 * Strides of a pointwise result (PyTorch's TensorIterator): if all inputs have the result's shape and the
 * same dense strides, those; else dense, with the dims in the order of the first operand that tells two of
 * them apart.
 */
export function pointwiseStrides(shape: Shape, inputs: readonly Geometry[]): number[] {
  const [first] = inputs;
  if (first !== undefined && inputs.every((x) => sameShape(x.shape, shape))) {
    if (inputs.every(isContiguous)) return rowMajor(shape);
    if (isDense(first) && inputs.every((x) => sameShape(x.strides, first.strides))) return [...first.strides];
  }
  const rows = inputs.map((x) => broadcastStrides(x.shape, x.strides, shape));
  const order = shape.map((_, d) => shape.length - 1 - d);
  /** Positive: `a` should come after `b`. */
  const compare = (a: number, b: number): number => {
    for (const row of rows) {
      const [strideA, strideB] = [row[a] as number, row[b] as number];
      if (strideA === 0 || strideB === 0) continue;
      if (strideA !== strideB) return strideA - strideB;
      if ((shape[a] as number) > (shape[b] as number)) return 1;
    }
    return 0;
  };
  // Insertion sort, since the comparison leaves some pairs open.
  for (let i = 1; i < order.length; i++) {
    let at = i;
    for (let before = i - 1; before >= 0; before--) {
      const way = compare(order[before] as number, order[at] as number);
      if (way < 0) break;
      if (way === 0) continue;
      [order[before], order[at]] = [order[at] as number, order[before] as number];
      at = before;
    }
  }
  const strides = new Array<number>(shape.length);
  let step = 1;
  for (const d of order) {
    strides[d] = step;
    step *= shape[d] as number;
  }
  return strides;
}

/**
 * Strides that show the same memory under another shape; null where only a copy could (PyTorch's
 * `computeStride`).
 */
export function viewStrides(from: Geometry, shape: Shape): number[] | null {
  const strides = new Array<number>(shape.length).fill(0);
  let d = shape.length - 1;
  let chunkSize = 1;
  let chunkStride = from.shape.length === 0 ? 1 : (from.strides[from.shape.length - 1] as number);
  if (from.shape.length === 0) return shape.map(() => 1);
  for (let s = from.shape.length - 1; s >= 0; s--) {
    chunkSize *= from.shape[s] as number;
    // A chunk of dims that lie behind one another in memory ends where the next stride does not follow.
    const ends = s === 0 || (from.shape[s - 1] !== 1 && from.strides[s - 1] !== chunkSize * chunkStride);
    if (!ends) continue;
    let size = 1;
    while (d >= 0 && (size < chunkSize || shape[d] === 1)) {
      strides[d] = size * chunkStride;
      size *= shape[d] as number;
      d--;
    }
    if (size !== chunkSize) return null;
    if (s > 0) {
      chunkStride = from.strides[s - 1] as number;
      chunkSize = 1;
    }
  }
  return d === -1 ? strides : null;
}
