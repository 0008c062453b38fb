import { readOptions } from '../tensor/options.js';
import {
  AdaptiveAvgPool2d,
  Conv2d,
  Dropout,
  Linear,
  MaxPool2d,
  Module,
  ReLU,
  Sequential,
  type TensorModule,
} from '../nn/index.js';
import { flatten } from '../ops/index.js';
import type { Tensor } from '../tensor/tensor.js';
import type { ModelOptions } from './declaration.js';
import { defineModel, type ModelBuilder } from './define.js';

export interface AlexNetOptions extends ModelOptions {
  /** Probability in the classifier's two dropouts. Default 0.5. */
  dropout?: number;
}

/** The head takes any module in its place: `model.classifier = new nn.Identity()`. */
export interface AlexNet {
  get classifier(): Sequential;
  set classifier(module: TensorModule);
}

/**
 * `torchvision.models.AlexNet`, the network of "One weird trick" (https://arxiv.org/abs/1404.5997):
 * `[N, 3, H, W]` to logits `[N, numClasses]`; H and W at least 63.
 */
export class AlexNet extends Module {
  features: Sequential;
  avgpool: AdaptiveAvgPool2d;

  constructor(options: AlexNetOptions = {}) {
    const { numClasses, dropout } = readOptions<Required<AlexNetOptions>>(
      'AlexNet',
      { numClasses: 1000, dropout: 0.5 },
      options,
    );
    super();
    const relu = (): ReLU => new ReLU({ inplace: true });
    const pool = (): MaxPool2d => new MaxPool2d(3, { stride: 2 });
    this.features = new Sequential(
      new Conv2d(3, 64, 11, { stride: 4, padding: 2 }),
      relu(),
      pool(),
      new Conv2d(64, 192, 5, { padding: 2 }),
      relu(),
      pool(),
      new Conv2d(192, 384, 3, { padding: 1 }),
      relu(),
      new Conv2d(384, 256, 3, { padding: 1 }),
      relu(),
      new Conv2d(256, 256, 3, { padding: 1 }),
      relu(),
      pool(),
    );
    this.avgpool = new AdaptiveAvgPool2d([6, 6]);
    this.classifier = new Sequential(
      new Dropout(dropout),
      new Linear(256 * 6 * 6, 4096),
      relu(),
      new Dropout(dropout),
      new Linear(4096, 4096),
      relu(),
      new Linear(4096, numClasses),
    );
  }

  forward(x: Tensor): Tensor {
    return this.classifier(flatten(this.avgpool(this.features(x)), 1));
  }
}

export const alexnet: ModelBuilder<AlexNet, AlexNetOptions> = defineModel<AlexNet, AlexNetOptions>({
  name: 'alexnet',
  construct: (options) => new AlexNet(options),
  telltales: [
    {
      name: 'AlexNet',
      has: ['features.3.weight', 'features.6.weight', 'features.10.weight', 'classifier.6.weight'],
    },
  ],
});
