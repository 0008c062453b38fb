import { readOptions } from '../tensor/options.js';
import {
  AdaptiveAvgPool2d,
  BatchNorm2d,
  Conv2d,
  Dropout,
  fused,
  Linear,
  Module,
  Sequential,
  SiLU,
  type BatchNormOptions,
  type TensorModule,
} from '../nn/index.js';
import * as init from '../nn/base/init.js';
import { dropTemporary } from '../nn/base/fuse.js';
import { flatten } from '../ops/index.js';
import type { Tensor } from '../tensor/tensor.js';
import { Conv2dNormActivation, makeDivisible, SqueezeExcitation, type NormLayer } from './blocks.js';
import type { ModelInput, ModelOptions } from './declaration.js';
import { defineModel, type ModelBuilder } from './define.js';
import { StochasticDepth } from './stochastic-depth.js';

/**
 * torchvision's EfficientNets (Tan & Le 2019, https://arxiv.org/abs/1905.11946) and V2 (2021,
 * https://arxiv.org/abs/2104.00298).
 */

export interface EfficientNetOptions extends ModelOptions {
  /** Before the classifier. Default: the paper's for the size, 0.2 to 0.5. */
  dropout?: number;
  /** Of the last block; it grows from 0 at the first. Default 0.2. */
  stochasticDepthProb?: number;
}

type BlockType = typeof MBConv | typeof FusedMBConv;

/** One stage: the first block has the stride and changes the channels. */
interface Stage {
  readonly block: BlockType;
  readonly expandRatio: number;
  readonly kernel: number;
  readonly stride: number;
  readonly into: number;
  readonly out: number;
  readonly layers: number;
}

type BlockArguments = Omit<Stage, 'block' | 'layers'>;

/**
 * What the two kinds of blocks share: [N, into, H, W] through `block`, beside a shortcut where the shapes
 * allow it.
 */
abstract class Residual extends Module {
  block: Sequential;
  stochasticDepth: StochasticDepth;
  private readonly useResConnect: boolean;

  protected constructor(layers: readonly Module[], { stride, into, out }: BlockArguments, dropProb: number) {
    super();
    this.useResConnect = stride === 1 && into === out;
    this.block = new Sequential(...layers);
    this.stochasticDepth = new StochasticDepth(dropProb, 'row');
  }

  forward(x: Tensor): Tensor {
    if (!this.useResConnect) return this.block(x);
    return fused(x, [this.block, this.stochasticDepth], { residual: x });
  }
}

/** 1x1 up, depthwise, squeeze and excitation, 1x1 down. */
class MBConv extends Residual {
  constructor(stage: BlockArguments, dropProb: number, normLayer: NormLayer) {
    const { into, out, expandRatio, kernel, stride } = stage;
    const expanded = makeDivisible(into * expandRatio, 8);
    const layers: Module[] = [];
    const activationLayer = SiLU;
    if (expanded !== into)
      layers.push(new Conv2dNormActivation(into, expanded, { kernelSize: 1, normLayer, activationLayer }));
    layers.push(
      new Conv2dNormActivation(expanded, expanded, {
        kernelSize: kernel,
        stride,
        groups: expanded,
        normLayer,
        activationLayer,
      }),
      new SqueezeExcitation(expanded, Math.max(1, Math.floor(into / 4)), {
        activation: () => new SiLU({ inplace: true }),
      }),
      new Conv2dNormActivation(expanded, out, { kernelSize: 1, normLayer, activationLayer: null }),
    );
    super(layers, stage, dropProb);
  }
}

/** A full convolution in place of MBConv's first two. */
class FusedMBConv extends Residual {
  constructor(stage: BlockArguments, dropProb: number, normLayer: NormLayer) {
    const { into, out, expandRatio, kernel, stride } = stage;
    const expanded = makeDivisible(into * expandRatio, 8);
    const activationLayer = SiLU;
    const first = new Conv2dNormActivation(into, expanded !== into ? expanded : out, {
      kernelSize: kernel,
      stride,
      normLayer,
      activationLayer,
    });
    const project = (): Module =>
      new Conv2dNormActivation(expanded, out, { kernelSize: 1, normLayer, activationLayer: null });
    super(expanded !== into ? [first, project()] : [first], stage, dropProb);
  }
}

