import { beforeAll, describe, expect, it } from 'vitest';
import { init, runtime } from '../../src/device/index.js';
import { planEye, planOneHot, planTriangle } from '../../src/kernels/index/positions.js';
import {
  planGather,
  planIndex,
  planIndexWrite,
  planScatter,
  type ScatterReduce,
} from '../../src/kernels/index/gather.js';
import type { Target } from '../../src/kernels/base/kernel.js';
import type { Plan } from '../../src/kernels/base/plan.js';
import { at, eachIndex, host, runPlan, type HostTensor } from './harness.js';

beforeAll(() => init());

const target = (): Target => runtime().target;
const iota = (n: number): number[] => Array.from({ length: n }, (_, i) => i);
const numel = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);
const ints = (data: number[], shape: number[]): HostTensor => host(data, shape, { dtype: 'int32' });

/** Runs a plan whose output `out` is contiguous; returns its elements. */
async function result(plan: Plan, inputs: Record<string, HostTensor>, out: HostTensor): Promise<number[]> {
  const ran = await runPlan(plan, inputs, {
    out: { count: out.data.length, dtype: out.dtype, data: out.data },
  });
  return [...ran['out']!];
}

const blank = (shape: number[], dtype: HostTensor['dtype'] = 'float32'): HostTensor =>
  host(new Array<number>(numel(shape)).fill(0), shape, { dtype });

describe('tensors made from positions', () => {
  it('eye, oneHot', async () => {
    const eye = blank([3, 4]);
    expect(await result(planEye(target(), { out: eye }), {}, eye)).toEqual([
      1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0,
    ]);
    const hot = blank([3, 4], 'int32');
    expect(
      await result(
        planOneHot(target(), { x: ints([2, 0, 3], [3]), out: hot }),
        { x: ints([2, 0, 3], [3]) },
        hot,
      ),
    ).toEqual([0, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0, 1]);
  });

  it('triangles of a transposed batch', async () => {
    const x = host(iota(40), [2, 4, 5], { strides: [20, 1, 4] });
    for (const [upper, diagonal] of [
      [false, 0],
      [true, 1],
      [false, -2],
    ] as const) {
      const out = blank([2, 4, 5]);
      const got = await result(planTriangle(target(), { x, out, upper, diagonal }), { x }, out);
      eachIndex([2, 4, 5], (i, n) =>
        expect(got[n]).toBe((upper ? i[2]! - i[1]! >= diagonal : i[2]! - i[1]! <= diagonal) ? at(x, i) : 0),
      );
    }
  });
});

describe('reading by index', () => {
  it('gather along each dimension, with negative and invalid indices', async () => {
    const x = host(
      iota(20).map((v) => v + 0.5),
      [4, 5],
      { strides: [1, 4] },
    );
    const index = ints([0, 3, -1, 1, 2, 2, 0, 7], [2, 4]);
    const out = blank([2, 4]);
    const got = await result(planGather(target(), { x, index, out, dim: 0 }), { x, index }, out);
    eachIndex([2, 4], (i, n) => {
      const j = at(index, i);
      expect(got[n]).toBe(j === 7 ? NaN : at(x, [(j + 4) % 4, i[1]!]));
    });
    const along = ints([4, 0, 1, -5, 2, 2, 3, 0], [4, 2]);
    const out1 = blank([4, 2]);
    const got1 = await result(
      planGather(target(), { x, index: along, out: out1, dim: 1 }),
      { x, index: along },
      out1,
    );
    eachIndex([4, 2], (i, n) => expect(got1[n]).toBe(at(x, [i[0]!, (at(along, i) + 5) % 5])));
  });

  it('rows of a table run as vec4, columns do too', async () => {
    const table = host(iota(80), [10, 8]);
    const index = ints([3, 3, 9, 0, -2, 5], [2, 3]);
    const out = blank([2, 3, 8]);
    const plan = planIndex(target(), { name: 'embedding', x: table, indices: [index], out, dim: 0 });
    expect(plan.launches[0]!.kernel.wgsl).toContain('i1: array<vec4<f32>>');
    const got = await result(plan, { x: table, index }, out);
    eachIndex([2, 3, 8], (i, n) =>
      expect(got[n]).toBe(at(table, [(at(index, i.slice(0, 2)) + 10) % 10, i[2]!])),
    );
    const columns = ints([7, 0, 0, 2], [4]);
    const out1 = blank([10, 4]);
    const got1 = await result(
      planIndex(target(), { x: table, indices: [columns], out: out1, dim: 1 }),
      { x: table, index: columns },
      out1,
    );
    eachIndex([10, 4], (i, n) => expect(got1[n]).toBe(at(table, [i[0]!, columns.data[i[1]!]!])));
  });

  it('several indices at once, broadcast together', async () => {
    const x = host(iota(2 * 3 * 4 * 5), [2, 3, 4, 5]);
    const rows = ints([2, 0], [2, 1]);
    const cols = ints([1, 3, -1], [3]);
    const out = blank([2, 2, 3, 5]);
    const plan = planIndex(target(), { x, indices: [rows, cols], out, dim: 1 });
    const got = await result(plan, { x, index0: rows, index1: cols }, out);
    eachIndex([2, 2, 3, 5], (i, n) =>
      expect(got[n]).toBe(at(x, [i[0]!, rows.data[i[1]!]!, (cols.data[i[2]!]! + 4) % 4, i[3]!])),
    );
  });
});

