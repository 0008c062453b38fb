import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { close, init } from '../../src/device/index.js';
import { planGemm } from '../../src/kernels/matmul/plan.js';
import type { Target } from '../../src/kernels/base/kernel.js';
import type { GemmProblem } from '../../src/kernels/matmul/problem.js';
import { sharedTiles } from '../../src/kernels/matmul/tile-table.js';
import { tileCols, tileKey, tileRows, type Tile } from '../../src/kernels/matmul/tile.js';
import { every } from '../tooling/full.js';
import {
  applyEpilogue,
  limits,
  random,
  relativeError,
  run,
  tables,
  targets,
  withTile,
} from './heavy-harness.js';

beforeAll(() => init());
afterAll(() => close());

/** A GPU of no more than software adapters have. */
const limited: Target = {
  kind: 'gpu',
  subgroupSize: 0,
  f16: true,
  maxInvocations: 256,
  maxWorkgroupStorage: 32768,
  maxStorageBuffers: 8,
};

/** Runs a dense or strided problem and returns its error against a float64 sum. */
async function error(target: string | Target, p: GemmProblem, maxBinding?: number): Promise<number> {
  const { m, n, k, batch = 1, transA = false, transB = false, epilogue = {} } = p;
  const lda = p.lda ?? (transA ? m : k);
  const ldb = p.ldb ?? (transB ? k : n);
  const { inner = batch, aOuter = 0, bOuter = 0, aBatch = m * k, bBatch = n * k } = p;
  const place = (z: number, stride: number, outer: number): number =>
    (z % inner) * stride + Math.floor(z / inner) * outer;
  const a = random(place(batch - 1, aBatch, aOuter) + (transA ? k : m) * lda);
  const b = random(place(batch - 1, bBatch, bOuter) + (transB ? n : k) * ldb);
  const data = { bias: random(n), scale: random(n), shift: random(n), residual: random(batch * m * n) };
  const start = random(batch * m * n);
  const sums = Float64Array.from({ length: batch * m * n }, (_, i) => {
    const z = Math.floor(i / (m * n));
    const row = Math.floor(i / n) % m;
    const col = i % n;
    let sum = p.accumulate ? start[i]! : 0;
    for (let q = 0; q < k; q++) {
      const left = a[place(z, aBatch, aOuter) + (transA ? q * lda + row : row * lda + q)]!;
      sum += left * b[place(z, bBatch, bOuter) + (transB ? col * ldb + q : q * ldb + col)]!;
    }
    return sum;
  });
  const planned = typeof target === 'string' ? targets[target]!() : target;
  const plan = planGemm(planned, limits(maxBinding), p);
  const got = await run(
    plan,
    {
      a: { data: a, offset: p.aOffset ?? 0 },
      b: { data: b, offset: p.bOffset ?? 0 },
      bias: { data: data.bias },
      scale: { data: data.scale },
      shift: { data: data.shift },
      residual: { data: data.residual, offset: p.residualOffset ?? 0 },
    },
    {
      name: 'c',
      count: batch * m * n,
      offset: p.cOffset ?? 0,
      ...(p.accumulate ? { data: start } : {}),
    },
  );
  return relativeError(got, applyEpilogue(sums, n, epilogue, data));
}

const everything = { bias: true, scale: true, shift: true, residual: true, activation: 'relu6' } as const;

describe.each(tables)('gemm, %s tiles', (target) => {
  it.each([
    [false, false],
    [false, true],
    [true, false],
    [true, true],
  ])('transA %s, transB %s', async (transA, transB) => {
    expect(await error(target, { m: 40, n: 36, k: 28, transA, transB })).toBeLessThan(1e-5);
  });

  it('splits a long sum and applies the epilogue once', async () => {
    expect(await error(target, { m: 3, n: 10, k: 1500, epilogue: everything })).toBeLessThan(1e-5);
  });

  it('batches, with a shared right operand', async () => {
    expect(
      await error(target, { m: 20, n: 36, k: 24, batch: 3, bBatch: 0, epilogue: everything }),
    ).toBeLessThan(1e-5);
  });
});

