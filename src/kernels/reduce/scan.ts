/**
 * Running sums, products and the like along one dimension (`torch.cumsum`, `torch.cumprod`, `torch.cummax`,
 * `torch.logcumsumexp`), any strides, forwards or backwards.
 *
 * On software adapters a thread owns a line. Where there are few lines, each is cut into chunks and scanned
 * in three launches: totals of the chunks, their running totals, then every chunk from its start value. GPUs
 * get the kernels of scan-team.ts. Buffers `x`, `out` and for those that have a second result `indices`,
 * workspace `totals`.
 */
import { broadcastStrides, collapseDims, extent, numelOf } from '../base/collapse.js';
import type { Launch, Plan } from '../base/plan.js';
import { dtypeInfo, loadCode, storeCode, type DType } from '../base/dtype.js';
import { overflowFault, type ExactOp } from './exact-int.js';
import { WgslFunctions } from '../expr/wgsl.js';
import {
  foldGrid,
  linearWorkgroup,
  memoKernel,
  type Kernel,
  type ParamField,
  type Target,
} from '../base/kernel.js';
import { reads, shader, writes, type Binding } from '../base/shader.js';
import { PlanCache, planKey } from '../base/plan-cache.js';
import type { ScanOp, ScanProblem } from './scan-problem.js';
import { makeTeamScan } from './scan-team.js';
import { reducer, stateWords } from './states.js';

export type { ScanOp, ScanProblem } from './scan-problem.js';

/** `totals`: one value per chunk; `starts`: exclusive scan of those, in place; `scan`: the elements. */
type Stage = 'totals' | 'starts' | 'scan';

interface Spec {
  readonly name: string;
  readonly op: ScanOp;
  readonly stage: Stage;
  readonly x: DType;
  readonly out: DType;
  readonly indices: boolean;
  readonly rank: number;
  readonly chunked: boolean;
}

const outputsOf = (s: Spec): readonly ('y' | 'j')[] => (s.indices ? ['y', 'j'] : ['y']);

const group = 8;

function paramsOf(s: Spec): ParamField[] {
  const names = ['cells', 'lines', 'length', 'chunk', 'chunks'];
  if (s.op === 'compensatedSum') names.push('zero');
  if (s.stage !== 'starts') {
    for (let d = 1; d < s.rank; d++) names.push(`n${d}`);
    for (const tag of ['x', ...(s.stage === 'scan' ? outputsOf(s) : [])]) {
      names.push(`${tag}o`, `${tag}l`);
      for (let d = 0; d < s.rank; d++) names.push(`${tag}s${d}`);
    }
  }
  return names.map((n) => [n, 'u32']);
}

function scanKernel(s: Spec): Kernel {
  return memoKernel(`scan|${Object.values(s).join('|')}`, () => {
    const type = dtypeInfo[s.out].compute;
    if (type === 'bool') throw new Error(`${s.name}: a running value cannot be bool; use int32`);
    const fns = new WgslFunctions();
    const red = reducer(s.op, type, fns);
    const word = red.fields[0]!.type;
    const acc = red.fields.map((_, i) => `acc${i}`);
    const total = red.fields.map((_, i) => `total${i}`);
    const slots = (at: string): string[] =>
      red.fields.map((_, i) => `totals[${i === 0 ? at : `${i}u * p.lines * p.chunks + ${at}`}]`);
    const declare = (names: readonly string[], from: readonly string[]): string =>
      names.map((n, i) => `var ${n} = ${from[i]};`).join(' ');
    const assign = (to: readonly string[], from: readonly string[]): string =>
      to.map((n, i) => `${n} = ${from[i]};`).join(' ');
    const neutral = red.fields.map((f) => f.init);
    const refused = s.stage === 'scan' ? red.refuses?.(acc) : undefined;
    const x = reads('x', dtypeInfo[s.x].storage);
    const bindings: Readonly<Record<Stage, Binding[]>> = {
      totals: [x, writes('totals', word)],
      starts: [writes('totals', word)],
      scan: [
        x,
        ...(s.chunked ? [reads('totals', word)] : []),
        writes('y', dtypeInfo[s.out].storage),
        ...(s.indices ? [writes('j', 'i32')] : []),
      ],
    };
    const decode = [
      'var t = line;',
      ...Array.from({ length: s.rank - 1 }, (_, i) => s.rank - 1 - i).map(
        (d) => `let c${d} = t % p.n${d}; t = t / p.n${d};`,
      ),
      'let c0 = t;',
    ].join('\n  ');
    const base = (tag: string): string =>
      [`p.${tag}o`, ...Array.from({ length: s.rank }, (_, d) => `c${d} * p.${tag}s${d}`)].join(' + ');
    const value = `${type}(${loadCode(s.x, 1, 'x[at]')})`;
    const outputs = s.stage === 'scan' ? outputsOf(s) : [];
    const results = red.results(acc, 1);
    const stored = (i: number): string => (i === 0 ? storeCode(s.out, 1, results[0]!) : results[i]!);
    const body =
      s.stage === 'starts'
        ? `${declare(acc, neutral)}
  for (var i = 0u; i < p.chunks; i++) {
    let at = i * p.lines + cell;
    ${declare(total, slots('at'))}
    ${assign(slots('at'), acc)}
    ${red.merge(acc, total, 1)}
  }`
        : `let line = cell % p.lines;
  let part = cell / p.lines;
  ${decode}
  let begin = part * p.chunk;
  let end = min(p.length, begin + p.chunk);
  ${declare(acc, s.stage === 'scan' && s.chunked ? slots('cell') : neutral)}
  var at = ${base('x')} + begin * p.xl;
  ${outputs.map((tag) => `var ${tag}At = ${base(tag)} + begin * p.${tag}l;`).join('\n  ')}
  for (var i = begin; i < end; i++) {
    ${red.step(acc, value, 'i', 1)}
    at += p.xl;
    ${outputs.map((tag, i) => `${tag}[${tag}At] = ${stored(i)}; ${tag}At += p.${tag}l;`).join('\n    ')}
    ${refused ? `if (${refused.bad}) { raiseFault(vec4<u32>(${refused.words})); }` : ''}
  }
  ${s.stage === 'totals' ? assign(slots('cell'), acc) : ''}`;
    return {
      name: s.stage === 'scan' ? s.name : `${s.name}.${s.stage}`,
      ...shader({
        bindings: bindings[s.stage],
        functions: fns.code(),
        workgroup: group,
        builtins: ['wid', 'nwg', 'lid'],
        body: `  let cell = ${linearWorkgroup} * ${group}u + lid;
  if (cell >= p.cells) { return; }
  ${body}`,
      }),
      params: paramsOf(s),
      ...(refused && { fault: overflowFault(s.name, s.op as ExactOp) }),
    };
  });
}

