/**
 * Just enough of the ZIP format (PKWARE APPNOTE 6.3) to find and read entries in ranges: stored or deflated,
 * zip64.
 */

import type { ByteRange, ByteSource } from './byte-source.js';
import { checkRange, readRange, sliceSource } from './byte-source.js';
import { checkCrc, checkedRange } from './checked-range.js';
import { crc32 } from './crc32.js';
import { CheckpointError, quote } from './errors.js';
import { inflate, InflateStream, largestWhole } from './inflate.js';
import { defaultReading } from './limits.js';

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
  /** Checksum of the name's bytes, which stand before the data again. */
  readonly nameCrc: number;
  /** Of the uncompressed bytes; null where the writer left it out. */
  readonly crc: number | null;
}

/**
 * An entry's uncompressed bytes. `read` gives none before all of them have been found to have the archive's
 * checksum.
 */
export interface ZipRange extends ByteRange {
  /** The first bytes, unchecked: a header is read without reading the data behind it. */
  head(length: number): Promise<Uint8Array>;
}

/** Bytes of host memory that an entry of the directory takes. */
const entryCost = 400;

const dataView = (bytes: Uint8Array) => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

/** A 64-bit field; past 2^53 it is nonsense, and still large enough to fail every range check. */
const u64 = (view: DataView, at: number) => Number(view.getBigUint64(at, true));

/**
 * Lists an archive's entries by name. Throws a {@link CheckpointError} for anything that is not a whole ZIP
 * file.
 */
export async function readZipDirectory(
  source: ByteSource,
  budget = defaultReading(source).budget,
): Promise<Map<string, ZipEntry>> {
  const { offset, size, count } = await findDirectory(source);
  budget.checkTensors(count, 'entries');
  budget.hold(entryCost * count);
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
    const entry = parseEntry(source, view, at, nameBytes, offset);
    if (entries.has(entry.name))
      throw new CheckpointError(`${source.name}: corrupt zip: two entries are called ${quote(entry.name)}`);
    entries.set(entry.name, entry);
    at = next;
  }
  if (at !== size) {
    throw new CheckpointError(
      `${source.name}: corrupt zip: the ${count} entries of its directory take ${at} bytes, and it has ${size}`,
    );
  }
  return entries;
}

function parseEntry(
  source: ByteSource,
  view: DataView,
  at: number,
  nameBytes: Uint8Array,
  directory: number,
): ZipEntry {
  const name = new TextDecoder().decode(nameBytes);
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
  const crc = view.getUint32(at + 16, true);
  if (compressed ? size > maxInflation * (compressedSize + 1) : size !== compressedSize) {
    throw new CheckpointError(
      `${source.name}: corrupt zip: entry ${quote(name)} claims ${size} bytes from ${compressedSize}`,
    );
  }
  // PyTorch can be told to leave checksums out (set_crc32_options).
  return {
    name,
    size,
    compressedSize,
    compressed,
    headerOffset,
    nameCrc: crc32(nameBytes),
    crc: crc === 0 ? null : crc,
  };
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

/**
 * The uncompressed bytes of an entry, as a range that is located, and if need be inflated, at its first read.
 * With `verify` bytes are given only once the entry has its checksum; of a large compressed entry, piece by
 * piece, the last piece is.
 */
export function zipEntryRange(source: ByteSource, entry: ZipEntry, verify = true): ZipRange {
  const { size, compressed } = entry;
  const what = `zip entry ${quote(entry.name)}`;
  const label = `${source.name}: ${what}`;
  const expected = verify ? entry.crc : null;
  const check = (crc: number): void => {
    if (expected !== null) checkCrc(label, crc, expected);
  };
  let located: Promise<ByteRange> | undefined;
  const locateOnce = () => (located ??= locate(source, entry, what));
  let opened: Promise<ByteRange> | undefined;
  const open = async (): Promise<ByteRange> => {
    const data = await locateOnce();
    if (compressed)
      return size > largestWhole
        ? new InflateStream(data, size, label, expected === null ? undefined : check)
        : inflatedRange(data);
    return expected === null ? data : checkedRange(data, expected, label);
  };
  const inflatedRange = (data: ByteRange): ByteRange => {
    let whole: WeakRef<Uint8Array> | undefined;
    return {
      size,
      async read(offset, length) {
        let bytes = whole?.deref();
        if (bytes === undefined) {
          bytes = await inflate(data, size, label);
          if (expected !== null) check(crc32(bytes));
          whole = new WeakRef(bytes);
        }
        return bytes.subarray(offset, offset + length);
      },
    };
  };
  return {
    size,
    async read(offset, length, into) {
      checkRange({ name: `${source.name} (${what})`, size }, offset, length, 'a read');
      return (await (opened ??= open())).read(offset, length, into);
    },
    async head(length) {
      const data = await locateOnce();
      const wanted = Math.min(length, size);
      if (!compressed) return data.read(0, wanted);
      const start = new InflateStream(data, size, label);
      try {
        return await start.read(0, wanted);
      } finally {
        await start.close();
      }
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
  const nameLength = view.getUint16(26, true);
  const name = await readRange(source, entry.headerOffset + localSize, nameLength, `the header of ${what}`);
  if (crc32(name) !== entry.nameCrc)
    throw new CheckpointError(`${source.name}: corrupt zip: the header of ${what} has another name`);
  // Its extra field may differ from the directory's: PyTorch pads it so that the data is 64-byte aligned.
  const start = entry.headerOffset + localSize + nameLength + view.getUint16(28, true);
  return sliceSource(source, start, entry.compressedSize, what);
}
