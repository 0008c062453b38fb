/**
 * WGSL of reductions. A launch computes cells: cell (o, s) reduces chunk `s` of the reduced elements for
 * output item `o`. An item is one output, or four neighbouring ones read as vec4 (`column`); a step along the
 * reduced dimensions is one element, or a vec4 of four (`row`). A thread owns a cell and walks its chunk in
 * runs of contiguous steps, or (on GPUs) a team of threads shares it and joins its states in workgroup
 * memory.
 *
 * With one chunk per output the cell finishes and stores; with several it leaves its state in the buffer
 * `partials`, at [field][chunk][output], and a second launch with `source: 'partials'` joins those. Every
 * order is fixed: results are the same from run to run.
 */
import { dtypeInfo, loadCode, storeCode, wgslType, type DType, type Width } from '../base/dtype.js';
import type { Expr } from '../expr/expr.js';
import { overflowFault } from './exact-int.js';
import { emit, WgslFunctions } from '../expr/wgsl.js';
import {
  linearWorkgroup,
  memoKernel,
  type Fault,
  type Kernel,
  type ParamField,
  type Target,
} from '../base/kernel.js';
import { reads, shader, writes, type Binding } from '../base/shader.js';
import { joinInTree } from '../base/team.js';
import { reducer } from './states.js';
import type { ReduceOp, Reducer } from './reducer.js';

/** Threads of a workgroup of teams. */
export const teamsGroup = 256;

/**
 * Who walks a cell: one thread `alone`, or a team of `p.team` threads (a power of two up to
 * {@link teamsGroup}). Threads that lie next to each other are members of one team where neighbouring steps
 * are neighbours in memory (`along`), or belong to neighbouring cells where items are (`across`).
 */
export type Sharing = 'alone' | 'along' | 'across';

export type ReduceMode = 'row' | 'column' | 'scalar';

/**
 * Which dimensions move an operand (a parameter holds the stride per item or step there), and what its vec4
 * is in memory.
 */
export interface ReduceAccess {
  readonly kept: readonly boolean[];
  readonly reduced: readonly boolean[];
  /** `one` in scalar mode and for operands that do not move along the vector's dimension. */
  readonly inner: 'vec' | 'lanes' | 'one';
}

export interface ReduceSpec {
  readonly name: string;
  /** The op that the kernel is a part of, for errors. */
  readonly of: string;
  readonly op: ReduceOp;
  /** Value to reduce, from the inputs; f32, i32 or u32. */
  readonly map: Expr;
  /** The other factor of `exactDot`, i32. */
  readonly factor?: Expr;
  /**
   * Output values from the reduction's results (`resultTypes`), each of the type that its dtype computes in.
   */
  readonly finish: readonly Expr[];
  readonly inputs: readonly { readonly dtype: DType; readonly access: ReduceAccess }[];
  readonly outputs: readonly { readonly dtype: DType; readonly access: ReduceAccess }[];
  readonly mode: ReduceMode;
  readonly keptRank: number;
  readonly reducedRank: number;
  readonly source: 'map' | 'partials';
  readonly sink: 'outputs' | 'partials';
  readonly sharing: Sharing;
  readonly params: readonly ParamField[];
}

export const threadsPerGroup = (target: Target, sharing: Sharing): number =>
  sharing !== 'alone' ? teamsGroup : target.kind === 'software' ? 8 : 64;

const accessKey = (a: ReduceAccess): string =>
  `${a.inner[0]}${a.kept.map(Number).join('')}.${a.reduced.map(Number).join('')}`;

function key(s: ReduceSpec, target: Target): string {
  const ins = s.inputs.map((x) => x.dtype + accessKey(x.access));
  const outs = s.outputs.map((x, j) => `${s.finish[j]!.id}${x.dtype}${accessKey(x.access)}`);
  const params = s.params.map(([n, t]) => n + t);
  const flags = [s.mode, s.keptRank, s.reducedRank, s.source, s.sink, s.sharing, target.kind];
  return `reduce|${s.name}|${s.of}|${s.op}|${s.map.id}*${s.factor?.id}|${flags}|${ins}|${outs}|${params}`;
}

/** Launch parameters of an operand: offset, strides where it moves, distance of a vec4's lanes. */
export function accessParams(tag: string, a: ReduceAccess): string[] {
  return [
    `${tag}o`,
    ...a.kept.flatMap((moves, d) => (moves ? [`${tag}k${d}`] : [])),
    ...a.reduced.flatMap((moves, d) => (moves ? [`${tag}r${d}`] : [])),
    ...(a.inner === 'lanes' ? [`${tag}l`] : []),
  ];
}

