import { beforeAll, describe, expect, expectTypeOf, it } from 'vitest';
import { defaultCollate, stackSamples } from '../../src/data/collate.js';
import type { HostArray, RGBImage } from '../../src/data/host.js';
import { DataLoader } from '../../src/data/loader.js';
import { Random } from '../../src/data/random.js';
import * as T from '../../src/data/transforms.js';
import { init, type Tensor } from '../../src/index.js';

beforeAll(() => init());

const picture = (width: number, height: number, seed = 1): RGBImage => ({
  width,
  height,
  data: Uint8Array.from(
    { length: width * height * 3 },
    (_, i) => (Math.imul(i + seed, 2654435761) >>> 9) & 255,
  ),
});

const finish = [new T.ToTensor(), new T.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])] as const;
const both = (tail: readonly T.OnDeviceTransform[]) => ({
  here: new T.Compose(tail as unknown as [T.ToTensor]),
  there: new T.OnDevice(tail),
});

const flips = [new T.RandomHorizontalFlip(), new T.RandomVerticalFlip()];
const tails: Readonly<Record<string, readonly T.OnDeviceTransform[]>> = {
  'ToTensor alone': [new T.ToTensor()],
  'a centre crop': [new T.CenterCrop([8, 9]), ...finish],
  'a centre crop of more than the image': [new T.CenterCrop([15, 40]), ...finish],
  flips: [new T.CenterCrop(10), ...flips, ...finish],
  'a random crop': [new T.RandomCrop([8, 8]), ...flips, ...finish],
  'a random crop with borders': [
    new T.RandomCrop(12, { padding: [1, 2, 3, 4], fill: [9, 200, 31] }),
    ...finish,
  ],
  'a random crop of small images': [new T.RandomCrop(20, { padIfNeeded: true }), ...finish],
  'crops behind flips, and borders around what a crop left': [
    ...flips,
    new T.CenterCrop(9),
    ...flips,
    new T.RandomCrop(10, { padding: 3 }),
    ...flips,
    ...finish,
  ],
};

