import type { ByteRange } from './byte-source.js';
import { memorySource } from './byte-source.js';
import { allocate, CheckpointError, formatBytes } from './errors.js';
import { decodeFloat32, decodeInt32, encodeNumbers, itemSize, wordSize } from './dtypes.js';
import type { HostDtype } from './dtypes.js';

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
}

// A file of a few bytes can claim a huge tensor by stride 0; a real expanded tensor is never this large.
const maxExpandedBytes = 2 ** 30;
const maxDimensions = 64;

/**
 * A tensor in a weight file: a typed, strided view over bytes that stay where they are (on disk, in a Blob, in memory)
 * until asked for. Reading a checkpoint tensor by tensor therefore needs the memory of one tensor, not of the file.
 *
 * The constructor throws a {@link CheckpointError} if shape, strides and offset do not lie inside the storage.
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
    );
  }

  /**
   * A tensor from numbers in C order, converted to `dtype` (halves round to nearest even; integers must be whole and in
   * range). A typed array that already has the dtype is shared, not copied.
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
    return new HostTensor({ ...this.#init, name });
  }

  /**
   * The elements as little-endian bytes in C order. Read on every call and not kept. The array may share memory with
   * the buffer the checkpoint was loaded from: read it, do not write to it.
   */
  async bytes(): Promise<Uint8Array> {
    const { storage, bigEndian, offset = 0 } = this.#init;
    const item = itemSize[this.dtype];
    if (this.size === 0) return new Uint8Array(0);
    let bytes: Uint8Array;
    if (isContiguous(this.shape, this.strides)) {
      bytes = await storage.read(offset * item, this.byteLength);
      if (bigEndian) bytes = bytes.slice();
    } else {
      const span = extent(this.shape, this.strides) * item;
      bytes = gather(
        await storage.read(offset * item, span),
        this.shape,
        this.strides,
        this.dtype,
        this.#what(),
      );
    }
    if (bigEndian) swapWords(bytes, wordSize(this.dtype));
    return bytes;
  }

  /** The elements as float32 in C order; every real dtype converts as `tensor.float()` does. Complex throws. */
  async toFloat32Array(): Promise<Float32Array> {
    return decodeFloat32(await this.bytes(), this.dtype, this.#what());
  }

  /** The elements of an integer or bool tensor as int32; a value outside int32 throws an Error naming the key. */
  async toInt32Array(): Promise<Int32Array> {
    return decodeInt32(await this.bytes(), this.dtype, this.#what());
  }

  /** The elements of a uint8 or bool tensor; other dtypes throw. */
  async toUint8Array(): Promise<Uint8Array> {
    if (this.dtype === 'uint8') return this.bytes();
    if (this.dtype === 'bool') return (await this.bytes()).map((byte) => (byte === 0 ? 0 : 1));
    throw new CheckpointError(`${this.#what()}: holds ${this.dtype}, not uint8 or bool`);
  }

  #what(): string {
    return this.name === '' ? 'tensor' : `tensor '${this.name}'`;
  }
}

export function contiguousStrides(shape: readonly number[]): number[] {
  const strides = new Array<number>(shape.length);
  let step = 1;
  for (let d = shape.length - 1; d >= 0; d--) {
    strides[d] = step;
    step *= Math.max(1, shape[d]!);
  }
  return strides;
}

/** Strides of dimensions with one element do not matter. */
function isContiguous(shape: readonly number[], strides: readonly number[]): boolean {
  let step = 1;
  for (let d = shape.length - 1; d >= 0; d--) {
    if (shape[d] !== 1 && strides[d] !== step) return false;
    step *= shape[d]!;
  }
  return true;
}

/** Elements from the first to the last one that a non-empty view touches. */
function extent(shape: readonly number[], strides: readonly number[]): number {
  return shape.reduce((sum, dim, d) => sum + (dim - 1) * strides[d]!, 1);
}

