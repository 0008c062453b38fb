import { defineComposite } from '../../autograd/define.js';
import { optionReader, type Trailing } from '../../tensor/options.js';
import { broadcastShapes, sameShape, showShape } from '../../tensor/shape.js';
import type { Tensor } from '../../tensor/tensor.js';
import { to } from '../base/copy.js';
import { expand, reshape, unsqueeze } from '../base/view.js';
import { matmul } from '../matmul/matmul.js';
import { dropout } from '../random/dropout.js';
import { attentionWeights, checkMask, repeatHeads, type Looking } from './attention-weights.js';
import { fusedAttention } from './fused-attention.js';

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
  /**
   * Keys and values have fewer heads (dim -3) than the queries, each for as many neighbouring query heads
   * (Ainslie et al. 2023, https://arxiv.org/abs/2305.13245). Default false.
   */
  enableGqa?: boolean;
}

const op = 'scaledDotProductAttention';

function checkOperands(q: Tensor, k: Tensor, v: Tensor): void {
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

/** How many query heads share a head of keys and values. */
function groupOf(q: Tensor, k: Tensor, v: Tensor): number {
  const [heads, keyHeads, valueHeads] = [q, k, v].map((x) => x.shape.at(-3));
  const group = (heads ?? NaN) / (keyHeads ?? NaN);
  if (keyHeads !== valueHeads || !Number.isInteger(group))
    throw new Error(
      `${op}: with enableGqa key and value must have as many heads (dim -3), which divide the query's; got ` +
        [q, k, v].map((x) => showShape(x.shape)).join(', '),
    );
  return group;
}

/** {@link fusedAttention} of operands whose leading dims broadcast; null where it does not apply. */
function fusedOverBatch(q: Tensor, k: Tensor, v: Tensor, how: Looking, group: number): Tensor | null {
  const length = q.shape.at(-2) as number;
  const sources = k.shape.at(-2) as number;
  // Of grouped heads only the dims before them broadcast.
  const lead = (x: Tensor): number[] => x.shape.slice(0, group === 1 ? -2 : -3);
  const shared = [k, v].reduce((shape, x) => broadcastShapes(op, shape, lead(x)), lead(q));
  const headed = (x: Tensor): Tensor => {
    const own = group === 1 ? [] : [x.shape.at(-3) as number];
    return asHeads(expandTo(x, [...shared, ...own, ...x.shape.slice(-2)]));
  };
  const [x, y, z] = [q, k, v].map(headed) as [Tensor, Tensor, Tensor];
  const scores = [...shared, ...(group === 1 ? [] : [q.shape.at(-3) as number]), length, sources];
  const given = how.mask;
  // One that makes the result larger is left to the ordinary ops.
  if (given !== null && !sameShape(broadcastShapes(op, scores, given.shape), scores)) return null;
  const mask = given && asHeads(expandTo(given.dtype === 'bool' ? given : to(given, 'float32'), scores));
  const out = fusedAttention(x, y, z, { ...how, mask }, true);
  return out && reshape(out, [...scores.slice(0, -1), v.shape.at(-1) as number]);
}

const expandTo = (x: Tensor, shape: readonly number[]): Tensor =>
  sameShape(x.shape, shape) ? x : expand(x, [...shape]);

/** [..., heads, rows, numbers] as [N, heads, rows, numbers]. */
const asHeads = (x: Tensor): Tensor =>
  x.ndim === 4
    ? x
    : x.ndim < 4
      ? unsqueeze(x.ndim === 2 ? unsqueeze(x, 0) : x, 0)
      : reshape(x, [-1, ...x.shape.slice(-3)]);

type AttentionArgs = Trailing<
  [attnMask: Tensor | null, dropoutP: number, isCausal: boolean],
  AttentionOptions
>;
const readAttention = optionReader<
  Required<Omit<AttentionOptions, 'scale'>> & Pick<AttentionOptions, 'scale'>
>(
  'scaledDotProductAttention',
  { attnMask: null, dropoutP: 0, isCausal: false, scale: undefined, enableGqa: false },
  'attnMask',
  'dropoutP',
  'isCausal',
);

/**
 * `torch.nn.functional.scaled_dot_product_attention` (Vaswani et al. 2017, https://arxiv.org/abs/1706.03762,
 * equation 1): `softmax(q k^T * scale + mask) v` of q [..., L, E], k [..., S, E] and v [..., S, Ev], giving
 * [..., L, Ev]. As in PyTorch, a query that may look at nothing gives NaN.
 *
 * Scores are kept on the chip (Dao et al. 2022, https://arxiv.org/abs/2205.14135), so that memory grows with
 * L and S, not with their product; with dropout, a mask that wants a gradient or heads of more than 256
 * numbers they are a tensor.
 */
export const scaledDotProductAttention: (
  query: Tensor,
  key: Tensor,
  value: Tensor,
  ...args: AttentionArgs
) => Tensor = defineComposite(
  'scaledDotProductAttention',
  (q: Tensor, k: Tensor, v: Tensor, ...args: AttentionArgs): Tensor => {
    const { attnMask, dropoutP, isCausal, scale, enableGqa } = readAttention(args);
    checkOperands(q, k, v);
    if (isCausal && attnMask !== null) throw new Error(`${op}: give attnMask or isCausal, not both`);
    if (attnMask !== null) checkMask(op, attnMask);
    const group = enableGqa ? groupOf(q, k, v) : 1;
    const factor = scale ?? 1 / Math.sqrt(q.shape.at(-1) as number);
    const how = { mask: attnMask, shown: true, causal: isCausal, scale: factor };
    const fused = dropoutP === 0 ? fusedOverBatch(q, k, v, how, group) : null;
    if (fused !== null) return fused;
    const weights = attentionWeights(op, q, repeatHeads(k, group), how);
    return matmul(dropout(weights, dropoutP), repeatHeads(v, group));
  },
);
