/** The generator against published vectors, distributions by their moments, and dropout. */
import { beforeAll, describe, expect, it } from 'vitest';
import * as k from '../../src/index.js';
import type { Tensor } from '../../src/index.js';
import { hostWords, planRandom } from '../../src/kernels/random/fill.js';
import { planLimits, runPlan } from '../../src/ops/base/run-plan.js';

beforeAll(async () => {
  await k.init();
});

interface Moments {
  readonly mean: number;
  readonly std: number;
  readonly low: number;
  readonly high: number;
}

async function moments(x: Tensor): Promise<Moments> {
  const data = await x.data();
  let [mean, square, low, high] = [0, 0, Infinity, -Infinity];
  for (const v of data) {
    mean += v / data.length;
    low = Math.min(low, v);
    high = Math.max(high, v);
  }
  for (const v of data) square += (v - mean) ** 2 / data.length;
  return { mean, std: Math.sqrt(square), low, high };
}

const many = 100_003;

describe('Philox4x32-10', () => {
  // The host's generator is held to the published vectors in test/data/random.test.ts.
  it('gives the same words on the GPU, in one range or in several', async () => {
    const key = { seed: 2 ** 40 + 12345, offset: 2 ** 33 + 7 };
    const count = 1027;
    const want = [...hostWords(key, count)].map((v) => v | 0);
    for (const maxBinding of [1 << 20, 2048 + 256]) {
      const y = k.zeros([count], { dtype: 'int32' });
      runPlan('test', planRandom({ ...planLimits(), maxBinding }, 'u32', count, key, { kind: 'bits' }), {
        y,
      });
      expect([...(await y.data())]).toEqual(want);
    }
  });
});

describe('distributions', () => {
  beforeAll(() => k.manualSeed(1));

  it('rand', async () => {
    const m = await moments(k.rand(many));
    expect(m.mean).toBeCloseTo(0.5, 2);
    expect(m.std).toBeCloseTo(Math.sqrt(1 / 12), 2);
    expect(m.low).toBeGreaterThanOrEqual(0);
    expect(m.high).toBeLessThan(1);
  });

  it('randn', async () => {
    const data = await k.randn([many]).data();
    const m = await moments(k.tensor(data));
    expect(m.mean).toBeCloseTo(0, 1);
    expect(m.std).toBeCloseTo(1, 1);
    const beyond = (limit: number): number => data.filter((v) => Math.abs(v) > limit).length / many;
    expect(beyond(1)).toBeCloseTo(0.3173, 1);
    expect(beyond(2)).toBeCloseTo(0.0455, 2);
    expect(beyond(3)).toBeCloseTo(0.0027, 2);
    // Neighbours share a pair of words: they must not be correlated.
    let product = 0;
    for (let i = 0; i + 1 < many; i += 2) product += (data[i]! * data[i + 1]!) / (many / 2);
    expect(Math.abs(product)).toBeLessThan(0.02);
  });

  it('randint', async () => {
    const draws = k.randint(-3, 5, [many]);
    expect(draws.dtype).toBe('int32');
    const counts = new Map<number, number>();
    for (const v of await draws.data()) counts.set(v, (counts.get(v) ?? 0) + 1);
    expect([...counts.keys()].sort((a, b) => a - b)).toEqual([-3, -2, -1, 0, 1, 2, 3, 4]);
    for (const count of counts.values()) expect(count / many).toBeCloseTo(1 / 8, 2);
    expect((await moments(k.randint(-(2 ** 31), 2 ** 31, [1000]))).std).toBeGreaterThan(1e9);
    expect((await moments(k.randint(3, [9], { dtype: 'float32' }))).high).toBeLessThanOrEqual(2);
  });

  it('in place, also through strided views', async () => {
    const x = k.zeros(6, 8);
    const middle = k.narrow(x, 1, 2, 3);
    k.uniform_(middle, 2, 3);
    const rows = (await x.toArray()) as number[][];
    for (const row of rows)
      row.forEach((v, i) => expect(i >= 2 && i < 5 ? v >= 2 && v < 3 : v === 0).toBe(true));
    const m = await moments(k.exponential_(k.zeros(many), 2));
    expect(m.mean).toBeCloseTo(0.5, 1);
    expect(m.low).toBeGreaterThan(0);
    expect((await moments(k.normal_(k.zeros(many), 3, 0.5))).mean).toBeCloseTo(3, 1);
  });

  it('bernoulli', async () => {
    expect((await moments(k.bernoulli_(k.zeros([many], { dtype: 'bool' }), 0.3))).mean).toBeCloseTo(0.3, 1);
    expect(await k.bernoulli(k.tensor([0, 1, 0, 1])).toArray()).toEqual([0, 1, 0, 1]);
  });

  it('multinomial', async () => {
    const weights = k.tensor([
      [0, 1, 3, 0, 4, 0],
      [2, 0, 0, 0, 0, 0],
    ]);
    const drawn = (await k.multinomial(weights, 20_000, { replacement: true }).toArray()) as number[][];
    const share = (row: number, category: number): number =>
      drawn[row]!.filter((v) => v === category).length / 20_000;
    [0, 0.125, 0.375, 0, 0.5, 0].forEach((want, category) => expect(share(0, category)).toBeCloseTo(want, 1));
    expect([share(0, 0), share(0, 3), share(0, 5), share(1, 0)]).toEqual([0, 0, 0, 1]);
    const order = await k.multinomial(k.tensor([1, 0, 5, 2]), 3).data();
    expect([...order].sort()).toEqual([0, 2, 3]);
    let first = 0;
    const rows = k.expand(k.tensor([1, 3]), 4000, 2);
    for (const row of (await k.multinomial(rows, 1).toArray()) as number[][])
      first += row[0] === 0 ? 1 / 4000 : 0;
    expect(first).toBeCloseTo(0.25, 1);
    expect(() => k.multinomial(weights, 7)).toThrow(/at most 6/);
  });

  it('randperm', async () => {
    const order = await k.randperm(1000).data();
    expect([...order].sort((a, b) => a - b)).toEqual(Array.from({ length: 1000 }, (_, i) => i));
    expect(order[0] === 0 && order[1] === 1 && order[2] === 2).toBe(false);
  });

  it('follows the seed and the saved state', async () => {
    k.manualSeed(7);
    const first = await k.randn(5).data();
    const state = k.getRngState();
    const second = await k.randn(5).data();
    expect([...second]).not.toEqual([...first]);
    k.setRngState(state);
    expect([...(await k.randn(5).data())]).toEqual([...second]);
    k.manualSeed(7);
    expect([...(await k.randn(5).data())]).toEqual([...first]);
    expect(k.initialSeed()).toBe(7);
    expect(() => k.manualSeed(-1)).toThrow(/manualSeed/);
  });

  it('refuses leaves that require grad, and integer dtypes', () => {
    expect(() => k.uniform_(k.zeros([2], { requiresGrad: true }))).toThrow(/uniform_.*leaf/);
    expect(() => k.normal_(k.zeros([2], { dtype: 'int32' }))).toThrow(/normal_.*int32/);
    expect(() => k.rand([2], { dtype: 'int32' })).toThrow(/rand.*randint/);
    expect(() => k.randint(3, 3, [1])).toThrow(/low < high/);
  });
});

