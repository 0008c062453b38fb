/**
 * Scans for GPUs. A workgroup brings a tile of one or several lines into workgroup memory, neighbours in
 * memory by neighbouring invocations, and each invocation owns a few consecutive elements of a line: it
 * reduces them, a tree over the line's invocations (W. D. Hillis, G. L. Steele, "Data Parallel Algorithms",
 * CACM 29, 1986) says what stands before them, and it goes through them again from there. Lines of more than
 * one tile are cut into chunks and scanned in three launches (totals, starts, elements) unless there are
 * enough lines: then a workgroup goes on from tile to tile.
 *
 * Buffers as in scan.ts; of state field f, line l and chunk c `totals` holds `[f][l][c]`.
 */
import { dtypeInfo, loadCode, storeCode } from '../base/dtype.js';
import { foldGrid, linearWorkgroup, memoKernel, teamSize } from '../base/kernel.js';
import type { Kernel, ParamField, Target } from '../base/kernel.js';
import { ceilDiv, powerOfTwo, type Launch, type Plan } from '../base/plan.js';
import { reads, shader, writes, type Binding } from '../base/shader.js';
import { WgslFunctions } from '../expr/wgsl.js';
import { overflowFault, type ExactOp } from './exact-int.js';
import type { Reducer } from './reducer.js';
import type { ScanProblem } from './scan-problem.js';
import { reducer, stateWords } from './states.js';

/** A problem's lines, for any way to scan them. */
export interface ScanLines {
  /** How many there are, and how long each is. */
  readonly count: number;
  readonly length: number;
  /** Sizes of the dims that number the lines, outermost first. */
  readonly sizes: readonly number[];
  /** Of x, out and indices: first element of the first line, stride along lines, strides by `sizes`. */
  readonly layout: readonly (readonly number[])[];
  /** Neighbouring lines are closer together in memory than neighbours on a line. */
  readonly adjacent: boolean;
}

interface Spec {
  readonly name: string;
  readonly op: ScanProblem['op'];
  readonly stage: 'totals' | 'scan';
  readonly x: ScanProblem['x']['dtype'];
  readonly out: ScanProblem['out']['dtype'];
  readonly indices: boolean;
  readonly rank: number;
  /** Invocations of a workgroup, and those of them that share a line. */
  readonly team: number;
  readonly segments: number;
  readonly adjacent: boolean;
  readonly chunked: boolean;
}

/**
 * The most elements of one invocation in a tile: with as many words of state a workgroup stays within 16 KiB.
 * Odd, so that invocations that read at that distance meet in no bank of workgroup memory.
 */
const mostEach = (indices: boolean): number => (indices ? 5 : 7);
/** Workgroups that are enough, so that lines need not be cut, and the most tiles that one does then. */
const enough = 1024;
const mostTiles = 64;
/** Chunks of a line: a few dozen for each invocation that finds their starts. */
const mostChunks = 8192;

const declare = (names: readonly string[], from: readonly string[]): string =>
  names.map((n, i) => `var ${n} = ${from[i]};`).join(' ');
const assign = (to: readonly string[], from: readonly string[]): string =>
  to.map((n, i) => `${n} = ${from[i]};`).join(' ');

/** The state's fields as variables or array elements called `name`. */
const fieldsOf = (red: Reducer, name: string, at = ''): string[] =>
  red.fields.map((_, i) => `${name}${i}${at}`);

const stateArrays = (red: Reducer, team: number): string =>
  red.fields.map((f, i) => `var<workgroup> state${i}: array<${f.type}, ${2 * team}>;`).join('\n');

/**
 * WGSL after which `state` holds, from `half` on, what each invocation and those before it on its line
 * have in `acc`. Neighbours on a line are `step` apart. What stands behind a line's end is read by nobody.
 */