const plans = new PlanCache<Plan>();

/** @throws when an operand is larger than one binding. */
export function planScan(target: Target, problem: ScanProblem): Plan {
  const { name, op, x, out, indices, dim, reverse = false } = problem;
  const key = planKey(target, problem).text(name).text(op).number(dim).text(reverse);
  key.layouts(indices === undefined ? [x, out] : [x, out, indices]);
  return plans.get(key, () => makePlan(target, problem));
}

function makePlan(target: Target, problem: ScanProblem): Plan {
  const { name, op, x, out, indices, dim, reverse = false, maxBinding = Infinity } = problem;
  const { shape } = x;
  const total = numelOf(shape);
  if (total === 0) return { launches: [], workspaces: {} };
  const operands = [x, out, ...(indices ? [indices] : [])].map((o) => {
    const strides = broadcastStrides(name, o, shape);
    const [, high] = extent(shape, strides, o.offset);
    const bytes = (high + 1) * dtypeInfo[o.dtype].bytes;
    if (bytes > maxBinding) {
      throw new Error(
        `${name}: a tensor takes ${bytes} bytes, the adapter binds at most ${maxBinding}; split it`,
      );
    }
    return { strides, offset: o.offset };
  });
  const length = shape[dim]!;
  const others = shape.map((_, d) => d).filter((d) => d !== dim);
  const software = target.kind === 'software';
  // Results have no dims of stride 0: what a GPU's lanes write side by side is theirs to say.
  const lines = collapseDims(
    others.map((d) => shape[d]!),
    operands.map((o) => others.map((d) => o.strides[d]!)),
    software ? 0 : 1,
  );
  const count = total / length;
  const wanted = 128;
  const parts = count >= wanted ? 1 : Math.min(Math.ceil(wanted / count), Math.ceil(length / 256), 1024);
  const chunk = Math.ceil(length / parts);
  const chunks = Math.ceil(length / chunk);
  const layout = operands.map((o, k) => {
    const along = o.strides[dim]!;
    const start = reverse ? o.offset + (length - 1) * along : o.offset;
    return [start, (reverse ? -along : along) >>> 0, ...lines.strides[k]!.map((s) => s >>> 0)];
  });
  if (!software) {
    const along = Math.abs(operands[1]!.strides[dim]!);
    const inner = lines.sizes.at(-1)! > 1 ? Math.abs(lines.strides[1]!.at(-1)!) : Infinity;
    const { sizes } = lines;
    return makeTeamScan(target, problem, { count, length, sizes, layout, adjacent: inner < along });
  }
  const spec = (stage: Stage): Spec => ({
    name,
    op,
    stage,
    x: x.dtype,
    out: out.dtype,
    indices: indices !== undefined,
    rank: lines.sizes.length,
    chunked: chunks > 1,
  });
  const make = (
    stage: Stage,
    cells: number,
    buffers: readonly string[],
    rest: readonly number[],
  ): Launch => ({
    kernel: scanKernel(spec(stage)),
    buffers,
    params: [cells, count, length, chunk, chunks, ...(op === 'compensatedSum' ? [0] : []), ...rest],
    grid: foldGrid(Math.ceil(cells / group)),
  });
  const sizes = lines.sizes.slice(1);
  const buffers = ['x', ...(chunks > 1 ? ['totals'] : []), 'out', ...(indices ? ['indices'] : [])];
  const scan = make('scan', count * chunks, buffers, [...sizes, ...layout.flat()]);
  if (chunks === 1) return { launches: [scan], workspaces: {} };
  return {
    launches: [
      make('totals', count * chunks, ['x', 'totals'], [...sizes, ...layout[0]!]),
      make('starts', count, ['totals'], []),
      scan,
    ],
    workspaces: { totals: 4 * stateWords(op) * count * chunks },
  };
}
