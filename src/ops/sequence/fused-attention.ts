/** Attention in one launch, without its scores in memory. */
import { runtime } from '../../device/index.js';
import { defineOp } from '../../autograd/define.js';
import { isGradEnabled } from '../../autograd/mode.js';
import {
  largestHead,
  planAttention,
  planAttentionGrad,
  prefersFused,
  statsBytes,
  type AttentionProblem,
  type Place,
} from '../../kernels/attention/plan.js';
import { roundUp } from '../../kernels/base/plan.js';
import type { DType } from '../../tensor/dtype.js';
import { contiguousStrides } from '../../tensor/shape.js';
import { Tensor } from '../../tensor/tensor.js';
import { copyAs, copyInto, fillInto } from '../base/copies.js';
import { noteMultiplyAdds } from '../base/count-work.js';
import { elemOf, planLimits, runPlan } from '../base/run-plan.js';
import { attentionGradients, type Looking } from './attention-weights.js';

const name = 'scaledDotProductAttention';

type Heads = readonly [n: number, heads: number, rows: number, numbers: number];
const sizes = (x: Tensor): Heads => x.shape as unknown as Heads;

/** `x` [N, heads, rows, numbers] where the kernels can read it as vec4, or a copy. */
function readable(x: Tensor): Tensor {
  const [n, heads, rows, numbers] = sizes(x);
  if (numbers % 4 !== 0) {
    const out = Tensor.empty([n, heads, rows, roundUp(numbers, 4)], x.dtype, name);
    fillInto(out, 0, false);
    copyInto(out.alias(x.shape, out.strides), x);
    return out;
  }
  const inFours = [...x.strides.slice(0, 3), x.offset].every((v) => v >= 0 && v % 4 === 0);
  return x.strides[3] === 1 && inFours ? x : copyAs(x, contiguousStrides(x.shape), false);
}

const placeOf = ({ strides: [batch, head, row], offset }: Tensor): Place => ({
  batch: batch as number,
  head: head as number,
  row: row as number,
  offset,
});

/**
 * A blank [N, heads, rows, numbers], with the heads of a row side by side in memory where `apart` is false;
 * rows of vec4.
 */
function blank([n, heads, rows, numbers]: Heads, dtype: DType, apart: boolean): Tensor {
  const width = roundUp(numbers, 4);
  if (apart) return Tensor.empty([n, heads, rows, width], dtype, name);
  const out = Tensor.empty([n, rows, heads, width], dtype, name);
  return out.alias([n, heads, rows, width], [rows * heads * width, width, heads * width, 1], 0);
}

/** Without the numbers that fill the last vec4. */
function trimmed(x: Tensor, [n, heads, rows, numbers]: Heads): Tensor {
  if (x.shape[3] === numbers) return x;
  const shape = [n, heads, rows, numbers];
  return copyAs(x.alias(shape, x.strides), contiguousStrides(shape), false);
}

/** Whether the rows of each head lie together, as in a row-major tensor. */
const isApart = ({ shape, strides }: Tensor): boolean =>
  shape[1] === 1 || (strides[1] as number) >= (strides[2] as number);

function problemOf(
  q: Tensor,
  k: Tensor,
  v: Tensor,
  { mask, shown, causal, scale }: Looking,
  others: Readonly<Record<string, Tensor>>,
): AttentionProblem {
  const [batch, queryHeads, queries, depth] = sizes(q);
  const [, heads, keys] = sizes(k);
  const operands = { q, k, v, ...others };
  return {
    elem: elemOf(name, q.dtype),
    batch,
    queryHeads,
    heads,
    queries,
    keys,
    depth,
    width: sizes(v)[3],
    causal,
    scale,
    mask: mask && {
      ...placeOf(mask),
      kind: mask.dtype === 'bool' ? 'bool' : 'float',
      col: mask.strides[3] as number,
      shown,
    },
    places: Object.fromEntries(Object.entries(operands).map(([key, x]) => [key, placeOf(x)])),
  };
}

interface State extends Omit<Looking, 'mask'> {
  /** Heads of the result lie apart in memory. */
  readonly apart: boolean;
}

