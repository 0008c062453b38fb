import { afterAll, beforeAll, describe, expect, expectTypeOf, it } from 'vitest';
import { defaultCollate, stackSamples } from '../../src/data/collate.js';
import type { Dataset } from '../../src/data/dataset.js';
import type { HostArray } from '../../src/data/host.js';
import { DataLoader } from '../../src/data/loader.js';
import { TensorDataset } from '../../src/data/tensor-dataset.js';
import { init, type Tensor, tensor } from '../../src/index.js';

const counting = (length: number): Dataset<number> => ({ length, get: (index) => index });

/** Batches as plain lists, without a GPU. */
const plain = { collate: (samples: number[]) => samples };

async function collect<B>(loader: AsyncIterable<B>): Promise<B[]> {
  const batches: B[] = [];
  for await (const batch of loader) batches.push(batch);
  return batches;
}

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

describe('DataLoader', () => {
  it('yields batches in order, the last one short', async () => {
    const loader = new DataLoader(counting(5), { batchSize: 2, ...plain });
    expect(loader.length).toBe(3);
    expect(await collect(loader)).toEqual([[0, 1], [2, 3], [4]]);
  });

  it('drops the short last batch on request', async () => {
    const loader = new DataLoader(counting(5), { batchSize: 2, dropLast: true, ...plain });
    expect(loader.length).toBe(2);
    expect(await collect(loader)).toEqual([
      [0, 1],
      [2, 3],
    ]);
  });

  it('shuffles anew each epoch, the same way for the same seed', async () => {
    const make = (seed: number) =>
      new DataLoader(counting(20), { batchSize: 20, shuffle: true, seed, ...plain });
    const loader = make(3);
    const first = (await collect(loader))[0]!;
    const second = (await collect(loader))[0]!;
    expect([...first].sort((a, b) => a - b)).toEqual(Array.from({ length: 20 }, (_, i) => i));
    expect(second).not.toEqual(first);
    const again = make(3);
    expect((await collect(again))[0]).toEqual(first);
    const resumed = make(3);
    resumed.epoch = 1;
    expect((await collect(resumed))[0]).toEqual(second);
    expect((await collect(make(4)))[0]).not.toEqual(first);
  });

  it('gives a sample the same random stream whatever the batch size or timing', async () => {
    const dataset: Dataset<number> = {
      length: 6,
      get: async (index, random) => {
        await sleep((index * 7) % 5);
        return random!.uint32();
      },
    };
    const run = async (batchSize: number, concurrency: number) =>
      (await collect(new DataLoader(dataset, { batchSize, concurrency, seed: 1, ...plain }))).flat();
    const one = await run(1, 1);
    expect(await run(4, 8)).toEqual(one);
    expect(new Set(one).size).toBe(6);
  });

  it('follows a sampler', async () => {
    const loader = new DataLoader(counting(9), { batchSize: 2, sampler: [8, 1, 8], ...plain });
    expect(loader.length).toBe(2);
    expect(await collect(loader)).toEqual([[8, 1], [8]]);
    expect(() => new DataLoader(counting(9), { sampler: [1], shuffle: true })).toThrow('leave out `shuffle`');
  });

  it('makes the next batch while the current one is in use, and no more than that', async () => {
    const started: number[] = [];
    const dataset: Dataset<number> = { length: 6, get: (index) => started.push(index) - 1 };
    for await (const batch of new DataLoader(dataset, { batchSize: 2, ...plain })) {
      await sleep(5);
      expect(started.length).toBe(Math.min(batch[0]! + 4, 6));
    }
    started.length = 0;
    for await (const batch of new DataLoader(dataset, { batchSize: 2, prefetchFactor: 0, ...plain })) {
      await sleep(5);
      expect(started.length).toBe(batch[0]! + 2);
    }
  });

  it('keeps at most `concurrency` samples under way', async () => {
    let underWay = 0;
    let most = 0;
    const dataset: Dataset<number> = {
      length: 12,
      get: async (index) => {
        most = Math.max(most, ++underWay);
        await sleep(1);
        underWay--;
        return index;
      },
    };
    await collect(new DataLoader(dataset, { batchSize: 12, concurrency: 3, prefetchFactor: 0, ...plain }));
    expect(most).toBe(3);
  });

  it('leaves nothing running after a break', async () => {
    let underWay = 0;
    let started = 0;
    const dataset: Dataset<number> = {
      length: 100,
      get: async (index) => {
        started++;
        underWay++;
        await sleep(3);
        underWay--;
        return index;
      },
    };
    for await (const batch of new DataLoader(dataset, {
      batchSize: 4,
      concurrency: 2,
      prefetchFactor: 2,
      ...plain,
    })) {
      await sleep(1);
      if (batch[0] === 4) break;
    }
    expect(underWay).toBe(0);
    const before = started;
    await sleep(10);
    expect(started).toBe(before);
  });

  it('names the sample that failed and then ends, without an unhandled rejection', async () => {
    const dataset: Dataset<number> = {
      length: 8,
      get: (index) => {
        if (index >= 5) throw new Error('bad pixels');
        return index;
      },
    };
    const iterator = new DataLoader(dataset, { batchSize: 2, ...plain })[Symbol.asyncIterator]();
    await iterator.next();
    await iterator.next();
    await sleep(5);
    await expect(iterator.next()).rejects.toThrow('DataLoader: sample 5: bad pixels');
    expect(await iterator.next()).toEqual({ done: true, value: undefined });
  });

  it('leaves out null samples, and batches of nothing else', async () => {
    const dataset: Dataset<number | null> = { length: 6, get: (index) => (index < 3 ? null : index) };
    expect(await collect(new DataLoader(dataset, { batchSize: 2, ...plain }))).toEqual([[3], [4, 5]]);
  });

  it('refuses options that make no sense', () => {
    expect(() => new DataLoader(counting(2), { batchSize: 0 })).toThrow(
      'DataLoader: batchSize must be an integer of at least 1, got 0',
    );
  });
});

