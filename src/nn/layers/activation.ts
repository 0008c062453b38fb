import { readOptions, type Trailing, noMore } from '../../tensor/options.js';
import * as ops from '../../ops/index.js';
import {
  elu_,
  hardsigmoid_,
  hardswish_,
  leakyRelu_,
  mish_,
  relu6_,
  selu_,
  silu_,
} from '../../ops/pointwise/activation.js';
import type { Tensor } from '../../tensor/tensor.js';
import { Activation, readDim, readActivation, type DimOnly, type InplaceOptions } from './activation-base.js';
import type { Fusion } from '../base/fuse.js';
import { Layer } from '../base/module.js';
import { py, pyFloat } from '../base/repr.js';

export type { InplaceOptions };

/** `torch.nn.ReLU`: max(x, 0). */
export class ReLU extends Activation {
  /** @internal */
  static readonly fusion: Fusion = { activation: 'relu' };

  forward(x: Tensor): Tensor {
    return this.inplace ? ops.relu_(x) : ops.relu(x);
  }
}

/** `torch.nn.ReLU6`: min(max(x, 0), 6). */
export class ReLU6 extends Activation {
  /** @internal */
  static readonly fusion: Fusion = { activation: 'relu6' };

  forward(x: Tensor): Tensor {
    return this.inplace ? relu6_(x) : ops.relu6(x);
  }
}

/** `torch.nn.SiLU`: x * sigmoid(x). */
export class SiLU extends Activation {
  /** @internal */
  static readonly fusion: Fusion = { activation: 'silu' };

  forward(x: Tensor): Tensor {
    return this.inplace ? silu_(x) : ops.silu(x);
  }
}

/** `torch.nn.Mish`: x * tanh(softplus(x)). */
export class Mish extends Activation {
  forward(x: Tensor): Tensor {
    return this.inplace ? mish_(x) : ops.mish(x);
  }
}

/** `torch.nn.SELU`. */
export class SELU extends Activation {
  forward(x: Tensor): Tensor {
    return this.inplace ? selu_(x) : ops.selu(x);
  }
}

/** `torch.nn.Hardswish`: x * relu6(x + 3) / 6. */
export class Hardswish extends Activation {
  /** @internal */
  static readonly fusion: Fusion = { activation: 'hardswish' };

  forward(x: Tensor): Tensor {
    return this.inplace ? hardswish_(x) : ops.hardswish(x);
  }

  override extraRepr(): string {
    return '';
  }
}

/** `torch.nn.Hardsigmoid`: relu6(x + 3) / 6. */
export class Hardsigmoid extends Activation {
  forward(x: Tensor): Tensor {
    return this.inplace ? hardsigmoid_(x) : ops.hardsigmoid(x);
  }

  override extraRepr(): string {
    return '';
  }
}

/** `torch.nn.Sigmoid`. */
export class Sigmoid extends Layer {
  forward(x: Tensor): Tensor {
    return ops.sigmoid(x);
  }
}

/** `torch.nn.Tanh`. */
export class Tanh extends Layer {
  forward(x: Tensor): Tensor {
    return ops.tanh(x);
  }
}

/** `torch.nn.LogSigmoid`. */
export class LogSigmoid extends Layer {
  forward(x: Tensor): Tensor {
    return ops.logsigmoid(x);
  }
}

/** `torch.nn.Softsign`: x / (1 + |x|). */
export class Softsign extends Layer {
  forward(x: Tensor): Tensor {
    return ops.softsign(x);
  }
}

/** `torch.nn.LeakyReLU`: x where positive, else negativeSlope * x. */
export class LeakyReLU extends Activation {
  readonly negativeSlope: number;

  constructor(
    ...args: Trailing<[negativeSlope: number, inplace: boolean], { negativeSlope?: number } & InplaceOptions>
  ) {
    const { negativeSlope, inplace } = readActivation('LeakyReLU', { negativeSlope: 0.01 }, args);
    super(inplace);
    this.negativeSlope = negativeSlope;
  }

  forward(x: Tensor): Tensor {
    return (this.inplace ? leakyRelu_ : ops.leakyRelu)(x, { negativeSlope: this.negativeSlope });
  }

  override extraRepr(): string {
    return `negative_slope=${pyFloat(this.negativeSlope)}${this.inplace ? ', inplace=True' : ''}`;
  }
}

/** `torch.nn.ELU`: x where positive, else alpha * (exp(x) - 1). */
export class ELU extends Activation {
  readonly alpha: number;

  constructor(...args: Trailing<[alpha: number, inplace: boolean], { alpha?: number } & InplaceOptions>) {
    const { alpha, inplace } = readActivation('ELU', { alpha: 1 }, args);
    super(inplace);
    this.alpha = alpha;
  }

  forward(x: Tensor): Tensor {
    return (this.inplace ? elu_ : ops.elu)(x, { alpha: this.alpha });
  }

  override extraRepr(): string {
    return `alpha=${pyFloat(this.alpha)}${this.inplace ? ', inplace=True' : ''}`;
  }
}

/** `torch.nn.GELU`: x * Phi(x), exactly or by the tanh approximation. */
export class GELU extends Layer {
  readonly approximate: 'none' | 'tanh';

  constructor(options: { approximate?: 'none' | 'tanh' } = {}) {
    noMore(new.target.name, arguments, 1);
    const { approximate } = readOptions<{ approximate: 'none' | 'tanh' }>(
      'GELU',
      { approximate: 'none' },
      options,
    );
    super();
    this.approximate = approximate;
  }

  forward(x: Tensor): Tensor {
    return ops.gelu(x, { approximate: this.approximate });
  }

  override extraRepr(): string {
    return `approximate='${this.approximate}'`;
  }
}

/** `torch.nn.Softplus`: log(1 + exp(beta * x)) / beta, linear where beta * x is above the threshold. */
export class Softplus extends Layer {
  readonly beta: number;
  readonly threshold: number;

  constructor(options: { beta?: number; threshold?: number } = {}) {
    noMore(new.target.name, arguments, 1);
    const { beta, threshold } = readOptions('Softplus', { beta: 1, threshold: 20 }, options);
    super();
    this.beta = beta;
    this.threshold = threshold;
  }

  forward(x: Tensor): Tensor {
    return ops.softplus(x, { beta: this.beta, threshold: this.threshold });
  }

  override extraRepr(): string {
    return `beta=${py(this.beta)}, threshold=${py(this.threshold)}`;
  }
}

/** `torch.nn.Softmax` over `dim`. */
export class Softmax extends Layer {
  readonly dim: number;

  constructor(...args: DimOnly) {
    super();
    this.dim = readDim('Softmax', args);
  }

  forward(x: Tensor): Tensor {
    return ops.softmax(x, this.dim);
  }

  override extraRepr(): string {
    return `dim=${this.dim}`;
  }
}

/** `torch.nn.LogSoftmax` over `dim`. */
export class LogSoftmax extends Layer {
  readonly dim: number;

  constructor(...args: DimOnly) {
    super();
    this.dim = readDim('LogSoftmax', args);
  }

  forward(x: Tensor): Tensor {
    return ops.logSoftmax(x, this.dim);
  }

  override extraRepr(): string {
    return `dim=${this.dim}`;
  }
}
