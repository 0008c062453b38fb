import * as ops from '../../ops/index.js';
import { celu_, hardtanh_ } from '../../ops/pointwise/activation.js';
import type { Tensor } from '../../tensor/tensor.js';
import { showShape } from '../../tensor/shape.js';
import type { Trailing } from '../../tensor/options.js';
import {
  Activation,
  readActivation,
  readDim,
  readNumbers,
  type DimOnly,
  type InplaceOptions,
} from './activation-base.js';
import { constant_ } from '../base/init.js';
import { Layer } from '../base/module.js';
import { Parameter, requireCount } from '../base/parameter.js';
import { py, pyFloat } from '../base/repr.js';
import { noteParameters } from '../base/tree.js';

const inplaceText = (inplace: boolean): string => (inplace ? ', inplace=True' : '');

/** `torch.nn.Hardtanh`: x between minVal and maxVal. */
export class Hardtanh extends Activation {
  readonly minVal: number;
  readonly maxVal: number;

  constructor(
    ...args: Trailing<
      [minVal: number, maxVal: number, inplace: boolean],
      { minVal?: number; maxVal?: number } & InplaceOptions
    >
  ) {
    const { minVal, maxVal, inplace } = readActivation('Hardtanh', { minVal: -1, maxVal: 1 }, args);
    super(inplace);
    if (!(maxVal > minVal)) throw new Error(`Hardtanh: maxVal ${maxVal} must be above minVal ${minVal}`);
    this.minVal = minVal;
    this.maxVal = maxVal;
  }

  forward(x: Tensor): Tensor {
    return (this.inplace ? hardtanh_ : ops.hardtanh)(x, this.minVal, this.maxVal);
  }

  override extraRepr(): string {
    return `min_val=${pyFloat(this.minVal)}, max_val=${pyFloat(this.maxVal)}${inplaceText(this.inplace)}`;
  }
}

/** `torch.nn.CELU`: max(0, x) + min(0, alpha (exp(x / alpha) - 1)). */
export class CELU extends Activation {
  readonly alpha: number;

  constructor(...args: Trailing<[alpha: number, inplace: boolean], { alpha?: number } & InplaceOptions>) {
    const { alpha, inplace } = readActivation('CELU', { alpha: 1 }, args);
    super(inplace);
    this.alpha = alpha;
  }

  forward(x: Tensor): Tensor {
    return (this.inplace ? celu_ : ops.celu)(x, this.alpha);
  }

  override extraRepr(): string {
    return `alpha=${pyFloat(this.alpha)}${inplaceText(this.inplace)}`;
  }
}

/** `torch.nn.GLU`: halves along `dim`, the first times the sigmoid of the second. */
export class GLU extends Layer {
  readonly dim: number;

  constructor(...args: Trailing<[dim: number], { dim?: number }>) {
    const { dim } = readNumbers('GLU', { dim: -1 }, args);
    super();
    this.dim = dim;
  }

  forward(x: Tensor): Tensor {
    return ops.glu(x, this.dim);
  }

  override extraRepr(): string {
    return `dim=${this.dim}`;
  }
}

/** `torch.nn.PReLU`: leaky ReLU whose slope is learned, one for all channels or one per channel (dim 1). */
export class PReLU extends Layer {
  readonly numParameters: number;
  readonly init: number;
  weight: Parameter;

  constructor(
    ...args: Trailing<[numParameters: number, init: number], { numParameters?: number; init?: number }>
  ) {
    const { numParameters, init } = readNumbers('PReLU', { numParameters: 1, init: 0.25 }, args);
    super();
    this.numParameters = numParameters;
    this.init = init;
    requireCount('PReLU', 'numParameters', numParameters);
    this.weight = Parameter.blank([numParameters], 'PReLU.weight');
    noteParameters(this);
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
  readonly lower: number;
  readonly upper: number;

  constructor(
    ...args: Trailing<
      [lower: number, upper: number, inplace: boolean],
      { lower?: number; upper?: number } & InplaceOptions
    >
  ) {
    const { lower, upper, inplace } = readActivation('RReLU', { lower: 1 / 8, upper: 1 / 3 }, args);
    super(inplace);
    this.lower = lower;
    this.upper = upper;
  }

  forward(x: Tensor): Tensor {
    return (this.inplace ? ops.rrelu_ : ops.rrelu)(x, this.lower, this.upper, this.training);
  }

  override extraRepr(): string {
    return `lower=${pyFloat(this.lower)}, upper=${pyFloat(this.upper)}${inplaceText(this.inplace)}`;
  }
}

/** `torch.nn.Hardshrink`: x where |x| > lambd, else 0. */
export class Hardshrink extends Layer {
  readonly lambd: number;

  constructor(...args: Trailing<[lambd: number], { lambd?: number }>) {
    const { lambd } = readNumbers('Hardshrink', { lambd: 0.5 }, args);
    super();
    this.lambd = lambd;
  }

  forward(x: Tensor): Tensor {
    return ops.hardshrink(x, this.lambd);
  }

  override extraRepr(): string {
    return pyFloat(this.lambd);
  }
}

/** `torch.nn.Softshrink`: x moved towards 0 by lambd. */
export class Softshrink extends Layer {
  readonly lambd: number;

  constructor(...args: Trailing<[lambd: number], { lambd?: number }>) {
    const { lambd } = readNumbers('Softshrink', { lambd: 0.5 }, args);
    super();
    this.lambd = lambd;
  }

  forward(x: Tensor): Tensor {
    return ops.softshrink(x, this.lambd);
  }

  override extraRepr(): string {
    return pyFloat(this.lambd);
  }
}

/** `torch.nn.Tanhshrink`: x - tanh(x). */
export class Tanhshrink extends Layer {
  forward(x: Tensor): Tensor {
    return ops.tanhshrink(x);
  }
}

/** `torch.nn.Threshold`: x above the threshold, `value` elsewhere. */
export class Threshold extends Activation {
  readonly threshold: number;
  readonly value: number;

  constructor(
    ...args:
      | [threshold: number, value: number, inplace?: boolean | InplaceOptions]
      | [options: { threshold: number; value: number } & InplaceOptions]
  ) {
    const { threshold, value, inplace } = readActivation('Threshold', { threshold: NaN, value: NaN }, args);
    super(inplace);
    if (Number.isNaN(threshold) || Number.isNaN(value))
      throw new Error('Threshold: give the threshold and the value, e.g. new Threshold(0.1, 20)');
    this.threshold = threshold;
    this.value = value;
  }

  forward(x: Tensor): Tensor {
    return (this.inplace ? ops.threshold_ : ops.threshold)(x, this.threshold, this.value);
  }

  override extraRepr(): string {
    return `threshold=${py(this.threshold)}, value=${py(this.value)}${inplaceText(this.inplace)}`;
  }
}

/** `torch.nn.Softmin` over `dim`: softmax of -x. */
export class Softmin extends Layer {
  readonly dim: number;

  constructor(...args: DimOnly) {
    super();
    this.dim = readDim('Softmin', args);
  }

  forward(x: Tensor): Tensor {
    return ops.softmin(x, this.dim);
  }

  override extraRepr(): string {
    return `dim=${this.dim}`;
  }
}

/** `torch.nn.Softmax2d`: softmax over the channels of `[N, C, H, W]` or `[C, H, W]`. */
export class Softmax2d extends Layer {
  forward(x: Tensor): Tensor {
    if (x.ndim !== 3 && x.ndim !== 4)
      throw new Error(`Softmax2d: expected a 3-D or 4-D input, got shape ${showShape(x.shape)}`);
    return ops.softmax(x, -3);
  }
}
