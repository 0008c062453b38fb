/**
 * Pillow's antialiased resampling, step for step (`src/libImaging/Resample.c`, the 8-bit path): a filter
 * whose support grows with the reduction, weights rounded to 22 fractional bits, a horizontal pass rounded to
 * 8 bits, then a vertical one. The integer arithmetic is Pillow's, so the result is equal to
 * `Image.resize(size, filter)` bit for bit.
 */

import { noMore } from '../../tensor/options.js';
import type { RGBImage } from '../host.js';

/** 32 bits less 8 for the pixel and 2 for headroom, as Pillow has it. */
const precisionBits = 22;
const half = 1 << (precisionBits - 1);

export type ResizeFilter = 'bilinear' | 'bicubic';

interface Kernel {
  readonly support: number;
  /** The weight at a distance of 0 or more. */
  readonly at: (distance: number) => number;
}

const filters: Readonly<Record<ResizeFilter, Kernel>> = {
  bilinear: { support: 1, at: (x) => (x < 1 ? 1 - x : 0) },
  // Keys 1981, with a = -0.5.
  bicubic: {
    support: 2,
    at: (x) => {
      const a = -0.5;
      if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
      return x < 2 ? (((x - 5) * x + 8) * x - 4) * a : 0;
    },
  },
};

interface Weights {
  /** Weights per output element. */
  readonly stride: number;
  /** First input element and number of input elements, per output element. */
  readonly bounds: Int32Array;
  readonly weights: Int32Array;
}

/** Fixed-point filter weights that map `inSize` elements to `outSize` (Pillow's `precompute_coeffs`). */
function precompute(inSize: number, outSize: number, filter: Kernel): Weights {
  const scale = inSize / outSize;
  const filterScale = Math.max(scale, 1);
  const support = filter.support * filterScale;
  const stride = Math.ceil(support) * 2 + 1;
  const inverse = 1 / filterScale;
  const bounds = new Int32Array(outSize * 2);
  const weights = new Int32Array(outSize * stride);
  const exact = new Float64Array(stride);
  for (let i = 0; i < outSize; i++) {
    const center = (i + 0.5) * scale;
    const first = Math.max(Math.trunc(center - support + 0.5), 0);
    const count = Math.min(Math.trunc(center + support + 0.5), inSize) - first;
    let sum = 0;
    for (let j = 0; j < count; j++) {
      exact[j] = filter.at(Math.abs((j + first - center + 0.5) * inverse));
      sum += exact[j]!;
    }
    for (let j = 0; j < count; j++) {
      const weight = sum === 0 ? exact[j]! : exact[j]! / sum;
      weights[i * stride + j] = Math.trunc((weight < 0 ? -0.5 : 0.5) + weight * (1 << precisionBits));
    }
    bounds[i * 2] = first;
    bounds[i * 2 + 1] = count;
  }
  return { stride, bounds, weights };
}

const clip = (sum: number): number => {
  const value = sum >> precisionBits;
  return value < 0 ? 0 : value > 255 ? 255 : value;
};

function horizontalPass(image: RGBImage, width: number, filter: Kernel): RGBImage {
  const { stride, bounds, weights } = precompute(image.width, width, filter);
  const source = image.data;
  const data = new Uint8Array(width * image.height * 3);
  let to = 0;
  for (let y = 0; y < image.height; y++) {
    const row = y * image.width * 3;
    for (let x = 0; x < width; x++) {
      let from = row + bounds[x * 2]! * 3;
      const start = x * stride;
      const end = start + bounds[x * 2 + 1]!;
      let red = half;
      let green = half;
      let blue = half;
      for (let k = start; k < end; k++, from += 3) {
        const weight = weights[k]!;
        red += source[from]! * weight;
        green += source[from + 1]! * weight;
        blue += source[from + 2]! * weight;
      }
      data[to++] = clip(red);
      data[to++] = clip(green);
      data[to++] = clip(blue);
    }
  }
  return { width, height: image.height, data };
}

function verticalPass(image: RGBImage, height: number, filter: Kernel): RGBImage {
  const { stride, bounds, weights } = precompute(image.height, height, filter);
  const source = image.data;
  const row = image.width * 3;
  const data = new Uint8Array(height * row);
  const sums = new Int32Array(row);
  for (let y = 0; y < height; y++) {
    sums.fill(half);
    const first = bounds[y * 2]!;
    const count = bounds[y * 2 + 1]!;
    for (let j = 0; j < count; j++) {
      const weight = weights[y * stride + j]!;
      const from = (first + j) * row;
      for (let i = 0; i < row; i++) sums[i]! += source[from + i]! * weight;
    }
    for (let i = 0; i < row; i++) data[y * row + i] = clip(sums[i]!);
  }
  return { width: image.width, height, data };
}

/**
 * Resamples to `width` x `height` pixels with Pillow's antialiased filter; returns `image` itself where the
 * size is the same already.
 */
export function resizeImage(
  image: RGBImage,
  width: number,
  height: number,
  filter: ResizeFilter = 'bilinear',
): RGBImage {
  noMore('resizeImage', arguments, 4);
  if (!Number.isInteger(width) || !Number.isInteger(height) || width < 1 || height < 1) {
    throw new RangeError(`Resize: the size must be positive integers, got ${width} x ${height} pixels`);
  }
  const kernel = filters[filter];
  const narrow = image.width === width ? image : horizontalPass(image, width, kernel);
  return narrow.height === height ? narrow : verticalPass(narrow, height, kernel);
}
