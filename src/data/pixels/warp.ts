/**
 * Pillow's affine warps of 8-bit RGB (Geometry.c), with its arithmetic: nearest neighbours step through the
 * source in 16.16 fixed point, bilinear samples are taken in doubles and truncated.
 */

import { checkOptions, noMore } from '../../tensor/options.js';
import type { RGBImage } from '../host.js';
import { type Fill, fillColor, quarterTurns, solid } from './boxes.js';

export type Interpolation = 'nearest' | 'bilinear';

/** Maps output pixels to the input: `x' = a x + b y + c`, `y' = d x + e y + f`. */
export type AffineMatrix = readonly [a: number, b: number, c: number, d: number, e: number, f: number];

/** Pillow's `Image.transform(size, AFFINE, matrix, interpolation, fillcolor)`. */
function affineTransform(
  image: RGBImage,
  width: number,
  height: number,
  matrix: AffineMatrix,
  interpolation: Interpolation,
  fill: Fill,
): RGBImage {
  const out = solid(width, height, fillColor('affine', fill));
  if (interpolation === 'bilinear') bilinear(image, out, matrix);
  else if (matrix[1] === 0 && matrix[3] === 0) nearestScaled(image, out, matrix);
  else nearest(image, out, matrix);
  return out;
}

const copyPixel = (source: Uint8Array, from: number, out: Uint8Array, to: number): void => {
  out[to] = source[from]!;
  out[to + 1] = source[from + 1]!;
  out[to + 2] = source[from + 2]!;
};

/** Without rotation or shear, Pillow steps in doubles (`ImagingScaleAffine`). */
function nearestScaled(image: RGBImage, out: RGBImage, [a, , c, , e, f]: AffineMatrix): void {
  const columns = new Int32Array(out.width);
  let column = c + a * 0.5;
  for (let x = 0; x < out.width; x++, column += a) {
    columns[x] = column < 0 || column >= image.width ? -1 : Math.trunc(column);
  }
  let row = f + e * 0.5;
  for (let y = 0; y < out.height; y++, row += e) {
    if (row < 0 || row >= image.height) continue;
    const start = Math.trunc(row) * image.width;
    for (let x = 0; x < out.width; x++) {
      const from = columns[x]!;
      if (from >= 0) copyPixel(image.data, (start + from) * 3, out.data, (y * out.width + x) * 3);
    }
  }
}

/** 16.16 fixed point, which Pillow uses for any image of less than 32,768 pixels a side. */
function nearest(image: RGBImage, out: RGBImage, [a, b, c, d, e, f]: AffineMatrix): void {
  const fix = (value: number): number => Math.floor(value * 65536 + 0.5);
  const [xStep, yStep, xDown, yDown] = [fix(a), fix(d), fix(b), fix(e)];
  let left = fix(c + a * 0.5 + b * 0.5);
  let top = fix(f + d * 0.5 + e * 0.5);
  const xEnd = image.width * 65536;
  const yEnd = image.height * 65536;
  for (let y = 0, to = 0; y < out.height; y++, left += xDown, top += yDown) {
    let u = left;
    let v = top;
    for (let x = 0; x < out.width; x++, to += 3, u += xStep, v += yStep) {
      if (u < 0 || u >= xEnd || v < 0 || v >= yEnd) continue;
      const from = Math.floor(v / 65536) * image.width + Math.floor(u / 65536);
      copyPixel(image.data, from * 3, out.data, to);
    }
  }
}

function bilinear(image: RGBImage, out: RGBImage, [a, b, c, d, e, f]: AffineMatrix): void {
  const { width, height, data: source } = image;
  for (let y = 0, to = 0; y < out.height; y++) {
    for (let x = 0; x < out.width; x++, to += 3) {
      const u = a * (x + 0.5) + b * (y + 0.5) + c;
      const v = d * (x + 0.5) + e * (y + 0.5) + f;
      if (!(u >= 0 && u < width && v >= 0 && v < height)) continue;
      const column = Math.floor(u - 0.5);
      const row = Math.floor(v - 0.5);
      const right = u - 0.5 - column;
      const down = v - 0.5 - row;
      const x0 = Math.max(column, 0);
      const x1 = Math.min(column + 1, width - 1);
      const upper = Math.max(row, 0) * width;
      // Past the last row Pillow repeats the upper row.
      const lower = row + 1 < height ? (row + 1) * width : upper;
      for (let channel = 0; channel < 3; channel++) {
        const p = source[(upper + x0) * 3 + channel]!;
        const q = source[(lower + x0) * 3 + channel]!;
        const above = p + (source[(upper + x1) * 3 + channel]! - p) * right;
        const below = q + (source[(lower + x1) * 3 + channel]! - q) * right;
        out.data[to + channel] = above + (below - above) * down;
      }
    }
  }
}

