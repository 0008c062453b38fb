/** Raw deflate data, inflated as a whole or as it is asked for. */

import type { ByteRange } from './byte-source.js';
import { crc32 } from './crc32.js';
import { allocate, CheckpointError } from './errors.js';

/** Larger data is inflated piece by piece as it is read. */
export const largestWhole = 16 * 1024 ** 2;
const compressedPiece = 1024 ** 2;

/** Reads that follow each other inflate on from where the last one ended; one that goes back begins anew. */
export class InflateStream implements ByteRange {
  private reader: ReadableStreamDefaultReader<Uint8Array> | undefined;
  private position = 0;
  private crc = 0;
  private rest: Uint8Array = new Uint8Array(0);
  private queue: Promise<unknown> = Promise.resolve();

  constructor(
    private readonly data: ByteRange,
    readonly size: number,
    private readonly what: string,
    /** Given the checksum of all bytes when the last of them is read; throws where it is wrong. */
    private readonly check?: (crc: number) => void,
  ) {}

  /** One read at a time: they share the stream. */
  read(offset: number, length: number): Promise<Uint8Array> {
    const result = this.queue.then(() => this.next(offset, length));
    this.queue = result.catch(() => undefined);
    return result;
  }

  private async next(offset: number, length: number): Promise<Uint8Array> {
    if (this.reader === undefined || offset < this.position) {
      await this.close();
      this.reader = inflating(this.data);
      this.position = 0;
      this.crc = 0;
      this.rest = new Uint8Array(0);
    }
    let out = allocate(Math.min(length, largestWhole), this.what);
    let filled = 0;
    try {
      while (filled < length) {
        if (this.rest.length === 0) {
          const part = await this.reader.read();
          if (part.done) {
            const all = this.position + filled;
            throw new CheckpointError(`${this.what} inflates to ${all} bytes, not ${this.size}`);
          }
          this.rest = part.value;
          if (this.check !== undefined) this.crc = crc32(part.value, this.crc);
        }
        const skip = Math.min(this.rest.length, Math.max(0, offset - this.position));
        this.position += skip;
        const take = Math.min(this.rest.length - skip, length - filled);
        if (this.position >= offset) {
          // As much memory as there is data: the size that an entry claims may be a lie.
          if (filled + take > out.length)
            out = grown(out, filled, Math.min(length, 2 * (filled + take)), this.what);
          out.set(this.rest.subarray(skip, skip + take), filled);
          filled += take;
          this.position += take;
          this.rest = this.rest.subarray(skip + take);
        } else this.rest = this.rest.subarray(skip);
      }
      if (this.position === this.size) await this.expectEnd();
    } catch (error) {
      await this.close();
      throw corrupt(error, this.what);
    }
    return out.subarray(0, length);
  }

  private async expectEnd(): Promise<void> {
    let more = this.rest.length;
    for (let part = await this.reader!.read(); !part.done && more === 0; part = await this.reader!.read())
      more = part.value.length;
    if (more > 0) throw new CheckpointError(`${this.what} inflates to more than its ${this.size} bytes`);
    this.check?.(this.crc);
    await this.close();
  }

  async close(): Promise<void> {
    const { reader } = this;
    this.reader = undefined;
    // A stream that was read to its end or has failed has nothing left to cancel.
    await reader?.cancel().catch(() => undefined);
  }
}

/** The inflated bytes of raw deflate data, which is read as far as they are asked for. */
function inflating(data: ByteRange): ReadableStreamDefaultReader<Uint8Array> {
  let at = 0;
  const compressed = new ReadableStream<Uint8Array<ArrayBuffer>>({
    async pull(controller) {
      const length = Math.min(compressedPiece, data.size - at);
      // A copy, since the stream may take the memory of what it is given.
      if (length > 0) controller.enqueue((await data.read(at, length)).slice());
      at += length;
      if (at >= data.size) controller.close();
    },
  });
  return compressed.pipeThrough(new DecompressionStream('deflate-raw')).getReader();
}

function grown(bytes: Uint8Array, filled: number, length: number, what: string): Uint8Array<ArrayBuffer> {
  const larger = allocate(length, what);
  larger.set(bytes.subarray(0, filled));
  return larger;
}

function corrupt(error: unknown, what: string): CheckpointError {
  if (error instanceof CheckpointError) return error;
  return new CheckpointError(`${what} is corrupt: its compressed data cannot be inflated`, { cause: error });
}

export async function inflate(data: ByteRange, size: number, what: string): Promise<Uint8Array> {
  let out = allocate(Math.min(size, 64 * 1024 + 8 * data.size), what);
  let filled = 0;
  const reader = inflating(data);
  try {
    for (let part = await reader.read(); !part.done; part = await reader.read()) {
      if (filled + part.value.length > size)
        throw new CheckpointError(`${what} inflates to more than its ${size} bytes`);
      if (filled + part.value.length > out.length)
        out = grown(out, filled, Math.min(size, 2 * (filled + part.value.length)), what);
      out.set(part.value, filled);
      filled += part.value.length;
    }
  } catch (error) {
    throw corrupt(error, what);
  } finally {
    await reader.cancel().catch(() => undefined);
  }
  if (filled !== size) throw new CheckpointError(`${what} inflates to ${filled} bytes, not ${size}`);
  return out;
}
