import { showShape } from '../tensor/shape.js';
import type { Tensor } from '../tensor/tensor.js';

/** Which dim is what: channels, height, width. */
export type DataFormat = 'CHW' | 'HWC' | 'HW';

/** @internal Bytes of pixels, row by row, and their sizes. */
export interface Pixels {
  readonly height: number;
  readonly width: number;
  readonly channels: number;
  readonly bytes: Uint8Array;
}

/** @internal @throws Error for a shape that is no image, and for a dtype that has no brightness */
export function checkImage(where: string, image: Tensor, format: DataFormat): void {
  if (!['CHW', 'HWC', 'HW'].includes(format))
    throw new Error(`${where}: dataformats must be 'CHW', 'HWC' or 'HW', got ${String(format)}`);
  const channels = format === 'HW' ? 1 : image.shape[format.indexOf('C')];
  if (image.ndim !== format.length || ![1, 3, 4].includes(channels ?? 0) || image.numel() === 0)
    throw new Error(
      `${where}: expected an image ${format} with 1, 3 or 4 channels, got shape ${showShape(image.shape)}; say { dataformats: ... } if dims lie otherwise`,
    );
  if (image.dtype !== 'uint8' && !image.isFloatingPoint())
    throw new Error(
      `${where}: expected uint8 (0 to 255) or floats from 0 to 1, got ${image.dtype}; convert it with .to('uint8')`,
    );
}

/** @internal The pixels of what {@link checkImage} has let through; floats are cut to 0 ... 1. */
export async function pixelsOf(image: Tensor, format: DataFormat): Promise<Pixels> {
  const { shape, dtype } = image;
  const values = await image.data();
  const size = (dim: string): number => (format.includes(dim) ? shape[format.indexOf(dim)]! : 1);
  const [height, width, channels] = [size('H'), size('W'), size('C')];
  const planes = format === 'CHW';
  const scale = dtype === 'uint8' ? 1 : 255;
  const bytes = new Uint8Array(values.length);
  let at = 0;
  for (let pixel = 0; pixel < height * width; pixel++) {
    for (let c = 0; c < channels; c++) {
      const value = values[planes ? c * height * width + pixel : pixel * channels + c]!;
      if (Number.isNaN(value)) throw new Error('a pixel is NaN');
      bytes[at++] = Math.trunc(Math.min(Math.max(value * scale, 0), 255));
    }
  }
  return { height, width, channels, bytes };
}