describe('stackSamples', () => {
  const row = (...values: number[]): HostArray => ({
    data: Float32Array.from(values),
    shape: [values.length],
  });

  it('stacks arrays, labels and names field by field', () => {
    const batch = stackSamples([
      { image: row(1, 2), label: 4, name: 'a' },
      { image: row(3, 4), label: 5, name: 'b' },
    ]);
    expect(batch).toEqual({
      image: { data: Float32Array.of(1, 2, 3, 4), shape: [2, 2] },
      label: { data: Int32Array.of(4, 5), shape: [2] },
      name: ['a', 'b'],
    });
  });

  it('says which field and sample do not fit', () => {
    expect(() =>
      stackSamples([
        [row(1, 2), 0],
        [row(1, 2, 3), 1],
      ]),
    ).toThrow(
      /the sample\[0\] is array of Float32Array \[2\] .* but array of Float32Array \[3\] in sample 1; .*Resize/,
    );
    expect(() => stackSamples([[row(1), 0.5]])).toThrow(
      'the sample[1] holds 0.5; plain numbers are class labels',
    );
    expect(() => stackSamples([{ width: 2, height: 2, data: new Uint8Array(12) }])).toThrow('with ToTensor');
    expect(() => stackSamples([])).toThrow('no samples');
  });
});

describe('batches as Tensors', () => {
  beforeAll(() => init());
  const kept: Tensor[] = [];
  afterAll(() => kept.forEach((each) => each.dispose()));

  it('holds float32 images and int32 labels', async () => {
    const dataset = new TensorDataset(
      { data: Float32Array.of(1, 2, 3, 4, 5, 6), shape: [3, 2] },
      { data: Int32Array.of(7, 8, 9), shape: [3] },
    );
    const loader = new DataLoader(dataset, { batchSize: 2 });
    for await (const [images, labels] of loader) {
      expectTypeOf(images).toEqualTypeOf<Tensor>();
      kept.push(images, labels);
    }
    expect(kept.map((each) => [each.dtype, ...each.shape])).toEqual([
      ['float32', 2, 2],
      ['int32', 2],
      ['float32', 1, 2],
      ['int32', 1],
    ]);
    expect(await kept[0]!.toArray()).toEqual([
      [1, 2],
      [3, 4],
    ]);
    expect(await kept[3]!.toArray()).toEqual([9]);
  });

  it('come from rows of Tensors without leaving the GPU', async () => {
    const columns = tensor([
      [1, 2],
      [3, 4],
      [5, 6],
    ]);
    const loader = new DataLoader(new TensorDataset(columns), { batchSize: 2, sampler: [2, 0, 1] });
    const batches = (await collect(loader)).map(([rows]) => rows);
    kept.push(columns, ...batches);
    expect(await batches[0]!.toArray()).toEqual([
      [5, 6],
      [1, 2],
    ]);
    const [row] = new TensorDataset(columns).get(1);
    kept.push(row);
    expect(await row.toArray()).toEqual([3, 4]);
  });

  it('come from samples that are Tensors', async () => {
    const samples = [tensor([1, 2]), tensor([3, 4])];
    const stacked = defaultCollate(samples);
    kept.push(...samples, stacked);
    expect(await stacked.toArray()).toEqual([
      [1, 2],
      [3, 4],
    ]);
  });
});
