/** Just enough of the ZIP format (PKWARE APPNOTE 6.3) to find and read entries in ranges: stored or deflated, zip64. */

import type { ByteRange, ByteSource } from './byte-source.js';
import { checkRange, readRange, sliceSource } from './byte-source.js';
import { allocate, CheckpointError, quote } from './errors.js';

const signatures = {
  local: 0x04034b50,
  central: 0x02014b50,
  end: 0x06054b50,
  end64: 0x06064b50,
  locator64: 0x07064b50,
};
const endSize = 22;
const locatorSize = 20;
const end64Size = 56;
const localSize = 30;
const centralSize = 46;
// Deflate cannot do better than 1032:1, so a higher claim is a lie.
const maxInflation = 1100;

export interface ZipEntry {
  readonly name: string;
  /** Bytes once uncompressed. */
  readonly size: number;
  readonly compressedSize: number;
  readonly compressed: boolean;
  readonly headerOffset: number;
}

const dataView = (bytes: Uint8Array) => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

/** A 64-bit field; past 2^53 it is nonsense, and still large enough to fail every range check. */
const u64 = (view: DataView, at: number) => Number(view.getBigUint64(at, true));

/** Lists an archive's entries by name. Throws a {@link CheckpointError} for anything that is not a whole ZIP file. */
export async function readZipDirectory(source: ByteSource): Promise<Map<string, ZipEntry>> {
  const { offset, size, count } = await findDirectory(source);
  const bytes = await readRange(source, offset, size, 'the zip directory');
  const view = dataView(bytes);
  const entries = new Map<string, ZipEntry>();
  let at = 0;
  for (let i = 0; i < count; i++) {
    if (at + centralSize > size || view.getUint32(at, true) !== signatures.central) {
      throw new CheckpointError(
        `${source.name}: corrupt zip: directory entry ${i} of ${count} is not where it should be`,
      );
    }
    const nameLength = view.getUint16(at + 28, true);
    const extraLength = view.getUint16(at + 30, true);
    const next = at + centralSize + nameLength + extraLength + view.getUint16(at + 32, true);
    if (next > size)
      throw new CheckpointError(`${source.name}: corrupt zip: directory entry ${i} of ${count} is cut off`);
    const nameBytes = bytes.subarray(at + centralSize, at + centralSize + nameLength);
    const entry = parseEntry(source, view, at, new TextDecoder().decode(nameBytes), offset);
    if (entries.has(entry.name))
      throw new CheckpointError(`${source.name}: corrupt zip: two entries are called ${quote(entry.name)}`);
    entries.set(entry.name, entry);
    at = next;
  }
  return entries;
}

function parseEntry(
  source: ByteSource,
  view: DataView,
  at: number,
  name: string,
  directory: number,
): ZipEntry {
  const flags = view.getUint16(at + 8, true);
  const method = view.getUint16(at + 10, true);
  if (flags & 1) throw new CheckpointError(`${source.name}: zip entry ${quote(name)} is encrypted`);
  if (method !== 0 && method !== 8) {
    throw new CheckpointError(
      `${source.name}: zip entry ${quote(name)} uses compression method ${method}; only stored and deflate are read`,
    );
  }
  let compressedSize = view.getUint32(at + 20, true);
  let size = view.getUint32(at + 24, true);
  let headerOffset = view.getUint32(at + 42, true);
  const nameLength = view.getUint16(at + 28, true);
  const extraEnd = at + centralSize + nameLength + view.getUint16(at + 30, true);
  for (let extra = at + centralSize + nameLength; extra + 4 <= extraEnd;) {
    const length = view.getUint16(extra + 2, true);
    if (view.getUint16(extra, true) === 1) {
      // The zip64 field holds, in this order, only those of the three that did not fit.
      let field = extra + 4;
      const end = Math.min(extraEnd, field + length);
      const wide = (narrow: number) => {
        if (narrow !== 0xffffffff || field + 8 > end) return narrow;
        field += 8;
        return u64(view, field - 8);
      };
      size = wide(size);
      compressedSize = wide(compressedSize);
      headerOffset = wide(headerOffset);
    }
    extra += 4 + length;
  }
  if (headerOffset + localSize + nameLength + compressedSize > directory) {
    throw new CheckpointError(
      `${source.name}: corrupt zip: entry ${quote(name)} reaches past the data into the directory`,
    );
  }
  const compressed = method === 8;
  if (compressed ? size > maxInflation * (compressedSize + 1) : size !== compressedSize) {
    throw new CheckpointError(
      `${source.name}: corrupt zip: entry ${quote(name)} claims ${size} bytes from ${compressedSize}`,
    );
  }
  return { name, size, compressedSize, compressed, headerOffset };
}

