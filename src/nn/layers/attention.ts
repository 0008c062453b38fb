import { readOptions, noMore } from '../../tensor/options.js';
import {
  attentionScores,
  causalMask,
  checkMask,
  maskScores,
  type Looking,
} from '../../ops/sequence/attention-weights.js';
import { fusedAttention } from '../../ops/sequence/fused-attention.js';
import {
  cat,
  dropout,
  expand,
  linear,
  logicalOr,
  matmul,
  mean,
  permute,
  reshape,
  softmax,
  split,
  squeeze,
  to,
  transpose,
  unbind,
  unsqueeze,
  zeros,
} from '../../ops/index.js';
import { optionReader, type Trailing } from '../../tensor/options.js';
import { showShape } from '../../tensor/shape.js';
import type { Tensor } from '../../tensor/tensor.js';
import { xavierNormal_, xavierUniform_, zeros_ } from '../base/init.js';
import { Linear } from './linear.js';
import { Layer } from '../base/module.js';
import { Parameter, requireCount } from '../base/parameter.js';
import { noteParameters } from '../base/tree.js';

/** PyTorch's name for the output projection: a Linear that dynamic quantization leaves alone. */
class NonDynamicallyQuantizableLinear extends Linear {}

export interface MultiheadAttentionOptions {
  /** Probability that an attention weight is dropped in training. Default 0. */
  dropout?: number;
  /** Biases of the input and output projections. Default true. */
  bias?: boolean;
  /** Features of the keys. Default embedDim. */
  kdim?: number;
  /** Features of the values. Default embedDim. */
  vdim?: number;
  /** One more key and value that are learned, the same for every query. Default false. */
  addBiasKv?: boolean;
  /** One more key and value of zeros. Default false. */
  addZeroAttn?: boolean;
  /** Tensors are [N, L, E] instead of [L, N, E]. Default false. */
  batchFirst?: boolean;
}

export interface AttendOptions {
  /**
   * [N, S] (or [S] without a batch): bool, true for keys to ignore; or floats that are added to the scores.
   */
  keyPaddingMask?: Tensor | null;
  /** Return the attention weights too. Default true. */
  needWeights?: boolean;
  /**
   * [L, S] or [N * numHeads, L, S]: bool, true where a query must not look; or floats that are added to the
   * scores.
   */
  attnMask?: Tensor | null;
  /** Return the mean of the weights over the heads rather than those of each head. Default true. */
  averageAttnWeights?: boolean;
  /** A query looks at keys up to its own position only. With `attnMask` it is a hint that changes nothing. */
  isCausal?: boolean;
}

const readAttend = optionReader<Required<AttendOptions>>(
  'MultiheadAttention',
  {
    keyPaddingMask: null,
    needWeights: true,
    attnMask: null,
    averageAttnWeights: true,
    isCausal: false,
  },
  'keyPaddingMask',
  'needWeights',
  'attnMask',
  'averageAttnWeights',
);

/** `x` with `extra` more entries along `dim`, zeros or false. */
const padded = (x: Tensor, dim: number, extra: number): Tensor => {
  const shape = x.shape.map((size, i) => (i === dim ? extra : size));
  return cat([x, zeros(shape, { dtype: x.dtype })], dim);
};

type How = Pick<Looking, 'causal' | 'scale'>;

/** Attention without its weights in memory; null where ordinary ops must do it. */
function attendFused(q: Tensor, k: Tensor, v: Tensor, masks: readonly Tensor[], how: How): Tensor | null {
  for (const mask of masks) checkMask('MultiheadAttention', mask);
  const [first = null, second] = masks;
  if (masks.length > 2 || (second && !masks.every(({ dtype }) => dtype === 'bool'))) return null;
  const mask = second ? logicalOr(first as Tensor, second) : first;
  const shape = [...q.shape.slice(0, 3), k.shape[2] as number];
  const given = mask && expand(mask.dtype === 'bool' ? mask : to(mask, 'float32'), shape);
  return fusedAttention(q, k, v, { ...how, mask: given, shown: false }, false);
}

/**
 * `torch.nn.MultiheadAttention` (Vaswani et al. 2017, https://arxiv.org/abs/1706.03762, section 3.2.2).
 * Called with query [L, N, E], key [S, N, kdim] and value [S, N, vdim] (batch first by option; without a
 * batch dim too) it returns the output, of the query's shape, and the weights [N, L, S] (one per head: [N,
 * numHeads, L, S]) or null.
 */
export class MultiheadAttention extends Layer {
  /** Query, key and value projections in one, [3 E, E]; null when kdim or vdim differs from embedDim. */
  inProjWeight: Parameter | null;
  qProjWeight: Parameter | null;
  kProjWeight: Parameter | null;
  vProjWeight: Parameter | null;
  inProjBias: Parameter | null;
  /** [1, 1, E] each, with `addBiasKv`. */
  biasK: Parameter | null;
  biasV: Parameter | null;
  outProj: Linear;
  readonly kdim: number;
  readonly vdim: number;
  readonly headDim: number;
  readonly addZeroAttn: boolean;
  dropout: number;
  readonly batchFirst: boolean;

