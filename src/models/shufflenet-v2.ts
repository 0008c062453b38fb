import { readOptions } from '../tensor/options.js';
import {
  BatchNorm2d,
  Conv2d,
  Linear,
  MaxPool2d,
  Module,
  ReLU,
  Sequential,
  type TensorModule,
} from '../nn/index.js';
import { cat, chunk, mean, permute, reshape, transpose } from '../ops/index.js';
import type { Tensor } from '../tensor/tensor.js';
import type { ModelOptions } from './declaration.js';
import { defineModel, type ModelBuilder } from './define.js';

/** torchvision's ShuffleNets V2 (Ma et al. 2018, https://arxiv.org/abs/1807.11164). */

export type ShuffleNetV2Options = ModelOptions;

/**
 * Deals the channels of `groups` groups out in turn: channel `j` of group `i` becomes channel
 * `j * groups + i`.
 */
function channelShuffle(x: Tensor, groups: number): Tensor {
  // Channels lie next to each other in memory: with them last, one copy does it.
  const [n, channels, height, width] = x.shape as [number, number, number, number];
  const grouped = reshape(permute(x, 0, 2, 3, 1), n, height, width, groups, channels / groups);
  return permute(reshape(transpose(grouped, 3, 4), n, height, width, channels), 0, 3, 1, 2);
}

const conv1x1 = (into: number, out: number): Conv2d => new Conv2d(into, out, 1, { bias: false });
const depthwise = (channels: number, stride: number): Conv2d =>
  new Conv2d(channels, channels, 3, { stride, padding: 1, groups: channels, bias: false });
const relu = (): ReLU => new ReLU({ inplace: true });

/** Two branches whose channels are then shuffled; at stride 1 the first is half of the input as it is. */
class InvertedResidual extends Module {
  readonly stride: number;
  branch1: Sequential;
  branch2: Sequential;

  constructor(into: number, out: number, stride: number) {
    super();
    this.stride = stride;
    const width = Math.floor(out / 2);
    if (stride === 1 && into !== 2 * width)
      throw new Error(`InvertedResidual: stride 1 keeps the channels, but ${into} should become ${out}`);
    this.branch1 =
      stride === 1
        ? new Sequential()
        : new Sequential(
            depthwise(into, stride),
            new BatchNorm2d(into),
            conv1x1(into, width),
            new BatchNorm2d(width),
            relu(),
          );
    this.branch2 = new Sequential(
      conv1x1(stride === 1 ? width : into, width),
      new BatchNorm2d(width),
      relu(),
      depthwise(width, stride),
      new BatchNorm2d(width),
      conv1x1(width, width),
      new BatchNorm2d(width),
      relu(),
    );
  }

  forward(x: Tensor): Tensor {
    const [left, right] = this.stride === 1 ? (chunk(x, 2, 1) as [Tensor, Tensor]) : [this.branch1(x), x];
    return channelShuffle(cat([left, this.branch2(right)], 1), 2);
  }
}

/** The head takes any module in its place: `model.fc = new nn.Identity()`. */
export interface ShuffleNetV2 {
  get fc(): Linear;
  set fc(module: TensorModule);
}

/** `torchvision.models.ShuffleNetV2`: `[N, 3, H, W]` to logits `[N, numClasses]`. */
export class ShuffleNetV2 extends Module {
  conv1: Sequential;
  maxpool: MaxPool2d;
  stage2: Sequential;
  stage3: Sequential;
  stage4: Sequential;
  conv5: Sequential;

  /** @param channels of the first convolution, the three stages and the last convolution */
  constructor(
    repeats: readonly [number, number, number],
    channels: readonly [number, number, number, number, number],
    options: ShuffleNetV2Options = {},
  ) {
    const { numClasses } = readOptions<Required<ShuffleNetV2Options>>(
      'ShuffleNetV2',
      { numClasses: 1000 },
      options,
    );
    super();
    const [first, second, third, fourth, last] = channels;
    const stage = (into: number, out: number, count: number): Sequential =>
      new Sequential(
        ...Array.from({ length: count }, (_, i) =>
          i === 0 ? new InvertedResidual(into, out, 2) : new InvertedResidual(out, out, 1),
        ),
      );
    this.conv1 = new Sequential(
      new Conv2d(3, first, 3, { stride: 2, padding: 1, bias: false }),
      new BatchNorm2d(first),
      relu(),
    );
    this.maxpool = new MaxPool2d(3, { stride: 2, padding: 1 });
    this.stage2 = stage(first, second, repeats[0]);
    this.stage3 = stage(second, third, repeats[1]);
    this.stage4 = stage(third, fourth, repeats[2]);
    this.conv5 = new Sequential(conv1x1(fourth, last), new BatchNorm2d(last), relu());
    this.fc = new Linear(last, numClasses);
  }

  forward(x: Tensor): Tensor {
    x = this.maxpool(this.conv1(x));
    x = this.stage2(x);
    x = this.stage3(x);
    x = this.stage4(x);
    return this.fc(mean(this.conv5(x), [2, 3]));
  }
}

const build = (
  name: string,
  channels: readonly [number, number, number, number, number],
  resize = 256,
): ModelBuilder<ShuffleNetV2, ShuffleNetV2Options> =>
  defineModel<ShuffleNetV2, ShuffleNetV2Options>({
    name,
    construct: (options) => new ShuffleNetV2([4, 8, 4], channels, options),
    input: { resize },
    telltales: [{ name: 'a ShuffleNetV2', has: ['stage2.0.branch1.0.weight'] }],
  });

export const shufflenetV2X0_5 = build('shufflenet_v2_x0_5', [24, 48, 96, 192, 1024]);
export const shufflenetV2X1_0 = build('shufflenet_v2_x1_0', [24, 116, 232, 464, 1024]);
export const shufflenetV2X1_5 = build('shufflenet_v2_x1_5', [24, 176, 352, 704, 1024], 232);
export const shufflenetV2X2_0 = build('shufflenet_v2_x2_0', [24, 244, 488, 976, 2048], 232);
