/** Without a seed of its own, what shuffles is governed by `manualSeed`, and takes nothing from its stream. */
import { beforeAll, expect, it } from 'vitest';
import * as k from '../../src/index.js';

const { data } = k;
const dataset = { length: 20, get: (index: number): number => index };

beforeAll(() => k.init());

async function order(loader: k.data.DataLoader<number, number[]>): Promise<number[]> {
  const seen: number[] = [];
  for await (const batch of loader) seen.push(...batch);
  return seen;
}
const loader = (seed?: number): k.data.DataLoader<number, number[]> =>
  new data.DataLoader(dataset, {
    batchSize: 4,
    shuffle: true,
    collate: (samples: number[]) => samples,
    ...(seed !== undefined && { seed }),
  });

it('loaders repeat their orders after the same manualSeed, each with one of its own', async () => {
  k.manualSeed(0);
  const first = [await order(loader()), await order(loader())];
  k.manualSeed(0);
  expect([await order(loader()), await order(loader())]).toEqual(first);
  expect(first[0]).not.toEqual(first[1]);
  k.manualSeed(1);
  expect(await order(loader())).not.toEqual(first[0]);
});

it('samplers, mixup and cutmix repeat what they draw', async () => {
  const labels = k.tensor([0, 1, 2, 3], { dtype: 'int32' });
  const images = k.arange(64, { dtype: 'float32' }).reshape(4, 1, 4, 4).keep();
  const drawn = async (): Promise<unknown[]> => {
    k.manualSeed(3);
    const mixed = data.mixup(images, labels, { numClasses: 4 });
    const cut = data.cutmix(images, labels, { numClasses: 4 });
    return [
      [...new data.RandomSampler(dataset)],
      [...new data.WeightedRandomSampler([1, 2, 3], 9)],
      await mixed[1].toArray(),
      await cut[1].toArray(),
    ];
  };
  expect(await drawn()).toEqual(await drawn());
});

it('the global stream stays where it is', () => {
  k.manualSeed(5);
  const before = k.getRngState();
  loader();
  expect(k.getRngState()).toEqual(before);
});

it('a seed of its own is not touched by manualSeed', async () => {
  k.manualSeed(0);
  const first = await order(loader(7));
  k.manualSeed(1);
  expect(await order(loader(7))).toEqual(first);
});
