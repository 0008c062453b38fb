import { beforeAll, describe, expect, it } from 'vitest';
import { init, runtime } from '../../src/device/index.js';
import type { Target } from '../../src/kernels/base/kernel.js';
import { planScan } from '../../src/kernels/reduce/scan.js';
import { planSort, planTopk } from '../../src/kernels/index/sort.js';
import { at, eachIndex, host, runPlan, type HostTensor } from './harness.js';

beforeAll(() => init());

const gpu = (): Target => ({ ...runtime().target, kind: 'gpu' });
let seed = 3;
const random = (n: number): number[] =>
  Array.from({ length: n }, () => {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
    return Math.fround(seed / 2 ** 31 - 1);
  });

describe('sort', () => {
  /** NaN last. */
  const compare = (a: number, b: number): number =>
    Number.isNaN(a) ? (Number.isNaN(b) ? 0 : 1) : Number.isNaN(b) ? -1 : a - b;

  async function check(
    x: HostTensor,
    dim: number,
    descending: boolean,
    k?: number,
    plan = planSort,
    target = runtime().target,
  ): Promise<void> {
    const shape = x.shape.map((n, d) => (d === dim ? (k ?? n) : n));
    const count = shape.reduce((a, b) => a * b, 1);
    const values = host(new Array<number>(count).fill(0), shape, { dtype: x.dtype });
    const indices = host(values.data, shape, { dtype: 'int32' });
    const made = plan(target, { name: 'sort', x, dim, descending, values, indices });
    const ran = await runPlan(
      made,
      { x },
      { values: { count, dtype: x.dtype }, indices: { count, dtype: 'int32' } },
    );
    const lines = new Map<string, number[]>();
    eachIndex(shape, (i, n) => {
      const key = i.map((v, d) => (d === dim ? '*' : v)).join();
      let order = lines.get(key);
      if (order === undefined) {
        const line = Array.from({ length: x.shape[dim]! }, (_, j) =>
          at(
            x,
            i.map((v, d) => (d === dim ? j : v)),
          ),
        );
        order = line
          .map((_, j) => j)
          .sort((a, b) => (descending ? compare(line[b]!, line[a]!) : compare(line[a]!, line[b]!)) || a - b);
        lines.set(key, order);
      }
      const source = order[i[dim]!]!;
      if (ran['indices']![n] !== source) expect.fail(`[${i}]: index ${ran['indices']![n]}, not ${source}`);
      const want = at(
        x,
        i.map((v, d) => (d === dim ? source : v)),
      );
      if (!Object.is(ran['values']![n], want)) expect.fail(`[${i}]: ${ran['values']![n]}, not ${want}`);
    });
  }

  it.each([1, 7, 8, 9, 33, 1000])('%i elements, both ways, stable', async (n) => {
    const data = random(3 * n).map((v) => Math.round(v * 40) / 8 + 0);
    await check(host(data, [3, n]), 1, false);
    await check(host(data, [3, n]), 1, true);
  });

  it('special values, integers, other dimensions and strides', async () => {
    const special = [NaN, 1, -Infinity, Infinity, 0, -1, NaN, 3, -3, 1, 1e-30, -1e-30].map(Math.fround);
    await check(host(special, [12]), 0, false);
    await check(host(special, [12]), 0, true);
    await check(host([5, -3, 2147483647, 0, -2147483648, 7, 7], [7], { dtype: 'int32' }), 0, true);
    await check(host(random(120), [4, 6, 5], { strides: [30, 1, 6] }), 1, false);
    await check(host(random(120), [20, 6]), 0, true, undefined, planSort, gpu());
  });

  it('a hundred thousand', async () => {
    await check(host(random(100_003), [100_003]), 0, false);
  });

  it('topk in registers and by sorting', async () => {
    await check(
      host(
        random(2000).map((v) => Math.round(v * 50)),
        [2, 1000],
      ),
      1,
      true,
      5,
      planTopk,
    );
    await check(
      host(
        random(2000).map((v) => Math.round(v * 50)),
        [2, 1000],
      ),
      1,
      false,
      5,
      planTopk,
      gpu(),
    );
    await check(host([NaN, 1, NaN, 2, -1, 5], [6]), 0, true, 3, planTopk);
    await check(host([NaN, NaN, NaN, 2], [4]), 0, false, 3, planTopk);
    await check(host(random(300), [30, 10]), 0, true, 2, planTopk);
    await check(host(random(200), [2, 100]), 1, true, 40, planTopk);
  });
});

describe('scan', () => {
  const cases: [string, number[], number[] | undefined, number][] = [
    ['rows', [5, 40], undefined, 1],
    ['columns', [40, 5], undefined, 0],
    ['a long line', [3000], undefined, 0],
    ['a middle dimension of channels-last', [2, 6, 4, 3], [72, 1, 18, 6], 2],
  ];
  it.each(cases)('%s', async (_, shape, strides, dim) => {
    const n = shape.reduce((a, b) => a * b, 1);
    const x = host(random(n), shape, strides ? { strides } : {});
    for (const op of ['sum', 'prod'] as const) {
      for (const reverse of [false, true]) {
        const out = host(new Array<number>(n).fill(0), shape);
        const target = reverse ? gpu() : runtime().target;
        const { out: got } = await runPlan(
          planScan(target, { name: 'cum', op, x, out, dim, reverse }),
          { x },
          { out: { count: n, dtype: 'float32' } },
        );
        const expected = new Array<number>(n).fill(0);
        const length = shape[dim]!;
        const flatStep = shape.slice(dim + 1).reduce((a, b) => a * b, 1);
        eachIndex(shape, (i, flat) => {
          if (i[dim] !== 0) return;
          let v = op === 'sum' ? 0 : 1;
          for (let k = 0; k < length; k++) {
            const j = reverse ? length - 1 - k : k;
            const e = at(x, i.map((c, d) => (d === dim ? j : c))); // prettier-ignore
            v = op === 'sum' ? v + e : v * e;
            expected[flat + j * flatStep] = v;
          }
        });
        expected.forEach((v, i) =>
          expect(Math.abs(got![i]! - v), `[${i}]`).toBeLessThan(2e-5 * Math.max(1, Math.abs(v))),
        );
      }
    }
  });

  it('counts bools in int32', async () => {
    const x = host([1, 0, 1, 1], [4], { dtype: 'bool' });
    const out = host([0, 0, 0, 0], [4], { dtype: 'int32' });
    const ran = await runPlan(
      planScan(runtime().target, { name: 'cumsum', op: 'sum', x, out, dim: 0 }),
      { x },
      { out: { count: 4, dtype: 'int32' } },
    );
    expect([...ran['out']!]).toEqual([1, 1, 2, 3]);
  });
});
