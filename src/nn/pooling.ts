import { adaptiveAvgPool2d, adaptiveMaxPool2d, avgPool2d, interpolate, maxPool2d } from '../ops/index.js';
import type { Size2d } from '../ops/size2d.js';
import type { Tensor } from '../tensor/tensor.js';
import { Module } from './module.js';
import { py, pyFloat } from './repr.js';

export interface MaxPool2dOptions {
  /** Default: the kernel size. */
  stride?: Size2d;
  padding?: Size2d;
  dilation?: Size2d;
  /** Let windows that start inside the padded input end outside it. */
  ceilMode?: boolean;
}

/** `torch.nn.MaxPool2d`. */
export class MaxPool2d extends Module {
  readonly stride: Size2d;
  readonly padding: Size2d;
  readonly dilation: Size2d;
  readonly ceilMode: boolean;

  constructor(
    readonly kernelSize: Size2d,
    { stride = kernelSize, padding = 0, dilation = 1, ceilMode = false }: MaxPool2dOptions = {},
  ) {
    super();
    this.stride = stride;
    this.padding = padding;
    this.dilation = dilation;
    this.ceilMode = ceilMode;
  }

  forward(x: Tensor): Tensor {
    const { stride, padding, dilation, ceilMode } = this;
    return maxPool2d(x, this.kernelSize, { stride, padding, dilation, ceilMode });
  }

  override extraRepr(): string {
    return (
      `kernel_size=${py(this.kernelSize)}, stride=${py(this.stride)}, padding=${py(this.padding)}, ` +
      `dilation=${py(this.dilation)}, ceil_mode=${py(this.ceilMode)}`
    );
  }
}

export interface AvgPool2dOptions {
  /** Default: the kernel size. */
  stride?: Size2d;
  padding?: Size2d;
  ceilMode?: boolean;
  /** Count the padding's zeros in the average. Default true. */
  countIncludePad?: boolean;
}

/** `torch.nn.AvgPool2d`. */
export class AvgPool2d extends Module {
  readonly stride: Size2d;
  readonly padding: Size2d;
  readonly ceilMode: boolean;
  readonly countIncludePad: boolean;

  constructor(
    readonly kernelSize: Size2d,
    { stride = kernelSize, padding = 0, ceilMode = false, countIncludePad = true }: AvgPool2dOptions = {},
  ) {
    super();
    this.stride = stride;
    this.padding = padding;
    this.ceilMode = ceilMode;
    this.countIncludePad = countIncludePad;
  }

  forward(x: Tensor): Tensor {
    const { stride, padding, ceilMode, countIncludePad } = this;
    return avgPool2d(x, this.kernelSize, { stride, padding, ceilMode, countIncludePad });
  }

  override extraRepr(): string {
    return `kernel_size=${py(this.kernelSize)}, stride=${py(this.stride)}, padding=${py(this.padding)}`;
  }
}

/** `torch.nn.AdaptiveAvgPool2d`: pools to a given height and width. */
export class AdaptiveAvgPool2d extends Module {
  constructor(readonly outputSize: Size2d) {
    super();
  }

  forward(x: Tensor): Tensor {
    return adaptiveAvgPool2d(x, this.outputSize);
  }

  override extraRepr(): string {
    return `output_size=${py(this.outputSize)}`;
  }
}

/** `torch.nn.AdaptiveMaxPool2d`. */
export class AdaptiveMaxPool2d extends Module {
  constructor(readonly outputSize: Size2d) {
    super();
  }

  forward(x: Tensor): Tensor {
    return adaptiveMaxPool2d(x, this.outputSize);
  }

  override extraRepr(): string {
    return `output_size=${py(this.outputSize)}`;
  }
}

export interface UpsampleOptions {
  /** The new height and width; or else `scaleFactor`. */
  size?: Size2d;
  scaleFactor?: Size2d;
  mode?: 'nearest' | 'bilinear';
  alignCorners?: boolean;
}

/** `torch.nn.Upsample` of `[N, C, H, W]`, to a size or by a factor. */
export class Upsample extends Module {
  readonly size: Size2d | null;
  readonly scaleFactor: Size2d | null;
  readonly mode: 'nearest' | 'bilinear';
  readonly alignCorners: boolean;

  constructor({ size, scaleFactor, mode = 'nearest', alignCorners = false }: UpsampleOptions) {
    super();
    if ((size === undefined) === (scaleFactor === undefined)) {
      throw new Error('Upsample: give either size or scaleFactor');
    }
    this.size = size ?? null;
    this.scaleFactor = scaleFactor ?? null;
    this.mode = mode;
    this.alignCorners = alignCorners;
  }

  forward(x: Tensor): Tensor {
    const { size, scaleFactor, mode } = this;
    const target = size !== null ? { size } : { scaleFactor: scaleFactor as Size2d };
    return interpolate(
      x,
      mode === 'nearest' ? { ...target, mode } : { ...target, mode, alignCorners: this.alignCorners },
    );
  }

  override extraRepr(): string {
    const { size, scaleFactor, mode } = this;
    if (size !== null) return `size=${py(size)}, mode=${mode}`;
    const factor = scaleFactor as Size2d;
    return `scale_factor=${typeof factor === 'number' ? pyFloat(factor) : `(${factor.map(pyFloat).join(', ')})`}, mode=${mode}`;
  }
}