/** Checks a layout against its storage and returns the number of elements. */
function checkLayout(
  what: string,
  shape: readonly number[],
  strides: readonly number[],
  offset: number,
  dtype: HostDtype,
  storageBytes: number,
): number {
  const whole = (value: number) => Number.isSafeInteger(value) && value >= 0;
  const layout = `shape [${shape.slice(0, 16).join(', ')}], strides [${strides.slice(0, 16).join(', ')}], offset ${offset}`;
  if (shape.length !== strides.length || shape.length > maxDimensions) {
    throw new CheckpointError(
      `${what}: ${shape.length} dimensions but ${strides.length} strides (at most 64)`,
    );
  }
  if (!shape.every(whole) || !strides.every(whole) || !whole(offset)) {
    throw new CheckpointError(`${what}: sizes, strides and offset must be whole numbers, not ${layout}`);
  }
  if (shape.includes(0)) return 0;
  const size = shape.reduce((product, dim) => product * dim, 1);
  const last = offset + extent(shape, strides);
  if (!Number.isSafeInteger(last) || last * itemSize[dtype] > storageBytes) {
    throw new CheckpointError(
      `${what}: ${dtype} view reaches past its storage of ${storageBytes} bytes (${layout}); the file is corrupt`,
    );
  }
  const bytes = size * itemSize[dtype];
  if (!Number.isSafeInteger(size) || (bytes > storageBytes && bytes > maxExpandedBytes)) {
    throw new CheckpointError(
      `${what}: expands a storage of ${formatBytes(storageBytes)} to ${formatBytes(bytes)} (${layout}); refused`,
    );
  }
  return size;
}

/** Copies a strided view to C order. `raw` starts at the view's first element. */
function gather(
  raw: Uint8Array,
  shape: readonly number[],
  strides: readonly number[],
  dtype: HostDtype,
  what: string,
): Uint8Array {
  const item = itemSize[dtype];
  if (item === 16) return gatherWords(raw, [...shape, 2], [...strides.map((s) => 2 * s), 1], 8, what);
  return gatherWords(raw, shape, strides, item, what);
}

function gatherWords(
  raw: Uint8Array,
  shape: readonly number[],
  strides: readonly number[],
  word: number,
  what: string,
): Uint8Array {
  const size = shape.reduce((product, dim) => product * dim, 1);
  const bytes = allocate(size * word, what);
  const from = raw.byteOffset % word === 0 ? raw : raw.slice();
  if (word === 1) gatherInto(from, bytes, shape, strides);
  else if (word === 2) gatherInto(words(Uint16Array, from), words(Uint16Array, bytes), shape, strides);
  else if (word === 4) gatherInto(words(Uint32Array, from), words(Uint32Array, bytes), shape, strides);
  // Moving doubles would be faster, but may change the bits of a NaN.
  else gatherInto(words(BigUint64Array, from), words(BigUint64Array, bytes), shape, strides);
  return bytes;
}

function words<T>(
  type: { new (buffer: ArrayBufferLike, byteOffset: number, length: number): T; BYTES_PER_ELEMENT: number },
  bytes: Uint8Array,
): T {
  return new type(bytes.buffer, bytes.byteOffset, bytes.byteLength / type.BYTES_PER_ELEMENT);
}

function gatherInto<T extends number | bigint>(
  from: { readonly [index: number]: T },
  to: { [index: number]: T; readonly length: number },
  shape: readonly number[],
  strides: readonly number[],
): void {
  const inner = shape[shape.length - 1] ?? 1;
  const step = strides[strides.length - 1] ?? 0;
  const index = new Array<number>(Math.max(0, shape.length - 1)).fill(0);
  let start = 0;
  for (let out = 0; out < to.length;) {
    for (let i = 0, at = start; i < inner; i++, at += step) to[out++] = from[at]!;
    for (let d = index.length - 1; d >= 0; d--) {
      start += strides[d]!;
      if (++index[d]! < shape[d]!) break;
      start -= strides[d]! * shape[d]!;
      index[d] = 0;
    }
  }
}

function swapWords(bytes: Uint8Array, word: number): void {
  if (word === 1) return;
  for (let i = 0; i + word <= bytes.length; i += word) bytes.subarray(i, i + word).reverse();
}
