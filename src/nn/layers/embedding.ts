import { optionReader, readOptions, type Trailing, noMore } from '../../tensor/options.js';
import { noGrad } from '../../autograd/mode.js';
import { embedding, embeddingBag, narrow, zero_ } from '../../ops/index.js';
import { isFloatingPoint } from '../../tensor/dtype.js';
import { showShape } from '../../tensor/shape.js';
import { isTensor, type Tensor } from '../../tensor/tensor.js';
import { scoped } from '../../tensor/tidy.js';
import { normal_ } from '../base/init.js';
import { Layer } from '../base/module.js';
import { Parameter, requireCount } from '../base/parameter.js';
import { py, pyFloat } from '../base/repr.js';
import { noteParameters } from '../base/tree.js';

export interface EmbeddingOptions {
  /** This row starts as zeros and gets no gradient. */
  paddingIdx?: number | null;
  /** Rows that are looked up and have a larger norm are first scaled down to it. */
  maxNorm?: number | null;
  /** Order of that norm. Default 2. */
  normType?: number;
  /** Divide the gradient of a row by how often it was looked up in a call. */
  scaleGradByFreq?: boolean;
}

export type FromPretrainedOptions = EmbeddingOptions & {
  /** The table is not trained. Default true. */
  freeze?: boolean;
};

const freezing = { freeze: true, paddingIdx: null, maxNorm: null, normType: 2, scaleGradByFreq: false };

const readPretrained = optionReader<Required<FromPretrainedOptions>>(
  'Embedding.fromPretrained',
  freezing,
  'freeze',
  'paddingIdx',
  'maxNorm',
  'normType',
  'scaleGradByFreq',
);

/** @throws Error unless `weights` can be a table */
function checkTable(op: string, weights: unknown): asserts weights is Tensor {
  if (isTensor(weights) && weights.ndim === 2 && isFloatingPoint(weights.dtype)) return;
  const got = isTensor(weights) ? `${weights.dtype} of shape ${showShape(weights.shape)}` : String(weights);
  throw new Error(`${op}: weights must be floating point numbers of shape [rows, columns], got ${got}`);
}

abstract class Table extends Layer {
  weight: Parameter;
  readonly paddingIdx: number | null;
  readonly maxNorm: number | null;
  readonly normType: number;
  readonly scaleGradByFreq: boolean;

  constructor(
    readonly numEmbeddings: number,
    readonly embeddingDim: number,
    options: EmbeddingOptions = {},
    table?: Parameter,
  ) {
    noMore(new.target.name, arguments, table === undefined || table instanceof Parameter ? 4 : 3);
    const { paddingIdx, maxNorm, normType, scaleGradByFreq } = readOptions<Required<EmbeddingOptions>>(
      new.target.name,
      { paddingIdx: null, maxNorm: null, normType: 2, scaleGradByFreq: false },
      options,
    );
    super();
    const layer = this.constructor.name;
    requireCount(layer, 'numEmbeddings', numEmbeddings);
    requireCount(layer, 'embeddingDim', embeddingDim);
    if (
      paddingIdx !== null &&
      !(Number.isInteger(paddingIdx) && paddingIdx >= -numEmbeddings && paddingIdx < numEmbeddings)
    ) {
      throw new Error(`${layer}: paddingIdx ${paddingIdx} is not a row of a table of ${numEmbeddings}`);
    }
    this.paddingIdx = paddingIdx !== null && paddingIdx < 0 ? paddingIdx + numEmbeddings : paddingIdx;
    this.maxNorm = maxNorm;
    this.normType = normType;
    this.scaleGradByFreq = scaleGradByFreq;
    this.weight = table ?? Parameter.blank([numEmbeddings, embeddingDim], `${layer}.weight`);
    noteParameters(this);
    if (table === undefined) this.resetParameters();
  }

  resetParameters(): void {
    normal_(this.weight);
    const row = this.paddingIdx;
    if (row !== null)
      noGrad(() => scoped(this.constructor.name, () => void zero_(narrow(this.weight, 0, row, 1))));
  }

  protected normText(): string {
    const { maxNorm, normType, scaleGradByFreq } = this;
    return (
      (maxNorm === null ? '' : `, max_norm=${pyFloat(maxNorm)}`) +
      (normType === 2 ? '' : `, norm_type=${pyFloat(normType)}`) +
      (scaleGradByFreq ? `, scale_grad_by_freq=${py(true)}` : '')
    );
  }

  protected paddingText(): string {
    return this.paddingIdx === null ? '' : `, padding_idx=${this.paddingIdx}`;
  }
}