/** How {@link rotate} and {@link affine} sample. */
export interface WarpOptions {
  readonly interpolation?: Interpolation;
  /** Colour of what lies outside the image. Black unless told. */
  readonly fill?: Fill;
  /** The fixed point in pixels from the upper left corner; the image's middle unless told. */
  readonly center?: readonly [x: number, y: number];
}

const radians = (degrees: number): number => degrees * (Math.PI / 180);

/** Python's `round(value, 15)`. */
const round15 = (value: number): number => Number(value.toFixed(15));

/**
 * Pillow's `Image.rotate`: by `degrees` counterclockwise; `expand` enlarges the image so that all of it stays
 * visible.
 */
export function rotate(
  image: RGBImage,
  degrees: number,
  options: WarpOptions & { readonly expand?: boolean } = {},
): RGBImage {
  noMore('rotate', arguments, 3);
  checkOptions('rotate', options, 'interpolation', 'fill', 'center', 'expand');
  const { interpolation = 'nearest', fill = 0, center, expand = false } = options;
  let { width, height } = image;
  let angle = degrees % 360;
  if (angle < 0) angle += 360;
  if (center === undefined) {
    if (angle === 0) return image;
    if (angle === 180) return quarterTurns(image, 2);
    if (expand || width === height) {
      if (angle === 90) return quarterTurns(image, 1);
      if (angle === 270) return quarterTurns(image, 3);
    }
  }
  const [cx, cy] = center ?? [width / 2, height / 2];
  const cos = round15(Math.cos(-radians(angle)));
  const sin = round15(Math.sin(-radians(angle)));
  const toX = (x: number, y: number, c: number): number => cos * x + sin * y + c;
  const toY = (x: number, y: number, f: number): number => -sin * x + cos * y + f;
  let c = toX(-cx, -cy, 0) + cx;
  let f = toY(-cx, -cy, 0) + cy;
  if (expand) {
    const corners = [
      [0, 0],
      [width, 0],
      [width, height],
      [0, height],
    ] as const;
    const span = (values: number[]): number =>
      Math.ceil(Math.max(...values)) - Math.floor(Math.min(...values));
    const newWidth = span(corners.map(([x, y]) => toX(x, y, c)));
    const newHeight = span(corners.map(([x, y]) => toY(x, y, f)));
    const [right, down] = [-(newWidth - width) / 2, -(newHeight - height) / 2];
    [c, f] = [toX(right, down, c), toY(right, down, f)];
    [width, height] = [newWidth, newHeight];
  }
  return affineTransform(image, width, height, [cos, sin, c, -sin, cos, f], interpolation, fill);
}

export interface AffineParameters {
  /** Degrees, clockwise. */
  readonly angle?: number;
  /** Pixels to the right and down. */
  readonly translate?: readonly [x: number, y: number];
  readonly scale?: number;
  /** Degrees along either axis. */
  readonly shear?: readonly [x: number, y: number];
}

/** torchvision's `affine`: rotates, shears, scales and shifts about `center`; the size stays. */
export function affine(image: RGBImage, parameters: AffineParameters, options: WarpOptions = {}): RGBImage {
  noMore('affine', arguments, 3);
  checkOptions('affine', parameters, 'angle', 'translate', 'scale', 'shear');
  checkOptions('affine', options, 'interpolation', 'fill', 'center');
  const { angle = 0, translate: [tx, ty] = [0, 0], scale = 1, shear = [0, 0] } = parameters;
  if (!(scale > 0)) throw new RangeError(`affine: scale must be positive, got ${scale}`);
  const { interpolation = 'nearest', fill = 0 } = options;
  const { width, height } = image;
  const [cx, cy] = options.center ?? [width * 0.5, height * 0.5];
  const turn = radians(angle);
  const [sx, sy] = [radians(shear[0]), radians(shear[1])];
  // torchvision's `_get_inverse_affine_matrix`; the determinant is 1.
  const a = Math.cos(turn - sy) / Math.cos(sy);
  const b = (-Math.cos(turn - sy) * Math.tan(sx)) / Math.cos(sy) - Math.sin(turn);
  const c = Math.sin(turn - sy) / Math.cos(sy);
  const d = (-Math.sin(turn - sy) * Math.tan(sx)) / Math.cos(sy) + Math.cos(turn);
  const [m0, m1, m3, m4] = [d / scale, -b / scale, -c / scale, a / scale];
  const m2 = m0 * (-cx - tx) + m1 * (-cy - ty) + cx;
  const m5 = m3 * (-cx - tx) + m4 * (-cy - ty) + cy;
  return affineTransform(image, width, height, [m0, m1, m2, m3, m4, m5], interpolation, fill);
}
