/** Indexed writes of many sources as GPUs do them, beside plain loops. */
import { beforeAll, describe, expect, it } from 'vitest';
import { init } from '../../src/device/index.js';
import type { Target } from '../../src/kernels/base/kernel.js';
import type { Plan } from '../../src/kernels/base/plan.js';
import { planIndexWrite, planScatter, type ScatterReduce } from '../../src/kernels/index/gather.js';
import { gpu } from '../forced-target.js';
import { every } from '../tooling/full.js';
import { at, eachIndex, host, runPlan, type HostTensor } from './harness.js';

beforeAll(() => init());

let seed = 17;
const random = (n: number): number => {
  seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
  return Math.floor((seed / 2 ** 32) * n);
};
const made = (
  shape: readonly number[],
  value: () => number,
  dtype: HostTensor['dtype'] = 'float32',
): HostTensor => host(Array.from({ length: shape.reduce((a, b) => a * b, 1) }, value), shape, { dtype });
/** Sums of these are exact in any order. */
const whole = (): number => random(17) - 8;

const f: Record<ScatterReduce, (a: number, b: number) => number> = {
  assign: (_, b) => b,
  add: (a, b) => a + b,
  mul: (a, b) => a * b,
  max: Math.max,
  min: Math.min,
};

async function ran(plan: Plan, inputs: Record<string, HostTensor>, out: HostTensor): Promise<number[]> {
  const got = await runPlan(plan, inputs, {
    out: { count: out.data.length, dtype: out.dtype, data: out.data },
  });
  return [...got['out']!];
}

interface Options {
  readonly target?: Target;
  readonly maxBinding?: number;
}

/** Scatters along `dim` and compares every element; returns the names of the kernels. */
async function scatter(
  out: HostTensor,
  index: HostTensor,
  src: HostTensor,
  dim: number,
  reduce: ScatterReduce,
  options: Options = {},
): Promise<string[]> {
  const { target = gpu(), ...limits } = options;
  const plan = planScatter(target, { out, index, src, dim, reduce, ...limits });
  const got = await ran(plan, { index, src }, out);
  const expected = [...(out.data as number[])];
  const size = out.shape[dim]!;
  eachIndex(index.shape, (i) => {
    const j = at(index, i);
    if (j < -size || j >= size) return;
    const place = i.reduce(
      (sum, c, d) => sum + (d === dim ? (j + size) % size : c) * out.strides[d]!,
      out.offset,
    );
    expected[place] = f[reduce](expected[place]!, at(src, i));
  });
  const wrong = expected.findIndex((v, i) => !Object.is(v + 0, got[i]! + 0));
  if (wrong >= 0) expect.fail(`element ${wrong}: ${got[wrong]}, not ${expected[wrong]}`);
  return plan.launches.map((launch) => launch.kernel.name);
}

const reductions = Object.keys(f) as ScatterReduce[];
/** Of 1, -1 and 2, with few 2s: a product stays exact. */
const factor = (): number => (random(400) === 0 ? 2 : random(2) * 2 - 1);

describe.each(every(2, reductions))('%s', (reduce) => {
  const value = reduce === 'mul' ? factor : whole;

  it('of thousands into a few, with some that are left out', async () => {
    const index = made([5003], () => random(30) - 13, 'int32');
    const kernels = await scatter(made([11], whole), index, made([5003], value), 0, reduce);
    expect(kernels.includes('scatter.fold')).toBe(reduce !== 'assign');
  });

  it('of thousands into thousands', async () => {
    const index = made([5003], () => random(3) * random(1500), 'int32');
    const kernels = await scatter(made([3000], whole), index, made([5003], value), 0, reduce);
    expect(kernels).toContain('scatter.join');
  });
});

it.each([4, 2000])('all sources into one of %i targets', async (size) => {
  const index = made([9100], () => size - 1, 'int32');
  await scatter(made([size], whole), index, made([9100], whole), 0, 'add');
  await scatter(made([size], whole, 'int32'), index, made([9100], whole, 'int32'), 0, 'assign');
});

it('every source into a target of its own', async () => {
  const index = host(
    Array.from({ length: 3000 }, (_, i) => (i * 7) % 3000),
    [3000],
    { dtype: 'int32' },
  );
  await scatter(made([3000], whole), index, made([3000], whole), 0, 'add');
});

