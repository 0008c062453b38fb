/**
 * Pillow's colour arithmetic on 8-bit RGB, with its roundings: `ImageEnhance` (Blend.c), `convert('L')` and
 * `convert('HSV')` (Convert.c), and torchvision's functions on top of it. Where Pillow computes in C floats,
 * so does this, through `Math.fround`.
 */

import { noMore } from '../../tensor/options.js';
import type { RGBImage } from '../host.js';

const { fround } = Math;

/** Pillow's `convert('L')`: ITU-R 601-2 luma in 16 fractional bits. One byte per pixel. */
function luma({ data, width, height }: RGBImage): Uint8Array {
  const grey = new Uint8Array(width * height);
  for (let i = 0, from = 0; i < grey.length; i++, from += 3) {
    grey[i] = (data[from]! * 19595 + data[from + 1]! * 38470 + data[from + 2]! * 7471 + 0x8000) >> 16;
  }
  return grey;
}

/** torchvision's `to_grayscale` with three channels. */
export function grayscale(image: RGBImage): RGBImage {
  noMore('grayscale', arguments, 1);
  const grey = luma(image);
  const data = new Uint8Array(image.data.length);
  for (let i = 0, to = 0; i < grey.length; i++) {
    data[to++] = grey[i]!;
    data[to++] = grey[i]!;
    data[to++] = grey[i]!;
  }
  return { width: image.width, height: image.height, data };
}

/** Pillow's `Image.blend(from, to, factor)`; factors outside 0 ... 1 go beyond either image, clipped. */
function blend(from: Uint8Array | number, image: RGBImage, factor: number): RGBImage {
  const to = image.data;
  if (factor === 1) return image;
  const alpha = fround(factor);
  const data = new Uint8Array(to.length);
  for (let i = 0; i < data.length; i++) {
    const start = typeof from === 'number' ? from : from[i]!;
    const value = fround(start + fround(alpha * (to[i]! - start)));
    // Truncation, as the C cast does.
    data[i] = value <= 0 ? 0 : value >= 255 ? 255 : value;
  }
  return { width: image.width, height: image.height, data };
}

function checkFactor(what: string, factor: number): void {
  if (!(factor >= 0)) throw new RangeError(`${what}: the factor must not be negative, got ${factor}`);
}

/** `ImageEnhance.Brightness`: 0 is black, 1 the image itself. */
export function adjustBrightness(image: RGBImage, factor: number): RGBImage {
  noMore('adjustBrightness', arguments, 2);
  checkFactor('adjustBrightness', factor);
  return blend(0, image, factor);
}

/** `ImageEnhance.Contrast`: 0 is the mean grey, 1 the image itself. */
export function adjustContrast(image: RGBImage, factor: number): RGBImage {
  noMore('adjustContrast', arguments, 2);
  checkFactor('adjustContrast', factor);
  const grey = luma(image);
  let sum = 0;
  for (const value of grey) sum += value;
  return blend(Math.trunc(sum / grey.length + 0.5), image, factor);
}

/** `ImageEnhance.Color`: 0 is grey, 1 the image itself. */
export function adjustSaturation(image: RGBImage, factor: number): RGBImage {
  noMore('adjustSaturation', arguments, 2);
  checkFactor('adjustSaturation', factor);
  return blend(grayscale(image).data, image, factor);
}

/** `ImageEnhance.Sharpness`: 0 is smoothed, 1 the image itself, above 1 sharpened. */
export function adjustSharpness(image: RGBImage, factor: number): RGBImage {
  noMore('adjustSharpness', arguments, 2);
  checkFactor('adjustSharpness', factor);
  return blend(smooth(image), image, factor);
}

/**
 * `ImageFilter.SMOOTH`: 3 x 3 means with the middle weighted fivefold; the outermost pixels stay as they are.
 */
function smooth({ data, width, height }: RGBImage): Uint8Array {
  const out = data.slice();
  const row = width * 3;
  const edge = fround(1 / 13);
  const middle = fround(5 / 13);
  const three = (at: number, weight: number): number =>
    fround(fround(fround(data[at - 3]! * edge) + fround(data[at]! * weight)) + fround(data[at + 3]! * edge));
  for (let y = 1; y < height - 1; y++) {
    for (let i = y * row + 3; i < (y + 1) * row - 3; i++) {
      const below = fround(0.5 + three(i + row, edge));
      const sum = fround(fround(below + three(i, middle)) + three(i - row, edge));
      out[i] = sum >= 255 ? 255 : sum;
    }
  }
  return out;
}

/**
 * torchvision's `adjust_hue`: turns hues by `factor` of a full circle (-0.5 to 0.5), through Pillow's 8-bit
 * HSV.
 */
export function adjustHue(image: RGBImage, factor: number): RGBImage {
  noMore('adjustHue', arguments, 2);
  if (!(factor >= -0.5 && factor <= 0.5)) {
    throw new RangeError(`adjustHue: the factor must be in -0.5 ... 0.5, got ${factor}`);
  }
  const shift = Math.trunc(factor * 255) & 255;
  const source = image.data;
  const data = new Uint8Array(source.length);
  for (let i = 0; i < data.length; i += 3) {
    const red = source[i]!;
    const green = source[i + 1]!;
    const blue = source[i + 2]!;
    const most = Math.max(red, green, blue);
    const range = most - Math.min(red, green, blue);
    if (range === 0) {
      data[i] = data[i + 1] = data[i + 2] = most;
      continue;
    }
    const saturation = Math.trunc(fround(range / most) * 255);
    const hue = (hueByte(red, green, blue, most, range) + shift) & 255;
    writeHSV(hue, saturation, most, data, i);
  }
  return { width: image.width, height: image.height, data };
}

