import { printable } from '../tensor/printable.js';
import { CheckpointError, formatBytes } from './errors.js';

/** Bytes that can be read in ranges: a file, a Blob or memory. */
export interface ByteSource {
  /** How error messages call it: a path, safe to print, or `ArrayBuffer`. */
  readonly name: string;
  /** Where a file is. */
  readonly path?: string;
  /** Length in bytes. */
  readonly size: number;
  /**
   * Exactly `length` bytes from `offset`, or a {@link CheckpointError}. The array may share memory with the
   * source: read it, do not write to it. A source that has to copy may do so to the start of `into`, where
   * that is long enough.
   */
  read(offset: number, length: number, into?: Uint8Array): Promise<Uint8Array>;
}

/** A range of a source, as the home of one tensor storage. */
export type ByteRange = Pick<ByteSource, 'size' | 'read'>;

/**
 * Throws unless `[offset, offset + length)` lies inside the source. `what` names the thing that needs those
 * bytes.
 */
export function checkRange(
  source: Pick<ByteSource, 'name' | 'size'>,
  offset: number,
  length: number,
  what: string,
): void {
  if (offset >= 0 && length >= 0 && offset + length <= source.size) return;
  throw new CheckpointError(
    `${source.name}: truncated or corrupt: ${what} needs bytes ${offset} to ${offset + length}, ` +
      `but the file ends at byte ${source.size} (${formatBytes(Math.max(0, offset + length - source.size))} missing)`,
  );
}

/** Reads a range after checking that the source holds it. */
export function readRange(
  source: ByteSource,
  offset: number,
  length: number,
  what: string,
): Promise<Uint8Array> {
  checkRange(source, offset, length, what);
  return source.read(offset, length);
}

/** Reads from memory without copying. */
export function memorySource(data: ArrayBuffer | Uint8Array, name?: string): ByteSource {
  const bytes = data instanceof Uint8Array ? data : new Uint8Array(data);
  const label = printable(name ?? (data instanceof Uint8Array ? 'Uint8Array' : 'ArrayBuffer'));
  return {
    name: label,
    size: bytes.byteLength,
    async read(offset, length) {
      checkRange({ name: label, size: bytes.byteLength }, offset, length, 'a read');
      return bytes.subarray(offset, offset + length);
    },
  };
}

/** Reads a Blob (or a File the user picked) range by range. */
export function blobSource(blob: Blob, name?: string): ByteSource {
  const label = printable(name ?? ('name' in blob && typeof blob.name === 'string' ? blob.name : 'Blob'));
  return {
    name: label,
    size: blob.size,
    async read(offset, length) {
      checkRange({ name: label, size: blob.size }, offset, length, 'a read');
      return new Uint8Array(await blob.slice(offset, offset + length).arrayBuffer());
    },
  };
}

/** The part of a source that starts at `start`; `what` names it if a read leaves it. */
export function sliceSource(source: ByteSource, start: number, size: number, what: string): ByteRange {
  checkRange(source, start, size, what);
  return {
    size,
    read(offset, length, into) {
      checkRange({ name: `${source.name} (${what})`, size }, offset, length, 'a read');
      return source.read(start + offset, length, into);
    },
  };
}

/** Each byte as the character of its number. */
export function latin1(bytes: Uint8Array): string {
  let text = '';
  for (let i = 0; i < bytes.length; i += 8192) text += String.fromCharCode(...bytes.subarray(i, i + 8192));
  return text;
}
