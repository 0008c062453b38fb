/**
 * The kernels behind results whose size depends on data. Entry i owns the places from `ends[i - 1]` up to
 * `ends[i]`, where `ends` are running totals of how many places each entry wants: flags for a compaction, any
 * numbers for repetition. Each place looks its owner up, so nothing is written twice.
 */
import { dtypeInfo } from '../base/dtype.js';
import { foldGrid, linearWorkgroup, memoKernel, type Kernel, type Target } from '../base/kernel.js';
import { ceilDiv, type Limits, type Plan } from '../base/plan.js';
import { reads, shader, writes } from '../base/shader.js';
import { e, input } from '../expr/expr.js';
import type { PointwiseOperand } from '../pointwise/plan.js';
import { without } from './gather.js';
import { namedPlan } from './positions.js';

const group = 64;

const ownersKernel = (): Kernel =>
  memoKernel('owners', () => ({
    name: 'owners',
    params: [
      ['places', 'u32'],
      ['entries', 'u32'],
    ],
    ...shader({
      bindings: [reads('ends', 'i32'), writes('out', 'i32')],
      workgroup: group,
      builtins: ['wid', 'nwg', 'lid'],
      body: `  let place = ${linearWorkgroup} * ${group}u + lid;
  if (place >= p.places) { return; }
  var low = 0u;
  var high = p.entries;
  while (low < high) {
    let middle = (low + high) / 2u;
    if (ends[middle] > i32(place)) { high = middle; } else { low = middle + 1u; }
  }
  out[place] = select(i32(low), -1, low == p.entries);`,
    }),
  }));

/**
 * The owner of each of `places` places, -1 for those past the last end. Buffers `ends` (int32, `entries` of
 * them, ascending) and `out`, both dense.
 *
 * @throws Error when one of them is larger than one binding
 */
export function planOwners(places: number, entries: number, { maxBinding = Infinity }: Limits): Plan {
  const bytes = Math.max(places, entries) * 4;
  if (bytes > maxBinding) {
    throw new Error(`owners: ${bytes} bytes must be bound at once, the adapter binds at most ${maxBinding}`);
  }
  return {
    launches: [
      {
        kernel: ownersKernel(),
        buffers: ['ends', 'out'],
        params: [places, entries],
        grid: foldGrid(ceilDiv(places, group)),
      },
    ],
    workspaces: {},
  };
}

/**
 * out[.., i, ..] = x[.., index[i], ..] along `dim`, 0 where the index (int32, one dim) is negative. Buffers
 * `index`, `x`, `out`.
 */
export function planRoute(
  target: Target,
  {
    x,
    index,
    out,
    dim,
    ...limits
  }: Limits & {
    readonly name: string;
    readonly x: PointwiseOperand;
    readonly index: PointwiseOperand;
    readonly out: PointwiseOperand;
    readonly dim: number;
  },
): Plan {
  const after = new Array<number>(x.shape.length - dim - 1);
  const at = input(0, 'i32');
  const table = {
    dtype: index.dtype,
    offset: index.offset,
    shape: [...index.shape, ...after.fill(1)],
    strides: [...index.strides, ...after.fill(0)],
  };
  const source = {
    ...without(x, [dim]),
    indirect: [{ index: at, stride: x.strides[dim]!, size: x.shape[dim]! }],
  };
  const { compute } = dtypeInfo[x.dtype];
  const exprs = [e.select(e.ge(at, 0), input(1, compute), compute === 'bool' ? false : 0)];
  return namedPlan(target, { exprs, inputs: [table, source], outputs: [out], ...limits }, [
    'index',
    'x',
    'out',
  ]);
}
