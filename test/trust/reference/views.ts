import { viewStrides } from './layout.js';
import { numel } from './ndarray.js';
import { Refused, type Geometry } from './tensor.js';

/* Views: another shape, strides and offset on the same memory. Their gradient follows from where their elements lie. */

const without = (list: readonly number[], d: number): number[] => list.filter((_, i) => i !== d);
const inserted = (list: readonly number[], d: number, value: number): number[] => [
  ...list.slice(0, d),
  value,
  ...list.slice(d),
];

export function slice(x: Geometry, dim: number, start: number, end: number, step: number): Geometry {
  return {
    shape: x.shape.map((size, d) => (d === dim ? Math.ceil((end - start) / step) : size)),
    strides: x.strides.map((stride, d) => (d === dim ? stride * step : stride)),
    offset: x.offset + start * (x.strides[dim] as number),
  };
}

export const narrow = (x: Geometry, dim: number, start: number, length: number): Geometry =>
  slice(x, dim, start, start + length, 1);

export const select = (x: Geometry, dim: number, index: number): Geometry => ({
  shape: without(x.shape, dim),
  strides: without(x.strides, dim),
  offset: x.offset + index * (x.strides[dim] as number),
});

export const permute = (x: Geometry, dims: readonly number[]): Geometry => ({
  shape: dims.map((d) => x.shape[d] as number),
  strides: dims.map((d) => x.strides[d] as number),
  offset: x.offset,
});

export function transpose(x: Geometry, a: number, b: number): Geometry {
  return permute(
    x,
    x.shape.map((_, d) => (d === a ? b : d === b ? a : d)),
  );
}

/** Sizes of 1 repeat without a copy; new dims come in front. */
export function expand(x: Geometry, shape: readonly number[]): Geometry {
  const lead = shape.length - x.shape.length;
  const strides = new Array<number>(shape.length);
  for (let d = shape.length - 1; d >= 0; d--) {
    const isNew = d < lead;
    const size = isNew ? 1 : (x.shape[d - lead] as number);
    if (size !== 1 && size !== shape[d]) throw new Refused('shape');
    const stride = isNew ? (shape[d + 1] ?? 1) * (strides[d + 1] ?? 1) : (x.strides[d - lead] as number);
    strides[d] = size === shape[d] ? stride : 0;
  }
  return { shape, strides, offset: x.offset };
}

export const unsqueeze = (x: Geometry, dim: number): Geometry => ({
  shape: inserted(x.shape, dim, 1),
  strides: inserted(
    x.strides,
    dim,
    dim < x.shape.length ? (x.shape[dim] as number) * (x.strides[dim] as number) : 1,
  ),
  offset: x.offset,
});

/** Drops dim `dim` if its size is 1. */
export function squeeze(x: Geometry, dim: number): Geometry {
  const { shape, strides, offset } = x;
  if (shape[dim] !== 1) return { shape, strides, offset };
  return { shape: without(shape, dim), strides: without(strides, dim), offset };
}

/** The diagonal of dims 0 and 1, as the last dim. */
export function diagonal(x: Geometry, shift: number): Geometry {
  const [rows, columns, ...rest] = x.shape as [number, number, ...number[]];
  const [down, right, ...others] = x.strides as [number, number, ...number[]];
  const length = Math.max(0, shift >= 0 ? Math.min(rows, columns - shift) : Math.min(rows + shift, columns));
  return {
    shape: [...rest, length],
    strides: [...others, down + right],
    offset: x.offset + (shift >= 0 ? shift * right : -shift * down),
  };
}

/** Windows of `size` along `dim`, `step` apart, as a new last dim. */
export function unfold(x: Geometry, dim: number, size: number, step: number): Geometry {
  const length = x.shape[dim] as number;
  const stride = x.strides[dim] as number;
  return {
    shape: [...x.shape.map((n, d) => (d === dim ? Math.floor((length - size) / step) + 1 : n)), size],
    strides: [...x.strides.map((s, d) => (d === dim ? s * step : s)), stride],
    offset: x.offset,
  };
}

/** Another shape for the same elements; null where strides forbid it. */
export function reshaped(x: Geometry, shape: readonly number[]): Geometry | null {
  if (numel(shape) !== numel(x.shape)) throw new Refused('shape');
  const strides = viewStrides(x, shape);
  return strides === null ? null : { shape, strides, offset: x.offset };
}

export const flattenedShape = (shape: readonly number[], start: number, end: number): number[] => [
  ...shape.slice(0, start),
  numel(shape.slice(start, end + 1)),
  ...shape.slice(end + 1),
];

/** Pieces of `size` along `dim`; the last may be smaller. */
export function split(x: Geometry, size: number, dim: number): Geometry[] {
  const total = x.shape[dim] as number;
  const pieces: Geometry[] = [];
  for (let at = 0; at < total; at += size) pieces.push(narrow(x, dim, at, Math.min(size, total - at)));
  return pieces;
}

export const unbind = (x: Geometry, dim: number): Geometry[] =>
  Array.from({ length: x.shape[dim] as number }, (_, i) => select(x, dim, i));
