import { beforeAll, describe, expect, it } from 'vitest';
import { init } from '../../src/device/index.js';
import { e, evaluate, input, type Expr } from '../../src/kernels/expr/expr.js';
import * as fn from '../../src/kernels/expr/functions.js';
import type { DType } from '../../src/tensor/dtype.js';
import { at, eachIndex, host, runPointwise, type HostTensor } from './harness.js';

beforeAll(() => init());

const x = input(0);
const y = input(1);
const iota = (n: number, scale = 1): Float32Array => Float32Array.from({ length: n }, (_, i) => i * scale);

const blank = (shape: readonly number[], dtype: DType = 'float32'): HostTensor =>
  host(new Float32Array(shape.reduce((a, b) => a * b, 1)), shape, { dtype });

/** Relative difference, or absolute where the reference is small. */
function worst(actual: ArrayLike<number>, reference: (i: number) => number, floor = 1e-30): [number, number] {
  let error = 0;
  let where = 0;
  for (let i = 0; i < actual.length; i++) {
    const r = reference(i);
    if (Object.is(actual[i], r) || (Number.isNaN(r) && Number.isNaN(actual[i]))) continue;
    if (Math.abs(r) > 3.4e38 && Math.abs(actual[i]!) > 3.4e38) continue;
    const d = Math.abs(actual[i]! - r) / Math.max(Math.abs(r), floor);
    if (!(d <= error)) [error, where] = [d, i];
  }
  return [error, where];
}

const edges = [
  NaN,
  Infinity,
  -Infinity,
  0,
  -0,
  1,
  -1,
  0.5,
  -0.5,
  1.5,
  2.5,
  100,
  -100,
  1e30,
  -1e30,
  3e-7,
  -3e-7,
  44,
  -44,
  8,
];

describe('functions of one float', () => {
  const wide = [...edges, ...iota(4000, 0.01).map((v) => v - 20)];
  const unit = [...edges, ...iota(4000, 1 / 2000).map((v) => v - 1)];
  const positive = [...edges, ...iota(4000, 1 / 200).map((v) => Math.exp(v - 10))];
  const groups: [string, number[], Record<string, [(v: typeof x) => Expr, number]>][] = [
    ['exponentials', wide, { exp: [e.exp, 3e-7], expm1: [fn.expm1, 4e-7], sinh: [fn.sinh, 5e-7], cosh: [fn.cosh, 5e-7], tanh: [fn.tanh, 5e-7], sigmoid: [fn.sigmoid, 5e-7], softplus: [fn.softplus, 5e-7] }],
    ['logarithms', positive, { log: [e.log, 3e-7], log2: [fn.log2, 4e-7], log1p: [fn.log1p, 4e-7], asinh: [fn.asinh, 5e-7], acosh: [fn.acosh, 6e-7], sqrt: [e.sqrt, 2e-7], rsqrt: [e.rsqrt, 3e-7] }],
    ['angles', unit, { asin: [fn.asin, 4e-7], acos: [fn.acos, 5e-7], atan: [fn.atan, 3e-7], atanh: [fn.atanh, 6e-7], erf: [fn.erf, 4e-7], erfinv: [fn.erfinv, 2e-6] }],
    ['steps', wide, { floor: [e.floor, 0], ceil: [e.ceil, 0], round: [e.round, 0], trunc: [e.trunc, 0], sign: [e.sign, 0], relu: [e.relu, 0], abs: [e.abs, 0] }],
  ]; // prettier-ignore

  it.each(groups)('%s', async (name, points, table) => {
    const data = Float32Array.from(points);
    const exprs = Object.values(table).map(([f]) => f(x));
    const { outputs } = await runPointwise({
      name,
      exprs,
      inputs: [host(data, [data.length])],
      outputs: exprs.map(() => blank([data.length])),
    });
    Object.entries(table).forEach(([op, [, tolerance]], j) => {
      // Results below the normal range may be flushed; erfinv and the like are ill conditioned next to 0 of
      // the logarithm.
      const [error, where] = worst(outputs[j]!, (i) => evaluate(exprs[j]!, { inputs: [data[i]!] }), 1e-30);
      expect(error, `${op}(${data[where]}) = ${outputs[j]![where]}`).toBeLessThanOrEqual(tolerance);
    });
  });
});

