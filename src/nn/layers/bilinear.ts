import { readOptions, noMore } from '../../tensor/options.js';
import { bilinear } from '../../ops/index.js';
import { type Tensor } from '../../tensor/tensor.js';
import { uniform_ } from '../base/init.js';
import { Layer } from '../base/module.js';
import { Parameter, requireCount } from '../base/parameter.js';
import { py } from '../base/repr.js';
import { noteParameters } from '../base/tree.js';

/** `torch.nn.Bilinear`: `y_o = x1 W_o x2 + b_o` of `[..., in1Features]` and `[..., in2Features]`. */
export class Bilinear extends Layer {
  weight: Parameter;
  bias: Parameter | null;

  constructor(
    readonly in1Features: number,
    readonly in2Features: number,
    readonly outFeatures: number,
    options: { bias?: boolean } = {},
  ) {
    noMore(new.target.name, arguments, 4);
    const { bias } = readOptions('Bilinear', { bias: true }, options);
    super();
    requireCount('Bilinear', 'in1Features', in1Features);
    requireCount('Bilinear', 'in2Features', in2Features);
    requireCount('Bilinear', 'outFeatures', outFeatures);
    this.weight = Parameter.blank([outFeatures, in1Features, in2Features], 'Bilinear.weight');
    this.bias = bias ? Parameter.blank([outFeatures], 'Bilinear.bias') : null;
    noteParameters(this);
    this.resetParameters();
  }

  resetParameters(): void {
    const bound = 1 / Math.sqrt(this.in1Features);
    uniform_(this.weight, -bound, bound);
    if (this.bias) uniform_(this.bias, -bound, bound);
  }

  forward(x1: Tensor, x2: Tensor): Tensor {
    return bilinear(x1, x2, this.weight, this.bias);
  }

  override extraRepr(): string {
    const { in1Features, in2Features, outFeatures, bias } = this;
    return `in1_features=${in1Features}, in2_features=${in2Features}, out_features=${outFeatures}, bias=${py(bias !== null)}`;
  }
}
