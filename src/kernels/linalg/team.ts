/**
 * Kernels that work through whole matrices, one after the other or by batches. A small matrix is one
 * invocation's; a large one has a workgroup (a team) of its own, whose lanes share the inner loops and wait
 * for each other in between. The same body serves both: `sync` is nothing for an invocation alone.
 *
 * Matrices are row-major and dense, one behind the other.
 */
import type { Fault, Kernel, ParamField, Target } from '../base/kernel.js';
import { foldGrid, linearWorkgroup, memoKernel } from '../base/kernel.js';
import type { Launch } from '../base/plan.js';
import { shader, type Binding } from '../base/shader.js';

export interface TeamProgram {
  readonly name: string;
  /** What tells programs of the same name apart. */
  readonly key?: string;
  readonly bindings: readonly Binding[];
  /** Besides `count`, the number of matrices, which comes first. */
  readonly params: readonly string[];
  readonly fault?: Fault;
  readonly functions?: string;
  /**
   * Sees `matrix`, `lane` and `lanes`. Where a team has several lanes, `sync` must be reached by all of them.
   */
  readonly body: (sync: string) => string;
}

/** Elements of a matrix from which on a team works on it. */
const teamFrom = 40 * 40;

const tree = (lanes: number, combine: string): string => `for (var s = ${lanes / 2}u; s > 0u; s = s / 2u) {
  if (lane < s) { ${combine} }
  workgroupBarrier();
}`;

/** What the lanes of a team have together: a sum, a maximum, the first place of the largest value. */
function teamFunctions(lanes: number): string {
  if (lanes === 1)
    return `fn teamSum(v: f32, lane: u32) -> f32 { return v; }
fn teamMax(v: f32, lane: u32) -> f32 { return v; }
fn teamPlace(v: f32, at: u32, lane: u32) -> u32 { return at; }`;
  const reduce = (name: string, combine: string): string => `fn ${name}(v: f32, lane: u32) -> f32 {
  teamValues[lane] = v;
  workgroupBarrier();
  ${tree(lanes, combine)}
  let all = teamValues[0];
  workgroupBarrier();
  return all;
}`;
  return `var<workgroup> teamValues: array<f32, ${lanes}>;
var<workgroup> teamPlaces: array<u32, ${lanes}>;
${reduce('teamSum', 'teamValues[lane] += teamValues[lane + s];')}
${reduce('teamMax', 'teamValues[lane] = max(teamValues[lane], teamValues[lane + s]);')}
fn teamPlace(v: f32, at: u32, lane: u32) -> u32 {
  teamValues[lane] = v;
  teamPlaces[lane] = at;
  workgroupBarrier();
  ${tree(
    lanes,
    `let other = teamValues[lane + s];
    if (other > teamValues[lane] || (other == teamValues[lane] && teamPlaces[lane + s] < teamPlaces[lane])) {
      teamValues[lane] = other;
      teamPlaces[lane] = teamPlaces[lane + s];
    }`,
  )}
  let first = teamPlaces[0];
  workgroupBarrier();
  return first;
}`;
}

function kernelOf(program: TeamProgram, lanes: number, group: number): Kernel {
  const { name, key = '', bindings, params, fault, functions = '', body } = program;
  return memoKernel(`linalg|${name}|${key}|${lanes}|${group}|${fault?.op ?? ''}`, () => ({
    name,
    ...shader({
      bindings,
      functions: `const lanes = ${lanes}u;\n${teamFunctions(lanes)}\n${functions}`,
      workgroup: group,
      builtins: ['wid', 'nwg', 'lid'],
      body:
        lanes === 1
          ? `let matrix = ${linearWorkgroup} * ${group}u + lid;
if (matrix >= p.count) { return; }
let lane = 0u;
${body('')}`
          : `let matrix = ${linearWorkgroup};
if (matrix >= p.count) { return; }
let lane = lid;
${body('storageBarrier();')}`,
    }),
    params: ['count', ...params].map((field): ParamField => [field, 'u32']),
    ...(fault && { fault }),
  }));
}

/** The launch of a program on `count` matrices of `size` elements; buffers go by the bindings' names. */
export function teamLaunch(
  target: Target,
  program: TeamProgram,
  count: number,
  size: number,
  params: readonly number[],
): Launch {
  const most = target.kind === 'software' ? 64 : 256;
  let lanes = 1;
  if (size >= teamFrom) while (lanes * 2 <= Math.min(most, target.maxInvocations)) lanes *= 2;
  const alone = target.kind === 'software' ? 8 : 32;
  return {
    kernel: kernelOf(program, lanes, lanes === 1 ? alone : lanes),
    buffers: program.bindings.map(({ name }) => name),
    params: [count, ...params],
    grid: foldGrid(lanes === 1 ? Math.ceil(count / alone) : count),
  };
}

/** A program of independent invocations, `count` of them in all (`cell` is which). */
export interface CellProgram extends Omit<TeamProgram, 'body'> {
  readonly body: string;
}

/** The launch of a {@link CellProgram}. */
export function cellLaunch(
  target: Target,
  { name, key = '', bindings, params, functions = '', body, fault }: CellProgram,
  count: number,
  values: readonly number[],
): Launch {
  const group = target.kind === 'software' ? 8 : 64;
  const kernel = memoKernel(`linalg|${name}|${key}|${group}`, () => ({
    name,
    ...shader({
      bindings,
      functions,
      workgroup: group,
      builtins: ['wid', 'nwg', 'lid'],
      body: `let cell = ${linearWorkgroup} * ${group}u + lid;
if (cell >= p.count) { return; }
${body}`,
    }),
    params: ['count', ...params].map((field): ParamField => [field, 'u32']),
    ...(fault && { fault }),
  }));
  return {
    kernel,
    buffers: bindings.map((b) => b.name),
    params: [count, ...values],
    grid: foldGrid(Math.ceil(count / group)),
  };
}