it('into columns with indices of their own, along memory and across it', async () => {
  await scatter(
    made([40, 7], whole),
    made([1500, 5], () => random(40), 'int32'),
    made([1500, 5], whole),
    0,
    'add',
  );
  await scatter(made([3, 1100], whole), made([3, 1300], () => random(1100), 'int32'), made([3, 1300], whole), 1, 'add'); // prettier-ignore
  await scatter(
    made([9, 300], whole),
    made([9, 300], () => random(300), 'int32'),
    made([9, 300], whole),
    1,
    'min',
  );
});

it('from transposed, reversed and repeated operands', async () => {
  const out = host(made([60], whole).data, [6, 10], { strides: [1, 6] });
  const index = host(made([2800], () => random(6), 'int32').data, [700, 4], {
    strides: [1, 700],
    dtype: 'int32',
  });
  const src = host(made([2800], whole).data, [700, 4], { strides: [-4, -1], offset: 2799 });
  await scatter(out, index, src, 0, 'add');
  await scatter(out, index, host([3], [700, 4], { strides: [0, 0] }), 0, 'add');
});

it('integers wrap, bytes too, truth values join', async () => {
  const index = made([2000], () => random(5), 'int32');
  const large = made([2000], () => 2 ** 30 + random(9), 'int32');
  const out = made([5], whole, 'int32');
  const got = await ran(planScatter(gpu(), { out, index, src: large, dim: 0, reduce: 'add' }), { index, src: large }, out); // prettier-ignore
  const sums = [...(out.data as number[])];
  (index.data as number[]).forEach((j, i) => (sums[j] = (sums[j]! + (large.data as number[])[i]!) | 0));
  expect(got).toEqual(sums);

  const bytes = made([2000], () => random(256), 'uint8');
  const few = made([5], () => random(256), 'uint8');
  const reduced = await ran(planScatter(gpu(), { out: few, index, src: bytes, dim: 0, reduce: 'add' }), { index, src: bytes }, few); // prettier-ignore
  const small = [...(few.data as number[])];
  (index.data as number[]).forEach((j, i) => (small[j] = (small[j]! + (bytes.data as number[])[i]!) & 255));
  expect(reduced).toEqual(small);
  await scatter(few, index, bytes, 0, 'max');

  const flags = made([3000], () => Number(random(900) === 0), 'bool');
  const wide = made([3000], () => random(1500), 'int32');
  const truths = made([1500], () => 0, 'bool');
  const any = await ran(planScatter(gpu(), { out: truths, index: wide, src: flags, dim: 0, reduce: 'add' }), { index: wide, src: flags }, truths); // prettier-ignore
  const all = [...(truths.data as number[])];
  (wide.data as number[]).forEach((j, i) => (all[j] = all[j]! | (flags.data as number[])[i]!));
  expect(any).toEqual(all);
});

it('float16 is added up in float32, NaN is passed on', async () => {
  const index = made([2500], () => random(3), 'int32');
  await scatter(
    made([3], () => 0, 'float16'),
    index,
    made([2500], () => 1 / 8, 'float16'),
    0,
    'add',
  );
  const src = made([2500], () => random(1000) / 8);
  (src.data as number[])[1234] = NaN;
  await scatter(made([3], whole), index, src, 0, 'max');
  await scatter(made([3], whole), index, src, 0, 'min');
});

it('zeros keep their sign, and targets without a source what they hold', async () => {
  const out = host([-0, NaN, -Infinity, 1e-40, 5].map(Math.fround), [5]);
  const index = made([2000], () => 4, 'int32');
  const src = made([2000], () => 0);
  const got = await ran(planScatter(gpu(), { out, index, src, dim: 0, reduce: 'add' }), { index, src }, out);
  expect(got).toEqual([-0, NaN, -Infinity, Math.fround(1e-40), 5]);
});

