import type { RGBImage } from '../host.js';
import {
  type Borders,
  centerCut,
  crop,
  type Cut,
  cutOut,
  type Extent,
  type Fill,
  fillColor,
  horizontalFlip,
  pad,
  type PaddingMode,
  roundHalfEven,
  verticalFlip,
} from '../pixels/boxes.js';
import { resizeImage, type ResizeFilter } from '../pixels/resize.js';
import { affine, type Interpolation, rotate } from '../pixels/warp.js';
import type { Random } from '../random.js';
import {
  type ChanceArgs,
  checkProbability,
  checkRange,
  pair,
  type Range,
  readChance,
  type Size,
  Transform,
} from './base.js';
import { checkOptions, noMore } from '../../tensor/options.js';

/**
 * torchvision's `Resize` of a PIL image (bilinear, always antialiased), equal to Pillow's bit for bit.
 * One number is the new length of the shorter side (the longer is rounded down); a pair is height and width.
 */
export class Resize extends Transform<RGBImage, RGBImage> {
  /** @param interpolation the filter; both are antialiased, as on Pillow images always */
  constructor(
    readonly size: Size,
    readonly interpolation: ResizeFilter = 'bilinear',
  ) {
    noMore(new.target.name, arguments, 2);
    super();
    pair('Resize', size);
    if (interpolation !== 'bilinear' && interpolation !== 'bicubic')
      throw new RangeError(
        `Resize: interpolation must be 'bilinear' or 'bicubic', got '${String(interpolation)}'`,
      );
  }

  override settings(): readonly unknown[] {
    return [this.size, this.interpolation];
  }

  override forward(image: RGBImage): RGBImage {
    const { size, interpolation } = this;
    if (typeof size !== 'number') return resizeImage(image, size[1], size[0], interpolation);
    const { width, height } = image;
    return width <= height
      ? resizeImage(image, size, Math.trunc((size * height) / width), interpolation)
      : resizeImage(image, Math.trunc((size * width) / height), size, interpolation);
  }
}

/** torchvision's `CenterCrop`. */
export class CenterCrop extends Transform<RGBImage, RGBImage> {
  constructor(readonly size: Size) {
    noMore(new.target.name, arguments, 1);
    super();
    pair('CenterCrop', size);
  }

  override settings(): readonly unknown[] {
    return [this.size];
  }

  /** What of an image of this extent is kept. */
  cut(image: Extent): Cut {
    const [height, width] = pair('CenterCrop', this.size);
    return centerCut(image, height, width);
  }

  override forward(image: RGBImage): RGBImage {
    return cutOut(image, this.cut(image));
  }
}

/** Border widths in pixels: all four alike, left/right and top/bottom, or left, top, right, bottom. */
export type Padding = number | readonly [across: number, down: number] | Borders;

function borders(what: string, padding: Padding): Borders {
  const list = typeof padding === 'number' ? [padding, padding] : padding;
  if (
    (list.length !== 2 && list.length !== 4) ||
    list.some((width) => !Number.isInteger(width) || width < 0)
  ) {
    throw new RangeError(
      `${what}: padding must be a whole number of pixels, [across, down] or [left, top, right, bottom], got ${JSON.stringify(padding)}`,
    );
  }
  const [left, top, right = left, bottom = top] = list;
  return [left, top, right, bottom];
}

export interface PadOptions {
  /** Colour of a constant border. Black unless told. */
  readonly fill?: Fill;
  /** `constant` unless told. */
  readonly paddingMode?: PaddingMode;
}

/** torchvision's `Pad`: a border of one colour, of the edge's pixels, or of the mirrored picture. */
export class Pad extends Transform<RGBImage, RGBImage> {
  readonly fill: Fill;
  readonly paddingMode: PaddingMode;

  constructor(
    readonly padding: Padding,
    options: PadOptions = {},
  ) {
    noMore(new.target.name, arguments, 2);
    super();
    checkOptions('Pad', options, 'fill', 'paddingMode');
    borders('Pad', padding);
    this.fill = options.fill ?? 0;
    this.paddingMode = options.paddingMode ?? 'constant';
    fillColor('Pad', this.fill);
  }

  override settings(): readonly unknown[] {
    return [this.padding, { fill: this.fill, paddingMode: this.paddingMode }];
  }

  override forward(image: RGBImage): RGBImage {
    return pad(image, borders('Pad', this.padding), this.fill, this.paddingMode);
  }
}

