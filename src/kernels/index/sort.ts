/**
 * Sorting along a dimension, stable, with indices; and the k largest or smallest. NaN counts as the largest
 * value, so it comes last in ascending and first in descending order, as in PyTorch.
 *
 * Values become u32 keys that order alike (complemented for descending). Blocks of 8 are sorted by a network
 * in registers, then runs are merged in passes: each thread writes 8 consecutive outputs and finds where they
 * start in the two runs by bisection (O. Green et al., "GPU Merge Path", ICS 2012). Equal keys keep their
 * order because the left run goes first. GPUs sort in workgroup memory (sort-team.ts). For k up to 16,
 * `planTopk` keeps the best k of each chunk in registers instead.
 *
 * Buffers `x`, `values`, `indices` (int32); workspaces `pairs0`, `pairs1`.
 */
import { broadcastStrides, collapseDims, extent, numelOf } from '../base/collapse.js';
import type { Limits, Launch, Plan } from '../base/plan.js';
import { dtypeInfo, loadCode, type DType } from '../base/dtype.js';
import { kOrderF, kOrderI, kOrderU } from '../expr/math.js';
import { WgslFunctions } from '../expr/wgsl.js';
import {
  foldGrid,
  linearWorkgroup,
  memoKernel,
  teamSize,
  type Kernel,
  type ParamField,
  type Target,
} from '../base/kernel.js';
import { reads, shader, writes, type Binding } from '../base/shader.js';
import { PlanCache, planKey } from '../base/plan-cache.js';
import type { PointwiseOperand } from '../pointwise/plan.js';
import { sortPairs, type KeySource, type NamedParams, type PairSink } from './sort-team.js';

export interface SortProblem extends Limits {
  readonly name: string;
  readonly x: PointwiseOperand;
  readonly dim: number;
  readonly descending: boolean;
  /** x's dtype. Both outputs have x's shape, or fewer elements along `dim` (the first ones in order). */
  readonly values: PointwiseOperand;
  readonly indices: PointwiseOperand;
}

const block = 8;
const maxRegisters = 16;

/** Batcher's odd-even merge sort of 8. */
// prettier-ignore
const network = [
  [0, 1], [2, 3], [4, 5], [6, 7], [0, 2], [1, 3], [4, 6], [5, 7], [1, 2], [5, 6],
  [0, 4], [1, 5], [2, 6], [3, 7], [2, 4], [3, 5], [1, 2], [3, 4], [5, 6],
] as const;

type Stage =
  | { readonly kind: 'load' }
  | { readonly kind: 'merge' }
  | { readonly kind: 'store' }
  | {
      readonly kind: 'select';
      readonly k: number;
      readonly from: 'x' | 'pairs';
      readonly to: 'pairs' | 'outputs';
    };

interface Spec {
  readonly name: string;
  readonly dtype: DType;
  readonly descending: boolean;
  /** Dimensions other than the sorted one. */
  readonly rank: number;
  readonly stage: Stage;
}

const touchesX = (s: Stage): boolean =>
  s.kind === 'load' || s.kind === 'store' || (s.kind === 'select' && s.from === 'x') || writesOutputs(s);
const writesOutputs = (s: Stage): boolean =>
  s.kind === 'store' || (s.kind === 'select' && s.to === 'outputs');

function paramsOf({ stage, rank }: Spec): ParamField[] {
  const names = ['cells', 'length', 'row0'];
  if (stage.kind === 'merge') names.push('run');
  if (stage.kind === 'store') names.push('keep');
  if (stage.kind === 'select') names.push('chunk', 'chunks');
  if (touchesX(stage)) {
    for (let d = 1; d < rank; d++) names.push(`n${d}`);
    for (const tag of writesOutputs(stage) ? ['x', 'v', 'j'] : ['x']) {
      names.push(`${tag}o`, `${tag}l`);
      for (let d = 0; d < rank; d++) names.push(`${tag}s${d}`);
    }
  }
  return names.map((n) => [n, 'u32']);
}

const orderFunctions = { f32: kOrderF, i32: kOrderI, u32: kOrderU } as const;

