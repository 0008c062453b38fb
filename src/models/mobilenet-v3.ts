import { readOptions } from '../tensor/options.js';
import {
  AdaptiveAvgPool2d,
  BatchNorm2d,
  Dropout,
  fused,
  Hardsigmoid,
  Hardswish,
  Linear,
  Module,
  ReLU,
  Sequential,
  type TensorModule,
} from '../nn/index.js';
import { flatten } from '../ops/index.js';
import type { Tensor } from '../tensor/tensor.js';
import {
  Conv2dNormActivation,
  initByFanOut,
  makeDivisible,
  SqueezeExcitation,
  type NormLayer,
} from './blocks.js';
import type { ModelOptions } from './declaration.js';
import { defineModel, type ModelBuilder } from './define.js';

/** torchvision's MobileNetV3s (Howard et al. 2019, https://arxiv.org/abs/1905.02244). */

export interface MobileNetV3Options extends ModelOptions {
  /** Factor on the channels of every layer. Default 1. */
  widthMult?: number;
  /** Half the channels in the last stage, for detection and segmentation. */
  reducedTail?: boolean;
  /** Dilation instead of stride in the last stage. */
  dilated?: boolean;
  /** Default BatchNorm2d with eps 0.001 and momentum 0.01. */
  normLayer?: NormLayer;
  /** Probability of the dropout before the last layer. Default 0.2. */
  dropout?: number;
}

/** A row of the paper's tables 1 and 2. */
interface BlockConfig {
  readonly into: number;
  readonly kernel: number;
  readonly expanded: number;
  readonly out: number;
  readonly squeeze: boolean;
  readonly activation: typeof ReLU | typeof Hardswish;
  readonly stride: number;
  readonly dilation: number;
}

interface Structure {
  readonly blocks: readonly BlockConfig[];
  /** Width of the classifier's hidden layer. */
  readonly lastChannel: number;
}

function structureOf(
  arch: 'small' | 'large',
  { widthMult, reducedTail, dilated }: Required<MobileNetV3Options>,
): Structure {
  const tail = reducedTail ? 2 : 1;
  const dilation = dilated ? 2 : 1;
  const width = (channels: number): number => makeDivisible(channels * widthMult, 8);
  const row = (
    into: number,
    kernel: number,
    expanded: number,
    out: number,
    squeeze: boolean,
    activation: 'RE' | 'HS',
    stride: number,
    dilation = 1,
  ): BlockConfig => ({
    into: width(into),
    kernel,
    expanded: width(expanded),
    out: width(out),
    squeeze,
    activation: activation === 'RE' ? ReLU : Hardswish,
    stride,
    dilation,
  });
  if (arch === 'large') {
    const blocks = [
      row(16, 3, 16, 16, false, 'RE', 1),
      row(16, 3, 64, 24, false, 'RE', 2),
      row(24, 3, 72, 24, false, 'RE', 1),
      row(24, 5, 72, 40, true, 'RE', 2),
      row(40, 5, 120, 40, true, 'RE', 1),
      row(40, 5, 120, 40, true, 'RE', 1),
      row(40, 3, 240, 80, false, 'HS', 2),
      row(80, 3, 200, 80, false, 'HS', 1),
      row(80, 3, 184, 80, false, 'HS', 1),
      row(80, 3, 184, 80, false, 'HS', 1),
      row(80, 3, 480, 112, true, 'HS', 1),
      row(112, 3, 672, 112, true, 'HS', 1),
      row(112, 5, 672, 160 / tail, true, 'HS', 2, dilation),
      row(160 / tail, 5, 960 / tail, 160 / tail, true, 'HS', 1, dilation),
      row(160 / tail, 5, 960 / tail, 160 / tail, true, 'HS', 1, dilation),
    ];
    return { blocks, lastChannel: width(1280 / tail) };
  }
  const blocks = [
    row(16, 3, 16, 16, true, 'RE', 2),
    row(16, 3, 72, 24, false, 'RE', 2),
    row(24, 3, 88, 24, false, 'RE', 1),
    row(24, 5, 96, 40, true, 'HS', 2),
    row(40, 5, 240, 40, true, 'HS', 1),
    row(40, 5, 240, 40, true, 'HS', 1),
    row(40, 5, 120, 48, true, 'HS', 1),
    row(48, 5, 144, 48, true, 'HS', 1),
    row(48, 5, 288, 96 / tail, true, 'HS', 2, dilation),
    row(96 / tail, 5, 576 / tail, 96 / tail, true, 'HS', 1, dilation),
    row(96 / tail, 5, 576 / tail, 96 / tail, true, 'HS', 1, dilation),
  ];
  return { blocks, lastChannel: width(1024 / tail) };
}

