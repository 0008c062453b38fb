import { noMore } from '../tensor/options.js';
import { stack } from '../ops/shape/join.js';
import { tensor } from '../ops/creation/creation.js';
import { isTensor, type Tensor } from '../tensor/tensor.js';
import { isPackedImages, type PackedImages } from '../kernels/images/packed.js';
import { unpackImages } from '../ops/images/bytes.js';
import { type DeferredImage, type HostArray, isHostArray, type RGBImage } from './host.js';
import { stackOnHost } from './stack.js';

/** Samples of type `T` stacked along a new first dimension, numbers still on the host. */
export type HostBatch<T> = T extends null | undefined
  ? never
  : T extends number | boolean | HostArray
    ? HostArray
    : T extends DeferredImage
      ? PackedImages
      : T extends Tensor
        ? Tensor
        : T extends string
          ? string[]
          : T extends RGBImage
            ? never
            : T extends object
              ? { [K in keyof T]: HostBatch<T[K]> }
              : never;

/**
 * What `DataLoader` yields for samples of type `T`: numbers and arrays become Tensors, tuples and objects
 * keep their form.
 */
export type Batch<T> = T extends null | undefined
  ? never
  : T extends number | boolean | HostArray | DeferredImage | Tensor
    ? Tensor
    : T extends string
      ? string[]
      : T extends RGBImage
        ? never
        : T extends object
          ? { [K in keyof T]: Batch<T[K]> }
          : never;

/**
 * Stacks samples along a new first dimension: integers and booleans to int32 [n], arrays of one shape to [n,
 * ...shape], strings to a list; tuples and objects field by field. Nothing goes to the GPU.
 * @throws Error naming the field, when samples do not fit together
 */
export function stackSamples<T>(samples: readonly T[]): HostBatch<T> {
  noMore('stackSamples', arguments, 1);
  return stackOnHost(samples, stack) as HostBatch<T>;
}

/** Uploads every host array and all packed images in a batch; the rest stays as it is. */
export function toTensors<T>(batch: HostBatch<T>): Batch<T> {
  noMore('toTensors', arguments, 1);
  const upload = (value: unknown): unknown => {
    if (isHostArray(value)) return tensor(value.data, { shape: value.shape });
    if (isPackedImages(value)) return unpackImages(value);
    if (isTensor(value)) return value;
    if (Array.isArray(value)) return value.map(upload);
    if (typeof value === 'object' && value !== null) {
      return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, upload(item)]));
    }
    return value;
  };
  return upload(batch) as Batch<T>;
}

/** PyTorch's `default_collate`: {@link stackSamples}, then {@link toTensors}. */
export function defaultCollate<T>(samples: readonly T[]): Batch<T> {
  noMore('defaultCollate', arguments, 1);
  return toTensors<T>(stackSamples(samples));
}
