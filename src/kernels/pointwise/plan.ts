/**
 * Pointwise kernels: any number of inputs, broadcast and strided, any number of outputs of one shape.
 *
 *     const launches = planPointwise(target, {
 *       name: 'addcmul',
 *       exprs: [e.add(e.input(0), e.mul(e.param('value'), e.mul(e.input(1), e.input(2))))],
 *       paramNames: ['value'], params: [0.5],
 *       inputs: [x, a, b], outputs: [y],             // Tensors, or {dtype, shape, strides, offset}
 *       maxBinding, offsetAlignment,
 *     });
 *     launch(launches, [x, a, b, y]);                // src/ops/launch.ts
 *
 * Buffers go by position in [...inputs, ...outputs]. `planPointwise` drops and merges dimensions, orders them
 * by the first output's strides, and picks the widest access that the layouts allow; `pointwiseKernel` writes
 * the WGSL for that choice. In memory order everything runs as vec4; an operand that broadcasts along the
 * inner dimension is read once per vec4, one that is strided there as four scalars.
 */
import { dtypeInfo, type DType, type Width } from '../base/dtype.js';
import { broadcastStrides, collapseDims, extent, numelOf, type OperandLayout } from '../base/collapse.js';
import { e, inputsOf, type Expr } from '../expr/expr.js';
import { PlanCache, planKey, type PlanKey } from '../base/plan-cache.js';
import { foldGrid, type ParamField, type Target } from '../base/kernel.js';
import { withParams, type Launch } from '../base/plan.js';
import { isVector, pointwiseKernel, threadShape, type OperandAccess, type PointwiseSpec } from './kernel.js';

/** A tensor, or what the planner needs of one. */
export interface PointwiseOperand extends OperandLayout {
  readonly dtype: DType;
}

/** One dimension along which an input is looked up: its position moves by `index * stride`. */
export interface Indirect {
  /**
   * i32, over inputs that are not looked up themselves. Negative values count from the end; NaN (or 0) is
   * read outside.
   */
  readonly index: Expr;
  readonly stride: number;
  readonly size: number;
}

export interface PointwiseInput extends PointwiseOperand {
  /**
   * No buffer: the value is `offset` + the sum of coordinate * stride, an int32. With strides [0, 1] it is
   * the column number, say; `arange` and `tril` are made of it.
   */
  readonly iota?: boolean;
  /** Dimensions that are looked up; `strides` are 0 there. `gather` is made of it. */
  readonly indirect?: readonly Indirect[];
}

export interface PointwiseProblem {
  /** Name of the op, for the profiler and for errors. */
  readonly name: string;
  /** One per output, reading inputs by index; cast to the output's type as needed. */
  readonly exprs: readonly Expr[];
  readonly inputs: readonly PointwiseInput[];
  /** All of one shape, to which every input broadcasts. None may overlap itself. */
  readonly outputs: readonly PointwiseOperand[];
  readonly paramNames?: readonly string[];
  readonly params?: readonly number[];
  /**
   * In-place operation: the index of the input that lives in the first output's buffer (-1: none), or for
   * each input the index of the output whose buffer it lives in (-1: none). WebGPU forbids binding a written
   * buffer twice.
   */
  readonly alias?: number | readonly number[];
  /** All outputs lie in the first one's buffer, and are bound once. */
  readonly oneBuffer?: boolean;
  /**
   * Nothing past the outputs' elements may be written (a view of a larger tensor); else up to 12 bytes of
   * padding may.
   */
  readonly exact?: boolean;
  /** Look-ups outside [0, size) raise an error instead of counting from the end or giving NaN. */
  readonly checked?: boolean;
  /** Device limits in bytes; without them buffers are bound whole. */
  readonly maxBinding?: number;
  readonly offsetAlignment?: number;
}

interface Placed {
  readonly dtype: DType;
  readonly strides: readonly number[];
  readonly offset: number;
  readonly iota?: boolean;
  readonly indirect?: readonly Indirect[];
}

const plans = new PlanCache<readonly Launch[]>();

