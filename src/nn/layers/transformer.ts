import { add, full, gelu, relu, triu } from '../../ops/index.js';
import { type Needed, optionReader, required, type Trailing } from '../../tensor/options.js';
import type { Tensor } from '../../tensor/tensor.js';
import { MultiheadAttention } from './attention.js';
import { ModuleList } from './containers.js';
import { deepcopy } from '../base/deepcopy.js';
import { xavierUniform_ } from '../base/init.js';
import { Linear } from './linear.js';
import { Dropout } from './misc.js';
import { Layer, Module } from '../base/module.js';
import { LayerNorm } from './norm.js';

export interface TransformerLayerOptions {
  /** Width of the feed-forward part. Default 2048. */
  dimFeedforward?: number;
  /** Default 0.1. */
  dropout?: number;
  /** 'relu' (default), 'gelu', or a function or module of one tensor. */
  activation?: 'relu' | 'gelu' | ((x: Tensor) => Tensor);
  layerNormEps?: number;
  /** Tensors are [N, L, E] instead of [L, N, E]. Default false. */
  batchFirst?: boolean;
  /** Norms stand before attention and feed-forward instead of after them. Default false. */
  normFirst?: boolean;
}

type LayerOptions = Required<TransformerLayerOptions>;
const layerDefaults: LayerOptions = {
  dimFeedforward: 2048,
  dropout: 0.1,
  activation: 'relu',
  layerNormEps: 1e-5,
  batchFirst: false,
  normFirst: false,
};
const layerPositions = [
  'dimFeedforward',
  'dropout',
  'activation',
  'layerNormEps',
  'batchFirst',
  'normFirst',
] as const;
type LayerArgs = Trailing<
  [dimFeedforward: number, dropout: number, activation: LayerOptions['activation']],
  TransformerLayerOptions
>;
const readEncoderLayer = optionReader('TransformerEncoderLayer', layerDefaults, ...layerPositions);
const readDecoderLayer = optionReader('TransformerDecoderLayer', layerDefaults, ...layerPositions);

function activationOf(layer: string, given: LayerOptions['activation']): (x: Tensor) => Tensor {
  if (typeof given === 'function') return given;
  if (given === 'relu') return relu;
  if (given === 'gelu') return (x) => gelu(x);
  throw new Error(`${layer}: activation must be 'relu', 'gelu' or a function, got '${String(given)}'`);
}

/** Attention masks: bool, true where a query must not look, or floats that are added to the scores. */
export interface EncodeOptions {
  /** [L, L] or [N * nhead, L, L]. */
  srcMask?: Tensor | null;
  /** [N, L], true (or -Infinity) for positions to ignore. */
  srcKeyPaddingMask?: Tensor | null;
  /** Without a mask: no position looks at a later one. With one it is a hint that changes nothing. */
  isCausal?: boolean;
}

const readEncode = optionReader<Required<EncodeOptions>>(
  'TransformerEncoderLayer',
  { srcMask: null, srcKeyPaddingMask: null, isCausal: false },
  'srcMask',
  'srcKeyPaddingMask',
);

/**
 * `torch.nn.TransformerEncoderLayer` (Vaswani et al. 2017, https://arxiv.org/abs/1706.03762): self-attention
 * and a feed-forward part, each with a residual and a norm. As PyTorch does in training, it computes outputs
 * for padded positions too.
 */
export class TransformerEncoderLayer extends Layer {
  selfAttn: MultiheadAttention;
  linear1: Linear;
  dropout: Dropout;
  linear2: Linear;
  norm1: LayerNorm;
  norm2: LayerNorm;
  dropout1: Dropout;
  dropout2: Dropout;
  activation: (x: Tensor) => Tensor;
  readonly normFirst: boolean;

  constructor(dModel: number, nhead: number, ...args: LayerArgs) {
    super();
    const {
      dimFeedforward,
      dropout,
      activation,
      layerNormEps: eps,
      batchFirst,
      normFirst,
    } = readEncoderLayer(args);
    this.selfAttn = new MultiheadAttention(dModel, nhead, { dropout, batchFirst });
    this.linear1 = new Linear(dModel, dimFeedforward);
    this.dropout = new Dropout(dropout);
    this.linear2 = new Linear(dimFeedforward, dModel);
    this.norm1 = new LayerNorm(dModel, { eps });
    this.norm2 = new LayerNorm(dModel, { eps });
    this.dropout1 = new Dropout(dropout);
    this.dropout2 = new Dropout(dropout);
    this.activation = activationOf('TransformerEncoderLayer', activation);
    this.normFirst = normFirst;
  }

