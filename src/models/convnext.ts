import { readOptions } from '../tensor/options.js';
import {
  AdaptiveAvgPool2d,
  Conv2d,
  Flatten,
  GELU,
  LayerNorm,
  Linear,
  Module,
  Parameter,
  Sequential,
  type TensorModule,
} from '../nn/index.js';
import * as init from '../nn/base/init.js';
import { add, full, mul, permute } from '../ops/index.js';
import type { Tensor } from '../tensor/tensor.js';
import { Conv2dNormActivation, Permute } from './blocks.js';
import type { ModelOptions } from './declaration.js';
import { defineModel, type ModelBuilder } from './define.js';
import { StochasticDepth } from './stochastic-depth.js';

/** torchvision's ConvNeXts (Liu et al. 2022, https://arxiv.org/abs/2201.03545). */

export interface ConvNeXtOptions extends ModelOptions {
  /** Of the last block; it grows from 0 at the first. Default 0.1 (tiny), 0.4 (small) or 0.5. */
  stochasticDepthProb?: number;
  /** What the factors of the residual branches start as. Default 1e-6. */
  layerScale?: number;
}

/** LayerNorm over the channels of [N, C, H, W]. */
class LayerNorm2d extends LayerNorm {
  override forward(x: Tensor): Tensor {
    return permute(super.forward(permute(x, 0, 2, 3, 1)), 0, 3, 1, 2);
  }
}

const eps = 1e-6;

class CNBlock extends Module {
  block: Sequential;
  layerScale: Parameter;
  stochasticDepth: StochasticDepth;

  constructor(dim: number, layerScale: number, dropProb: number) {
    super();
    this.block = new Sequential(
      new Conv2d(dim, dim, 7, { padding: 3, groups: dim }),
      new Permute([0, 2, 3, 1]),
      new LayerNorm(dim, { eps }),
      new Linear(dim, 4 * dim),
      new GELU(),
      new Linear(4 * dim, dim),
      new Permute([0, 3, 1, 2]),
    );
    this.layerScale = new Parameter(full([dim, 1, 1], layerScale));
    this.stochasticDepth = new StochasticDepth(dropProb, 'row');
  }

  forward(x: Tensor): Tensor {
    return add(this.stochasticDepth(mul(this.layerScale, this.block(x))), x);
  }
}

interface Stage {
  readonly channels: number;
  readonly layers: number;
}

/** The head takes any module in its place: `model.classifier = new nn.Identity()`. */
export interface ConvNeXt {
  get classifier(): Sequential;
  set classifier(module: TensorModule);
}

/** `torchvision.models.ConvNeXt`: `[N, 3, H, W]` to logits `[N, numClasses]`. */
export class ConvNeXt extends Module {
  features: Sequential;
  avgpool: AdaptiveAvgPool2d;

  constructor(stages: readonly Stage[], options: ConvNeXtOptions = {}) {
    super();
    const { numClasses, stochasticDepthProb, layerScale } = readOptions<Required<ConvNeXtOptions>>(
      'ConvNeXt',
      { numClasses: 1000, stochasticDepthProb: 0, layerScale: 1e-6 },
      options,
    );
    const [firstStage, lastStage] = [stages[0], stages.at(-1)];
    if (firstStage === undefined || lastStage === undefined)
      throw new Error('ConvNeXt: at least one stage is needed');
    const total = stages.reduce((count, { layers }) => count + layers, 0);
    let blocks = 0;
    const body = stages.flatMap(({ channels, layers }, i): Module[] => {
      const stage = Array.from(
        { length: layers },
        () => new CNBlock(channels, layerScale, (stochasticDepthProb * blocks++) / (total - 1)),
      );
      const next = stages[i + 1];
      if (next === undefined) return [new Sequential(...stage)];
      const downsample = new Sequential(
        new LayerNorm2d(channels, { eps }),
        new Conv2d(channels, next.channels, 2, { stride: 2 }),
      );
      return [new Sequential(...stage), downsample];
    });
    this.features = new Sequential(
      new Conv2dNormActivation(3, firstStage.channels, {
        kernelSize: 4,
        stride: 4,
        padding: 0,
        normLayer: (channels) => new LayerNorm2d(channels, { eps }),
        activationLayer: null,
        bias: true,
      }),
      ...body,
    );
    this.avgpool = new AdaptiveAvgPool2d(1);
    this.classifier = new Sequential(
      new LayerNorm2d(lastStage.channels, { eps }),
      new Flatten(1),
      new Linear(lastStage.channels, numClasses),
    );
    for (const module of this.modules()) {
      if (!(module instanceof Conv2d || module instanceof Linear)) continue;
      init.truncNormal_(module.weight, 0, 0.02);
      if (module.bias !== null) init.zeros_(module.bias);
    }
  }

  forward(x: Tensor): Tensor {
    return this.classifier(this.avgpool(this.features(x)));
  }
}

const build = (
  name: string,
  width: number,
  depth: number,
  stochasticDepthProb: number,
  resize: number,
): ModelBuilder<ConvNeXt, ConvNeXtOptions> =>
  defineModel<ConvNeXt, ConvNeXtOptions>({
    name,
    construct: (options) =>
      new ConvNeXt(
        [3, 3, depth, 3].map((layers, i) => ({ channels: width * 2 ** i, layers })),
        { stochasticDepthProb, ...options },
      ),
    input: { resize },
    telltales: [{ name: 'a ConvNeXt', has: ['features.1.0.layer_scale'] }],
  });

export const convnextTiny = build('convnext_tiny', 96, 9, 0.1, 236);
export const convnextSmall = build('convnext_small', 96, 27, 0.4, 230);
export const convnextBase = build('convnext_base', 128, 27, 0.5, 232);
export const convnextLarge = build('convnext_large', 192, 27, 0.5, 232);
