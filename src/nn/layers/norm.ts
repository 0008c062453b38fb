import { noMore, type Needed, optionReader, readOptions, required } from '../../tensor/options.js';
import { noGrad } from '../../autograd/mode.js';
import type { Activation } from '../../kernels/base/plan.js';
import { hasMask } from '../../ops/pointwise/activation-mask.js';
import { batchNormAffine, batchNormThen, type NormEpilogue } from '../../ops/norm/batch-norm.js';
import { add_, div, groupNorm, layerNorm, sub } from '../../ops/index.js';
import { showShape } from '../../tensor/shape.js';
import { Tensor } from '../../tensor/tensor.js';
import { scoped } from '../../tensor/tidy.js';
import { wantsGrad, type ChannelMap, type Fusion } from '../base/fuse.js';
import { ones_, zeros_ } from '../base/init.js';
import { Layer } from '../base/module.js';
import { ChannelNorm, normalizedShapeOf, type ChannelNormOptions } from './norm-base.js';
import { Parameter, requireCount } from '../base/parameter.js';
import { py, pyFloat } from '../base/repr.js';
import { noteParameters } from '../base/tree.js';

export type BatchNormOptions = ChannelNormOptions;

/** Statistics per channel over all other dims (Ioffe & Szegedy 2015, https://arxiv.org/abs/1502.03167). */
abstract class BatchNorm extends ChannelNorm {
  constructor(numFeatures: number, options: BatchNormOptions = {}) {
    noMore(new.target.name, arguments, 2);
    super(numFeatures, true, options);
  }

  protected abstract checkInput(x: Tensor): void;

  forward(x: Tensor): Tensor {
    return this.forwardThen(x, {});
  }

  /**
   * @internal The norm in evaluation; null where the batch's own statistics count, or gradients of weight and
   * bias are recorded.
   */
  protected channelMap(): ChannelMap | null {
    const { runningMean, runningVar, weight, bias, eps } = this;
    if (this.training || runningMean === null || runningVar === null || wantsGrad(weight, bias)) return null;
    if ([runningMean, runningVar, weight, bias].some((t) => t !== null && t.dtype !== 'float32')) return null;
    return batchNormAffine(runningMean, runningVar, weight, bias, eps);
  }

  /** @internal `forward` with what follows it in the same launches. */
  protected forwardThen(x: Tensor, after: NormEpilogue): Tensor {
    this.checkInput(x);
    const { runningMean, runningVar, weight, bias, eps, momentum } = this;
    const tracked = runningMean !== null && runningVar !== null;
    if (!this.training || !tracked || !this.trackRunningStats) {
      const training = this.training || !tracked;
      const useRunning = tracked && !this.training;
      const [mean, variance] = useRunning ? [runningMean, runningVar] : [null, null];
      return batchNormThen(x, mean, variance, { weight, bias, training, eps }, after);
    }
    const count = this.numBatchesTracked;
    if (momentum !== null || count === null) {
      const options = { training: true, momentum: momentum ?? 0, eps, numBatchesTracked: count };
      return batchNormThen(x, runningMean, runningVar, { weight, bias, ...options }, after);
    }
    noGrad(() => add_(count, 1));
    const own = { weight, bias, training: true, momentum: 1, eps };
    if (x.numel() === 0) return batchNormThen(x, null, null, own, after);
    // The plain average's factor is 1 / count, and the count is on the GPU: take the batch's own statistics
    // and blend.
    const mean = Tensor.empty(runningMean.shape, 'float32', 'BatchNorm');
    const variance = Tensor.empty(runningVar.shape, 'float32', 'BatchNorm');
    zeros_(mean);
    zeros_(variance);
    const y = batchNormThen(x, mean, variance, own, after);
    noGrad(() =>
      scoped('BatchNorm', () => {
        add_(runningMean, div(sub(mean, runningMean), count));
        add_(runningVar, div(sub(variance, runningVar), count));
      }),
    );
    return y;
  }
}

/** `torch.nn.BatchNorm2d` for `[N, C, H, W]`. */
export class BatchNorm2d extends BatchNorm {
  /** @internal */
  static readonly fusion: Fusion<BatchNorm2d> = {
    float16: true,
    channelMap: (norm) => norm.channelMap(),
    then: (norm, x, { residual = null, activation = 'none' }) =>
      norm.forwardThen(x, { residual, activation: activation as Activation }),
    takes: (_, __, { scale, activation = 'none' }) => scale === undefined && hasMask(activation),
  };

