import { readFileSync } from 'node:fs';
import { describe, expect, expectTypeOf, it } from 'vitest';
import type { HostArray, RGBImage } from '../../src/data/host.js';
import { Random } from '../../src/data/random.js';
import {
  AutoAugment,
  CenterCrop,
  ColorJitter,
  Compose,
  GaussianBlur,
  Grayscale,
  horizontalFlip,
  Lambda,
  Normalize,
  Pad,
  RandAugment,
  RandomAffine,
  RandomApply,
  RandomChoice,
  RandomCrop,
  RandomErasing,
  RandomGrayscale,
  RandomHorizontalFlip,
  RandomOrder,
  RandomResizedCrop,
  RandomRotation,
  RandomVerticalFlip,
  Resize,
  ToTensor,
  type Transform,
  TrivialAugmentWide,
} from '../../src/data/transforms.js';

interface Golden {
  size: number | [number, number];
  shape?: [number, number];
  data: string;
}

const golden = JSON.parse(readFileSync(new URL('fixtures/pillow.json', import.meta.url), 'utf8')) as {
  width: number;
  height: number;
  resize: Golden[];
  resizeBicubic: Golden[];
  resizeShorter: Golden[];
  centerCrop: Golden[];
};

/** The picture that the goldens were made from, by formula. */
function picture(width: number, height: number): RGBImage {
  const data = new Uint8Array(width * height * 3);
  for (let y = 0, i = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      for (let c = 0; c < 3; c++) data[i++] = (x * 37 + y * 59 + c * 101 + x * y * c * 7) % 256;
    }
  }
  return { width, height, data };
}

const image = picture(golden.width, golden.height);
const bytes = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, 'base64'));
const pixelAt = ({ width, data }: RGBImage, x: number, y: number) =>
  data.slice((y * width + x) * 3, (y * width + x) * 3 + 3);

describe('Resize', () => {
  it.each(golden.resize)('to $size equals Pillow byte for byte', ({ size, data }) => {
    expect(new Resize(size)(image).data).toEqual(bytes(data));
  });

  it.each(golden.resizeBicubic)(
    'to $size by the bicubic filter equals Pillow byte for byte',
    ({ size, data }) => {
      expect(new Resize(size, 'bicubic')(image).data).toEqual(bytes(data));
    },
  );

  it.each(golden.resizeShorter)('with one number sets the shorter side, as torchvision', (row) => {
    const out = new Resize(row.size)(image);
    expect([out.height, out.width]).toEqual(row.shape);
    expect(out.data).toEqual(bytes(row.data));
  });

  it('leaves an image of the right size alone', () => {
    expect(new Resize([image.height, image.width])(image)).toBe(image);
  });

  it('refuses sizes that are not positive integers', () => {
    expect(() => new Resize(0)).toThrow(
      'Resize: the size must be a positive integer or [height, width], got 0',
    );
    expect(() => new Resize([4.5, 2])).toThrow('[4.5,2]');
  });
});

describe('CenterCrop', () => {
  it.each(golden.centerCrop)('to $size equals torchvision, which pads small images with black', (row) => {
    expect(new CenterCrop(row.size)(image).data).toEqual(bytes(row.data));
  });
});

describe('random transforms', () => {
  it('flip about half the images, and none or all where told', () => {
    const random = new Random(1);
    const flips = Array.from({ length: 400 }, () => new RandomHorizontalFlip()(image, random) !== image);
    const count = flips.filter(Boolean).length;
    expect(count).toBeGreaterThan(150);
    expect(count).toBeLessThan(250);
    expect(new RandomHorizontalFlip(0)(image)).toBe(image);
    expect(pixelAt(new RandomHorizontalFlip(1)(image), 0, 3)).toEqual(pixelAt(image, image.width - 1, 3));
    expect(horizontalFlip(horizontalFlip(image)).data).toEqual(image.data);
  });

  it('crop with padding reaches every offset and fills with the given grey', () => {
    const crop = new RandomCrop([image.height, image.width], { padding: 1, fill: 9 });
    const random = new Random(2);
    const seen = new Set<string>();
    for (let i = 0; i < 200; i++) seen.add(Buffer.from(crop(image, random).data).toString('base64'));
    expect(seen.size).toBe(9);
    expect(
      [...seen].some((data) =>
        bytes(data)
          .subarray(0, 3)
          .every((value) => value === 9),
      ),
    ).toBe(true);
  });

  it('give the same result for the same stream', () => {
    const transform = new Compose([new RandomResizedCrop(12), new RandomHorizontalFlip()]);
    expect(transform(image, new Random(5)).data).toEqual(transform(image, new Random(5)).data);
    expect(transform(image, new Random(5)).data).not.toEqual(transform(image, new Random(6)).data);
    expect([transform(image).width, transform(image).height]).toEqual([12, 12]);
  });

  it('say when a crop does not fit', () => {
    expect(() => new RandomCrop(64)(image)).toThrow(
      'RandomCrop: a crop of 64 x 64 is larger than the 23 x 17 image',
    );
  });
});

