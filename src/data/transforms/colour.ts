import type { RGBImage } from '../host.js';
import { gaussianBlur } from '../pixels/blur.js';
import {
  adjustBrightness,
  adjustContrast,
  adjustHue,
  adjustSaturation,
  adjustSharpness,
  autocontrast,
  equalize,
  grayscale,
  invert,
  posterize,
  solarize,
} from '../pixels/colour.js';
import type { Random } from '../random.js';
import { type ChanceArgs, checkRange, pair, readChance, type Range, type Size, Transform } from './base.js';
import {
  checkOptions,
  type Needed,
  noMore,
  optionReader,
  required,
  requireNumber,
} from '../../tensor/options.js';

export interface ColorJitterOptions {
  /** Factors from [low, high]; a number b means [max(0, 1 - b), 1 + b]. */
  readonly brightness?: number | Range;
  readonly contrast?: number | Range;
  readonly saturation?: number | Range;
  /** Parts of a full circle from [low, high] within -0.5 ... 0.5; a number h means [-h, h]. */
  readonly hue?: number | Range;
}

function factors(name: string, value: number | Range | undefined): Range | null {
  if (value === undefined) return null;
  if (typeof value === 'number' && !(value >= 0)) {
    throw new RangeError(`ColorJitter: ${name}: a single number must not be negative, got ${value}`);
  }
  const center = name === 'hue' ? 0 : 1;
  const least = name === 'hue' ? -0.5 : 0;
  const most = name === 'hue' ? 0.5 : Infinity;
  const range: Range =
    typeof value !== 'number'
      ? value
      : [name === 'hue' ? -value : Math.max(center - value, 0), center + value];
  checkRange(`ColorJitter: ${name}`, range, least, most);
  return range[0] === center && range[1] === center ? null : range;
}

/**
 * torchvision's `ColorJitter`: random brightness, contrast, saturation and hue, in random order, equal to
 * Pillow's `ImageEnhance`.
 */
export class ColorJitter extends Transform<RGBImage, RGBImage> {
  private readonly steps: readonly {
    readonly range: Range | null;
    readonly adjust: (image: RGBImage, factor: number) => RGBImage;
  }[];

  constructor(readonly options: ColorJitterOptions = {}) {
    noMore(new.target.name, arguments, 1);
    super();
    checkOptions('ColorJitter', options, 'brightness', 'contrast', 'saturation', 'hue');
    const { brightness, contrast, saturation, hue } = options;
    this.steps = [
      { range: factors('brightness', brightness), adjust: adjustBrightness },
      { range: factors('contrast', contrast), adjust: adjustContrast },
      { range: factors('saturation', saturation), adjust: adjustSaturation },
      { range: factors('hue', hue), adjust: adjustHue },
    ];
  }

  override settings(): readonly unknown[] {
    return [this.options];
  }

  override forward(image: RGBImage, random: Random): RGBImage {
    const order = random.permutation(this.steps.length);
    const drawn = this.steps.map(({ range }) => (range === null ? null : random.uniform(...range)));
    let result = image;
    for (const index of order) {
      const factor = drawn[index];
      if (factor !== null && factor !== undefined) result = this.steps[index]!.adjust(result, factor);
    }
    return result;
  }
}

/** torchvision's `Grayscale` with three equal channels. */
export class Grayscale extends Transform<RGBImage, RGBImage> {
  override forward(image: RGBImage): RGBImage {
    return grayscale(image);
  }
}

/**
 * torchvision's `GaussianBlur`: a window of `kernelSize` pixels and a standard deviation from `sigma`; see
 * {@link gaussianBlur}.
 */
export class GaussianBlur extends Transform<RGBImage, RGBImage> {
  private readonly range: Range;

  constructor(
    readonly kernelSize: Size,
    readonly sigma: number | Range = [0.1, 2],
  ) {
    noMore(new.target.name, arguments, 2);
    super();
    if (pair('GaussianBlur', kernelSize).some((length) => length % 2 === 0)) {
      throw new RangeError(`GaussianBlur: the window must be odd, got ${JSON.stringify(kernelSize)}`);
    }
    this.range = checkRange(
      'GaussianBlur: sigma',
      typeof sigma === 'number' ? [sigma, sigma] : sigma,
      Number.MIN_VALUE,
    );
  }