function treeCode(red: Reducer, team: number, segments: number, step: number): string {
  const [left, mine] = [fieldsOf(red, 'left'), fieldsOf(red, 'mine')];
  return `var half = 0u;
  ${assign(fieldsOf(red, 'state', '[lid]'), fieldsOf(red, 'acc'))}
  for (var d = 1u; d < ${segments}u; d *= 2u) {
    workgroupBarrier();
    ${declare(mine, fieldsOf(red, 'state', '[half + lid]'))}
    if (s >= d) {
      ${declare(left, fieldsOf(red, 'state', `[half + lid - d * ${step}u]`))}
      ${red.merge(left, mine, 1)}
      ${assign(mine, left)}
    }
    half = ${team}u - half;
    ${assign(fieldsOf(red, 'state', '[half + lid]'), mine)}
  }
  workgroupBarrier();`;
}

const outputsOf = (s: Spec): readonly ('y' | 'j')[] =>
  s.stage === 'totals' ? [] : s.indices ? ['y', 'j'] : ['y'];

function paramsOf(s: Spec): ParamField[] {
  const names = ['groups', 'lines', 'length', 'chunk', 'chunks', 'span', 'each'];
  if (s.op === 'compensatedSum') names.push('zero');
  for (let d = 1; d < s.rank; d++) names.push(`n${d}`);
  for (const tag of ['x', ...outputsOf(s)]) {
    names.push(`${tag}o`, `${tag}l`);
    for (let d = 0; d < s.rank; d++) names.push(`${tag}s${d}`);
  }
  return names.map((n) => [n, 'u32']);
}