function keyCode(s: Pick<Spec, 'dtype' | 'descending'>, fns: WgslFunctions, at: string): string {
  const { compute } = dtypeInfo[s.dtype];
  const value = compute === 'bool' ? `x[${at}]` : loadCode(s.dtype, 1, `x[${at}]`);
  const key = `${fns.use(orderFunctions[compute === 'bool' ? 'u32' : compute], 1)}(${value})`;
  return s.descending ? `~${key}` : key;
}

const before = (a: string, b: string): string => `(${a}.x < ${b}.x || (${a}.x == ${b}.x && ${a}.y < ${b}.y))`;

/** Coordinates of `row`, and the start of the line in each of `tags`. */
function lineCode(rank: number, tags: readonly string[]): string {
  const lines = ['var t = p.row0 + row;'];
  for (let d = rank - 1; d > 0; d--) lines.push(`let c${d} = t % p.n${d}; t = t / p.n${d};`);
  lines.push('let c0 = t;');
  for (const tag of tags) {
    const terms = Array.from({ length: rank }, (_, d) => `c${d} * p.${tag}s${d}`);
    lines.push(`let ${tag}Line = ${[`p.${tag}o`, ...terms].join(' + ')};`);
  }
  return lines.join('\n  ');
}

const storeLine = (position: string, pair: string): string =>
  `values[vLine + ${position} * p.vl] = x[xLine + ${pair}.y * p.xl];
    indices[jLine + ${position} * p.jl] = i32(${pair}.y);`;

function stageBody(s: Spec, fns: WgslFunctions): string {
  const { stage } = s;
  switch (stage.kind) {
    case 'load': {
      const loads = Array.from(
        { length: block },
        (_, i) => `var e${i} = vec2<u32>(0xffffffffu, first + ${i}u);
  if (first + ${i}u < p.length) { let at = xLine + (first + ${i}u) * p.xl; e${i}.x = ${keyCode(s, fns, 'at')}; }`,
      );
      const swaps = network.map(
        ([a, b]) =>
          `{ let swap = ${before(`e${b}`, `e${a}`)}; let low = select(e${a}, e${b}, swap); e${b} = select(e${b}, e${a}, swap); e${a} = low; }`,
      );
      const stores = Array.from(
        { length: block },
        (_, i) => `if (first + ${i}u < p.length) { to[row * p.length + first + ${i}u] = e${i}; }`,
      );
      return `let blocks = (p.length + ${block - 1}u) / ${block}u;
  let row = cell / blocks;
  let first = (cell % blocks) * ${block}u;
  ${lineCode(s.rank, ['x'])}
  ${[...loads, ...swaps, ...stores].join('\n  ')}`;
    }
    case 'merge':
      return `let blocks = (p.length + ${block - 1}u) / ${block}u;
  let row = cell / blocks;
  let first = (cell % blocks) * ${block}u;
  let line = row * p.length;
  let start = first - first % (2u * p.run);
  let middle = min(start + p.run, p.length);
  let end = min(start + 2u * p.run, p.length);
  let d = first - start;
  // How many of the d outputs before this block come from the left run.
  var low = select(0u, d - (end - middle), d > end - middle);
  var high = min(d, middle - start);
  while (low < high) {
    let mid = (low + high) / 2u;
    if (from_[line + start + mid].x <= from_[line + middle + d - 1u - mid].x) { low = mid + 1u; } else { high = mid; }
  }
  var a = start + low;
  var b = middle + d - low;
  let last = min(first + ${block}u, p.length);
  for (var i = first; i < last; i++) {
    var left = b >= end;
    if (a < middle && b < end) { left = from_[line + a].x <= from_[line + b].x; }
    to[line + i] = from_[line + select(b, a, left)];
    a += select(0u, 1u, left);
    b += select(1u, 0u, left);
  }`;
    case 'store':
      return `let row = cell / p.keep;
  let i = cell % p.keep;
  ${lineCode(s.rank, ['x', 'v', 'j'])}
  let pair = from_[row * p.length + i];
  ${storeLine('i', 'pair')}`;
    case 'select': {
      const { k, from, to } = stage;
      const slots = Array.from({ length: k }, (_, i) => i);
      const insert = slots.map(
        (i) =>
          `{ let better = ${before('e', `b${i}`)}; let t = b${i}; b${i} = select(b${i}, e, better); e = select(e, t, better); }`,
      );
      const load =
        from === 'x'
          ? `let at = xLine + i * p.xl;\n    var e = vec2<u32>(${keyCode(s, fns, 'at')}, i);`
          : 'var e = from_[row * p.length + i];';
      const tags = [...(touchesX(stage) ? ['x'] : []), ...(to === 'outputs' ? ['v', 'j'] : [])];
      const stores = slots.map((i) =>
        to === 'outputs' ? storeLine(`${i}u`, `b${i}`) : `to[cell * ${k}u + ${i}u] = b${i};`,
      );
      return `let row = cell / p.chunks;
  let part = cell % p.chunks;
  ${tags.length > 0 ? lineCode(s.rank, tags) : ''}
  ${slots.map((i) => `var b${i} = vec2<u32>(0xffffffffu);`).join(' ')}
  let end = min(p.length, (part + 1u) * p.chunk);
  for (var i = part * p.chunk; i < end; i++) {
    ${load}
    if (${before('e', `b${k - 1}`)}) {
      ${insert.join('\n      ')}
    }
  }
  ${stores.join('\n  ')}`;
    }
  }
}

