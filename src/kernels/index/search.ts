/**
 * Where values belong in sorted lines (`torch.searchsorted`): a thread bisects for one value. Comparisons are
 * ATen's, also where they meet NaN: one that is looked for, or met, sends the search to the right.
 *
 * Buffers `sorted`, `values`, with `sorter` also `sorter` (int32), `out` (int32); all are row-major from
 * element 0 of their buffers.
 */
import { dtypeInfo, type DType } from '../base/dtype.js';
import {
  foldGrid,
  linearWorkgroup,
  memoKernel,
  type Kernel,
  type ParamField,
  type Target,
} from '../base/kernel.js';
import type { Limits, Plan } from '../base/plan.js';
import { checkIndexCode, indexFault } from '../base/faults.js';
import { reads, shader, writes } from '../base/shader.js';
import { kIsNan } from '../expr/math.js';
import { WgslFunctions } from '../expr/wgsl.js';

export interface SearchProblem extends Limits {
  readonly name: string;
  /** Of both operands. */
  readonly dtype: DType;
  /** Elements of a line of `sorted`. */
  readonly length: number;
  /** How many values look into the same line; all of them where there is one line. */
  readonly perLine: number;
  /** Number of values. */
  readonly count: number;
  /** Behind equal elements instead of before them. */
  readonly right: boolean;
  /** The lines are in order if read by the indices of `sorter`. */
  readonly sorter: boolean;
}

const params: readonly ParamField[] = [
  ['count', 'u32'],
  ['length', 'u32'],
  ['perLine', 'u32'],
];

function searchKernel(target: Target, { name, dtype, right, sorter }: SearchProblem): Kernel {
  return memoKernel(`search|${target.kind}|${name}|${dtype}|${right}|${sorter}`, () => {
    const fns = new WgslFunctions();
    const { compute, storage } = dtypeInfo[dtype];
    const type = compute === 'bool' ? 'u32' : compute;
    const nan = (x: string): string => (type === 'f32' ? `${fns.use(kIsNan, 1)}(${x})` : 'false');
    const group = target.kind === 'software' ? 16 : 64;
    const at = sorter
      ? `let index = sorter[line + middle];
    ${checkIndexCode('index', 'i32(p.length)', 1)}
    let met = ${type}(sorted[line + u32(index)]);`
      : `let met = ${type}(sorted[line + middle]);`;
    const body = `  let cell = ${linearWorkgroup} * ${group}u + lid;
  if (cell >= p.count) { return; }
  let value = ${type}(values[cell]);
  let line = (cell / p.perLine) * p.length;
  var low = 0u;
  var high = p.length;
  while (low < high) {
    let middle = low + (high - low) / 2u;
    ${at}
    if (met ${right ? '<=' : '<'} value || ${nan('met')} || ${nan('value')}) { low = middle + 1u; } else { high = middle; }
  }
  found[cell] = i32(low);`;
    return {
      name,
      ...shader({
        bindings: [
          reads('sorted', storage),
          reads('values', storage),
          ...(sorter ? [reads('sorter', 'i32')] : []),
          writes('found', 'i32'),
        ],
        functions: fns.code(),
        workgroup: group,
        builtins: ['wid', 'nwg', 'lid'],
        body,
      }),
      params,
      ...(sorter && { fault: indexFault(name) }),
    };
  });
}

/** @throws when an operand is larger than one binding. */
export function planSearch(target: Target, problem: SearchProblem): Plan {
  const { name, count, length, perLine, sorter, maxBinding = Infinity } = problem;
  if (count === 0) return { launches: [], workspaces: {} };
  const bytes = 4 * Math.max(count, Math.ceil(count / perLine) * length);
  if (bytes > maxBinding)
    throw new Error(
      `${name}: a tensor takes ${bytes} bytes, the adapter binds at most ${maxBinding}; split it`,
    );
  const group = target.kind === 'software' ? 16 : 64;
  return {
    launches: [
      {
        kernel: searchKernel(target, problem),
        buffers: ['sorted', 'values', ...(sorter ? ['sorter'] : []), 'out'],
        params: [count, length, perLine],
        grid: foldGrid(Math.ceil(count / group)),
      },
    ],
    workspaces: {},
  };
}
