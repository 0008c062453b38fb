import { readOptions } from '../tensor/options.js';
import {
  AvgPool2d,
  BatchNorm2d,
  Conv2d,
  fused,
  Linear,
  MaxPool2d,
  Module,
  ReLU,
  Sequential,
  type TensorModule,
} from '../nn/index.js';
import * as init from '../nn/base/init.js';
import { isGradEnabled } from '../autograd/mode.js';
import { checkpoint } from '../nn/tools/checkpoint.js';
import { adaptiveAvgPool2d, cat, dropout, flatten } from '../ops/index.js';
import { Tensor } from '../tensor/tensor.js';
import { tidy } from '../tensor/tidy.js';
import type { ModelOptions } from './declaration.js';
import { defineModel, type ModelBuilder } from './define.js';

/** torchvision's DenseNets (Huang et al. 2017, https://arxiv.org/abs/1608.06993). */

export interface DenseNetOptions extends ModelOptions {
  /** Channels that each layer adds (`k` in the paper). */
  growthRate?: number;
  /** Layers in each block. */
  blockConfig?: readonly number[];
  /** Channels of the first convolution. */
  numInitFeatures?: number;
  /** The bottleneck is `bnSize * growthRate` channels wide. Default 4. */
  bnSize?: number;
  /** Probability of the dropout after each layer. Default 0. */
  dropRate?: number;
  /**
   * In training, join the inputs of each layer, normalise and squeeze them once more in backward instead of
   * keeping the results, whose size grows with the square of the depth (Pleiss et al. 2017,
   * https://arxiv.org/abs/1707.06990). Slower. Default false.
   */
  memoryEfficient?: boolean;
}

interface LayerOptions {
  readonly growthRate: number;
  readonly bnSize: number;
  readonly dropRate: number;
  readonly memoryEfficient: boolean;
}

/** Batch norm, ReLU, 1x1; batch norm, ReLU, 3x3: `growthRate` new channels. */
class _DenseLayer extends Module {
  norm1: BatchNorm2d;
  relu1: ReLU;
  conv1: Conv2d;
  norm2: BatchNorm2d;
  relu2: ReLU;
  conv2: Conv2d;
  readonly dropRate: number;
  readonly memoryEfficient: boolean;

  constructor(into: number, { growthRate, bnSize, dropRate, memoryEfficient }: LayerOptions) {
    super();
    const width = bnSize * growthRate;
    this.norm1 = new BatchNorm2d(into);
    this.relu1 = new ReLU({ inplace: true });
    this.conv1 = new Conv2d(into, width, 1, { bias: false });
    this.norm2 = new BatchNorm2d(width);
    this.relu2 = new ReLU({ inplace: true });
    this.conv2 = new Conv2d(width, growthRate, 3, { padding: 1, bias: false });
    this.dropRate = dropRate;
    this.memoryEfficient = memoryEfficient;
  }

  /** `features`: one tensor, or those to join. */
  forward(features: Tensor | readonly Tensor[]): Tensor {
    const list = features instanceof Tensor ? [features] : features;
    const joined = (parts: readonly Tensor[]): Tensor =>
      parts.length === 1 ? (parts[0] as Tensor) : cat(parts, 1);
    const first = [this.norm1, this.relu1, this.conv1];
    const second = [this.norm2, this.relu2, this.conv2];
    const squeeze = (...parts: readonly Tensor[]): Tensor => fused(joined(parts), first);
    const recompute = this.memoryEfficient && list.some((part) => part.requiresGrad);
    const made = recompute
      ? fused(checkpoint(squeeze, ...list), second)
      : fused(joined(list), [...first, ...second]);
    return this.training && this.dropRate > 0 ? dropout(made, this.dropRate, { training: true }) : made;
  }
}

/** Layers that each see what the block was given and what all layers before made. */
class _DenseBlock extends Module {
  readonly memoryEfficient: boolean;

  constructor(layers: number, into: number, options: LayerOptions) {
    super();
    this.memoryEfficient = options.memoryEfficient;
    for (let i = 0; i < layers; i++) {
      const layer = new _DenseLayer(into + i * options.growthRate, options);
      Object.assign(this, { [`denselayer${i + 1}`]: layer });
    }
  }

