/**
 * Reductions over any set of dimensions, of any pointwise map of several inputs.
 *
 *     const plan = planReduce(target, {
 *       name: 'sum', op: 'sum', dims: [0, 2, 3],
 *       map: e.mul(e.input(0), e.input(1)),          // default: input 0
 *       inputs: [g, y],                              // Tensors or {dtype, shape, strides, offset}, broadcast
 *       outputs: [out],                              // with or without the reduced dimensions
 *       maxBinding, offsetAlignment,
 *     });
 *
 * Buffers are `in0 ..`, `out0 ..` and the workspace `partials`. `finish` maps the results of the op to the
 * outputs: for most ops input(0) is the result; `moments` gives the mean and the sum of squared deviations,
 * `scaledMoments` these of scaled deviations, and the scale,
 * `argmax`/`argmin` the value and the index (i32, row-major over the reduced dimensions). In `map` and
 * `finish` the f32 param `count` is the number of reduced elements. A bool or uint8 map must be cast
 * (`e.cast(x, 'i32')`). See {@link reductions} for ready-made recipes.
 *
 * Sums are accumulated in blocks of about the square root of the length, in four lanes or more, so the error
 * stays near that of pairwise summation. An empty reduction gives the neutral element. Results are
 * bit-identical from run to run.
 */
import { collapseDims, broadcastStrides, extent, numelOf } from '../base/collapse.js';
import { dtypeInfo } from '../base/dtype.js';
import { e, input, param, type Expr, type ExprLike } from '../expr/expr.js';
import * as fn from '../expr/functions.js';
import { foldGrid, type Grid, type ParamField, type Target } from '../base/kernel.js';
import { PlanCache, planKey, type PlanKey } from '../base/plan-cache.js';
import { withParams, type BufferRef, type Launch, type Plan } from '../base/plan.js';
import { paramTypes, type PointwiseOperand } from '../pointwise/plan.js';
import {
  reduceKernel,
  teamsGroup,
  threadsPerGroup,
  type ReduceAccess,
  type ReduceMode,
  type ReduceSpec,
} from './kernel.js';
import { joinShare, shareSteps, type Share } from './share.js';
import { resultTypes, stateWords } from './states.js';
import type { ReduceOp } from './reducer.js';

export type { ReduceOp } from './reducer.js';

export interface ReduceProblem {
  readonly name: string;
  readonly op: ReduceOp;
  /** Dimensions to reduce, of the broadcast shape; negative ones count from the end. */
  readonly dims: readonly number[];
  readonly inputs: readonly PointwiseOperand[];
  /** Shape over which inputs broadcast; that of the first input by default. */
  readonly shape?: readonly number[];
  readonly map?: Expr;
  /** For `exactDot`: what each value of the map is multiplied by. */
  readonly factor?: Expr;
  /** One per output; by default the first result (for argmax and argmin: the index). */
  readonly finish?: readonly Expr[];
  readonly outputs: readonly PointwiseOperand[];
  readonly paramNames?: readonly string[];
  readonly params?: readonly number[];
  readonly maxBinding?: number;
  readonly offsetAlignment?: number;
}

/** What op, map and finish make of a PyTorch reduction over inputs of expression type f32. */
export interface Reduction {
  readonly op: ReduceOp;
  readonly map?: Expr;
  readonly factor?: Expr;
  readonly finish?: readonly Expr[];
}

const x = input(0);
const count = param('count');

/** Recipes in terms of `input(0)`; outputs in the order given. */
export const reductions = {
  sum: { op: 'sum' },
  mean: { op: 'sum', finish: [e.div(x, count)] },
  prod: { op: 'prod' },
  amax: { op: 'max' },
  amin: { op: 'min' },
  /** Outputs: index; or with `finish: [input(0), input(1, 'i32')]` value and index. */
  argmax: { op: 'argmax' },
  argmin: { op: 'argmin' },
  logsumexp: { op: 'logsumexp' },
  /** Of a bool input; for numbers use `map: e.cast(e.cast(x, 'bool'), 'u32')`. */
  any: { op: 'max', map: e.cast(input(0, 'bool'), 'u32') },
  all: { op: 'min', map: e.cast(input(0, 'bool'), 'u32') },
  /** Outputs: variance with param `correction` (1: unbiased), mean. */
  varMean: { op: 'moments', finish: [e.div(input(1), e.maximum(e.sub(count, param('correction')), 0)), x] },
  /**
   * Likewise the standard deviation, from a root of input(1) and a scale (states.ts), and the mean.
   */
  stdMean: {
    op: 'scaledMoments',
    finish: [e.div(e.sqrt(e.div(input(1), e.maximum(e.sub(count, param('correction')), 0))), input(2)), x],
  },
  norm1: { op: 'sum', map: e.abs(x) },
  norm2: { op: 'sum', map: e.square(x), finish: [e.sqrt(x)] },
  normInf: { op: 'max', map: e.abs(x) },
  /** Number of non-zero elements. */
  norm0: { op: 'sum', map: e.cast(e.ne(x, 0), 'f32') },
} as const satisfies Readonly<Record<string, Reduction>>;

