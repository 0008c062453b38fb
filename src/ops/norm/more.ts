import { defineComposite } from '../../autograd/define.js';
import { noGrad } from '../../autograd/mode.js';
import { e } from '../../kernels/expr/expr.js';
import { type Needed, optionReader, required, type Trailing } from '../../tensor/options.js';
import { sameShape, showShape } from '../../tensor/shape.js';
import type { Tensor } from '../../tensor/tensor.js';
import { batchNorm } from './batch-norm.js';
import { to } from '../base/copy.js';
import { applyLinearMap, linearMapOf } from '../matmul/linear-map.js';
import { grouped, type NormOptions } from './norm.js';
import { lerp_, mul, square } from '../pointwise/pointwise.js';
import { isRowNorm, rowNorm } from './row-norm.js';
import { mean } from '../reduce/reduce.js';
import { rowFunction } from '../base/row.js';
import { var as variance } from '../reduce/statistics.js';

export interface InstanceNormOptions extends NormOptions {
  /** Take part in normalisation without `useInputStats`, and are updated with it; [C]. */
  runningMean?: Tensor | null;
  runningVar?: Tensor | null;
  /** Normalise by each sample's own statistics (default), or else by the running ones. */
  useInputStats?: boolean;
  /** Share of the new value in the running statistics. Default 0.1. */
  momentum?: number;
}

type InstanceNormArgs = Trailing<
  [
    runningMean: Tensor | null,
    runningVar: Tensor | null,
    weight: Tensor | null,
    bias: Tensor | null,
    useInputStats: boolean,
    momentum: number,
    eps: number,
  ],
  InstanceNormOptions
>;

const readInstance = optionReader<Required<InstanceNormOptions>>(
  'instanceNorm',
  {
    runningMean: null,
    runningVar: null,
    weight: null,
    bias: null,
    useInputStats: true,
    momentum: 0.1,
    eps: 1e-5,
  },
  'runningMean',
  'runningVar',
  'weight',
  'bias',
  'useInputStats',
  'momentum',
  'eps',
);

/**
 * `torch.nn.functional.instance_norm` (Ulyanov et al. 2016): each channel of each sample of `x` [N, C, ...]
 * by itself. Running statistics take the batch's average of the samples' means and unbiased variances.
 */
export const instanceNorm: (x: Tensor, ...args: InstanceNormArgs) => Tensor = defineComposite(
  'instanceNorm',
  (x: Tensor, ...args: InstanceNormArgs): Tensor => {
    const { runningMean, runningVar, weight, bias, useInputStats, momentum, eps } = readInstance(args);
    if (x.ndim < 3)
      throw new Error(
        `instanceNorm: expected an input of shape [N, C, ...] with positions, got ${showShape(x.shape)}`,
      );
    if (!useInputStats) return batchNorm(x, runningMean, runningVar, { weight, bias, eps });
    if (x.shape.slice(2).every((size) => size === 1)) {
      throw new Error(`instanceNorm: needs more than one value per channel, got input ${showShape(x.shape)}`);
    }
    const channels = x.shape[1] as number;
    const update = (running: Tensor | null, what: string, statistic: () => Tensor): void => {
      if (running === null) return;
      if (!sameShape(running.shape, [channels]))
        throw new Error(
          `instanceNorm: ${what} must have shape [${channels}], got ${showShape(running.shape)}`,
        );
      noGrad(() => lerp_(running, to(mean(statistic(), 0), running.dtype), momentum));
    };
    const positions = x.shape.map((_, i) => i).slice(2);
    update(runningMean, 'runningMean', () => mean(x, positions));
    update(runningVar, 'runningVar', () => variance(x, positions));
    return grouped('instanceNorm', x, channels, { weight, bias, eps });
  },
);

export interface LocalResponseNormOptions {
  /** Default 1e-4. */
  alpha?: number;
  /** Default 0.75. */
  beta?: number;
  /** Default 1. */
  k?: number;
}

type LocalArgs = Needed<
  [size: number],
  ['size'],
  [alpha: number, beta: number, k: number],
  LocalResponseNormOptions
>;

const readLocal = optionReader<Required<LocalResponseNormOptions> & { size: number }>(
  'localResponseNorm',
  { size: required(), alpha: 1e-4, beta: 0.75, k: 1 },
  'size',
  'alpha',
  'beta',
  'k',
);