/** Coordinates `c0..` of linear index `from` over dimensions whose sizes are the params `n1..`. */
function decode(c: string, n: string, rank: number, from: string): string {
  if (rank === 1) return `var ${c}0 = ${from};`;
  const lines = [`var ${c}t = ${from};`];
  for (let d = rank - 1; d > 0; d--) {
    lines.push(`var ${c}${d} = ${c}t % p.${n}${d}; ${c}t = ${c}t / p.${n}${d};`);
  }
  return [...lines, `var ${c}0 = ${c}t;`].join('\n');
}

const sumOf = (start: string, moves: readonly boolean[], c: string, stride: string): string =>
  [start, ...moves.flatMap((m, d) => (m ? [`${c}${d} * p.${stride}${d}`] : []))].join(' + ');

interface Context {
  readonly spec: ReduceSpec;
  readonly red: Reducer;
  readonly fns: WgslFunctions;
  /** Width of the state while accumulating. */
  readonly width: Width;
}

const types = (ctx: Context): string[] => ctx.red.fields.map((f) => wgslType(f.type, ctx.width));

const declareState = (ctx: Context, name: string): string =>
  ctx.red.fields.map((f, i) => `var ${name}${i} = ${types(ctx)[i]}(${f.init});`).join('\n');

const state = (ctx: Context, name: string): string[] => ctx.red.fields.map((_, i) => `${name}${i}`);

/**
 * Takes one step's value into state `acc`. `at(k)` is WGSL for the position in operand k, `index` that of the
 * step.
 */
function stepCode(
  ctx: Context,
  acc: string,
  at: (k: number) => string,
  index: string,
  prefix: string,
): string {
  const { spec, red, fns, width } = ctx;
  if (spec.source === 'partials') {
    const loads = red.fields.map((f, i) => {
      const word = `partials[(${i}u * p.stotal + ${index}) * p.items + o]`;
      return `let ${prefix}${i} = ${f.type === 'u32' ? word : `bitcast<${f.type}>(${word})`};`;
    });
    return `${loads.join('\n')}\n${red.merge(state(ctx, acc), state(ctx, prefix), width)}`;
  }
  const loads = spec.inputs.map(({ dtype, access }, k) => {
    let stored = `i${k}[${at(k)}]`;
    let w: Width = 1;
    if (access.inner === 'vec') w = 4;
    if (access.inner === 'lanes') {
      w = 4;
      const lanes = [0, 1, 2, 3].map((l) => `i${k}[${at(k)} + ${l}u * p.i${k}l]`);
      stored = `${wgslType(dtypeInfo[dtype].storage, 4)}(${lanes.join(', ')})`;
    }
    return { name: `${prefix}x${k}`, code: loadCode(dtype, w, stored), width: w };
  });
  const value = emit(spec.factor ? [spec.map, spec.factor] : [spec.map], {
    width,
    functions: fns,
    prefix: `${prefix}v`,
    input: (x) => ({ code: loads[x.index]!.name, width: loads[x.index]!.width }),
  });
  const number =
    width === 1
      ? `p.rbase + ${index}`
      : spec.mode === 'row'
        ? `(vec4<u32>((p.rbase + ${index}) * 4u) + vec4<u32>(0u, 1u, 2u, 3u))`
        : `vec4<u32>(p.rbase + ${index})`;
  return [
    ...loads.map((l) => `let ${l.name} = ${l.code};`),
    value.code,
    red.step(state(ctx, acc), value.results[0]!, number, width, value.results[1]),
  ].join('\n');
}

/** One thread walks steps [begin, end): runs that are contiguous in the innermost reduced dimension. */
function threadWalk(ctx: Context): string {
  const { spec, red } = ctx;
  const last = spec.reducedRank - 1;
  const blocked = spec.op === 'sum' || spec.op === 'moments' || spec.op === 'scaledMoments';
  const acc = blocked ? 'b' : 'a';
  const limits = ['end - i'];
  if (last > 0) limits.push(`p.rn${last} - r${last}`);
  if (blocked) limits.push('p.block');
  const run = limits.reduce((a, b) => `min(${a}, ${b})`);
  const pointers =
    spec.source === 'partials'
      ? []
      : spec.inputs.map((x, k) => `var q${k} = ${sumOf(`base${k}`, x.access.reduced, 'r', `i${k}r`)};`);
  const advance =
    spec.source === 'partials'
      ? []
      : spec.inputs.flatMap((x, k) => (x.access.reduced[last] ? [`q${k} += p.i${k}r${last};`] : []));
  let carry = '';
  for (let d = 1; d < last; d++) carry = `if (r${d} == p.rn${d}) { r${d} = 0u; r${d - 1}++; ${carry} }`;
  const next =
    last === 0
      ? 'r0 += run;'
      : `r${last} += run;\n    if (r${last} == p.rn${last}) { r${last} = 0u; r${last - 1}++; ${carry} }`;
  return `
  ${decode('r', 'rn', spec.reducedRank, 'begin')}
  var i = begin;
  while (i < end) {
    let run = ${run};
    ${pointers.join('\n')}
    ${blocked ? declareState(ctx, 'b') : ''}
    for (var j = 0u; j < run; j++) {
      ${stepCode(ctx, acc, (k) => `q${k}`, '(i + j)', 's')}
      ${advance.join(' ')}
    }
    ${blocked ? red.merge(state(ctx, 'a'), state(ctx, 'b'), ctx.width) : ''}
    i += run;
    ${next}
  }`;
}