describe('functions of two floats', () => {
  const values = [...edges, 2, -2, 3, -3, 0.1, 7.3, -7.3, 1.0001, 33.3, 60];
  const pairs = values.flatMap((a) => values.map((b) => [a, b] as const));
  const n = pairs.length;
  const a = host(
    Float32Array.from(pairs, (p) => p[0]),
    [n],
  );
  const b = host(
    Float32Array.from(pairs, (p) => p[1]),
    [n],
  );

  it('pow, atan2, fmod, remainder, maximum, minimum', async () => {
    const table: [Expr, number][] = [
      [fn.pow(x, y), 4e-6],
      [fn.atan2(x, y), 4e-7],
      [fn.fmod(x, y), 0],
      [fn.remainder(x, y), 0],
      [e.maximum(x, y), 0],
      [e.minimum(x, y), 0],
    ];
    const exprs = table.map(([f]) => f);
    const { outputs } = await runPointwise({
      name: 'two',
      exprs,
      inputs: [a, b],
      outputs: exprs.map(() => blank([n])),
    });
    table.forEach(([f, tolerance], j) => {
      const reference = (i: number): number => {
        const [p, q] = [a.data[i]!, b.data[i]!];
        return Math.fround(evaluate(f, { inputs: [p, q] }));
      };
      const [error, where] = worst(outputs[j]!, reference, 1e-37);
      expect(
        error,
        `${f.fn?.name ?? f.op}(${pairs[where]}) = ${outputs[j]![where]}, not ${reference(where)}`,
      ).toBeLessThanOrEqual(Math.max(tolerance, 1e-12));
    });
  });

  it('comparisons and tests for NaN and infinity', async () => {
    const exprs = [
      e.lt(x, y),
      e.le(x, y),
      e.gt(x, y),
      e.ge(x, y),
      e.eq(x, y),
      e.ne(x, y),
      e.isNan(x),
      e.isInf(x),
      e.isFinite(x),
      e.cast(x, 'bool'),
    ];
    const { outputs } = await runPointwise({
      name: 'compare',
      exprs: exprs.slice(0, 6),
      inputs: [a, b],
      outputs: exprs.slice(0, 6).map(() => blank([n], 'bool')),
    });
    const more = await runPointwise({
      name: 'classify',
      exprs: [...exprs.slice(6), e.not(e.lt(x, 1)), e.clamp(x, -1, 1)],
      inputs: [a],
      outputs: [...exprs.slice(6).map(() => blank([n], 'bool')), blank([n], 'bool'), blank([n])],
    });
    exprs.forEach((f, j) => {
      const result = j < 6 ? outputs[j]! : more.outputs[j - 6]!;
      for (let i = 0; i < n; i++)
        expect(result[i], `${f.fn?.name ?? f.op}(${pairs[i]})`).toBe(evaluate(f, { inputs: pairs[i]! }));
    });
    for (let i = 0; i < n; i++) {
      const v = a.data[i]!;
      expect(more.outputs[4]![i]).toBe(v < 1 ? 0 : 1);
      expect(more.outputs[5]![i]).toBe(Number.isNaN(v) ? NaN : Math.min(Math.max(v, -1), 1));
    }
  });
});

