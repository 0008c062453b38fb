/**
 * The kernel behind every indexed write: a thread owns one column (or four neighbouring ones) of the output,
 * walks the looped dimensions of the source in row-major order and combines what it finds into out[index].
 * Columns never share an output element, so no atomics are needed and sums come out the same every time. GPUs
 * sort long walks instead (scatter-sorted.ts).
 *
 * Bindings: `index` (or `index0` ..), `src`, `out` (read and written).
 */
import { broadcastStrides, collapseDims, extent, numelOf } from '../base/collapse.js';
import type { Plan } from '../base/plan.js';
import { dtypeInfo, loadCode, storeCode, wgslType, type DType, type Width } from '../base/dtype.js';
import { kMax, kMin } from '../expr/math.js';
import { WgslFunctions } from '../expr/wgsl.js';
import { checkIndexCode, indexFault } from '../base/faults.js';
import {
  foldGrid,
  linearWorkgroup,
  memoKernel,
  type Kernel,
  type ParamField,
  type Target,
} from '../base/kernel.js';
import { reads, shader, writes } from '../base/shader.js';
import { PlanCache, planKey } from '../base/plan-cache.js';
import type { ScatterProblem, ScatterReduce } from './scatter-problem.js';
import { makeSortedScatter } from './scatter-sorted.js';

export type { ScatterProblem, ScatterReduce } from './scatter-problem.js';

interface Spec {
  readonly name: string;
  readonly reduce: ScatterReduce;
  readonly src: DType;
  readonly out: DType;
  readonly count: number;
  readonly columnRank: number;
  readonly loopRank: number;
  readonly width: Width;
  readonly srcWide: boolean;
  readonly alpha: boolean;
  readonly skip: boolean;
  readonly checked: boolean;
}

const operandsOf = (count: number): string[] => [
  ...Array.from({ length: count }, (_, m) => `j${m}`),
  'src',
  'out',
];

function paramsOf(s: Spec): ParamField[] {
  const fields: ParamField[] = [];
  if (s.alpha) fields.push(['alpha', 'f32']);
  if (s.skip) fields.push(['skip', 'i32']);
  const u = (n: string): void => void fields.push([n, 'u32']);
  ['columns', 'total'].forEach(u);
  for (let d = 1; d < s.columnRank; d++) u(`cn${d}`);
  for (let d = 1; d < s.loopRank; d++) u(`ln${d}`);
  for (const tag of operandsOf(s.count)) {
    u(`${tag}O`);
    for (let d = 0; d < s.columnRank; d++) u(`${tag}C${d}`);
    if (tag !== 'out') for (let d = 0; d < s.loopRank; d++) u(`${tag}L${d}`);
  }
  for (let m = 0; m < s.count; m++) fields.push([`g${m}`, 'u32'], [`n${m}`, 'i32']);
  return fields;
}

function decode(c: string, n: string, rank: number, from: string): string {
  const lines = [`var ${c}t = ${from};`];
  for (let d = rank - 1; d > 0; d--)
    lines.push(`let ${c}${d} = ${c}t % p.${n}${d}; ${c}t = ${c}t / p.${n}${d};`);
  return [...lines, `let ${c}0 = ${c}t;`].join('\n');
}

const at = (tag: string, letter: string, rank: number, c: string): string =>
  Array.from({ length: rank }, (_, d) => `${c}${d} * p.${tag}${letter}${d}`).join(' + ');

function combine(s: Spec, fns: WgslFunctions): string {
  const type = dtypeInfo[s.out].compute;
  if (s.reduce === 'assign') return 'v';
  if (type === 'bool') return s.reduce === 'mul' || s.reduce === 'min' ? 'old & v' : 'old | v';
  if (s.reduce === 'add') return 'old + v';
  if (s.reduce === 'mul') return 'old * v';
  if (type !== 'f32') return `${s.reduce}(old, v)`;
  return `${fns.use(s.reduce === 'max' ? kMax : kMin, s.width)}(old, v)`;
}

