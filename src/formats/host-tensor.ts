import type { ByteRange } from './byte-source.js';
import { memorySource } from './byte-source.js';
import { convertBytes, decodeFloat32, decodeInt32, encodeNumbers, itemSize, wordSize } from './dtypes.js';
import type { HostDtype } from './dtypes.js';
import { CheckpointError, quoteKey } from './errors.js';
import { chunkBytes } from './layout.js';
import {
  checkLayout,
  contiguousStrides,
  extent,
  gather,
  isContiguous,
  spanOfRange,
  swapWords,
} from './strided.js';

/** What a {@link HostTensor} is made of. */
export interface HostTensorInit {
  /** The key it has in its file; used in error messages. */
  readonly name?: string;
  readonly dtype: HostDtype;
  readonly shape: readonly number[];
  /** In elements; contiguous (C order) if absent. */
  readonly strides?: readonly number[];
  /** First element's index in the storage. */
  readonly offset?: number;
  /** Where the storage's bytes are; read on demand. */
  readonly storage: ByteRange;
  readonly bigEndian?: boolean;
  readonly requiresGrad?: boolean;
  /** What errors call the file. */
  readonly file?: string | undefined;
  /** Bytes that a stride of 0 may add to twice the storage's. Default 64 MiB. */
  readonly maxExpandedBytes?: number;
}

/**
 * A tensor in a weight file: a typed, strided view over bytes that stay where they are (on disk, in a Blob,
 * in memory) until asked for. Reading a checkpoint tensor by tensor therefore needs the memory of one tensor,
 * not of the file.
 *
 * The constructor throws a {@link CheckpointError} if shape, strides and offset do not lie inside the
 * storage.
 */
export class HostTensor {
  readonly name: string;
  readonly dtype: HostDtype;
  readonly shape: readonly number[];
  /** Strides in the file, in elements. {@link bytes} always gives C order. */
  readonly strides: readonly number[];
  readonly requiresGrad: boolean;
  /** Number of elements. */
  readonly size: number;
  readonly #init: HostTensorInit;

  constructor(init: HostTensorInit) {
    this.#init = init;
    this.name = init.name ?? '';
    this.dtype = init.dtype;
    this.shape = Object.freeze([...init.shape]);
    this.strides = Object.freeze([...(init.strides ?? contiguousStrides(init.shape))]);
    this.requiresGrad = init.requiresGrad ?? false;
    this.size = checkLayout(
      this.#what(),
      this.shape,
      this.strides,
      init.offset ?? 0,
      this.dtype,
      init.storage.size,
      init.maxExpandedBytes,
    );
  }

  /**
   * A tensor from numbers in C order, converted to `dtype` (halves round to nearest even; integers must be
   * whole and in range). A typed array that already has the dtype is shared, not copied.
   */
  static from(
    dtype: HostDtype,
    shape: readonly number[],
    values: ArrayLike<number> | ArrayLike<bigint>,
    options: { name?: string; requiresGrad?: boolean } = {},
  ): HostTensor {
    const what = options.name ? `tensor ${options.name}` : 'tensor';
    const bytes = encodeNumbers(values, dtype, what);
    const expected = shape.reduce((product, dim) => product * dim, 1);
    if (expected !== values.length) {
      throw new CheckpointError(
        `${what}: shape [${shape.join(', ')}] needs ${expected} values, got ${values.length}`,
      );
    }
    return new HostTensor({ ...options, dtype, shape, storage: memorySource(bytes, what) });
  }

  /** A tensor over little-endian bytes in C order, which it shares. */
  static fromBytes(
    dtype: HostDtype,
    shape: readonly number[],
    bytes: Uint8Array,
    options: { name?: string; requiresGrad?: boolean } = {},
  ): HostTensor {
    return new HostTensor({
      ...options,
      dtype,
      shape,
      storage: memorySource(bytes, options.name ?? 'tensor'),
    });
  }

  /** Size in bytes once contiguous. */
  get byteLength(): number {
    return this.size * itemSize[this.dtype];
  }