/**
 * Launches that compute every output; several only where a buffer is larger than one binding. None for empty
 * outputs.
 */
export function planPointwise(target: Target, problem: PointwiseProblem): readonly Launch[] {
  const launches = plans.get(keyOf(target, problem), () => makePlan(target, problem));
  return withParams(launches, problem.params);
}

function keyOf(target: Target, problem: PointwiseProblem): PlanKey {
  const { exprs, inputs, outputs, paramNames = [], alias = -1 } = problem;
  const key = planKey(target, problem).text(problem.name);
  const flags =
    Number(problem.exact === true) +
    2 * Number(problem.checked === true) +
    4 * Number(problem.oneBuffer === true);
  key.number(flags + 8 * (typeof alias === 'number' ? alias + 2 : 0));
  if (typeof alias !== 'number') key.numbers(alias);
  key.number(exprs.length).number(paramNames.length);
  for (let j = 0; j < exprs.length; j++) key.number(exprs[j]!.id);
  for (let i = 0; i < paramNames.length; i++) key.text(paramNames[i]!);
  key.layouts(inputs).layouts(outputs);
  for (let k = 0; k < inputs.length; k++) {
    const { iota, indirect } = inputs[k]!;
    if (iota !== true && indirect === undefined) continue;
    key.number(k).number(iota === true ? -1 : (indirect?.length ?? 0));
    for (const { index, stride, size } of indirect ?? []) key.number(index.id).number(stride).number(size);
  }
  return key;
}

function makePlan(target: Target, problem: PointwiseProblem): Launch[] {
  const { name, inputs, outputs } = problem;
  const shape = outputs[0]?.shape;
  if (shape === undefined || problem.exprs.length !== outputs.length) {
    throw new Error(
      `${name}: ${problem.exprs.length} expressions for ${outputs.length} outputs; give one for each`,
    );
  }
  if (numelOf(shape) === 0) return [];
  const rows = [
    ...outputs.map((o) => o.strides),
    ...inputs.map((x) => (x.shape === shape ? x.strides : broadcastStrides(name, x, shape))),
  ];
  const collapsed = collapseDims(shape, rows);
  const place = (o: PointwiseInput, k: number): Placed => ({
    dtype: o.dtype,
    ...(o.iota && { iota: true }),
    ...(o.indirect && { indirect: o.indirect }),
    strides: collapsed.strides[k]!,
    offset: o.offset,
  });
  for (const { indirect = [], dtype } of inputs) {
    const reach =
      indirect.reduce((sum, i) => sum + Math.abs(i.stride) * (i.size - 1), 0) * dtypeInfo[dtype].bytes;
    if (reach >= (problem.maxBinding ?? Infinity)) {
      throw new Error(
        `${name}: the table that indices look up takes ${reach} bytes, the adapter binds at most ${problem.maxBinding}; split it`,
      );
    }
  }
  const placed = [...inputs.map((x, k) => place(x, outputs.length + k)), ...outputs.map(place)];
  const launches: Launch[] = [];
  split(collapsed.sizes, placed, problem, (sizes, operands, windows) =>
    launches.push(launch(target, problem, sizes, operands, windows)),
  );
  return launches;
}

interface Window {
  readonly offset: number;
  readonly size: number;
}

/**
 * Halves the iteration space until what each operand touches fits one binding. The dim to cut is the one that
 * spreads the largest window most: cutting the outermost alone would shred a transposed copy into one launch
 * per element.
 */