/** torchvision's `RandomHorizontalFlip`: mirrors left and right with probability `p`. */
export class RandomHorizontalFlip extends Transform<RGBImage, RGBImage> {
  readonly p: number;

  constructor(...args: ChanceArgs) {
    super();
    this.p = readChance(new.target.name, args, 0.5);
  }

  override settings(): readonly unknown[] {
    return [this.p];
  }

  override forward(image: RGBImage, random: Random): RGBImage {
    return random.chance(this.p) ? horizontalFlip(image) : image;
  }
}

/** torchvision's `RandomVerticalFlip`: mirrors top and bottom with probability `p`. */
export class RandomVerticalFlip extends Transform<RGBImage, RGBImage> {
  readonly p: number;

  constructor(...args: ChanceArgs) {
    super();
    this.p = readChance(new.target.name, args, 0.5);
  }

  override settings(): readonly unknown[] {
    return [this.p];
  }

  override forward(image: RGBImage, random: Random): RGBImage {
    return random.chance(this.p) ? verticalFlip(image) : image;
  }
}

export interface RandomCropOptions extends PadOptions {
  /** A border added first. None unless told. */
  readonly padding?: Padding;
  /**
   * Widens images that are too small, on both sides, by what is missing. Default false: they are an error.
   */
  readonly padIfNeeded?: boolean;
}

/** torchvision's `RandomCrop`: a box of `size` from anywhere in the image. */
export class RandomCrop extends Transform<RGBImage, RGBImage> {
  readonly padding: Padding;
  readonly fill: Fill;
  readonly padIfNeeded: boolean;
  readonly paddingMode: PaddingMode;

  constructor(
    readonly size: Size,
    options: RandomCropOptions = {},
  ) {
    noMore(new.target.name, arguments, 2);
    super();
    checkOptions('RandomCrop', options, 'padding', 'fill', 'padIfNeeded', 'paddingMode');
    pair('RandomCrop', size);
    this.padding = options.padding ?? 0;
    this.fill = options.fill ?? 0;
    this.padIfNeeded = options.padIfNeeded ?? false;
    this.paddingMode = options.paddingMode ?? 'constant';
    borders('RandomCrop', this.padding);
  }

  override settings(): readonly unknown[] {
    const { padding, fill, padIfNeeded, paddingMode } = this;
    return [this.size, { padding, fill, padIfNeeded, paddingMode }];
  }

  /** Draws what of an image of this extent is kept. */
  cut(image: Extent, random: Random): Cut {
    const [height, width] = pair('RandomCrop', this.size);
    const added: Borders[] = [];
    let [wide, high] = [image.width, image.height];
    const widen = (by: Borders): void => {
      if (by.every((length) => length === 0)) return;
      added.push(by);
      wide += by[0] + by[2];
      high += by[1] + by[3];
    };
    widen(borders('RandomCrop', this.padding));
    if (this.padIfNeeded) {
      const across = Math.max(width - wide, 0);
      widen([across, 0, across, 0]);
      const down = Math.max(height - high, 0);
      widen([0, down, 0, down]);
    }
    if (high < height || wide < width) {
      throw new RangeError(
        `RandomCrop: a crop of ${width} x ${height} is larger than the ${wide} x ${high} image; ` +
          'pad or Resize first, or pass { padIfNeeded: true }',
      );
    }
    const top = random.integer(high - height + 1);
    const left = random.integer(wide - width + 1);
    return { borders: added, top, left, height, width };
  }

  override forward(image: RGBImage, random: Random): RGBImage {
    return cutOut(image, this.cut(image, random), this.fill, this.paddingMode);
  }
}

/**
 * torchvision's `RandomResizedCrop`: a box of random area (a fraction of the image, uniform in `scale`) and
 * random shape (width / height, log-uniform in `ratio`), resized to `size`.
 */
export class RandomResizedCrop extends Transform<RGBImage, RGBImage> {
  readonly scale: Range;
  readonly ratio: Range;

  constructor(
    readonly size: Size,
    options: { readonly scale?: Range; readonly ratio?: Range } = {},
  ) {
    noMore(new.target.name, arguments, 2);
    super();
    checkOptions('RandomResizedCrop', options, 'scale', 'ratio');
    pair('RandomResizedCrop', size);
    this.scale = checkRange('RandomResizedCrop: scale', options.scale ?? [0.08, 1], 0);
    this.ratio = checkRange('RandomResizedCrop: ratio', options.ratio ?? [3 / 4, 4 / 3], Number.MIN_VALUE);
  }

