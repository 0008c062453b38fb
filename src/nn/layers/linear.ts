import { optionReader, required, type Needed } from '../../tensor/options.js';
import { linear } from '../../ops/index.js';
import { type Tensor } from '../../tensor/tensor.js';
import { fans, kaimingUniform_, uniform_ } from '../base/init.js';
import { Layer } from '../base/module.js';
import { Parameter, requireCount } from '../base/parameter.js';
import { py } from '../base/repr.js';
import { noteParameters } from '../base/tree.js';

/** `torch.nn.Identity`: returns its input. */
export class Identity extends Layer {
  forward(x: Tensor): Tensor {
    return x;
  }
}

/** PyTorch's default for linear and convolution layers: uniform in ±1/sqrt(fanIn), weight and bias alike. */
export function resetByFanIn(weight: Parameter, bias: Parameter | null): void {
  kaimingUniform_(weight, { a: Math.sqrt(5) });
  if (bias === null) return;
  const { fanIn } = fans(weight);
  const bound = fanIn > 0 ? 1 / Math.sqrt(fanIn) : 0;
  uniform_(bias, -bound, bound);
}

const readLinear = optionReader(
  'Linear',
  { inFeatures: required<number>(), outFeatures: required<number>(), bias: true },
  'inFeatures',
  'outFeatures',
  'bias',
);

/**
 * `torch.nn.Linear`: `[..., inFeatures]` to `[..., outFeatures]`, `x W^T + b` with W `[outFeatures,
 * inFeatures]`.
 */
export class Linear extends Layer {
  readonly inFeatures: number;
  readonly outFeatures: number;
  weight: Parameter;
  bias: Parameter | null;

  constructor(
    ...args: Needed<
      [inFeatures: number, outFeatures: number],
      ['inFeatures', 'outFeatures'],
      [bias: boolean],
      { bias?: boolean }
    >
  ) {
    const { inFeatures, outFeatures, bias } = readLinear(args);
    super();
    this.inFeatures = inFeatures;
    this.outFeatures = outFeatures;
    requireCount('Linear', 'inFeatures', inFeatures);
    requireCount('Linear', 'outFeatures', outFeatures);
    this.weight = Parameter.blank([outFeatures, inFeatures], 'Linear.weight');
    this.bias = bias ? Parameter.blank([outFeatures], 'Linear.bias') : null;
    noteParameters(this);
    this.resetParameters();
  }

  resetParameters(): void {
    resetByFanIn(this.weight, this.bias);
  }

  forward(x: Tensor): Tensor {
    return linear(x, this.weight, this.bias);
  }

  override extraRepr(): string {
    return `in_features=${this.inFeatures}, out_features=${this.outFeatures}, bias=${py(this.bias !== null)}`;
  }
}