  constructor(
    readonly embedDim: number,
    readonly numHeads: number,
    options: MultiheadAttentionOptions = {},
  ) {
    noMore(new.target.name, arguments, 3);
    const {
      dropout: p,
      bias,
      kdim,
      vdim,
      addBiasKv,
      addZeroAttn,
      batchFirst,
    } = readOptions<Required<MultiheadAttentionOptions>>(
      'MultiheadAttention',
      {
        dropout: 0,
        bias: true,
        kdim: embedDim,
        vdim: embedDim,
        addBiasKv: false,
        addZeroAttn: false,
        batchFirst: false,
      },
      options,
    );
    super();
    for (const [name, value] of Object.entries({ embedDim, numHeads, kdim, vdim }))
      requireCount('MultiheadAttention', name, value);
    if (embedDim % numHeads !== 0)
      throw new Error(
        `MultiheadAttention: embedDim ${embedDim} does not divide into ${numHeads} heads of equal size`,
      );
    if (!(p >= 0 && p <= 1))
      throw new Error(`MultiheadAttention: dropout must be between 0 and 1, got ${String(p)}`);
    const weight = (rows: number, columns: number): Parameter =>
      Parameter.blank([rows, columns], 'MultiheadAttention.weight');
    const joint = kdim === embedDim && vdim === embedDim;
    this.inProjWeight = joint ? weight(3 * embedDim, embedDim) : null;
    this.qProjWeight = joint ? null : weight(embedDim, embedDim);
    this.kProjWeight = joint ? null : weight(embedDim, kdim);
    this.vProjWeight = joint ? null : weight(embedDim, vdim);
    this.inProjBias = bias ? Parameter.blank([3 * embedDim], 'MultiheadAttention.bias') : null;
    this.biasK = addBiasKv ? Parameter.blank([1, 1, embedDim], 'MultiheadAttention.bias') : null;
    this.biasV = addBiasKv ? Parameter.blank([1, 1, embedDim], 'MultiheadAttention.bias') : null;
    this.addZeroAttn = addZeroAttn;
    this.outProj = new NonDynamicallyQuantizableLinear(embedDim, embedDim, { bias });
    this.kdim = kdim;
    this.vdim = vdim;
    this.headDim = embedDim / numHeads;
    this.dropout = p;
    this.batchFirst = batchFirst;
    noteParameters(this);
    this.resetParameters();
  }

  resetParameters(): void {
    for (const weight of [this.inProjWeight, this.qProjWeight, this.kProjWeight, this.vProjWeight])
      if (weight !== null) xavierUniform_(weight);
    if (this.inProjBias !== null) zeros_(this.inProjBias);
    if (this.outProj.bias !== null) zeros_(this.outProj.bias);
    for (const bias of [this.biasK, this.biasV]) if (bias !== null) xavierNormal_(bias);
  }

  forward(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    ...args: Trailing<
      [keyPaddingMask: Tensor | null, needWeights: boolean, attnMask: Tensor | null],
      AttendOptions
    >
  ): [output: Tensor, weights: Tensor | null] {
    this.check(query, key, value);
    const { keyPaddingMask, attnMask, needWeights, averageAttnWeights, isCausal } = readAttend(args);
    const batched = query.ndim === 3;
    const rows = (x: Tensor): Tensor => {
      if (!batched) return unsqueeze(x, 0);
      return this.batchFirst ? x : transpose(x, 0, 1);
    };
    // Equal arguments stay equal: one product then projects all three.
    const x = rows(query);
    const y = key === query ? x : rows(key);
    const [q, keys, values] = this.project(x, y, value === key ? y : rows(value));
    const [n, , length] = q.shape as [number, number, number];
    const sources = keys.shape[2] as number;
    const [k, v] = [this.withMore(keys, this.biasK), this.withMore(values, this.biasV)];
    const extra = (k.shape[2] as number) - sources;
    const withExtra = (mask: Tensor): Tensor => (extra === 0 ? mask : padded(mask, mask.ndim - 1, extra));
    const masks = [
      attnMask && this.headMask(attnMask, n, length, sources),
      keyPaddingMask && this.paddingMask(keyPaddingMask, n, sources),
    ].flatMap((mask) => (mask === null ? [] : [withExtra(mask)]));
    const causal = isCausal && attnMask === null;
    // The keys that were added come after all others, and every query may look at them.
    if (causal && extra > 0) masks.unshift(withExtra(causalMask(length, sources)));
    const how = { causal: causal && extra === 0, scale: 1 / Math.sqrt(this.headDim) };
    const dropping = this.training && this.dropout > 0;

    const fused = needWeights || dropping ? null : attendFused(q, k, v, masks, how);
    const weights = fused === null ? this.weights(q, k, masks, how) : null;
    const heads = permute(fused ?? matmul(weights as Tensor, v), 0, 2, 1, 3);
    const joined = this.outProj(reshape(heads, n, length, this.embedDim));
    const output = batched ? (this.batchFirst ? joined : transpose(joined, 0, 1)) : squeeze(joined, 0);
    if (!needWeights || weights === null) return [output, null];
    const shown = averageAttnWeights ? mean(weights, 1) : weights;
    return [output, batched ? shown : squeeze(shown, 0)];
  }

