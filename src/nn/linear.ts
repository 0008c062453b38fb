import { embedding, linear, narrow, zero_ } from '../ops/index.js';
import { noGrad } from '../autograd/mode.js';
import { type Tensor } from '../tensor/tensor.js';
import { scoped } from '../tensor/tidy.js';
import { fans, kaimingUniform_, normal_, uniform_ } from './init.js';
import { Module } from './module.js';
import { Parameter, requireCount } from './parameter.js';
import { py } from './repr.js';

/** `torch.nn.Identity`: returns its input. */
export class Identity extends Module {
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

/**
 * `torch.nn.Linear`: `[..., inFeatures]` to `[..., outFeatures]`, `x W^T + b` with W `[outFeatures,
 * inFeatures]`.
 */
export class Linear extends Module {
  weight: Parameter;
  bias: Parameter | null;

  constructor(
    readonly inFeatures: number,
    readonly outFeatures: number,
    { bias = true }: { bias?: boolean } = {},
  ) {
    super();
    requireCount('Linear', 'inFeatures', inFeatures);
    requireCount('Linear', 'outFeatures', outFeatures);
    this.weight = Parameter.blank([outFeatures, inFeatures], 'Linear.weight');
    this.bias = bias ? Parameter.blank([outFeatures], 'Linear.bias') : null;
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

/** `torch.nn.Embedding`: rows of a `[numEmbeddings, embeddingDim]` table by int32 index. */
export class Embedding extends Module {
  weight: Parameter;
  /** This row starts as zeros and gets no gradient. */
  readonly paddingIdx: number | null;

  constructor(
    readonly numEmbeddings: number,
    readonly embeddingDim: number,
    { paddingIdx = null }: { paddingIdx?: number | null } = {},
  ) {
    super();
    requireCount('Embedding', 'numEmbeddings', numEmbeddings);
    requireCount('Embedding', 'embeddingDim', embeddingDim);
    if (
      paddingIdx !== null &&
      !(Number.isInteger(paddingIdx) && paddingIdx >= -numEmbeddings && paddingIdx < numEmbeddings)
    ) {
      throw new Error(`Embedding: paddingIdx ${paddingIdx} is not a row of a table of ${numEmbeddings}`);
    }
    this.paddingIdx = paddingIdx !== null && paddingIdx < 0 ? paddingIdx + numEmbeddings : paddingIdx;
    this.weight = Parameter.blank([numEmbeddings, embeddingDim], 'Embedding.weight');
    this.resetParameters();
  }

  resetParameters(): void {
    normal_(this.weight);
    const row = this.paddingIdx;
    if (row !== null) noGrad(() => scoped('Embedding', () => void zero_(narrow(this.weight, 0, row, 1))));
  }

  forward(ids: Tensor): Tensor {
    return embedding(ids, this.weight, this.paddingIdx === null ? {} : { paddingIdx: this.paddingIdx });
  }

  override extraRepr(): string {
    const padding = this.paddingIdx === null ? '' : `, padding_idx=${this.paddingIdx}`;
    return `${this.numEmbeddings}, ${this.embeddingDim}${padding}`;
  }
}
