/** Routing of attention to launches: classes of kernels, and ranges for operands larger than a binding. */
import type { Kernel, Target } from '../base/kernel.js';
import { foldGrid } from '../base/kernel.js';
import {
  bindElements,
  ceilDiv,
  type BufferRef,
  type Elem,
  type Launch,
  type Plan,
  type PlanLimits,
} from '../base/plan.js';
import { PlanCache, planKey, type PlanKey } from '../base/plan-cache.js';
import { blockRows, chooseBlock } from './block.js';
import {
  forwardKernel,
  forwardOperands,
  keyGradKernel,
  keyGradOperands,
  queryGradKernel,
  queryGradOperands,
  type AttentionSpec,
  type MaskKind,
  type OperandName,
} from './kernel.js';

/** How an operand [batch, heads, rows, numbers] lies in memory, in elements; the last stride is 1. */
export interface Place {
  readonly batch: number;
  readonly head: number;
  readonly row: number;
  readonly offset: number;
}

/** A mask over [batch, heads, queries, keys]; strides are 0 where it is the same for all. */
export interface MaskPlace extends Place {
  readonly kind: Exclude<MaskKind, 'none'>;
  readonly col: number;
  /** Of a bool mask: true where a query may look at a key, or where it must not. */
  readonly shown: boolean;
}

/** Sizes; `queryHeads` is a multiple of `heads`, those of keys and values. Strides are multiples of 4. */
export interface AttentionProblem {
  readonly elem: Elem;
  readonly batch: number;
  readonly queryHeads: number;
  readonly heads: number;
  readonly queries: number;
  readonly keys: number;
  /** Numbers of a query or key, and of a value: multiples of 4. */
  readonly depth: number;
  readonly width: number;
  readonly causal: boolean;
  readonly scale: number;
  readonly mask: MaskPlace | null;
  readonly places: Readonly<Partial<Record<OperandName, Place>>>;
}

/** Bytes of `stats`: per query the largest score, the reciprocal sum, and the sum of g * o. */
export const statsBytes = ({ batch, queryHeads, queries }: AttentionProblem): number =>
  12 * batch * queryHeads * queries;

/** The largest head that there are kernels for. */
export const largestHead = 256;

interface Pass {
  readonly name: string;
  readonly kernel: (spec: AttentionSpec) => Kernel;
  readonly operands: readonly OperandName[];
  readonly sums: 1 | 2;
  /** What a block's rows are, and the sums' numbers per row. */
  readonly rows: (p: AttentionProblem) => number;
  readonly width: (p: AttentionProblem) => number;
  /** Heads that the kernel goes by. */
  readonly by: 'queryHeads' | 'heads';
}

const forwardPass: Pass = {
  name: 'forward',
  kernel: forwardKernel,
  operands: forwardOperands,
  sums: 1,
  rows: (p) => p.queries,
  width: (p) => p.width,
  by: 'queryHeads',
};
const queryPass: Pass = {
  ...forwardPass,
  name: 'queries',
  kernel: queryGradKernel,
  operands: queryGradOperands,
  width: (p) => p.depth,
};
const keyPass: Pass = {
  name: 'keys',
  kernel: keyGradKernel,
  operands: keyGradOperands,
  sums: 2,
  rows: (p) => p.keys,
  width: (p) => Math.max(p.depth, p.width),
  by: 'heads',
};

/** A part of the batch: entries from `n` on, heads of keys from `h` on. */
interface Part {
  readonly n: number;
  readonly batch: number;
  readonly h: number;
  readonly heads: number;
}

const perQuery = (name: OperandName): boolean => ['q', 'o', 'g', 'dq'].includes(name);
const asWideAsValues = (name: OperandName): boolean => ['v', 'o', 'g', 'dv'].includes(name);

function launchOf(target: Target, limits: PlanLimits, p: AttentionProblem, pass: Pass, part: Part): Launch {
  const group = p.queryHeads / p.heads;
  const block = chooseBlock(target, pass.width(p), pass.sums);
  const kernel = pass.kernel({ block, elem: p.elem, mask: p.mask?.kind ?? 'none' });
  const blocks = ceilDiv(pass.rows(p), blockRows(block));
  const heads = pass.by === 'heads' ? part.heads : part.heads * group;
  const total = part.batch * heads * blocks;
  // vec4 begin at multiples of their size.
  const aligned = { ...limits, offsetAlignment: Math.max(16, limits.offsetAlignment) };
  const buffers: BufferRef[] = [];
  const places: number[] = [];
  for (const name of pass.operands) {
    const { batch, head, row, offset } = p.places[name] as Place;
    const scale = perQuery(name) ? group : 1;
    const start = offset + part.n * batch + part.h * scale * head;
    const count =
      (part.batch - 1) * batch +
      (part.heads * scale - 1) * head +
      ((perQuery(name) ? p.queries : p.keys) - 1) * row +
      (asWideAsValues(name) ? p.width : p.depth);
    const bound = bindElements(name, start, count, p.elem, aligned);
    buffers.push(bound.ref);
    places.push(...[batch, head, row, bound.offset].map((v) => v / 4));
  }
  const masks: number[] = [];
  if (p.mask !== null) {
    const { batch, head, row, col, offset } = p.mask;
    const start = offset + part.n * batch + part.h * group * head;
    const count =
      (part.batch - 1) * batch +
      (part.heads * group - 1) * head +
      (p.queries - 1) * row +
      (p.keys - 1) * col +
      1;
    const bound = bindElements('mask', start, count, 'f32', aligned);
    buffers.push(bound.ref);
    masks.push(batch, head, row, col, bound.offset);
  }
  if (statsBytes(p) > limits.maxBinding)
    throw new RangeError(`attention: statistics of ${p.queries} queries exceed one binding`);
  buffers.push('stats');
  const params = [
    ...[p.queries, p.keys, p.depth / 4, p.width / 4, heads, group, blocks, total],
    ...[Number(p.causal), Number(p.mask?.shown ?? false), p.scale],
    p.queryHeads * p.queries,
    (part.n * p.queryHeads + part.h * group) * p.queries,
    p.batch * p.queryHeads * p.queries,
    ...masks,
    ...places,
  ];
  return { kernel, buffers, params, grid: foldGrid(total) };
}

