import type { DType } from '../tensor/dtype.js';
import type { Tensor } from '../tensor/tensor.js';

/** Where a tensor's elements lie in its storage. */
export interface Geometry {
  readonly shape: readonly number[];
  readonly strides: readonly number[];
  readonly offset: number;
}

/** The few ops the engine itself needs. The ops room, which is above this one, hands them in. */
export interface Primitives {
  add(a: Tensor, b: Tensor): Tensor;
  onesLike(x: Tensor): Tensor;
  zeros(shape: readonly number[], dtype: DType): Tensor;
  /** `x` summed to `shape`, which broadcasts to its shape, and converted to `dtype`; differentiable. */
  fit(x: Tensor, shape: readonly number[], dtype: DType): Tensor;
  /** Copies `from` into the memory of `to`. */
  assign(to: Tensor, from: Tensor): void;
  /** A dense copy in the layout of `like`. */
  cloneLike(x: Tensor, like: Tensor): Tensor;
  /** Zeros of `place` with `grad` added where `slice` lies in it. */
  placeRegion(grad: Tensor, place: Geometry, slice: Geometry): Tensor;
  /** Zero-dim bool: does `x` hold a NaN? */
  hasNaN(x: Tensor): Tensor;
}

const registered: Partial<Primitives> = {};

export function registerPrimitives(some: Partial<Primitives>): void {
  Object.assign(registered, some);
}

export const primitives = (): Primitives => registered as Primitives;