describe('OnDevice', () => {
  it.each(Object.entries(tails))('makes the batches of the host bit for bit: %s', async (_, tail) => {
    const { here, there } = both(tail);
    const samples = <S>(transform: T.Transform<RGBImage, S>): S[] =>
      Array.from({ length: 8 }, (__, i) =>
        transform(picture(13 + (i % 3), 11 + (i % 2), i), new Random(5, i)),
      );
    // Without a crop sizes must agree.
    const alike = <S>(list: S[]): S[] => (tail.length === 1 ? list.slice(0, 1) : list);
    const expected = defaultCollate(alike(samples(here) as HostArray[])) as Tensor;
    const batch = defaultCollate(alike(samples(there))) as Tensor;
    expect(batch.shape).toEqual(expected.shape);
    expect(await batch.data()).toEqual(await expected.data());
  });

  it('packs what is seen of the images and nothing else, a byte per element', () => {
    const { there } = both([new T.CenterCrop(8), new T.ToTensor()]);
    const { packed } = stackSamples([there(picture(40, 30)), there(picture(50, 30))]);
    const [table, places] = [3 * 256, 2 * 8];
    expect(packed.length).toBe(table + places + (2 * 8 * 8 * 3) / 4);
  });

  it('gives a DataLoader Tensors, of float16 where told', async () => {
    const transform = new T.OnDevice([new T.CenterCrop(4), ...finish], { dtype: 'float16' });
    const dataset = {
      length: 3,
      get: (index: number): [ReturnType<typeof transform>, number] => [
        transform(picture(9, 9, index)),
        index,
      ],
    };
    const loader = new DataLoader(dataset, { batchSize: 3 });
    for await (const [images, labels] of loader) {
      expectTypeOf(images).toEqualTypeOf<Tensor>();
      expect([images.dtype, images.shape, labels.shape]).toEqual(['float16', [3, 3, 4, 4], [3]]);
    }
  });

  it('says which samples do not fit together', () => {
    const of = (mean: number, size: number, dtype?: 'float16') =>
      new T.OnDevice(
        [new T.CenterCrop(size), new T.ToTensor(), new T.Normalize([mean, 0, 0], [1, 1, 1])],
        dtype === undefined ? {} : { dtype },
      )(picture(9, 9));
    expect(() => stackSamples([of(0, 4), of(0, 5)])).toThrow(
      /the sample is image for the device \[3, 4, 4\] .* but .* \[3, 5, 5\] .* in sample 1/,
    );
    expect(() => stackSamples([of(0, 4), of(0, 4, 'float16')])).toThrow(/\(float32\) .* \(float16\)/);
    expect(() => stackSamples([of(0, 4), of(0.5, 4)])).toThrow(/normalised by other means/);
    expect(stackSamples([of(0.5, 4), of(0.5, 4)]).shape).toEqual([2, 3, 4, 4]);
  });

  it('is the end of a Compose, but for functions', () => {
    const { there } = both([new T.CenterCrop(4), ...finish]);
    const then =
      (next: unknown, first: unknown = there) =>
      () =>
        new T.Compose([first, next] as unknown as [T.ToTensor]);
    expect(then(new T.RandomErasing())).toThrow(
      /RandomErasing cannot follow OnDevice.* or apply it to the batch/,
    );
    expect(then(new T.Resize(4))).toThrow(/Compose: Resize cannot follow OnDevice/);
    expect(then(new T.ToTensor(), new T.Compose([there]))).toThrow(/ToTensor cannot follow OnDevice/);
    expect(then(there)).toThrow(/OnDevice cannot follow OnDevice/);
    const labelled = (image: unknown) => [image, 1];
    for (const next of [labelled, new T.Lambda(labelled)])
      expect(then(next)()(picture(5, 5))).toEqual([there(picture(5, 5)), 1]);
  });

  it('says what it takes', () => {
    const of = (transforms: unknown) => () => new T.OnDevice(transforms as readonly T.OnDeviceTransform[]);
    expect(of(undefined)).toThrow(/OnDevice: takes a list of crops and flips, .* got undefined/);
    expect(of(new T.ToTensor())).toThrow(/takes a list .* got ToTensor;/);
    expect(of([null, ...finish])).toThrow(/got \[null, ToTensor, Normalize\]; put other transforms before/);
    expect(of([...finish, Math.abs])).toThrow(/got \[ToTensor, Normalize, abs\]/);
    expect(() => new T.Normalize(0.5 as never, 0.5 as never)).toThrow(
      /Normalize: mean and std must be lists/,
    );
    const late = new T.Compose([new T.ToTensor(), both([new T.ToTensor()]).there as never]);
    expect(() => late(picture(4, 4))).toThrow(/OnDevice: takes images; leave ToTensor/);
  });

  it('refuses what the device does not do', () => {
    const resize = new T.Resize(4) as unknown as T.OnDeviceTransform;
    expect(() => new T.OnDevice([resize, ...finish])).toThrow(
      /got \[Resize, ToTensor, Normalize\]; put other/,
    );
    expect(() => new T.OnDevice([new T.CenterCrop(4)])).toThrow(/then ToTensor/);
    expect(() => new T.OnDevice([...finish, new T.CenterCrop(4)])).toThrow(/then ToTensor/);
    class Own extends T.RandomHorizontalFlip {}
    expect(() => new T.OnDevice([new Own(), ...finish])).toThrow(/got \[Own, ToTensor, Normalize\]/);
    const mirrored = new T.RandomCrop(4, { padding: 1, paddingMode: 'reflect' });
    expect(() => new T.OnDevice([mirrored, ...finish])).toThrow(/must be of one colour, not 'reflect'/);
    const red = new T.RandomCrop(4, { padding: 1, fill: [255, 0, 0] });
    expect(() => new T.OnDevice([new T.CenterCrop(4), red, ...finish])).toThrow(/put the first crop before/);
  });
});
