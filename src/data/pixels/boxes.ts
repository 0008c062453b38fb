/** Moving pixels without changing them: crops, borders and mirrors. */

import { noMore } from '../../tensor/options.js';
import type { RGBImage } from '../host.js';

/** A colour, 0 to 255 per channel; one number means grey. */
export type Fill = number | readonly [red: number, green: number, blue: number];

/** Borders in pixels. */
export type Borders = readonly [left: number, top: number, right: number, bottom: number];

/**
 * What stands in a border: one colour, the nearest pixel, or the picture mirrored without (`reflect`) or with
 * its edge (`symmetric`).
 */
export type PaddingMode = 'constant' | 'edge' | 'reflect' | 'symmetric';

/** A colour's three bytes; fractions are cut off, as torchvision does. */
export function fillColor(what: string, fill: Fill): readonly [number, number, number] {
  const channels = typeof fill === 'number' ? [fill, fill, fill] : fill;
  if (channels.length !== 3 || channels.some((value) => !(value >= 0 && value <= 255))) {
    throw new RangeError(
      `${what}: fill must be a grey level or [red, green, blue], each 0 to 255, got ${JSON.stringify(fill)}`,
    );
  }
  const [red, green, blue] = channels.map(Math.trunc);
  return [red!, green!, blue!];
}

/** An image of one colour. */
export function solid(width: number, height: number, [red, green, blue]: readonly number[]): RGBImage {
  const data = new Uint8Array(width * height * 3);
  if (red === green && green === blue) {
    if (red !== 0) data.fill(red!);
  } else {
    for (let i = 0; i < data.length; i += 3) {
      data[i] = red!;
      data[i + 1] = green!;
      data[i + 2] = blue!;
    }
  }
  return { width, height, data };
}

/** Copies the given box out of an image. The box must lie inside. */
export function crop(image: RGBImage, top: number, left: number, height: number, width: number): RGBImage {
  noMore('crop', arguments, 5);
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

/** For each element of a padded row or column, the element of the original that it shows. */
function mirrorTable(length: number, before: number, after: number, mode: PaddingMode): Int32Array {
  const period = mode === 'reflect' ? 2 * (length - 1) : 2 * length;
  return Int32Array.from({ length: before + length + after }, (_, i) => {
    const at = i - before;
    if (mode === 'edge' || period === 0) return Math.min(Math.max(at, 0), length - 1);
    const phase = ((at % period) + period) % period;
    if (phase < length) return phase;
    return mode === 'reflect' ? period - phase : period - 1 - phase;
  });
}

/**
 * torchvision's `pad`: adds a border of one colour, or continues the picture (NumPy's `edge`, `reflect` and
 * `symmetric`).
 */
export function pad(
  image: RGBImage,
  [left, top, right, bottom]: Borders,
  fill: Fill = 0,
  mode: PaddingMode = 'constant',
): RGBImage {
  noMore('pad', arguments, 4);
  const width = image.width + left + right;
  const height = image.height + top + bottom;
  if (mode === 'constant') {
    const padded = solid(width, height, fillColor('pad', fill));
    for (let y = 0; y < image.height; y++) {
      const from = y * image.width * 3;
      padded.data.set(image.data.subarray(from, from + image.width * 3), ((y + top) * width + left) * 3);
    }
    return padded;
  }
  const columns = mirrorTable(image.width, left, right, mode);
  const rows = mirrorTable(image.height, top, bottom, mode);
  const data = new Uint8Array(width * height * 3);
  let to = 0;
  for (const row of rows) {
    for (const column of columns) {
      const from = (row * image.width + column) * 3;
      data[to++] = image.data[from]!;
      data[to++] = image.data[from + 1]!;
      data[to++] = image.data[from + 2]!;
    }
  }
  return { width, height, data };
}

/** Builds an image whose pixel number `i` is the source's pixel `from(x, y)`. */
function rearrange(
  source: RGBImage,
  width: number,
  height: number,
  from: (x: number, y: number) => number,
): RGBImage {
  const data = new Uint8Array(width * height * 3);
  for (let y = 0, to = 0; y < height; y++) {
    for (let x = 0; x < width; x++, to += 3) {
      const at = from(x, y) * 3;
      data[to] = source.data[at]!;
      data[to + 1] = source.data[at + 1]!;
      data[to + 2] = source.data[at + 2]!;
    }
  }
  return { width, height, data };
}

/** Mirrors left and right. */
export function horizontalFlip(image: RGBImage): RGBImage {
  noMore('horizontalFlip', arguments, 1);
  const { width, height } = image;
  return rearrange(image, width, height, (x, y) => y * width + width - 1 - x);
}

/** Mirrors top and bottom. */
export function verticalFlip(image: RGBImage): RGBImage {
  noMore('verticalFlip', arguments, 1);
  const row = image.width * 3;
  const data = new Uint8Array(image.data.length);
  for (let y = 0; y < image.height; y++) {
    data.set(image.data.subarray(y * row, (y + 1) * row), (image.height - 1 - y) * row);
  }
  return { width: image.width, height: image.height, data };
}

/** Turns by quarters, counterclockwise. */
export function quarterTurns(image: RGBImage, turns: 1 | 2 | 3): RGBImage {
  noMore('quarterTurns', arguments, 2);
  const { width, height } = image;
  if (turns === 2) return rearrange(image, width, height, (x, y) => (height - 1 - y) * width + width - 1 - x);
  return turns === 1
    ? rearrange(image, height, width, (x, y) => x * width + width - 1 - y)
    : rearrange(image, height, width, (x, y) => (height - 1 - x) * width + y);
}

/** Python's `round`: to the nearest integer, halves to the even one. */
export function roundHalfEven(value: number): number {
  const floor = Math.floor(value);
  if (value - floor !== 0.5) return Math.round(value);
  return floor % 2 === 0 ? floor : floor + 1;
}

/** A box of an image to which borders are added first, one after the other. */
export interface Cut {
  readonly borders: readonly Borders[];
  /** Counted from the upper left corner of the image with its borders. */
  readonly top: number;
  readonly left: number;
  readonly height: number;
  readonly width: number;
}

/** Width and height in pixels. */
export interface Extent {
  readonly width: number;
  readonly height: number;
}

/** Cuts out what `by` says, adding borders as {@link pad} does. */
export function cutOut(image: RGBImage, by: Cut, fill?: Fill, mode?: PaddingMode): RGBImage {
  const source = by.borders.reduce((padded, border) => pad(padded, border, fill, mode), image);
  return crop(source, by.top, by.left, by.height, by.width);
}

/** The box in the middle, with borders where the image is smaller. */
export function centerCut(image: Extent, height: number, width: number): Cut {
  const across = Math.max(width - image.width, 0);
  const down = Math.max(height - image.height, 0);
  const border: Borders = [across >> 1, down >> 1, (across + 1) >> 1, (down + 1) >> 1];
  const top = roundHalfEven((image.height + down - height) / 2);
  const left = roundHalfEven((image.width + across - width) / 2);
  return { borders: across > 0 || down > 0 ? [border] : [], top, left, height, width };
}

/** Cuts the box out of the middle, padding with black where the image is smaller. */
export function centerCrop(image: RGBImage, height: number, width: number): RGBImage {
  noMore('centerCrop', arguments, 3);
  return cutOut(image, centerCut(image, height, width));
}
