import * as ops from '../../ops/index.js';
import type { Tensor } from '../../tensor/tensor.js';
import { showShape } from '../../tensor/shape.js';
import { Activation, requireDim, type InplaceOptions } from './activation-base.js';
import { constant_ } from '../base/init.js';
import { Module } from '../base/module.js';
import { Parameter, requireCount } from '../base/parameter.js';
import { py, pyFloat } from '../base/repr.js';

const inplaceText = (inplace: boolean): string => (inplace ? ', inplace=True' : '');

/** `torch.nn.Hardtanh`: x between minVal and maxVal. */
export class Hardtanh extends Activation {
  constructor(
    readonly minVal = -1,
    readonly maxVal = 1,
    options: InplaceOptions = {},
  ) {
    super(options);
    if (!(maxVal > minVal)) throw new Error(`Hardtanh: maxVal ${maxVal} must be above minVal ${minVal}`);
  }

  forward(x: Tensor): Tensor {
    return ops.hardtanh(x, this.minVal, this.maxVal);
  }

  override extraRepr(): string {
    return `min_val=${pyFloat(this.minVal)}, max_val=${pyFloat(this.maxVal)}${inplaceText(this.inplace)}`;
  }
}

/** `torch.nn.CELU`: max(0, x) + min(0, alpha (exp(x / alpha) - 1)). */
export class CELU extends Activation {
  constructor(
    readonly alpha = 1,
    options: InplaceOptions = {},
  ) {
    super(options);
  }

  forward(x: Tensor): Tensor {
    return ops.celu(x, this.alpha);
  }

  override extraRepr(): string {
    return `alpha=${pyFloat(this.alpha)}${inplaceText(this.inplace)}`;
  }
}

/** `torch.nn.GLU`: halves along `dim`, the first times the sigmoid of the second. */
export class GLU extends Module {
  constructor(readonly dim = -1) {
    super();
  }

  forward(x: Tensor): Tensor {
    return ops.glu(x, this.dim);
  }

  override extraRepr(): string {
    return `dim=${this.dim}`;
  }
}

/** `torch.nn.PReLU`: leaky ReLU whose slope is learned, one for all channels or one per channel (dim 1). */
export class PReLU extends Module {
  weight: Parameter;

  constructor(
    readonly numParameters = 1,
    readonly init = 0.25,
  ) {
    super();
    requireCount('PReLU', 'numParameters', numParameters);
    this.weight = Parameter.blank([numParameters], 'PReLU.weight');
    this.resetParameters();
  }

  resetParameters(): void {
    constant_(this.weight, this.init);
  }

  forward(x: Tensor): Tensor {
    return ops.prelu(x, this.weight);
  }

  override extraRepr(): string {
    return `num_parameters=${this.numParameters}`;
  }
}

/** `torch.nn.RReLU`: leaky ReLU with slopes drawn from lower to upper in training, their mean otherwise. */
export class RReLU extends Activation {
  constructor(
    readonly lower = 1 / 8,
    readonly upper = 1 / 3,
    options: InplaceOptions = {},
  ) {
    super(options);
  }

  forward(x: Tensor): Tensor {
    return ops.rrelu(x, this.lower, this.upper, this.training);
  }

  override extraRepr(): string {
    return `lower=${pyFloat(this.lower)}, upper=${pyFloat(this.upper)}${inplaceText(this.inplace)}`;
  }
}

/** `torch.nn.Hardshrink`: x where |x| > lambd, else 0. */
export class Hardshrink extends Module {
  constructor(readonly lambd = 0.5) {
    super();
  }

  forward(x: Tensor): Tensor {
    return ops.hardshrink(x, this.lambd);
  }

  override extraRepr(): string {
    return pyFloat(this.lambd);
  }
}

/** `torch.nn.Softshrink`: x moved towards 0 by lambd. */
export class Softshrink extends Module {
  constructor(readonly lambd = 0.5) {
    super();
  }

  forward(x: Tensor): Tensor {
    return ops.softshrink(x, this.lambd);
  }

  override extraRepr(): string {
    return pyFloat(this.lambd);
  }
}

/** `torch.nn.Tanhshrink`: x - tanh(x). */
export class Tanhshrink extends Module {
  forward(x: Tensor): Tensor {
    return ops.tanhshrink(x);
  }
}

/** `torch.nn.Threshold`: x above the threshold, `value` elsewhere. */
export class Threshold extends Activation {
  constructor(
    readonly threshold: number,
    readonly value: number,
    options: InplaceOptions = {},
  ) {
    super(options);
  }

  forward(x: Tensor): Tensor {
    return ops.threshold(x, this.threshold, this.value);
  }

  override extraRepr(): string {
    return `threshold=${py(this.threshold)}, value=${py(this.value)}${inplaceText(this.inplace)}`;
  }
}

/** `torch.nn.Softmin` over `dim`: softmax of -x. */
export class Softmin extends Module {
  constructor(readonly dim: number) {
    super();
    requireDim('Softmin', dim);
  }

  forward(x: Tensor): Tensor {
    return ops.softmin(x, this.dim);
  }

  override extraRepr(): string {
    return `dim=${this.dim}`;
  }
}

/** `torch.nn.Softmax2d`: softmax over the channels of `[N, C, H, W]` or `[C, H, W]`. */
export class Softmax2d extends Module {
  forward(x: Tensor): Tensor {
    if (x.ndim !== 3 && x.ndim !== 4)
      throw new Error(`Softmax2d: expected a 3-D or 4-D input, got shape ${showShape(x.shape)}`);
    return ops.softmax(x, -3);
  }
}
