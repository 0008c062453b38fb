import { fold, im2col, type FoldOptions } from '../../ops/conv/fold.js';
import type { Size2d } from '../../ops/base/sizes.js';
import { optionReader, type Trailing } from '../../tensor/options.js';
import type { Tensor } from '../../tensor/tensor.js';
import { Layer } from '../base/module.js';
import { py } from '../base/repr.js';

type FoldArgs = Trailing<[dilation: Size2d, padding: Size2d, stride: Size2d], FoldOptions>;

const readOptions = (layer: string, args: readonly unknown[]): Readonly<Required<FoldOptions>> =>
  optionReader<Required<FoldOptions>>(
    layer,
    { dilation: 1, padding: 0, stride: 1 },
    'dilation',
    'padding',
    'stride',
  )(args);

/** `torch.nn.Unfold`: the blocks of images `[N, C, H, W]` as the columns of `[N, C kH kW, L]`. */
export class Unfold extends Layer {
  readonly dilation: Size2d;
  readonly padding: Size2d;
  readonly stride: Size2d;

  constructor(
    readonly kernelSize: Size2d,
    ...args: FoldArgs
  ) {
    super();
    ({ dilation: this.dilation, padding: this.padding, stride: this.stride } = readOptions('Unfold', args));
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
  readonly dilation: Size2d;
  readonly padding: Size2d;
  readonly stride: Size2d;

  constructor(
    readonly outputSize: Size2d,
    readonly kernelSize: Size2d,
    ...args: FoldArgs
  ) {
    super();
    ({ dilation: this.dilation, padding: this.padding, stride: this.stride } = readOptions('Fold', args));
  }

  forward(x: Tensor): Tensor {
    const { dilation, padding, stride } = this;
    return fold(x, this.outputSize, this.kernelSize, { dilation, padding, stride });
  }

  override extraRepr(): string {
    return `output_size=${py(this.outputSize)}, kernel_size=${py(this.kernelSize)}, dilation=${py(this.dilation)}, padding=${py(this.padding)}, stride=${py(this.stride)}`;
  }
}