describe('dtypes', () => {
  it('casts and integer arithmetic', async () => {
    const i = input(0, 'i32');
    const j = input(1, 'i32');
    const values = [7, -7, 3, -3, 0, 1, 2147483647, -2147483648, 300, -1];
    const pairs = values.flatMap((a) => values.map((b) => [a, b] as const));
    const n = pairs.length;
    const exprs = [
      e.add(i, j),
      e.mul(i, j),
      e.div(i, j),
      fn.floorDiv(i, j),
      fn.remainder(i, j),
      e.and(i, j),
      e.maximum(i, e.neg(j)),
      fn.pow(i, e.and(j, 7)),
      e.cast(i, 'f32'),
      e.cast(i, 'u32'),
      e.cast(i, 'bool'),
    ];
    const dtypes: DType[] = [
      'int32',
      'int32',
      'int32',
      'int32',
      'int32',
      'int32',
      'int32',
      'int32',
      'float32',
      'uint8',
      'bool',
    ];
    const { outputs } = await runPointwise({
      name: 'integers',
      exprs,
      inputs: [
        host(
          pairs.map((p) => p[0]),
          [n],
          { dtype: 'int32' },
        ),
        host(
          pairs.map((p) => p[1]),
          [n],
          { dtype: 'int32' },
        ),
      ],
      outputs: dtypes.map((d) => blank([n], d)),
    });
    exprs.forEach((f, k) => {
      for (let r = 0; r < n; r++) {
        const [p, q] = pairs[r]!;
        // Overflow of INT_MIN / -1 and products past 2^53 follow the hardware.
        if (q === -1 && p === -2147483648) continue;
        let want =
          f.fn?.name === 'pow'
            ? Number(BigInt.asIntN(32, BigInt(p) ** BigInt(q & 7)))
            : evaluate(f, { inputs: [p, q] });
        if (dtypes[k] === 'uint8') want &= 255;
        if (dtypes[k] === 'float32') want = Math.fround(want);
        expect(outputs[k]![r], `${f.fn?.name ?? f.op}(${p}, ${q})`).toBe(want);
      }
    });
  });

  it('float16, uint8 and bool storage', async () => {
    const n = 37;
    const halves = host(iota(n, 0.25), [n], { dtype: 'float16' });
    const bytes = host(
      iota(n, 7).map((v) => v & 255),
      [n],
      { dtype: 'uint8' },
    );
    const flags = host(
      iota(n).map((v) => (v % 3 === 0 ? 1 : 0)),
      [n],
      { dtype: 'bool' },
    );
    const value = e.select(input(2, 'bool'), e.add(x, e.cast(input(1, 'u32'), 'f32')), -1);
    const { outputs } = await runPointwise({
      name: 'storage',
      exprs: [value, value, value, e.lt(value, 9)],
      inputs: [halves, bytes, flags],
      outputs: [blank([n], 'float16'), blank([n], 'float32'), blank([n], 'uint8'), blank([n], 'bool')],
    });
    for (let i = 0; i < n; i++) {
      const want = i % 3 === 0 ? i * 0.25 + ((7 * i) & 255) : -1;
      expect(outputs[0]![i]).toBe(want);
      expect(outputs[1]![i]).toBe(want);
      expect(outputs[2]![i]).toBe(Math.trunc(want) & 255);
      expect(outputs[3]![i]).toBe(want < 9 ? 1 : 0);
    }
  });
});

