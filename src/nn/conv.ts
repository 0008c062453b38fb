import { hasMask } from '../ops/activation-mask.js';
import { conv2dThen, convWeightStrides, type ConvOptions, type ConvTransposeOptions } from '../ops/conv.js';
import { conv2d, convTranspose2d } from '../ops/index.js';
import { pairOf, type Pair, type Size2d } from '../ops/size2d.js';
import type { Tensor } from '../tensor/tensor.js';
import { wantsGrad, type Fusion } from './fuse.js';
import { resetByFanIn } from './linear.js';
import { Module } from './module.js';
import { Parameter, requireCount } from './parameter.js';
import { py } from './repr.js';

export interface Conv2dOptions extends ConvOptions {
  bias?: boolean;
}

export interface ConvTranspose2dOptions extends ConvTransposeOptions {
  bias?: boolean;
}

/** What Conv2d and ConvTranspose2d share: all but the weight's shape and what the padding may be. */
abstract class AnyConv2d extends Module {
  declare weight: Parameter;
  declare bias: Parameter | null;
  readonly kernelSize: Pair;
  readonly stride: Pair;
  readonly dilation: Pair;
  readonly outputPadding: Pair;
  readonly groups: number;
  abstract readonly padding: Pair | 'same' | 'valid';

  protected constructor(
    layer: string,
    readonly inChannels: number,
    readonly outChannels: number,
    kernelSize: Size2d,
    options: ConvTranspose2dOptions,
  ) {
    super();
    const { stride = 1, dilation = 1, groups = 1, outputPadding = 0 } = options;
    requireCount(layer, 'inChannels', inChannels);
    requireCount(layer, 'outChannels', outChannels);
    requireCount(layer, 'groups', groups);
    if (inChannels % groups !== 0 || outChannels % groups !== 0) {
      throw new Error(
        `${layer}: ${inChannels} input and ${outChannels} output channels do not divide into ${groups} groups`,
      );
    }
    this.kernelSize = pairOf(layer, 'kernelSize', kernelSize, 1);
    this.stride = pairOf(layer, 'stride', stride, 1);
    this.dilation = pairOf(layer, 'dilation', dilation, 1);
    this.outputPadding = pairOf(layer, 'outputPadding', outputPadding, 0);
    this.groups = groups;
  }

  resetParameters(): void {
    resetByFanIn(this.weight, this.bias);
  }

  override extraRepr(): string {
    const { stride, padding, dilation, outputPadding, groups } = this;
    let text = `${this.inChannels}, ${this.outChannels}, kernel_size=${py(this.kernelSize)}, stride=${py(stride)}`;
    if (typeof padding === 'string' || padding[0] !== 0 || padding[1] !== 0)
      text += `, padding=${py(padding)}`;
    if (dilation[0] !== 1 || dilation[1] !== 1) text += `, dilation=${py(dilation)}`;
    if (outputPadding[0] !== 0 || outputPadding[1] !== 0) text += `, output_padding=${py(outputPadding)}`;
    if (groups !== 1) text += `, groups=${groups}`;
    return this.bias === null ? `${text}, bias=False` : text;
  }
}

/**
 * `torch.nn.Conv2d`: `[N, inChannels, H, W]` to `[N, outChannels, H', W']`, weight `[out, in / groups, kh,
 * kw]`. With one group the weight's memory has the output channels innermost, as the kernels read it, so that
 * it takes `reshape` instead of `view`.
 */
export class Conv2d extends AnyConv2d {
  /** @internal */
  static readonly fusion: Fusion<Conv2d> = {
    then: ({ weight, bias, stride, padding, dilation, groups }, x, after) =>
      conv2dThen(x, weight, bias, { stride, padding, dilation, groups }, after),
    takes({ weight, bias }, x, { scale, residual, activation = 'none' }) {
      const recorded = wantsGrad(x, weight, bias, residual);
      // A norm for other channels must say so itself.
      if (scale !== undefined && (recorded || scale.numel() !== weight.shape[0])) return false;
      return !recorded || hasMask(activation);
    },
  };

  readonly padding: Pair | 'same' | 'valid';

  constructor(inChannels: number, outChannels: number, kernelSize: Size2d, options: Conv2dOptions = {}) {
    const { padding = 0, bias = true, ...rest } = options;
    super('Conv2d', inChannels, outChannels, kernelSize, rest);
    if (typeof padding === 'string' && padding !== 'same' && padding !== 'valid') {
      throw new Error(
        `Conv2d: padding must be a number, a pair, 'same' or 'valid', got '${String(padding)}'`,
      );
    }
    if (padding === 'same' && (this.stride[0] !== 1 || this.stride[1] !== 1)) {
      throw new Error("Conv2d: padding 'same' needs stride 1; give the padding as numbers");
    }
    this.padding = typeof padding === 'string' ? padding : pairOf('Conv2d', 'padding', padding, 0);
    const shape = [outChannels, inChannels / this.groups, ...this.kernelSize];
    this.weight = Parameter.blank(shape, 'Conv2d.weight', convWeightStrides(shape, this.groups));
    this.bias = bias ? Parameter.blank([outChannels], 'Conv2d.bias') : null;
    this.resetParameters();
  }

  forward(x: Tensor): Tensor {
    const { stride, padding, dilation, groups } = this;
    return conv2d(x, this.weight, this.bias, { stride, padding, dilation, groups });
  }
}

/**
 * `torch.nn.ConvTranspose2d`: the input gradient of a Conv2d as a layer; weight `[in, out / groups, kh, kw]`.
 */
export class ConvTranspose2d extends AnyConv2d {
  readonly padding: Pair;

  constructor(
    inChannels: number,
    outChannels: number,
    kernelSize: Size2d,
    options: ConvTranspose2dOptions = {},
  ) {
    const { padding = 0, bias = true } = options;
    super('ConvTranspose2d', inChannels, outChannels, kernelSize, options);
    this.padding = pairOf('ConvTranspose2d', 'padding', padding, 0);
    this.weight = Parameter.blank(
      [inChannels, outChannels / this.groups, ...this.kernelSize],
      'ConvTranspose2d.weight',
    );
    this.bias = bias ? Parameter.blank([outChannels], 'ConvTranspose2d.bias') : null;
    this.resetParameters();
  }

  forward(x: Tensor): Tensor {
    const { stride, padding, outputPadding, dilation, groups } = this;
    return convTranspose2d(x, this.weight, this.bias, { stride, padding, outputPadding, dilation, groups });
  }
}
