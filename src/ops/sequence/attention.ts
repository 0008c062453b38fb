import { defineComposite } from '../../autograd/define.js';
import { isFloatingPoint } from '../../tensor/dtype.js';
import { showShape } from '../../tensor/shape.js';
import type { Tensor } from '../../tensor/tensor.js';
import { logicalNot } from '../pointwise/compare.js';
import { to } from '../base/copy.js';
import { ones } from '../creation/creation.js';
import { dropout } from '../random/dropout.js';
import { triu } from '../shape/join.js';
import { matmul } from '../matmul/matmul.js';
import { add, mul } from '../pointwise/pointwise.js';
import { softmax } from '../reduce/softmax.js';
import { transpose } from '../base/view.js';
import { maskedFill } from '../pointwise/where.js';
import { optionReader, type Trailing } from '../../tensor/options.js';

export interface AttentionOptions {
  /**
   * Broadcasts to [..., L, S]. bool: true where a query may look at a key. Float: added to the scores.
   */
  attnMask?: Tensor | null;
  /** Probability that a weight is dropped; give 0 in evaluation. Default 0. */
  dropoutP?: number;
  /** A query looks at keys up to its own position only; excludes `attnMask`. */
  isCausal?: boolean;
  /** Factor of the scores. Default 1 / sqrt(E). */
  scale?: number;
}

/** @internal Scores [..., L, S] with a mask on them; a bool mask is true where a query must not look. */
export function maskScores(op: string, scores: Tensor, mask: Tensor): Tensor {
  if (mask.dtype === 'bool') return maskedFill(scores, mask, -Infinity);
  if (!isFloatingPoint(mask.dtype))
    throw new Error(`${op}: a mask must be bool or float, got ${mask.dtype}; convert it with .to('bool')`);
  return add(scores, to(mask, scores.dtype));
}

/** @internal `scale * q k^T`: q [..., L, E] and k [..., S, E] give [..., L, S]. */
export function attentionScores(q: Tensor, k: Tensor, scale: number): Tensor {
  // The query is the smaller one to scale, and the products stay in float16's range.
  return matmul(mul(q, scale), transpose(k, -2, -1));
}

function checkOperands(q: Tensor, k: Tensor, v: Tensor): void {
  const op = 'scaledDotProductAttention';
  if (q.ndim < 2 || k.ndim < 2 || v.ndim < 2)
    throw new Error(
      `${op}: query, key and value need at least 2 dims, got ${[q, k, v].map((x) => showShape(x.shape)).join(', ')}`,
    );
  if (q.shape.at(-1) !== k.shape.at(-1))
    throw new Error(
      `${op}: the last dims of query ${showShape(q.shape)} and key ${showShape(k.shape)} must be equal`,
    );
  if (k.shape.at(-2) !== v.shape.at(-2))
    throw new Error(`${op}: key ${showShape(k.shape)} and value ${showShape(v.shape)} differ in length`);
}

type AttentionArgs = Trailing<
  [attnMask: Tensor | null, dropoutP: number, isCausal: boolean],
  AttentionOptions
>;
const readAttention = optionReader<
  Required<Omit<AttentionOptions, 'scale'>> & Pick<AttentionOptions, 'scale'>
>(
  'scaledDotProductAttention',
  { attnMask: null, dropoutP: 0, isCausal: false, scale: undefined },
  'attnMask',
  'dropoutP',
  'isCausal',
);

/**
 * `torch.nn.functional.scaled_dot_product_attention` (Vaswani et al. 2017, https://arxiv.org/abs/1706.03762,
 * equation 1): `softmax(q k^T * scale + mask) v` of q [..., L, E], k [..., S, E] and v [..., S, Ev], giving
 * [..., L, Ev]. As in PyTorch, a query that may look at nothing gives NaN.
 */
export const scaledDotProductAttention: (
  query: Tensor,
  key: Tensor,
  value: Tensor,
  ...args: AttentionArgs
) => Tensor = defineComposite(
  'scaledDotProductAttention',
  (q: Tensor, k: Tensor, v: Tensor, ...args: AttentionArgs): Tensor => {
    const { attnMask, dropoutP, isCausal, scale } = readAttention(args);
    checkOperands(q, k, v);
    if (isCausal && attnMask !== null)
      throw new Error('scaledDotProductAttention: give attnMask or isCausal, not both');
    let scores = attentionScores(q, k, scale ?? 1 / Math.sqrt(q.shape.at(-1) as number));
    if (isCausal) {
      const [rows, columns] = scores.shape.slice(-2) as [number, number];
      scores = maskScores('scaledDotProductAttention', scores, to(triu(ones(rows, columns), 1), 'bool'));
    } else if (attnMask !== null) {
      const mask = attnMask.dtype === 'bool' ? logicalNot(attnMask) : attnMask;
      scores = maskScores('scaledDotProductAttention', scores, mask);
    }
    return matmul(dropout(softmax(scores, -1), dropoutP), v);
  },
);