  override settings(): readonly unknown[] {
    return [this.size, { scale: this.scale, ratio: this.ratio }];
  }

  override forward(image: RGBImage, random: Random): RGBImage {
    const [height, width] = pair('RandomResizedCrop', this.size);
    const box = this.box(image, random);
    return resizeImage(crop(image, box.top, box.left, box.height, box.width), width, height);
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

export interface WarpSettings {
  /** `nearest` unless told. */
  readonly interpolation?: Interpolation;
  /** Colour of what lies outside the image. Black unless told. */
  readonly fill?: Fill;
  /** The fixed point in pixels from the upper left corner; the image's middle unless told. */
  readonly center?: readonly [x: number, y: number];
}

/** A number means from minus to plus it. */
function symmetric(what: string, value: number | Range): Range {
  if (typeof value !== 'number') return checkRange(what, value);
  if (!(value >= 0)) throw new RangeError(`${what}: a single number must not be negative, got ${value}`);
  return [-value, value];
}

/** torchvision's `RandomRotation`: by an angle (in degrees, counterclockwise) uniform in `degrees`. */
export class RandomRotation extends Transform<RGBImage, RGBImage> {
  readonly degrees: Range;

  /** @param degrees the range, or its half width about 0 */
  constructor(
    degrees: number | Range,
    readonly options: WarpSettings & {
      /** Enlarges the image so that all of it stays visible. */
      readonly expand?: boolean;
    } = {},
  ) {
    noMore(new.target.name, arguments, 2);
    super();
    checkOptions('RandomRotation', options, 'expand', 'interpolation', 'fill', 'center');
    this.degrees = symmetric('RandomRotation: degrees', degrees);
    fillColor('RandomRotation', options.fill ?? 0);
  }

  override settings(): readonly unknown[] {
    return [this.degrees, this.options];
  }

  override forward(image: RGBImage, random: Random): RGBImage {
    return rotate(image, random.uniform(...this.degrees), this.options);
  }
}

export interface RandomAffineOptions extends WarpSettings {
  /** Largest shift as a fraction of width and height. */
  readonly translate?: readonly [x: number, y: number];
  readonly scale?: Range;
  /** Degrees: the half width about 0 or the range along x, or the ranges along x and y. */
  readonly shear?: number | Range | readonly [xLow: number, xHigh: number, yLow: number, yHigh: number];
}

/**
 * torchvision's `RandomAffine`: a random rotation (degrees, clockwise), shift, scaling and shear about the
 * middle.
 */
export class RandomAffine extends Transform<RGBImage, RGBImage> {
  readonly degrees: Range;
  private readonly shear: readonly number[] | undefined;

  constructor(
    degrees: number | Range,
    readonly options: RandomAffineOptions = {},
  ) {
    noMore(new.target.name, arguments, 2);
    super();
    checkOptions('RandomAffine', options, 'translate', 'scale', 'shear', 'interpolation', 'fill', 'center');
    const { translate, scale, shear } = options;
    this.degrees = symmetric('RandomAffine: degrees', degrees);
    for (const part of translate ?? []) checkProbability('RandomAffine: translate', part);
    if (scale !== undefined) checkRange('RandomAffine: scale', scale, Number.MIN_VALUE);
    if (typeof shear === 'number' || shear?.length === 2)
      this.shear = symmetric('RandomAffine: shear', shear);
    else this.shear = shear;
    fillColor('RandomAffine', options.fill ?? 0);
  }

  override settings(): readonly unknown[] {
    return [this.degrees, this.options];
  }

  override forward(image: RGBImage, random: Random): RGBImage {
    const { translate, scale, shear: _, ...warp } = this.options;
    const within = (limit: number): number => roundHalfEven(random.uniform(-limit, limit));
    const angle = random.uniform(...this.degrees);
    const shift: [number, number] =
      translate === undefined
        ? [0, 0]
        : [within(translate[0] * image.width), within(translate[1] * image.height)];
    const zoom = scale === undefined ? 1 : random.uniform(...scale);
    const [xLow = 0, xHigh = 0, yLow, yHigh] = this.shear ?? [];
    const shearX = this.shear === undefined ? 0 : random.uniform(xLow, xHigh);
    const shearY = yLow === undefined || yHigh === undefined ? 0 : random.uniform(yLow, yHigh);
    return affine(image, { angle, translate: shift, scale: zoom, shear: [shearX, shearY] }, warp);
  }
}
