import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { close, init, runtime } from '../../src/device/index.js';
import {
  hostWords,
  philox,
  planDropout,
  planRandom,
  type Distribution,
  type RandomKey,
} from '../../src/kernels/random.js';
import type { DType } from '../../src/tensor/dtype.js';
import { runPlan } from './harness.js';

beforeAll(() => init());
afterAll(() => close());

const limits = (maxBinding = runtime().maxBinding) => ({ maxBinding, offsetAlignment: 256 });
const dtypes = { f32: 'float32', i32: 'int32', u32: 'bool' } as const satisfies Record<string, DType>;

async function draw(
  elem: keyof typeof dtypes,
  n: number,
  distribution: Distribution,
  key: RandomKey = { seed: 7, offset: 0 },
  maxBinding?: number,
): Promise<number[]> {
  const plan = planRandom(limits(maxBinding), elem, n, key, distribution);
  const { y } = await runPlan(plan, {}, { y: { count: n, dtype: dtypes[elem] } });
  return [...y!];
}

describe('philox', () => {
  it("gives Random123's known answers", () => {
    const ones = 0xffffffff;
    expect(philox([0, 0, 0, 0], [0, 0])).toEqual([0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8]);
    expect(philox([ones, ones, ones, ones], [ones, ones])).toEqual([
      0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd,
    ]);
    expect(philox([0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344], [0xa4093822, 0x299f31d0])).toEqual([
      0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1,
    ]);
  });

  it('is the same on the GPU, for any seed and offset, in one launch or several', async () => {
    for (const key of [
      { seed: 0, offset: 0 },
      { seed: 2 ** 40 + 5, offset: 2 ** 33 + 7 },
    ]) {
      const expected = [...hostWords(key, 3001)];
      const got = await draw('i32', 3001, { kind: 'bits' }, key);
      expect(got.map((v) => v >>> 0)).toEqual(expected);
      expect((await draw('i32', 3001, { kind: 'bits' }, key, 4352)).map((v) => v >>> 0)).toEqual(expected);
    }
  });
});

describe('distributions', () => {
  const n = 100_000;
  const mean = (v: readonly number[]): number => v.reduce((a, b) => a + b, 0) / v.length;
  const least = (v: readonly number[]): number => v.reduce((a, b) => Math.min(a, b));
  const most = (v: readonly number[]): number => v.reduce((a, b) => Math.max(a, b));

  it('uniform', async () => {
    const v = await draw('f32', n, { kind: 'uniform', low: -1, high: 3 });
    expect(least(v)).toBeGreaterThanOrEqual(-1);
    expect(most(v)).toBeLessThan(3);
    expect(mean(v)).toBeCloseTo(1, 1);
    expect(mean(v.map((x) => (x - 1) ** 2))).toBeCloseTo(16 / 12, 1);
  });

  it('normal, with tails, and neighbours uncorrelated', async () => {
    const v = await draw('f32', n, { kind: 'normal', mean: 2, std: 3 });
    const z = v.map((x) => (x - 2) / 3);
    expect(Math.abs(mean(z))).toBeLessThan(0.015);
    expect(mean(z.map((x) => x * x))).toBeCloseTo(1, 1);
    expect(Math.abs(mean(z.map((x) => x ** 3)))).toBeLessThan(0.06);
    expect(Math.abs(mean(z.map((x) => x ** 4)) - 3)).toBeLessThan(0.15);
    expect(Math.abs(mean(z.slice(1).map((x, i) => x * z[i]!)))).toBeLessThan(0.015);
    expect(Math.abs(z.filter((x) => Math.abs(x) < 1).length / n - 0.6827)).toBeLessThan(0.006);
  });

  it('integers, coins and dropout', async () => {
    const v = await draw('i32', n, { kind: 'integer', low: -3, range: 7 });
    const counts = [-3, -2, -1, 0, 1, 2, 3].map((k) => v.filter((x) => x === k).length);
    expect(counts.reduce((a, b) => a + b)).toBe(n);
    for (const c of counts) expect(Math.abs(c - n / 7)).toBeLessThan(600);
    expect(Math.abs(mean(await draw('u32', n, { kind: 'bernoulli', p: 0.3 })) - 0.3)).toBeLessThan(0.006);
    const x = Float32Array.from({ length: 1001 }, (_, i) => i + 1);
    const plan = planDropout(limits(), 'f32', 1001, { seed: 3, offset: 1 }, 0.25);
    const { y } = await runPlan(
      plan,
      { x: { data: x, dtype: 'float32' } },
      { y: { count: 1001, dtype: 'float32' } },
    );
    const kept = [...y!].filter((v) => v !== 0).length;
    expect(Math.abs(kept / 1001 - 0.75)).toBeLessThan(0.05);
    y!.forEach((v, i) => expect(v === 0 || Math.abs(v - ((i + 1) * 4) / 3) < 1e-3).toBe(true));
  });
});
