/** Strided views over bytes: their checks, and their elements in C order. */

import { itemSize } from './dtypes.js';
import type { HostDtype } from './dtypes.js';
import { allocate, CheckpointError, formatBytes } from './errors.js';
import { defaultLimits } from './limits.js';

const maxDimensions = 64;

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
export function isContiguous(shape: readonly number[], strides: readonly number[]): boolean {
  let step = 1;
  for (let d = shape.length - 1; d >= 0; d--) {
    if (shape[d] !== 1 && strides[d] !== step) return false;
    step *= shape[d]!;
  }
  return true;
}

/** Elements from the first to the last one that a non-empty view touches. */
export function extent(shape: readonly number[], strides: readonly number[]): number {
  return shape.reduce((sum, dim, d) => sum + (dim - 1) * strides[d]!, 1);
}

/** Checks a layout against its storage and returns the number of elements. */
export function checkLayout(
  what: string,
  shape: readonly number[],
  strides: readonly number[],
  offset: number,
  dtype: HostDtype,
  storageBytes: number,
  maxExpandedBytes = defaultLimits.expandedBytes,
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
  // A file of a few bytes can claim a huge tensor by a stride of 0; a real expanded tensor is never this
  // large.
  if (!Number.isSafeInteger(bytes) || bytes > 2 * storageBytes + maxExpandedBytes) {
    throw new CheckpointError(
      `${what}: expands a storage of ${formatBytes(storageBytes)} to ${formatBytes(bytes)} (${layout}), more than twice its ` +
        `size and ${formatBytes(maxExpandedBytes)}; refused. If you trust the file, raise the bound: ` +
        `{ limits: { expandedBytes: ${bytes} } }`,
    );
  }
  return size;
}

/**
 * The part of a view that some of its elements, neighbours in C order, lie in: storage elements `[first,
 * last]`.
 */
export function spanOfRange(
  shape: readonly number[],
  strides: readonly number[],
  start: number,
  count: number,
): { readonly first: number; readonly last: number } {
  const from = unravel(shape, start);
  const to = unravel(shape, start + count - 1);
  let first = 0;
  let last = 0;
  let d = 0;
  // Up to the first dim in which the two differ both have one index; past it every index may occur.
  for (; d < shape.length && from[d] === to[d]; d++) {
    first += from[d]! * strides[d]!;
    last += from[d]! * strides[d]!;
  }
  if (d < shape.length) {
    first += from[d]! * strides[d]!;
    last += to[d]! * strides[d]!;
    for (d++; d < shape.length; d++) last += (shape[d]! - 1) * strides[d]!;
  }
  return { first, last };
}

function unravel(shape: readonly number[], flat: number): number[] {
  const index = new Array<number>(shape.length);
  for (let d = shape.length - 1, rest = flat; d >= 0; d--) {
    index[d] = rest % shape[d]!;
    rest = Math.floor(rest / shape[d]!);
  }
  return index;
}

/** Which elements of a view to copy, and where `raw` begins. */
export interface GatherRange {
  /** In C order. */
  readonly start: number;
  readonly count: number;
  /** Storage element at which the bytes begin, from the view's first. */
  readonly origin: number;
}

/** Copies a range of a strided view to C order. */
export function gather(
  raw: Uint8Array,
  shape: readonly number[],
  strides: readonly number[],
  dtype: HostDtype,
  range: GatherRange,
  what: string,
): Uint8Array {
  const item = itemSize[dtype];
  if (item !== 16) return gatherWords(raw, shape, strides, range, item, what);
  const { start, count, origin } = range;
  const doubled = { start: 2 * start, count: 2 * count, origin: 2 * origin };
  return gatherWords(raw, [...shape, 2], [...strides.map((s) => 2 * s), 1], doubled, 8, what);
}

function gatherWords(
  raw: Uint8Array,
  shape: readonly number[],
  strides: readonly number[],
  range: GatherRange,
  word: number,
  what: string,
): Uint8Array {
  const bytes = allocate(range.count * word, what);
  const from = raw.byteOffset % word === 0 ? raw : raw.slice();
  if (word === 1) gatherInto(from, bytes, shape, strides, range);
  else if (word === 2) gatherInto(words(Uint16Array, from), words(Uint16Array, bytes), shape, strides, range);
  else if (word === 4) gatherInto(words(Uint32Array, from), words(Uint32Array, bytes), shape, strides, range);
  // Moving doubles would be faster, but may change the bits of a NaN.
  else gatherInto(words(BigUint64Array, from), words(BigUint64Array, bytes), shape, strides, range);
  return bytes;
}

function words<T>(
  type: { new (buffer: ArrayBufferLike, byteOffset: number, length: number): T; BYTES_PER_ELEMENT: number },
  bytes: Uint8Array,
): T {
  return new type(bytes.buffer, bytes.byteOffset, Math.floor(bytes.byteLength / type.BYTES_PER_ELEMENT));
}

function gatherInto<T extends number | bigint>(
  from: { readonly [index: number]: T },
  to: { [index: number]: T; readonly length: number },
  shape: readonly number[],
  strides: readonly number[],
  { start, count, origin }: GatherRange,
): void {
  const inner = shape[shape.length - 1] ?? 1;
  const step = strides[strides.length - 1] ?? 0;
  const index = unravel(shape, start);
  let column = index.pop() ?? 0;
  let row = index.reduce((sum, i, d) => sum + i * strides[d]!, -origin);
  for (let out = 0; out < count; column = 0) {
    const end = Math.min(inner, column + count - out);
    for (let i = column, at = row + column * step; i < end; i++, at += step) to[out++] = from[at]!;
    for (let d = index.length - 1; d >= 0; d--) {
      row += strides[d]!;
      if (++index[d]! < shape[d]!) break;
      row -= strides[d]! * shape[d]!;
      index[d] = 0;
    }
  }
}

/** Reverses the bytes of each word, in place. */
export function swapWords(bytes: Uint8Array, word: number): void {
  if (word === 1) return;
  for (let i = 0, last = bytes.length - word; i <= last; i += word) {
    for (let a = i, b = i + word - 1; a < b; a++, b--) {
      const byte = bytes[a]!;
      bytes[a] = bytes[b]!;
      bytes[b] = byte;
    }
  }
}
