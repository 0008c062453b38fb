/** Attention made of ordinary ops: scores, masks and weights as tensors. */
import { isFloatingPoint } from '../../tensor/dtype.js';
import type { Tensor } from '../../tensor/tensor.js';
import { to } from '../base/copy.js';
import { sumDims } from '../base/sum-to.js';
import { expand, reshape, transpose, unsqueeze } from '../base/view.js';
import { ones } from '../creation/creation.js';
import { matmul } from '../matmul/matmul.js';
import { logicalNot } from '../pointwise/compare.js';
import { add, mul, sub } from '../pointwise/pointwise.js';
import { maskedFill } from '../pointwise/where.js';
import { softmax } from '../reduce/softmax.js';
import { triu } from '../shape/join.js';

/** How queries look at keys. */
export interface Looking {
  /** Broadcasts to the scores. bool; or float, added to them. */
  readonly mask: Tensor | null;
  /** Of a bool mask: true means that a query may look at a key; else that it must not. */
  readonly shown: boolean;
  /** Queries look at keys up to their own position only. */
  readonly causal: boolean;
  /** Factor of the products. */
  readonly scale: number;
}

/** @internal True where a query of `length` must not look at a key of `sources` that comes after it. */
export const causalMask = (length: number, sources: number): Tensor =>
  to(triu(ones(length, sources), 1), 'bool');

/** @internal Scores [..., L, S] with a mask on them; a bool mask is true where a query must not look. */
export function maskScores(op: string, scores: Tensor, mask: Tensor): Tensor {
  if (mask.dtype === 'bool') return maskedFill(scores, mask, -Infinity);
  checkMask(op, mask);
  return add(scores, to(mask, scores.dtype));
}

/** @internal */
export function checkMask(op: string, mask: Tensor): void {
  if (mask.dtype !== 'bool' && !isFloatingPoint(mask.dtype))
    throw new Error(`${op}: a mask must be bool or float, got ${mask.dtype}; convert it with .to('bool')`);
}

/** @internal `scale * q k^T`: q [..., L, E] and k [..., S, E] give [..., L, S]. */
export function attentionScores(q: Tensor, k: Tensor, scale: number): Tensor {
  // The query is the smaller one to scale, and the products stay in float16's range.
  return matmul(mul(q, scale), transpose(k, -2, -1));
}

/** Where a query must not look, of a bool mask. */
const hiddenBy = (mask: Tensor, shown: boolean): Tensor => (shown ? logicalNot(mask) : mask);

/** @internal The weights [..., L, S] by which queries take the values of keys. */
export function attentionWeights(op: string, q: Tensor, k: Tensor, how: Looking): Tensor {
  const { mask, shown, causal, scale } = how;
  // float16 holds scores up to 65504 only.
  let scores = attentionScores(to(q, 'float32'), to(k, 'float32'), scale);
  if (causal) {
    const [rows, columns] = scores.shape.slice(-2) as [number, number];
    scores = maskScores(op, scores, causalMask(rows, columns));
  }
  if (mask !== null) scores = maskScores(op, scores, mask.dtype === 'bool' ? hiddenBy(mask, shown) : mask);
  return to(softmax(scores, -1), q.dtype);
}

/** @internal Each of the heads [..., H, S, E] `group` times, one behind the other. */
export function repeatHeads(x: Tensor, group: number): Tensor {
  if (group === 1) return x;
  const at = x.ndim - 2;
  const shape = [...x.shape.slice(0, at), group, ...x.shape.slice(at)];
  const flat = [...x.shape];
  flat[at - 1] = (flat[at - 1] as number) * group;
  return reshape(expand(unsqueeze(x, at), shape), flat);
}

/** The sum of each `group` heads of [N, H, S, E]. */
function sumHeads(x: Tensor, group: number): Tensor {
  if (group === 1) return x;
  const [n, h, s, e] = x.shape as [number, number, number, number];
  return sumDims(reshape(x, [n, h / group, group, s, e]), [2], false);
}

/**
 * @internal The gradients of query, key and value [N, heads, rows, numbers] for the gradient `g` of the
 * result, made of ordinary ops, so that they can be differentiated again.
 */
export function attentionGradients(
  q: Tensor,
  k: Tensor,
  v: Tensor,
  g: Tensor,
  how: Looking,
): (() => Tensor)[] {
  const group = (q.shape[1] as number) / (k.shape[1] as number);
  const [keys, values] = [repeatHeads(k, group), repeatHeads(v, group)];
  const weights = attentionWeights('scaledDotProductAttention', q, keys, how);
  const pulled = mul(weights, matmul(g, transpose(values, -2, -1)));
  let scores = mul(sub(pulled, mul(weights, sumDims(pulled, [3], true))), how.scale);
  // No gradient flows where a score was filled in, in rows of NaN either.
  if (how.mask?.dtype === 'bool') scores = maskedFill(scores, hiddenBy(how.mask, how.shown), 0);
  return [
    () => matmul(scores, keys),
    () => sumHeads(matmul(transpose(scores, -2, -1), q), group),
    () => sumHeads(matmul(transpose(weights, -2, -1), g), group),
  ];
}
