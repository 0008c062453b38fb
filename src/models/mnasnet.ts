import { readOptions } from '../tensor/options.js';
import {
  BatchNorm2d,
  Conv2d,
  Dropout,
  fused,
  Linear,
  Module,
  ReLU,
  Sequential,
  type TensorModule,
} from '../nn/index.js';
import * as init from '../nn/base/init.js';
import { mean } from '../ops/index.js';
import type { Tensor } from '../tensor/tensor.js';
import { makeDivisible } from './blocks.js';
import type { ModelOptions } from './declaration.js';
import { defineModel, type ModelBuilder } from './define.js';

/** torchvision's MNASNets (Tan et al. 2018, https://arxiv.org/abs/1807.11626; the variant B1). */

export interface MNASNetOptions extends ModelOptions {
  /** Before the classifier. Default 0.2. */
  dropout?: number;
}

/** TensorFlow's 0.9997 of the paper, seen from the other side. */
const momentum = 1 - 0.9997;

const norm = (channels: number): BatchNorm2d => new BatchNorm2d(channels, { momentum });
const relu = (): ReLU => new ReLU({ inplace: true });
const conv1x1 = (into: number, out: number): Conv2d => new Conv2d(into, out, 1, { bias: false });
const depthwise = (channels: number, kernel: number, stride: number): Conv2d =>
  new Conv2d(channels, channels, kernel, {
    padding: Math.floor(kernel / 2),
    stride,
    groups: channels,
    bias: false,
  });

/**
 * 1x1 up, depthwise, 1x1 down, and a shortcut where the shapes allow it. The name is torchvision's, as
 * printed.
 */
class _InvertedResidual extends Module {
  private readonly applyResidual: boolean;
  layers: Sequential;

  constructor(into: number, out: number, kernel: number, stride: number, expansion: number) {
    super();
    const width = into * expansion;
    this.applyResidual = into === out && stride === 1;
    this.layers = new Sequential(
      conv1x1(into, width),
      norm(width),
      relu(),
      depthwise(width, kernel, stride),
      norm(width),
      relu(),
      conv1x1(width, out),
      norm(out),
    );
  }

  forward(x: Tensor): Tensor {
    return this.applyResidual ? fused(x, [this.layers], { residual: x }) : this.layers(x);
  }
}

const stack = (
  into: number,
  out: number,
  kernel: number,
  stride: number,
  expansion: number,
  repeats: number,
): Sequential =>
  new Sequential(
    ...Array.from({ length: repeats }, (_, i) =>
      i === 0
        ? new _InvertedResidual(into, out, kernel, stride, expansion)
        : new _InvertedResidual(out, out, kernel, 1, expansion),
    ),
  );

/** The head takes any module in its place: `model.classifier = new nn.Identity()`. */
export interface MNASNet {
  get classifier(): Sequential;
  set classifier(module: TensorModule);
}

/** `torchvision.models.MNASNet`: `[N, 3, H, W]` to logits `[N, numClasses]`. */
export class MNASNet extends Module {
  layers: Sequential;

  /** @param alpha factor of all channel counts */
  constructor(alpha: number, options: MNASNetOptions = {}) {
    const { numClasses, dropout } = readOptions<Required<MNASNetOptions>>(
      'MNASNet',
      { numClasses: 1000, dropout: 0.2 },
      options,
    );
    super();
    if (!(alpha > 0)) throw new Error(`MNASNet: alpha must be positive, got ${String(alpha)}`);
    const [a, b, c, d, e, f, g, h] = [32, 16, 24, 40, 80, 96, 192, 320].map((depth) =>
      makeDivisible(depth * alpha, 8),
    ) as [number, number, number, number, number, number, number, number];
    this.layers = new Sequential(
      new Conv2d(3, a, 3, { padding: 1, stride: 2, bias: false }),
      norm(a),
      relu(),
      depthwise(a, 3, 1),
      norm(a),
      relu(),
      conv1x1(a, b),
      norm(b),
      stack(b, c, 3, 2, 3, 3),
      stack(c, d, 5, 2, 3, 3),
      stack(d, e, 5, 2, 6, 3),
      stack(e, f, 3, 1, 6, 2),
      stack(f, g, 5, 2, 6, 4),
      stack(g, h, 3, 1, 6, 1),
      conv1x1(h, 1280),
      norm(1280),
      relu(),
    );
    this.classifier = new Sequential(new Dropout(dropout, { inplace: true }), new Linear(1280, numClasses));
    for (const module of this.modules()) {
      if (module instanceof Conv2d)
        init.kaimingNormal_(module.weight, { mode: 'fan_out', nonlinearity: 'relu' });
      else if (module instanceof Linear) {
        init.kaimingUniform_(module.weight, { mode: 'fan_out', nonlinearity: 'sigmoid' });
        if (module.bias !== null) init.zeros_(module.bias);
      }
    }
  }

  forward(x: Tensor): Tensor {
    return this.classifier(mean(this.layers(x), [2, 3]));
  }
}

const build = (name: string, alpha: number, resize = 256): ModelBuilder<MNASNet, MNASNetOptions> =>
  defineModel<MNASNet, MNASNetOptions>({
    name,
    construct: (options) => new MNASNet(alpha, options),
    input: { resize },
    telltales: [{ name: 'an MNASNet', has: ['layers.8.0.layers.0.weight'] }],
  });

export const mnasnet0_5 = build('mnasnet0_5', 0.5);
export const mnasnet0_75 = build('mnasnet0_75', 0.75, 232);
export const mnasnet1_0 = build('mnasnet1_0', 1.0);
export const mnasnet1_3 = build('mnasnet1_3', 1.3, 232);
