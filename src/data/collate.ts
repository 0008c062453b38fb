import { stack as stackTensors } from '../ops/join.js';
import { tensor } from '../ops/creation.js';
import { isTensor } from '../tensor/scope.js';
import type { Tensor } from '../tensor/tensor.js';
import { type HostArray, type HostData, isHostArray, isRGBImage, type RGBImage } from './host.js';

/** Samples of type `T` stacked along a new first dimension, numbers still on the host. */
export type HostBatch<T> = T extends null | undefined
  ? never
  : T extends number | boolean | HostArray
    ? HostArray
    : T extends Tensor
      ? Tensor
      : T extends string
        ? string[]
        : T extends RGBImage
          ? never
          : T extends object
            ? { [K in keyof T]: HostBatch<T[K]> }
            : never;

/** What `DataLoader` yields for samples of type `T`: numbers and arrays become Tensors, tuples and objects keep their form. */
export type Batch<T> = T extends null | undefined
  ? never
  : T extends number | boolean | HostArray | Tensor
    ? Tensor
    : T extends string
      ? string[]
      : T extends RGBImage
        ? never
        : T extends object
          ? { [K in keyof T]: Batch<T[K]> }
          : never;

const kind = (value: unknown): string => {
  if (isHostArray(value)) return `array of ${value.data.constructor.name} [${value.shape.join(', ')}]`;
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

function stackAt(values: readonly unknown[], where: string): unknown {
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
        ),
      ]),
    );
  }
  throw new Error(`collate: ${where} is ${kind(first)}, which cannot be stacked; pass your own \`collate\``);
}

/**
 * Stacks samples along a new first dimension: integers and booleans to int32 [n], arrays of one shape to [n, ...shape], strings to a list;
 * tuples and objects field by field. Nothing goes to the GPU.
 * @throws Error naming the field, when samples do not fit together
 */
export function stackSamples<T>(samples: readonly T[]): HostBatch<T> {
  if (samples.length === 0) throw new Error('collate: no samples to stack');
  return stackAt(samples, 'the sample') as HostBatch<T>;
}

/** Uploads every host array in a batch; the rest stays as it is. */
export function toTensors<T>(batch: HostBatch<T>): Batch<T> {
  const upload = (value: unknown): unknown => {
    if (isHostArray(value)) return tensor(value.data, { shape: value.shape });
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
  return toTensors<T>(stackSamples(samples));
}