interface Plan {
  readonly stages: readonly Stage[];
  /** Channels before the classifier; default four times the last stage's. */
  readonly lastChannel?: number;
  readonly norm?: BatchNormOptions;
  readonly dropout: number;
}

/** The head takes any module in its place: `model.classifier = new nn.Identity()`. */
export interface EfficientNet {
  get classifier(): Sequential;
  set classifier(module: TensorModule);
}

/** `torchvision.models.EfficientNet`: `[N, 3, H, W]` to logits `[N, numClasses]`. */
export class EfficientNet extends Module {
  features: Sequential;
  avgpool: AdaptiveAvgPool2d;

  constructor({ stages, norm, ...plan }: Plan, options: EfficientNetOptions = {}) {
    super();
    const { numClasses, dropout, stochasticDepthProb } = readOptions<Required<EfficientNetOptions>>(
      'EfficientNet',
      { numClasses: 1000, dropout: plan.dropout, stochasticDepthProb: 0.2 },
      options,
    );
    const [firstStage, lastStage] = [stages[0], stages.at(-1)];
    if (firstStage === undefined || lastStage === undefined)
      throw new Error('EfficientNet: at least one stage is needed');
    const normLayer: NormLayer = (channels) => new BatchNorm2d(channels, norm);
    const total = stages.reduce((count, { layers }) => count + layers, 0);
    let blocks = 0;
    const bodies = stages.map(({ block, layers, ...stage }) => {
      const modules = Array.from({ length: layers }, (_, i) => {
        const step = i === 0 ? stage : { ...stage, into: stage.out, stride: 1 };
        return new block(step, (stochasticDepthProb * blocks++) / total, normLayer);
      });
      return new Sequential(...modules);
    });
    const lastChannel = plan.lastChannel ?? 4 * lastStage.out;
    this.features = new Sequential(
      new Conv2dNormActivation(3, firstStage.into, { stride: 2, normLayer, activationLayer: SiLU }),
      ...bodies,
      new Conv2dNormActivation(lastStage.out, lastChannel, {
        kernelSize: 1,
        normLayer,
        activationLayer: SiLU,
      }),
    );
    this.avgpool = new AdaptiveAvgPool2d(1);
    this.classifier = new Sequential(
      new Dropout(dropout, { inplace: true }),
      new Linear(lastChannel, numClasses),
    );
    for (const module of this.modules()) {
      if (module instanceof Conv2d) init.kaimingNormal_(module.weight, { mode: 'fan_out' });
      else if (module instanceof Linear) {
        const range = 1 / Math.sqrt(module.outFeatures);
        init.uniform_(module.weight, -range, range);
      } else continue;
      if (module.bias !== null) init.zeros_(module.bias);
    }
  }

  forward(x: Tensor): Tensor {
    const pooled = this.avgpool(this.features(x));
    const rows = flatten(pooled, 1);
    // The dropout writes over what nobody else shows in one launch.
    dropTemporary(pooled);
    return this.classifier(rows);
  }
}

type Row = readonly [
  expandRatio: number,
  kernel: number,
  stride: number,
  into: number,
  out: number,
  layers: number,
];

const stagesOf = (block: BlockType, rows: readonly Row[], widthMult = 1, depthMult = 1): Stage[] =>
  rows.map(([expandRatio, kernel, stride, into, out, layers]) => ({
    block,
    expandRatio,
    kernel,
    stride,
    into: makeDivisible(into * widthMult, 8),
    out: makeDivisible(out * widthMult, 8),
    layers: Math.ceil(layers * depthMult),
  }));

const define = (
  name: string,
  input: Partial<ModelInput>,
  plan: Plan,
): ModelBuilder<EfficientNet, EfficientNetOptions> =>
  defineModel<EfficientNet, EfficientNetOptions>({
    name,
    construct: (options) => new EfficientNet(plan, options),
    input,
    telltales: [{ name: 'an EfficientNet', has: ['features.1.0.block.1.fc1.weight', 'features.8.0.weight'] }],
  });

