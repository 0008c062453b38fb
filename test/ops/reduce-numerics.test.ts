import { beforeAll, describe, expect, it } from 'vitest';
import { cumprod, cumsum, full, init, prod, std, stdMean, sum, tensor, varMean } from '../../src/index.js';

beforeAll(() => init());

const numbers = async (x: { data(): Promise<ArrayLike<number>> }): Promise<number[]> =>
  Array.from(await x.data());

describe('cumsum keeps what rounding loses', () => {
  it('adds a million tenths, forwards', async () => {
    const sums = await cumsum(full([1_000_000], 0.1), 0).data();
    const tenth = Math.fround(0.1);
    for (const i of [9, 99_999, 999_999]) expect(sums[i]).toBe(Math.fround((i + 1) * tenth));
  });

  it('adds small numbers to a large one', async () => {
    expect(await numbers(cumsum(tensor([2 ** 24, 1, 1, 1, 1]), 0))).toEqual([
      2 ** 24,
      2 ** 24,
      2 ** 24 + 2,
      2 ** 24 + 4,
      2 ** 24 + 4,
    ]);
  });

  it('passes infinities and NaN on', async () => {
    expect(await numbers(cumsum(tensor([1, Infinity, 2, -Infinity, 3]), 0))).toEqual([
      1,
      Infinity,
      Infinity,
      NaN,
      NaN,
    ]);
  });
});

describe('the standard deviation of any float32', () => {
  it.each([
    ['large', 1e20],
    ['ordinary', 1],
    ['small', 1e-25],
  ])('%s', async (_, unit) => {
    const x = tensor([1, 2, 4, 7, 11, 16, 22, 29, 37].map((v) => v * unit));
    const [deviation, mean] = await Promise.all(stdMean(x).map((t) => t.item()));
    expect(deviation! / unit).toBeCloseTo(12.708265, 4);
    expect(mean! / unit).toBeCloseTo(129 / 9, 4);
  });

  it('sees a small deviation at a large mean', async () => {
    const x = tensor([2 ** 50, 2 ** 50 + 2 ** 30]);
    expect(await std(x).item()).toBeCloseTo(2 ** 30 / Math.SQRT2, -4);
  });

  it('joins parts of different size', async () => {
    const x = full([100_000], 1e-22);
    const values = await x.data();
    (values as Float32Array)[77_777] = 1e20;
    // One large value among n zeros deviates by v / sqrt(n).
    expect(await std(tensor(values as Float32Array)).item()).toBeCloseTo(1e20 / Math.sqrt(100_000), -13);
  });

  it('has a gradient there', async () => {
    const x = tensor([1e20, 3e20, 8e20]).requiresGrad_();
    std(x).backward();
    const g = await numbers(x.grad!);
    const deviation = Math.sqrt(13) * 1e20;
    [-3, -1, 4].forEach((d, i) => expect(g[i]).toBeCloseTo((d * 1e20) / (2 * deviation), 5));
  });

  it('leaves the variance infinite where it is no float32, and NaN of one element', async () => {
    const [variance] = varMean(tensor([1e20, 2e20, 3e20, 5e20, 8e20]));
    expect(await variance.item()).toBe(Infinity);
    expect(await std(tensor([1])).item()).toBeNaN();
    expect(await std(tensor([1]), { unbiased: false }).item()).toBe(0);
  });

  it('refuses correction and unbiased together', () => {
    expect(() => std(tensor([1, 2]), { correction: 1, unbiased: true })).toThrow(/not both/);
  });
});

describe('integers that leave int32 are errors', () => {
  const large = (dtype: 'int32' | 'uint8') =>
    dtype === 'int32' ? full([3], 2 ** 30, { dtype }) : full([10_000_000], 255, { dtype });

  it.each([
    ['sum of int32', () => sum(large('int32'))],
    ['sum of uint8', () => sum(large('uint8'))],
    ['prod of int32', () => prod(large('int32'))],
    ['prod of uint8', () => prod(full([5], 255, { dtype: 'uint8' }))],
    ['cumsum of int32', () => cumsum(large('int32'), 0)],
    ['cumsum of uint8', () => cumsum(large('uint8'), 0)],
    ['cumprod of int32', () => cumprod(large('int32'), 0)],
    ['cumprod of uint8', () => cumprod(full([5], 255, { dtype: 'uint8' }), 0)],
  ])('%s', async (_, make) => {
    await expect(make().data()).rejects.toThrow(/does not fit int32/);
  });
});
