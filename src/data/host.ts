/** Values that live on the host: what readers make and transforms change, before a batch becomes a Tensor. */

import type { ByteMeaning, PlacedImage } from '../kernels/images/packed.js';

export type HostData = Float32Array | Int32Array | Uint8Array;

/** A dense row-major array on the host. `data.length` is the product of `shape`. */
export interface HostArray<D extends HostData = HostData> {
  readonly data: D;
  readonly shape: readonly number[];
}

/** An 8-bit colour image: `data[(y * width + x) * 3 + channel]`, channels red, green, blue. */
export interface RGBImage {
  readonly width: number;
  readonly height: number;
  readonly data: Uint8Array;
}

/**
 * An image whose last transforms the device makes, for the whole batch at once: what `transforms.OnDevice`
 * returns. Stacked, it becomes a float Tensor [n, 3, height, width].
 */
export interface DeferredImage {
  readonly placed: PlacedImage;
  readonly meaning: ByteMeaning;
}

export function isHostArray(value: unknown): value is HostArray {
  if (typeof value !== 'object' || value === null || !('data' in value) || !('shape' in value)) return false;
  const { data, shape } = value;
  if (!Array.isArray(shape)) return false;
  return data instanceof Float32Array || data instanceof Int32Array || data instanceof Uint8Array;
}

export const isDeferredImage = (value: unknown): value is DeferredImage =>
  typeof value === 'object' && value !== null && 'placed' in value && 'meaning' in value;

export function isRGBImage(value: unknown): value is RGBImage {
  if (typeof value !== 'object' || value === null) return false;
  return 'width' in value && 'height' in value && 'data' in value && value.data instanceof Uint8Array;
}

/** Reorders one image from planes (channel, row, column) to interleaved pixels; a single plane is grey. */
export function planesToImage(
  planes: Uint8Array,
  width: number,
  height: number,
  channels: 1 | 3 = 3,
): RGBImage {
  const area = width * height;
  const plane = channels === 3 ? area : 0;
  const data = new Uint8Array(area * 3);
  for (let i = 0; i < area; i++) {
    data[i * 3] = planes[i]!;
    data[i * 3 + 1] = planes[plane + i]!;
    data[i * 3 + 2] = planes[2 * plane + i]!;
  }
  return { width, height, data };
}