/** Table 1 of the first paper, scaled. */
const buildB = (
  name: string,
  [resize, crop]: readonly [number, number],
  widthMult: number,
  depthMult: number,
  dropout: number,
  norm: BatchNormOptions = {},
): ModelBuilder<EfficientNet, EfficientNetOptions> =>
  define(
    name,
    { resize, crop, interpolation: 'bicubic' },
    {
      stages: stagesOf(
        MBConv,
        [
          [1, 3, 1, 32, 16, 1],
          [6, 3, 2, 16, 24, 2],
          [6, 5, 2, 24, 40, 2],
          [6, 3, 2, 40, 80, 3],
          [6, 5, 1, 80, 112, 3],
          [6, 5, 2, 112, 192, 4],
          [6, 3, 1, 192, 320, 1],
        ],
        widthMult,
        depthMult,
      ),
      norm,
      dropout,
    },
  );

/** Table 4 of the second paper. */
const buildV2 = (
  name: string,
  input: Partial<ModelInput>,
  fused: readonly Row[],
  rows: readonly Row[],
  dropout: number,
): ModelBuilder<EfficientNet, EfficientNetOptions> =>
  define(name, input, {
    stages: [...stagesOf(FusedMBConv, fused), ...stagesOf(MBConv, rows)],
    lastChannel: 1280,
    norm: { eps: 1e-3 },
    dropout,
  });

/** The weights of the large ones came from TensorFlow, with its batch norm's numbers. */
const tensorFlowNorm: BatchNormOptions = { eps: 1e-3, momentum: 0.01 };

export const efficientnetB0 = buildB('efficientnet_b0', [256, 224], 1.0, 1.0, 0.2);
export const efficientnetB1 = buildB('efficientnet_b1', [256, 240], 1.0, 1.1, 0.2);
export const efficientnetB2 = buildB('efficientnet_b2', [288, 288], 1.1, 1.2, 0.3);
export const efficientnetB3 = buildB('efficientnet_b3', [320, 300], 1.2, 1.4, 0.3);
export const efficientnetB4 = buildB('efficientnet_b4', [384, 380], 1.4, 1.8, 0.4);
export const efficientnetB5 = buildB('efficientnet_b5', [456, 456], 1.6, 2.2, 0.4, tensorFlowNorm);
export const efficientnetB6 = buildB('efficientnet_b6', [528, 528], 1.8, 2.6, 0.5, tensorFlowNorm);
export const efficientnetB7 = buildB('efficientnet_b7', [600, 600], 2.0, 3.1, 0.5, tensorFlowNorm);
export const efficientnetV2S = buildV2(
  'efficientnet_v2_s',
  { resize: 384, crop: 384 },
  [
    [1, 3, 1, 24, 24, 2],
    [4, 3, 2, 24, 48, 4],
    [4, 3, 2, 48, 64, 4],
  ],
  [
    [4, 3, 2, 64, 128, 6],
    [6, 3, 1, 128, 160, 9],
    [6, 3, 2, 160, 256, 15],
  ],
  0.2,
);
export const efficientnetV2M = buildV2(
  'efficientnet_v2_m',
  { resize: 480, crop: 480 },
  [
    [1, 3, 1, 24, 24, 3],
    [4, 3, 2, 24, 48, 5],
    [4, 3, 2, 48, 80, 5],
  ],
  [
    [4, 3, 2, 80, 160, 7],
    [6, 3, 1, 160, 176, 14],
    [6, 3, 2, 176, 304, 18],
    [6, 3, 1, 304, 512, 5],
  ],
  0.3,
);
export const efficientnetV2L = buildV2(
  'efficientnet_v2_l',
  { resize: 480, crop: 480, interpolation: 'bicubic', mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5] },
  [
    [1, 3, 1, 32, 32, 4],
    [4, 3, 2, 32, 64, 7],
    [4, 3, 2, 64, 96, 7],
  ],
  [
    [4, 3, 2, 96, 192, 10],
    [6, 3, 1, 192, 224, 19],
    [6, 3, 2, 224, 384, 25],
    [6, 3, 1, 384, 640, 7],
  ],
  0.4,
);