/** `torch.nn.Embedding`: rows of a `[numEmbeddings, embeddingDim]` table by int32 index. */
export class Embedding extends Table {
  /**
   * `torch.nn.Embedding.from_pretrained`: a layer whose table is `weights` [numEmbeddings, embeddingDim], in
   * the same memory and, unless `freeze` is false, not trained. The row `paddingIdx` stays as it is.
   *
   * @throws Error unless `weights` are floating point numbers with two dims
   */
  static fromPretrained(
    weights: Tensor,
    ...args: Trailing<[freeze: boolean, paddingIdx: number | null], FromPretrainedOptions>
  ): Embedding {
    const { freeze, ...options } = readPretrained(args);
    checkTable('Embedding.fromPretrained', weights);
    const [rows, columns] = weights.shape as [number, number];
    return new Embedding(rows, columns, options, new Parameter(weights, { requiresGrad: !freeze }));
  }

  forward(ids: Tensor): Tensor {
    const { weight, paddingIdx, maxNorm, normType, scaleGradByFreq } = this;
    return embedding(ids, weight, { paddingIdx, maxNorm, normType, scaleGradByFreq });
  }

  override extraRepr(): string {
    return `${this.numEmbeddings}, ${this.embeddingDim}${this.paddingText()}${this.normText()}`;
  }
}

export interface EmbeddingBagLayerOptions extends EmbeddingOptions {
  /** Default `'mean'`. */
  mode?: 'sum' | 'mean' | 'max';
  /** The last offset is where the last bag ends. */
  includeLastOffset?: boolean;
}

const readPretrainedBag = optionReader<Required<EmbeddingBagLayerOptions & FromPretrainedOptions>>(
  'EmbeddingBag.fromPretrained',
  { ...freezing, mode: 'mean', includeLastOffset: false },
  'freeze',
  'maxNorm',
  'normType',
  'scaleGradByFreq',
  'mode',
);

export interface EmbeddingBagInputs {
  /** int32 [bags]: where each bag begins in ids of one dim. Default null: each row of ids is a bag. */
  offsets?: Tensor | null;
  /** A factor for each id; mode `'sum'` only. Default null: 1. */
  perSampleWeights?: Tensor | null;
}

const readBags = optionReader<Required<EmbeddingBagInputs>>(
  'EmbeddingBag',
  { offsets: null, perSampleWeights: null },
  'offsets',
  'perSampleWeights',
);

/** `torch.nn.EmbeddingBag`: sums, means or maxima of bags of rows of a table. */
export class EmbeddingBag extends Table {
  /**
   * `torch.nn.EmbeddingBag.from_pretrained`: a layer whose table is `weights` [numEmbeddings, embeddingDim],
   * in the same memory and, unless `freeze` is false, not trained.
   *
   * @throws Error unless `weights` are floating point numbers with two dims
   */
  static fromPretrained(
    weights: Tensor,
    ...args: Trailing<
      [freeze: boolean, maxNorm: number | null],
      EmbeddingBagLayerOptions & FromPretrainedOptions
    >
  ): EmbeddingBag {
    const { freeze, ...options } = readPretrainedBag(args);
    checkTable('EmbeddingBag.fromPretrained', weights);
    const [rows, columns] = weights.shape as [number, number];
    return new EmbeddingBag(rows, columns, options, new Parameter(weights, { requiresGrad: !freeze }));
  }

  readonly mode: 'sum' | 'mean' | 'max';
  readonly includeLastOffset: boolean;

  constructor(
    numEmbeddings: number,
    embeddingDim: number,
    options: EmbeddingBagLayerOptions = {},
    table?: Parameter,
  ) {
    noMore(new.target.name, arguments, table === undefined || table instanceof Parameter ? 4 : 3);
    if (typeof options !== 'object')
      throw new Error(
        `EmbeddingBag: options are given by name, as in { maxNorm: 1 }, got ${String(options)}`,
      );
    const { mode = 'mean', includeLastOffset = false, ...rest } = options;
    super(numEmbeddings, embeddingDim, rest, table);
    this.mode = mode;
    this.includeLastOffset = includeLastOffset;
  }

  /** `ids` [n] in bags that begin at `offsets` [bags], or [bags, n]; the result is [bags, embeddingDim]. */
  forward(
    ids: Tensor,
    ...args: Trailing<[offsets: Tensor | null, perSampleWeights: Tensor | null], EmbeddingBagInputs>
  ): Tensor {
    const { offsets, perSampleWeights } = readBags(args);
    const { weight, paddingIdx, maxNorm, normType, scaleGradByFreq, mode, includeLastOffset } = this;
    const table = { paddingIdx, maxNorm, normType, scaleGradByFreq };
    return embeddingBag(ids, weight, offsets, { ...table, mode, includeLastOffset, perSampleWeights });
  }

  override extraRepr(): string {
    return `${this.numEmbeddings}, ${this.embeddingDim}${this.normText()}, mode=${this.mode}${this.paddingText()}`;
  }
}