function scatterKernel(target: Target, s: Spec): Kernel {
  const key = `scatter|${target.kind}|${Object.values(s).join('|')}`;
  return memoKernel(key, () => {
    const fns = new WgslFunctions();
    const group = target.kind === 'software' ? 8 : 64;
    const srcWidth: Width = s.srcWide ? 4 : 1;
    const compute = wgslType(dtypeInfo[s.out].compute, s.width);
    const indices = Array.from(
      { length: s.count },
      (_, m) => `let raw${m} = index${m}[j${m}Base + ${at(`j${m}`, 'L', s.loopRank, 'l')}];
    ${s.checked ? checkIndexCode(`raw${m}`, `p.n${m}`, 1) : ''}
    let i${m} = select(raw${m}, raw${m} + p.n${m}, raw${m} < 0);
    inside = inside && i${m} >= 0 && i${m} < p.n${m};${m === 0 && s.skip ? ' inside = inside && i0 != p.skip;' : ''}
    position += bitcast<u32>(i${m}) * p.g${m};`,
    );
    const value = `${compute}(${loadCode(s.src, srcWidth, `src[srcBase + ${at('src', 'L', s.loopRank, 'l')}]`)})`;
    const scaled = s.alpha ? `${compute}(${wgslType('f32', s.width)}(${value}) * p.alpha)` : value;
    const body = `  let column = ${linearWorkgroup} * ${group}u + lid;
  if (column >= p.columns) { return; }
  ${decode('c', 'cn', s.columnRank, 'column')}
  ${operandsOf(s.count)
    .map((tag) => `let ${tag}Base = p.${tag}O + ${at(tag, 'C', s.columnRank, 'c')};`)
    .join('\n  ')}
  for (var i = 0u; i < p.total; i++) {
    ${s.loopRank === 1 ? 'let l0 = i;' : decode('l', 'ln', s.loopRank, 'i')}
    var inside = true;
    var position = outBase;
    ${indices.join('\n    ')}
    if (inside) {
      let v = ${scaled};
      ${s.reduce === 'assign' ? '' : `let old = ${loadCode(s.out, s.width, 'out[position]')};`}
      out[position] = ${storeCode(s.out, s.width, `(${combine(s, fns)})`)};
    }
  }`;
    return {
      name: s.name,
      ...shader({
        bindings: [
          ...Array.from({ length: s.count }, (_, m) => reads(`index${m}`, 'i32')),
          reads('src', wgslType(dtypeInfo[s.src].storage, srcWidth)),
          writes('out', wgslType(dtypeInfo[s.out].storage, s.width)),
        ],
        functions: fns.code(),
        workgroup: group,
        builtins: ['wid', 'nwg', 'lid'],
        body,
      }),
      params: paramsOf(s),
      ...(s.checked && { fault: indexFault(s.name) }),
    };
  });
}

const plans = new PlanCache<Plan>();

/** Combines src into out. @throws when an operand is larger than one binding. */
export function planScatterLoop(target: Target, problem: ScatterProblem): Plan {
  const { name, reduce, alpha, skip, checked, indices } = problem;
  const key = planKey(target, problem)
    .text(name)
    .text(reduce)
    .text(checked === true);
  key
    .text(alpha === undefined)
    .number(alpha ?? 0)
    .text(skip === undefined)
    .number(skip ?? 0);
  key.numbers(problem.shape).numbers(problem.loopDims).number(indices.length);
  for (const { operand, stride, size } of indices) key.layout(operand).number(stride).number(size);
  key.layout(problem.src).layout(problem.out);
  return plans.get(key, () => makePlan(target, problem));
}

