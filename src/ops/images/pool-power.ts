import { defineComposite } from '../../autograd/define.js';
import { type Needed, optionReader, required } from '../../tensor/options.js';
import { numel } from '../../tensor/shape.js';
import type { Tensor } from '../../tensor/tensor.js';
import { mul } from '../pointwise/pointwise.js';
import { pow } from '../pointwise/power.js';
import type { AvgPool } from './pool-core.js';
import { avgPool1d } from './pool-lines.js';
import { avgPool2d } from './pool.js';
import { sizesOf, type Size1d, type Size2d, type SizeNd } from '../base/sizes.js';

export interface LpPoolOptions<S extends SizeNd = SizeNd> {
  /** Default: the kernel size. */
  stride?: S | null;
  ceilMode?: boolean;
}

export type LpPool<S extends SizeNd> = (
  x: Tensor,
  ...args: Needed<
    [p: number, k: S],
    ['normType', 'kernelSize'],
    [stride: S | null, ceilMode: boolean],
    LpPoolOptions<S>
  >
) => Tensor;

function lpPoolOf<S extends SizeNd>(op: string, dims: number, average: AvgPool<S>): LpPool<S> {
  const read = optionReader<Required<LpPoolOptions<S>> & { normType: number; kernelSize: S }>(
    op,
    { normType: required(), kernelSize: required(), stride: null, ceilMode: false },
    'normType',
    'kernelSize',
    'stride',
    'ceilMode',
  );
  return defineComposite(op, (x: Tensor, ...args: readonly unknown[]): Tensor => {
    const { normType: p, kernelSize: k, ...options } = read(args);
    const count = numel(sizesOf(op, 'the kernel size', k, dims, 1));
    return pow(mul(average(pow(x, p), k, options), count), 1 / p);
  });
}

/**
 * `torch.nn.functional.lp_pool1d`: the `p`-th root of the sum of `x^p` over each window of `k` of `x` [N, C,
 * L] or [C, L]. As in PyTorch, negative sums are NaN, and so is the gradient where a sum is 0.
 */
export const lpPool1d: LpPool<Size1d> = lpPoolOf('lpPool1d', 1, avgPool1d);

/** `torch.nn.functional.lp_pool2d`: as {@link lpPool1d}, of images [N, C, H, W] or [C, H, W]. */
export const lpPool2d: LpPool<Size2d> = lpPoolOf('lpPool2d', 2, avgPool2d);