  forward(
    src: Tensor,
    ...args: Trailing<[srcMask: Tensor | null, srcKeyPaddingMask: Tensor | null], EncodeOptions>
  ): Tensor {
    const { srcMask: attnMask, srcKeyPaddingMask: keyPaddingMask, isCausal } = readEncode(args);
    const attend = (x: Tensor): Tensor =>
      this.dropout1(this.selfAttn(x, x, x, { attnMask, keyPaddingMask, isCausal, needWeights: false })[0]);
    const feed = (x: Tensor): Tensor =>
      this.dropout2(this.linear2(this.dropout(this.activation(this.linear1(x)))));
    const x = residual(src, this.norm1, attend, this.normFirst);
    return residual(x, this.norm2, feed, this.normFirst);
  }
}

/** `norm(x + part(x))`, or `x + part(norm(x))`. */
const residual = (x: Tensor, norm: LayerNorm, part: (x: Tensor) => Tensor, normFirst: boolean): Tensor =>
  normFirst ? add(x, part(norm(x))) : norm(add(x, part(x)));

export interface DecodeOptions {
  /** [T, T] or [N * nhead, T, T]. */
  tgtMask?: Tensor | null;
  /** [T, S] or [N * nhead, T, S]. */
  memoryMask?: Tensor | null;
  /** [N, T]. */
  tgtKeyPaddingMask?: Tensor | null;
  /** [N, S]. */
  memoryKeyPaddingMask?: Tensor | null;
  /** Without a `tgtMask`: no position looks at a later one. With one it is a hint that changes nothing. */
  tgtIsCausal?: boolean;
  memoryIsCausal?: boolean;
}

const decodeDefaults: Required<DecodeOptions> = {
  tgtMask: null,
  memoryMask: null,
  tgtKeyPaddingMask: null,
  memoryKeyPaddingMask: null,
  tgtIsCausal: false,
  memoryIsCausal: false,
};
const decodePositions = ['tgtMask', 'memoryMask', 'tgtKeyPaddingMask', 'memoryKeyPaddingMask'] as const;
const readDecode = optionReader('TransformerDecoderLayer', decodeDefaults, ...decodePositions);
type DecodeArgs = Trailing<[tgtMask: Tensor | null, memoryMask: Tensor | null], DecodeOptions>;

/**
 * `torch.nn.TransformerDecoderLayer` (Vaswani et al. 2017): self-attention, attention to the encoder's output
 * `memory`, and a feed-forward part.
 */
export class TransformerDecoderLayer extends Layer {
  selfAttn: MultiheadAttention;
  multiheadAttn: MultiheadAttention;
  linear1: Linear;
  dropout: Dropout;
  linear2: Linear;
  norm1: LayerNorm;
  norm2: LayerNorm;
  norm3: LayerNorm;
  dropout1: Dropout;
  dropout2: Dropout;
  dropout3: Dropout;
  activation: (x: Tensor) => Tensor;
  readonly normFirst: boolean;

  constructor(dModel: number, nhead: number, ...args: LayerArgs) {
    super();
    const {
      dimFeedforward,
      dropout,
      activation,
      layerNormEps: eps,
      batchFirst,
      normFirst,
    } = readDecoderLayer(args);
    this.selfAttn = new MultiheadAttention(dModel, nhead, { dropout, batchFirst });
    this.multiheadAttn = new MultiheadAttention(dModel, nhead, { dropout, batchFirst });
    this.linear1 = new Linear(dModel, dimFeedforward);
    this.dropout = new Dropout(dropout);
    this.linear2 = new Linear(dimFeedforward, dModel);
    this.norm1 = new LayerNorm(dModel, { eps });
    this.norm2 = new LayerNorm(dModel, { eps });
    this.norm3 = new LayerNorm(dModel, { eps });
    this.dropout1 = new Dropout(dropout);
    this.dropout2 = new Dropout(dropout);
    this.dropout3 = new Dropout(dropout);
    this.activation = activationOf('TransformerDecoderLayer', activation);
    this.normFirst = normFirst;
  }

