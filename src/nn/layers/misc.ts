import { argumentReader, type Needed, optionReader, type Trailing } from '../../tensor/options.js';
import { dropout, dropout2d, flatten, unflatten, type Dropout as Dropped } from '../../ops/index.js';
import { inPlaceDropout } from '../../ops/random/dropout.js';
import type { Tensor } from '../../tensor/tensor.js';
import { Layer } from '../base/module.js';
import { py, pyFloat } from '../base/repr.js';

export abstract class DropoutNd extends Layer {
  readonly p: number;
  readonly inplace: boolean;

  /** @param p probability that a value (or channel) is dropped, 0 to 1 */
  constructor(...args: Trailing<[p: number, inplace: boolean], { p?: number; inplace?: boolean }>) {
    const read = optionReader(new.target.name, { p: 0.5, inplace: false }, 'p', 'inplace');
    const { p, inplace } = read(args);
    super();
    if (!(p >= 0 && p <= 1))
      throw new Error(`${this.constructor.name}: p must be between 0 and 1, got ${String(p)}`);
    this.p = p;
    this.inplace = inplace;
  }

  abstract override forward(x: Tensor): Tensor;

  /** @internal `op` as the options say. */
  protected run(op: Dropped, x: Tensor): Tensor {
    const { p, training } = this;
    const drop = this.inplace && training && p > 0 ? inPlaceDropout(op.name, op) : op;
    return drop(x, p, { training });
  }

  override extraRepr(): string {
    return `p=${pyFloat(this.p)}, inplace=${py(this.inplace)}`;
  }
}

/** `torch.nn.Dropout`: in training drops values and scales the rest by 1 / (1 - p); nothing in evaluation. */
export class Dropout extends DropoutNd {
  forward(x: Tensor): Tensor {
    return this.training && this.p > 0 ? this.run(dropout, x) : x;
  }
}

/** `torch.nn.Dropout2d`: drops whole channels of `[N, C, H, W]`. */
export class Dropout2d extends DropoutNd {
  forward(x: Tensor): Tensor {
    return this.training && this.p > 0 ? this.run(dropout2d, x) : x;
  }
}

/** `torch.nn.Flatten`: merges dims `startDim..endDim`, by default all but the batch. */
export class Flatten extends Layer {
  readonly startDim: number;
  readonly endDim: number;

  constructor(...args: Trailing<[startDim: number, endDim: number], { startDim?: number; endDim?: number }>) {
    const read = optionReader('Flatten', { startDim: 1, endDim: -1 }, 'startDim', 'endDim');
    const { startDim, endDim } = read(args);
    super();
    this.startDim = startDim;
    this.endDim = endDim;
  }

  forward(x: Tensor): Tensor {
    return flatten(x, this.startDim, this.endDim);
  }

  override extraRepr(): string {
    return `start_dim=${this.startDim}, end_dim=${this.endDim}`;
  }
}

/** `torch.nn.Unflatten`: splits one dim into several. */
export class Unflatten extends Layer {
  readonly dim: number;
  readonly unflattenedSize: readonly number[];

  constructor(
    ...args: Needed<[dim: number, unflattenedSize: readonly number[]], ['dim', 'unflattenedSize']>
  ) {
    super();
    [this.dim, this.unflattenedSize] = argumentReader<[number, readonly number[]]>(
      'Unflatten',
      'dim',
      'unflattenedSize',
    )(args);
  }

  forward(x: Tensor): Tensor {
    return unflatten(x, this.dim, this.unflattenedSize);
  }

  override extraRepr(): string {
    return `dim=${this.dim}, unflattened_size=${py(this.unflattenedSize)}`;
  }
}