/** The members of a team walk [begin, end) side by side, a step each. */
function teamWalk(ctx: Context): string {
  const { spec } = ctx;
  return `
  for (var i = begin + member; i < end; i += p.team) {
    ${spec.source === 'partials' ? '' : decode('r', 'rn', spec.reducedRank, 'i')}
    ${stepCode(ctx, 'a', (k) => `(${sumOf(`base${k}`, spec.inputs[k]!.access.reduced, 'r', `i${k}r`)})`, 'i', 's')}
  }`;
}

/** Joins the four lanes of a `row` state into scalars named `name`. */
function joinLanes(ctx: Context, from: string, name: string): string {
  const { red } = ctx;
  const lane = (l: string): string[] => red.fields.map((_, i) => `${from}${i}.${l}`);
  const first = red.fields.map((_, i) => `var ${name}${i} = ${from}${i}.x;`).join('\n');
  const acc = red.fields.map((_, i) => `${name}${i}`);
  return [first, ...['y', 'z', 'w'].map((l) => red.merge(acc, lane(l), 1))].join('\n');
}

/** Leaves the joined state of a team in its first member. */
function teamJoin(ctx: Context, name: string, width: Width): string {
  const { spec, red } = ctx;
  const slot = (at: string): string[] => red.fields.map((_, i) => `shared${i}[${at}]`);
  const next = spec.sharing === 'along' ? 'lid + h' : 'lid + h * cells';
  const store = red.fields.map((_, i) => `shared${i}[lid] = ${name}${i};`).join(' ');
  return `\n${joinInTree('p.team >> 1u', store, red.merge(state(ctx, name), slot(next), width))}`;
}

/** Which cell a thread works on, and within a team which member it is. */
function cellOf(sharing: Sharing, group: number): string {
  if (sharing === 'alone')
    return `let cell = ${linearWorkgroup} * ${group}u + lid;
  if (cell >= p.cells) { return; }`;
  const [local, member] =
    sharing === 'along' ? ['lid / p.team', 'lid % p.team'] : ['lid % cells', 'lid / cells'];
  // All threads meet the barriers, also those without a cell.
  return `let cells = ${group}u / p.team;
  let cell = ${linearWorkgroup} * cells + ${local};
  let member = ${member};
  let live = cell < p.cells;`;
}

function storeOutputs(ctx: Context, name: string, width: Width): string {
  const { spec, red, fns } = ctx;
  const results = red.results(state(ctx, name), width).map((code, i) => `let y${i} = ${code};`);
  const finished = emit(spec.finish, {
    width,
    functions: fns,
    prefix: 'fv',
    input: (x) => ({ code: `y${x.index}`, width }),
  });
  const stores = spec.outputs.flatMap(({ dtype, access }, j) => {
    const at = sumOf(`p.o${j}o`, access.kept, 'k', `o${j}k`);
    const value = `z${j}`;
    const lines = [`let ${value} = ${storeCode(dtype, width, finished.results[j]!)}; let w${j} = ${at};`];
    if (width === 1) lines.push(`o${j}[w${j}] = ${value};`);
    else
      ['x', 'y', 'z', 'w'].forEach((l, n) => lines.push(`o${j}[w${j} + ${n}u * p.o${j}l] = ${value}.${l};`));
    return lines;
  });
  return [raiseCode(red, state(ctx, name), width), ...results, finished.code, ...stores].join('\n');
}

/** Raises for the final states that the reducer refuses. */
function raiseCode({ refuses }: Reducer, acc: readonly string[], width: Width): string {
  const lanes = refuses === undefined ? [] : width === 1 ? [''] : ['.x', '.y', '.z', '.w'];
  return lanes
    .map((lane) => refuses!(acc.map((field) => field + lane)))
    .map(({ bad, words }) => `if (${bad}) { raiseFault(vec4<u32>(${words})); }`)
    .join('\n');
}

/** What a launch raises: only the last one knows whether the result fits. */
function faultOf(spec: ReduceSpec): Fault | undefined {
  if (spec.sink === 'partials') return undefined;
  if (spec.op !== 'exactSum' && spec.op !== 'exactDot' && spec.op !== 'exactProd') return undefined;
  return overflowFault(spec.of, spec.op);
}

