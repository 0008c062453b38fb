import { execFile } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CIFAR10 } from '../../src/data/cifar10.js';
import { stackSamples } from '../../src/data/collate.js';
import { ConcatDataset, type Dataset, Subset } from '../../src/data/dataset.js';
import type { HostArray, RGBImage } from '../../src/data/host.js';
import { DataLoader } from '../../src/data/loader.js';
import { ImageFolder } from '../../src/data/node/index.js';
import * as T from '../../src/data/transforms.js';
import { init, type Tensor } from '../../src/index.js';
import { AddNoise, darken, Rows } from './fixtures/worker-things.js';

let root: string;
const things = new URL('fixtures/worker-things.ts', import.meta.url);

beforeAll(async () => {
  root = mkdtempSync(join(tmpdir(), 'kindling-workers-'));
  for (let i = 0; i < 12; i++) {
    const name = join(root, i % 2 === 0 ? 'ants' : 'bees');
    mkdirSync(name, { recursive: true });
    const pixels = Buffer.from(Uint8Array.from({ length: 40 * 30 * 3 }, (_, k) => (k * (i + 3)) % 251));
    await sharp(pixels, { raw: { width: 40, height: 30, channels: 3 } })
      .jpeg()
      .toFile(join(name, `${i}.jpg`));
  }
});
afterAll(() => rmSync(root, { recursive: true }));

const pipeline = () =>
  new T.Compose([
    new T.Lambda(darken, { module: things, name: 'darken' }),
    new T.RandomResizedCrop(16, { scale: [0.3, 1] }),
    new T.RandomChoice([new T.ColorJitter({ hue: 0.2 }), new T.RandAugment({ fill: [1, 2, 3] })], [1, 2]),
    new T.ToTensor(),
    new T.Normalize([0.5, 0.5, 0.5], [0.2, 0.2, 0.2]),
    new AddNoise(0.1),
    new T.RandomErasing({ value: 'random' }),
  ]);

async function collect<B>(loader: AsyncIterable<B>): Promise<B[]> {
  const batches: B[] = [];
  for await (const batch of loader) batches.push(batch);
  return batches;
}

const onHost = { collate: (samples: unknown[]): unknown => stackSamples(samples) };
const rows = (batches: unknown[]) => batches.map((batch) => [...(batch as HostArray).data]);

