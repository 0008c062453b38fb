import type { DType, TypedArray } from './dtype.js';
import { numel, type Shape } from './shape.js';

/** @internal The elements of a strided tensor in row-major order; `raw` holds its memory, from `start` on. */
export function gatherElements(
  raw: TypedArray,
  shape: Shape,
  strides: readonly number[],
  start: number,
): TypedArray {
  const count = numel(shape);
  const out = new (raw.constructor as new (n: number) => TypedArray)(count);
  const index = new Array<number>(shape.length).fill(0);
  for (let i = 0, from = start; i < count; i++) {
    out[i] = raw[from] as number;
    for (let d = shape.length - 1; d >= 0; d--) {
      index[d] = (index[d] as number) + 1;
      from += strides[d] as number;
      if ((index[d] as number) < (shape[d] as number)) break;
      from -= (index[d] as number) * (strides[d] as number);
      index[d] = 0;
    }
  }
  return out;
}

type Nested = number | boolean | readonly Nested[];

/** @internal Row-major `values` as nested arrays; a number for a zero-dim shape, booleans for bool. */
export function nested(values: TypedArray, shape: Shape, dtype: DType): Nested {
  let at = 0;
  const build = (d: number): Nested => {
    if (d === shape.length) {
      const value = values[at++] as number;
      return dtype === 'bool' ? value !== 0 : value;
    }
    return Array.from({ length: shape[d] as number }, () => build(d + 1));
  };
  return build(0);
}
