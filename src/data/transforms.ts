/**
 * torchvision's image transforms on the host. A transform is an object that can be called: `new Resize(256)(image)`.
 * `Random...` transforms take their numbers from the second argument, which `DataLoader` passes through the dataset.
 */

import type { HostArray, RGBImage } from './host.js';
import { entropySeed, Random } from './random.js';
import { resizeBilinear } from './resize.js';

/** Height and width in pixels; one number means both, except in {@link Resize}. */
export type Size = number | readonly [height: number, width: number];

/** Anything that can stand in a {@link Compose}: a {@link Transform} or a plain function. */
export type TransformFunction<In, Out> = (input: In, random: Random) => Out;

export interface Transform<In, Out> {
  (input: In, random?: Random): Out;
}

let fallback: Random | undefined;

/** Base of the transforms: calling an instance runs `forward`. */
export abstract class Transform<In, Out> {
  constructor() {
    const call = (input: In, random?: Random): Out =>
      (call as unknown as Transform<In, Out>).forward(
        input,
        random ?? (fallback ??= new Random(entropySeed())),
      );
    return Object.setPrototypeOf(call, new.target.prototype) as Transform<In, Out>;
  }

  /** What calling the transform does. */
  abstract forward(input: In, random: Random): Out;
}

/** Python's `round`: to the nearest integer, halves to the even one. */
function roundHalfEven(value: number): number {
  const floor = Math.floor(value);
  const rest = value - floor;
  if (rest !== 0.5) return Math.round(value);
  return floor % 2 === 0 ? floor : floor + 1;
}

function pair(what: string, size: Size): readonly [height: number, width: number] {
  const both = typeof size === 'number' ? ([size, size] as const) : size;
  if (both.length !== 2 || both.some((length) => !Number.isInteger(length) || length < 1)) {
    throw new RangeError(
      `${what}: the size must be a positive integer or [height, width], got ${JSON.stringify(size)}`,
    );
  }
  return both;
}

/** Copies the given box out of an image. The box must lie inside. */
export function crop(image: RGBImage, top: number, left: number, height: number, width: number): RGBImage {
  if (top < 0 || left < 0 || top + height > image.height || left + width > image.width) {
    throw new RangeError(
      `crop: box ${width} x ${height} at (${left}, ${top}) leaves the ${image.width} x ${image.height} image`,
    );
  }
  const data = new Uint8Array(width * height * 3);
  for (let y = 0; y < height; y++) {
    const from = ((top + y) * image.width + left) * 3;
    data.set(image.data.subarray(from, from + width * 3), y * width * 3);
  }
  return { width, height, data };
}

/** Adds a border of `fill` (grey level 0 to 255). */
export function pad(
  image: RGBImage,
  [left, top, right, bottom]: readonly [left: number, top: number, right: number, bottom: number],
  fill = 0,
): RGBImage {
  const width = image.width + left + right;
  const height = image.height + top + bottom;
  const data = new Uint8Array(width * height * 3).fill(fill);
  for (let y = 0; y < image.height; y++) {
    const from = y * image.width * 3;
    data.set(image.data.subarray(from, from + image.width * 3), ((y + top) * width + left) * 3);
  }
  return { width, height, data };
}

/** Mirrors left and right. */
export function horizontalFlip(image: RGBImage): RGBImage {
  const { width, height } = image;
  const data = new Uint8Array(image.data.length);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const from = (y * width + x) * 3;
      const to = (y * width + width - 1 - x) * 3;
      data[to] = image.data[from]!;
      data[to + 1] = image.data[from + 1]!;
      data[to + 2] = image.data[from + 2]!;
    }
  }
  return { width, height, data };
}

/** Cuts the box out of the middle, padding with black where the image is smaller. */
export function centerCrop(image: RGBImage, height: number, width: number): RGBImage {
  let source = image;
  if (width > image.width || height > image.height) {
    const across = Math.max(width - image.width, 0);
    const down = Math.max(height - image.height, 0);
    source = pad(image, [across >> 1, down >> 1, (across + 1) >> 1, (down + 1) >> 1]);
  }
  const top = roundHalfEven((source.height - height) / 2);
  const left = roundHalfEven((source.width - width) / 2);
  return crop(source, top, left, height, width);
}

/**
 * torchvision's `Resize` of a PIL image (bilinear, always antialiased), equal to Pillow's bit for bit.
 * One number is the new length of the shorter side (the longer is rounded down); a pair is height and width.
 */
export class Resize extends Transform<RGBImage, RGBImage> {
  constructor(readonly size: Size) {
    super();
    pair('Resize', size);
  }

  override forward(image: RGBImage): RGBImage {
    if (typeof this.size !== 'number') return resizeBilinear(image, this.size[1], this.size[0]);
    const { width, height } = image;
    return width <= height
      ? resizeBilinear(image, this.size, Math.trunc((this.size * height) / width))
      : resizeBilinear(image, Math.trunc((this.size * width) / height), this.size);
  }
}

/** torchvision's `CenterCrop`. */
export class CenterCrop extends Transform<RGBImage, RGBImage> {
  constructor(readonly size: Size) {
    super();
    pair('CenterCrop', size);
  }

  override forward(image: RGBImage): RGBImage {
    const [height, width] = pair('CenterCrop', this.size);
    return centerCrop(image, height, width);
  }
}

/** torchvision's `RandomHorizontalFlip`: mirrors with probability `p`. */
export class RandomHorizontalFlip extends Transform<RGBImage, RGBImage> {
  constructor(readonly p = 0.5) {
    super();
  }

  override forward(image: RGBImage, random: Random): RGBImage {
    return random.chance(this.p) ? horizontalFlip(image) : image;
  }
}

