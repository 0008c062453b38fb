import { readOptions } from '../tensor/options.js';
import {
  BatchNorm2d,
  Conv2d,
  Dropout,
  fused,
  Linear,
  Module,
  ReLU6,
  Sequential,
  type TensorModule,
} from '../nn/index.js';
import { adaptiveAvgPool2d, flatten } from '../ops/index.js';
import type { Tensor } from '../tensor/tensor.js';
import { Conv2dNormActivation, initByFanOut, makeDivisible, type NormLayer } from './blocks.js';
import type { ModelOptions } from './declaration.js';
import { defineModel, type ModelBuilder } from './define.js';

/** torchvision's MobileNetV2 (Sandler et al. 2018, https://arxiv.org/abs/1801.04381). */

/** A row of the paper's table 2: expansion t, channels c, repetitions n, stride s of the first. */
export type InvertedResidualSetting = readonly [t: number, c: number, n: number, s: number];

export interface MobileNetV2Options extends ModelOptions {
  /** Factor on the channels of every layer. Default 1. */
  widthMult?: number;
  /** The stages. Default: the paper's. */
  invertedResidualSetting?: readonly InvertedResidualSetting[];
  /** Channels are rounded to a multiple of this. Default 8; 1 for no rounding. */
  roundNearest?: number;
  /** Default BatchNorm2d. */
  normLayer?: NormLayer;
  /** Probability of the dropout before the last layer. Default 0.2. */
  dropout?: number;
}

const paper: readonly InvertedResidualSetting[] = [
  [1, 16, 1, 1],
  [6, 24, 2, 2],
  [6, 32, 3, 2],
  [6, 64, 4, 2],
  [6, 96, 3, 1],
  [6, 160, 3, 2],
  [6, 320, 1, 1],
];

/** 1x1 up, 3x3 depthwise, 1x1 down without activation, and a shortcut where shapes allow. */
class InvertedResidual extends Module {
  conv: Sequential;
  readonly useResConnect: boolean;

  constructor(into: number, out: number, stride: number, expandRatio: number, normLayer: NormLayer) {
    super();
    if (stride !== 1 && stride !== 2)
      throw new Error(`InvertedResidual: stride must be 1 or 2, got ${String(stride)}`);
    const hidden = Math.round(into * expandRatio);
    this.useResConnect = stride === 1 && into === out;
    const layers: Module[] = [];
    if (expandRatio !== 1)
      layers.push(
        new Conv2dNormActivation(into, hidden, { kernelSize: 1, normLayer, activationLayer: ReLU6 }),
      );
    layers.push(
      new Conv2dNormActivation(hidden, hidden, { stride, groups: hidden, normLayer, activationLayer: ReLU6 }),
      new Conv2d(hidden, out, 1, { bias: false }),
      normLayer(out),
    );
    this.conv = new Sequential(...layers);
  }

  forward(x: Tensor): Tensor {
    return this.useResConnect ? fused(x, [this.conv], { residual: x }) : this.conv(x);
  }
}

/** The head takes any module in its place: `model.classifier = new nn.Identity()`. */
export interface MobileNetV2 {
  get classifier(): Sequential;
  set classifier(module: TensorModule);
}

/** `torchvision.models.MobileNetV2`: `[N, 3, H, W]` to logits `[N, numClasses]`. */
export class MobileNetV2 extends Module {
  features: Sequential;
  /** Channels before the classifier. */
  readonly lastChannel: number;

  constructor(options: MobileNetV2Options = {}) {
    const { numClasses, widthMult, invertedResidualSetting, roundNearest, normLayer, dropout } = readOptions<
      Required<MobileNetV2Options>
    >(
      'MobileNetV2',
      {
        numClasses: 1000,
        widthMult: 1,
        invertedResidualSetting: paper,
        roundNearest: 8,
        normLayer: (channels) => new BatchNorm2d(channels),
        dropout: 0.2,
      },
      options,
    );
    super();
    if (invertedResidualSetting.length === 0 || invertedResidualSetting.some((row) => row.length !== 4))
      throw new Error(
        'MobileNetV2: invertedResidualSetting must be rows of four numbers: expansion, channels, repetitions, stride',
      );
    let channels = makeDivisible(32 * widthMult, roundNearest);
    this.lastChannel = makeDivisible(1280 * Math.max(1, widthMult), roundNearest);
    const layers: Module[] = [
      new Conv2dNormActivation(3, channels, { stride: 2, normLayer, activationLayer: ReLU6 }),
    ];
    for (const [t, c, n, s] of invertedResidualSetting) {
      const out = makeDivisible(c * widthMult, roundNearest);
      for (let i = 0; i < n; i++) {
        layers.push(new InvertedResidual(channels, out, i === 0 ? s : 1, t, normLayer));
        channels = out;
      }
    }
    layers.push(
      new Conv2dNormActivation(channels, this.lastChannel, {
        kernelSize: 1,
        normLayer,
        activationLayer: ReLU6,
      }),
    );
    this.features = new Sequential(...layers);
    this.classifier = new Sequential(new Dropout(dropout), new Linear(this.lastChannel, numClasses));
    initByFanOut(this);
  }

  forward(x: Tensor): Tensor {
    return this.classifier(flatten(adaptiveAvgPool2d(this.features(x), 1), 1));
  }
}

export const mobilenetV2: ModelBuilder<MobileNetV2, MobileNetV2Options> = defineModel<
  MobileNetV2,
  MobileNetV2Options
>({
  name: 'mobilenet_v2',
  construct: (options) => new MobileNetV2(options),
  telltales: [{ name: 'a MobileNetV2', has: ['features.18.0.weight', 'features.1.conv.0.0.weight'] }],
});