  protected checkInput(x: Tensor): void {
    if (x.ndim !== 4)
      throw new Error(`BatchNorm2d: expected a 4-D input [N, C, H, W], got shape ${showShape(x.shape)}`);
  }
}

/** `torch.nn.BatchNorm1d` for `[N, C]` or `[N, C, L]`. */
export class BatchNorm1d extends BatchNorm {
  protected checkInput(x: Tensor): void {
    if (x.ndim !== 2 && x.ndim !== 3) {
      throw new Error(
        `BatchNorm1d: expected a 2-D or 3-D input [N, C] or [N, C, L], got shape ${showShape(x.shape)}`,
      );
    }
  }
}

/** `torch.nn.BatchNorm3d` for `[N, C, D, H, W]`. */
export class BatchNorm3d extends BatchNorm {
  protected checkInput(x: Tensor): void {
    if (x.ndim !== 5)
      throw new Error(`BatchNorm3d: expected a 5-D input [N, C, D, H, W], got shape ${showShape(x.shape)}`);
  }
}

/** `torch.nn.LayerNorm`: statistics over the last dims (Ba et al. 2016, https://arxiv.org/abs/1607.06450). */
export class LayerNorm extends Layer {
  readonly normalizedShape: readonly number[];
  weight: Parameter | null;
  bias: Parameter | null;
  eps: number;
  readonly elementwiseAffine: boolean;

  constructor(
    ...args: Needed<
      [normalizedShape: number | readonly number[]],
      ['normalizedShape'],
      [eps: number, elementwiseAffine: boolean],
      { eps?: number; elementwiseAffine?: boolean }
    >
  ) {
    const { normalizedShape, eps, elementwiseAffine } = optionReader(
      'LayerNorm',
      {
        normalizedShape: required<number | readonly number[]>(),
        eps: 1e-5,
        elementwiseAffine: true,
      },
      'normalizedShape',
      'eps',
      'elementwiseAffine',
    )(args);
    super();
    this.normalizedShape = normalizedShapeOf('LayerNorm', normalizedShape);
    this.eps = eps;
    this.elementwiseAffine = elementwiseAffine;
    this.weight = elementwiseAffine ? Parameter.blank(this.normalizedShape, 'LayerNorm.weight') : null;
    this.bias = elementwiseAffine ? Parameter.blank(this.normalizedShape, 'LayerNorm.bias') : null;
    noteParameters(this);
    this.resetParameters();
  }

  resetParameters(): void {
    if (this.weight) ones_(this.weight);
    if (this.bias) zeros_(this.bias);
  }

  forward(x: Tensor): Tensor {
    return layerNorm(x, this.normalizedShape, { weight: this.weight, bias: this.bias, eps: this.eps });
  }

  override extraRepr(): string {
    return `${py(this.normalizedShape)}, eps=${pyFloat(this.eps)}, elementwise_affine=${py(this.elementwiseAffine)}`;
  }
}

/**
 * `torch.nn.GroupNorm`: statistics per sample over groups of channels (Wu & He 2018,
 * https://arxiv.org/abs/1803.08494).
 */
export class GroupNorm extends Layer {
  weight: Parameter | null;
  bias: Parameter | null;
  eps: number;
  readonly affine: boolean;

  constructor(
    readonly numGroups: number,
    readonly numChannels: number,
    options: { eps?: number; affine?: boolean } = {},
  ) {
    noMore(new.target.name, arguments, 3);
    const { eps, affine } = readOptions('GroupNorm', { eps: 1e-5, affine: true }, options);
    super();
    requireCount('GroupNorm', 'numGroups', numGroups);
    requireCount('GroupNorm', 'numChannels', numChannels);
    if (numChannels % numGroups !== 0) {
      throw new Error(`GroupNorm: ${numChannels} channels do not divide into ${numGroups} groups`);
    }
    this.eps = eps;
    this.affine = affine;
    this.weight = affine ? Parameter.blank([numChannels], 'GroupNorm.weight') : null;
    this.bias = affine ? Parameter.blank([numChannels], 'GroupNorm.bias') : null;
    noteParameters(this);
    this.resetParameters();
  }

  resetParameters(): void {
    if (this.weight) ones_(this.weight);
    if (this.bias) zeros_(this.bias);
  }

  forward(x: Tensor): Tensor {
    return groupNorm(x, this.numGroups, { weight: this.weight, bias: this.bias, eps: this.eps });
  }

  override extraRepr(): string {
    return `${this.numGroups}, ${this.numChannels}, eps=${pyFloat(this.eps)}, affine=${py(this.affine)}`;
  }
}
