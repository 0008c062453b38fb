/**
 * Stacking samples on the host. It knows tensors by their brand only, so that worker threads load without the
 * engine.
 */

import { isTensor, type Tensor } from '../tensor/tensor.js';
import { packImages, type PackedImages } from '../kernels/images/packed.js';
import {
  type DeferredImage,
  type HostArray,
  type HostData,
  isDeferredImage,
  isHostArray,
  isRGBImage,
} from './host.js';

type StackTensors = (tensors: readonly Tensor[]) => Tensor;

const kind = (value: unknown): string => {
  if (isHostArray(value)) return `array of ${value.data.constructor.name} [${value.shape.join(', ')}]`;
  if (isDeferredImage(value)) {
    const { placed, meaning } = value;
    return `image for the device [3, ${placed.box.height}, ${placed.box.width}] (${meaning.dtype})`;
  }
  if (isTensor(value)) return `Tensor [${value.shape.join(', ')}]`;
  if (Array.isArray(value)) return `tuple of ${value.length}`;
  return value === null ? 'null' : typeof value;
};

function mismatch(where: string, first: unknown, other: unknown, position: number): Error {
  return new Error(
    `collate: ${where} is ${kind(first)} in the batch's first sample but ${kind(other)} in sample ${position}; ` +
      'make samples alike (Resize, CenterCrop) or pass your own `collate` to DataLoader',
  );
}

function stackNumbers(values: readonly number[], where: string): HostArray {
  const wrong = values.find((value) => !Number.isInteger(value) || value !== (value | 0));
  if (wrong !== undefined) {
    throw new Error(
      `collate: ${where} holds ${wrong}; plain numbers are class labels (int32). For other values make the sample ` +
        '{ data: Float32Array.of(value), shape: [] }',
    );
  }
  return { data: Int32Array.from(values), shape: [values.length] };
}

function stackArrays(arrays: readonly HostArray[], where: string): HostArray {
  const first = arrays[0]!;
  const size = first.data.length;
  const Data = first.data.constructor as new (length: number) => HostData;
  const data = new Data(arrays.length * size);
  arrays.forEach((array, position) => {
    const same =
      isHostArray(array) &&
      array.data.constructor === Data &&
      array.data.length === size &&
      array.shape.length === first.shape.length &&
      array.shape.every((length, dim) => length === first.shape[dim]);
    if (!same) throw mismatch(where, first, array, position);
    data.set(array.data, position * size);
  });
  return { data, shape: [arrays.length, ...first.shape] };
}

function stackDeferred(images: readonly DeferredImage[], where: string): PackedImages {
  const first = images[0]!;
  const { box } = first.placed;
  images.forEach((image, position) => {
    if (!isDeferredImage(image)) throw mismatch(where, first, image, position);
    const { placed, meaning } = image;
    const same = placed.box.height === box.height && placed.box.width === box.width;
    if (!same || meaning.dtype !== first.meaning.dtype) throw mismatch(where, first, image, position);
    const { table } = meaning;
    if (table !== first.meaning.table && table.some((word, i) => word !== first.meaning.table[i])) {
      throw new Error(
        `collate: ${where} is normalised by other means and deviations in sample ${position} than in the batch's first; make samples alike or put Normalize before what OnDevice does`,
      );
    }
  });
  return packImages(
    images.map(({ placed }) => placed),
    first.meaning,
  );
}

function stackAt(values: readonly unknown[], where: string, stackTensors: StackTensors): unknown {
  const first = values[0];
  const check = (test: (value: unknown) => boolean): void => {
    const position = values.findIndex((value) => !test(value));
    if (position >= 0) throw mismatch(where, first, values[position], position);
  };
  if (typeof first === 'number' || typeof first === 'boolean') {
    check((value) => typeof value === typeof first);
    return stackNumbers(values.map(Number), where);
  }
  if (typeof first === 'string') {
    check((value) => typeof value === 'string');
    return [...values];
  }
  if (isHostArray(first)) return stackArrays(values as readonly HostArray[], where);
  if (isDeferredImage(first)) return stackDeferred(values as readonly DeferredImage[], where);
  if (isTensor(first)) {
    check(isTensor);
    return stackTensors(values as readonly Tensor[]);
  }
  if (isRGBImage(first)) {
    throw new Error(
      `collate: ${where} is an image (${first.width} x ${first.height} bytes); end the dataset's transform with ToTensor`,
    );
  }
  if (Array.isArray(first)) {
    check((value) => Array.isArray(value) && value.length === first.length);
    const tuples = values as readonly (readonly unknown[])[];
    return first.map((_, i) =>
      stackAt(
        tuples.map((tuple) => tuple[i]),
        `${where}[${i}]`,
        stackTensors,
      ),
    );
  }
  if (typeof first === 'object' && first !== null) {
    const keys = Object.keys(first);
    check((value) => typeof value === 'object' && value !== null && keys.every((key) => key in value));
    const records = values as readonly Record<string, unknown>[];
    return Object.fromEntries(
      keys.map((key) => [
        key,
        stackAt(
          records.map((record) => record[key]),
          `${where}.${key}`,
          stackTensors,
        ),
      ]),
    );
  }
  throw new Error(`collate: ${where} is ${kind(first)}, which cannot be stacked; pass your own \`collate\``);
}

/**
 * Stacks samples along a new first dimension, field by field.
 * @param stackTensors stacks the samples' tensors
 * @throws Error naming the field, when samples do not fit together
 */
export function stackOnHost(samples: readonly unknown[], stackTensors: StackTensors): unknown {
  if (samples.length === 0) throw new Error('collate: no samples to stack');
  return stackAt(samples, 'the sample', stackTensors);
}