/** sum(|x|^p)^(1/p), for p other than 0, 1, 2 and infinity. */
export const normP = (p: ExprLike): Reduction => ({
  op: 'sum',
  map: fn.pow(e.abs(x), p),
  finish: [fn.pow(x, e.div(1, p))],
});

/** One operand over the collapsed kept and reduced dimensions, in elements. */
interface Placed {
  readonly dtype: PointwiseOperand['dtype'];
  readonly kept: readonly number[];
  readonly reduced: readonly number[];
  readonly offset: number;
}

/** A part of the iteration space whose operands each fit one binding. */
interface Box {
  readonly kept: readonly number[];
  readonly reduced: readonly number[];
  readonly inputs: readonly Placed[];
  readonly outputs: readonly Placed[];
  /** First reduced element of this box in the whole reduction. */
  readonly start: number;
}

const plans = new PlanCache<Plan>();

export function planReduce(target: Target, problem: ReduceProblem): Plan {
  const plan = plans.get(keyOf(target, problem), () => makePlan(target, problem));
  return { launches: withParams(plan.launches, problem.params), workspaces: plan.workspaces };
}

function keyOf(target: Target, problem: ReduceProblem): PlanKey {
  const { map, factor, finish = [], paramNames = [] } = problem;
  const key = planKey(target, problem).text(problem.name).text(problem.op);
  key.numbers(problem.dims).numbers(problem.shape ?? []);
  key.number(problem.shape === undefined ? 0 : 1);
  key.number(map?.id ?? -1).number(factor?.id ?? -1);
  key.number(finish.length);
  for (const expr of finish) key.number(expr.id);
  key.number(paramNames.length);
  for (const name of paramNames) key.text(name);
  return key.layouts(problem.inputs).layouts(problem.outputs);
}

function makePlan(target: Target, problem: ReduceProblem): Plan {
  const { name, inputs, outputs } = problem;
  const shape = problem.shape ?? inputs[0]!.shape;
  const reducedDims = new Set(problem.dims.map((d) => (d < 0 ? d + shape.length : d)));
  for (const d of reducedDims) {
    if (d < 0 || d >= shape.length)
      throw new Error(`${name}: dimension ${d} of a shape [${shape}] does not exist`);
  }
  const keptDims = shape.map((_, d) => d).filter((d) => !reducedDims.has(d));
  const order = shape.map((_, d) => d).filter((d) => reducedDims.has(d));
  const keptShape = keptDims.map((d) => shape[d]!);
  const reducedShape = order.map((d) => shape[d]!);
  const inStrides = inputs.map((t) => broadcastStrides(name, t, shape));
  const outStrides = outputs.map((t) => keptStrides(name, t, shape, keptDims));
  const kept = collapseDims(keptShape, [...inStrides.map((s) => keptDims.map((d) => s[d]!)), ...outStrides]);
  // Indices count in row-major order, so argmax and argmin may not reorder what they reduce.
  const ordered = problem.op === 'argmax' || problem.op === 'argmin';
  const reduced = collapseDims(
    reducedShape,
    inStrides.map((s) => order.map((d) => s[d]!)),
    ordered ? -1 : 0,
  );
  if (numelOf(keptShape) === 0) return { launches: [], workspaces: {} };

  const whole: Box = {
    kept: kept.sizes,
    reduced: reduced.sizes,
    inputs: inputs.map((t, k) => ({
      dtype: t.dtype,
      kept: kept.strides[k]!,
      reduced: reduced.strides[k]!,
      offset: t.offset,
    })),
    outputs: outputs.map((t, j) => ({
      dtype: t.dtype,
      kept: kept.strides[inputs.length + j]!,
      reduced: reduced.sizes.map(() => 0),
      offset: t.offset,
    })),
    start: 0,
  };
  const launches: Launch[] = [];
  let scratch = 0;
  for (const parts of cut(whole, problem)) {
    const made = planBoxes(target, problem, parts, numelOf(reducedShape));
    launches.push(...made.launches);
    scratch = Math.max(scratch, made.scratch);
  }
  return { launches, workspaces: scratch > 0 ? { partials: scratch } : {} };
}

