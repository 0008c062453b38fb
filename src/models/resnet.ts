import { readOptions } from '../tensor/options.js';
import {
  AdaptiveAvgPool2d,
  BatchNorm2d,
  Conv2d,
  fused,
  Linear,
  MaxPool2d,
  Module,
  ReLU,
  Sequential,
  type TensorModule,
} from '../nn/index.js';
import * as init from '../nn/base/init.js';
import { flatten } from '../ops/index.js';
import type { Tensor } from '../tensor/tensor.js';
import type { ModelInput, ModelOptions } from './declaration.js';
import { defineModel, type ModelBuilder } from './define.js';
import { otherResNets, residualStages } from './resnet-telltales.js';

/**
 * torchvision's ResNets (He et al. 2016, https://arxiv.org/abs/1512.03385): names, keys, order and
 * initialisation are theirs.
 */

export interface ResNetOptions extends ModelOptions {
  /** Start every block as the identity: zero weight in its last batch norm. */
  zeroInitResidual?: boolean;
  /** Groups of the 3x3 convolutions (ResNeXt, https://arxiv.org/abs/1611.05431). */
  groups?: number;
  /** Channels per group at 64 planes; 128 makes the wide ResNets (https://arxiv.org/abs/1605.07146). */
  widthPerGroup?: number;
}

const conv3x3 = (into: number, out: number, stride = 1, groups = 1): Conv2d =>
  new Conv2d(into, out, 3, { stride, padding: 1, groups, bias: false });
const conv1x1 = (into: number, out: number, stride = 1): Conv2d =>
  new Conv2d(into, out, 1, { stride, bias: false });

interface BlockArguments {
  readonly inplanes: number;
  readonly planes: number;
  readonly stride: number;
  readonly downsample: Sequential | null;
  readonly groups: number;
  readonly baseWidth: number;
}

/** Two 3x3 convolutions and a shortcut. */
export class BasicBlock extends Module {
  static readonly expansion = 1;
  conv1: Conv2d;
  bn1: BatchNorm2d;
  relu: ReLU;
  conv2: Conv2d;
  bn2: BatchNorm2d;
  downsample: Sequential | null;

  constructor({ inplanes, planes, stride, downsample, groups, baseWidth }: BlockArguments) {
    super();
    if (groups !== 1 || baseWidth !== 64)
      throw new Error('BasicBlock: only groups 1 and widthPerGroup 64 are supported');
    this.conv1 = conv3x3(inplanes, planes, stride);
    this.bn1 = new BatchNorm2d(planes);
    this.relu = new ReLU({ inplace: true });
    this.conv2 = conv3x3(planes, planes);
    this.bn2 = new BatchNorm2d(planes);
    this.downsample = downsample;
  }

  forward(x: Tensor): Tensor {
    const shortcut = this.downsample === null ? x : this.downsample(x);
    const out = fused(x, [this.conv1, this.bn1, this.relu]);
    return fused(out, [this.conv2, this.bn2], { residual: shortcut, activation: this.relu });
  }
}

/** 1x1 down, 3x3, 1x1 up, and a shortcut; the stride is on the 3x3 (ResNet v1.5), as in torchvision. */
export class Bottleneck extends Module {
  static readonly expansion = 4;
  conv1: Conv2d;
  bn1: BatchNorm2d;
  conv2: Conv2d;
  bn2: BatchNorm2d;
  conv3: Conv2d;
  bn3: BatchNorm2d;
  relu: ReLU;
  downsample: Sequential | null;

  constructor({ inplanes, planes, stride, downsample, groups, baseWidth }: BlockArguments) {
    super();
    const width = Math.floor((planes * baseWidth) / 64) * groups;
    this.conv1 = conv1x1(inplanes, width);
    this.bn1 = new BatchNorm2d(width);
    this.conv2 = conv3x3(width, width, stride, groups);
    this.bn2 = new BatchNorm2d(width);
    this.conv3 = conv1x1(width, planes * Bottleneck.expansion);
    this.bn3 = new BatchNorm2d(planes * Bottleneck.expansion);
    this.relu = new ReLU({ inplace: true });
    this.downsample = downsample;
  }

  forward(x: Tensor): Tensor {
    const shortcut = this.downsample === null ? x : this.downsample(x);
    const out = fused(x, [this.conv1, this.bn1, this.relu, this.conv2, this.bn2, this.relu]);
    return fused(out, [this.conv3, this.bn3], { residual: shortcut, activation: this.relu });
  }
}

type Block = typeof BasicBlock | typeof Bottleneck;

/** Parts that people replace take any module in their place: `model.fc = new nn.Identity()`. */
export interface ResNet {
  get maxpool(): MaxPool2d;
  set maxpool(module: TensorModule);
  get layer1(): Sequential;
  set layer1(module: TensorModule);
  get layer2(): Sequential;
  set layer2(module: TensorModule);
  get layer3(): Sequential;
  set layer3(module: TensorModule);
  get layer4(): Sequential;
  set layer4(module: TensorModule);
  get avgpool(): AdaptiveAvgPool2d;
  set avgpool(module: TensorModule);
  get fc(): Linear;
  set fc(module: TensorModule);
}

