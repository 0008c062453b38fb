import {
  flatten,
  indexSelect,
  narrow,
  reshape,
  rotaryEmbedding,
  tensor,
  unsqueeze,
} from '../../ops/index.js';
import { optionReader, required, type Needed } from '../../tensor/options.js';
import { showShape } from '../../tensor/shape.js';
import type { Tensor } from '../../tensor/tensor.js';
import { Layer } from '../base/module.js';
import { requireCount } from '../base/parameter.js';
import { pyFloat } from '../base/repr.js';

const readRotary = optionReader(
  'RotaryPositionalEmbeddings',
  { dim: required<number>(), maxSeqLen: 4096, base: 10_000 },
  'dim',
  'maxSeqLen',
  'base',
);

const readForward = optionReader('RotaryPositionalEmbeddings', { inputPos: null as Tensor | null });

/**
 * Rotary position embedding of queries or keys (Su et al. 2021, https://arxiv.org/abs/2104.09864), as
 * torchtune's module of this name: pair i of a head is turned by `position * base ** (-2 i / dim)`. Models
 * that pair a feature with the one half a head further (Llama as Hugging Face stores it) call
 * `nn.functional.rotaryEmbedding` with cosines and sines of theirs.
 */
export class RotaryPositionalEmbeddings extends Layer {
  readonly dim: number;
  readonly maxSeqLen: number;
  readonly base: number;
  /** [maxSeqLen, dim / 2], in no state dict. */
  declare cos: Tensor;
  declare sin: Tensor;

  /** @param dim features of a head, an even number */
  constructor(
    ...args: Needed<
      [dim: number],
      ['dim'],
      [maxSeqLen: number, base: number],
      { maxSeqLen?: number; base?: number }
    >
  ) {
    const { dim, maxSeqLen, base } = readRotary(args);
    super();
    requireCount('RotaryPositionalEmbeddings', 'dim', dim);
    requireCount('RotaryPositionalEmbeddings', 'maxSeqLen', maxSeqLen);
    if (dim % 2 !== 0)
      throw new Error(`RotaryPositionalEmbeddings: dim must be even, as features turn in pairs; got ${dim}`);
    if (!(base > 0)) throw new Error(`RotaryPositionalEmbeddings: base must be positive, got ${base}`);
    this.dim = dim;
    this.maxSeqLen = maxSeqLen;
    this.base = base;
    const pairs = dim / 2;
    // In double precision: float32 would lose 1e-4 of the angles of far positions.
    const table = (of: (angle: number) => number): Tensor =>
      tensor(
        Float32Array.from({ length: maxSeqLen * pairs }, (_, i) =>
          of(Math.floor(i / pairs) * base ** ((-2 * (i % pairs)) / dim)),
        ),
        { shape: [maxSeqLen, pairs] },
      );
    this.registerBuffer('cos', table(Math.cos), { persistent: false });
    this.registerBuffer('sin', table(Math.sin), { persistent: false });
  }

  /**
   * @param x [N, S, heads, dim]
   * @param inputPos positions [S] or [N, S] of int32 where they are not 0, 1, ...
   */
  forward(x: Tensor, ...args: [options?: { readonly inputPos?: Tensor | null }]): Tensor {
    const { inputPos } = readForward(args);
    const length = x.shape[1];
    if (x.ndim !== 4 || length === undefined || x.shape[3] !== this.dim)
      throw new Error(
        `RotaryPositionalEmbeddings: expected [N, S, heads, ${this.dim}], got ${showShape(x.shape)}`,
      );
    if (inputPos === null && length > this.maxSeqLen)
      throw new Error(
        `RotaryPositionalEmbeddings: a sequence of ${length} is longer than maxSeqLen, ${this.maxSeqLen}`,
      );
    const [cos, sin] = [this.cos, this.sin].map((table) => {
      const rows =
        inputPos === null
          ? narrow(table, 0, 0, length)
          : reshape(indexSelect(table, 0, flatten(inputPos)), [...inputPos.shape, this.dim / 2]);
      return unsqueeze(rows, -2);
    }) as [Tensor, Tensor];
    return rotaryEmbedding(x, cos, sin, { interleaved: true });
  }

  override extraRepr(): string {
    return `dim=${this.dim}, max_seq_len=${this.maxSeqLen}, base=${pyFloat(this.base)}`;
  }
}