  /** The weights [N, heads, L, S] by which queries take values. */
  private weights(q: Tensor, k: Tensor, masks: readonly Tensor[], { causal, scale }: How): Tensor {
    const [length, sources] = [q.shape[2] as number, k.shape[2] as number];
    let scores = attentionScores(q, k, scale);
    for (const mask of causal ? [causalMask(length, sources), ...masks] : masks)
      scores = maskScores('MultiheadAttention', scores, mask);
    const weights = softmax(scores, -1);
    return this.training && this.dropout > 0 ? dropout(weights, this.dropout) : weights;
  }

  /** Query, key and value [N, L, features] by head: [N, heads, L, headDim]. */
  private project(query: Tensor, key: Tensor, value: Tensor): [Tensor, Tensor, Tensor] {
    const { embedDim: e, inProjWeight, inProjBias } = this;
    const [n, length] = query.shape as [number, number];
    if (inProjWeight !== null && query === key && query === value) {
      const all = linear(query, inProjWeight, inProjBias);
      const byHead = permute(reshape(all, n, length, 3, this.numHeads, this.headDim), 2, 0, 3, 1, 4);
      return unbind(byHead, 0) as [Tensor, Tensor, Tensor];
    }
    const weights =
      inProjWeight !== null ? split(inProjWeight, e) : [this.qProjWeight, this.kProjWeight, this.vProjWeight];
    const biases = inProjBias && split(inProjBias, e);
    return [query, key, value].map((x, i) => {
      const y = linear(x, weights[i] as Tensor, biases && (biases[i] as Tensor));
      return permute(reshape(y, n, x.shape[1] as number, this.numHeads, this.headDim), 0, 2, 1, 3);
    }) as [Tensor, Tensor, Tensor];
  }

  /**
   * Keys or values by head [N, heads, S, headDim] with a learned one and one of zeros, where there are such.
   */
  private withMore(x: Tensor, learned: Parameter | null): Tensor {
    const shape = [x.shape[0] as number, this.numHeads, 1, this.headDim];
    const own = learned && expand(reshape(learned, [1, this.numHeads, 1, this.headDim]), shape);
    const all = own === null ? x : cat([x, own], 2);
    return this.addZeroAttn ? padded(all, 2, 1) : all;
  }

  private check(query: Tensor, key: Tensor, value: Tensor): void {
    const shapes = [query, key, value].map((x) => showShape(x.shape)).join(', ');
    if ((query.ndim !== 2 && query.ndim !== 3) || key.ndim !== query.ndim || value.ndim !== query.ndim)
      throw new Error(
        `MultiheadAttention: query, key and value must all have 3 dims, or 2 without a batch; got ${shapes}`,
      );
    const want = [this.embedDim, this.kdim, this.vdim];
    [query, key, value].forEach((x, i) => {
      if (x.shape.at(-1) !== want[i])
        throw new Error(
          `MultiheadAttention: the last dim of ${['query', 'key', 'value'][i]} must be ${want[i]}, got shapes ${shapes}`,
        );
    });
    const batch = query.ndim === 2 ? null : this.batchFirst ? 0 : 1;
    const length = batch === 1 || query.ndim === 2 ? 0 : 1;
    if (key.shape[length] !== value.shape[length])
      throw new Error(`MultiheadAttention: key and value differ in length: ${shapes}`);
    if (
      batch !== null &&
      (key.shape[batch] !== query.shape[batch] || value.shape[batch] !== query.shape[batch])
    )
      throw new Error(`MultiheadAttention: the batch sizes (dim ${batch}) differ: ${shapes}`);
  }

  private headMask(mask: Tensor, n: number, length: number, sources: number): Tensor {
    const flat = showShape([length, sources]);
    const full = showShape([n * this.numHeads, length, sources]);
    const shape = showShape(mask.shape);
    if (shape === flat) return mask;
    if (shape === full) return reshape(mask, n, this.numHeads, length, sources);
    throw new Error(`MultiheadAttention: attnMask must have shape ${flat} or ${full}, got ${shape}`);
  }

  private paddingMask(mask: Tensor, n: number, sources: number): Tensor {
    const want = mask.ndim === 1 ? [sources] : [n, sources];
    if (showShape(mask.shape) !== showShape(want) || (mask.ndim === 1 && n !== 1))
      throw new Error(
        `MultiheadAttention: keyPaddingMask must have shape ${showShape([n, sources])}, got ${showShape(mask.shape)}`,
      );
    return reshape(mask, mask.ndim === 1 ? 1 : n, 1, 1, sources);
  }
}