  forward(tgt: Tensor, memory: Tensor, ...args: DecodeArgs): Tensor {
    const o = readDecode(args);
    const own = {
      attnMask: o.tgtMask,
      keyPaddingMask: o.tgtKeyPaddingMask,
      isCausal: o.tgtIsCausal,
      needWeights: false,
    };
    const other = {
      attnMask: o.memoryMask,
      keyPaddingMask: o.memoryKeyPaddingMask,
      isCausal: o.memoryIsCausal,
      needWeights: false,
    };
    const attend = (x: Tensor): Tensor => this.dropout1(this.selfAttn(x, x, x, own)[0]);
    const lookUp = (x: Tensor): Tensor => this.dropout2(this.multiheadAttn(x, memory, memory, other)[0]);
    const feed = (x: Tensor): Tensor =>
      this.dropout3(this.linear2(this.dropout(this.activation(this.linear1(x)))));
    const x = residual(tgt, this.norm1, attend, this.normFirst);
    const y = residual(x, this.norm2, lookUp, this.normFirst);
    return residual(y, this.norm3, feed, this.normFirst);
  }
}

function copiesOf(what: string, layer: Module, count: number): ModuleList {
  if (!(layer instanceof Module)) throw new Error(`${what}: expected a layer to copy, got ${String(layer)}`);
  if (!Number.isInteger(count) || count < 0)
    throw new Error(`${what}: numLayers must be an integer of at least 0, got ${String(count)}`);
  return new ModuleList(Array.from({ length: count }, () => deepcopy(layer)));
}

interface EncoderOptions {
  /** After the last layer. */
  norm?: Module | null;
  /** Accepted for PyTorch's sake: a shortcut of its evaluation, of which there is none here. */
  enableNestedTensor?: boolean;
  maskCheck?: boolean;
}
const readEncoder = optionReader(
  'TransformerEncoder',
  {
    encoderLayer: required<TransformerEncoderLayer>(),
    numLayers: required<number>(),
    norm: null as Module | null,
    enableNestedTensor: true,
    maskCheck: true,
  },
  'encoderLayer',
  'numLayers',
  'norm',
  'enableNestedTensor',
  'maskCheck',
);
const readEncodeAll = optionReader(
  'TransformerEncoder',
  { mask: null as Tensor | null, srcKeyPaddingMask: null as Tensor | null, isCausal: false },
  'mask',
  'srcKeyPaddingMask',
);

type Norm = ((x: Tensor) => Tensor) | null;

/**
 * `torch.nn.TransformerEncoder`: `numLayers` copies of a layer (copies of its weights too), and perhaps a
 * norm.
 */
export class TransformerEncoder extends Layer {
  layers: ModuleList;
  readonly numLayers: number;
  norm: Module | null;

  constructor(
    ...args: Needed<
      [encoderLayer: TransformerEncoderLayer, numLayers: number],
      ['encoderLayer', 'numLayers'],
      [norm: Module | null, enableNestedTensor: boolean],
      EncoderOptions
    >
  ) {
    super();
    const { encoderLayer, numLayers, norm } = readEncoder(args);
    this.layers = copiesOf('TransformerEncoder', encoderLayer, numLayers);
    this.numLayers = numLayers;
    this.norm = norm;
  }

  forward(
    src: Tensor,
    ...args: Trailing<
      [mask: Tensor | null, srcKeyPaddingMask: Tensor | null],
      { mask?: Tensor | null; srcKeyPaddingMask?: Tensor | null; isCausal?: boolean }
    >
  ): Tensor {
    const { mask: srcMask, ...rest } = readEncodeAll(args);
    let x = src;
    for (const layer of this.layers as Iterable<Module>)
      x = (layer as TransformerEncoderLayer)(x, { srcMask, ...rest });
    return this.norm === null ? x : (this.norm as unknown as NonNullable<Norm>)(x);
  }
}

const readDecoder = optionReader(
  'TransformerDecoder',
  {
    decoderLayer: required<TransformerDecoderLayer>(),
    numLayers: required<number>(),
    norm: null as Module | null,
  },
  'decoderLayer',
  'numLayers',
  'norm',
);
const readDecodeAll = optionReader('TransformerDecoder', decodeDefaults, ...decodePositions);

/** `torch.nn.TransformerDecoder`: `numLayers` copies of a layer, and perhaps a norm. */
export class TransformerDecoder extends Layer {
  layers: ModuleList;
  readonly numLayers: number;
  norm: Module | null;

  constructor(
    ...args: Needed<
      [decoderLayer: TransformerDecoderLayer, numLayers: number],
      ['decoderLayer', 'numLayers'],
      [norm: Module | null],
      { norm?: Module | null }
    >
  ) {
    super();
    const { decoderLayer, numLayers, norm } = readDecoder(args);
    this.layers = copiesOf('TransformerDecoder', decoderLayer, numLayers);
    this.numLayers = numLayers;
    this.norm = norm;
  }