describe('gemm, of matrices that two strides lead to', () => {
  // Heads between the rows and columns of what one projection gave: [2, rows, 3, columns].
  const heads = (rows: number, columns: number) => ({ ld: 3 * columns, outer: rows * 3 * columns });
  const problem = (m: number, n: number, k: number): GemmProblem => {
    const [a, b] = [heads(m, k), heads(n, k)];
    const strides = { aBatch: k, bBatch: k, aOuter: a.outer, bOuter: b.outer };
    return { m, n, k, transB: true, lda: a.ld, ldb: b.ld, batch: 6, inner: 3, ...strides };
  };

  it.each([...tables, 'discrete'])('%s tiles', async (target) => {
    expect(await error(target, problem(20, 36, 24))).toBeLessThan(1e-5);
    expect(await error(target, problem(19, 7, 13))).toBeLessThan(1e-5);
  });

  it.each(tables)('%s tiles, a column and a long sum', async (target) => {
    expect(await error(target, problem(20, 1, 24))).toBeLessThan(1e-5);
    expect(await error(target, problem(2, 12, 1504))).toBeLessThan(1e-5);
  });

  it('are cut between the outer ones first, where they do not fit a binding', async () => {
    const p = problem(16, 16, 16);
    const launches = (bytes?: number): number =>
      planGemm(targets['native']!(), limits(bytes), p).launches.length;
    expect(launches()).toBe(1);
    expect(launches(3600)).toBe(2);
    expect(await error('native', p, 3600)).toBeLessThan(1e-5);
    expect(await error('native', p, 2600)).toBeLessThan(1e-5);
  });
});

describe('gemm, the tiles of GPUs', () => {
  const byName = new Map<string, Tile>();
  for (const kind of ['discrete', 'apple', 'integrated'] as const)
    for (const tile of sharedTiles({ ...limited, class: kind })) byName.set(tileKey(tile), tile);

  // Each tile with another pair of layouts; docs/hardware.md has a script that tries all pairs.
  const keys = [...byName.keys()].map((key, i) => [key, (i & 1) === 0, (i & 2) === 0] as const);
  it.each(every(3, keys))('%s, transA %s, transB %s', async (key, transA, transB) => {
    const tile = byName.get(key)!;
    const target = withTile(targets['gpu']!(), tile);
    const p = { m: tileRows(tile) + 4, n: tileCols(tile) + 4, k: 44, transA, transB };
    expect(await error(target, p)).toBeLessThan(1e-5);
  });

  it('are right at sizes that allow no vectors, with everything', async () => {
    const tile = [...byName.values()].at(-1)!;
    const p = { m: 37, n: 35, k: 37, transB: true, epilogue: everything };
    expect(await error(withTile(targets['gpu']!(), tile), p)).toBeLessThan(1e-5);
  });
});

