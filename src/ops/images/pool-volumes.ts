import type { Tensor } from '../../tensor/tensor.js';
import { gather } from '../gather/gather.js';
import { add, clamp, mul } from '../pointwise/pointwise.js';
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
import type { Size3d } from '../base/sizes.js';
import { permute, view } from '../base/view.js';
import { slicesOf } from '../base/volumes.js';

const still: Axis = { size: 1, out: 1, kernel: 1, stride: 1, pad: 0, dilation: 1 };

/**
 * Windows of three dims are pooled within slices, then along the depth: the first of equal maxima (and the
 * last NaN) of the first slice that has one is that of the window, and window sizes are products. All but
 * the change to channels-last are views.
 */
const overVolumes: Over = (x, axes, pool) => {
  const [deep, high, wide] = axes as [Axis, Axis, Axis];
  const [n, c] = x.shape as [number, number];
  const lanes = high.out * wide.out * c;
  // What stays at its place along the depth counts as a channel.
  const columns = (slices: Tensor): Tensor =>
    permute(view(permute(slices, 0, 2, 3, 1), n, deep.size, 1, lanes), 0, 3, 1, 2);
  const volume = (t: Tensor): Tensor =>
    permute(view(permute(t, 0, 2, 3, 1), n, deep.out, high.out, wide.out, c), 0, 4, 1, 2, 3);
  const [best, where] = pool(slicesOf(x), [high, wide]) as [Tensor, Tensor?];
  const [y, depth] = pool(columns(best), [deep, still], false) as [Tensor, Tensor?];
  if (where === undefined || depth === undefined) return [volume(y)];
  // A dilated window without a tap inside has a depth past the last.
  const inside = clamp(depth, { max: deep.size - 1 });
  return [volume(y), volume(add(gather(columns(where), 2, inside), mul(depth, high.size * wide.size)))];
};

/** A depth, height and width; null keeps the input's. */
export type AdaptiveSize3d = number | null | readonly [number | null, number | null, number | null];

/**
 * `torch.nn.functional.max_pool3d`: the largest value (NaN first) of each `k` window of `x` [N, C, D, H, W]
 * or [C, D, H, W]; options, sizes and gradients as `maxPool2d`. With `returnIndices` the result is `[values,
 * indices]`, an index being `(slice * H + row) * W + column`.
 */
export const maxPool3d: MaxPool<Size3d> = maxPoolOf('maxPool3d', 3, overVolumes);

/** `torch.nn.functional.avg_pool3d`: the mean of each `k` window of `x` [N, C, D, H, W] or [C, D, H, W]. */
export const avgPool3d: AvgPool<Size3d> = avgPoolOf('avgPool3d', 3, overVolumes);

/**
 * `torch.nn.functional.adaptive_avg_pool3d`: `x` [N, C, D, H, W] or [C, D, H, W] to `size`, by windows as
 * `adaptiveAvgPool2d` has them.
 */
export const adaptiveAvgPool3d: AdaptiveAvgPool<AdaptiveSize3d> = adaptiveAvgPoolOf(
  'adaptiveAvgPool3d',
  3,
  overVolumes,
);

/**
 * `torch.nn.functional.adaptive_max_pool3d`: windows as {@link adaptiveAvgPool3d}, maxima as {@link
 * maxPool3d}.
 */
export const adaptiveMaxPool3d: AdaptiveMaxPool<AdaptiveSize3d> = adaptiveMaxPoolOf(
  'adaptiveMaxPool3d',
  3,
  overVolumes,
);
