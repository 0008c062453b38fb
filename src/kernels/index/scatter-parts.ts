/**
 * What the kernels of scatter-sorted.ts are put together from: coordinates of columns and walks, keys to sort
 * by, how values are reduced, and where a target lies.
 */
import { dtypeInfo, loadCode, storeCode, type DType } from '../base/dtype.js';
import { checkIndexCode, indexFault } from '../base/faults.js';
import { foldGrid, linearWorkgroup, memoKernel, type Kernel, type ParamType } from '../base/kernel.js';
import type { Launch } from '../base/plan.js';
import { reads, shader, type Binding } from '../base/shader.js';
import { kInf, kMax, kMin } from '../expr/math.js';
import { WgslFunctions } from '../expr/wgsl.js';
import type { ScatterProblem, ScatterReduce } from './scatter-problem.js';
import type { KeySource } from './sort-team.js';

/** A dim of the space that is walked, with each operand's stride: of the indices, src and out. */
export interface Space {
  readonly sizes: readonly number[];
  readonly strides: readonly (readonly number[])[];
}

export type Param = readonly [name: string, type: ParamType, value: number];
export const u32 = (values: Readonly<Record<string, number>>): Param[] =>
  Object.entries(values).map(([name, value]) => [name, 'u32', value]);

export interface Piece {
  readonly wgsl: string;
  readonly params: readonly Param[];
}

/** `tag`: the element that `space`'s coordinates `c0` .. are at, for operand `k`. */
export function elementCode(tag: string, c: string, { sizes, strides }: Space, k: number): Piece {
  const terms = sizes.map((_, d) => `${c}${d} * p.${tag}${c}${d}`);
  return {
    wgsl: terms.join(' + '),
    params: strides[k]!.map((s, d) => [`${tag}${c}${d}`, 'u32', s >>> 0]),
  };
}

/** Coordinates `c0` .. of element `from` of a space. */
export function coordinatesCode(c: string, { sizes }: Space, from: string): Piece {
  const lines = [`var ${c}t = ${from};`];
  for (let d = sizes.length - 1; d > 0; d--)
    lines.push(`let ${c}${d} = ${c}t % p.${c}n${d}; ${c}t = ${c}t / p.${c}n${d};`);
  return {
    wgsl: [...lines, `let ${c}0 = ${c}t;`].join('\n'),
    params: sizes.slice(1).map((n, d) => [`${c}n${d + 1}`, 'u32', n]),
  };
}

/** The numbers that are reduced: WGSL of values as they are kept on the way, a u32 for truth values. */
export interface Values {
  readonly type: 'f32' | 'i32' | 'u32';
  readonly fns: WgslFunctions;
  readonly join: (a: string, b: string) => string;
  /** Changes nothing; there is none of `assign`. */
  readonly neutral: string;
  readonly load: (dtype: DType, stored: string) => string;
  readonly store: (value: string) => string;
}

export function valuesOf(reduce: ScatterReduce, out: DType): Values {
  const fns = new WgslFunctions();
  const { compute } = dtypeInfo[out];
  const type = compute === 'bool' ? 'u32' : compute;
  const all = reduce === 'mul' || reduce === 'min';
  const join = (a: string, b: string): string => {
    if (reduce === 'assign') return b;
    if (compute === 'bool') return `(${a} ${all ? '&' : '|'} ${b})`;
    if (reduce === 'add') return `(${a} + ${b})`;
    if (reduce === 'mul') return `(${a} * ${b})`;
    if (type !== 'f32') return `${reduce}(${a}, ${b})`;
    return `${fns.use(reduce === 'max' ? kMax : kMin, 1)}(${a}, ${b})`;
  };
  const bounds = { f32: '', i32: 'i32(-2147483648)', u32: '0u' };
  const tops = { f32: '', i32: '2147483647i', u32: '4294967295u' };
  const neutral = (): string => {
    // The zero that leaves every zero as it is has a sign.
    if (reduce === 'add' || reduce === 'assign')
      return type === 'f32' ? 'bitcast<f32>(0x80000000u)' : `${type}(0)`;
    if (reduce === 'mul') return `${type}(1)`;
    if (type !== 'f32') return (reduce === 'max' ? bounds : tops)[type];
    return `${reduce === 'max' ? '-' : ''}${fns.use(kInf, 1)}()`;
  };
  return {
    type,
    fns,
    join,
    neutral: neutral(),
    load: (dtype, stored) => `${type}(${loadCode(dtype, 1, stored)})`,
    store: (value) => (compute === 'bool' ? value : storeCode(out, 1, value)),
  };
}

/** A problem with what is known of it. */
export interface Work {
  readonly problem: ScatterProblem;
  readonly columns: Space;
  readonly loop: Space;
  /** All columns have the same indices. */
  readonly shared: boolean;
  /** Possible targets of a column. */
  readonly targets: number;
  readonly values: Values;
  readonly team: number;
}

