import { readOptions } from '../tensor/options.js';
import {
  AdaptiveAvgPool2d,
  Conv2d,
  Dropout,
  fused,
  MaxPool2d,
  Module,
  ReLU,
  Sequential,
  type TensorModule,
} from '../nn/index.js';
import * as init from '../nn/base/init.js';
import { cat, flatten } from '../ops/index.js';
import type { Tensor } from '../tensor/tensor.js';
import type { ModelOptions } from './declaration.js';
import { defineModel, type ModelBuilder } from './define.js';

/** torchvision's SqueezeNets (Iandola et al. 2016, https://arxiv.org/abs/1602.07360). */

export interface SqueezeNetOptions extends ModelOptions {
  /** Probability of the dropout before the last convolution. Default 0.5. */
  dropout?: number;
}

/** A 1x1 convolution to few channels, then 1x1 and 3x3 convolutions side by side. */
class Fire extends Module {
  squeeze: Conv2d;
  squeezeActivation: ReLU;
  expand1x1: Conv2d;
  expand1x1Activation: ReLU;
  expand3x3: Conv2d;
  expand3x3Activation: ReLU;

  constructor(into: number, squeezed: number, expanded: number) {
    super();
    this.squeeze = new Conv2d(into, squeezed, 1);
    this.squeezeActivation = new ReLU({ inplace: true });
    this.expand1x1 = new Conv2d(squeezed, expanded, 1);
    this.expand1x1Activation = new ReLU({ inplace: true });
    this.expand3x3 = new Conv2d(squeezed, expanded, 3, { padding: 1 });
    this.expand3x3Activation = new ReLU({ inplace: true });
  }

  forward(x: Tensor): Tensor {
    const squeezed = fused(x, [this.squeeze, this.squeezeActivation]);
    const pointwise = fused(squeezed, [this.expand1x1, this.expand1x1Activation]);
    return cat([pointwise, fused(squeezed, [this.expand3x3, this.expand3x3Activation])], 1);
  }
}

const pool = (): MaxPool2d => new MaxPool2d(3, { stride: 2, ceilMode: true });

const features = {
  '1_0': () => [
    new Conv2d(3, 96, 7, { stride: 2 }),
    new ReLU({ inplace: true }),
    pool(),
    new Fire(96, 16, 64),
    new Fire(128, 16, 64),
    new Fire(128, 32, 128),
    pool(),
    new Fire(256, 32, 128),
    new Fire(256, 48, 192),
    new Fire(384, 48, 192),
    new Fire(384, 64, 256),
    pool(),
    new Fire(512, 64, 256),
  ],
  '1_1': () => [
    new Conv2d(3, 64, 3, { stride: 2 }),
    new ReLU({ inplace: true }),
    pool(),
    new Fire(64, 16, 64),
    new Fire(128, 16, 64),
    pool(),
    new Fire(128, 32, 128),
    new Fire(256, 32, 128),
    pool(),
    new Fire(256, 48, 192),
    new Fire(384, 48, 192),
    new Fire(384, 64, 256),
    new Fire(512, 64, 256),
  ],
} satisfies Record<string, () => Module[]>;

/** The head takes any module in its place: `model.classifier = new nn.Identity()`. */
export interface SqueezeNet {
  get classifier(): Sequential;
  set classifier(module: TensorModule);
}

/**
 * `torchvision.models.SqueezeNet`: `[N, 3, H, W]` to logits `[N, numClasses]`; its head is the 1x1
 * convolution `classifier[1]`.
 */
export class SqueezeNet extends Module {
  features: Sequential;

  constructor(version: keyof typeof features, options: SqueezeNetOptions = {}) {
    const { numClasses, dropout } = readOptions<Required<SqueezeNetOptions>>(
      'SqueezeNet',
      { numClasses: 1000, dropout: 0.5 },
      options,
    );
    super();
    const last = new Conv2d(512, numClasses, 1);
    this.features = new Sequential(...features[version]());
    this.classifier = new Sequential(
      new Dropout(dropout),
      last,
      new ReLU({ inplace: true }),
      new AdaptiveAvgPool2d([1, 1]),
    );
    for (const module of this.modules()) {
      if (!(module instanceof Conv2d)) continue;
      if (module === last) init.normal_(module.weight, 0, 0.01);
      else init.kaimingUniform_(module.weight);
      if (module.bias !== null) init.zeros_(module.bias);
    }
  }

  forward(x: Tensor): Tensor {
    return flatten(this.classifier(this.features(x)), 1);
  }
}

const build = (version: keyof typeof features): ModelBuilder<SqueezeNet, SqueezeNetOptions> =>
  defineModel<SqueezeNet, SqueezeNetOptions>({
    name: `squeezenet${version}`,
    construct: (options) => new SqueezeNet(version, options),
    telltales: [{ name: 'a SqueezeNet', has: ['features.3.squeeze.weight'] }],
  });

export const squeezenet1_0 = build('1_0');
export const squeezenet1_1 = build('1_1');
