import { hasMask } from '../../ops/pointwise/activation-mask.js';
import { conv2dThen, convWeightStrides } from '../../ops/conv/conv.js';
import { conv2d, convTranspose2d } from '../../ops/index.js';
import type { Pair, Size2d } from '../../ops/base/sizes.js';
import type { Tensor } from '../../tensor/tensor.js';
import {
  ConvLayer,
  ConvTransposeLayer,
  type ConvArgs,
  type ConvLayerOptions,
  type ConvTransposeArgs,
  type ConvTransposeLayerOptions,
} from './conv-layer.js';
import type { OutputSizeArgs } from './output-size.js';
import { wantsGrad, type Fusion } from '../base/fuse.js';

export type Conv2dOptions = ConvLayerOptions;
export type ConvTranspose2dOptions = ConvTransposeLayerOptions;

/**
 * `torch.nn.Conv2d`: `[N, inChannels, H, W]` to `[N, outChannels, H', W']`, weight `[out, in / groups, kh,
 * kw]`. With one group the weight's memory has the output channels innermost, as the kernels read it, so that
 * it takes `reshape` instead of `view`.
 */
export class Conv2d extends ConvLayer<Pair> {
  /** @internal */
  static readonly fusion: Fusion<Conv2d> = {
    then: (layer, x, after) => conv2dThen(x, layer.weight, layer.bias, layer.rest, after),
    takes({ weight, bias, paddingMode }, x, { scale, residual, activation = 'none' }) {
      if (paddingMode !== 'zeros') return false;
      const recorded = wantsGrad(x, weight, bias, residual);
      // A norm for other channels must say so itself.
      if (scale !== undefined && (recorded || scale.numel() !== weight.shape[0])) return false;
      return !recorded || hasMask(activation);
    },
  };

  constructor(...args: ConvArgs<Size2d>) {
    super('Conv2d', 2, args, convWeightStrides);
  }

  forward(x: Tensor): Tensor {
    return conv2d(this.padded(x), this.weight, this.bias, this.rest);
  }
}

/**
 * `torch.nn.ConvTranspose2d`: the input gradient of a Conv2d as a layer; weight `[in, out / groups, kh, kw]`.
 */
export class ConvTranspose2d extends ConvTransposeLayer<Pair> {
  constructor(...args: ConvTransposeArgs<Size2d>) {
    super('ConvTranspose2d', 2, args);
  }

  forward(x: Tensor, ...args: OutputSizeArgs): Tensor {
    return convTranspose2d(x, this.weight, this.bias, this.optionsFor(x, args));
  }
}