  forward(x: Tensor): Tensor {
    const layers = this.children() as unknown as readonly _DenseLayer[];
    if (this.memoryEfficient && isGradEnabled()) {
      const parts = [x];
      for (const layer of layers) parts.push(layer(parts));
      return cat(parts, 1);
    }
    // Joining two at a time copies no more than joining the whole list for each layer, and needs one kernel.
    let features = x;
    for (const layer of layers) {
      const before = features;
      features = tidy(() => cat([before, layer(before)], 1));
      if (before !== x && !before.isKept) before.dispose();
    }
    return features;
  }
}

/** Half the channels, half the size. */
class _Transition extends Sequential {
  constructor(into: number, out: number) {
    super({
      norm: new BatchNorm2d(into),
      relu: new ReLU({ inplace: true }),
      conv: new Conv2d(into, out, 1, { bias: false }),
      pool: new AvgPool2d(2, { stride: 2 }),
    });
  }
}

/**
 * Keys of files from before PyTorch 0.4.1, torchvision's own among them: `denselayer1.norm.1` is
 * `denselayer1.norm1`.
 */
const oldKey =
  /^(.*denselayer\d+\.(?:norm|relu|conv))\.([12]\.(?:weight|bias|running_mean|running_var|num_batches_tracked))$/;

/** The head takes any module in its place: `model.classifier = new nn.Identity()`. */
export interface DenseNet {
  get classifier(): Linear;
  set classifier(module: TensorModule);
}

/** `torchvision.models.DenseNet`: `[N, 3, H, W]` to logits `[N, numClasses]`; H and W at least 29. */
export class DenseNet extends Module {
  features: Sequential;

  constructor(options: DenseNetOptions = {}) {
    const { growthRate, blockConfig, numInitFeatures, bnSize, dropRate, memoryEfficient, numClasses } =
      readOptions<Required<DenseNetOptions>>(
        'DenseNet',
        {
          growthRate: 32,
          blockConfig: [6, 12, 24, 16],
          numInitFeatures: 64,
          bnSize: 4,
          dropRate: 0,
          memoryEfficient: false,
          numClasses: 1000,
        },
        options,
      );
    super();
    const features: Record<string, Module> = {
      conv0: new Conv2d(3, numInitFeatures, 7, { stride: 2, padding: 3, bias: false }),
      norm0: new BatchNorm2d(numInitFeatures),
      relu0: new ReLU({ inplace: true }),
      pool0: new MaxPool2d(3, { stride: 2, padding: 1 }),
    };
    let channels = numInitFeatures;
    blockConfig.forEach((layers, i) => {
      features[`denseblock${i + 1}`] = new _DenseBlock(layers, channels, {
        growthRate,
        bnSize,
        dropRate,
        memoryEfficient,
      });
      channels += layers * growthRate;
      if (i === blockConfig.length - 1) return;
      const half = Math.floor(channels / 2);
      features[`transition${i + 1}`] = new _Transition(channels, half);
      channels = half;
    });
    features['norm5'] = new BatchNorm2d(channels);
    this.features = new Sequential(features);
    this.classifier = new Linear(channels, numClasses);
    for (const module of this.modules()) {
      if (module instanceof Conv2d) init.kaimingNormal_(module.weight);
      else if (module instanceof Linear && module.bias !== null) init.zeros_(module.bias);
    }
  }

  protected override loadKey(key: string): string {
    return key.replace(oldKey, '$1$2');
  }

  forward(x: Tensor): Tensor {
    const features = fused(x, [this.features], { activation: 'relu' });
    return this.classifier(flatten(adaptiveAvgPool2d(features, 1), 1));
  }
}

const build = (
  name: string,
  growthRate: number,
  blockConfig: readonly number[],
  numInitFeatures: number,
): ModelBuilder<DenseNet, DenseNetOptions> =>
  defineModel<DenseNet, DenseNetOptions>({
    name,
    construct: (options) => new DenseNet({ growthRate, blockConfig, numInitFeatures, ...options }),
    telltales: [{ name: 'a DenseNet', has: ['features.conv0.weight'] }],
  });

export const densenet121 = build('densenet121', 32, [6, 12, 24, 16], 64);
export const densenet161 = build('densenet161', 48, [6, 12, 36, 24], 96);
export const densenet169 = build('densenet169', 32, [6, 12, 32, 32], 64);
export const densenet201 = build('densenet201', 32, [6, 12, 48, 32], 64);
