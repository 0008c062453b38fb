import { pad, type PadMode } from '../../ops/index.js';
import { showShape } from '../../tensor/shape.js';
import type { Tensor } from '../../tensor/tensor.js';
import { argumentReader, type Needed, requireNumber } from '../../tensor/options.js';
import { Layer } from '../base/module.js';
import { py, pyFloat } from '../base/repr.js';

/** One amount for every side, or (before, after) for the last dim, then for the one before it, and so on. */
export type Padding = number | readonly number[];

type PadArgs = Needed<[padding: Padding], ['padding']>;
type ConstantPadArgs = Needed<[padding: Padding, value: number], ['padding', 'value']>;

abstract class Pad extends Layer {
  readonly padding: readonly number[];

  constructor(
    args: PadArgs,
    rank: number,
    /** @internal */
    protected readonly mode: PadMode,
  ) {
    const [padding] = argumentReader<[Padding]>(new.target.name, 'padding')(args);
    super();
    this.padding = typeof padding === 'number' ? new Array<number>(2 * rank).fill(padding) : padding;
    if (
      !Array.isArray(this.padding) ||
      this.padding.length !== 2 * rank ||
      !this.padding.every(Number.isInteger)
    ) {
      throw new Error(
        `${this.constructor.name}: padding must be an integer or ${2 * rank} of them, got ${JSON.stringify(padding)}`,
      );
    }
  }

  forward(x: Tensor): Tensor {
    const rank = this.padding.length / 2;
    if (x.ndim !== rank + 1 && x.ndim !== rank + 2) {
      throw new Error(
        `${this.constructor.name}: expected an input of ${rank + 1} or ${rank + 2} dims, got shape ${showShape(x.shape)}`,
      );
    }
    return pad(x, this.padding, { mode: this.mode });
  }

  override extraRepr(): string {
    return py(this.padding);
  }
}

abstract class ConstantPad extends Pad {
  readonly value: number;

  constructor(args: ConstantPadArgs, rank: number) {
    const [padding, value] = argumentReader<[Padding, number]>(new.target.name, 'padding', 'value')(args);
    super([padding], rank, 'constant');
    this.value = value;
    requireNumber(`${new.target.name}: value`, value);
  }

  override forward(x: Tensor): Tensor {
    return pad(x, this.padding, { value: this.value });
  }

  override extraRepr(): string {
    return `padding=${py(this.padding)}, value=${pyFloat(this.value)}`;
  }
}

abstract class ZeroPad extends Pad {
  readonly value = 0;

  constructor(args: PadArgs, rank: number) {
    super(args, rank, 'constant');
  }

  override extraRepr(): string {
    return py(this.padding);
  }
}

/** `torch.nn.ConstantPad1d`: pads the last dim with `value`. */
export class ConstantPad1d extends ConstantPad {
  constructor(...args: ConstantPadArgs) {
    super(args, 1);
  }
}

/** `torch.nn.ConstantPad2d`: pads the last two dims with `value`. */
export class ConstantPad2d extends ConstantPad {
  constructor(...args: ConstantPadArgs) {
    super(args, 2);
  }
}

/** `torch.nn.ConstantPad3d`: pads the last three dims with `value`. */
export class ConstantPad3d extends ConstantPad {
  constructor(...args: ConstantPadArgs) {
    super(args, 3);
  }
}

/** `torch.nn.ZeroPad1d`: pads the last dim with zeros. */
export class ZeroPad1d extends ZeroPad {
  constructor(...args: PadArgs) {
    super(args, 1);
  }
}

/** `torch.nn.ZeroPad2d`: pads the last two dims with zeros. */
export class ZeroPad2d extends ZeroPad {
  constructor(...args: PadArgs) {
    super(args, 2);
  }
}

/** `torch.nn.ZeroPad3d`: pads the last three dims with zeros. */
export class ZeroPad3d extends ZeroPad {
  constructor(...args: PadArgs) {
    super(args, 3);
  }
}

/** `torch.nn.ReflectionPad1d`: mirrors the last dim at its ends. */
export class ReflectionPad1d extends Pad {
  constructor(...args: PadArgs) {
    super(args, 1, 'reflect');
  }
}

/** `torch.nn.ReflectionPad2d`: mirrors the last two dims at their ends. */
export class ReflectionPad2d extends Pad {
  constructor(...args: PadArgs) {
    super(args, 2, 'reflect');
  }
}

/** `torch.nn.ReflectionPad3d`: mirrors the last three dims at their ends. */
export class ReflectionPad3d extends Pad {
  constructor(...args: PadArgs) {
    super(args, 3, 'reflect');
  }
}

/** `torch.nn.ReplicationPad1d`: repeats the ends of the last dim. */
export class ReplicationPad1d extends Pad {
  constructor(...args: PadArgs) {
    super(args, 1, 'replicate');
  }
}

/** `torch.nn.ReplicationPad2d`: repeats the ends of the last two dims. */
export class ReplicationPad2d extends Pad {
  constructor(...args: PadArgs) {
    super(args, 2, 'replicate');
  }
}

/** `torch.nn.ReplicationPad3d`: repeats the ends of the last three dims. */
export class ReplicationPad3d extends Pad {
  constructor(...args: PadArgs) {
    super(args, 3, 'replicate');
  }
}

/** `torch.nn.CircularPad1d`: goes on at the other end of the last dim. */
export class CircularPad1d extends Pad {
  constructor(...args: PadArgs) {
    super(args, 1, 'circular');
  }
}

/** `torch.nn.CircularPad2d`: goes on at the other ends of the last two dims. */
export class CircularPad2d extends Pad {
  constructor(...args: PadArgs) {
    super(args, 2, 'circular');
  }
}

/** `torch.nn.CircularPad3d`: goes on at the other ends of the last three dims. */
export class CircularPad3d extends Pad {
  constructor(...args: PadArgs) {
    super(args, 3, 'circular');
  }
}
