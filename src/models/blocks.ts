import { readOptions } from '../tensor/options.js';
import {
  AdaptiveAvgPool2d,
  BatchNorm2d,
  Conv2d,
  Dropout,
  fused,
  Linear,
  Module,
  ReLU,
  Sequential,
  Sigmoid,
  type InplaceOptions,
  type Size2d,
  type TensorModule,
} from '../nn/index.js';
import * as init from '../nn/base/init.js';
import { mul, permute } from '../ops/index.js';
import { pairOf } from '../ops/base/sizes.js';
import type { Tensor } from '../tensor/tensor.js';

/** The blocks that torchvision's models share: `torchvision.ops.misc` and `torchvision.models._utils`. */

/** Makes the norm layer for so many channels. */
export type NormLayer = (channels: number) => Module;
/** The class of an activation: `ReLU6`, `Hardswish`, ... */
export type ActivationLayer = new (options?: InplaceOptions) => Module;

export interface Conv2dNormActivationOptions {
  /** Default 3. */
  kernelSize?: Size2d;
  stride?: Size2d;
  /** Default: as much as keeps the size at stride 1. */
  padding?: Size2d;
  groups?: number;
  dilation?: Size2d;
  /** Default BatchNorm2d; null for none. */
  normLayer?: NormLayer | null;
  /** Default ReLU; null for none. */
  activationLayer?: ActivationLayer | null;
  /** What the activation is told; null for activations that take no such option. Default true. */
  inplace?: boolean | null;
  /** Default: only without a norm layer. */
  bias?: boolean;
}

/** `torchvision.ops.Conv2dNormActivation`: convolution, norm, activation. */
export class Conv2dNormActivation extends Sequential {
  readonly outChannels: number;

  constructor(
    inChannels: number,
    outChannels: number,
    {
      kernelSize = 3,
      stride = 1,
      groups = 1,
      dilation = 1,
      normLayer = (channels) => new BatchNorm2d(channels),
      activationLayer = ReLU,
      inplace = true,
      padding,
      bias = normLayer === null,
    }: Conv2dNormActivationOptions = {},
  ) {
    const [kh, kw] = pairOf('Conv2dNormActivation', 'kernelSize', kernelSize, 1);
    const [dh, dw] = pairOf('Conv2dNormActivation', 'dilation', dilation, 1);
    const same = [Math.floor((kh - 1) / 2) * dh, Math.floor((kw - 1) / 2) * dw] as const;
    const layers: Module[] = [
      new Conv2d(inChannels, outChannels, kernelSize, {
        stride,
        padding: padding ?? same,
        dilation,
        groups,
        bias,
      }),
    ];
    if (normLayer !== null) layers.push(normLayer(outChannels));
    if (activationLayer !== null)
      layers.push(inplace === null ? new activationLayer() : new activationLayer({ inplace }));
    super(...layers);
    this.outChannels = outChannels;
  }
}

export interface SqueezeExcitationOptions {
  /** Between the two convolutions. Default ReLU. */
  activation?: () => TensorModule;
  /** What makes the scale. Default Sigmoid. */
  scaleActivation?: () => TensorModule;
}

/**
 * `torchvision.ops.SqueezeExcitation` (https://arxiv.org/abs/1709.01507, figure 1): scales each channel by
 * what all say.
 */
export class SqueezeExcitation extends Module {
  avgpool: AdaptiveAvgPool2d;
  fc1: Conv2d;
  fc2: Conv2d;
  activation: TensorModule;
  scaleActivation: TensorModule;

  constructor(inputChannels: number, squeezeChannels: number, options: SqueezeExcitationOptions = {}) {
    const { activation, scaleActivation } = readOptions<Required<SqueezeExcitationOptions>>(
      'SqueezeExcitation',
      { activation: () => new ReLU(), scaleActivation: () => new Sigmoid() },
      options,
    );
    super();
    this.avgpool = new AdaptiveAvgPool2d(1);
    this.fc1 = new Conv2d(inputChannels, squeezeChannels, 1);
    this.fc2 = new Conv2d(squeezeChannels, inputChannels, 1);
    this.activation = activation();
    this.scaleActivation = scaleActivation();
  }

  forward(x: Tensor): Tensor {
    const squeezed = fused(this.avgpool(x), [this.fc1, this.activation]);
    return mul(this.scaleActivation(this.fc2(squeezed)), x);
  }
}

export interface MLPOptions {
  /** After each hidden layer. Default none. */
  normLayer?: NormLayer | null;
  /** Default ReLU. */
  activationLayer?: ActivationLayer;
  /** What activations and dropouts are told; null for activations that take no such option. Default true. */
  inplace?: boolean | null;
  bias?: boolean;
  dropout?: number;
}

/** `inplace` is a flag that may be null, and so has no default of its kind. */
type MLPDefaults = Required<Omit<MLPOptions, 'inplace'>> & { inplace: boolean | null | undefined };

/**
 * `torchvision.ops.MLP`: Linear, (norm,) activation and dropout per hidden layer; Linear and dropout at the
 * end.
 */
export class MLP extends Sequential {
  constructor(inChannels: number, hiddenChannels: readonly number[], options: MLPOptions = {}) {
    const { normLayer, activationLayer, inplace, bias, dropout } = readOptions<MLPDefaults>(
      'MLP',
      { normLayer: null, activationLayer: ReLU, inplace: undefined, bias: true, dropout: 0 },
      options,
    );
    const told = inplace === null ? {} : { inplace: inplace ?? true };
    const layers: Module[] = [];
    let width = inChannels;
    hiddenChannels.forEach((channels, i) => {
      layers.push(new Linear(width, channels, { bias }));
      if (i < hiddenChannels.length - 1) {
        if (normLayer !== null) layers.push(normLayer(channels));
        layers.push(new activationLayer(told));
      }
      layers.push(new Dropout(dropout, told));
      width = channels;
    });
    super(...layers);
  }
}

/** `torchvision.ops.Permute`: reorders dims, as a layer. */
export class Permute extends Module {
  constructor(readonly dims: readonly number[]) {
    super();
  }

  forward(x: Tensor): Tensor {
    return permute(x, this.dims);
  }
}

/**
 * Rounds a channel count to a multiple of `divisor`, never more than 10 % down (torchvision's
 * `_make_divisible`).
 */
export function makeDivisible(value: number, divisor: number, least = divisor): number {
  const rounded = Math.max(least, Math.floor(Math.trunc(value + divisor / 2) / divisor) * divisor);
  return rounded < 0.9 * value ? rounded + divisor : rounded;
}

/**
 * The initialisation that VGG and the MobileNets share: Kaiming normal by fan out for convolutions, normal
 * with standard deviation 0.01 for Linear layers, biases zero. Norm layers start as the identity anyway.
 */
export function initByFanOut(model: Module): void {
  for (const module of model.modules()) {
    if (module instanceof Conv2d)
      init.kaimingNormal_(module.weight, { mode: 'fan_out', nonlinearity: 'relu' });
    else if (module instanceof Linear) init.normal_(module.weight, 0, 0.01);
    else continue;
    if (module.bias !== null) init.zeros_(module.bias);
  }
}