/** Cuts the batch, then the heads, until every operand fits a binding. */
function launchesOf(
  target: Target,
  limits: PlanLimits,
  p: AttentionProblem,
  pass: Pass,
  part: Part,
): Launch[] {
  try {
    return [launchOf(target, limits, p, pass, part)];
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    const along = part.batch > 1 ? 'batch' : 'heads';
    const count = part[along];
    if (count < 2) throw error;
    const half = count >> 1;
    const rest = along === 'batch' ? { n: part.n + half } : { h: part.h + half };
    return [
      ...launchesOf(target, limits, p, pass, { ...part, [along]: half }),
      ...launchesOf(target, limits, p, pass, { ...part, ...rest, [along]: count - half }),
    ];
  }
}

const plans = new PlanCache<Plan>();

function keyOf(target: Target, limits: PlanLimits, p: AttentionProblem, passes: readonly Pass[]): PlanKey {
  const key = planKey(target, limits)
    .text('attention')
    .text(p.elem)
    .numbers([
      ...[p.batch, p.queryHeads, p.heads, p.queries, p.keys, p.depth, p.width, Number(p.causal), p.scale],
    ]);
  for (const pass of passes) key.text(pass.name);
  for (const name in p.places) {
    const { batch, head, row, offset } = p.places[name as OperandName] as Place;
    key.text(name).numbers([batch, head, row, offset]);
  }
  if (p.mask === null) return key.text('none');
  const { kind, batch, head, row, col, offset, shown } = p.mask;
  return key.text(kind).numbers([batch, head, row, col, offset, Number(shown)]);
}

function plan(target: Target, limits: PlanLimits, p: AttentionProblem, passes: readonly Pass[]): Plan {
  const whole: Part = { n: 0, batch: p.batch, h: 0, heads: p.heads };
  return plans.get(keyOf(target, limits, p, passes), () => ({
    launches: passes.flatMap((pass) => launchesOf(target, limits, p, pass, whole)),
    workspaces: {},
  }));
}

/**
 * Plans `o = softmax(q k^T * scale + mask) v`. Buffers: q, k, v, mask, o and stats ({@link statsBytes}).
 *
 * @throws RangeError when one head of an operand, or the statistics, exceed a binding
 */
export const planAttention = (target: Target, limits: PlanLimits, problem: AttentionProblem): Plan =>
  plan(target, limits, problem, [forwardPass]);

/**
 * Plans the gradients of queries (`dq`) and, where `keys` is set, of keys and values (`dk`, `dv`) for the
 * gradient `g` of `o`. Buffers: q, k, v, mask, o, g, stats (of the forward pass), dq, dk, dv.
 *
 * @throws RangeError as {@link planAttention}
 */
export const planAttentionGrad = (
  target: Target,
  limits: PlanLimits,
  problem: AttentionProblem,
  keys: boolean,
): Plan => plan(target, limits, problem, keys ? [queryPass, keyPass] : [queryPass]);

/** What decides whether a problem is fused. */
export interface AttentionSize {
  readonly batch: number;
  readonly heads: number;
  readonly queries: number;
  readonly keys: number;
  readonly causal: boolean;
  /** Gradients may be asked for. */
  readonly recorded: boolean;
}

/**
 * Bytes of scores from which a software adapter fuses. Measured there, the forward pass is faster at any
 * length, and with the backward pass where half of the blocks are skipped; but the kernels take seconds to
 * compile, once, which small problems do not earn back.
 */
const worthCompiling = 2 ** 21;
/**
 * The same for backward passes over all blocks, which take up to a sixth longer than those that find the
 * weights in memory: from here on memory matters more.
 */
const worthRecomputing = 2 ** 25;

/**
 * Whether a problem is to be fused on this adapter, rather than made of products and a softmax whose scores
 * are in memory.
 */
export function prefersFused(target: Target, size: AttentionSize): boolean {
  if (target.kind === 'gpu') return true;
  const bytes = 4 * size.batch * size.heads * size.queries * size.keys;
  return bytes >= (size.recorded && !size.causal ? worthRecomputing : worthCompiling);
}
