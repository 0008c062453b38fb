import { beforeAll, describe, expect, it } from 'vitest';
import { init, runtime } from '../../src/device/index.js';
import { e, input } from '../../src/kernels/expr/expr.js';
import type { Target } from '../../src/kernels/base/kernel.js';
import {
  normP,
  planReduce,
  reductions,
  type Reduction,
  type ReduceProblem,
} from '../../src/kernels/reduce/plan.js';
import type { TypedArray } from '../../src/tensor/dtype.js';
import { at, eachIndex, host, runPlan, type HostTensor } from './harness.js';

beforeAll(() => init());

/** Kernels for hardware run on the software adapter too. */
const gpu = (): Target => ({ ...runtime().target, kind: 'gpu' });

let seed = 1;
const random = (n: number, scale = 1): Float32Array =>
  Float32Array.from({ length: n }, () => {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
    return (seed / 2 ** 31 - 1) * scale;
  });

type Extra = Partial<Omit<ReduceProblem, 'inputs' | 'dims' | 'outputs'>> & {
  dtypes?: HostTensor['dtype'][];
  target?: Target;
};

/** Runs a reduction; the outputs are contiguous and keep the reduced dimensions as 1. */
async function reduce(
  recipe: Reduction,
  inputs: HostTensor[],
  dims: number[],
  extra: Extra = {},
): Promise<{ outputs: TypedArray[]; kernels: string }> {
  const { dtypes = ['float32'], target = runtime().target, ...rest } = extra;
  const shape = (rest.shape ?? inputs[0]!.shape).map((n, d) => (dims.includes(d) ? 1 : n));
  const count = shape.reduce((a, b) => a * b, 1);
  const outputs = dtypes.map((dtype) => host(new Float32Array(count), shape, { dtype }));
  const plan = planReduce(target, { name: 'reduce', ...recipe, ...rest, inputs, outputs, dims });
  const ran = await runPlan(
    plan,
    Object.fromEntries(inputs.map((t, k) => [`in${k}`, t])),
    Object.fromEntries(outputs.map((t, j) => [`out${j}`, { count, dtype: t.dtype }])),
  );
  return {
    outputs: outputs.map((_, j) => ran[`out${j}`]!),
    kernels: plan.launches.map((l) => l.kernel.wgsl).join('\n'),
  };
}

/** Values of `t` that go into each output, in row-major order of the reduced dimensions. */
function groups(t: HostTensor, dims: readonly number[]): number[][] {
  const shape = t.shape.map((n, d) => (dims.includes(d) ? 1 : n));
  const result: number[][] = Array.from({ length: shape.reduce((a, b) => a * b, 1) }, () => []);
  eachIndex(t.shape, (index) => {
    let o = 0;
    shape.forEach((n, d) => (o = o * n + (n === 1 ? 0 : index[d]!)));
    result[o]!.push(at(t, index));
  });
  return result;
}

function close2(actual: ArrayLike<number>, expected: readonly number[], tolerance: number): void {
  expect(actual.length).toBe(expected.length);
  expected.forEach((v, i) => {
    if (!Number.isFinite(v)) expect(actual[i]).toBe(v);
    else
      expect(Math.abs(actual[i]! - v), `[${i}]: ${actual[i]}, not ${v}`).toBeLessThanOrEqual(
        tolerance * Math.max(1, Math.abs(v)),
      );
  });
}

const sum = (v: readonly number[]): number => v.reduce((a, b) => a + b, 0);
const channelsLast = [2, 8, 6, 5];
const channelsLastStrides = [240, 1, 40, 8];