  override settings(): readonly unknown[] {
    return [this.kernelSize, this.sigma];
  }

  override forward(image: RGBImage, random: Random): RGBImage {
    const sigma = random.uniform(...this.range);
    return gaussianBlur(image, pair('GaussianBlur', this.kernelSize), [sigma, sigma]);
  }
}

/** Base of the transforms that do one thing with probability `p`. */
abstract class Chance extends Transform<RGBImage, RGBImage> {
  readonly p: number;

  constructor(args: ChanceArgs, usual: number) {
    super();
    this.p = readChance(new.target.name, args, usual);
  }

  protected abstract change(image: RGBImage): RGBImage;

  override settings(): readonly unknown[] {
    return [this.p];
  }

  override forward(image: RGBImage, random: Random): RGBImage {
    return random.chance(this.p) ? this.change(image) : image;
  }
}

/** torchvision's `RandomGrayscale`. */
export class RandomGrayscale extends Chance {
  constructor(...args: ChanceArgs) {
    super(args, 0.1);
  }

  protected override change(image: RGBImage): RGBImage {
    return grayscale(image);
  }
}

/** torchvision's `RandomInvert`. */
export class RandomInvert extends Chance {
  constructor(...args: ChanceArgs) {
    super(args, 0.5);
  }

  protected override change(image: RGBImage): RGBImage {
    return invert(image);
  }
}

/** torchvision's `RandomAutocontrast`: stretches each channel to 0 ... 255. */
export class RandomAutocontrast extends Chance {
  constructor(...args: ChanceArgs) {
    super(args, 0.5);
  }

  protected override change(image: RGBImage): RGBImage {
    return autocontrast(image);
  }
}

/** torchvision's `RandomEqualize`: flattens each channel's histogram. */
export class RandomEqualize extends Chance {
  constructor(...args: ChanceArgs) {
    super(args, 0.5);
  }

  protected override change(image: RGBImage): RGBImage {
    return equalize(image);
  }
}

/** torchvision's `RandomPosterize`: keeps the upper `bits` of each channel. */
export class RandomPosterize extends Chance {
  readonly bits: number;

  constructor(...args: Needed<[bits: number], ['bits'], [p: number], { p?: number }>) {
    const read = optionReader(new.target.name, { bits: required<number>(), p: 0.5 }, 'bits', 'p')(args);
    super([read.p], 0.5);
    this.bits = requireNumber(`${new.target.name}: bits`, read.bits);
  }

  override settings(): readonly unknown[] {
    return [this.bits, this.p];
  }

  protected override change(image: RGBImage): RGBImage {
    return posterize(image, this.bits);
  }
}

/** torchvision's `RandomSolarize`: inverts values from `threshold` on. */
export class RandomSolarize extends Chance {
  readonly threshold: number;

  constructor(...args: Needed<[threshold: number], ['threshold'], [p: number], { p?: number }>) {
    const read = optionReader(
      new.target.name,
      { threshold: required<number>(), p: 0.5 },
      'threshold',
      'p',
    )(args);
    super([read.p], 0.5);
    this.threshold = requireNumber(`${new.target.name}: threshold`, read.threshold);
  }

  override settings(): readonly unknown[] {
    return [this.threshold, this.p];
  }

  protected override change(image: RGBImage): RGBImage {
    return solarize(image, this.threshold);
  }
}

/** torchvision's `RandomAdjustSharpness`: 0 smooths, 1 changes nothing, 2 sharpens. */
export class RandomAdjustSharpness extends Chance {
  readonly sharpnessFactor: number;

  constructor(...args: Needed<[sharpnessFactor: number], ['sharpnessFactor'], [p: number], { p?: number }>) {
    const read = optionReader(
      new.target.name,
      { sharpnessFactor: required<number>(), p: 0.5 },
      'sharpnessFactor',
      'p',
    )(args);
    super([read.p], 0.5);
    this.sharpnessFactor = requireNumber(`${new.target.name}: sharpnessFactor`, read.sharpnessFactor);
  }

  override settings(): readonly unknown[] {
    return [this.sharpnessFactor, this.p];
  }

  protected override change(image: RGBImage): RGBImage {
    return adjustSharpness(image, this.sharpnessFactor);
  }
}