  /** The same tensor under another key. */
  renamed(name: string): HostTensor {
    return name === this.name ? this : new HostTensor({ ...this.#init, name });
  }

  /** Where the storage's bytes are. Tensors that share memory in their file have the same object here. */
  get storage(): ByteRange {
    return this.#init.storage;
  }

  /** First element's index in the storage. */
  get offset(): number {
    return this.#init.offset ?? 0;
  }

  /** Whether the storage's words are big-endian; {@link bytes} never are. */
  get bigEndian(): boolean {
    return this.#init.bigEndian ?? false;
  }

  /**
   * The same tensor as another dtype, converted piece by piece as it is read: floating point as
   * `tensor.to(dtype)` does, by way of float32; integers exactly, or a {@link CheckpointError} where a value
   * does not fit.
   */
  to(dtype: HostDtype): HostTensor {
    if (dtype === this.dtype) return this;
    const { name, shape, requiresGrad, size } = this;
    const item = itemSize[dtype];
    const storage: ByteRange = {
      size: size * item,
      read: async (offset, length) => {
        const bytes = await this.range(offset / item, length / item);
        return convertBytes(bytes, this.dtype, dtype, this.#what());
      },
    };
    return new HostTensor({ name, dtype, shape, requiresGrad, storage, file: this.#init.file });
  }

  /**
   * The elements as little-endian bytes in C order. Read on every call and not kept. The array may share
   * memory with the buffer the checkpoint was loaded from: read it, do not write to it.
   */
  bytes(): Promise<Uint8Array> {
    return this.range(0, this.size);
  }

  /**
   * As {@link bytes}, for `count` elements from `start` on, in C order. `into` is memory that may be used for
   * them.
   */
  async range(start: number, count: number, into?: Uint8Array): Promise<Uint8Array> {
    if (!(start >= 0 && count >= 0 && start + count <= this.size)) {
      throw new CheckpointError(
        `${this.#what()}: elements ${start} to ${start + count} of ${this.size} were asked for`,
      );
    }
    if (count === 0) return new Uint8Array(0);
    const { shape, strides, dtype, storage, offset } = this;
    const item = itemSize[dtype];
    if (isContiguous(shape, strides)) {
      const bytes = await storage.read((offset + start) * item, count * item, into);
      return this.#little(bytes, bytes.buffer === into?.buffer);
    }
    const { first, last } = spanOfRange(shape, strides, start, count);
    const raw = await storage.read((offset + first) * item, (last - first + 1) * item);
    const range = { start, count, origin: first };
    return this.#little(gather(raw, shape, strides, dtype, range, this.#what()), true);
  }

  /**
   * As {@link bytes}, in pieces of at most `maxBytes`, so that a tensor of any size needs little memory. A
   * piece is valid until the next one is asked for. Views whose neighbours in C order lie far apart in memory
   * are read at once.
   */
  async *chunks(maxBytes = chunkBytes): AsyncGenerator<Uint8Array, void, undefined> {
    const { shape, strides, dtype, size, storage, offset } = this;
    const item = itemSize[dtype];
    const step = Math.max(1, Math.floor(maxBytes / item));
    if (size === 0) return;
    const whole = extent(shape, strides);
    const { first, last } = spanOfRange(shape, strides, 0, Math.min(step, size));
    const scattered = size > step && !isContiguous(shape, strides) && last - first >= 2 * step;
    const raw = scattered ? await storage.read(offset * item, whole * item) : undefined;
    const into = new Uint8Array(Math.min(step, size) * item);
    for (let start = 0; start < size; start += step) {
      const count = Math.min(step, size - start);
      yield raw === undefined
        ? await this.range(start, count, into)
        : this.#little(gather(raw, shape, strides, dtype, { start, count, origin: 0 }, this.#what()), true);
    }
  }

  /** {@link toFloat32Array} in pieces of at most `maxElements`, each valid until the next is asked for. */
  async *float32Chunks(maxElements: number): AsyncGenerator<Float32Array, void, undefined> {
    for await (const bytes of this.chunks(maxElements * itemSize[this.dtype]))
      yield decodeFloat32(bytes, this.dtype, this.#what());
  }

  /** {@link toInt32Array} in pieces of at most `maxElements`, each valid until the next is asked for. */
  async *int32Chunks(maxElements: number): AsyncGenerator<Int32Array, void, undefined> {
    for await (const bytes of this.chunks(maxElements * itemSize[this.dtype]))
      yield decodeInt32(bytes, this.dtype, this.#what());
  }

  /**
   * The elements as float32 in C order; every real dtype converts as `tensor.float()` does. Complex throws.
   */
  async toFloat32Array(): Promise<Float32Array> {
    return decodeFloat32(await this.bytes(), this.dtype, this.#what());
  }

  /**
   * The elements of an integer or bool tensor as int32; a value outside int32 throws an Error naming the key.
   */
  async toInt32Array(): Promise<Int32Array> {
    return decodeInt32(await this.bytes(), this.dtype, this.#what());
  }

  /** The elements of a uint8 or bool tensor; other dtypes throw. */
  async toUint8Array(): Promise<Uint8Array> {
    if (this.dtype === 'uint8') return this.bytes();
    if (this.dtype === 'bool') return (await this.bytes()).map((byte) => (byte === 0 ? 0 : 1));
    throw new CheckpointError(`${this.#what()}: holds ${this.dtype}, not uint8 or bool`);
  }

  #little(bytes: Uint8Array, own: boolean): Uint8Array {
    if (!this.bigEndian) return bytes;
    const swapped = own ? bytes : bytes.slice();
    swapWords(swapped, wordSize(this.dtype));
    return swapped;
  }

  #what(): string {
    const { file } = this.#init;
    const own = this.name === '' ? 'tensor' : `tensor ${quoteKey(this.name)}`;
    return file === undefined ? own : `${file}: ${own}`;
  }
}