function split(
  sizes: readonly number[],
  operands: readonly Placed[],
  problem: PointwiseProblem,
  emitLaunch: (
    sizes: readonly number[],
    operands: readonly Placed[],
    windows: readonly (Window | undefined)[],
  ) => void,
): void {
  const limit = problem.maxBinding ?? Infinity;
  const align = problem.offsetAlignment ?? 256;
  const windows: (Window | undefined)[] = [];
  const moved = operands.map((o, k) => {
    const bytes = dtypeInfo[o.dtype].bytes;
    if (o.iota) return o;
    const reach = o.indirect ?? [];
    const [low, high] = extent(
      [...sizes, ...reach.map((i) => i.size)],
      [...o.strides, ...reach.map((i) => i.stride)],
      o.offset,
    );
    // Room for a whole vec4 at the end: buffers are allocated in multiples of 16 bytes.
    if ((high + 4) * bytes <= limit) return o;
    const start = Math.floor((low * bytes) / align) * align;
    windows[k] = { offset: start, size: Math.ceil(((high + 1) * bytes - start) / 16) * 16 };
    return { ...o, offset: o.offset - start / bytes };
  });
  if (windows.every((w) => w === undefined || w.size <= limit)) {
    emitLaunch(sizes, moved, windows);
    return;
  }
  const worst = windows.reduce((a, w, k) => ((w?.size ?? 0) > (windows[a]?.size ?? 0) ? k : a), 0);
  const spread = (i: number): number =>
    sizes[i]! > 1 ? Math.abs(operands[worst]!.strides[i]!) * (sizes[i]! - 1) + 1 : 0;
  const d = sizes.reduce((best, _, i) => (spread(i) > spread(best) ? i : best), 0);
  if (!(sizes[d]! > 1))
    throw new Error(
      `${problem.name}: one element does not fit the adapter's binding limit of ${limit} bytes`,
    );
  // Cut at a multiple of 4 so that both halves stay aligned where they can.
  const n = sizes[d]!;
  const first = n > 8 ? Math.ceil(n / 8) * 4 : Math.ceil(n / 2);
  const resize = (size: number): number[] => sizes.map((s, i) => (i === d ? size : s));
  split(resize(first), operands, problem, emitLaunch);
  const rest = operands.map((o) => ({ ...o, offset: o.offset + first * o.strides[d]! }));
  split(resize(n - first), rest, problem, emitLaunch);
}

const dense = (sizes: readonly number[], strides: readonly number[]): boolean => {
  let expected = 1;
  for (let d = sizes.length - 1; d >= 0; d--) {
    if (strides[d] !== expected) return sizes.length === 1 && sizes[0] === 1;
    expected *= sizes[d]!;
  }
  return true;
};

/** The cheapest access to operand `k`, for items of `width` elements. */
function accessOf(
  operands: readonly Placed[],
  k: number,
  sizes: readonly number[],
  width: Width,
): OperandAccess {
  const o = operands[k]!;
  const aligned = width === 1 || o.offset % 4 === 0;
  const plain = !o.iota && !o.indirect;
  if (plain && aligned && dense(sizes, o.strides)) return { kind: o.offset === 0 ? 'flat' : 'shifted' };
  if (o.strides.every((s) => s === 0)) return { kind: 'scalar' };
  const last = sizes.length - 1;
  const moves = o.strides.map((s) => s !== 0);
  if (!moves[last]) return { kind: 'strided', moves, inner: 'splat' };
  // A looked-up vec4 has one position only if the indices are the same for its four lanes.
  const together = (o.indirect ?? []).every(
    (i) => i.stride % 4 === 0 && inputsOf(i.index).every((j) => operands[j]!.strides[last] === 0),
  );
  const vec =
    width === 4 &&
    aligned &&
    together &&
    !o.iota &&
    o.strides[last] === 1 &&
    o.strides.every((s, d) => d === last || s % 4 === 0);
  return { kind: 'strided', moves, inner: vec ? 'vec' : 'lanes' };
}