describe('sum over any dimensions and layouts', () => {
  const cases: [string, number[], number[] | undefined, number[], RegExp | undefined][] = [
    ['rows', [37, 64], undefined, [1], /i0: array<vec4/],
    ['odd rows', [37, 49], undefined, [1], undefined],
    ['columns', [50, 24], undefined, [0], /i0: array<vec4/],
    ['odd columns', [50, 7], undefined, [0], undefined],
    ['long columns', [3000, 12], undefined, [0], /i0: array<vec4/],
    ['per channel of channels-last', channelsLast, channelsLastStrides, [0, 2, 3], /i0: array<vec4/],
    ['per pixel of channels-last', channelsLast, channelsLastStrides, [1], /i0: array<vec4/],
    ['per image of channels-last', channelsLast, channelsLastStrides, [1, 2, 3], /i0: array<vec4/],
    ['per channel of NCHW', [3, 5, 4, 6], undefined, [0, 2, 3], /i0: array<vec4/],
    ['everything', [9, 50, 40], undefined, [0, 1, 2], /i0: array<vec4/],
    ['alternate dimensions', [3, 4, 5, 6, 3], undefined, [0, 2, 4], undefined],
    ['a broadcast dimension', [6, 8], [0, 1], [0], undefined],
    ['nothing', [5, 6], undefined, [], undefined],
    ['an empty dimension', [5, 0], undefined, [1], undefined],
  ];
  it.each(cases)('%s', async (_, shape, strides, dims, pattern) => {
    const n = shape.reduce((a, b) => a * b, 1);
    const t = host(random(Math.max(n, 1)), shape, strides ? { strides } : {});
    const expected = groups(t, dims).map(sum);
    const soft = await reduce(reductions.sum, [t], dims);
    if (pattern) expect(soft.kernels).toMatch(pattern);
    // Sums that cancel are off by the size of what was added.
    const tolerance = 1e-6 + 1e-8 * Math.max(0, ...groups(t, dims).map((v) => v.length));
    close2(soft.outputs[0]!, expected, tolerance);
    const hard = await reduce(reductions.sum, [t], dims, { target: gpu() });
    close2(hard.outputs[0]!, expected, tolerance);
  });

  /** Members without a step, groups with cells left over, cells in several chunks that are joined. */
  const shared: [string, number[], number[]][] = [
    ['teams along rows', [11, 660], [1]],
    ['teams along short rows', [70, 20], [1]],
    ['teams along single elements', [5, 333], [1]],
    ['teams across columns', [9, 76], [0]],
    ['teams across few columns', [300, 12], [0]],
    ['teams across single columns', [2000, 3], [0]],
    ['teams across in the middle', [3, 41, 8], [1]],
    ['chunks of teams', [2, 9000], [1]],
    ['chunks of teams across', [4001, 20], [0]],
  ];
  it.each(shared)('%s share what GPUs reduce', async (_, shape, dims) => {
    const n = shape.reduce((a, b) => a * b, 1);
    const ties = host(
      random(n).map((v) => Math.round(v * 3)),
      shape,
    );
    const far = host(
      random(n).map((v) => v + 50),
      shape,
    );
    const values = groups(far, dims);
    const means = values.map((v) => sum(v) / v.length);
    const target = gpu();
    const { outputs: moments } = await reduce(reductions.varMean, [far], dims, {
      dtypes: ['float32', 'float32'],
      paramNames: ['correction'],
      params: [0],
      target,
    });
    close2(moments[1]!, means, 1e-6);
    close2(
      moments[0]!,
      values.map((v, i) => sum(v.map((a) => (a - means[i]!) ** 2)) / v.length),
      1e-5,
    );
    const first = await reduce(reductions.argmax, [ties], dims, { dtypes: ['int32'], target });
    expect([...first.outputs[0]!]).toEqual(groups(ties, dims).map((v) => v.indexOf(Math.max(...v))));
  });

  it('shares nothing where workgroups are too small for it', async () => {
    const t = host(random(3000), [5, 600]);
    const small = { ...gpu(), maxInvocations: 128 };
    const { outputs, kernels } = await reduce(reductions.sum, [t], [1], { target: small });
    close2(outputs[0]!, groups(t, [1]).map(sum), 1e-5);
    expect(kernels).not.toMatch(/workgroup_size\(256\)/);
  });

  it('is accurate over a million elements, and the same every time', async () => {
    const n = 1 << 20;
    const data = random(n).map((v) => v + 1);
    const t = host(data, [n]);
    const exact = sum([...data]);
    for (const target of [runtime().target, gpu()]) {
      const [a, b] = [
        await reduce(reductions.sum, [t], [0], { target }),
        await reduce(reductions.sum, [t], [0], { target }),
      ];
      expect(Math.abs(a.outputs[0]![0]! / exact - 1)).toBeLessThan(3e-7);
      expect(a.outputs[0]![0]).toBe(b.outputs[0]![0]);
    }
    const rows = await reduce(reductions.sum, [host(data, [256, 4096])], [1]);
    close2(rows.outputs[0]!, groups(host(data, [256, 4096]), [1]).map(sum), 4e-7);
  });

  it('fuses a map of several broadcast inputs', async () => {
    const [g, y] = [host(random(600), [20, 5, 6]), host(random(6), [6])];
    const map = e.mul(input(0), e.exp(input(1)));
    const { outputs } = await reduce({ op: 'sum', map }, [g, y], [0, 1]);
    const expected = new Array<number>(6).fill(0);
    eachIndex([20, 5, 6], (i) => (expected[i[2]!]! += at(g, i) * Math.exp(at(y, i))));
    close2(outputs[0]!, expected, 2e-6);
  });

  it('cuts what is larger than one binding', async () => {
    const t = host(random(40000), [200, 200]);
    for (const dims of [[0], [1], [0, 1]]) {
      const { outputs } = await reduce(reductions.sum, [t], dims, { maxBinding: 16384 });
      close2(outputs[0]!, groups(t, dims).map(sum), 1e-5);
    }
    const arg = await reduce(reductions.argmax, [t], [0, 1], { maxBinding: 16384, dtypes: ['int32'] });
    expect(arg.outputs[0]![0]).toBe(
      t.data.length && [...(t.data as Float32Array)].indexOf(Math.max(...(t.data as Float32Array))),
    );
  });

  it('adds int32 exactly and writes strided outputs', async () => {
    const t = host([2 ** 24, 1, 1, -(2 ** 24), 5, 7], [2, 3], { dtype: 'int32' });
    const { outputs } = await reduce(reductions.sum, [t], [1], { dtypes: ['int32'] });
    expect([...outputs[0]!]).toEqual([2 ** 24 + 2, -(2 ** 24) + 12]);
    const plan = planReduce(runtime().target, {
      name: 'sum',
      op: 'sum',
      dims: [0],
      inputs: [host([], [2, 4])],
      outputs: [host([], [4], { strides: [-2], offset: 7 })],
    });
    const { out0 } = await runPlan(
      plan,
      { in0: { data: [1, 2, 3, 4, 5, 6, 7, 8], dtype: 'float32' } },
      { out0: { count: 8, dtype: 'float32' } },
    );
    expect([...out0!]).toEqual([7, 12, 7, 10, 7, 8, 7, 6]);
  });
});