/** Strides of an output over the kept dimensions. */
function keptStrides(
  name: string,
  t: PointwiseOperand,
  shape: readonly number[],
  keptDims: readonly number[],
): number[] {
  const full = t.shape.length === shape.length;
  const fits =
    (full || t.shape.length === keptDims.length) &&
    numelOf(t.shape) === numelOf(keptDims.map((d) => shape[d]!)) &&
    keptDims.every((d, i) => t.shape[full ? d : i] === shape[d]);
  if (!fits) {
    throw new Error(
      `${name}: an output of shape [${t.shape}] does not fit [${shape}] reduced to dimensions [${keptDims}]`,
    );
  }
  return keptDims.map((d, i) => t.strides[full ? d : i]!);
}

/** Bytes from the start of the binding that operand `o` of a box needs. */
function span(o: Placed, box: Box, align: number): { offset: number; size: number; shift: number } {
  const bytes = dtypeInfo[o.dtype].bytes;
  const [low, high] = extent([...box.kept, ...box.reduced], [...o.kept, ...o.reduced], o.offset);
  const offset = Math.floor((low * bytes) / align) * align;
  return { offset, size: Math.ceil(((high + 1) * bytes - offset) / 16) * 16, shift: offset / bytes };
}

/**
 * Cuts the outermost kept and the outermost reduced dimension into equal parts until every operand of every
 * box fits a binding. One list of boxes per kept part; the boxes of a list differ in what they reduce.
 */
function cut(whole: Box, problem: ReduceProblem): Box[][] {
  const limit = problem.maxBinding ?? Infinity;
  const align = problem.offsetAlignment ?? 256;
  const parts = { kept: 1, reduced: 1 };
  const part = (size: number, n: number, i: number): [number, number] => {
    // Multiples of 4 keep the parts as aligned as the whole.
    const step = size > 4 * n ? Math.ceil(size / n / 4) * 4 : Math.ceil(size / n);
    return [i * step, Math.max(0, Math.min(size, (i + 1) * step) - i * step)];
  };
  const box = (i: number, j: number): Box => {
    const [k0, kn] = part(whole.kept[0]!, parts.kept, i);
    const [r0, rn] = part(whole.reduced[0]!, parts.reduced, j);
    const move = (o: Placed): Placed => ({ ...o, offset: o.offset + k0 * o.kept[0]! + r0 * o.reduced[0]! });
    return {
      kept: parts.kept === 1 ? whole.kept : [kn, ...whole.kept.slice(1)],
      reduced: parts.reduced === 1 ? whole.reduced : [rn, ...whole.reduced.slice(1)],
      inputs: whole.inputs.map(move),
      outputs: whole.outputs.map(move),
      start: r0 * numelOf(whole.reduced.slice(1)),
    };
  };
  for (;;) {
    const first = box(0, 0);
    const big = [...first.inputs, ...first.outputs].find((o) => span(o, first, align).size > limit);
    if (big === undefined) break;
    const reach = (sizes: readonly number[], strides: readonly number[]): number =>
      sizes[0]! > 1 ? Math.abs(sizes[0]! * strides[0]!) : 0;
    const [k, r] = [reach(first.kept, big.kept), reach(first.reduced, big.reduced)];
    if (k === 0 && r === 0) {
      throw new Error(
        `${problem.name}: an operand cannot be cut below the binding limit of ${limit} bytes; make it contiguous first`,
      );
    }
    if (k >= r) parts.kept *= 2;
    else parts.reduced *= 2;
  }
  return Array.from({ length: parts.kept }, (_, i) =>
    Array.from({ length: parts.reduced }, (__, j) => box(i, j)).filter(
      (b, j) => j === 0 || numelOf(b.reduced) > 0,
    ),
  ).filter((list) => numelOf(list[0]!.kept) > 0);
}