const groupOf = (target: Target): number => (target.kind === 'software' ? 16 : 64);

function sortKernel(target: Target, s: Spec): Kernel {
  return memoKernel(`sort|${target.kind}|${JSON.stringify(s)}`, () => {
    const fns = new WgslFunctions();
    const { stage } = s;
    const storage = dtypeInfo[s.dtype].storage;
    const group = groupOf(target);
    const bindings: Binding[] = touchesX(stage) ? [reads('x', storage)] : [];
    if (
      stage.kind === 'merge' ||
      stage.kind === 'store' ||
      (stage.kind === 'select' && stage.from === 'pairs')
    ) {
      bindings.push(reads('from_', 'vec2<u32>'));
    }
    if (writesOutputs(stage)) {
      bindings.push(writes('values', storage), writes('indices', 'i32'));
    } else bindings.push(writes('to', 'vec2<u32>'));
    const body = stageBody(s, fns);
    return {
      name: s.name,
      ...shader({
        bindings,
        functions: fns.code(),
        workgroup: group,
        builtins: ['wid', 'nwg', 'lid'],
        body: `  let cell = ${linearWorkgroup} * ${group}u + lid;
  if (cell >= p.cells) { return; }
  ${body}`,
      }),
      params: paramsOf(s),
    };
  });
}

const plans = new PlanCache<Plan>();

interface Layout {
  readonly rows: number;
  readonly length: number;
  readonly sizes: readonly number[];
  /** Offset, stride along the sorted dimension, strides along the others: for x, values, indices. */
  readonly lines: readonly (readonly number[])[];
}

function layoutOf({ name, x, dim, values, indices, maxBinding = Infinity }: SortProblem): Layout {
  if (indices.dtype !== 'int32' || values.dtype !== x.dtype) {
    throw new Error(
      `${name}: values must be ${x.dtype} and indices int32, not ${values.dtype} and ${indices.dtype}`,
    );
  }
  const others = x.shape.map((_, d) => d).filter((d) => d !== dim);
  const operands = [x, values, indices];
  for (const o of operands) {
    const bytes = (extent(o.shape, o.strides, o.offset)[1] + 1) * dtypeInfo[o.dtype].bytes;
    if (bytes > maxBinding) {
      throw new Error(
        `${name}: a tensor takes ${bytes} bytes, the adapter binds at most ${maxBinding}; split it`,
      );
    }
  }
  const strides = operands.map((o) =>
    broadcastStrides(
      name,
      { ...o, shape: o.shape.map((n, d) => (d === dim ? 1 : n)) },
      x.shape.map((n, d) => (d === dim ? 1 : n)),
    ),
  );
  const lines = collapseDims(
    others.map((d) => x.shape[d]!),
    strides.map((s) => others.map((d) => s[d]!)),
  );
  return {
    rows: numelOf(others.map((d) => x.shape[d]!)),
    length: x.shape[dim] ?? 1,
    sizes: lines.sizes.slice(1),
    lines: operands.map((o, k) => [
      o.offset,
      (o.strides[dim] ?? 0) >>> 0,
      ...lines.strides[k]!.map((s) => s >>> 0),
    ]),
  };
}

