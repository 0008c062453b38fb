/**
 * The frame of kernels that read a row of a dense [rows, classes] matrix more than once. On a software
 * adapter one thread walks a row (barriers are dear there); on a GPU a team shares one, adding up through
 * workgroup memory.
 */
import { foldGrid, linearWorkgroup, type Kernel, type ParamField, type Target } from '../base/kernel.js';
import type { BufferRef, Launch, Limits } from '../base/plan.js';
import { shader, type Binding } from '../base/shader.js';

export interface RowProblem {
  readonly rows: number;
  readonly classes: number;
}

export interface RowShape {
  /** Threads that share a row; 1 on software adapters. */
  readonly share: number;
  /** Of a workgroup: a power of two times `share`. */
  readonly group: number;
  readonly width: 1 | 4;
}

/** Some four lanes, or more, for each thread. */
export function rowShape(target: Target, { classes }: RowProblem, most = 64): RowShape {
  const width = classes % 4 === 0 ? 4 : 1;
  if (target.kind === 'software') return { share: 1, group: 8, width };
  const fitting = 2 ** Math.ceil(Math.log2(classes / width / 4));
  const share = Math.min(Math.max(fitting, 16), most, target.maxInvocations);
  return { share, group: Math.max(64, share), width };
}

/** What a kernel is remembered by, beside its own flags. */
export const rowShapeKey = ({ share, width }: RowShape): string => `${share}:${width}`;

/** NaN by bits: comparisons with NaN cannot be trusted on every adapter. */
const helpers = `
fn isNan(x: f32) -> bool { return (bitcast<u32>(x) & 0x7fffffffu) > 0x7f800000u; }
fn nan() -> f32 { var bits = 0x7fc00000u; return bitcast<f32>(bits); }
fn lowest() -> f32 { return -3.402823466e+38; }
`;

/** A function that hands the joined values of a row's threads to all of them. */
const joined = (name: string, share: number, join: (a: string, b: string) => string): string =>
  share === 1
    ? `fn ${name}(v: f32, lid: u32) -> f32 { return v; }`
    : `fn ${name}(v: f32, lid: u32) -> f32 {
  let t = lid % ${share}u;
  joined[lid] = v; workgroupBarrier();
  for (var s = ${share / 2}u; s > 0u; s >>= 1u) {
    if (t < s) { joined[lid] = ${join('joined[lid]', 'joined[lid + s]')}; }
    workgroupBarrier();
  }
  let r = joined[lid - t]; workgroupBarrier();
  return r;
}`;

/**
 * `body` in its frame: `row` is its index and `base` where it begins; LOOP heads a loop of `i` over the
 * thread's lanes of `T`, a type of bindings too, which for a thread without a row are none; LEADER holds for
 * one thread of a row. `total` and `largest` join scalars over a row's threads, `across` and `top` over a
 * lane's values.
 */
export function rowKernel(
  name: string,
  { share, group, width }: RowShape,
  bindings: readonly Binding[],
  params: readonly ParamField[],
  body: string,
): Kernel {
  const T = width === 4 ? 'vec4<f32>' : 'f32';
  const single = share === 1;
  const team = [
    single ? '' : `var<workgroup> joined: array<f32, ${group}>;`,
    joined('total', share, (a, b) => `${a} + ${b}`),
    joined('largest', share, (a, b) => `max(${a}, ${b})`),
  ];
  const lane =
    width === 4
      ? `fn across(v: vec4<f32>) -> f32 { return (v.x + v.y) + (v.z + v.w); }
fn top(v: vec4<f32>) -> f32 { return max(max(v.x, v.y), max(v.z, v.w)); }`
      : 'fn across(v: f32) -> f32 { return v; }\nfn top(v: f32) -> f32 { return v; }';
  const head = single
    ? `  let row = ${linearWorkgroup} * ${group}u + lid;
  if (row >= p.rows) { return; }
  let t = 0u;
  let lanes = p.lanes;`
    : `  let row = ${linearWorkgroup} * ${group / share}u + lid / ${share}u;
  let t = lid % ${share}u;
  // Threads without a row meet the barriers.
  let live = row < p.rows;
  let lanes = select(0u, p.lanes, live);`;
  return {
    name,
    params: [['rows', 'u32'], ['lanes', 'u32'], ...params],
    ...shader({
      bindings: bindings.map((b) => (b.type === 'T' ? { ...b, type: T } : b)),
      functions: `${helpers}\n${lane}\n${team.join('\n')}`,
      workgroup: group,
      builtins: ['wid', 'nwg', 'lid'],
      body: `${head}
  let base = row * p.lanes;
${body
  .replace(/\bLOOP\b/g, `for (var i = t; i < lanes; i += ${share}u)`)
  .replace(/\bT\b/g, T)
  .replace(/\bLEADER\b/g, single ? 'true' : 'live && t == 0u')}`,
    }),
  };
}

export function rowLaunch(
  kernel: Kernel,
  { share, group, width }: RowShape,
  { rows, classes }: RowProblem,
  buffers: readonly BufferRef[],
  params: readonly number[] = [],
): Launch {
  return {
    kernel,
    buffers,
    params: [rows, classes / width, ...params],
    grid: foldGrid(Math.ceil((rows * share) / group)),
  };
}

/** Launches over [rows, classes] matrices, as many rows at a time as a binding holds. */
export function launchRows(
  op: string,
  kernel: Kernel,
  shape: RowShape,
  { rows, classes, maxBinding = Infinity }: RowProblem & Limits,
  matrices: readonly string[],
): Launch[] {
  const rowBytes = 4 * classes;
  if (rows * rowBytes <= maxBinding) return [rowLaunch(kernel, shape, { rows, classes }, matrices)];
  // 64 rows are a multiple of 256 bytes, at which a binding may start.
  const atOnce = Math.floor(maxBinding / (64 * rowBytes)) * 64;
  if (atOnce < 1)
    throw new Error(
      `${op}: 64 rows of ${classes} values exceed the ${maxBinding} bytes that this adapter binds at once`,
    );
  const launches: Launch[] = [];
  for (let first = 0; first < rows; first += atOnce) {
    const part = Math.min(atOnce, rows - first);
    const range = { offset: first * rowBytes, size: part * rowBytes };
    const buffers = matrices.map((name) => ({ name, ...range }));
    launches.push(rowLaunch(kernel, shape, { rows: part, classes }, buffers));
  }
  return launches;
}