/** Query [N, H, L, E], key [N, G, S, E], value [N, G, S, Ev], mask [N, H, L, S]: [N, H, L, Ev]. */
const fusedOp: (q: Tensor, k: Tensor, v: Tensor, mask: Tensor | null, state: State) => Tensor = defineOp<
  [Tensor, Tensor, Tensor, Tensor | null, State],
  Tensor,
  State
>({
  name,
  forward(ctx, q, k, v, mask, state) {
    ctx.state = state;
    const [n, heads, queries, depth] = sizes(q);
    const [, , keys, width] = sizes(v);
    noteMultiplyAdds(n * heads * queries * keys * (depth + width));
    const [x, y, z] = [q, k, v].map(readable) as [Tensor, Tensor, Tensor];
    const shape: Heads = [n, heads, queries, width];
    const o = blank(shape, q.dtype, state.apart || width % 4 !== 0);
    const problem = problemOf(x, y, z, { mask, ...state }, { o });
    const stats = Tensor.empty([statsBytes(problem) / 4], 'float32', name);
    const plan = planAttention(runtime().target, planLimits(), problem);
    runPlan(name, plan, { q: x, k: y, v: z, o, stats, mask: mask ?? undefined });
    const out = trimmed(o, shape);
    if (ctx.needs.includes(true)) ctx.save(q, k, v, out, stats, mask);
    return out;
  },
  backward(ctx, grad) {
    const [q, k, v, o, stats, mask] = ctx.saved as [Tensor, Tensor, Tensor, Tensor, Tensor, Tensor | null];
    const { state } = ctx;
    if (isGradEnabled()) return attentionGradients(q, k, v, grad, { mask, ...state });
    const wantsKeys = ctx.needs[1] === true || ctx.needs[2] === true;
    const [n, heads, queries, depth] = sizes(q);
    const [, , keys, width] = sizes(v);
    noteMultiplyAdds((wantsKeys ? 2 : 1) * n * heads * queries * keys * (depth + width));
    const [x, y, z, out, g] = [q, k, v, o, grad].map(readable) as [Tensor, Tensor, Tensor, Tensor, Tensor];
    const like = (t: Tensor): Tensor => blank(sizes(t), t.dtype, isApart(t) || sizes(t)[3] % 4 !== 0);
    const given = { o: out, g };
    const made: Record<string, Tensor> = { dq: like(q), ...(wantsKeys && { dk: like(k), dv: like(v) }) };
    const problem = problemOf(x, y, z, { mask, ...state }, { ...given, ...made });
    const plan = planAttentionGrad(runtime().target, planLimits(), problem, wantsKeys);
    const operands = { q: x, k: y, v: z, ...given, ...made, stats, mask: mask ?? undefined };
    runPlan(`${name}Backward`, plan, operands);
    return [q, k, v].map((t, i) => () => trimmed(made[['dq', 'dk', 'dv'][i] as string] as Tensor, sizes(t)));
  },
});

/**
 * @internal `softmax(scale * q k^T + mask) v` of q [N, H, L, E], k [N, G, S, E] and v [N, G, S, Ev], where G
 * divides H and the mask is of shape [N, H, L, S] (expanded, most often), in one launch; null where
 * ordinary ops must do it: for other dtypes than float32 and float16, heads of more than
 * {@link largestHead} numbers, a mask that wants a gradient, and where the adapter is better off so.
 *
 * @param apart whether the result is row-major; else its heads lie side by side: [N, L, H, Ev] in memory
 */
export function fusedAttention(q: Tensor, k: Tensor, v: Tensor, how: Looking, apart: boolean): Tensor | null {
  const { mask, ...rest } = how;
  const [n, heads, queries, depth] = sizes(q);
  const [, , keys, width] = sizes(v);
  if (q.dtype !== k.dtype || q.dtype !== v.dtype || !['float32', 'float16'].includes(q.dtype)) return null;
  if (depth > largestHead || width > largestHead) return null;
  if (n * heads * queries * keys * depth * width === 0) return null;
  if (mask !== null && mask.requiresGrad && isGradEnabled()) return null;
  const { target } = runtime();
  const recorded = isGradEnabled() && [q, k, v].some((x) => x.requiresGrad);
  const size = { batch: n, heads, queries, keys, causal: how.causal, recorded };
  if (!prefersFused(target, size)) return null;
  return fusedOp(q, k, v, mask, { ...rest, apart });
}