describe('dropout', () => {
  it('keeps the mean, and its gradient uses the same mask', async () => {
    const x = k.contiguous(k.ones([4, 8, 30, 31]), { memoryFormat: 'channelsLast' }).requiresGrad_();
    const y = k.dropout(x, 0.25);
    const [dx] = k.autograd.grad([y], [x], { gradOutputs: k.ones([4, 8, 30, 31]) }) as [Tensor];
    const values = await y.data();
    expect((await moments(y)).mean).toBeCloseTo(1, 1);
    expect(values.every((v) => v === 0 || Math.abs(v - 4 / 3) < 1e-6)).toBe(true);
    expect([...(await dx.data())]).toEqual([...values]);
  });

  it('is the identity in evaluation and at p = 0, and nothing at p = 1', async () => {
    const x = k.ones([3, 5]);
    expect(k.dropout(x, 0.5, { training: false })).toBe(x);
    expect(k.dropout(x, 0)).toBe(x);
    expect((await moments(k.dropout(x, 1))).high).toBe(0);
    expect((await moments(k.dropout2d(x, 1))).high).toBe(0);
    expect(() => k.dropout(x, 1.5)).toThrow(/between 0 and 1/);
    expect(() => k.dropout(k.ones([2], { dtype: 'int32' }))).toThrow(/int32/);
  });

  it('drops whole channels', async () => {
    const x = k.ones([8, 16, 3, 3], { requiresGrad: true });
    const y = k.dropout2d(x, 0.5);
    const data = await y.data();
    let kept = 0;
    for (let plane = 0; plane < 128; plane++) {
      const values = new Set(data.slice(plane * 9, plane * 9 + 9));
      expect(values.size).toBe(1);
      if (!values.has(0)) kept++;
    }
    expect(kept).toBeGreaterThan(40);
    expect(kept).toBeLessThan(90);
    y.sum().backward();
    expect([...(await x.grad!.data())]).toEqual([...data]);
  });
});