interface Access {
  readonly access: ReduceAccess;
  /** Values of `accessParams`. */
  readonly params: readonly number[];
}

/** Access and launch parameters of an operand whose `mode` dimension runs in vec4s. */
function accessOf(o: Placed, mode: ReduceMode, isInput: boolean): Access {
  const strides = [...o.kept, ...o.reduced];
  const dim = mode === 'column' ? o.kept.length - 1 : strides.length - 1;
  const along = mode === 'scalar' || (mode === 'row' && !isInput) ? 0 : strides[dim]!;
  const vec =
    isInput && along === 1 && o.offset % 4 === 0 && strides.every((s, d) => d === dim || s % 4 === 0);
  const inner = along === 0 ? 'one' : vec ? 'vec' : 'lanes';
  const steps = strides.map((s, d) => (inner !== 'one' && d === dim ? (vec ? 1 : 4 * s) : vec ? s / 4 : s));
  const keptSteps = steps.slice(0, o.kept.length);
  const reducedSteps = steps.slice(o.kept.length);
  const moves = (s: readonly number[]): boolean[] => s.map((v) => v !== 0);
  return {
    access: { kept: moves(keptSteps), reduced: moves(reducedSteps), inner },
    params: [
      vec ? o.offset / 4 : o.offset,
      ...[...keptSteps, ...reducedSteps].filter((v) => v !== 0).map((v) => v >>> 0),
      ...(inner === 'lanes' ? [along >>> 0] : []),
    ],
  };
}

function chooseMode(box: Box): ReduceMode {
  const vectors = (mode: ReduceMode): number =>
    box.inputs.filter((o) => accessOf(o, mode, true).access.inner === 'vec').length;
  const row = box.reduced.at(-1)! % 4 === 0 ? vectors('row') : 0;
  const column = box.kept.at(-1)! % 4 === 0 ? vectors('column') : 0;
  if (row === 0 && column === 0) return 'scalar';
  return row >= column ? 'row' : 'column';
}

const vectorised = (sizes: readonly number[], yes: boolean): number[] =>
  sizes.map((n, d) => (yes && d === sizes.length - 1 ? n / 4 : n));