function tileKernel(s: Spec): Kernel {
  return memoKernel(`scan-team|${Object.values(s).join('|')}`, () => {
    const type = dtypeInfo[s.out].compute;
    if (type === 'bool') throw new Error(`${s.name}: a running value cannot be bool; use int32`);
    const { team, segments, adjacent, stage } = s;
    const lines = team / segments;
    const fns = new WgslFunctions();
    const red = reducer(s.op, type, fns);
    const word = red.fields[0]!.type;
    const acc = fieldsOf(red, 'acc');
    const carry = fieldsOf(red, 'carry');
    const total = fieldsOf(red, 'total');
    const neutral = red.fields.map((f) => f.init);
    const slots = red.fields.map((_, i) => `totals[${i}u * p.lines * p.chunks + line * p.chunks + chunk]`);
    const outputs = outputsOf(s);
    const tags = ['x', ...outputs];
    const results = red.results(acc, 1);
    const refused = stage === 'scan' ? red.refuses?.(acc) : undefined;
    const tiles = ['tile', 'places'].slice(0, Math.max(1, outputs.length));
    const kept = (i: number): string => (i === 0 ? storeCode(s.out, 1, 'tile[i]') : 'places[i]');
    const step = adjacent ? lines : 1;
    const cell = adjacent ? `i * ${lines}u + l` : 'l * p.span + i';
    const eachOf = (body: string): string => `for (var i = lid; i < ${lines}u * p.span; i += ${team}u) {
    let row = ${adjacent ? `i % ${lines}u` : 'i / p.span'};
    let at = ${adjacent ? `i / ${lines}u` : 'i % p.span'};
    if (at < count && bundle * ${lines}u + row < p.lines) { ${body} }
  }`;
    const decode = Array.from({ length: s.rank - 1 }, (_, i) => s.rank - 1 - i).map(
      (d) => `let c${d} = t % p.n${d}; t = t / p.n${d};`,
    );
    const start = (tag: string): string =>
      [`p.${tag}o`, ...Array.from({ length: s.rank }, (_, d) => `c${d} * p.${tag}s${d}`)].join(' + ');
    const tree =
      segments === 1
        ? `${declare(total, acc)}
  ${assign(acc, carry)}`
        : `${treeCode(red, team, segments, step)}
  let last = half + ${adjacent ? `(count - 1u) / p.each * ${lines}u + l` : `l * ${segments}u + (count - 1u) / p.each`};
  ${declare(total, fieldsOf(red, 'state', '[last]'))}
  ${assign(acc, carry)}
  if (s > 0u) {
    ${declare(fieldsOf(red, 'before'), fieldsOf(red, 'state', `[half + lid - ${step}u]`))}
    ${red.merge(acc, fieldsOf(red, 'before'), 1)}
  }`;
    const rescan = `for (var i = low; i < high; i++) {
    ${red.step(acc, `tile[${cell}]`, '(begin + i)', 1)}
    ${refused ? `if (line < p.lines && (${refused.bad})) { raiseFault(vec4<u32>(${refused.words})); }` : ''}
    ${tiles.map((t, i) => `${t}[${cell}] = ${results[i]};`).join(' ')}
  }
  workgroupBarrier();
  ${eachOf(outputs.map((tag, i) => `${tag}[${tag}Line[row] + (begin + at) * p.${tag}l] = ${kept(i)};`).join(' '))}`;
    const bindings: Binding[] = [
      reads('x', dtypeInfo[s.x].storage),
      ...(stage === 'totals' ? [writes('totals', word)] : s.chunked ? [reads('totals', word)] : []),
      ...outputs.map((tag) => writes(tag, tag === 'y' ? dtypeInfo[s.out].storage : 'i32')),
    ];
    return {
      name: stage === 'scan' ? s.name : `${s.name}.totals`,
      ...shader({
        bindings,
        functions: [
          fns.code(),
          ...tiles.map(
            (t, i) => `var<workgroup> ${t}: array<${i === 0 ? type : 'i32'}, ${team * mostEach(s.indices)}>;`,
          ),
          ...tags.map((tag) => `var<workgroup> ${tag}Line: array<u32, ${lines}>;`),
          segments === 1 ? '' : stateArrays(red, team),
        ].join('\n'),
        workgroup: team,
        builtins: ['wid', 'nwg', 'lid'],
        body: `  let cut = ${linearWorkgroup};
  if (cut >= p.groups) { return; }
  let chunk = cut % p.chunks;
  let bundle = cut / p.chunks;
  let s = ${adjacent ? `lid / ${lines}u` : `lid % ${segments}u`};
  let l = ${adjacent ? `lid % ${lines}u` : `lid / ${segments}u`};
  let line = bundle * ${lines}u + l;
  if (lid < ${lines}u) {
    var t = bundle * ${lines}u + lid;
    ${decode.join('\n    ')}
    let c0 = t;
    ${tags.map((tag) => `${tag}Line[lid] = ${start(tag)};`).join('\n    ')}
  }
  ${declare(carry, neutral)}
  ${stage === 'scan' && s.chunked ? `if (line < p.lines) { ${assign(carry, slots)} }` : ''}
  let end = min(p.length, (chunk + 1u) * p.chunk);
  for (var begin = chunk * p.chunk; begin < end; begin += p.span) {
  workgroupBarrier();
  let count = min(p.span, end - begin);
  ${eachOf(`tile[i] = ${type}(${loadCode(s.x, 1, 'x[xLine[row] + (begin + at) * p.xl]')});`)}
  workgroupBarrier();
  let low = min(s * p.each, count);
  let high = min(low + p.each, count);
  ${declare(acc, neutral)}
  for (var i = low; i < high; i++) {
    ${red.step(acc, `tile[${cell}]`, '(begin + i)', 1)}
  }
  ${tree}
  ${red.merge(carry, total, 1)}
  ${stage === 'scan' ? rescan : ''}
  }
  ${stage === 'totals' ? `if (s == 0u && line < p.lines) { ${assign(slots, carry)} }` : ''}`,
      }),
      params: paramsOf(s),
      ...(refused && { fault: overflowFault(s.name, s.op as ExactOp) }),
    };
  });
}