describe('layouts', () => {
  const sum = e.add(e.mul(x, 2), y);

  async function check(
    shape: readonly number[],
    a: HostTensor,
    b: HostTensor,
    out: HostTensor,
    exact = false,
  ): Promise<string> {
    const { outputs, kernels } = await runPointwise({
      name: 'layout',
      exprs: [sum],
      inputs: [a, b],
      outputs: [out],
      exact,
    });
    const result = { ...out, data: outputs[0]! };
    const touched = new Set<number>();
    eachIndex(shape, (index) => {
      touched.add(out.offset + index.reduce((s, v, d) => s + v * out.strides[d]!, 0));
      const want = Math.fround(2 * at(a, index) + at(b, index));
      if (at(result, index) !== want) expect.fail(`${at(result, index)}, not ${want}, at [${index}]`);
    });
    if (exact)
      for (let i = 0; i < out.data.length; i++) if (!touched.has(i)) expect(outputs[0]![i]).toBe(out.data[i]);
    return kernels.join();
  }

  const channelsLast = ([n, c, h, w]: [number, number, number, number]): number[] => (
    void n,
    [h * w * c, 1, w * c, c]
  );

  it('contiguous runs as vec4, also at odd lengths', async () => {
    for (const n of [1, 3, 4, 1023, 70000]) {
      const wgsl = await check([n], host(iota(n), [n]), host(iota(n, 0.5), [n]), blank([n]));
      expect(wgsl).toContain('o0: array<vec4<f32>>');
    }
  });

  it('channels-last with a per-channel operand stays vec4', async () => {
    const shape: [number, number, number, number] = [2, 8, 3, 5];
    const strides = channelsLast(shape);
    const wgsl = await check(
      shape,
      host(iota(240), shape, { strides }),
      host(iota(8, 100), [8, 1, 1]),
      host(new Float32Array(240), shape, { strides }),
    );
    expect(wgsl).toContain('i1: array<vec4<f32>>');
    expect(wgsl).toContain('o0: array<vec4<f32>>');
  });

  it('broadcasts scalars, rows and columns', async () => {
    const shape = [6, 8];
    await check(shape, host(iota(6, 10), [6, 1]), host(iota(8), [8]), blank(shape));
    await check(shape, host(iota(48), shape), host([3], []), blank(shape));
    await check(shape, host([0, 5, 0], [1, 1], { offset: 1 }), host(iota(48), shape), blank(shape));
    await check([6, 7], host(iota(6, 10), [6, 1]), host(iota(7), [7]), blank([6, 7]));
  });

  it('reads transposed, negative-strided and offset operands, writes strided ones exactly', async () => {
    const shape = [5, 12];
    await check(
      shape,
      host(iota(60), shape, { strides: [1, 5] }),
      host(iota(60), shape, { strides: [12, -1], offset: 11 }),
      blank(shape),
    );
    await check(
      shape,
      host(iota(200), shape, { offset: 7 }),
      host(iota(60), shape),
      host(iota(100, -1), shape, { strides: [16, 1], offset: 4 }),
      true,
    );
    await check(
      shape,
      host(iota(200), shape),
      host(iota(60), shape),
      host(iota(100, -1), shape, { strides: [13, 1], offset: 3 }),
      true,
    );
    await check(
      [10],
      host(iota(10), [10]),
      host(iota(10), [10]),
      host(iota(40, -1), [10], { offset: 8 }),
      true,
    );
  });

  it('handles rank 6 without any mergeable dimensions', async () => {
    const shape = [2, 3, 2, 3, 2, 5];
    const n = 360;
    const strides = [180, 60, 5, 20, 10, 1];
    await check(
      shape,
      host(iota(n), shape, { strides }),
      host(iota(2 * 2 * 2), [2, 1, 2, 1, 2, 1]),
      blank(shape),
    );
  });

  it('works in place, on the whole tensor and on views', async () => {
    const data = iota(24);
    const out = host(data, [4, 6]);
    const ran = await runPointwise({
      name: 'inplace',
      exprs: [sum],
      inputs: [out, host(iota(6), [6])],
      outputs: [out],
      alias: 0,
    });
    expect([...ran.outputs[0]!]).toEqual([...data].map((v, i) => 2 * v + (i % 6)));
    const view = host(data, [4, 3], { strides: [6, 2], offset: 1 });
    const viewed = await runPointwise({
      name: 'inplace',
      exprs: [e.mul(x, y)],
      inputs: [view, view],
      outputs: [view],
      alias: [0, 0],
      exact: true,
    });
    expect([...viewed.outputs[0]!]).toEqual([...data].map((v, i) => (i % 2 ? v * v : v)));
  });

  it('cuts what is larger than one binding into ranges', async () => {
    const shape = [30, 64];
    const a = host(iota(1920), shape);
    const b = host(iota(1920), shape, { strides: [1, 30] });
    const ran = await runPointwise({
      name: 'ranges',
      exprs: [sum],
      inputs: [a, b],
      outputs: [blank(shape)],
      maxBinding: 4096,
    });
    expect(ran.launches).toBeGreaterThan(1);
    eachIndex(shape, (index, i) => expect(ran.outputs[0]![i]).toBe(2 * at(a, index) + at(b, index)));
    const flat = await runPointwise({
      name: 'ranges',
      exprs: [e.mul(x, 2)],
      inputs: [host(iota(5001), [5001])],
      outputs: [blank([5001])],
      maxBinding: 4096,
    });
    expect([...flat.outputs[0]!]).toEqual([...iota(5001, 2)]);
  });
});