function planBoxes(
  target: Target,
  problem: ReduceProblem,
  boxes: readonly Box[],
  elements: number,
): { launches: Launch[]; scratch: number } {
  const map = problem.map ?? input(0, dtypeInfo[problem.inputs[0]!.dtype].compute);
  if (map.type === 'bool')
    throw new Error(`${problem.name}: a reduction of bool values; cast the map to u32 or i32`);
  const results = resultTypes(problem.op, map.type);
  const last = problem.op === 'argmax' || problem.op === 'argmin' ? 1 : 0;
  const finish = (problem.finish ?? problem.outputs.map(() => input(last, results[last]!))).map((f, j) =>
    e.cast(f, dtypeInfo[problem.outputs[j]!.dtype].compute),
  );
  const types = paramTypes([map, ...(problem.factor ? [problem.factor] : []), ...finish]);
  const names = [...(problem.paramNames ?? [])];
  const values = [...(problem.params ?? [])];
  if (types.has('count') && !names.includes('count')) {
    names.push('count');
    values.push(elements);
  }
  const params = names.map((n): ParamField => [n, types.get(n) ?? 'f32']);

  const align = problem.offsetAlignment ?? 256;
  const limit = problem.maxBinding ?? Infinity;
  const bind = (o: Placed, box: Box, name: string): { ref: BufferRef; placed: Placed } => {
    const { offset, size, shift } = span(o, box, align);
    if (offset + size <= limit) return { ref: { name, offset: 0, size: offset + size }, placed: o };
    return { ref: { name, offset, size }, placed: { ...o, offset: o.offset - shift } };
  };

  const stages = boxes.map((box) => {
    const ins = box.inputs.map((o, k) => bind(o, box, `in${k}`));
    const outs = box.outputs.map((o, j) => bind(o, box, `out${j}`));
    const placed: Box = { ...box, inputs: ins.map((b) => b.placed), outputs: outs.map((b) => b.placed) };
    const mode = chooseMode(placed);
    const keptCounts = vectorised(box.kept, mode === 'column');
    const reducedCounts = vectorised(box.reduced, mode === 'row');
    const items = numelOf(keptCounts);
    const total = numelOf(reducedCounts);
    const along = mode === 'row' || (mode === 'scalar' && Math.abs(placed.inputs[0]!.reduced.at(-1)!) <= 1);
    const share = shareSteps(target, { items, steps: total, along });
    const chunk = Math.max(1, Math.ceil(total / share.chunks));
    return {
      box: placed,
      ins,
      outs,
      mode,
      keptCounts,
      reducedCounts,
      items,
      total,
      share,
      chunk,
      chunks: Math.max(1, Math.ceil(total / chunk)),
    };
  });
  const chunksInAll = stages.reduce((n, s) => n + s.chunks, 0);
  const joins = chunksInAll > 1;
  const outputs = boxes[0]!.outputs;
  const keptItems = numelOf(boxes[0]!.kept);

  const launches: Launch[] = [];
  let before = 0;
  for (const s of stages) {
    const ins = s.box.inputs.map((o) => accessOf(o, s.mode, true));
    const outs = s.box.outputs.map((o) => accessOf(o, s.mode, false));
    const spec: ReduceSpec = {
      name: problem.name,
      of: problem.name,
      op: problem.op,
      map,
      ...(problem.factor && { factor: problem.factor }),
      finish,
      inputs: s.box.inputs.map((o, k) => ({ dtype: o.dtype, access: ins[k]!.access })),
      outputs: s.box.outputs.map((o, j) => ({ dtype: o.dtype, access: outs[j]!.access })),
      mode: s.mode,
      keptRank: s.box.kept.length,
      reducedRank: s.box.reduced.length,
      source: 'map',
      sink: joins ? 'partials' : 'outputs',
      sharing: s.share.sharing,
      params,
    };
    const cells = s.items * s.chunks;
    const start = s.mode === 'row' ? s.box.start / 4 : s.box.start;
    launches.push({
      kernel: reduceKernel(target, spec),
      buffers: [...s.ins.map((b) => b.ref), ...(joins ? ['partials'] : s.outs.map((b) => b.ref))],
      params: [
        ...values,
        ...[cells, s.items, s.total, s.chunk, blockOf(s.chunk), start, before, chunksInAll],
        ...teamParam(s.share),
        ...s.keptCounts.slice(1),
        ...s.reducedCounts.slice(1),
        ...ins.flatMap((a) => a.params),
        ...(joins ? [] : outs.flatMap((a) => a.params)),
      ],
      grid: gridOf(target, cells, s.share),
    });
    before += s.chunks;
  }
  if (!joins) return { launches, scratch: 0 };

  const box = boxes[0]!;
  const bound = outputs.map((o, j) => bind(o, box, `out${j}`));
  const outs = bound.map((b) => accessOf(b.placed, 'scalar', false));
  const share = joinShare(target, { items: keptItems, steps: chunksInAll });
  const spec: ReduceSpec = {
    name: `${problem.name}Join`,
    of: problem.name,
    op: problem.op,
    map,
    finish,
    inputs: [],
    outputs: outputs.map((o, j) => ({ dtype: o.dtype, access: outs[j]!.access })),
    mode: 'scalar',
    keptRank: box.kept.length,
    reducedRank: 1,
    source: 'partials',
    sink: 'outputs',
    sharing: share.sharing,
    params,
  };
  launches.push({
    kernel: reduceKernel(target, spec),
    buffers: ['partials', ...bound.map((b) => b.ref)],
    params: [
      ...values,
      ...[keptItems, keptItems, chunksInAll, chunksInAll, blockOf(chunksInAll), 0, 0, chunksInAll],
      ...teamParam(share),
      ...box.kept.slice(1),
      ...outs.flatMap((a) => a.params),
    ],
    grid: gridOf(target, keptItems, share),
  });
  return { launches, scratch: 4 * stateWords(problem.op) * chunksInAll * keptItems };
}

const teamParam = ({ sharing, team }: Share): number[] => (sharing === 'alone' ? [] : [team]);

function gridOf(target: Target, cells: number, { sharing, team }: Share): Grid {
  const perGroup = sharing === 'alone' ? threadsPerGroup(target, sharing) : teamsGroup / team;
  return foldGrid(Math.ceil(cells / perGroup));
}

/** Elements summed on their own before they join the chunk's sum. */
const blockOf = (chunk: number): number => Math.max(32, Math.ceil(Math.sqrt(chunk)));
