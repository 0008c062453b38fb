import { readFileSync } from 'node:fs';
import { describe, expect, expectTypeOf, it } from 'vitest';
import type { HostArray, RGBImage } from '../../src/data/host.js';
import { Random } from '../../src/data/random.js';
import {
  CenterCrop,
  Compose,
  horizontalFlip,
  Normalize,
  RandomCrop,
  RandomHorizontalFlip,
  RandomResizedCrop,
  Resize,
  ToTensor,
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
    expect(() => new Normalize([0], [1, 1])).toThrow('1 means but 2 standard deviations');
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
