import { readOptions } from '../../tensor/options.js';
import { Tensor } from '../../tensor/tensor.js';
import { constant_, ones_, zeros_ } from '../base/init.js';
import { Layer } from '../base/module.js';
import { Parameter, requireCount } from '../base/parameter.js';
import { py, pyFloat } from '../base/repr.js';
import { noteParameters } from '../base/tree.js';

export interface ChannelNormOptions {
  /** Added to the variance. Default 1e-5. */
  eps?: number;
  /** Weight of the new batch in the running statistics (0.1); null for a plain average over all batches. */
  momentum?: number | null;
  /** Learn a scale and a shift per channel. */
  affine?: boolean;
  /** Keep running statistics for evaluation mode; without them every mode uses the input's. */
  trackRunningStats?: boolean;
}

/** What BatchNorm and InstanceNorm share: weights and running statistics per channel. */
export abstract class ChannelNorm extends Layer {
  declare runningMean: Tensor | null;
  /** Unbiased, as PyTorch keeps it. */
  declare runningVar: Tensor | null;
  /** int32, zero-dim. */
  declare numBatchesTracked: Tensor | null;
  weight: Parameter | null;
  bias: Parameter | null;
  eps: number;
  momentum: number | null;
  readonly affine: boolean;
  readonly trackRunningStats: boolean;

  /** @param learns whether the layer has weights and running statistics unless told otherwise */
  constructor(
    readonly numFeatures: number,
    learns: boolean,
    options: ChannelNormOptions,
  ) {
    const { eps, momentum, affine, trackRunningStats } = readOptions<Required<ChannelNormOptions>>(
      new.target.name,
      { eps: 1e-5, momentum: 0.1, affine: learns, trackRunningStats: learns },
      options,
    );
    super();
    const layer = this.constructor.name;
    requireCount(layer, 'numFeatures', numFeatures);
    this.eps = eps;
    this.momentum = momentum;
    this.affine = affine;
    this.trackRunningStats = trackRunningStats;
    this.weight = affine ? Parameter.blank([numFeatures], `${layer}.weight`) : null;
    this.bias = affine ? Parameter.blank([numFeatures], `${layer}.bias`) : null;
    const buffer = (shape: readonly number[], dtype: 'float32' | 'int32'): Tensor | null =>
      trackRunningStats ? Tensor.empty(shape, dtype, layer) : null;
    this.registerBuffer('runningMean', buffer([numFeatures], 'float32'));
    this.registerBuffer('runningVar', buffer([numFeatures], 'float32'));
    this.registerBuffer('numBatchesTracked', buffer([], 'int32'));
    noteParameters(this);
    this.resetParameters();
  }

  resetRunningStats(): void {
    if (this.runningMean) zeros_(this.runningMean);
    if (this.runningVar) ones_(this.runningVar);
    if (this.numBatchesTracked) constant_(this.numBatchesTracked, 0);
  }

  resetParameters(): void {
    this.resetRunningStats();
    if (this.weight) ones_(this.weight);
    if (this.bias) zeros_(this.bias);
  }

  override extraRepr(): string {
    const momentum = this.momentum === null ? 'None' : pyFloat(this.momentum);
    return (
      `${this.numFeatures}, eps=${pyFloat(this.eps)}, momentum=${momentum}, affine=${py(this.affine)}, ` +
      `track_running_stats=${py(this.trackRunningStats)}`
    );
  }
}

/** @internal The dims that a layer normalises over: a size or an array of some. */
export function normalizedShapeOf(layer: string, shape: number | readonly number[]): readonly number[] {
  const sizes = Array.isArray(shape) ? [...(shape as readonly number[])] : [shape as number];
  if (sizes.length === 0) throw new Error(`${layer}: normalizedShape needs at least one size`);
  for (const size of sizes) requireCount(layer, 'each size of normalizedShape', size);
  return sizes;
}