describe('augmentations', () => {
  const all = {
    jitter: new ColorJitter({ brightness: 0.4, contrast: 0.4, saturation: [0.5, 2], hue: 0.1 }),
    rotation: new RandomRotation(30, { interpolation: 'bilinear', expand: true }),
    affine: new RandomAffine(20, { translate: [0.1, 0.2], scale: [0.8, 1.2], shear: [-5, 5, -3, 3] }),
    rand: new RandAugment(),
    trivial: new TrivialAugmentWide(),
    auto: new AutoAugment('cifar10'),
    blur: new GaussianBlur(3),
    grey: new RandomGrayscale(0.5),
    vertical: new RandomVerticalFlip(),
  };

  it.each(Object.entries(all))('%s is set by its stream, and differs between streams', (_, transform) => {
    const run = (seed: number) => Buffer.from(transform(image, new Random(seed)).data).toString('base64');
    expect(run(3)).toBe(run(3));
    expect(new Set([...Array(12).keys()].map(run)).size).toBeGreaterThan(1);
  });

  it('that ask for nothing change nothing', () => {
    expect(new ColorJitter()(image)).toBe(image);
    expect(new ColorJitter({ brightness: 0, hue: [0, 0] })(image)).toBe(image);
    expect(new RandomRotation(0)(image)).toBe(image);
    expect(new RandomAffine(0)(image).data).toEqual(image.data);
    expect(new RandAugment({ numOps: 0 })(image)).toBe(image);
    expect(new Grayscale()(new Grayscale()(image)).data).toEqual(new Grayscale()(image).data);
  });

  it('draw ColorJitter factors from their ranges', () => {
    const grey: RGBImage = { width: 1, height: 1, data: Uint8Array.of(100, 100, 100) };
    const seen = Array.from({ length: 200 }, (_, i) =>
      new ColorJitter({ brightness: 0.5 })(grey, new Random(i)),
    );
    const levels = seen.map(({ data }) => data[0]!);
    expect(Math.min(...levels)).toBeGreaterThanOrEqual(50);
    expect(Math.min(...levels)).toBeLessThan(55);
    expect(Math.max(...levels)).toBeLessThanOrEqual(150);
    expect(Math.max(...levels)).toBeGreaterThan(145);
  });

  it('pad before cropping where an image is too small', () => {
    const out = new RandomCrop(64, { padIfNeeded: true, paddingMode: 'reflect', padding: [1, 2] })(image);
    expect([out.width, out.height]).toEqual([64, 64]);
    expect(new Pad([1, 2])(image).height).toBe(image.height + 4);
  });

  it('refuse settings that make no sense', () => {
    expect(() => new ColorJitter({ hue: 0.6 })).toThrow(
      'ColorJitter: hue must be [low, high] within -0.5 ... 0.5',
    );
    expect(() => new ColorJitter({ contrast: -1 })).toThrow('contrast: a single number must not be negative');
    expect(() => new RandomHorizontalFlip(1.5)).toThrow('the probability must be in 0 ... 1, got 1.5');
    expect(() => new RandomRotation([5, -5])).toThrow('RandomRotation: degrees must be [low, high]');
    expect(() => new RandomAffine(0, { translate: [2, 0] })).toThrow('RandomAffine: translate');
    expect(() => new RandAugment({ magnitude: 31 })).toThrow(
      'magnitude must be an integer from 0 to 30, got 31',
    );
    expect(() => new GaussianBlur(4)).toThrow('the window must be odd');
    expect(() => new Pad(-1)).toThrow('Pad: padding must be');
    expect(() => new Pad(1, { fill: [1, 2, 300] })).toThrow('each 0 to 255');
  });
});

