import { describe, expect, it } from 'vitest';
import type { Dataset } from '../../src/data/dataset.js';
import { DataLoader, type DataLoaderOptions } from '../../src/data/loader.js';
import { Random } from '../../src/data/random.js';
import {
  BatchSampler,
  RandomSampler,
  SequentialSampler,
  SubsetRandomSampler,
  WeightedRandomSampler,
} from '../../src/data/samplers.js';
import { classBalancedWeights } from '../../src/data/splits.js';
import { init, ones } from '../../src/index.js';

const sorted = (values: Iterable<number>) => [...values].sort((a, b) => a - b);
const counting = (length: number): Dataset<number> => ({ length, get: (index) => index });
const ten = { length: 10 };

describe('samplers', () => {
  it('give every index once, in order or at random', () => {
    expect([...new SequentialSampler(ten)]).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    const random = new RandomSampler(ten);
    expect(sorted(random)).toEqual([...new SequentialSampler(ten)]);
    expect([...random.order(new Random(1))]).toEqual([...random.order(new Random(1))]);
    expect([...random.order(new Random(1))]).not.toEqual([...random.order(new Random(2))]);
    expect(sorted(new SubsetRandomSampler([7, 2, 2]))).toEqual([2, 2, 7]);
  });

  it('give as many as asked for, in whole rounds without replacement', () => {
    const many = [...new RandomSampler(ten, { numSamples: 23 })];
    expect(many.length).toBe(23);
    expect(sorted(many.slice(0, 10))).toEqual(sorted(many.slice(10, 20)));
    const few = [...new RandomSampler(ten, { numSamples: 4 })];
    expect(new Set(few).size).toBe(4);
    const drawn = [...new RandomSampler(ten, { replacement: true, numSamples: 500 })];
    expect(new Set(drawn.slice(0, 10)).size).toBeLessThan(11);
    for (let i = 0; i < 10; i++) expect(drawn.filter((value) => value === i).length).toBeGreaterThan(20);
  });

  it('follow weights', () => {
    const labels = Array.from({ length: 100 }, (_, i) => (i < 90 ? 0 : 1));
    const sampler = new WeightedRandomSampler(classBalancedWeights(labels), 2000);
    const ones = [...sampler.order(new Random(3))].filter((index) => labels[index] === 1).length;
    expect(Math.abs(ones - 1000)).toBeLessThan(80);
    const zeros = new WeightedRandomSampler([0, 1, 0, 3, 0], 100);
    expect(new Set(zeros)).toEqual(new Set([1, 3]));
    // Without replacement, the first draw is 3 with probability 3/4.
    const first = Array.from({ length: 400 }, (_, seed) => {
      const order = [...new WeightedRandomSampler([0, 1, 0, 3], 2, false).order(new Random(seed))];
      expect(sorted(order)).toEqual([1, 3]);
      return order[0];
    });
    expect(Math.abs(first.filter((index) => index === 3).length - 300)).toBeLessThan(40);
  });

  it('cut into batches', () => {
    expect([...new BatchSampler(new SequentialSampler({ length: 5 }), 2)]).toEqual([[0, 1], [2, 3], [4]]);
    const dropping = new BatchSampler(new SequentialSampler({ length: 5 }), 2, true);
    expect([dropping.length, [...dropping].length]).toEqual([2, 2]);
  });

  it('say how they take what is on the device', async () => {
    await init();
    const values = ones([3]) as never;
    expect(() => new WeightedRandomSampler(values, 2)).toThrow(
      /WeightedRandomSampler: .* await weights\.toArray\(\)/,
    );
    expect(() => new SubsetRandomSampler(values)).toThrow(
      /SubsetRandomSampler: .* await indices\.toArray\(\)/,
    );
    expect(() => new WeightedRandomSampler(3 as never, 2)).toThrow(
      'weights must be a list of numbers, got 3',
    );
  });

  it('say what they cannot do', () => {
    expect(() => new WeightedRandomSampler([1, 0], 2, false)).toThrow('only 1 weights are positive');
    expect(() => new WeightedRandomSampler([0, 0], 1)).toThrow('all weights are 0');
    expect(() => new WeightedRandomSampler([1, -1], 1)).toThrow('weight 1 is -1');
    expect(() => new RandomSampler(ten, { numSamples: 0 })).toThrow('numSamples must be a positive integer');
    expect(() => new BatchSampler([1], 0)).toThrow('batchSize must be a positive integer');
  });
});

describe('DataLoader with samplers', () => {
  const make = (options: DataLoaderOptions<number, number[]>) =>
    new DataLoader(counting(20), { seed: 5, collate: (samples) => samples, ...options });
  async function collect(loader: AsyncIterable<number[]>): Promise<number[][]> {
    const batches: number[][] = [];
    for await (const batch of loader) batches.push(batch);
    return batches;
  }

  it('draws from its seed and epoch', async () => {
    const sampler = new WeightedRandomSampler(new Float64Array(20).fill(1), 6);
    const [one, two] = [make({ batchSize: 4, sampler }), make({ batchSize: 4, sampler })];
    const first = await collect(one);
    expect(first.map((batch) => batch.length)).toEqual([4, 2]);
    expect(await collect(two)).toEqual(first);
    expect(await collect(two)).not.toEqual(first);
    expect(await collect(make({ batchSize: 20, sampler: new RandomSampler(counting(20)) }))).toEqual(
      await collect(make({ batchSize: 20, shuffle: true })),
    );
  });

  it('takes batches from a sampler of batches', async () => {
    const loader = make({ batchSampler: new BatchSampler(new RandomSampler({ length: 5 }), 2, true) });
    expect([loader.length, (await collect(loader)).length]).toEqual([2, 2]);
    expect(await collect(make({ batchSampler: [[3], [1, 2, 3]] }))).toEqual([[3], [1, 2, 3]]);
    expect(() => make({ batchSampler: [[1]], batchSize: 2 })).toThrow('leave out `batchSize`');
    expect(() => make({ sampler: [20] })[Symbol.asyncIterator]()).toThrow(
      'sampler: index 20 is outside 0 ... 19',
    );
  });

  it('continues an interrupted run with the same batches', async () => {
    const options = { batchSize: 3, shuffle: true };
    const whole = make(options);
    const epochs = [await collect(whole), await collect(whole)];

    const broken = make(options);
    await collect(broken);
    expect(broken.state()).toEqual({ seed: 5, epoch: 1, batch: 0 });
    const seen: number[][] = [];
    for await (const batch of broken) {
      seen.push(batch);
      if (seen.length === 3) break;
    }
    const state = JSON.parse(JSON.stringify(broken.state())) as ReturnType<typeof broken.state>;
    expect(state).toEqual({ seed: 5, epoch: 1, batch: 3 });
    const resumed = make({ ...options, seed: 99 });
    resumed.loadState(state);
    expect(resumed.state()).toEqual(state);
    expect([...seen, ...(await collect(resumed))]).toEqual(epochs[1]);
    expect(resumed.state()).toEqual({ seed: 5, epoch: 2, batch: 0 });
    resumed.startBatch = 8;
    expect(() => resumed[Symbol.asyncIterator]()).toThrow('startBatch is 8, but an epoch has 7 batches');
  });
});