  forward(tgt: Tensor, memory: Tensor, ...args: DecodeArgs): Tensor {
    const options = readDecodeAll(args);
    let x = tgt;
    for (const layer of this.layers as Iterable<Module>)
      x = (layer as TransformerDecoderLayer)(x, memory, options);
    return this.norm === null ? x : (this.norm as unknown as NonNullable<Norm>)(x);
  }
}

export interface TransformerOptions extends TransformerLayerOptions {
  /** Default 6. */
  numEncoderLayers?: number;
  /** Default 6. */
  numDecoderLayers?: number;
  /** Stands in for the encoder: called with the source and a {@link EncodeOptions} under PyTorch's names. */
  customEncoder?: Module | null;
  customDecoder?: Module | null;
}

const readTransformer = optionReader(
  'Transformer',
  {
    dModel: 512,
    nhead: 8,
    numEncoderLayers: 6,
    numDecoderLayers: 6,
    ...layerDefaults,
    customEncoder: null as Module | null,
    customDecoder: null as Module | null,
  },
  'dModel',
  'nhead',
  'numEncoderLayers',
  'numDecoderLayers',
  'dimFeedforward',
  'dropout',
  'activation',
);

const transformDefaults = {
  srcMask: null as Tensor | null,
  tgtMask: null as Tensor | null,
  memoryMask: null as Tensor | null,
  srcKeyPaddingMask: null as Tensor | null,
  tgtKeyPaddingMask: null as Tensor | null,
  memoryKeyPaddingMask: null as Tensor | null,
  srcIsCausal: false,
  tgtIsCausal: false,
  memoryIsCausal: false,
};
const readTransform = optionReader(
  'Transformer',
  transformDefaults,
  'srcMask',
  'tgtMask',
  'memoryMask',
  'srcKeyPaddingMask',
  'tgtKeyPaddingMask',
  'memoryKeyPaddingMask',
);

/** `torch.nn.Transformer`: encoder and decoder, each with a norm at the end, weights by Xavier. */
export class Transformer extends Layer {
  encoder: TransformerEncoder;
  decoder: TransformerDecoder;
  readonly dModel: number;
  readonly nhead: number;
  readonly batchFirst: boolean;

  constructor(
    ...args: Trailing<
      [dModel: number, nhead: number, numEncoderLayers: number, numDecoderLayers: number],
      TransformerOptions & { dModel?: number; nhead?: number }
    >
  ) {
    super();
    const { dModel, nhead, numEncoderLayers, numDecoderLayers, customEncoder, customDecoder, ...layer } =
      readTransformer(args);
    const norm = (): LayerNorm => new LayerNorm(dModel, { eps: layer.layerNormEps });
    this.encoder =
      (customEncoder as TransformerEncoder | null) ??
      new TransformerEncoder(new TransformerEncoderLayer(dModel, nhead, layer), numEncoderLayers, norm());
    this.decoder =
      (customDecoder as TransformerDecoder | null) ??
      new TransformerDecoder(new TransformerDecoderLayer(dModel, nhead, layer), numDecoderLayers, norm());
    this.dModel = dModel;
    this.nhead = nhead;
    this.batchFirst = layer.batchFirst;
    this.resetParameters();
  }

  resetParameters(): void {
    for (const parameter of this.parameters()) if (parameter.ndim > 1) xavierUniform_(parameter);
  }

  /** Source [S, N, E] and target [T, N, E] (batch first by option) give [T, N, E]. */
  forward(
    src: Tensor,
    tgt: Tensor,
    ...args: Trailing<
      [srcMask: Tensor | null, tgtMask: Tensor | null, memoryMask: Tensor | null],
      Partial<typeof transformDefaults>
    >
  ): Tensor {
    const { srcMask: mask, srcKeyPaddingMask, srcIsCausal: isCausal, ...rest } = readTransform(args);
    const memory = this.encoder(src, { mask, srcKeyPaddingMask, isCausal });
    return this.decoder(tgt, memory, rest);
  }

  /** [size, size] floats for `tgtMask`: 0 up to the diagonal, -Infinity above it. */
  static generateSquareSubsequentMask(size: number): Tensor {
    return triu(full([size, size], -Infinity), 1);
  }

  generateSquareSubsequentMask(size: number): Tensor {
    return Transformer.generateSquareSubsequentMask(size);
  }
}