function launch(
  target: Target,
  problem: PointwiseProblem,
  sizes: readonly number[],
  operands: readonly Placed[],
  windows: readonly (Window | undefined)[],
): Launch {
  const count = problem.inputs.length;
  const { alias = -1 } = problem;
  const aliasOf = (k: number): number =>
    typeof alias === 'number' ? (alias === k ? 0 : -1) : (alias[k] ?? -1);
  const rank = sizes.length;
  const inner = sizes[rank - 1]!;
  let width: Width = 1;
  let access: OperandAccess[] = [];
  // Padding behind the last element may be written but not looked up: it holds no indices.
  if (inner % 4 === 0 || (rank === 1 && !problem.exact && !problem.checked)) {
    access = operands.map((_, k) => accessOf(operands, k, sizes, 4));
    // Outputs must be written as vec4; what shares an output's buffer must see it as the same array.
    const writable = access.every((a, k) => (k < count && aliasOf(k) < 0) || isVector(a, 4));
    if (writable) width = 4;
  }
  if (width === 1) access = operands.map((_, k) => accessOf(operands, k, sizes, 1));

  const types = paramTypes([
    ...problem.exprs,
    ...problem.inputs.flatMap((x) => (x.indirect ?? []).map((i) => i.index)),
  ]);
  const names = problem.paramNames ?? [];
  const spec: PointwiseSpec = {
    name: problem.name,
    exprs: problem.exprs.map((x, j) => e.cast(x, dtypeInfo[problem.outputs[j]!.dtype].compute)),
    outputs: problem.outputs.map((o, j) => ({ dtype: o.dtype, access: access[count + j]! })),
    inputs: problem.inputs.map((x, k) => ({
      dtype: x.dtype,
      access: access[k]!,
      ...(aliasOf(k) >= 0 && { alias: aliasOf(k) }),
      ...(x.iota && { iota: true }),
      ...(x.indirect && { indirect: x.indirect.map((i) => i.index) }),
    })),
    rank,
    width,
    params: names.map((n): ParamField => [n, types.get(n) ?? 'f32']),
    checked: problem.checked ?? false,
    ...(problem.oneBuffer && { oneBuffer: true }),
  };
  const kernel = pointwiseKernel(target, spec);

  const items = Math.ceil(inner / width);
  const counts = sizes.map((s, d) => (d === rank - 1 ? items : s));
  const n = numelOf(counts);
  const strided = rank > 1 || access.some((a) => a.kind === 'strided');
  const params = [...(problem.params ?? []), n];
  if (strided) params.push(...counts.slice(1));
  operands.forEach((o, k) => pushOperandParams(params, o, access[k]!, width));
  const { group, perThread } = threadShape(target);
  const bound = operands
    .map((_, k) => k)
    .filter((k) =>
      k >= count ? k === count || problem.oneBuffer !== true : aliasOf(k) < 0 && !problem.inputs[k]!.iota,
    );
  return {
    kernel,
    buffers: bound.map((name) => (windows[name] ? { name, ...windows[name] } : name)),
    params,
    grid: foldGrid(Math.ceil(n / (group * perThread))),
  };
}

/**
 * Offsets and strides in units of the operand's array; negative ones wrap around, as the u32 sums in the
 * kernel do.
 */
function pushOperandParams(params: number[], o: Placed, access: OperandAccess, width: Width): void {
  if (access.kind === 'flat') return;
  const unit = isVector(access, width) ? 4 : 1;
  params.push((o.offset / unit) >>> 0);
  if (access.kind === 'strided') {
    const last = access.moves.length - 1;
    access.moves.forEach((moves, d) => {
      if (!moves || (d === last && access.inner === 'vec')) return;
      params.push((o.strides[d]! / unit) >>> 0);
    });
  }
  for (const { stride, size } of o.indirect ?? []) params.push((stride / unit) >>> 0, size);
}

const paramTypesOf = new WeakMap<Expr, ReadonlyMap<string, 'f32' | 'i32' | 'u32'>>();

/** Types of the params that expressions mention. */
export function paramTypes(exprs: readonly Expr[]): ReadonlyMap<string, 'f32' | 'i32' | 'u32'> {
  const collect = (expr: Expr): ReadonlyMap<string, 'f32' | 'i32' | 'u32'> => {
    let types = paramTypesOf.get(expr);
    if (types === undefined) {
      const found = new Map<string, 'f32' | 'i32' | 'u32'>();
      if (expr.op === 'param' && expr.type !== 'bool') found.set(expr.name, expr.type);
      for (const arg of expr.args) for (const [n, t] of collect(arg)) found.set(n, t);
      types = found;
      paramTypesOf.set(expr, types);
    }
    return types;
  };
  if (exprs.length === 1) return collect(exprs[0]!);
  return new Map(exprs.flatMap((x) => [...collect(x)]));
}
