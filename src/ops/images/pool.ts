import {
  adaptiveAvgPoolOf,
  adaptiveMaxPoolOf,
  avgPoolOf,
  maxPoolOf,
  overImages,
  type AdaptiveAvgPool,
  type AdaptiveMaxPool,
  type AdaptiveSize,
  type AvgPool,
  type AvgPoolOptions,
  type MaxPool,
  type MaxPoolOptions,
} from './pool-core.js';
import type { Size2d } from '../base/sizes.js';

export type { AdaptiveSize };
export type MaxPool2dOptions = MaxPoolOptions;
export type AvgPool2dOptions = AvgPoolOptions;
export type MaxPool2d = MaxPool<Size2d>;
export type AdaptiveMaxPool2d = AdaptiveMaxPool<AdaptiveSize>;

/**
 * `torch.nn.functional.max_pool2d`: the largest value (NaN first) of each `k` window of `x` [N, C, H, W] or
 * [C, H, W]; `Hout = floor((H + 2 padding - dilation (k - 1) - 1) / stride + 1)`. The gradient goes to the
 * first of equal maxima. With `returnIndices` the result is `[values, indices]`, an index being
 * `row * W + column`.
 */
export const maxPool2d: MaxPool2d = maxPoolOf('maxPool2d', 2, overImages);

/**
 * `torch.nn.functional.avg_pool2d`: the mean of each `k` window of `x` [N, C, H, W] or [C, H, W]; sizes as
 * {@link maxPool2d}.
 */
export const avgPool2d: AvgPool<Size2d> = avgPoolOf('avgPool2d', 2, overImages);

/**
 * `torch.nn.functional.adaptive_avg_pool2d`: `x` [N, C, H, W] or [C, H, W] to `size`; output row `o` is the
 * mean of input rows `floor(o H / Hout)` up to (not including) `ceil((o + 1) H / Hout)`.
 */
export const adaptiveAvgPool2d: AdaptiveAvgPool<AdaptiveSize> = adaptiveAvgPoolOf(
  'adaptiveAvgPool2d',
  2,
  overImages,
);

/**
 * `torch.nn.functional.adaptive_max_pool2d`: windows as {@link adaptiveAvgPool2d}, maxima as {@link
 * maxPool2d}.
 */
export const adaptiveMaxPool2d: AdaptiveMaxPool2d = adaptiveMaxPoolOf('adaptiveMaxPool2d', 2, overImages);