/** Turns the chunks' totals into what stands before each, in place. */
function startsKernel(
  name: string,
  op: ScanProblem['op'],
  out: Spec['out'],
  team: number,
  segments: number,
): Kernel {
  return memoKernel(`scan-team-starts|${[name, op, out, team, segments].join('|')}`, () => {
    const type = dtypeInfo[out].compute as 'f32' | 'i32' | 'u32';
    const fns = new WgslFunctions();
    const red = reducer(op, type, fns);
    const acc = fieldsOf(red, 'acc');
    const total = fieldsOf(red, 'total');
    const neutral = red.fields.map((f) => f.init);
    const slots = red.fields.map((_, i) => `totals[${i}u * p.lines * p.chunks + line * p.chunks + i]`);
    const lines = team / segments;
    const names = ['lines', 'chunks', 'each', ...(op === 'compensatedSum' ? ['zero'] : [])];
    const functions = `${stateArrays(red, team)}`;
    const body = `  let s = lid % ${segments}u;
  let line = ${linearWorkgroup} * ${lines}u + lid / ${segments}u;
  let chunks = select(0u, p.chunks, line < p.lines);
  let low = min(s * p.each, chunks);
  let high = min(low + p.each, chunks);
  ${declare(acc, neutral)}
  for (var i = low; i < high; i++) {
    ${declare(total, slots)}
    ${red.merge(acc, total, 1)}
  }
  ${treeCode(red, team, segments, 1)}
  ${assign(acc, neutral)}
  if (s > 0u) {
    ${declare(fieldsOf(red, 'before'), fieldsOf(red, 'state', '[half + lid - 1u]'))}
    ${red.merge(acc, fieldsOf(red, 'before'), 1)}
  }
  for (var i = low; i < high; i++) {
    ${declare(total, slots)}
    ${assign(slots, acc)}
    ${red.merge(acc, total, 1)}
  }`;
    return {
      name: `${name}.starts`,
      ...shader({
        bindings: [writes('totals', red.fields[0]!.type)],
        functions: `${fns.code()}\n${functions}`,
        workgroup: team,
        builtins: ['wid', 'nwg', 'lid'],
        body,
      }),
      params: names.map((n) => [n, 'u32']),
    };
  });
}

export function makeTeamScan(target: Target, problem: ScanProblem, all: ScanLines): Plan {
  const { name, op, x, out, indices } = problem;
  const { count, length, sizes, layout, adjacent } = all;
  const team = teamSize(target);
  const most = mostEach(indices !== undefined);
  // Lines side by side: 32 of them make whole memory transactions.
  const room = adjacent ? team / Math.min(32, powerOfTwo(count)) : team;
  const segments = Math.min(room, powerOfTwo(ceilDiv(length, most)));
  const perInvocation = Math.min(most, ceilDiv(length, segments));
  const each = adjacent ? perInvocation : perInvocation | 1;
  const span = Math.min(length, segments * each);
  const bundles = ceilDiv(count, team / segments);
  const tiles = ceilDiv(length, span);
  const whole = tiles === 1 || (bundles >= enough && tiles <= mostTiles);
  const chunk = whole ? length : span * ceilDiv(tiles, mostChunks);
  const chunks = ceilDiv(length, chunk);
  const groups = bundles * chunks;
  const zero = op === 'compensatedSum' ? [0] : [];
  const make = (stage: Spec['stage'], buffers: readonly string[], lines: typeof layout): Launch => ({
    kernel: tileKernel({
      name,
      op,
      stage,
      x: x.dtype,
      out: out.dtype,
      indices: indices !== undefined,
      rank: sizes.length,
      team,
      segments,
      adjacent,
      chunked: chunks > 1,
    }),
    buffers,
    params: [groups, count, length, chunk, chunks, span, each, ...zero, ...sizes.slice(1), ...lines.flat()],
    grid: foldGrid(groups),
  });
  const results = ['out', ...(indices === undefined ? [] : ['indices'])];
  if (chunks === 1) return { launches: [make('scan', ['x', ...results], layout)], workspaces: {} };
  const starters = Math.max(2, Math.min(team, powerOfTwo(ceilDiv(chunks, 8))));
  return {
    launches: [
      make('totals', ['x', 'totals'], layout.slice(0, 1)),
      {
        kernel: startsKernel(name, op, out.dtype, team, starters),
        buffers: ['totals'],
        params: [count, chunks, ceilDiv(chunks, starters), ...zero],
        grid: foldGrid(ceilDiv(count, team / starters)),
      },
      make('scan', ['x', 'totals', ...results], layout),
    ],
    workspaces: { totals: 4 * stateWords(op) * count * chunks },
  };
}