/** `torchvision.models.ResNet`: `[N, 3, H, W]` to logits `[N, numClasses]`. */
export class ResNet extends Module {
  conv1: Conv2d;
  bn1: BatchNorm2d;
  relu: ReLU;

  /** @param layers number of blocks in each of the four stages */
  constructor(block: Block, layers: readonly [number, number, number, number], options: ResNetOptions = {}) {
    super();
    const { numClasses, zeroInitResidual, groups, widthPerGroup } = readOptions<Required<ResNetOptions>>(
      'ResNet',
      { numClasses: 1000, zeroInitResidual: false, groups: 1, widthPerGroup: 64 },
      options,
    );
    let inplanes = 64;
    const stage = (planes: number, blocks: number, stride: number): Sequential => {
      const out = planes * block.expansion;
      const modules: Module[] = [];
      for (let i = 0; i < blocks; i++) {
        const step = i === 0 ? stride : 1;
        const reshapes = step !== 1 || inplanes !== out;
        const downsample = reshapes
          ? new Sequential(conv1x1(inplanes, out, step), new BatchNorm2d(out))
          : null;
        modules.push(
          new block({ inplanes, planes, stride: step, downsample, groups, baseWidth: widthPerGroup }),
        );
        inplanes = out;
      }
      return new Sequential(...modules);
    };
    this.conv1 = new Conv2d(3, 64, 7, { stride: 2, padding: 3, bias: false });
    this.bn1 = new BatchNorm2d(64);
    this.relu = new ReLU({ inplace: true });
    this.maxpool = new MaxPool2d(3, { stride: 2, padding: 1 });
    this.layer1 = stage(64, layers[0], 1);
    this.layer2 = stage(128, layers[1], 2);
    this.layer3 = stage(256, layers[2], 2);
    this.layer4 = stage(512, layers[3], 2);
    this.avgpool = new AdaptiveAvgPool2d([1, 1]);
    this.fc = new Linear(512 * block.expansion, numClasses);

    for (const module of this.modules()) {
      if (module instanceof Conv2d)
        init.kaimingNormal_(module.weight, { mode: 'fan_out', nonlinearity: 'relu' });
      else if (zeroInitResidual && module instanceof Bottleneck && module.bn3.weight)
        init.zeros_(module.bn3.weight);
      else if (zeroInitResidual && module instanceof BasicBlock && module.bn2.weight)
        init.zeros_(module.bn2.weight);
    }
  }

  forward(x: Tensor): Tensor {
    x = this.maxpool(fused(x, [this.conv1, this.bn1, this.relu]));
    x = this.layer1(x);
    x = this.layer2(x);
    x = this.layer3(x);
    x = this.layer4(x);
    return this.fc(flatten(this.avgpool(x), 1));
  }
}

const build = (
  name: string,
  block: Block,
  layers: readonly [number, number, number, number],
  { groups = 1, widthPerGroup = 64 }: Pick<ResNetOptions, 'groups' | 'widthPerGroup'> = {},
  input: Partial<ModelInput> = {},
): ModelBuilder<ResNet, ResNetOptions> =>
  defineModel<ResNet, ResNetOptions>({
    name,
    construct: (options) => new ResNet(block, layers, { groups, widthPerGroup, ...options }),
    input,
    telltales: [
      residualStages(layers, block === Bottleneck ? [widthPerGroup * groups, widthPerGroup] : undefined),
      ...otherResNets,
    ],
  });

export const resnet18 = build('resnet18', BasicBlock, [2, 2, 2, 2]);
export const resnet34 = build('resnet34', BasicBlock, [3, 4, 6, 3]);
export const resnet50 = build('resnet50', Bottleneck, [3, 4, 6, 3]);
export const resnet101 = build('resnet101', Bottleneck, [3, 4, 23, 3]);
export const resnet152 = build('resnet152', Bottleneck, [3, 8, 36, 3]);
export const resnext50_32x4d = build('resnext50_32x4d', Bottleneck, [3, 4, 6, 3], {
  groups: 32,
  widthPerGroup: 4,
});
export const resnext101_32x8d = build('resnext101_32x8d', Bottleneck, [3, 4, 23, 3], {
  groups: 32,
  widthPerGroup: 8,
});
export const resnext101_64x4d = build(
  'resnext101_64x4d',
  Bottleneck,
  [3, 4, 23, 3],
  { groups: 64, widthPerGroup: 4 },
  { resize: 232 },
);
export const wideResnet50_2 = build('wide_resnet50_2', Bottleneck, [3, 4, 6, 3], { widthPerGroup: 128 });
export const wideResnet101_2 = build('wide_resnet101_2', Bottleneck, [3, 4, 23, 3], { widthPerGroup: 128 });