/** torchvision's `RandomCrop`, after a border of `padding` pixels of grey level `fill` on each side. */
export class RandomCrop extends Transform<RGBImage, RGBImage> {
  readonly padding: number;
  readonly fill: number;

  constructor(
    readonly size: Size,
    options: { padding?: number; fill?: number } = {},
  ) {
    super();
    pair('RandomCrop', size);
    this.padding = options.padding ?? 0;
    this.fill = options.fill ?? 0;
  }

  override forward(image: RGBImage, random: Random): RGBImage {
    const [height, width] = pair('RandomCrop', this.size);
    const border = this.padding;
    const source = border === 0 ? image : pad(image, [border, border, border, border], this.fill);
    if (source.height < height || source.width < width) {
      throw new RangeError(
        `RandomCrop: a crop of ${width} x ${height} is larger than the ${source.width} x ${source.height} image; pad or Resize first`,
      );
    }
    const top = random.integer(source.height - height + 1);
    const left = random.integer(source.width - width + 1);
    return crop(source, top, left, height, width);
  }
}

/**
 * torchvision's `RandomResizedCrop`: a box of random area (a fraction of the image, uniform in `scale`) and random shape
 * (width / height, log-uniform in `ratio`), resized to `size`.
 */
export class RandomResizedCrop extends Transform<RGBImage, RGBImage> {
  readonly scale: readonly [number, number];
  readonly ratio: readonly [number, number];

  constructor(
    readonly size: Size,
    options: { scale?: readonly [number, number]; ratio?: readonly [number, number] } = {},
  ) {
    super();
    pair('RandomResizedCrop', size);
    this.scale = options.scale ?? [0.08, 1];
    this.ratio = options.ratio ?? [3 / 4, 4 / 3];
  }

  override forward(image: RGBImage, random: Random): RGBImage {
    const [height, width] = pair('RandomResizedCrop', this.size);
    const box = this.box(image, random);
    return resizeBilinear(crop(image, box.top, box.left, box.height, box.width), width, height);
  }

  private box(image: RGBImage, random: Random) {
    const [low, high] = this.ratio;
    for (let attempt = 0; attempt < 10; attempt++) {
      const area = image.width * image.height * random.uniform(this.scale[0], this.scale[1]);
      const ratio = Math.exp(random.uniform(Math.log(low), Math.log(high)));
      const width = roundHalfEven(Math.sqrt(area * ratio));
      const height = roundHalfEven(Math.sqrt(area / ratio));
      if (width < 1 || height < 1 || width > image.width || height > image.height) continue;
      const top = random.integer(image.height - height + 1);
      const left = random.integer(image.width - width + 1);
      return { top, left, height, width };
    }
    const shape = image.width / image.height;
    const width = shape > high ? roundHalfEven(image.height * high) : image.width;
    const height = shape < low ? roundHalfEven(image.width / low) : image.height;
    return { top: (image.height - height) >> 1, left: (image.width - width) >> 1, height, width };
  }
}

/** torchvision's `ToTensor`: float32 planes [3, height, width] in 0 ... 1. */
export class ToTensor extends Transform<RGBImage, HostArray<Float32Array>> {
  override forward({ width, height, data: pixels }: RGBImage): HostArray<Float32Array> {
    const area = width * height;
    const data = new Float32Array(area * 3);
    for (let i = 0, from = 0; i < area; i++) {
      data[i] = pixels[from++]! / 255;
      data[area + i] = pixels[from++]! / 255;
      data[2 * area + i] = pixels[from++]! / 255;
    }
    return { data, shape: [3, height, width] };
  }
}

/** torchvision's `Normalize`: (x - mean[channel]) / std[channel] on [channels, height, width]. */
export class Normalize extends Transform<HostArray<Float32Array>, HostArray<Float32Array>> {
  constructor(
    readonly mean: readonly number[],
    readonly std: readonly number[],
  ) {
    super();
    if (mean.length !== std.length) {
      throw new Error(`Normalize: ${mean.length} means but ${std.length} standard deviations`);
    }
    if (std.some((value) => !(value > 0))) {
      throw new Error(`Normalize: standard deviations must be positive, got [${std.join(', ')}]`);
    }
  }

  override forward({ data: source, shape }: HostArray<Float32Array>): HostArray<Float32Array> {
    const channels = shape[0];
    if (shape.length !== 3 || channels !== this.mean.length) {
      throw new Error(
        `Normalize: expected [${this.mean.length}, height, width], got [${shape.join(', ')}]; put ToTensor before it`,
      );
    }
    const area = source.length / channels;
    const data = new Float32Array(source.length);
    for (let channel = 0; channel < channels; channel++) {
      const mean = Math.fround(this.mean[channel]!);
      const std = Math.fround(this.std[channel]!);
      const end = (channel + 1) * area;
      for (let i = channel * area; i < end; i++) data[i] = Math.fround(source[i]! - mean) / std;
    }
    return { data, shape };
  }
}

type AnyTransform = (input: never, random: Random) => unknown;
type First<T extends readonly AnyTransform[]> = T extends readonly [
  infer F extends AnyTransform,
  ...unknown[],
]
  ? Parameters<F>[0]
  : never;
type Last<T extends readonly AnyTransform[]> = T extends readonly [...unknown[], infer L extends AnyTransform]
  ? ReturnType<L>
  : never;

/** torchvision's `Compose`: one transform after the other. */
export class Compose<const T extends readonly [AnyTransform, ...AnyTransform[]]> extends Transform<
  First<T>,
  Last<T>
> {
  constructor(readonly transforms: T) {
    super();
  }

  override forward(input: First<T>, random: Random): Last<T> {
    let value: unknown = input;
    for (const transform of this.transforms) value = transform(value as never, random);
    return value as Last<T>;
  }
}