function makePlan(target: Target, problem: ScatterProblem): Plan {
  const { name, shape, loopDims, indices, src, out, reduce, alpha, skip, checked = false } = problem;
  if (numelOf(shape) === 0) return { launches: [], workspaces: {} };
  const operands = [...indices.map((i) => i.operand), src, out];
  const strides = operands.map((o) => broadcastStrides(name, o, shape));
  const columnDims = shape.map((_, d) => d).filter((d) => !loopDims.includes(d));
  const pick = (dims: readonly number[]): number[][] => strides.map((s) => dims.map((d) => s[d]!));
  const columns = collapseDims(
    columnDims.map((d) => shape[d]!),
    pick(columnDims),
    operands.length - 1,
  );
  const loop = collapseDims(
    loopDims.map((d) => shape[d]!),
    pick(loopDims),
    -1,
  );

  const limit = problem.maxBinding ?? Infinity;
  operands.forEach((o, k) => {
    const reach = k === operands.length - 1 ? indices : [];
    const [, high] = extent(
      [...shape, ...reach.map((i) => i.size)],
      [...strides[k]!, ...reach.map((i) => i.stride)],
      o.offset,
    );
    if ((high + 1) * dtypeInfo[o.dtype].bytes > limit) {
      throw new Error(
        `${name}: an operand takes ${(high + 1) * dtypeInfo[o.dtype].bytes} bytes, the adapter binds at most ${limit}; split it`,
      );
    }
  });

  if (target.kind === 'gpu') {
    const sorted = makeSortedScatter(target, problem, columns, loop);
    if (sorted !== undefined) return sorted;
  }
  const last = columns.sizes.length - 1;
  const inner = (k: number): number => columns.strides[k]![last]!;
  const even = (k: number, more: readonly number[]): boolean =>
    inner(k) === 1 &&
    [
      operands[k]!.offset,
      ...columns.strides[k]!.filter((_, d) => d !== last),
      ...loop.strides[k]!,
      ...more,
    ].every((v) => v % 4 === 0);
  const [srcAt, outAt] = [operands.length - 2, operands.length - 1];
  const wide =
    columns.sizes[last]! % 4 === 0 &&
    even(
      outAt,
      indices.map((i) => i.stride),
    ) &&
    (even(srcAt, []) || inner(srcAt) === 0) &&
    indices.every((_, m) => inner(m) === 0);
  const srcWide = wide && inner(srcAt) === 1;

  const spec: Spec = {
    name,
    reduce,
    src: src.dtype,
    out: out.dtype,
    count: indices.length,
    columnRank: columns.sizes.length,
    loopRank: loop.sizes.length,
    width: wide ? 4 : 1,
    srcWide,
    alpha: alpha !== undefined && alpha !== 1,
    skip: skip !== undefined,
    checked,
  };
  const kernel = scatterKernel(target, spec);
  const counts = columns.sizes.map((n, d) => (wide && d === last ? n / 4 : n));
  const params: number[] = [];
  if (spec.alpha) params.push(alpha!);
  if (spec.skip) params.push(skip!);
  params.push(numelOf(counts), numelOf(loop.sizes), ...counts.slice(1), ...loop.sizes.slice(1));
  operands.forEach((o, k) => {
    const unit = (k === outAt && wide) || (k === srcAt && srcWide) ? 4 : 1;
    params.push(o.offset / unit);
    columns.strides[k]!.forEach((s, d) => params.push((unit === 4 && d === last ? 1 : s / unit) >>> 0));
    if (k !== outAt) loop.strides[k]!.forEach((s) => params.push((s / unit) >>> 0));
  });
  for (const { stride, size } of indices) params.push((stride / (wide ? 4 : 1)) >>> 0, size);
  const names = indices.length === 1 ? ['index'] : indices.map((_, m) => `index${m}`);
  const group = target.kind === 'software' ? 8 : 64;
  return {
    launches: [
      {
        kernel,
        buffers: [...names, 'src', 'out'],
        params,
        grid: foldGrid(Math.ceil(numelOf(counts) / group)),
      },
    ],
    workspaces: {},
  };
}