describe('counts of events', () => {
  beforeAll(() => k.manualSeed(3));

  /** Whether the shares of the values 0, 1, ... among draws are those of `log` probabilities, by chi-square. */
  async function expectShares(draws: Tensor, logOf: (value: number) => number): Promise<void> {
    const values = await draws.data();
    const counts = new Map<number, number>();
    for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1);
    let [chi, cells] = [0, 0];
    for (let value = 0; value <= 1.3 * Math.max(...counts.keys()); value++) {
      const expected = values.length * Math.exp(logOf(value));
      if (expected < 10) continue;
      chi += ((counts.get(value) ?? 0) - expected) ** 2 / expected;
      cells += 1;
    }
    expect(cells).toBeGreaterThan(1);
    expect(chi).toBeLessThan(cells + 4 * Math.sqrt(2 * cells) + 4);
  }

  const logFactorial = (n: number): number => {
    let sum = 0;
    for (let i = 2; i <= n; i++) sum += Math.log(i);
    return sum;
  };

  it.each([0.3, 4, 9.9, 10, 37, 400])('poisson of rate %d', async (rate) => {
    await expectShares(
      k.poisson(k.full([many], rate, { dtype: 'float32' })),
      (n) => n * Math.log(rate) - rate - logFactorial(n),
    );
  });

  it.each([
    [1, 0.3],
    [20, 0.2],
    [25, 0.5],
    [60, 0.85],
    [1000, 0.3],
    [100_000, 0.00002],
  ])('binomial of %d tries of probability %d', async (n, p) => {
    const [count, prob] = [k.full([many], n, { dtype: 'float32' }), k.tensor(p)];
    await expectShares(k.binomial(count, prob), (i) =>
      i > n
        ? -Infinity
        : logFactorial(n) -
          logFactorial(i) -
          logFactorial(n - i) +
          i * Math.log(p) +
          (n - i) * Math.log1p(-p),
    );
  });

  it('large ones have the right mean and deviation', async () => {
    const rates = await moments(k.poisson(k.full([many], 1e6, { dtype: 'float32' })));
    expect(Math.abs(rates.mean - 1e6)).toBeLessThan(15);
    expect(rates.std / 1e3).toBeCloseTo(1, 1);
    const tries = await moments(k.binomial(k.full([many], 4e6, { dtype: 'float32' }), k.tensor(0.5)));
    expect(Math.abs(tries.mean - 2e6)).toBeLessThan(15);
    expect(tries.std / 1e3).toBeCloseTo(1, 1);
  });

  it('nothing and certainty', async () => {
    expect(await k.poisson(k.zeros(3)).toArray()).toEqual([0, 0, 0]);
    const sure = k.binomial(k.tensor([0, 7, 7]), k.tensor([[0.5, 0, 1]]));
    expect(await sure.toArray()).toEqual([[0, 0, 7]]);
    expect(k.poisson(k.zeros(0, 2)).shape).toEqual([0, 2]);
  });

  it('a seed gives them again', async () => {
    const draw = async (): Promise<unknown> => {
      k.manualSeed(9);
      return k.poisson(k.full([50], 20, { dtype: 'float32' })).toArray();
    };
    expect(await draw()).toEqual(await draw());
  });

  it('parameters that there are not are raised', async () => {
    await expect(k.poisson(k.tensor([1, -1])).data()).rejects.toThrow('poisson: -1 is negative');
    await expect(k.binomial(k.tensor([NaN]), k.tensor([0.5])).data()).rejects.toThrow('binomial: NaN is');
    await expect(k.binomial(k.tensor([1]), k.tensor([1.5])).data()).rejects.toThrow('is no probability');
    expect(() => k.poisson(k.ones(2, { dtype: 'int32' }))).toThrow('poisson: expected float tensors');
  });
});

describe('normal', () => {
  it('of tensors, which broadcast', async () => {
    k.manualSeed(4);
    const mean = k.tensor([[-10], [10]]);
    const [low, high] = k.normal(mean, k.full([many], 2, { dtype: 'float32' })).split(1) as [Tensor, Tensor];
    for (const [draws, at] of [
      [low, -10],
      [high, 10],
    ] as const) {
      const m = await moments(draws);
      expect(m.mean).toBeCloseTo(at, 1);
      expect(m.std).toBeCloseTo(2, 1);
    }
    expect(k.normal(mean).shape).toEqual([2, 1]);
    expect(k.normal(mean, 3).shape).toEqual([2, 1]);
    expect(k.normal(1, k.ones(3)).shape).toEqual([3]);
    expect(k.normal({ mean: 1, std: 2, size: [4] }).shape).toEqual([4]);
  });

  it('says what is missing or wrong', async () => {
    expect(() => k.normal(0 as unknown as Tensor, 1)).toThrow("normal: 'size' is missing");
    expect(() => k.normal(k.zeros(2), -1)).toThrow('normal: std must not be negative, got -1');
    await expect(k.normal(k.zeros(2), k.tensor([1, -2])).data()).rejects.toThrow('got -2');
    expect(() => k.normal(k.zeros(2, { dtype: 'int32' }))).toThrow('normal: expected float tensors');
  });
});