describe('the other reductions', () => {
  const shape = [6, 36];
  const data = random(216, 3);
  const wide = host(data, shape);
  const tall = host(data, [36, 6]);
  const list: [string, Reduction, (v: number[]) => number, number?][] = [
    ['mean', reductions.mean, (v) => sum(v) / v.length],
    ['prod', reductions.prod, (v) => v.reduce((a, b) => a * b, 1)],
    ['amax', reductions.amax, (v) => Math.max(...v)],
    ['amin', reductions.amin, (v) => Math.min(...v)],
    ['logsumexp', reductions.logsumexp, (v) => Math.log(sum(v.map(Math.exp)))],
    ['norm0', reductions.norm0, (v) => v.length],
    ['norm1', reductions.norm1, (v) => sum(v.map(Math.abs))],
    ['norm2', reductions.norm2, (v) => Math.hypot(...v)],
    ['norm3', normP(3), (v) => sum(v.map((a) => Math.abs(a) ** 3)) ** (1 / 3)],
    ['normInf', reductions.normInf, (v) => Math.max(...v.map(Math.abs))],
  ];
  it.each(list)('%s along rows and columns', async (_, recipe, f) => {
    close2((await reduce(recipe, [wide], [1])).outputs[0]!, groups(wide, [1]).map(f), 3e-6);
    close2(
      (await reduce(recipe, [tall], [0], { target: gpu() })).outputs[0]!,
      groups(tall, [0]).map(f),
      3e-6,
    );
  });

  it('var and mean of values far from zero', async () => {
    const far = host(
      random(8 * 4000).map((v) => v + 1000),
      [8, 4000],
    );
    const variance = (v: number[]): number => {
      const m = sum(v) / v.length;
      return sum(v.map((a) => (a - m) ** 2)) / (v.length - 1);
    };
    for (const [target, t, dim] of [
      [runtime().target, far, 1],
      [gpu(), far, 1],
      [runtime().target, { ...far, shape: [4000, 8], strides: [8, 1] }, 0],
    ] as const) {
      const { outputs } = await reduce(reductions.varMean, [t], [dim], {
        dtypes: ['float32', 'float32'],
        paramNames: ['correction'],
        params: [1],
        target,
      });
      close2(outputs[0]!, groups(t, [dim]).map(variance), 3e-5);
      close2(
        outputs[1]!,
        groups(t, [dim]).map((v) => sum(v) / v.length),
        3e-7,
      );
    }
    const one = await reduce(reductions.varMean, [host([3, 4], [2, 1])], [1], {
      dtypes: ['float32', 'float32'],
      paramNames: ['correction'],
      params: [1],
    });
    expect([...one.outputs[0]!]).toEqual([NaN, NaN]);
  });

  it('argmax and argmin: first among equals, NaN wins, zeros are equal', async () => {
    const inf = Infinity;
    const rows = [
      [1, 5, 5, 2], [NaN, 9, 1, NaN], [-inf, -inf, -inf, -inf], [-0, 0, -0, 0], [inf, -3, inf, -3], [-1, -2, -2, -1],
    ]; // prettier-ignore
    const both: Reduction = { op: 'argmax', finish: [input(0), input(1, 'i32')] };
    const t = host(rows.flat(), [6, 4]);
    const transposed = host(rows.flat(), [4, 6], { strides: [1, 4] });
    for (const [x, dim] of [
      [t, 1],
      [transposed, 0],
    ] as const) {
      const max = await reduce(both, [x], [dim], { dtypes: ['float32', 'int32'] });
      expect([...max.outputs[1]!]).toEqual([1, 0, 0, 0, 0, 0]);
      expect([...max.outputs[0]!]).toEqual([5, NaN, -inf, 0, inf, -1]);
      const min = await reduce({ ...both, op: 'argmin' }, [x], [dim], {
        dtypes: ['float32', 'int32'],
        target: gpu(),
      });
      expect([...min.outputs[1]!]).toEqual([0, 0, 0, 0, 1, 1]);
      expect([...min.outputs[0]!]).toEqual([1, NaN, -inf, 0, -3, -2]);
    }
    const flat = host(random(30000), [3, 100, 100], { strides: [100, 300, 1] });
    const all = groups(flat, [0, 1, 2])[0]!;
    for (const target of [runtime().target, gpu()]) {
      const { outputs } = await reduce(reductions.argmax, [flat], [0, 1, 2], { dtypes: ['int32'], target });
      expect(outputs[0]![0]).toBe(all.indexOf(Math.max(...all)));
    }
    const ints = await reduce(
      { op: 'argmin', finish: [input(0, 'i32'), input(1, 'i32')] },
      [host([3, -7, 2, -7], [4], { dtype: 'int32' })],
      [0],
      { dtypes: ['int32', 'int32'] },
    );
    expect(ints.outputs.map((o) => o[0])).toEqual([-7, 1]);
  });

  it('passes NaN on, and infinities through logsumexp', async () => {
    const t = host([1, NaN, 3, 4, -Infinity, -Infinity, -Infinity, -Infinity, 1, Infinity, 2, 3], [3, 4]);
    expect([...(await reduce(reductions.amax, [t], [1])).outputs[0]!]).toEqual([NaN, -Infinity, Infinity]);
    expect([...(await reduce(reductions.amin, [t], [1])).outputs[0]!]).toEqual([NaN, -Infinity, 1]);
    expect([...(await reduce(reductions.logsumexp, [t], [1])).outputs[0]!]).toEqual([
      NaN,
      -Infinity,
      Infinity,
    ]);
  });

  it('any, all, and sums of bool', async () => {
    const t = host([0, 1, 0, 0, 0, 0, 1, 1, 1], [3, 3], { dtype: 'bool' });
    expect([...(await reduce(reductions.any, [t], [1], { dtypes: ['bool'] })).outputs[0]!]).toEqual([
      1, 0, 1,
    ]);
    expect([...(await reduce(reductions.all, [t], [1], { dtypes: ['bool'] })).outputs[0]!]).toEqual([
      0, 0, 1,
    ]);
    const total = await reduce({ op: 'sum', map: e.cast(input(0, 'bool'), 'i32') }, [t], [0, 1], {
      dtypes: ['int32'],
    });
    expect(total.outputs[0]![0]).toBe(4);
  });

  it('explains what it cannot do', () => {
    const t = host([1], [2, 3]);
    const out = host([0], [2]);
    expect(() =>
      planReduce(runtime().target, { name: 'sum', op: 'sum', dims: [5], inputs: [t], outputs: [out] }),
    ).toThrow(/sum: dimension 5 of a shape \[2,3\]/);
    expect(() =>
      planReduce(runtime().target, { name: 'sum', op: 'sum', dims: [0], inputs: [t], outputs: [out] }),
    ).toThrow(/output of shape \[2\] does not fit/);
    expect(() =>
      planReduce(runtime().target, {
        name: 'sum',
        op: 'sum',
        dims: [1],
        inputs: [{ ...t, dtype: 'bool' }],
        outputs: [out],
      }),
    ).toThrow(/cast the map/);
  });
});
