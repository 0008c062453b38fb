/** Tensors on the GPU as sources of bytes for the writers. */

import { runtime } from '../device/index.js';
import { isPlainObject } from '../tensor/options.js';
import { isTensor, type Tensor } from '../tensor/tensor.js';
import type { Storage } from '../tensor/storage.js';
import type { ByteRange } from './byte-source.js';
import { isFloatingDtype } from './dtypes.js';
import type { HostDtype } from './dtypes.js';
import { CheckpointError } from './errors.js';
import { HostTensor } from './host-tensor.js';

/** What a writer takes for a tensor: values on the host, in another file, or on the GPU. */
export type TensorSource = HostTensor | Tensor;

/** What floating point values may be stored as. */
export type FloatDtype = 'float32' | 'float16' | 'bfloat16';

/**
 * Makes what a writer reads of tensors, as one file wants them: GPU tensors are fetched piece by piece when
 * their turn comes, floating point values become `dtype`, and PyTorch's counters int64. Tensors that share
 * memory still share it afterwards.
 */
export class TensorReader {
  private readonly onDevice = new Map<Storage, ByteRange>();
  private readonly converted = new Map<ByteRange, Map<string, HostTensor>>();

  constructor(private readonly dtype?: FloatDtype) {}

  /** The tensor to write for `value`, or undefined if that is no tensor. */
  read(value: unknown, name: string): HostTensor | undefined {
    if (isTensor(value)) {
      const host = this.fetch(value, name);
      // PyTorch counts batches in int64, which the GPU has not.
      const counter = host.dtype === 'int32' && /(^|\.)num_batches_tracked$/.test(name);
      return this.convert(host, counter ? 'int64' : this.wanted(host));
    }
    return value instanceof HostTensor ? this.convert(value, this.wanted(value)) : undefined;
  }

  private wanted({ dtype }: HostTensor): HostDtype {
    return isFloatingDtype(dtype) ? (this.dtype ?? dtype) : dtype;
  }

  private fetch(tensor: Tensor, name: string): HostTensor {
    const { dtype, shape, strides, offset, storage } = tensor;
    let range = this.onDevice.get(storage);
    if (range === undefined) this.onDevice.set(storage, (range = deviceRange(tensor, name)));
    return new HostTensor({ name, dtype, shape, strides, offset, storage: range });
  }

  private convert(host: HostTensor, dtype: HostDtype): HostTensor {
    if (dtype === host.dtype) return host;
    let views = this.converted.get(host.storage);
    if (views === undefined) this.converted.set(host.storage, (views = new Map()));
    const view = `${host.dtype} ${dtype} ${host.offset} ${host.shape.join()} ${host.strides.join()}`;
    let made = views.get(view);
    if (made === undefined) views.set(view, (made = host.to(dtype)));
    return made;
  }
}

/** The memory of a tensor. The handle is held, so that the memory lives until the file is written. */
function deviceRange(tensor: Tensor, name: string): ByteRange {
  const { version, bytes } = tensor.storage;
  // uint8 and bool take four bytes per element on the GPU.
  const widened = tensor.dtype === 'uint8' || tensor.dtype === 'bool' ? 4 : 1;
  return {
    size: bytes / widened,
    async read(offset, length) {
      const { storage } = tensor;
      if (storage.version !== version) {
        throw new CheckpointError(
          `tensor '${name}' was changed by ${storage.writer} while it was being saved: await the save before training on`,
        );
      }
      const buffer = await runtime().read(tensor.deviceBuffer, offset * widened, length * widened);
      return widened === 1 ? new Uint8Array(buffer) : Uint8Array.from(new Uint32Array(buffer));
    },
  };
}

/** Tensors by name, as `model.stateDict()` and readers of files give them; a plain object too. */
export type NamedTensors = ReadonlyMap<string, TensorSource> | Readonly<Record<string, TensorSource>>;

/**
 * A state dict as {@link TensorReader} reads it.
 *
 * @throws CheckpointError for what holds no tensors by name, saying what does
 */
export function readAll(tensors: NamedTensors, dtype?: FloatDtype): Map<string, HostTensor> {
  const reader = new TensorReader(dtype);
  return new Map(
    entriesOf(tensors).map(([key, tensor]) => {
      const read = typeof key === 'string' ? reader.read(tensor, key) : undefined;
      if (read !== undefined) return [key as string, read.renamed(key as string)];
      throw new CheckpointError(
        `cannot save ${typeof key === 'string' ? `'${key}'` : `the key ${String(key)}`}: expected tensors by name, ` +
          `got ${kindOf(tensor)}; saveTorch() and encodeTorch() take other values, too`,
      );
    }),
  );
}

function entriesOf(tensors: unknown): readonly (readonly [unknown, unknown])[] {
  if (tensors instanceof Map) return [...(tensors as ReadonlyMap<unknown, unknown>)];
  if (isPlainObject(tensors)) {
    const entries = Object.entries(tensors);
    if (entries.length > 0) return entries;
    throw new CheckpointError(
      'cannot save an object without entries: pass model.stateDict(), or Object.fromEntries(map) of a Map, ' +
        'whose spread { ...map } is empty',
    );
  }
  throw new CheckpointError(
    `cannot save ${kindOf(tensors)}: expected a Map or an object of tensors by name, such as model.stateDict()`,
  );
}

/** @throws CheckpointError unless `path` can be one; `call` shows the order of the arguments */
export function checkPath(call: string, path: unknown): void {
  if (typeof path === 'string' && path !== '') return;
  const got = path === '' ? "''" : kindOf(path);
  throw new CheckpointError(
    `${call.replace(/\(.*/, '')}: expected the path of a file, got ${got}; the order is ${call}`,
  );
}

function kindOf(value: unknown): string {
  if (isTensor(value) || value instanceof HostTensor) return 'a tensor';
  if (typeof value === 'function') return 'a model or function';
  if (typeof value !== 'object' || value === null) return String(value);
  return value instanceof Promise
    ? 'a promise (await it first)'
    : `an object (${value.constructor?.name ?? 'no class'})`;
}
