import { noMore } from '../../tensor/options.js';
import type { RGBImage } from '../host.js';

function gaussian(size: number, sigma: number): Float64Array {
  const middle = (size - 1) / 2;
  const weights = Float64Array.from({ length: size }, (_, i) => Math.exp(-0.5 * ((i - middle) / sigma) ** 2));
  const sum = weights.reduce((total, weight) => total + weight, 0);
  return weights.map((weight) => weight / sum);
}

/**
 * The element that position `at` of a line shows when the line is mirrored about its ends (without repeating
 * them).
 */
function reflected(at: number, length: number): number {
  if (at < 0) return -at;
  return at >= length ? 2 * (length - 1) - at : at;
}

/**
 * torchvision's `gaussian_blur` with reflected borders. The sums are taken in float64 where torchvision
 * convolves in float32, so that a value on the brink of a half may differ by one grey level.
 *
 * @param size odd height and width of the window, in pixels
 * @param sigma standard deviations down and across, in pixels
 */
export function gaussianBlur(
  image: RGBImage,
  size: readonly [height: number, width: number],
  sigma: readonly [down: number, across: number],
): RGBImage {
  noMore('gaussianBlur', arguments, 3);
  const { width, height, data: source } = image;
  if (size[0] >> 1 >= height || size[1] >> 1 >= width) {
    throw new RangeError(
      `gaussianBlur: a window of ${size[1]} x ${size[0]} is too large to mirror a ${width} x ${height} image; take a smaller one`,
    );
  }
  const across = gaussian(size[1], sigma[1]);
  const down = gaussian(size[0], sigma[0]);
  const row = width * 3;
  const middle = new Float64Array(source.length);
  for (let x = 0; x < width; x++) {
    for (let k = 0; k < across.length; k++) {
      const from = reflected(x + k - (across.length >> 1), width) * 3;
      const weight = across[k]!;
      for (let y = 0, line = 0; y < height; y++, line += row) {
        const to = line + x * 3;
        middle[to]! += source[line + from]! * weight;
        middle[to + 1]! += source[line + from + 1]! * weight;
        middle[to + 2]! += source[line + from + 2]! * weight;
      }
    }
  }
  const data = new Uint8Array(source.length);
  const sums = new Float64Array(row);
  for (let y = 0; y < height; y++) {
    sums.fill(0);
    for (let k = 0; k < down.length; k++) {
      const from = reflected(y + k - (down.length >> 1), height) * row;
      const weight = down[k]!;
      for (let i = 0; i < row; i++) sums[i]! += middle[from + i]! * weight;
    }
    for (let i = 0; i < row; i++) data[y * row + i] = Math.min(Math.round(sums[i]!), 255);
  }
  return { width, height, data };
}
