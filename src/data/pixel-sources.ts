import { noMore } from '../tensor/options.js';
import { isTensor, type Tensor } from '../tensor/tensor.js';
import { showShape } from '../tensor/shape.js';
import type { RGBImage } from './host.js';

/** Pixels as `ImageData` holds them: rows of red, green, blue and alpha, a byte each. */
export interface RGBAPixels {
  readonly width: number;
  readonly height: number;
  readonly data: Uint8ClampedArray | Uint8Array;
}

/** What a browser can draw: a canvas, an `ImageBitmap`, an image or video element, a `VideoFrame`. */
export type PixelSource = RGBAPixels | Drawable;

/** The part of it that is asked for; a program's own types of these fit. */
export interface Drawable {
  readonly width?: unknown;
  readonly height?: unknown;
  readonly naturalWidth?: number;
  readonly naturalHeight?: number;
  readonly videoWidth?: number;
  readonly videoHeight?: number;
  readonly displayWidth?: number;
  readonly displayHeight?: number;
}

interface Context {
  drawImage(source: unknown, x: number, y: number, width: number, height: number): void;
  getImageData(x: number, y: number, width: number, height: number): RGBAPixels;
}

type CanvasMaker = new (
  width: number,
  height: number,
) => { getContext(kind: '2d', options: { willReadFrequently: boolean }): Context | null };

const isBytes = (value: unknown): value is Uint8ClampedArray | Uint8Array =>
  value instanceof Uint8ClampedArray || value instanceof Uint8Array;

const hasPixels = (source: PixelSource): source is RGBAPixels =>
  isBytes((source as Partial<RGBAPixels>).data);

/** An element's own pixels, whatever size it is shown at. */
function sizeOf(source: Drawable): readonly [number, number] {
  const pairs: readonly (readonly [unknown, unknown])[] = [
    [source.naturalWidth, source.naturalHeight],
    [source.videoWidth, source.videoHeight],
    [source.displayWidth, source.displayHeight],
    [source.width, source.height],
  ];
  const found = pairs.find(([width, height]) => typeof width === 'number' && typeof height === 'number');
  return (found ?? [0, 0]) as readonly [number, number];
}

function drawn(source: Drawable): RGBAPixels {
  const Canvas = (globalThis as { OffscreenCanvas?: CanvasMaker }).OffscreenCanvas;
  if (Canvas === undefined)
    throw new Error(
      'fromPixels: this platform cannot draw; give { width, height, data } with four bytes per pixel, or read ' +
        "files by kindling/node's decodeImage",
    );
  const [width, height] = sizeOf(source);
  if (!(width > 0 && height > 0))
    throw new Error(
      `fromPixels: the source has ${width} x ${height} pixels; wait until it is loaded ('load', 'loadeddata')`,
    );
  const context = new Canvas(width, height).getContext('2d', { willReadFrequently: true });
  if (context === null) throw new Error('fromPixels: the browser gave no 2d context');
  context.drawImage(source, 0, 0, width, height);
  return context.getImageData(0, 0, width, height);
}

/**
 * An image for transforms (`ToTensor`, `Resize`, ...) from `ImageData` or anything like it, a canvas, an
 * `ImageBitmap`, an image or video element or a `VideoFrame`. Alpha is left out, as Pillow's
 * `convert('RGB')` does.
 *
 * @throws Error for pixels that are not four bytes each, or a source that is not loaded yet
 */
export function fromPixels(source: PixelSource): RGBImage {
  noMore('fromPixels', arguments, 1);
  if (typeof source !== 'object' || (source as unknown) === null)
    throw new TypeError(`fromPixels: expected ImageData or what can be drawn, got ${String(source)}`);
  const { width, height, data: rgba } = hasPixels(source) ? source : drawn(source);
  const area = width * height;
  if (!Number.isInteger(area) || area < 1 || rgba.length !== 4 * area)
    throw new Error(
      `fromPixels: ${String(width)} x ${String(height)} pixels of RGBA are ${4 * area} bytes, got ${rgba.length}`,
    );
  const data = new Uint8Array(3 * area);
  for (let i = 0, from = 0, to = 0; i < area; i++, from++) {
    data[to++] = rgba[from++] as number;
    data[to++] = rgba[from++] as number;
    data[to++] = rgba[from++] as number;
  }
  return { width, height, data };
}

/**
 * A picture of a tensor, for `putImageData` on a canvas: [height, width], [1, ...] (grey) or [3, ...] (RGB),
 * float in 0 ... 1 (values beyond are cut) or uint8. As torchvision's `to_pil_image` does, floats are
 * multiplied by 255 and cut down to whole numbers.
 *
 * @returns `ImageData` where the platform has it, else an object of the same fields
 */
export async function toImageData(image: Tensor): Promise<RGBAPixels> {
  noMore('toImageData', arguments, 1);
  if (!isTensor(image)) throw new TypeError(`toImageData: expected a tensor, got ${String(image)}`);
  const { shape, dtype } = image;
  const [channels, height, width] = shape.length === 2 ? [1, ...shape] : shape;
  const fits = (channels === 1 || channels === 3) && shape.length <= 3 && shape.length >= 2;
  if (!fits || height === undefined || width === undefined || height * width === 0)
    throw new Error(
      `toImageData: expected [height, width], [1, height, width] or [3, height, width], got ${showShape(shape)}`,
    );
  if (dtype === 'int32' || dtype === 'bool')
    throw new Error(
      `toImageData: expected floats in 0 ... 1 or uint8, got ${dtype}; use .to('uint8') or .float()`,
    );
  const values = await image.data();
  const scale = dtype === 'uint8' ? 1 : 255;
  const area = height * width;
  const data = new Uint8ClampedArray(4 * area);
  for (let i = 0; i < area; i++) {
    for (let channel = 0; channel < 3; channel++) {
      const value = values[(channels === 3 ? channel * area : 0) + i] as number;
      data[4 * i + channel] = Math.floor(scale * Math.min(value, 255 / scale));
    }
    data[4 * i + 3] = 255;
  }
  const Made = (globalThis as { ImageData?: new (data: Uint8ClampedArray, width: number) => RGBAPixels })
    .ImageData;
  return Made === undefined ? { width, height, data } : new Made(data, width);
}
