/** Row-major float64 arrays: what gradients and freshly computed values are in the reference interpreter. */

export type Shape = readonly number[];

export const numel = (shape: Shape): number => shape.reduce((product, size) => product * size, 1);

export const sameShape = (a: Shape, b: Shape): boolean =>
  a.length === b.length && a.every((n, i) => n === b[i]);

/** Strides of a row-major array. */
export function rowMajor(shape: Shape): number[] {
  const strides = new Array<number>(shape.length);
  let step = 1;
  for (let d = shape.length - 1; d >= 0; d--) {
    strides[d] = step;
    step *= shape[d] as number;
  }
  return strides;
}

/** The positions in memory of a strided array's elements, in row-major order of its indices. */
export function positions(shape: Shape, strides: readonly number[], offset: number): number[] {
  let all = [offset];
  shape.forEach((size, d) => {
    const stride = strides[d] as number;
    all = all.flatMap((at) => Array.from({ length: size }, (_, i) => at + i * stride));
  });
  return all;
}

export class NdArray {
  constructor(
    readonly shape: Shape,
    readonly data: Float64Array,
  ) {}

  static full(shape: Shape, value: number): NdArray {
    return new NdArray(shape, new Float64Array(numel(shape)).fill(value));
  }

  map(fn: (x: number, i: number) => number): NdArray {
    return new NdArray(this.shape, this.data.map(fn));
  }

  reshape(shape: Shape): NdArray {
    return new NdArray(shape, this.data);
  }
}

/**
 * numpy's rule: shapes are aligned at their last dim, and a size of 1 repeats. Null where they do not fit.
 */
export function broadcastShape(...shapes: Shape[]): number[] | null {
  const ndim = Math.max(...shapes.map((shape) => shape.length));
  const result = new Array<number>(ndim).fill(1);
  for (const shape of shapes) {
    for (let i = 0; i < shape.length; i++) {
      const d = ndim - shape.length + i;
      const size = shape[i] as number;
      if (size === 1 || size === result[d]) continue;
      if (result[d] !== 1) return null;
      result[d] = size;
    }
  }
  return result;
}

/** Strides with which an array of `shape` is read as one of shape `to`: 0 where it repeats. */
export function broadcastStrides(shape: Shape, strides: readonly number[], to: Shape): number[] {
  const lead = to.length - shape.length;
  const repeats = (d: number): boolean => d < lead || (shape[d - lead] === 1 && to[d] !== 1);
  return to.map((_, d) => (repeats(d) ? 0 : (strides[d - lead] as number)));
}

export function broadcastTo(x: NdArray, shape: Shape): NdArray {
  if (sameShape(x.shape, shape)) return x;
  const at = positions(shape, broadcastStrides(x.shape, rowMajor(x.shape), shape), 0);
  return new NdArray(
    shape,
    Float64Array.from(at, (i) => x.data[i] as number),
  );
}

/** `fn` of corresponding elements, after broadcasting. */
export function zip(fn: (...values: number[]) => number, ...arrays: NdArray[]): NdArray {
  const shape = broadcastShape(...arrays.map((x) => x.shape));
  if (shape === null) throw new Error('zip: shapes do not fit');
  const wide = arrays.map((x) => broadcastTo(x, shape).data);
  return new NdArray(
    shape,
    Float64Array.from({ length: numel(shape) }, (_, i) => fn(...wide.map((data) => data[i] as number))),
  );
}

/** The reverse of broadcasting: sums over the dims that were repeated. */
export function sumTo(x: NdArray, shape: Shape): NdArray {
  if (sameShape(x.shape, shape)) return x;
  const out = NdArray.full(shape, 0);
  const at = positions(x.shape, broadcastStrides(shape, rowMajor(shape), x.shape), 0);
  at.forEach((to, i) => (out.data[to] = (out.data[to] as number) + (x.data[i] as number)));
  return out;
}

/** The shape that is left when `dims` are reduced; with `keepdim` they stay as 1. */
export const reducedShape = (shape: Shape, dims: readonly number[], keepdim: boolean): number[] =>
  keepdim ? shape.map((size, d) => (dims.includes(d) ? 1 : size)) : shape.filter((_, d) => !dims.includes(d));

/**
 * The elements that fall together when `dims` are reduced: for each element of the result, indices into
 * `x.data`.
 */
export function groups(shape: Shape, dims: readonly number[]): number[][] {
  const kept = reducedShape(shape, dims, true);
  const result: number[][] = Array.from({ length: numel(kept) }, () => []);
  positions(shape, broadcastStrides(kept, rowMajor(kept), shape), 0).forEach((to, i) => result[to]?.push(i));
  return result;
}

/** `fn` of each group of elements, see {@link groups}. */
export function reduce(
  x: NdArray,
  dims: readonly number[],
  keepdim: boolean,
  fn: (values: number[]) => number,
): NdArray {
  return new NdArray(
    reducedShape(x.shape, dims, keepdim),
    Float64Array.from(groups(x.shape, dims), (group) => fn(group.map((i) => x.data[i] as number))),
  );
}