describe('few rows, GPU', () => {
  const names = (p: GemmProblem): string[] =>
    planGemm(targets['discrete']!(), limits(), p).launches.map(({ kernel }) => kernel.name);

  it.each([
    { m: 1, n: 132, k: 600, transB: false },
    { m: 3, n: 70, k: 101, transB: false },
    { m: 8, n: 68, k: 1200, transB: true },
    { m: 2, n: 35, k: 45, transB: true, transA: true },
  ])('$m x $n x $k, transB $transB', async (p) => {
    expect(names(p)[0]).toBe('gemmFewRows');
    expect(await error('discrete', { ...p, epilogue: everything })).toBeLessThan(1e-5);
  });

  it('batches, from offsets that allow no vectors, and accumulates', async () => {
    const p = { m: 3, n: 40, k: 64, batch: 2, bBatch: 0, aOffset: 3, bOffset: 1, cOffset: 2 };
    expect(names(p)).toEqual(['gemmFewRows']);
    expect(await error('discrete', { ...p, accumulate: true })).toBeLessThan(1e-5);
  });

  it('reads each element of the matrix once, whatever the rows', () => {
    const loads = (m: number): number => {
      const [first] = planGemm(targets['discrete']!(), limits(), {
        m,
        n: 4096,
        k: 4096,
        transB: true,
      }).launches;
      return first!.kernel.wgsl.match(/\bb\[/g)!.length;
    };
    expect([1, 2, 4, 8].map(loads)).toEqual([4, 4, 4, 4]);
  });

  it.each([
    [false, false],
    [true, false],
    [false, true],
  ])('takes a matrix times one column for its transpose (transA %s, transB %s)', async (transA, transB) => {
    const p = { m: 150, n: 1, k: 300, transA, transB, epilogue: { residual: true } };
    expect(names(p)[0]).toBe('gemmFewRows');
    expect(await error('discrete', p)).toBeLessThan(1e-5);
  });

  it('leaves a column with a bias to the tiles', async () => {
    const p = { m: 150, n: 1, k: 300, epilogue: { bias: true } };
    expect(names(p)[0]).toBe('gemm');
    expect(await error('discrete', p)).toBeLessThan(1e-5);
  });
});

describe('gemm', () => {
  it.each(every(2, ['native', 'discrete']))(
    'cuts more columns than a grid has room for, %s',
    async (name) => {
      const p = { m: 2, n: 2_100_004, k: 1 };
      const plan = planGemm(targets[name]!(), limits(), p);
      expect(Math.max(...plan.launches.flatMap(({ grid }) => [...grid]))).toBeLessThan(65536);
      expect(await error(name, p)).toBeLessThan(1e-5);
    },
  );

  it.each([false, true])('tall tiles, transA %s', async (transA) => {
    const p = { m: 76, n: 52, k: 28, transA, epilogue: { bias: true, residual: true } };
    expect(await error('tall', p)).toBeLessThan(1e-5);
  });
  it.each([
    ['native', false, false],
    ['native', false, true],
    ['native', true, false],
    ['native', true, true],
    ['register', false, false],
    ['gpu', true, true],
  ])('sizes that allow no vectors, %s tiles, transA %s, transB %s', async (target, transA, transB) => {
    expect(await error(target, { m: 19, n: 21, k: 23, transA, transB })).toBeLessThan(1e-5);
  });

  it('takes offsets that allow vectors and offsets that do not', async () => {
    const aligned = { aOffset: 4, bOffset: 8, cOffset: 12, residualOffset: 16 };
    const odd = { aOffset: 3, bOffset: 2, cOffset: 1, residualOffset: 5 };
    for (const offsets of [aligned, odd]) {
      const p = { m: 20, n: 36, k: 24, epilogue: { residual: true }, ...offsets };
      expect(await error('native', p)).toBeLessThan(1e-5);
    }
  });

  it('accumulates', async () => {
    expect(await error('native', { m: 20, n: 36, k: 24, accumulate: true })).toBeLessThan(1e-5);
  });

  it('is a single product', async () => {
    expect(await error('native', { m: 1, n: 1, k: 1 })).toBeLessThan(1e-5);
  });

  it.each([
    [false, false],
    [false, true],
    [true, false],
  ])('cuts operands larger than a binding (transA %s, transB %s)', async (transA, transB) => {
    const p = { m: 40, n: 36, k: 220, transA, transB, epilogue: { bias: true, activation: 'relu' } as const };
    expect(planGemm(targets['native']!(), limits(8192), p).launches.length).toBeGreaterThan(4);
    expect(await error('native', p, 8192)).toBeLessThan(1e-5);
  });

  it('gives the same bits on every run', async () => {
    const p = { m: 33, n: 20, k: 900, transA: true };
    const a = random(p.m * p.k);
    const b = random(p.n * p.k);
    const once = (): Promise<Float32Array> =>
      run(
        planGemm(targets['native']!(), limits(), p),
        { a: { data: a }, b: { data: b } },
        { name: 'c', count: p.m * p.n },
      );
    expect(await once()).toEqual(await once());
  });

  it('says which size is wrong', () => {
    expect(() => planGemm(targets['native']!(), limits(), { m: 0, n: 2, k: 2 })).toThrow(
      /gemm: m must be a positive integer, got 0/,
    );
  });
});
