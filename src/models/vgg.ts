import { readOptions } from '../tensor/options.js';
import {
  AdaptiveAvgPool2d,
  BatchNorm2d,
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
import { initByFanOut } from './blocks.js';
import type { ModelOptions } from './declaration.js';
import { defineModel, type ModelBuilder } from './define.js';

/**
 * torchvision's VGGs (Simonyan & Zisserman 2015, https://arxiv.org/abs/1409.1556), with and without batch
 * norm.
 */

export interface VGGOptions extends ModelOptions {
  /** False leaves every layer at its own default initialisation. */
  initWeights?: boolean;
  /** Probability in the classifier's two dropouts. Default 0.5. */
  dropout?: number;
}

/**
 * Output channels of the 3x3 convolutions, 'M' for a max pool: columns A, B, D and E of the paper's table 1.
 */
type Config = readonly (number | 'M')[];

const configs = {
  A: [64, 'M', 128, 'M', 256, 256, 'M', 512, 512, 'M', 512, 512, 'M'],
  B: [64, 64, 'M', 128, 128, 'M', 256, 256, 'M', 512, 512, 'M', 512, 512, 'M'],
  D: [64, 64, 'M', 128, 128, 'M', 256, 256, 256, 'M', 512, 512, 512, 'M', 512, 512, 512, 'M'],
  E: [64, 64, 'M', 128, 128, 'M', 256, 256, 256, 256, 'M', 512, 512, 512, 512, 'M', 512, 512, 512, 512, 'M'],
} as const satisfies Record<string, Config>;

function makeFeatures(config: Config, batchNorm: boolean): Sequential {
  const layers: Module[] = [];
  let channels = 3;
  for (const item of config) {
    if (item === 'M') {
      layers.push(new MaxPool2d(2, { stride: 2 }));
      continue;
    }
    layers.push(new Conv2d(channels, item, 3, { padding: 1 }));
    if (batchNorm) layers.push(new BatchNorm2d(item));
    layers.push(new ReLU({ inplace: true }));
    channels = item;
  }
  return new Sequential(...layers);
}

/** The head takes any module in its place: `model.classifier = new nn.Identity()`. */
export interface VGG {
  get classifier(): Sequential;
  set classifier(module: TensorModule);
}

/** `torchvision.models.VGG`: `[N, 3, H, W]` to logits `[N, numClasses]`; H and W at least 32. */
export class VGG extends Module {
  features: Sequential;
  avgpool: AdaptiveAvgPool2d;

  /** @param features what makes 512 channels of an image */
  constructor(features: Sequential, options: VGGOptions = {}) {
    const { numClasses, initWeights, dropout } = readOptions<Required<VGGOptions>>(
      'VGG',
      { numClasses: 1000, initWeights: true, dropout: 0.5 },
      options,
    );
    super();
    this.features = features;
    this.avgpool = new AdaptiveAvgPool2d([7, 7]);
    this.classifier = new Sequential(
      new Linear(512 * 7 * 7, 4096),
      new ReLU({ inplace: true }),
      new Dropout(dropout),
      new Linear(4096, 4096),
      new ReLU({ inplace: true }),
      new Dropout(dropout),
      new Linear(4096, numClasses),
    );
    if (initWeights) initByFanOut(this);
  }

  forward(x: Tensor): Tensor {
    return this.classifier(flatten(this.avgpool(this.features(x)), 1));
  }
}

/** Of AlexNet too, which has more of its own. */
const telling = ['features.0.weight', 'classifier.6.weight'];

const build = (
  name: string,
  config: keyof typeof configs,
  batchNorm = false,
): ModelBuilder<VGG, VGGOptions> =>
  defineModel<VGG, VGGOptions>({
    name,
    construct: (options) => new VGG(makeFeatures(configs[config], batchNorm), options),
    telltales: [
      batchNorm
        ? { name: 'a VGG with batch norm', has: [...telling, 'features.1.running_mean'] }
        : { name: 'a VGG', has: telling },
    ],
    pretrained: { initWeights: false },
  });

export const vgg11 = build('vgg11', 'A');
export const vgg11Bn = build('vgg11_bn', 'A', true);
export const vgg13 = build('vgg13', 'B');
export const vgg13Bn = build('vgg13_bn', 'B', true);
export const vgg16 = build('vgg16', 'D');
export const vgg16Bn = build('vgg16_bn', 'D', true);
export const vgg19 = build('vgg19', 'E');
export const vgg19Bn = build('vgg19_bn', 'E', true);