/** @throws when an operand, or the pairs of one line (8 bytes per element), is larger than one binding. */
export function planSort(target: Target, problem: SortProblem): Plan {
  return cached('sort', target, problem, makeSort);
}

/** The first values.shape[dim] elements in order; PyTorch's `largest` is `descending`. */
export function planTopk(target: Target, problem: SortProblem): Plan {
  return cached('topk', target, problem, (t, p) =>
    (p.values.shape[p.dim] ?? 1) <= maxRegisters ? makeSelect(t, p) : makeSort(t, p),
  );
}

function cached(
  kind: string,
  target: Target,
  problem: SortProblem,
  make: (target: Target, problem: SortProblem) => Plan,
): Plan {
  const { name, dim, descending, x, values, indices } = problem;
  const key = planKey(target, problem).text(kind).text(name).number(dim).text(descending);
  key.layout(x).layout(values).layout(indices);
  return plans.get(key, () => make(target, problem));
}

function makeSort(target: Target, problem: SortProblem): Plan {
  const { name, x, descending, values, dim, maxBinding = Infinity } = problem;
  const { rows, length, sizes, lines } = layoutOf(problem);
  const keep = values.shape[dim] ?? 1;
  if (rows * length * keep === 0) return { launches: [], workspaces: {} };
  const perPart = Math.min(rows, Math.floor(maxBinding / (8 * length)));
  if (perPart === 0)
    throw new Error(
      `${name}: lines of ${length} elements do not fit the adapter's binding limit of ${maxBinding} bytes`,
    );
  if (target.kind === 'gpu') return makeTeamSort(target, problem, perPart);
  const group = groupOf(target);
  const launches: Launch[] = [];
  const push = (
    stage: Stage,
    buffers: readonly string[],
    cells: number,
    row0: number,
    rest: readonly number[],
  ): void => {
    const kernel = sortKernel(target, { name, dtype: x.dtype, descending, rank: sizes.length + 1, stage });
    launches.push({
      kernel,
      buffers,
      params: [cells, length, row0, ...rest],
      grid: foldGrid(Math.ceil(cells / group)),
    });
  };
  for (let row0 = 0; row0 < rows; row0 += perPart) {
    const count = Math.min(perPart, rows - row0);
    const blocks = count * Math.ceil(length / block);
    let from = 0;
    push({ kind: 'load' }, ['x', 'pairs0'], blocks, row0, [...sizes, ...lines[0]!]);
    for (let run = block; run < length; run *= 2) {
      push({ kind: 'merge' }, [`pairs${from}`, `pairs${1 - from}`], blocks, row0, [run]);
      from = 1 - from;
    }
    push({ kind: 'store' }, ['x', `pairs${from}`, 'values', 'indices'], count * keep, row0, [
      keep,
      ...sizes,
      ...lines.flat(),
    ]);
  }
  const bytes = 8 * perPart * length;
  return { launches, workspaces: length > block ? { pairs0: bytes, pairs1: bytes } : { pairs0: bytes } };
}