describe('rows', () => {
  interface Rows {
    readonly sizes: readonly number[];
    readonly count: number;
    readonly columns: number;
    readonly alpha?: number;
    readonly skip?: number;
    readonly reduce?: 'add' | 'assign';
    /** The target of a source, of the first index. */
    readonly target?: (source: number) => number;
  }
  async function rows({
    sizes,
    count,
    columns,
    alpha = 1,
    skip,
    reduce = 'add',
    target,
  }: Rows): Promise<string[]> {
    const out = made([...sizes, columns], whole);
    const src = made([count, columns], whole);
    let source = 0;
    const indices = sizes.map((n) => made([count], () => target?.(source++) ?? random(n), 'int32'));
    const names = indices.length === 1 ? ['index'] : indices.map((_, m) => `index${m}`);
    const plan = planIndexWrite(gpu(), {
      out,
      indices,
      src,
      dim: 0,
      reduce,
      alpha,
      ...(skip !== undefined && { skip }),
    });
    const inputs = Object.fromEntries(names.map((name, m) => [name, indices[m]!]));
    const got = await ran(plan, { ...inputs, src }, out);
    const expected = [...(out.data as number[])];
    for (let i = 0; i < count; i++) {
      const at = indices.map((index) => (index.data as number[])[i]!);
      if (at[0] === skip) continue;
      const row = at.reduce((r, j, m) => r * sizes[m]! + j, 0);
      for (let c = 0; c < columns; c++) {
        const value = alpha * (src.data as number[])[i * columns + c]!;
        expected[row * columns + c] = f[reduce](expected[row * columns + c]!, value);
      }
    }
    const wrong = expected.findIndex((v, i) => v !== got[i]);
    if (wrong >= 0) expect.fail(`element ${wrong}: ${got[wrong]}, not ${expected[wrong]}`);
    return plan.launches.map((launch) => launch.kernel.name);
  }

  it('of a large table, without the padding row', async () => {
    expect(await rows({ sizes: [1100], count: 700, columns: 37, skip: 5 })).toEqual([
      'indexAdd.sort',
      'indexAdd',
      'indexAdd.join',
    ]);
  });

  it('of a small table, scaled', async () => {
    expect(await rows({ sizes: [6], count: 2100, columns: 5, alpha: 0.5 })).toContain('indexAdd.fold');
  });

  it('that are wide, of a small table', async () => {
    expect(await rows({ sizes: [6], count: 2100, columns: 67 })).toContain('indexAdd.join');
  });

  it('whose runs end where a tile ends, or the tiles of an invocation', async () => {
    for (const run of [32, 64, 96])
      await rows({ sizes: [6], count: 288, columns: 33, target: (source) => Math.floor(source / run) % 6 });
  });

  it('the last of several is what stays', async () => {
    await rows({ sizes: [40], count: 900, columns: 3, reduce: 'assign' });
  });

  it('by two indices', async () => {
    await rows({ sizes: [30, 50], count: 1500, columns: 4 });
    await rows({ sizes: [3, 5], count: 1500, columns: 4 });
  });
});

it('sources whose pairs do not fit one binding are written in parts, in their order', async () => {
  const index = made([9000], () => random(2000), 'int32');
  const maxBinding = 8 * 3000 + 20000;
  const kernels = await scatter(made([2000], whole), index, made([9000], whole), 0, 'assign', { maxBinding });
  expect(kernels.filter((name) => name === 'scatter.join').length).toBe(2);
  const few = made([9000], () => random(3), 'int32');
  await scatter(made([3], whole), few, made([9000], whole), 0, 'add', { maxBinding });
});

it('sums of floats are near those in double precision and the same every time', async () => {
  const n = 20_011;
  for (const size of [3, 2500]) {
    const index = made([n], () => random(size), 'int32');
    const src = made([n], () => random(2 ** 24) / 2 ** 24 - 0.5);
    const out = made([size], () => 0);
    const plan = planScatter(gpu(), { out, index, src, dim: 0, reduce: 'add' });
    const first = await ran(plan, { index, src }, out);
    expect(await ran(plan, { index, src }, out)).toEqual(first);
    const sums = new Array<number>(size).fill(0);
    (index.data as number[]).forEach((j, i) => (sums[j]! += (src.data as number[])[i]!));
    sums.forEach((sum, j) => expect(Math.abs(first[j]! - sum)).toBeLessThan(2e-4));
  }
});

it('an index out of range is refused where it is checked', async () => {
  const index = host(new Array<number>(900).fill(0).with(777, 12), [900], { dtype: 'int32' });
  const [out, src] = [made([9], whole), made([900], whole)];
  const plan = planScatter(gpu(), {
    name: 'scatterAdd',
    out,
    index,
    src,
    dim: 0,
    reduce: 'add',
    checked: true,
  });
  await expect(ran(plan, { index, src }, out)).rejects.toThrow('scatterAdd: index 12 is out of range');
});

it('few sources, or columns enough, are walked', () => {
  const plan = (count: number, columns: number): Plan => {
    const shape = (n: number) => ({
      dtype: 'float32' as const,
      shape: [n, columns],
      strides: [columns, 1],
      offset: 0,
    });
    return planScatter(gpu(), {
      out: shape(50),
      index: { ...shape(count), dtype: 'int32' },
      src: shape(count),
      dim: 0,
      reduce: 'add',
    });
  };
  expect([plan(256, 3), plan(300, 16384)].map(({ launches }) => launches.length)).toEqual([1, 1]);
});
