import { readOptions } from '../tensor/options.js';
import {
  AdaptiveAvgPool2d,
  Conv2d,
  fused,
  Linear,
  Module,
  ReLU,
  Sequential,
  type TensorModule,
} from '../nn/index.js';
import * as init from '../nn/base/init.js';
import { flatten } from '../ops/index.js';
import type { Tensor } from '../tensor/tensor.js';
import { Conv2dNormActivation, makeDivisible, SqueezeExcitation } from './blocks.js';
import type { ModelInput, ModelOptions } from './declaration.js';
import { defineModel, type ModelBuilder } from './define.js';

/** torchvision's RegNets (Radosavovic et al. 2020, https://arxiv.org/abs/2003.13678). */

export interface RegNetOptions extends ModelOptions {
  /** Channels of the first convolution. Default 32. */
  stemWidth?: number;
}

/** The paper's parameters of a network; its stages follow from them. */
interface Design {
  readonly depth: number;
  /** Initial width, slope, and step in log space. */
  readonly w0: number;
  readonly wa: number;
  readonly wm: number;
  readonly groupWidth: number;
  /** Squeeze and excitation by this share of a block's input (RegNetY); none without. */
  readonly seRatio?: number;
}

interface Stage {
  readonly width: number;
  readonly depth: number;
  readonly groupWidth: number;
}

/** Ties to even, as in Python and PyTorch. */
function roundEven(x: number): number {
  const rounded = Math.round(x);
  return rounded - x === 0.5 && rounded % 2 !== 0 ? rounded - 1 : rounded;
}

/**
 * Section 3.3 of the paper: a line of widths, its steps in log space, then multiples of 8 and of the group
 * width.
 */
function stagesOf({ depth, w0, wa, wm, groupWidth }: Design): Stage[] {
  if (wa < 0 || w0 <= 0 || wm <= 1 || w0 % 8 !== 0)
    throw new Error(
      `RegNet: w0 must be a positive multiple of 8, wa not negative and wm above 1; got ${w0}, ${wa}, ${wm}`,
    );
  const widths = Array.from({ length: depth }, (_, i) => {
    const capacity = roundEven(Math.log((i * wa + w0) / w0) / Math.log(wm));
    return roundEven((w0 * wm ** capacity) / 8) * 8;
  });
  return [...new Set(widths)].map((width) => {
    const group = Math.min(groupWidth, width);
    return {
      width: makeDivisible(width, group),
      depth: widths.filter((other) => other === width).length,
      groupWidth: group,
    };
  });
}

class SimpleStemIN extends Conv2dNormActivation {
  constructor(into: number, out: number) {
    super(into, out, { kernelSize: 3, stride: 2 });
  }
}

interface BlockArguments {
  readonly into: number;
  readonly out: number;
  readonly stride: number;
  readonly groupWidth: number;
  readonly seRatio: number | undefined;
}

/** 1x1, 3x3 in groups, (squeeze and excitation,) 1x1. */
class BottleneckTransform extends Sequential {
  constructor({ into, out, stride, groupWidth, seRatio }: BlockArguments) {
    super({
      a: new Conv2dNormActivation(into, out, { kernelSize: 1 }),
      b: new Conv2dNormActivation(out, out, { stride, groups: Math.floor(out / groupWidth) }),
      ...(seRatio !== undefined && { se: new SqueezeExcitation(out, roundEven(seRatio * into)) }),
      c: new Conv2dNormActivation(out, out, { kernelSize: 1, activationLayer: null }),
    });
  }
}

class ResBottleneckBlock extends Module {
  proj: Conv2dNormActivation | null;
  f: BottleneckTransform;
  activation: ReLU;

  constructor(block: BlockArguments) {
    super();
    const { into, out, stride } = block;
    this.proj =
      into !== out || stride !== 1
        ? new Conv2dNormActivation(into, out, { kernelSize: 1, stride, activationLayer: null })
        : null;
    this.f = new BottleneckTransform(block);
    this.activation = new ReLU({ inplace: true });
  }

  forward(x: Tensor): Tensor {
    const residual = this.proj === null ? x : this.proj(x);
    return fused(x, [this.f], { residual, activation: this.activation });
  }
}

