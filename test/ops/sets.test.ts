/** Sets, counts and order statistics: promises, refusals, NaN and ties. */
import { beforeAll, describe, expect, it } from 'vitest';
import * as k from '../../src/index.js';
import type { Tensor } from '../../src/index.js';

beforeAll(() => k.init());

const values = async (x: Tensor): Promise<number[]> => Array.from(await x.data());
const ints = (data: number[]): Tensor => k.tensor(data, { dtype: 'int32' });

describe('unique', () => {
  it('gives values in order, where each went and how often it was there', async () => {
    const [u, inverse, counts] = await k.unique(ints([3, 1, 3, 2, 1, 3]), {
      returnInverse: true,
      returnCounts: true,
    });
    expect(await values(u!)).toEqual([1, 2, 3]);
    expect(await values(inverse!)).toEqual([2, 0, 2, 1, 0, 2]);
    expect(await values(counts!)).toEqual([2, 1, 3]);
  });

  it('takes every NaN for a value of its own', async () => {
    expect((await k.unique(k.tensor([NaN, 1, NaN]))).shape).toEqual([3]);
  });

  it('compares whole rows, of any number', async () => {
    const rows = k.tensor([
      [2, 0, 1],
      [1, 5, 5],
      [2, 0, 1],
      [2, 0, 0],
    ]);
    const [u, inverse] = await k.unique(rows, { dim: 0, returnInverse: true });
    expect(await values(u!)).toEqual([1, 5, 5, 2, 0, 0, 2, 0, 1]);
    expect(await values(inverse!)).toEqual([2, 0, 2, 1]);
  });

  it('refuses a change of its input before the result has come', async () => {
    const x = k.tensor([1, 2, 1]);
    const result = x.unique();
    x.add_(1);
    await expect(result).rejects.toThrow(/changed its input/);
  });

  it('keeps runs apart in uniqueConsecutive', async () => {
    const [u, counts] = await k.uniqueConsecutive(ints([1, 1, 2, 1]), { returnCounts: true });
    expect(await values(u!)).toEqual([1, 2, 1]);
    expect(await values(counts!)).toEqual([2, 1, 1]);
  });
});

describe('bincount and histc', () => {
  it('refuse what cannot be counted', async () => {
    await expect(k.bincount(ints([1, -3]))).rejects.toThrow(/negative, got -3/);
    await expect(k.bincount(k.tensor([1, 2]))).rejects.toThrow(/integers in one dim/);
    expect(() => k.histc(k.tensor([1]), { min: 2, max: 1 })).toThrow(/min must not be larger/);
  });

  it('leave NaN and what is outside out; the end belongs to the last bin', async () => {
    const x = k.tensor([0, 0.5, 1, 2, -1, NaN]);
    expect(await values(k.histc(x, { bins: 2, min: 0, max: 1 }))).toEqual([1, 2]);
  });

  it('add weights up', async () => {
    const sums = await k.bincount(ints([2, 0, 2]), { weights: k.tensor([0.5, 1, 0.25]), minlength: 4 });
    expect(await values(sums)).toEqual([1, 0, 0.75, 0]);
  });
});

describe('searchsorted', () => {
  it('stands before equals, or behind them', async () => {
    const line = k.tensor([1, 3, 3, 5]);
    expect(await k.searchsorted(line, 3).item()).toBe(1);
    expect(await k.searchsorted(line, 3, { side: 'right' }).item()).toBe(3);
    expect(() => k.searchsorted(line, 3, { side: 'left', right: true })).toThrow(/give one of them/);
    expect(() => k.searchsorted(line, ints([3]))).toThrow(/convert one/);
  });

  it('refuses a sorter that points outside', async () => {
    const out = k.searchsorted(k.tensor([3, 1]), k.tensor([2]), { sorter: ints([1, 7]) });
    await expect(out.data()).rejects.toThrow(/index 7 is out of range/);
  });
});

describe('order statistics', () => {
  it('median: NaN wins, or is left out; ties share the gradient', async () => {
    const x = k.tensor([4, NaN, 1, 2]);
    expect(await k.median(x).item()).toBeNaN();
    expect(await k.nanmedian(x).item()).toBe(2);
    const ties = k.tensor([2, 2, 9]).requiresGrad_();
    k.median(ties).backward();
    expect(await values(ties.grad!)).toEqual([0.5, 0.5, 0]);
  });

  it('mode: the least of the most frequent, and its last place', async () => {
    const [value, index] = k.mode(ints([5, 2, 5, 2, 9]));
    expect([await value.item(), await index.item()]).toEqual([2, 3]);
  });

  it('quantile: linear between elements, with a gradient of q', async () => {
    const q = k.tensor([0.25, 0.5]).requiresGrad_();
    const out = k.quantile(k.tensor([0, 10, 30]), q);
    expect(await values(out)).toEqual([5, 10]);
    out.sum().backward();
    expect((await values(q.grad!))[0]).toBe(20);
    expect(() => k.quantile(k.tensor([1]), 2)).toThrow(/in \[0, 1\]/);
    await expect(k.quantile(k.tensor([1]), k.tensor(2)).data()).rejects.toThrow(/probability/);
  });

  it('kthvalue: refuses a k that is not there', () => {
    expect(() => k.kthvalue(k.tensor([1, 2]), 3)).toThrow(/k = 3 is out of range/);
  });
});

describe('comparisons of whole tensors', () => {
  it('are promises of a boolean', async () => {
    const x = k.tensor([1, NaN]);
    expect(await k.equal(x, x)).toBe(false);
    expect(await k.allclose(x, x, { equalNan: true })).toBe(true);
    expect(await k.equal(k.tensor([1]), k.tensor([[1]]))).toBe(false);
  });
});

describe('running extremes', () => {
  it('take the last of equals, keep NaN, and know bool', async () => {
    const [most, at] = k.cummax(k.tensor([1, 3, 3, NaN, 5]), 0);
    expect(await values(most)).toEqual([1, 3, 3, NaN, NaN]);
    expect(await values(at)).toEqual([0, 1, 2, 3, 3]);
    const [least] = k.cummin(k.tensor([true, false, true]), 0);
    expect(least.dtype).toBe('bool');
  });

  it('join the parts of a single long line', async () => {
    const x = k.tensor(Float32Array.from({ length: 20_000 }, (_, i) => (i * 7919) % 20_011));
    const [most, at] = k.cummax(x, 0);
    const [host, got, places] = [await x.data(), await most.data(), await at.data()];
    let best = 0;
    for (let i = 0; i < host.length; i++) {
      if (host[i]! >= host[best]!) best = i;
      expect([got[i], places[i]]).toEqual([host[best], best]);
    }
  });
});

it('isin finds what stands beside NaN, and never NaN', async () => {
  const found = k.isin(k.tensor([NaN, 1, Infinity]), k.tensor([NaN, 1, NaN]));
  expect(await found.toArray()).toEqual([false, true, false]);
});

it('repeatInterleave refuses negative repeats made on the GPU', async () => {
  const repeats = k.tensor([3, -1, 2], { dtype: 'int32' }).add(0);
  await expect(k.repeatInterleave(k.tensor([1, 2, 3]), repeats)).rejects.toThrow(
    'repeatInterleave: expected integers from 0 to 2147483647, got -1',
  );
});
