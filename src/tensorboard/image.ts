import { showShape } from '../tensor/shape.js';
import { isTensor, type Tensor } from '../tensor/tensor.js';

/** Which dim is what: channels, height, width. */
export type DataFormat = 'CHW' | 'HWC' | 'HW';

/** Of several images: their number, channels, height, width. */
export type BatchFormat = 'NCHW' | 'NHWC';

/** @internal Bytes of pixels, row by row, and their sizes. */
export interface Pixels {
  readonly height: number;
  readonly width: number;
  readonly channels: number;
  readonly bytes: Uint8Array;
}

/** @internal @throws Error for a shape that is no image, and for a dtype that has no brightness */
export function checkImage(
  where: string,
  image: unknown,
  format: string,
  formats: readonly string[],
): asserts image is Tensor {
  if (!formats.includes(format))
    throw new Error(
      `${where}: dataformats must be ${formats.map((one) => `'${one}'`).join(' or ')}, got ${String(format)}`,
    );
  if (!isTensor(image)) throw new Error(`${where}: expected a tensor, got ${String(image)}`);
  const channels = format === 'HW' ? 1 : image.shape[format.indexOf('C')];
  const what = format.startsWith('N') ? 'images' : 'an image';
  if (image.ndim !== format.length || ![1, 3, 4].includes(channels ?? 0) || image.numel() === 0)
    throw new Error(
      `${where}: expected ${what} ${format} with 1, 3 or 4 channels, got shape ${showShape(image.shape)}; say { dataformats: ... } if dims lie otherwise`,
    );
  if (image.dtype !== 'uint8' && !image.isFloatingPoint())
    throw new Error(
      `${where}: expected uint8 (0 to 255) or floats from 0 to 1, got ${image.dtype}; convert it with .to('uint8')`,
    );
}

/** Images beside each other before the next row of a grid begins, as in PyTorch. */
const mostInRow = 8;

/**
 * @internal The pixels of what {@link checkImage} has let through, several images as a grid without gaps;
 * floats are cut to 0 ... 1. Where a grid has no image it is 0.
 */
export async function pixelsOf(image: Tensor, format: string): Promise<Pixels> {
  const { shape, dtype } = image;
  const values = await image.data();
  const size = (dim: string): number => (format.includes(dim) ? shape[format.indexOf(dim)]! : 1);
  const [count, h, w, channels] = [size('N'), size('H'), size('W'), size('C')];
  const columns = Math.min(count, mostInRow);
  const [height, width] = [h * Math.ceil(count / columns), w * columns];
  const planes = format.endsWith('CHW');
  const scale = dtype === 'uint8' ? 1 : 255;
  const bytes = new Uint8Array(height * width * channels);
  for (let i = 0; i < count * h * w; i++) {
    const [n, pixel] = [Math.floor(i / (h * w)), i % (h * w)];
    const y = Math.floor(n / columns) * h + Math.floor(pixel / w);
    const x = (n % columns) * w + (pixel % w);
    for (let c = 0; c < channels; c++) {
      const value = values[planes ? (n * channels + c) * h * w + pixel : i * channels + c]!;
      if (Number.isNaN(value)) throw new Error('a pixel is NaN');
      bytes[(y * width + x) * channels + c] = Math.trunc(Math.min(Math.max(value * scale, 0), 255));
    }
  }
  return { height, width, channels, bytes };
}