/** The H of Pillow's `rgb2hsv_row`: floats where it has floats, doubles where C promotes to them. */
function hueByte(red: number, green: number, blue: number, most: number, range: number): number {
  const rc = fround((most - red) / range);
  const gc = fround((most - green) / range);
  const bc = fround((most - blue) / range);
  const sixth = red === most ? fround(bc - gc) : green === most ? fround(2 + rc - bc) : fround(4 + gc - rc);
  const hue = Math.trunc(fround((sixth / 6 + 1) % 1) * 255);
  return hue < 0 ? 0 : hue > 255 ? 255 : hue;
}

/** Pillow's `hsv2rgb` of one pixel. C's `round` and `Math.round` agree, as nothing here is negative. */
function writeHSV(hue: number, saturation: number, value: number, out: Uint8Array, at: number): void {
  if (saturation === 0) {
    out[at] = out[at + 1] = out[at + 2] = value;
    return;
  }
  const sector = Math.floor((hue * 6) / 255);
  const rest = fround((hue * 6) / 255 - sector);
  const s = fround(saturation / 255);
  const p = Math.round(value * (1 - s));
  const q = Math.round(value * (1 - fround(s * rest)));
  const t = Math.round(value * (1 - s * (1 - rest)));
  switch (sector % 6) {
    case 0:
      return write(out, at, value, t, p);
    case 1:
      return write(out, at, q, value, p);
    case 2:
      return write(out, at, p, value, t);
    case 3:
      return write(out, at, p, q, value);
    case 4:
      return write(out, at, t, p, value);
    default:
      return write(out, at, value, p, q);
  }
}

function write(out: Uint8Array, at: number, red: number, green: number, blue: number): void {
  out[at] = red;
  out[at + 1] = green;
  out[at + 2] = blue;
}

/** Applies one table of 256 entries, or three of them one after the other, to the channels. */
function lookUp({ width, height, data: source }: RGBImage, table: Uint8Array): RGBImage {
  const step = table.length === 768 ? 256 : 0;
  const data = new Uint8Array(source.length);
  for (let i = 0; i < data.length; i += 3) {
    data[i] = table[source[i]!]!;
    data[i + 1] = table[step + source[i + 1]!]!;
    data[i + 2] = table[2 * step + source[i + 2]!]!;
  }
  return { width, height, data };
}

const table = (entry: (value: number) => number): Uint8Array =>
  Uint8Array.from({ length: 256 }, (_, i) => entry(i));

/** `ImageOps.invert`: the negative. */
export function invert(image: RGBImage): RGBImage {
  noMore('invert', arguments, 1);
  return lookUp(
    image,
    table((value) => 255 - value),
  );
}

/** `ImageOps.posterize`: keeps the upper `bits` (0 to 8) of each channel. */
export function posterize(image: RGBImage, bits: number): RGBImage {
  noMore('posterize', arguments, 2);
  if (!Number.isInteger(bits) || bits < 0 || bits > 8) {
    throw new RangeError(`posterize: bits must be an integer from 0 to 8, got ${bits}`);
  }
  const mask = ~(2 ** (8 - bits) - 1);
  return lookUp(
    image,
    table((value) => value & mask),
  );
}

/** `ImageOps.solarize`: inverts the values from `threshold` on. */
export function solarize(image: RGBImage, threshold: number): RGBImage {
  noMore('solarize', arguments, 2);
  return lookUp(
    image,
    table((value) => (value < threshold ? value : 255 - value)),
  );
}

/** How often each value occurs, 256 counts for each of the three channels. */
function histogram({ data }: RGBImage): Uint32Array {
  const counts = new Uint32Array(768);
  for (let i = 0; i < data.length; i += 3) {
    counts[data[i]!]!++;
    counts[256 + data[i + 1]!]!++;
    counts[512 + data[i + 2]!]!++;
  }
  return counts;
}

/** A table per channel, made from the channel's histogram; null leaves the channel as it is. */
function byHistogram(
  image: RGBImage,
  make: (counts: Uint32Array) => ((value: number) => number) | null,
): RGBImage {
  const counts = histogram(image);
  const tables = new Uint8Array(768);
  for (let channel = 0; channel < 3; channel++) {
    const entry = make(counts.subarray(channel * 256, (channel + 1) * 256)) ?? ((value: number) => value);
    for (let value = 0; value < 256; value++) tables[channel * 256 + value] = entry(value);
  }
  return lookUp(image, tables);
}

/** `ImageOps.autocontrast`: stretches each channel to 0 ... 255. */
export function autocontrast(image: RGBImage): RGBImage {
  noMore('autocontrast', arguments, 1);
  return byHistogram(image, (counts) => {
    const low = counts.findIndex((count) => count > 0);
    const high = counts.findLastIndex((count) => count > 0);
    if (high <= low) return null;
    const scale = 255 / (high - low);
    const offset = -low * scale;
    return (value) => Math.min(Math.max(Math.trunc(value * scale + offset), 0), 255);
  });
}

/** `ImageOps.equalize`: makes each channel's values about equally frequent. */
export function equalize(image: RGBImage): RGBImage {
  noMore('equalize', arguments, 1);
  return byHistogram(image, (counts) => {
    const present = counts.filter((count) => count > 0);
    if (present.length <= 1) return null;
    const total = image.width * image.height - present.at(-1)!;
    const step = Math.floor(total / 255);
    if (step === 0) return null;
    const entries = new Uint8Array(256);
    let sum = step >> 1;
    for (let value = 0; value < 256; value++) {
      // The sum can pass 255 steps; Pillow clips the table's entries to bytes.
      entries[value] = Math.min(Math.floor(sum / step), 255);
      sum += counts[value]!;
    }
    return (value) => entries[value]!;
  });
}
