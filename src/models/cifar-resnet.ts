import { readOptions } from '../tensor/options.js';
import { BatchNorm2d, Conv2d, fused, Linear, Module, Sequential, type TensorModule } from '../nn/index.js';
import * as init from '../nn/base/init.js';
import { adaptiveAvgPool2d, flatten, slice, pad } from '../ops/index.js';
import type { Tensor } from '../tensor/tensor.js';
import { defineModel, type ModelBuilder } from './define.js';
import { residualStages } from './resnet-telltales.js';

/**
 * The ResNets for CIFAR-10 of the paper's section 4.2 (https://arxiv.org/abs/1512.03385), as in
 * https://github.com/akamaster/pytorch_resnet_cifar10, whose published weights they load.
 */

export interface CifarResNetOptions {
  /** Default 10. */
  numClasses?: number;
}

/**
 * Option A of the paper: a shortcut without parameters, every second pixel with zeros for the new channels.
 */
class PadShortcut extends Module {
  constructor(private readonly planes: number) {
    super();
  }

  forward(x: Tensor): Tensor {
    const side = Math.floor(this.planes / 4);
    return pad(slice(slice(x, 2, null, null, 2), 3, null, null, 2), [0, 0, 0, 0, side, side]);
  }
}

class CifarBlock extends Module {
  conv1: Conv2d;
  bn1: BatchNorm2d;
  conv2: Conv2d;
  bn2: BatchNorm2d;
  shortcut: Sequential | PadShortcut;

  constructor(inPlanes: number, planes: number, stride: number) {
    super();
    this.conv1 = new Conv2d(inPlanes, planes, 3, { stride, padding: 1, bias: false });
    this.bn1 = new BatchNorm2d(planes);
    this.conv2 = new Conv2d(planes, planes, 3, { padding: 1, bias: false });
    this.bn2 = new BatchNorm2d(planes);
    this.shortcut = stride !== 1 || inPlanes !== planes ? new PadShortcut(planes) : new Sequential();
  }

  forward(x: Tensor): Tensor {
    const out = fused(x, [this.conv1, this.bn1], { activation: 'relu' });
    return fused(out, [this.conv2, this.bn2], { residual: this.shortcut(x), activation: 'relu' });
  }
}

/** The head takes any module in its place: `model.linear = new nn.Identity()`. */
export interface CifarResNet {
  get linear(): Linear;
  set linear(module: TensorModule);
}

/** `[N, 3, 32, 32]` to logits `[N, numClasses]`. */
export class CifarResNet extends Module {
  conv1: Conv2d;
  bn1: BatchNorm2d;
  layer1: Sequential;
  layer2: Sequential;
  layer3: Sequential;

  /** @param blocks number of blocks in each of the three stages: the depth is 6 * blocks + 2 */
  constructor(blocks: number, options: CifarResNetOptions = {}) {
    const { numClasses } = readOptions<Required<CifarResNetOptions>>(
      'CifarResNet',
      { numClasses: 10 },
      options,
    );
    super();
    const stage = (inPlanes: number, planes: number, stride: number): Sequential =>
      new Sequential(
        ...Array.from({ length: blocks }, (_, i) =>
          i === 0 ? new CifarBlock(inPlanes, planes, stride) : new CifarBlock(planes, planes, 1),
        ),
      );
    this.conv1 = new Conv2d(3, 16, 3, { padding: 1, bias: false });
    this.bn1 = new BatchNorm2d(16);
    this.layer1 = stage(16, 16, 1);
    this.layer2 = stage(16, 32, 2);
    this.layer3 = stage(32, 64, 2);
    this.linear = new Linear(64, numClasses);
    for (const module of this.modules()) {
      if (module instanceof Conv2d || module instanceof Linear) init.kaimingNormal_(module.weight);
    }
  }

  forward(x: Tensor): Tensor {
    x = fused(x, [this.conv1, this.bn1], { activation: 'relu' });
    x = this.layer1(x);
    x = this.layer2(x);
    x = this.layer3(x);
    return this.linear(flatten(adaptiveAvgPool2d(x, 1), 1));
  }
}

const build = (name: string, blocks: number): ModelBuilder<CifarResNet, CifarResNetOptions> =>
  defineModel<CifarResNet, CifarResNetOptions>({
    name,
    construct: (options) => new CifarResNet(blocks, options),
    // The published weights are of images normalised by ImageNet's statistics.
    input: { resize: 32, crop: 32 },
    telltales: [residualStages([blocks, blocks, blocks])],
    origin: 'https://github.com/akamaster/pytorch_resnet_cifar10',
  });

/** One block to a stage, smaller than any in the paper: what the demo fine-tunes. */
export const cifarResnet8 = build('cifar_resnet8', 1);
export const cifarResnet20 = build('cifar_resnet20', 3);
export const cifarResnet32 = build('cifar_resnet32', 5);
export const cifarResnet44 = build('cifar_resnet44', 7);
export const cifarResnet56 = build('cifar_resnet56', 9);
export const cifarResnet110 = build('cifar_resnet110', 18);