/** 1x1 up, depthwise, squeeze and excite, 1x1 down without activation, and a shortcut where shapes allow. */
class InvertedResidual extends Module {
  block: Sequential;
  readonly useResConnect: boolean;

  constructor(config: BlockConfig, normLayer: NormLayer) {
    super();
    const { into, expanded, out, dilation, activation: activationLayer } = config;
    this.useResConnect = config.stride === 1 && into === out;
    const layers: Module[] = [];
    if (expanded !== into)
      layers.push(new Conv2dNormActivation(into, expanded, { kernelSize: 1, normLayer, activationLayer }));
    layers.push(
      new Conv2dNormActivation(expanded, expanded, {
        kernelSize: config.kernel,
        stride: dilation > 1 ? 1 : config.stride,
        dilation,
        groups: expanded,
        normLayer,
        activationLayer,
      }),
    );
    if (config.squeeze) {
      const squeezed = makeDivisible(Math.floor(expanded / 4), 8);
      layers.push(new SqueezeExcitation(expanded, squeezed, { scaleActivation: () => new Hardsigmoid() }));
    }
    layers.push(new Conv2dNormActivation(expanded, out, { kernelSize: 1, normLayer, activationLayer: null }));
    this.block = new Sequential(...layers);
  }

  forward(x: Tensor): Tensor {
    return this.useResConnect ? fused(x, [this.block], { residual: x }) : this.block(x);
  }
}

/** The head takes any module in its place: `model.classifier = new nn.Identity()`. */
export interface MobileNetV3 {
  get classifier(): Sequential;
  set classifier(module: TensorModule);
}

/** `torchvision.models.MobileNetV3`: `[N, 3, H, W]` to logits `[N, numClasses]`. */
export class MobileNetV3 extends Module {
  features: Sequential;
  avgpool: AdaptiveAvgPool2d;

  constructor(arch: 'small' | 'large', options: MobileNetV3Options = {}) {
    super();
    const all = readOptions<Required<MobileNetV3Options>>(
      'MobileNetV3',
      {
        numClasses: 1000,
        dropout: 0.2,
        widthMult: 1,
        reducedTail: false,
        dilated: false,
        normLayer: (channels) => new BatchNorm2d(channels, { eps: 0.001, momentum: 0.01 }),
      },
      options,
    );
    const { numClasses, dropout, normLayer } = all;
    const { blocks, lastChannel } = structureOf(arch, all);
    const [first, last] = [blocks[0]!, blocks.at(-1)!];
    const trunk = 6 * last.out;
    this.features = new Sequential(
      new Conv2dNormActivation(3, first.into, { stride: 2, normLayer, activationLayer: Hardswish }),
      ...blocks.map((block) => new InvertedResidual(block, normLayer)),
      new Conv2dNormActivation(last.out, trunk, { kernelSize: 1, normLayer, activationLayer: Hardswish }),
    );
    this.avgpool = new AdaptiveAvgPool2d(1);
    this.classifier = new Sequential(
      new Linear(trunk, lastChannel),
      new Hardswish({ inplace: true }),
      new Dropout(dropout, { inplace: true }),
      new Linear(lastChannel, numClasses),
    );
    initByFanOut(this);
  }

  forward(x: Tensor): Tensor {
    return this.classifier(flatten(this.avgpool(this.features(x)), 1));
  }
}

const build = (name: string, arch: 'small' | 'large'): ModelBuilder<MobileNetV3, MobileNetV3Options> =>
  defineModel<MobileNetV3, MobileNetV3Options>({
    name,
    construct: (options) => new MobileNetV3(arch, options),
    telltales: [
      {
        name: 'a MobileNetV3',
        has: ['features.0.0.weight', 'features.1.block.0.0.weight', 'classifier.3.weight'],
      },
    ],
  });

export const mobilenetV3Large = build('mobilenet_v3_large', 'large');
export const mobilenetV3Small = build('mobilenet_v3_small', 'small');
