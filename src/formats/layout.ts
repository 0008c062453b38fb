import { allocate, CheckpointError } from './errors.js';

/** A file to be written: its size is known before any tensor has been read. */
export interface FileLayout {
  readonly size: number;
  /**
   * The bytes in order, piece by piece; tensors are read as their turn comes. A piece is valid until the next
   * one is asked for: its memory may be used again.
   */
  chunks(): AsyncGenerator<Uint8Array, void, undefined>;
  /**
   * What is known only once all chunks have been taken, such as a checksum that has its place before the
   * data: bytes to write over those at an offset. A file without them is as good, only less is known about
   * it.
   */
  patches?(): readonly Patch[];
}

export interface Patch {
  readonly offset: number;
  readonly bytes: Uint8Array;
}

/** Tensors are read and written in pieces of this many bytes. */
export const chunkBytes = 8 * 1024 ** 2;

/** The whole file in memory. */
export async function collect(layout: FileLayout, what: string): Promise<Uint8Array<ArrayBuffer>> {
  const bytes = allocate(layout.size, what);
  let at = 0;
  for await (const chunk of layout.chunks()) {
    if (at + chunk.length > bytes.length)
      throw new CheckpointError(`${what}: more than the ${layout.size} bytes that were laid out`);
    bytes.set(chunk, at);
    at += chunk.length;
  }
  for (const { offset, bytes: patch } of layout.patches?.() ?? []) bytes.set(patch, offset);
  return bytes;
}
