import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { close, init } from '../../src/device/index.js';
import { planGemm } from '../../src/kernels/matmul/plan.js';
import type { GemmProblem } from '../../src/kernels/matmul/problem.js';
import { applyEpilogue, limits, random, relativeError, run, tables, targets } from './heavy-harness.js';

beforeAll(() => init());
afterAll(() => close());

/** Runs a dense or strided problem and returns its error against a float64 sum. */
async function error(target: string, p: GemmProblem, maxBinding?: number): Promise<number> {
  const { m, n, k, batch = 1, transA = false, transB = false, epilogue = {} } = p;
  const lda = p.lda ?? (transA ? m : k);
  const ldb = p.ldb ?? (transB ? k : n);
  const a = random(batch * (transA ? k : m) * lda);
  const b = random((p.bBatch === 0 ? 1 : batch) * (transB ? n : k) * ldb);
  const data = { bias: random(n), scale: random(n), shift: random(n), residual: random(batch * m * n) };
  const start = random(batch * m * n);
  const sums = Float64Array.from({ length: batch * m * n }, (_, i) => {
    const z = Math.floor(i / (m * n));
    const row = Math.floor(i / n) % m;
    const col = i % n;
    let sum = p.accumulate ? start[i]! : 0;
    for (let q = 0; q < k; q++) {
      const left = a[z * m * k + (transA ? q * lda + row : row * lda + q)]!;
      sum += left * b[z * (p.bBatch ?? n * k) + (transB ? col * ldb + q : q * ldb + col)]!;
    }
    return sum;
  });
  const plan = planGemm(targets[target]!(), limits(maxBinding), p);
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

describe('gemm', () => {
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