describe('worker threads', () => {
  it('make the batches that this thread makes, bit for bit, also in the next epoch', async () => {
    const run = async (numWorkers: number, persistentWorkers = false) => {
      const folder = new ImageFolder(root, { transform: pipeline() });
      const dataset = new ConcatDataset([new Subset(folder, [11, 0, 3, 4, 7, 9]), folder]);
      const options = { batchSize: 5, shuffle: true, seed: 7, numWorkers, persistentWorkers, ...onHost };
      const loader = new DataLoader(dataset, options);
      const epochs = [await collect(loader), await collect(loader)];
      await loader.close();
      return epochs;
    };
    const expected = await run(0);
    expect(expected[0]!.length).toBe(4);
    expect(await run(2)).toEqual(expected);
    expect(await run(1, true)).toEqual(expected);
  });

  it('hand bytes through to the device, whose batches are those of the host bit for bit', async () => {
    await init();
    const tail = [new T.RandomCrop(16, { padding: 2 }), new T.RandomHorizontalFlip(), new T.ToTensor()];
    const finish = new T.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]);
    const onDevice = new T.Compose([new T.Resize(18), new T.OnDevice([...tail, finish])]);
    const onHere = new T.Compose([new T.Resize(18), ...tail, finish] as unknown as [T.ToTensor, T.Normalize]);
    const run = async (transform: T.TransformFunction<RGBImage, unknown>, numWorkers: number) => {
      const options = { batchSize: 5, shuffle: true, seed: 7, numWorkers };
      const loader = new DataLoader(new ImageFolder(root, { transform }), options);
      const batches = (await collect(loader)) as unknown as [Tensor, Tensor][];
      return Promise.all(batches.flat().map(async (batch) => [batch.shape, await batch.data()]));
    };
    const expected = await run(onHere, 0);
    expect(expected[0]![0]).toEqual([5, 3, 16, 16]);
    expect(await run(onDevice, 0)).toEqual(expected);
    expect(await run(onDevice, 2)).toEqual(expected);
  });

  it('build batches of stored bytes, and stack what has no `collate`', async () => {
    await init();
    const bytes = Uint8Array.from({ length: 3073 * 6 }, (_, i) => (i % 3073 === 0 ? i % 7 : i % 256));
    const data = new CIFAR10([{ name: 'six.bin', bytes }], { augment: { flip: true, padding: 4 } });
    const run = async (numWorkers: number) => {
      const loader = new DataLoader(data, { batchSize: 4, seed: 1, numWorkers });
      const values: unknown[] = [];
      for await (const [images, labels] of loader) values.push(await images.data(), await labels.data());
      return values;
    };
    expect(await run(1)).toEqual(await run(0));
  });

  it('name the file that cannot be read, or leave it out and say so', async () => {
    writeFileSync(join(root, 'bees', '5.jpg'), new Uint8Array());
    writeFileSync(join(root, 'ants', 'broken.png'), 'no picture');
    const options = { batchSize: 4, numWorkers: 1, ...onHost };
    const strict = new ImageFolder(root, { transform: pipeline() });
    await expect(collect(new DataLoader(strict, options))).rejects.toThrow(
      /sample 6: ImageFolder: .*ants\/broken\.png: cannot decode this image/,
    );
    const lenient = new ImageFolder(root, { transform: pipeline(), onError: 'skip' });
    // Inside other datasets too.
    const batches = await collect(new DataLoader(new Subset(lenient, lenient.samples.keys()), options));
    expect((batches as [unknown, HostArray][]).reduce((sum, [, labels]) => sum + labels.data.length, 0)).toBe(
      11,
    );
    expect(
      [...lenient.skipped].map(([path, reason]) => [
        path.slice(root.length + 1),
        /empty|decode/.test(reason),
      ]),
    ).toEqual(
      expect.arrayContaining([
        ['bees/5.jpg', true],
        ['ants/broken.png', true],
      ]),
    );
    expect(lenient.skipped.size).toBe(2);
  });

  it('report an error of a dataset and a thread that ends', async () => {
    const options = { batchSize: 2, numWorkers: 1, ...onHost };
    const batches: unknown[] = [];
    const failing = async (dataset: Rows) => {
      batches.length = 0;
      for await (const batch of new DataLoader(dataset, options)) batches.push(batch);
    };
    await expect(failing(new Rows(9, 5))).rejects.toThrow('DataLoader: sample 5: no such row');
    expect(rows(batches).map(([index]) => index)).toEqual([0, 2]);
    await expect(failing(new Rows(9, 3, 'exit'))).rejects.toThrow(/a worker thread ended \(exit code 3\)/);
    expect(rows(await collect(new DataLoader(new Rows(5, 3, 'skip'), options)))[1]!.length).toBe(2);
  });

  it('say what cannot be sent, and how to write it instead', async () => {
    const once = async (dataset: Dataset<unknown>) =>
      collect(new DataLoader(dataset, { numWorkers: 1, ...onHost }));
    const folder = (transform: T.TransformFunction<RGBImage, unknown>) =>
      new ImageFolder(root, { transform });
    await expect(once(folder(darken))).rejects.toThrow(
      /the function darken cannot be sent to worker threads; export it .* new transforms\.Lambda/,
    );
    await expect(once({ length: 1, get: () => 1 })).rejects.toThrow(
      /the function get cannot be sent|object literal/,
    );
    class Mine extends ImageFolder {}
    await expect(once(new Mine(root))).rejects.toThrow(/Mine cannot be sent .* `source\(\)/);
    class Own extends T.Resize {}
    await expect(once(folder(new Own(4)))).rejects.toThrow(/Own cannot be sent/);
    const lost = new T.Lambda(darken, { module: things, name: 'lost' });
    await expect(once(folder(lost))).rejects.toThrow('exports no function or class lost');
  });

  it('end with a break, a throw and the process', async () => {
    const script = `
      import { DataLoader } from ${JSON.stringify(new URL('../../src/data/loader.ts', import.meta.url).href)};
      import { Rows } from ${JSON.stringify(things.href)};
      const loader = () => new DataLoader(new Rows(40), { numWorkers: 2, collate: (samples) => samples.length });
      for await (const batch of loader()) { console.log('break', batch); break; }
      try { for await (const batch of loader()) throw new Error('stop'); } catch (error) { console.log(error.message); }
      // A pass that is left lying must not keep the process alive.
      const kept = new DataLoader(new Rows(40), { numWorkers: 2, persistentWorkers: true, collate: (samples) => samples.length });
      console.log((await kept[Symbol.asyncIterator]().next()).value);
    `;
    const run = promisify(execFile);
    const { stdout } = await run(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', script], {
      timeout: 40_000,
    });
    expect(stdout).toBe('break 1\nstop\n1\n');
  });
});
