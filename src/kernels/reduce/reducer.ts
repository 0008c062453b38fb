/** What a reduction keeps while it runs (states.ts has one per op). */
import type { Width } from '../base/dtype.js';

/**
 * - `sum`, `prod`, `max`, `min`: of the mapped values; max and min pass NaN on.
 * - `exactSum`, `exactDot`, `exactProd`: of i32 values (with a second one, `factor`, for the sum of
 *   products); a result that is no i32 raises an error (exact-int.ts).
 * - `compensatedSum`: of f32 values, with what rounding lost kept beside it; for kernels with a parameter
 *   `zero`.
 * - `logsumexp`: log of the sum of exponentials, in one pass (M. Milakov, N. Gimelshein, arXiv:1805.02867).
 * - `moments`: mean and sum of squared deviations, by Welford's update and Chan's join
 *   (https://en.wikipedia.org/wiki/Algorithms_for_calculating_variance).
 * - `scaledMoments`: the same for numbers whose squares are no float32: deviations are taken times a power of
 *   two, which is the third result.
 * - `argmax`, `argmin`: the value and its index, the first among equals; NaN beats everything, as in PyTorch.
 *   `cummax`, `cummin`, for scans: the last among equals.
 */
export type ReduceOp =
  | 'sum'
  | 'prod'
  | 'exactSum'
  | 'exactDot'
  | 'exactProd'
  | 'max'
  | 'min'
  | 'logsumexp'
  | 'moments'
  | 'scaledMoments'
  | 'argmax'
  | 'argmin'
  | 'compensatedSum'
  | 'cummax'
  | 'cummin';

export interface Field {
  readonly type: 'f32' | 'i32' | 'u32';
  /** WGSL of the neutral element, a scalar. */
  readonly init: string;
}

export interface Reducer {
  readonly fields: readonly Field[];
  /**
   * Statements that take value `x`, number `index` of the reduction (u32), into the state; for `exactDot`
   * with its factor.
   */
  step(acc: readonly string[], x: string, index: string, width: Width, factor?: string): string;
  /** Statements that join state `b` into `acc`. */
  merge(acc: readonly string[], b: readonly string[], width: Width): string;
  /** WGSL of the results, by {@link resultTypes}. */
  results(acc: readonly string[], width: Width): string[];
  /**
   * WGSL, on scalars, that says of a final state whether its result is no value of the type, and the words to
   * raise then.
   */
  refuses?(acc: readonly string[]): { readonly bad: string; readonly words: string };
}
