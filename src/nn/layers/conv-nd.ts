import { conv1d, conv3d, convTranspose1d, convTranspose3d } from '../../ops/index.js';
import type { Size1d, Size3d, Triple } from '../../ops/base/sizes.js';
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

export type Conv1dOptions = ConvLayerOptions<Size1d>;
export type Conv3dOptions = ConvLayerOptions<Size3d>;
export type ConvTranspose1dOptions = ConvTransposeLayerOptions<Size1d>;
export type ConvTranspose3dOptions = ConvTransposeLayerOptions<Size3d>;

/** `torch.nn.Conv1d`: `[N, inChannels, L]` to `[N, outChannels, L']`, weight `[out, in / groups, k]`. */
export class Conv1d extends ConvLayer<readonly [number]> {
  constructor(...args: ConvArgs<Size1d>) {
    super('Conv1d', 1, args);
  }

  forward(x: Tensor): Tensor {
    return conv1d(this.padded(x), this.weight, this.bias, this.rest);
  }
}

/**
 * `torch.nn.Conv3d`: `[N, inChannels, D, H, W]` to `[N, outChannels, D', H', W']`, weight `[out, in / groups,
 * kd, kh, kw]`.
 */
export class Conv3d extends ConvLayer<Triple> {
  constructor(...args: ConvArgs<Size3d>) {
    super('Conv3d', 3, args);
  }

  forward(x: Tensor): Tensor {
    return conv3d(this.padded(x), this.weight, this.bias, this.rest);
  }
}

/** `torch.nn.ConvTranspose1d`: the input gradient of a Conv1d as a layer; weight `[in, out / groups, k]`. */
export class ConvTranspose1d extends ConvTransposeLayer<readonly [number]> {
  constructor(...args: ConvTransposeArgs<Size1d>) {
    super('ConvTranspose1d', 1, args);
  }

  forward(x: Tensor, ...args: OutputSizeArgs): Tensor {
    return convTranspose1d(x, this.weight, this.bias, this.optionsFor(x, args));
  }
}

/**
 * `torch.nn.ConvTranspose3d`: the input gradient of a Conv3d as a layer; weight `[in, out / groups, kd, kh,
 * kw]`.
 */
export class ConvTranspose3d extends ConvTransposeLayer<Triple> {
  constructor(...args: ConvTransposeArgs<Size3d>) {
    super('ConvTranspose3d', 3, args);
  }

  forward(x: Tensor, ...args: OutputSizeArgs): Tensor {
    return convTranspose3d(x, this.weight, this.bias, this.optionsFor(x, args));
  }
}