const localFn = rowFunction({
  name: 'localResponseNorm',
  kind: 'float',
  // x / (k + alpha * average)^beta
  expr: (x, average, alpha, beta, k) =>
    e.mul(x, e.exp(e.neg(e.mul(beta, e.log(e.add(k, e.mul(alpha, average))))))),
});

/**
 * `torch.nn.functional.local_response_norm` (Krizhevsky et al. 2012): `x / (k + alpha * average)^beta`, where
 * the average is of the squares over `size` neighbouring channels of `x` [N, C, ...], zeros beyond the first
 * and the last.
 */
export const localResponseNorm: (x: Tensor, ...args: LocalArgs) => Tensor = defineComposite(
  'localResponseNorm',
  (x: Tensor, ...args: LocalArgs): Tensor => {
    const { size, alpha, beta, k } = readLocal(args);
    if (x.ndim < 3)
      throw new Error(`localResponseNorm: expected an input of 3 or more dims, got ${showShape(x.shape)}`);
    if (!Number.isInteger(size) || size < 1)
      throw new Error(`localResponseNorm: size must be an integer of at least 1, got ${size}`);
    const channels = x.shape[1] as number;
    const band = linearMapOf(channels, channels, (i) => {
      const low = Math.max(0, i - Math.floor(size / 2));
      const high = Math.min(channels, i + Math.floor((size - 1) / 2) + 1);
      return Array.from({ length: high - low }, (_, j) => [low + j, 1 / size] as const);
    });
    return localFn(x, applyLinearMap(square(x), 1, band), alpha, beta, k);
  },
);

export interface RmsNormOptions {
  /** Scale, of shape `normalizedShape`. */
  weight?: Tensor | null;
  /** Added to the mean square. Default: float32's epsilon, 2^-23. */
  eps?: number | null;
}

const readRms = optionReader<Required<RmsNormOptions> & { normalizedShape: number | readonly number[] }>(
  'rmsNorm',
  { normalizedShape: required(), weight: null, eps: null },
  'normalizedShape',
  'weight',
  'eps',
);

type RmsArgs = Needed<
  [normalizedShape: number | readonly number[]],
  ['normalizedShape'],
  [weight: Tensor | null, eps: number | null],
  RmsNormOptions
>;

/**
 * `torch.nn.functional.rms_norm` (Zhang & Sennrich 2019): `x / sqrt(mean(x^2) + eps) * weight` over the last
 * dims, whose sizes are `normalizedShape`.
 */
export const rmsNorm: (x: Tensor, ...args: RmsArgs) => Tensor = defineComposite(
  'rmsNorm',
  (x: Tensor, ...args: RmsArgs): Tensor => {
    const { normalizedShape, weight, eps } = readRms(args);
    const sizes = typeof normalizedShape === 'number' ? [normalizedShape] : normalizedShape;
    const lead = x.ndim - sizes.length;
    if (sizes.length === 0 || lead < 0 || !sameShape(x.shape.slice(lead), sizes)) {
      throw new Error(
        `rmsNorm: an input of shape ${showShape(x.shape)} does not end in normalizedShape ${showShape(sizes)}`,
      );
    }
    if (weight !== null && !sameShape(weight.shape, sizes))
      throw new Error(`rmsNorm: weight must have shape ${showShape(sizes)}, got ${showShape(weight.shape)}`);
    const wide = to(x, 'float32');
    const scale = weight && to(weight, 'float32');
    const byRows = { name: 'rmsNorm', dims: sizes.length, rms: true, eps: eps ?? 2 ** -23 };
    if (isRowNorm(wide, [scale], byRows)) return to(rowNorm(wide, scale, null, byRows), x.dtype);
    const squares = mean(
      square(wide),
      sizes.map((_, i) => lead + i),
      { keepdim: true },
    );
    const y = mul(wide, scaleFn(squares, byRows.eps));
    return to(scale === null ? y : mul(y, scale), x.dtype);
  },
);

const scaleFn = rowFunction({ name: 'rmsNorm', kind: 'float', expr: (s, eps) => e.rsqrt(e.add(s, eps)) });
