import { runtime } from '../../device/index.js';
import { planBytes } from '../../kernels/images/bytes.js';
import { packImages, type PackedImages, type PlacedImage } from '../../kernels/images/packed.js';
import { optionReader, type Trailing } from '../../tensor/options.js';
import type { Tensor } from '../../tensor/tensor.js';
import { launch } from '../base/launch.js';
import { emptyResult, planLimits } from '../base/run-plan.js';
import { byteMeaning, isList } from './byte-table.js';

/** @internal Uploads a block of images and makes the batch of it: [n, c, h, w], channels-last. */
export function unpackImages(images: PackedImages): Tensor {
  const { packed, shape, dtype } = images;
  const rt = runtime();
  const { launches } = planBytes(planLimits(), images);
  const y = emptyResult('imagesToTensor', shape, dtype);
  const block = rt.alloc(packed.byteLength, 'imagesToTensor (bytes)');
  try {
    rt.write(block, 0, packed);
    launch(launches, { packed: { deviceBuffer: block }, y });
  } finally {
    // Later commands may reuse it at once: the queue runs in order.
    rt.free(block);
  }
  return y;
}

/**
 * Images of one size as bytes: rows of pixels, channels innermost. `shape` is [n, height, width, channels].
 */
export interface ByteImages {
  readonly data: Uint8Array;
  readonly shape: readonly number[];
}

export interface ImagesToTensorOptions {
  /** Taken from each channel after the division by 255. Default: 0. */
  mean?: readonly number[] | null;
  /** What each channel is divided by then. Default: 1. */
  std?: readonly number[] | null;
  /** Height and width of the result in pixels. Default: the images'. */
  size?: number | readonly [height: number, width: number] | null;
  /**
   * For each image, row and column of its pixel that becomes the upper left one of the result (before it is
   * mirrored); what then lies outside the image is `fill`. Default: 0, 0.
   */
  crops?: readonly (readonly [top: number, left: number])[] | null;
  /** For each image, whether left and right are exchanged. Default: no. */
  horizontalFlips?: readonly boolean[] | null;
  /** For each image, whether top and bottom are exchanged. Default: no. */
  verticalFlips?: readonly boolean[] | null;
  /** A byte for each channel, or one for all, to stand outside the images. Default: 0. */
  fill?: number | readonly number[];
  /** Default: float32. */
  dtype?: 'float32' | 'float16';
}

const readOptions = optionReader<Required<ImagesToTensorOptions>>('imagesToTensor', {
  mean: null,
  std: null,
  size: null,
  crops: null,
  horizontalFlips: null,
  verticalFlips: null,
  fill: 0,
  dtype: 'float32',
});

/** Beyond this, coordinates in pixels might not stay within 32 bits. */
const farthest = 2 ** 24;

/**
 * Bytes on the host to a batch [n, channels, height, width] on the device, stored channels-last: one upload
 * of a byte per element and one launch that crops, mirrors and normalises. Elements are (byte / 255 - mean) /
 * std, each step rounded to float32 as in torchvision's `ToTensor` and `Normalize`, bit for bit on every
 * adapter; float16 rounds that once more, to nearest even.
 *
 * @throws Error when the images are not [n, height, width, 1 to 4 channels], or an option does not fit them
 */
export function imagesToTensor(images: ByteImages, ...args: Trailing<[], ImagesToTensorOptions>): Tensor {
  const op = 'imagesToTensor';
  const options = readOptions(args);
  const { data, shape } = Object(images) as ByteImages;
  const lengths = isList(shape) ? shape : [];
  const [n = 0, height = 0, width = 0, channels = 0] = lengths;
  const elements = n * height * width * channels;
  const whole = lengths.every((length) => Number.isInteger(length) && length > 0);
  if (
    !(data instanceof Uint8Array) ||
    lengths.length !== 4 ||
    channels > 4 ||
    !whole ||
    data.length !== elements
  ) {
    const got = data instanceof Uint8Array ? `${data.length} bytes` : String(data);
    throw new Error(
      `${op}: expected a Uint8Array of shape [n, height, width, channels] with 1 to 4 channels, got ${got} as ${isList(shape) ? `[${shape.join(', ')}]` : String(shape)}`,
    );
  }
  const { size, crops, fill, horizontalFlips, verticalFlips, dtype } = options;
  const ofChannels = (value: number): number[] => Array<number>(channels).fill(value);
  const meaning = byteMeaning(
    op,
    channels,
    options.mean ?? ofChannels(0),
    options.std ?? ofChannels(1),
    dtype,
  );
  const [outH, outW] = isList(size) ? size : [size ?? height, size ?? width];
  if (![outH, outW].every((length) => Number.isInteger(length) && length > 0 && length < farthest))
    throw new Error(`${op}: size must be a positive integer or [height, width], got ${JSON.stringify(size)}`);
  for (const [name, list] of Object.entries({ crops, horizontalFlips, verticalFlips })) {
    if (list !== null && (!isList(list) || list.length !== n)) {
      const got = isList(list) ? list.length : String(list);
      throw new Error(`${op}: ${name} must be a list with one entry for each of the ${n} images, got ${got}`);
    }
  }
  const color = typeof fill === 'number' ? ofChannels(fill) : fill;
  if (
    !isList(color) ||
    color.length !== channels ||
    !color.every((byte) => Number.isInteger(byte) && byte >= 0 && byte <= 255)
  )
    throw new Error(
      `${op}: fill must be a byte, or one for each of the ${channels} channels, got ${JSON.stringify(fill)}`,
    );
  const placed = Array.from({ length: n }, (_, i): PlacedImage => {
    const crop: unknown = crops?.[i] ?? [0, 0];
    const [top, left] = (isList(crop) ? crop : []) as [number, number];
    if (![top, left].every((at) => Number.isInteger(at) && Math.abs(at) < farthest))
      throw new Error(
        `${op}: crops[${i}] must be [top, left] in whole pixels, got ${JSON.stringify(crops?.[i])}`,
      );
    return {
      data: data.subarray(i * (elements / n), (i + 1) * (elements / n)),
      width,
      window: { top: 0, left: 0, height, width },
      box: { top, left, height: outH, width: outW },
      mirrored: horizontalFlips?.[i] ?? false,
      upsideDown: verticalFlips?.[i] ?? false,
      fill: color,
    };
  });
  return unpackImages(packImages(placed, meaning));
}
