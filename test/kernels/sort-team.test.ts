/** Sorting as GPUs do it, beside a stable sort on the host. */
import { beforeAll, expect, it } from 'vitest';
import { init } from '../../src/device/index.js';
import { planSort, planTopk, type SortProblem } from '../../src/kernels/index/sort.js';
import type { Plan } from '../../src/kernels/base/plan.js';
import type { Target } from '../../src/kernels/base/kernel.js';
import { gpu } from '../forced-target.js';
import { every } from '../tooling/full.js';
import { at, eachIndex, host, runPlan, type HostTensor } from './harness.js';

beforeAll(() => init());

let seed = 11;
const random = (): number => {
  seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
  return Math.fround(seed / 2 ** 31 - 1);
};
/** With many equal values. */
const coarse = (): number => Math.round(random() * 60) / 8 + 0;

/** NaN last. */
const compare = (a: number, b: number): number =>
  Number.isNaN(a) ? (Number.isNaN(b) ? 0 : 1) : Number.isNaN(b) ? -1 : a - b;

interface Options {
  readonly k?: number;
  readonly plan?: (target: Target, problem: SortProblem) => Plan;
  readonly target?: Target;
  readonly maxBinding?: number;
}

async function check(
  x: HostTensor,
  dim: number,
  descending: boolean,
  options: Options = {},
): Promise<number> {
  const { k = x.shape[dim]!, plan = planSort, target = gpu(), ...limits } = options;
  const shape = x.shape.map((n, d) => (d === dim ? k : n));
  const count = shape.reduce((a, b) => a * b, 1);
  const values = host(new Array<number>(count).fill(0), shape, { dtype: x.dtype });
  const indices = host(values.data, shape, { dtype: 'int32' });
  const made = plan(target, { name: 'sort', x, dim, descending, values, indices, ...limits });
  const ran = await runPlan(
    made,
    { x },
    { values: { count, dtype: x.dtype }, indices: { count, dtype: 'int32' } },
  );
  const step = shape.slice(dim + 1).reduce((a, b) => a * b, 1);
  eachIndex(shape, (index, flat) => {
    if (index[dim] !== 0) return;
    const line = Array.from({ length: x.shape[dim]! }, (_, j) => at(x, index.map((c, d) => (d === dim ? j : c)))); // prettier-ignore
    const sign = descending ? -1 : 1;
    const order = line.map((_, j) => j).sort((a, b) => sign * compare(line[a]!, line[b]!) || a - b);
    for (let i = 0; i < k; i++) {
      const [place, value] = [ran['indices']![flat + i * step], ran['values']![flat + i * step]];
      if (place !== order[i] || !Object.is(value, line[order[i]!]))
        expect.fail(`[${index}], ${i}: ${value} of ${place}, not ${line[order[i]!]} of ${order[i]}`);
    }
  });
  return made.launches.length;
}

const made = (shape: readonly number[], strides?: number[], offset = 0): HostTensor => {
  const room = offset + shape.reduce((a, b) => a * b, 1);
  return host(Array.from({ length: room }, coarse), shape, { ...(strides && { strides }), offset });
};

it.each(every(3, [1, 2, 5, 100, 1023, 1024], 2))('lines of %i elements take one launch', async (n) => {
  expect(await check(made([7, n]), 1, false)).toBe(1);
  await check(made([7, n]), 1, true);
});

it.each([
  [1025, 2],
  [3000, 3],
  [9001, 5],
])('lines of %i elements: blocks, then passes of merges', async (n, launches) => {
  expect(await check(made([2, n]), 1, false)).toBe(launches);
  await check(made([2, n]), 1, true);
});

it('columns, transposed matrices, lines read backwards, one element repeated', async () => {
  await check(made([90, 20]), 0, false);
  await check(made([4, 60, 5], [300, 1, 60], 3), 1, true);
  await check(made([2000], [-1], 1999), 0, false);
  await check(made([1500], [0], 2), 0, true);
});

it('special values and integers', async () => {
  const special = [NaN, 1, -Infinity, Infinity, 0, -1, NaN, 3, -3, 1, 1e-30, -1e-30].map(Math.fround);
  await check(host(special, [12]), 0, false);
  await check(host(special, [12]), 0, true);
  const whole = [2 ** 31 - 1, 5, -3, -(2 ** 31), 2 ** 31 - 1, 0, -(2 ** 31), 7];
  await check(host(whole, [8], { dtype: 'int32' }), 0, false);
  await check(host(whole, [8], { dtype: 'int32' }), 0, true);
  const flags = Array.from({ length: 1100 }, () => Number(random() > 0));
  await check(host(flags, [1100], { dtype: 'bool' }), 0, true);
});

it('the first few of a line that was sorted whole', async () => {
  await check(made([2, 2600]), 1, true, { k: 40, plan: planTopk });
  await check(made([5, 300]), 1, false, { k: 40, plan: planTopk });
});

it('the first few, from ever fewer candidates', async () => {
  expect(await check(made([100_003]), 0, true, { k: 5, plan: planTopk })).toBe(4);
  await check(made([3, 5000]), 1, false, { k: 7, plan: planTopk });
  await check(host(new Array<number>(3000).fill(NaN), [3000]), 0, true, { k: 3, plan: planTopk });
});

it('lines that do not fit one binding together are sorted in parts', async () => {
  expect(await check(made([5, 1300]), 1, false, { maxBinding: 2 * 8 * 1300 + 30000 })).toBe(4);
});

it('workgroups of 128 where an adapter has no larger ones', async () => {
  await check(made([2, 1500]), 1, false, { target: { ...gpu(), maxInvocations: 128 } });
});