/** Parts of `perPart` lines, one after the other. */
function makeTeamSort(target: Target, problem: SortProblem, perPart: number): Plan {
  const { name, x, descending, values, dim } = problem;
  const { rows, length, sizes, lines } = layoutOf(problem);
  const rank = sizes.length + 1;
  const fns = new WgslFunctions();
  const key = keyCode({ dtype: x.dtype, descending }, fns, 'at');
  const storage = dtypeInfo[x.dtype].storage;
  const inputs = [{ binding: reads('x', storage), buffer: 'x' }];
  const outputs = [
    { binding: writes('values', storage), buffer: 'values' },
    { binding: writes('indices', 'i32'), buffer: 'indices' },
  ];
  const layout = (tags: readonly ('x' | 'v' | 'j')[]): NamedParams => {
    const named: Record<string, number> = {};
    sizes.forEach((n, d) => (named[`n${d + 1}`] = n));
    for (const tag of tags) {
      const [offset, along, ...strides] = lines['xvj'.indexOf(tag)]!;
      Object.assign(named, { [`${tag}o`]: offset!, [`${tag}l`]: along! });
      strides.forEach((stride, d) => (named[`${tag}s${d}`] = stride));
    }
    return named;
  };
  const kind = [x.dtype, descending, rank].join('|');
  const along = Math.abs(x.strides[dim] ?? 0);
  const adjacent = x.strides.some((s, d) => d !== dim && x.shape[d]! >= 8 && s !== 0 && Math.abs(s) < along);
  const launches: Launch[] = [];
  let workspaces: Plan['workspaces'] = {};
  for (let row0 = 0; row0 < rows; row0 += perPart) {
    const source: KeySource = {
      key: kind,
      binds: inputs,
      params: { row0, ...layout(['x']) },
      functions: fns.code(),
      load: `${lineCode(rank, ['x'])}
    let at = xLine + position * p.xl;
    key = ${key};`,
    };
    const sink: PairSink = {
      key: kind,
      binds: [...inputs, ...outputs],
      params: { row0, ...layout(['x', 'v', 'j']) },
      keep: values.shape[dim] ?? 1,
      store: `${lineCode(rank, ['x', 'v', 'j'])}
    ${storeLine('position', 'pair')}`,
    };
    const count = Math.min(perPart, rows - row0);
    const part = sortPairs({ name, team: teamSize(target), rows: count, length, source, sink }, adjacent);
    launches.push(...part.launches);
    if (row0 === 0) ({ workspaces } = part);
  }
  return { launches, workspaces };
}

function makeSelect(target: Target, problem: SortProblem): Plan {
  const { name, x, descending, values, dim } = problem;
  const { rows, length, sizes, lines } = layoutOf(problem);
  const k = values.shape[dim] ?? 1;
  if (rows * k === 0) return { launches: [], workspaces: {} };
  const gpu = target.kind === 'gpu';
  // Fewer, or longer lines in the last launch, would leave a GPU waiting for one invocation.
  const serial = gpu ? 256 : Infinity;
  const wanted = gpu ? Math.max(16384, rows * (length / serial)) : 64;
  const most = Math.floor(length / (16 * k));
  const group = groupOf(target);
  const launches: Launch[] = [];
  const push = (
    from: 'x' | 'pairs',
    to: 'pairs' | 'outputs',
    buffers: readonly string[],
    [n, chunks]: readonly [number, number],
  ): void => {
    const stage: Stage = { kind: 'select', k, from, to };
    const layout = to === 'outputs' ? lines.flat() : lines[0]!;
    const cells = rows * chunks;
    launches.push({
      kernel: sortKernel(target, { name, dtype: x.dtype, descending, rank: sizes.length + 1, stage }),
      buffers,
      params: [
        cells,
        n,
        0,
        Math.ceil(n / chunks),
        chunks,
        ...(from === 'x' || to === 'outputs' ? [...sizes, ...layout] : []),
      ],
      grid: foldGrid(Math.ceil(cells / group)),
    });
  };
  let chunks = Math.max(1, Math.min(Math.ceil(wanted / rows), most));
  if (chunks === 1) {
    push('x', 'outputs', ['x', 'values', 'indices'], [length, 1]);
    return { launches, workspaces: {} };
  }
  push('x', 'pairs', ['x', 'pairs0'], [length, chunks]);
  const workspaces: Record<string, number> = { pairs0: 8 * rows * chunks * k };
  let at = 0;
  for (; chunks * k > serial; at = 1 - at) {
    const fewer = Math.ceil(chunks / 16);
    push('pairs', 'pairs', [`pairs${at}`, `pairs${1 - at}`], [chunks * k, fewer]);
    workspaces['pairs1'] ??= 8 * rows * fewer * k;
    chunks = fewer;
  }
  push('pairs', 'outputs', ['x', `pairs${at}`, 'values', 'indices'], [chunks * k, 1]);
  return { launches, workspaces };
}
