import { noMore, type Needed, optionReader, required } from '../../tensor/options.js';
import { instanceNorm, localResponseNorm, rmsNorm, squeeze, unsqueeze } from '../../ops/index.js';
import { showShape } from '../../tensor/shape.js';
import { type Tensor } from '../../tensor/tensor.js';
import { ones_ } from '../base/init.js';
import { Layer } from '../base/module.js';
import { ChannelNorm, normalizedShapeOf, type ChannelNormOptions } from './norm-base.js';
import { Parameter, requireCount } from '../base/parameter.js';
import { py, pyFloat } from '../base/repr.js';
import { noteParameters } from '../base/tree.js';

export type InstanceNormOptions = ChannelNormOptions;

/** Statistics per channel of each sample (Ulyanov et al. 2016, https://arxiv.org/abs/1607.08022). */
abstract class InstanceNorm extends ChannelNorm {
  constructor(numFeatures: number, options: InstanceNormOptions = {}) {
    noMore(new.target.name, arguments, 2);
    super(numFeatures, false, options);
  }

  /** Dims of positions. */
  protected abstract rank(): number;

  forward(x: Tensor): Tensor {
    const rank = this.rank();
    if (x.ndim !== rank + 1 && x.ndim !== rank + 2) {
      throw new Error(
        `${this.constructor.name}: expected an input of ${rank + 1} or ${rank + 2} dims, got shape ${showShape(x.shape)}`,
      );
    }
    const { runningMean, runningVar, weight, bias, momentum, eps } = this;
    const useInputStats = this.training || !this.trackRunningStats;
    const options = { runningMean, runningVar, weight, bias, useInputStats, momentum: momentum ?? 0, eps };
    if (x.ndim === rank + 2) return instanceNorm(x, options);
    return squeeze(instanceNorm(unsqueeze(x, 0), options), 0);
  }
}

/** `torch.nn.InstanceNorm1d` for `[N, C, L]` or `[C, L]`. */
export class InstanceNorm1d extends InstanceNorm {
  protected rank(): number {
    return 1;
  }
}

/** `torch.nn.InstanceNorm2d` for `[N, C, H, W]` or `[C, H, W]`. */
export class InstanceNorm2d extends InstanceNorm {
  protected rank(): number {
    return 2;
  }
}

/** `torch.nn.InstanceNorm3d` for `[N, C, D, H, W]` or `[C, D, H, W]`. */
export class InstanceNorm3d extends InstanceNorm {
  protected rank(): number {
    return 3;
  }
}

/** `torch.nn.LocalResponseNorm`: over `size` neighbouring channels (Krizhevsky et al. 2012). */
export class LocalResponseNorm extends Layer {
  readonly size: number;
  readonly alpha: number;
  readonly beta: number;
  readonly k: number;

  constructor(
    ...args: Needed<
      [size: number],
      ['size'],
      [alpha: number, beta: number, k: number],
      { alpha?: number; beta?: number; k?: number }
    >
  ) {
    const { size, alpha, beta, k } = optionReader(
      'LocalResponseNorm',
      { size: required<number>(), alpha: 1e-4, beta: 0.75, k: 1 },
      'size',
      'alpha',
      'beta',
      'k',
    )(args);
    super();
    requireCount('LocalResponseNorm', 'size', size);
    this.size = size;
    this.alpha = alpha;
    this.beta = beta;
    this.k = k;
  }

  forward(x: Tensor): Tensor {
    return localResponseNorm(x, this.size, { alpha: this.alpha, beta: this.beta, k: this.k });
  }

  override extraRepr(): string {
    return `${this.size}, alpha=${pyFloat(this.alpha)}, beta=${pyFloat(this.beta)}, k=${pyFloat(this.k)}`;
  }
}

/** `torch.nn.RMSNorm`: x / sqrt(mean(x^2) + eps) over the last dims (Zhang & Sennrich 2019). */
export class RMSNorm extends Layer {
  readonly normalizedShape: readonly number[];
  weight: Parameter | null;
  /** Null: float32's epsilon. */
  readonly eps: number | null;
  readonly elementwiseAffine: boolean;

  constructor(
    ...args: Needed<
      [normalizedShape: number | readonly number[]],
      ['normalizedShape'],
      [eps: number | null, elementwiseAffine: boolean],
      { eps?: number | null; elementwiseAffine?: boolean }
    >
  ) {
    const { normalizedShape, eps, elementwiseAffine } = optionReader(
      'RMSNorm',
      {
        normalizedShape: required<number | readonly number[]>(),
        eps: null as number | null,
        elementwiseAffine: true,
      },
      'normalizedShape',
      'eps',
      'elementwiseAffine',
    )(args);
    super();
    this.normalizedShape = normalizedShapeOf('RMSNorm', normalizedShape);
    this.eps = eps;
    this.elementwiseAffine = elementwiseAffine;
    this.weight = elementwiseAffine ? Parameter.blank(this.normalizedShape, 'RMSNorm.weight') : null;
    noteParameters(this);
    this.resetParameters();
  }

  resetParameters(): void {
    if (this.weight) ones_(this.weight);
  }

  forward(x: Tensor): Tensor {
    return rmsNorm(x, this.normalizedShape, { weight: this.weight, eps: this.eps });
  }

  override extraRepr(): string {
    const eps = this.eps === null ? 'None' : pyFloat(this.eps);
    return `${py(this.normalizedShape)}, eps=${eps}, elementwise_affine=${py(this.elementwiseAffine)}`;
  }
}