function storePartials(ctx: Context, name: string, width: Width): string {
  return ctx.red.fields
    .map((f, i) => {
      const word = (v: string): string => (f.type === 'u32' ? v : `bitcast<u32>(${v})`);
      const row = `(${i}u * p.stotal + p.sbase + s) * p.items`;
      if (width === 1) return `partials[${row} + o] = ${word(`${name}${i}`)};`;
      // Items are vec4s here; p.items counts them, the buffer holds single outputs.
      const at = `(${row} + o) * 4u`;
      return ['x', 'y', 'z', 'w']
        .map((l, n) => `partials[${at} + ${n}u] = ${word(`${name}${i}.${l}`)};`)
        .join('\n');
    })
    .join('\n');
}

const sourceBindings = ({ source, inputs }: ReduceSpec): Binding[] =>
  source === 'partials'
    ? [reads('partials', 'u32')]
    : inputs.map(({ dtype, access }, k) =>
        reads(`i${k}`, wgslType(dtypeInfo[dtype].storage, access.inner === 'vec' ? 4 : 1)),
      );

const sinkBindings = ({ sink, outputs }: ReduceSpec): Binding[] =>
  sink === 'partials'
    ? [writes('partials', 'u32')]
    : outputs.map(({ dtype }, j) => writes(`o${j}`, dtypeInfo[dtype].storage));

export function reduceKernel(target: Target, spec: ReduceSpec): Kernel {
  return memoKernel(key(spec, target), () => {
    const fns = new WgslFunctions();
    const value = spec.map.type as 'f32' | 'i32' | 'u32';
    const red = reducer(spec.op, value, fns);
    const width: Width = spec.mode === 'scalar' ? 1 : 4;
    const ctx: Context = { spec, red, fns, width };
    const { sharing } = spec;
    const group = threadsPerGroup(target, sharing);
    const alone = sharing === 'alone';

    const scalarState = spec.mode === 'row' ? 'c' : 'a';
    const outWidth: Width = spec.mode === 'column' ? 4 : 1;
    const finish =
      spec.sink === 'partials'
        ? storePartials(ctx, scalarState, outWidth)
        : storeOutputs(ctx, scalarState, outWidth);
    const bases =
      spec.source === 'partials'
        ? []
        : spec.inputs.map((x, k) => `let base${k} = ${sumOf(`p.i${k}o`, x.access.kept, 'k', `i${k}k`)};`);
    const body = `
  let o = cell % p.items;
  let s = cell / p.items;
  ${decode('k', 'kn', spec.keptRank, 'o')}
  ${bases.join('\n')}
  let begin = s * p.chunk;
  let end = ${alone ? 'min(p.total, begin + p.chunk)' : 'select(begin, min(p.total, begin + p.chunk), live)'};
  ${declareState(ctx, 'a')}
  ${alone ? threadWalk(ctx) : teamWalk(ctx)}
  ${spec.mode === 'row' ? joinLanes(ctx, 'a', 'c') : ''}
  ${alone ? finish : `${teamJoin(ctx, scalarState, outWidth)}\nif (live && member == 0u) {\n${finish}\n}`}`;

    const shared = alone
      ? ''
      : red.fields
          .map((f, i) => `var<workgroup> shared${i}: array<${wgslType(f.type, outWidth)}, ${group}>;`)
          .join('\n');
    const fault = faultOf(spec);
    return {
      name: spec.name,
      ...shader({
        bindings: [...sourceBindings(spec), ...sinkBindings(spec)],
        functions: `${shared}\n${fns.code()}`,
        workgroup: group,
        builtins: ['wid', 'nwg', 'lid'],
        body: `  ${cellOf(sharing, group)}
  ${body}`,
      }),
      params: [...spec.params, ...reduceParams(spec).map((n): ParamField => [n, 'u32'])],
      ...(fault && { fault }),
    };
  });
}

/** Names of the u32 launch parameters after the op's own. */
function reduceParams(spec: ReduceSpec): string[] {
  const counted = (n: string, rank: number): string[] =>
    Array.from({ length: rank - 1 }, (_, d) => `${n}${d + 1}`);
  return [
    'cells',
    'items',
    'total',
    'chunk',
    'block',
    'rbase',
    'sbase',
    'stotal',
    ...(spec.sharing === 'alone' ? [] : ['team']),
    ...counted('kn', spec.keptRank),
    ...counted('rn', spec.reducedRank),
    ...(spec.source === 'map' ? spec.inputs.flatMap((x, k) => accessParams(`i${k}`, x.access)) : []),
    ...(spec.sink === 'outputs' ? spec.outputs.flatMap((x, j) => accessParams(`o${j}`, x.access)) : []),
  ];
}