/** The kernel's own copy of everything that its text depends on. */
export const keyOf = (
  { problem, columns, loop, shared, team }: Work,
  ...more: (string | number | boolean)[]
): string =>
  [
    problem.name,
    problem.reduce,
    problem.src.dtype,
    problem.out.dtype,
    problem.indices.length,
    columns.sizes.length,
    loop.sizes.length,
    shared,
    team,
    ...more,
  ].join('|');

/** Key: the number of the target, row-major over the indices; all ones for what is left out. */
export function keySource(work: Work, first: number): KeySource {
  const { problem, columns, loop, shared } = work;
  const { indices, skip, checked = false, name } = problem;
  const pieces = [
    ...(shared ? [] : [coordinatesCode('c', columns, 'row')]),
    coordinatesCode('l', loop, 'p.first + position'),
  ];
  const params: Param[] = [['first', 'u32', first], ...pieces.flatMap((piece) => piece.params)];
  if (skip !== undefined) params.push(['skip', 'u32', skip >>> 0]);
  const code = indices.map(({ operand, size }, m) => {
    const places = [
      ...(shared ? [] : [elementCode(`j${m}`, 'c', columns, m)]),
      elementCode(`j${m}`, 'l', loop, m),
    ];
    params.push([`j${m}O`, 'u32', operand.offset], [`n${m}`, 'u32', size]);
    params.push(...places.flatMap((place) => place.params));
    return `let raw${m} = index${m}[p.j${m}O + ${places.map((place) => place.wgsl).join(' + ')}];
    ${checked ? checkIndexCode(`raw${m}`, `p.n${m}`, 1) : ''}
    let i${m} = select(raw${m}, raw${m} + i32(p.n${m}), raw${m} < 0);
    inside = inside && i${m} >= 0 && i${m} < i32(p.n${m});${m === 0 && skip !== undefined ? ' inside = inside && i0 != i32(p.skip);' : ''}
    number = number * p.n${m} + bitcast<u32>(i${m});`;
  });
  return {
    key: keyOf(work, skip !== undefined, checked),
    binds: indices.map((_, m) => ({
      binding: reads(`index${m}`, 'i32'),
      buffer: indices.length === 1 ? 'index' : `index${m}`,
    })),
    params: Object.fromEntries(params.map(([field, , value]) => [field, value])),
    load: `${pieces.map((piece) => piece.wgsl).join('\n')}
    var inside = true;
    var number = 0u;
    ${code.join('\n    ')}
    key = select(0xffffffffu, number, inside);`,
    ...(checked && { fault: indexFault(name) }),
  };
}

/** `position`: where target `key` of a column lies in `out`, counted from where the column starts. */
function targetCode({ problem: { indices } }: Work): Piece {
  const lines = ['var rest = key;', 'var position = 0u;'];
  for (let m = indices.length - 1; m > 0; m--)
    lines.push(`position += rest % p.n${m} * p.g${m}; rest = rest / p.n${m};`);
  return {
    wgsl: [...lines, 'position += rest * p.g0;'].join('\n  '),
    params: indices.flatMap(({ stride, size }, m): Param[] => [
      [`g${m}`, 'u32', stride >>> 0],
      ...(m > 0 ? [[`n${m}`, 'u32', size] as const] : []),
    ]),
  };
}

/** A function that joins a value into a target of a column that starts at `start`. */
export function writeFunction(work: Work): Piece {
  const { values } = work;
  const place = targetCode(work);
  return {
    wgsl: `fn put(key: u32, start: u32, value: ${values.type}) {
  if (key == 0xffffffffu) { return; }
  ${place.wgsl}
  let at = start + position;
  out[at] = ${values.store(values.join(values.load(work.problem.out.dtype, 'out[at]'), 'value'))};
}`,
    params: place.params,
  };
}

/** A kernel of one workgroup for each of `groups`; its text is determined by `key`. */
export interface Body {
  readonly key: string;
  readonly bindings: readonly (readonly [Binding, buffer: string])[];
  readonly params: readonly Param[];
  readonly functions: string;
  readonly body: string;
  readonly groups: number;
}

export function launchOf(work: Work, name: string, made: Body): Launch {
  const { team } = work;
  const kernel = memoKernel(`scatter-sorted|${made.key}`, (): Kernel => ({
    name,
    ...shader({
      bindings: made.bindings.map(([binding]) => binding),
      functions: `${work.values.fns.code()}\n${made.functions}`,
      workgroup: team,
      builtins: ['wid', 'nwg', 'lid'],
      body: `  let cut = ${linearWorkgroup};
  if (cut >= p.groups) { return; }
  ${made.body}`,
    }),
    params: [['groups', 'u32'], ...made.params.map(([field, type]) => [field, type] as const)],
  }));
  return {
    kernel,
    buffers: made.bindings.map(([, buffer]) => buffer),
    params: [made.groups, ...made.params.map(([, , value]) => value)],
    grid: foldGrid(made.groups),
  };
}