describe('RandomErasing', () => {
  const planes = { data: new Float32Array(3 * 20 * 30).fill(7), shape: [3, 20, 30] };

  it('overwrites one box of a share within `scale`', () => {
    const erase = new RandomErasing({ p: 1, scale: [0.1, 0.2], value: [1, 2, 3] });
    for (let seed = 0; seed < 50; seed++) {
      const { data } = erase(planes, new Random(seed));
      const changed = [...data.keys()].filter((i) => data[i] !== 7);
      expect(changed.length / 3 / 600).toBeGreaterThan(0.08);
      expect(changed.length / 3 / 600).toBeLessThan(0.22);
      expect(new Set(changed.map((i) => data[i]! - Math.floor(i / 600)))).toEqual(new Set([1]));
      const rows = new Set(changed.map((i) => Math.floor(i / 30) % 20));
      const columns = new Set(changed.map((i) => i % 30));
      expect(rows.size * columns.size * 3).toBe(changed.length);
    }
    expect(planes.data.every((value) => value === 7)).toBe(true);
  });

  it('fills with normal noise on request, and leaves the rest alone', () => {
    const { data } = new RandomErasing({ p: 1, scale: [0.8, 0.8], ratio: [1, 1], value: 'random' })(
      { data: new Float32Array(3 * 64 * 64).fill(9), shape: [3, 64, 64] },
      new Random(1),
    );
    const noise = data.filter((value) => value !== 9);
    const mean = noise.reduce((sum, value) => sum + value, 0) / noise.length;
    const variance = noise.reduce((sum, value) => sum + (value - mean) ** 2, 0) / noise.length;
    expect(Math.abs(mean)).toBeLessThan(0.05);
    expect(Math.abs(variance - 1)).toBeLessThan(0.05);
    expect(new RandomErasing({ p: 0 })(planes)).toBe(planes);
  });

  it('says what it cannot take', () => {
    expect(() => new RandomErasing({ value: [1, 2] })(planes)).toThrow('2 values for 3 channels');
    expect(() => new RandomErasing({ scale: [0, 2] })).toThrow('scale must be [low, high] within 0 ... 1');
  });
});

describe('RandomApply, RandomChoice and RandomOrder', () => {
  const add = (n: number) => (value: string) => value + String(n);
  const results = (transform: Transform<string, string>) =>
    new Set(Array.from({ length: 60 }, (_, i) => transform('', new Random(i))));

  it('apply all or none, one, and all in any order', () => {
    expect(results(new RandomApply([add(1), add(2)]))).toEqual(new Set(['', '12']));
    expect(results(new RandomChoice([add(1), add(2)]))).toEqual(new Set(['1', '2']));
    expect(results(new RandomChoice([add(1), add(2), add(3)], [0, 2, 0]))).toEqual(new Set(['2']));
    expect(results(new RandomOrder([add(1), add(2), add(3)])).size).toBe(6);
    expect(new Lambda(add(5))('x')).toBe('x5');
    expect(() => new RandomChoice([add(1)], [0])).toThrow('p must hold 1 weights');
  });
});

describe('ToTensor and Normalize', () => {
  it('make float32 planes in 0 ... 1 and shift them by channel', () => {
    const tiny: RGBImage = { width: 2, height: 1, data: Uint8Array.of(0, 51, 102, 255, 204, 153) };
    const planes = new ToTensor()(tiny);
    expect(planes.shape).toEqual([3, 1, 2]);
    expect([...planes.data]).toEqual([0, 1, 0.2, 0.8, 0.4, 0.6].map(Math.fround));
    const normalized = new Normalize([0.5, 0, 0], [0.5, 1, 2])(planes);
    expect([...normalized.data]).toEqual([-1, 1, 0.2, 0.8, 0.2, 0.3].map(Math.fround));
  });

  it('say what is out of order', () => {
    const flat = { data: new Float32Array(4), shape: [4] };
    expect(() => new Normalize([0, 0, 0], [1, 1, 1])(flat)).toThrow('put ToTensor before it');
    expect(() => new Normalize([0], [1, 1])).toThrow('lists of one length, got 0 and 1,1');
    expect(() => new Normalize([0], [0])).toThrow('must be positive');
  });
});

describe('Compose', () => {
  it('runs transforms and plain functions in order and knows its types', () => {
    const transform = new Compose([
      (input: RGBImage) => horizontalFlip(input),
      new Resize(8),
      new CenterCrop(8),
      new ToTensor(),
    ]);
    expectTypeOf(transform).parameter(0).toEqualTypeOf<RGBImage>();
    expectTypeOf(transform).returns.toEqualTypeOf<HostArray<Float32Array>>();
    expect(transform(image).shape).toEqual([3, 8, 8]);
  });
});