describe('writing by index', () => {
  const f: Record<ScatterReduce, (a: number, b: number) => number> = {
    assign: (_, b) => b,
    add: (a, b) => a + b,
    mul: (a, b) => a * b,
    max: Math.max,
    min: Math.min,
  };

  it.each(Object.keys(f) as ScatterReduce[])('scatter, %s', async (reduce) => {
    const out = host(
      iota(20).map((v) => v - 9),
      [4, 5],
    );
    const src = host(
      iota(18).map((v) => v * 2 - 15),
      [3, 6],
    );
    const index = ints([0, 1, 3, 2, 0, 1, 3, 3, 3, 9, 1, 1], [3, 4]);
    const plan = planScatter(target(), { out, index, src, dim: 0, reduce });
    const got = await result(plan, { index, src }, out);
    const expected = [...(out.data as number[])];
    eachIndex([3, 4], (i) => {
      const j = at(index, i);
      if (j < 4) expected[j * 5 + i[1]!] = f[reduce](expected[j * 5 + i[1]!]!, at(src, i));
    });
    expect(got).toEqual(expected);
  });

  it('scatters one value and integers', async () => {
    const out = host(new Array<number>(12).fill(1), [3, 4], { dtype: 'int32' });
    const index = ints([0, 3, -1, 2, 1, 1], [3, 2]);
    const src = host([5], [], { dtype: 'int32' });
    expect(
      await result(planScatter(target(), { out, index, src, dim: 1, reduce: 'add' }), { index, src }, out),
    ).toEqual([6, 1, 1, 6, 1, 1, 6, 6, 1, 11, 1, 1]);
  });

  it('adds rows with repeats as vec4, leaving out the padding row', async () => {
    const out = host(new Array<number>(40).fill(1), [5, 8]);
    const index = ints([1, 4, 1, 2, 1, 0], [2, 3]);
    const src = host(iota(48), [2, 3, 8]);
    const plan = planIndexWrite(target(), {
      name: 'embeddingBackward',
      out,
      indices: [index],
      src,
      dim: 0,
      reduce: 'add',
      alpha: 2,
      skip: 2,
    });
    expect(plan.launches[0]!.kernel.wgsl).toContain('out: array<vec4<f32>>');
    const got = await result(plan, { index, src }, out);
    const expected = new Array<number>(40).fill(1);
    eachIndex([2, 3, 8], (i) => {
      const r = at(index, i.slice(0, 2));
      if (r !== 2) expected[r * 8 + i[2]!]! += 2 * at(src, i);
    });
    expect(got).toEqual(expected);
  });

  it('writes through two indices at a middle dimension', async () => {
    const out = blank([2, 3, 4, 3]);
    const rows = ints([2, 0], [2, 1]);
    const cols = ints([1, 3, 1], [3]);
    const src = host(
      iota(2 * 2 * 3 * 3).map((v) => v + 1),
      [2, 2, 3, 3],
    );
    for (const reduce of ['add', 'assign'] as const) {
      const plan = planIndexWrite(target(), {
        name: 'indexPut',
        out,
        indices: [rows, cols],
        src,
        dim: 1,
        reduce,
      });
      const got = await result(plan, { index0: rows, index1: cols, src }, out);
      const expected = new Array<number>(72).fill(0);
      eachIndex([2, 2, 3, 3], (i) => {
        const o = ((i[0]! * 3 + rows.data[i[1]!]!) * 4 + cols.data[i[2]!]!) * 3 + i[3]!;
        expected[o] = reduce === 'add' ? expected[o]! + at(src, i) : at(src, i);
      });
      expect(got).toEqual(expected);
    }
  });

  it('refuses float indices', () => {
    const x = blank([2]);
    expect(() => planGather(target(), { x, index: x, out: x, dim: 0 })).toThrow(
      /indices must be int32, not float32/,
    );
  });
});
