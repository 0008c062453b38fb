import {
  adaptiveAvgPoolOf,
  adaptiveMaxPoolOf,
  avgPoolOf,
  maxPoolOf,
  type AdaptiveAvgPool,
  type AdaptiveMaxPool,
  type AvgPool,
  type Axis,
  type MaxPool,
  type Over,
} from './pool-core.js';
import type { Size1d } from '../base/sizes.js';
import { squeeze, unsqueeze } from '../base/view.js';

const still: Axis = { size: 1, out: 1, kernel: 1, stride: 1, pad: 0, dilation: 1 };

/** Lines as images of one row. */
const overLines: Over = (x, [axis], pool) =>
  pool(unsqueeze(x, 2), [still, axis as Axis]).map((y) => squeeze(y, 2));

/** A length; null keeps the input's. */
export type AdaptiveSize1d = number | null | readonly [number | null];

/**
 * `torch.nn.functional.max_pool1d`: the largest value (NaN first) of each window of `k` of `x` [N, C, L] or
 * [C, L]; options, sizes and gradients as `maxPool2d`. With `returnIndices` the result is `[values,
 * indices]`.
 */
export const maxPool1d: MaxPool<Size1d> = maxPoolOf('maxPool1d', 1, overLines);

/** `torch.nn.functional.avg_pool1d`: the mean of each window of `k` of `x` [N, C, L] or [C, L]. */
export const avgPool1d: AvgPool<Size1d> = avgPoolOf('avgPool1d', 1, overLines);

/**
 * `torch.nn.functional.adaptive_avg_pool1d`: `x` [N, C, L] or [C, L] to length `size`, each the mean from
 * `floor(o L / Lout)` up to (not including) `ceil((o + 1) L / Lout)`.
 */
export const adaptiveAvgPool1d: AdaptiveAvgPool<AdaptiveSize1d> = adaptiveAvgPoolOf(
  'adaptiveAvgPool1d',
  1,
  overLines,
);

/**
 * `torch.nn.functional.adaptive_max_pool1d`: windows as {@link adaptiveAvgPool1d}, maxima as {@link
 * maxPool1d}.
 */
export const adaptiveMaxPool1d: AdaptiveMaxPool<AdaptiveSize1d> = adaptiveMaxPoolOf(
  'adaptiveMaxPool1d',
  1,
  overLines,
);