/** Where the central directory lies, from the record at the end of the file. */
async function findDirectory(source: ByteSource): Promise<{ offset: number; size: number; count: number }> {
  const tailStart = Math.max(0, source.size - endSize - locatorSize - 0xffff);
  const view = dataView(await source.read(tailStart, source.size - tailStart));
  let end = view.byteLength - endSize;
  while (
    end >= 0 &&
    (view.getUint32(end, true) !== signatures.end ||
      end + endSize + view.getUint16(end + 20, true) > view.byteLength)
  )
    end--;
  if (end < 0) {
    throw new CheckpointError(
      `${source.name}: truncated: this is a zip archive whose directory, at its end, is missing ` +
        `(the file has ${source.size} bytes); download or copy it again`,
    );
  }
  let count = view.getUint16(end + 10, true);
  let size = view.getUint32(end + 12, true);
  let offset = view.getUint32(end + 16, true);
  let limit = tailStart + end;
  const locator = end - locatorSize;
  if (locator >= 0 && view.getUint32(locator, true) === signatures.locator64) {
    const end64 = u64(view, locator + 8);
    const record = dataView(await readRange(source, end64, end64Size, 'the zip64 directory record'));
    if (record.getUint32(0, true) !== signatures.end64) {
      throw new CheckpointError(
        `${source.name}: corrupt zip: the zip64 directory record is not at byte ${end64}`,
      );
    }
    count = u64(record, 32);
    size = u64(record, 40);
    offset = u64(record, 48);
    limit = end64;
  }
  if (offset + size > limit || count * centralSize > size) {
    throw new CheckpointError(
      `${source.name}: corrupt zip: a directory of ${count} entries and ${size} bytes does not fit at byte ${offset}`,
    );
  }
  return { offset, size, count };
}

/** The uncompressed bytes of an entry, as a range that is located, and if need be inflated, at its first read. */
export function zipEntryRange(source: ByteSource, entry: ZipEntry): ByteRange {
  let located: Promise<ByteRange> | undefined;
  let inflated: WeakRef<Uint8Array> | undefined;
  let stream: InflateStream | undefined;
  const what = `zip entry ${quote(entry.name)}`;
  return {
    size: entry.size,
    async read(offset, length, into) {
      checkRange({ name: `${source.name} (${what})`, size: entry.size }, offset, length, 'a read');
      located ??= locate(source, entry, what);
      const data = await located;
      if (!entry.compressed) return data.read(offset, length, into);
      if (entry.size > wholeAtOnce) {
        stream ??= new InflateStream(data, entry.size, `${source.name}: ${what}`);
        return stream.read(offset, length);
      }
      let bytes = inflated?.deref();
      if (bytes === undefined) {
        bytes = await inflate(data, entry.size, `${source.name}: ${what}`);
        inflated = new WeakRef(bytes);
      }
      return bytes.subarray(offset, offset + length);
    },
  };
}

async function locate(source: ByteSource, entry: ZipEntry, what: string): Promise<ByteRange> {
  const view = dataView(await readRange(source, entry.headerOffset, localSize, `the header of ${what}`));
  if (view.getUint32(0, true) !== signatures.local) {
    throw new CheckpointError(
      `${source.name}: corrupt zip: the header of ${what} is not at byte ${entry.headerOffset}`,
    );
  }
  // Its extra field may differ from the directory's: PyTorch pads it so that the data is 64-byte aligned.
  const start = entry.headerOffset + localSize + view.getUint16(26, true) + view.getUint16(28, true);
  return sliceSource(source, start, entry.compressedSize, what);
}

/** Deflated entries up to this size are inflated as a whole, larger ones piece by piece as they are read. */
const wholeAtOnce = 16 * 1024 ** 2;
const compressedPiece = 1024 ** 2;

/** Reads that follow each other inflate on from where the last one ended; one that goes back begins anew. */
class InflateStream {
  private reader: ReadableStreamDefaultReader<Uint8Array> | undefined;
  private position = 0;
  private rest: Uint8Array = new Uint8Array(0);
  private queue: Promise<unknown> = Promise.resolve();

  constructor(
    private readonly data: ByteRange,
    private readonly size: number,
    private readonly what: string,
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
      this.rest = new Uint8Array(0);
    }
    const out = allocate(length, this.what);
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
        }
        const skip = Math.min(this.rest.length, Math.max(0, offset - this.position));
        this.position += skip;
        const take = Math.min(this.rest.length - skip, length - filled);
        if (this.position >= offset) {
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
    return out;
  }

  private async expectEnd(): Promise<void> {
    let more = this.rest.length;
    for (let part = await this.reader!.read(); !part.done && more === 0; part = await this.reader!.read())
      more = part.value.length;
    if (more > 0) throw new CheckpointError(`${this.what} inflates to more than its ${this.size} bytes`);
    await this.close();
  }

  private async close(): Promise<void> {
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

function corrupt(error: unknown, what: string): CheckpointError {
  if (error instanceof CheckpointError) return error;
  return new CheckpointError(`${what} is corrupt: its compressed data cannot be inflated`, { cause: error });
}

async function inflate(data: ByteRange, size: number, what: string): Promise<Uint8Array> {
  const out = allocate(size, what);
  let filled = 0;
  const reader = inflating(data);
  try {
    for (let part = await reader.read(); !part.done; part = await reader.read()) {
      if (filled + part.value.length > size)
        throw new CheckpointError(`${what} inflates to more than its ${size} bytes`);
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
