import { fold, im2col, type FoldOptions } from '../../ops/conv/fold.js';
import type { Size2d } from '../../ops/base/sizes.js';
import { type Needed, optionReader, required } from '../../tensor/options.js';
import type { Tensor } from '../../tensor/tensor.js';
import { Layer } from '../base/module.js';
import { py } from '../base/repr.js';

type After = [dilation: Size2d, padding: Size2d, stride: Size2d];
const defaults: Required<FoldOptions> = { dilation: 1, padding: 0, stride: 1 };

const readUnfold = optionReader(
  'Unfold',
  { kernelSize: required<Size2d>(), ...defaults },
  'kernelSize',
  'dilation',
  'padding',
  'stride',
);
const readFold = optionReader(
  'Fold',
  { outputSize: required<Size2d>(), kernelSize: required<Size2d>(), ...defaults },
  'outputSize',
  'kernelSize',
  'dilation',
  'padding',
  'stride',
);

/** `torch.nn.Unfold`: the blocks of images `[N, C, H, W]` as the columns of `[N, C kH kW, L]`. */
export class Unfold extends Layer {
  readonly kernelSize: Size2d;
  readonly dilation: Size2d;
  readonly padding: Size2d;
  readonly stride: Size2d;

  constructor(...args: Needed<[kernelSize: Size2d], ['kernelSize'], After, FoldOptions>) {
    super();
    const { kernelSize, dilation, padding, stride } = readUnfold(args);
    this.kernelSize = kernelSize;
    this.dilation = dilation;
    this.padding = padding;
    this.stride = stride;
  }

  forward(x: Tensor): Tensor {
    const { dilation, padding, stride } = this;
    return im2col(x, this.kernelSize, { dilation, padding, stride });
  }

  override extraRepr(): string {
    return `kernel_size=${py(this.kernelSize)}, dilation=${py(this.dilation)}, padding=${py(this.padding)}, stride=${py(this.stride)}`;
  }
}

/** `torch.nn.Fold`: columns `[N, C kH kW, L]` as blocks of images `[N, C, H, W]`; overlaps are added up. */
export class Fold extends Layer {
  readonly outputSize: Size2d;
  readonly kernelSize: Size2d;
  readonly dilation: Size2d;
  readonly padding: Size2d;
  readonly stride: Size2d;

  constructor(
    ...args: Needed<
      [outputSize: Size2d, kernelSize: Size2d],
      ['outputSize', 'kernelSize'],
      After,
      FoldOptions
    >
  ) {
    super();
    const { outputSize, kernelSize, dilation, padding, stride } = readFold(args);
    this.outputSize = outputSize;
    this.kernelSize = kernelSize;
    this.dilation = dilation;
    this.padding = padding;
    this.stride = stride;
  }

  forward(x: Tensor): Tensor {
    const { dilation, padding, stride } = this;
    return fold(x, this.outputSize, this.kernelSize, { dilation, padding, stride });
  }

  override extraRepr(): string {
    return `output_size=${py(this.outputSize)}, kernel_size=${py(this.kernelSize)}, dilation=${py(this.dilation)}, padding=${py(this.padding)}, stride=${py(this.stride)}`;
  }
}