class AnyStage extends Sequential {
  constructor(into: number, { width, depth, groupWidth }: Stage, index: number, seRatio: number | undefined) {
    super(
      Object.fromEntries(
        Array.from({ length: depth }, (_, i) => {
          const first = i === 0;
          const block = {
            into: first ? into : width,
            out: width,
            stride: first ? 2 : 1,
            groupWidth,
            seRatio,
          };
          return [`block${index}-${i}`, new ResBottleneckBlock(block)];
        }),
      ),
    );
  }
}

/** The head takes any module in its place: `model.fc = new nn.Identity()`. */
export interface RegNet {
  get fc(): Linear;
  set fc(module: TensorModule);
}

/** `torchvision.models.RegNet`: `[N, 3, H, W]` to logits `[N, numClasses]`. */
export class RegNet extends Module {
  stem: SimpleStemIN;
  trunkOutput: Sequential;
  avgpool: AdaptiveAvgPool2d;

  constructor(design: Design, options: RegNetOptions = {}) {
    const { numClasses, stemWidth } = readOptions<Required<RegNetOptions>>(
      'RegNet',
      { numClasses: 1000, stemWidth: 32 },
      options,
    );
    super();
    this.stem = new SimpleStemIN(3, stemWidth);
    let width = stemWidth;
    const stages = stagesOf(design).map((stage, i): [string, AnyStage] => {
      const made = new AnyStage(width, stage, i + 1, design.seRatio);
      width = stage.width;
      return [`block${i + 1}`, made];
    });
    this.trunkOutput = new Sequential(Object.fromEntries(stages));
    this.avgpool = new AdaptiveAvgPool2d([1, 1]);
    this.fc = new Linear(width, numClasses);
    for (const module of this.modules()) {
      if (module instanceof Conv2d) {
        const fanOut = module.kernelSize[0] * module.kernelSize[1] * module.outChannels;
        init.normal_(module.weight, 0, Math.sqrt(2 / fanOut));
      } else if (module instanceof Linear) {
        init.normal_(module.weight, 0, 0.01);
        if (module.bias !== null) init.zeros_(module.bias);
      }
    }
  }

  forward(x: Tensor): Tensor {
    return this.fc(flatten(this.avgpool(this.trunkOutput(this.stem(x))), 1));
  }
}

const build = (
  name: string,
  depth: number,
  w0: number,
  wa: number,
  wm: number,
  groupWidth: number,
  se: { seRatio?: number } = {},
  input: Partial<ModelInput> = {},
): ModelBuilder<RegNet, RegNetOptions> =>
  defineModel<RegNet, RegNetOptions>({
    name,
    construct: (options) => new RegNet({ depth, w0, wa, wm, groupWidth, ...se }, options),
    input,
    telltales: [{ name: 'a RegNet', has: ['stem.0.weight', 'trunk_output.block1.block1-0.proj.0.weight'] }],
  });

const y = { seRatio: 0.25 };

export const regnetY400mf = build('regnet_y_400mf', 16, 48, 27.89, 2.09, 8, y);
export const regnetY800mf = build('regnet_y_800mf', 14, 56, 38.84, 2.4, 16, y);
export const regnetY1_6gf = build('regnet_y_1_6gf', 27, 48, 20.71, 2.65, 24, y);
export const regnetY3_2gf = build('regnet_y_3_2gf', 21, 80, 42.63, 2.66, 24, y);
export const regnetY8gf = build('regnet_y_8gf', 17, 192, 76.82, 2.19, 56, y);
export const regnetY16gf = build('regnet_y_16gf', 18, 200, 106.23, 2.48, 112, y);
export const regnetY32gf = build('regnet_y_32gf', 20, 232, 115.89, 2.53, 232, y);
export const regnetY128gf = build('regnet_y_128gf', 27, 456, 160.83, 2.52, 264, y, {
  resize: 384,
  crop: 384,
  interpolation: 'bicubic',
});
export const regnetX400mf = build('regnet_x_400mf', 22, 24, 24.48, 2.54, 16);
export const regnetX800mf = build('regnet_x_800mf', 16, 56, 35.73, 2.28, 16);
export const regnetX1_6gf = build('regnet_x_1_6gf', 18, 80, 34.01, 2.25, 24);
export const regnetX3_2gf = build('regnet_x_3_2gf', 25, 88, 26.31, 2.25, 48);
export const regnetX8gf = build('regnet_x_8gf', 23, 80, 49.56, 2.88, 120);
export const regnetX16gf = build('regnet_x_16gf', 22, 216, 55.59, 2.1, 128);
export const regnetX32gf = build('regnet_x_32gf', 23, 320, 69.86, 2.0, 168);
