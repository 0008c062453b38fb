/**
 * ZIP archives of stored entries (PKWARE APPNOTE 6.3), written front to back as `torch.save` and
 * `numpy.savez` do.
 */

import { crc32 } from './crc32.js';
import { CheckpointError, quote } from './errors.js';
import type { FileLayout } from './layout.js';
import { hasLoneSurrogates } from './surrogates.js';

export interface ZipPart {
  readonly name: string;
  readonly size: number;
  chunks(): AsyncIterable<Uint8Array> | Iterable<Uint8Array>;
}

export interface ZipOptions {
  /**
   * Data of every entry starts at a multiple of this. Default 64, as PyTorch has it, so that files can be
   * mapped.
   */
  readonly alignment?: number;
  /** @internal Sizes and offsets from here on take 64-bit fields; tests lower it. */
  readonly zip64From?: number;
}

const signatures = {
  local: 0x04034b50,
  descriptor: 0x08074b50,
  central: 0x02014b50,
  end: 0x06054b50,
  end64: 0x06064b50,
  locator64: 0x07064b50,
};
/** Bit 3: checksum and sizes follow the data; bit 11: names are UTF-8. */
const flags = 0x0808;
/** 1 January 1980: the same content gives the same file. */
const date = 0x21;
const paddingId = 0x4246; // 'FB', as PyTorch writes it

/** Little-endian fields one after the other. */
class Fields {
  private readonly bytes: number[] = [];

  u16(...values: number[]): this {
    for (const value of values) this.bytes.push(value & 0xff, (value >>> 8) & 0xff);
    return this;
  }

  u32(...values: number[]): this {
    for (const value of values) this.u16(value & 0xffff, value >>> 16);
    return this;
  }

  u64(...values: number[]): this {
    for (const value of values) this.u32(value % 2 ** 32, Math.floor(value / 2 ** 32));
    return this;
  }

  raw(bytes: Uint8Array): this {
    for (const byte of bytes) this.bytes.push(byte);
    return this;
  }

  done(): Uint8Array {
    return Uint8Array.from(this.bytes);
  }
}

interface Placed {
  readonly part: ZipPart;
  readonly name: Uint8Array;
  readonly wide: boolean;
  readonly offset: number;
  readonly header: Uint8Array;
  crc: number;
}

/** Lays out an archive. Checksums are taken while the data passes and follow it, so nothing is read twice. */
export function layoutZip(parts: readonly ZipPart[], options: ZipOptions = {}): FileLayout {
  const { alignment = 64, zip64From = 0xffffffff } = options;
  const encoder = new TextEncoder();
  const names = new Set<string>();
  const placed: Placed[] = [];
  let at = 0;
  for (const part of parts) {
    if (names.has(part.name)) throw new CheckpointError(`zip: two entries are called ${quote(part.name)}`);
    names.add(part.name);
    if (hasLoneSurrogates(part.name))
      throw new CheckpointError(
        `zip: the name ${JSON.stringify(part.name)} is no Unicode text (it has half of a surrogate pair)`,
      );
    const name = encoder.encode(part.name);
    const wide = part.size >= zip64From;
    const header = localHeader(name, part.size, wide, at, alignment);
    placed.push({ part, name, wide, offset: at, header, crc: 0 });
    at += header.length + part.size + (wide ? 24 : 16);
  }
  const directoryAt = at;
  // Field widths do not depend on checksums, so the size is known before they are.
  const size = directoryAt + directory(placed, directoryAt, zip64From).length;
  return {
    size,
    async *chunks() {
      for (const entry of placed) {
        yield entry.header;
        let written = 0;
        let crc = 0;
        for await (const chunk of entry.part.chunks()) {
          crc = crc32(chunk, crc);
          written += chunk.length;
          yield chunk;
        }
        if (written !== entry.part.size) {
          throw new CheckpointError(
            `zip: entry ${quote(entry.part.name)} gave ${written} bytes, not ${entry.part.size}`,
          );
        }
        entry.crc = crc;
        const after = new Fields().u32(signatures.descriptor, crc);
        yield (entry.wide ? after.u64(written, written) : after.u32(written, written)).done();
      }
      yield directory(placed, directoryAt, zip64From);
    },
  };
}

function localHeader(
  name: Uint8Array,
  size: number,
  wide: boolean,
  offset: number,
  alignment: number,
): Uint8Array {
  const zip64 = wide ? new Fields().u16(1, 16).u64(size, size).done() : new Uint8Array(0);
  const unpadded = offset + 30 + name.length + zip64.length;
  let padding = new Uint8Array(0);
  if (unpadded % alignment !== 0) {
    const length = (alignment - ((unpadded + 4) % alignment)) % alignment;
    padding = new Uint8Array(4 + length).fill(0x5a);
    padding.set(new Fields().u16(paddingId, length).done());
  }
  const narrow = wide ? 0xffffffff : 0;
  return new Fields()
    .u32(signatures.local)
    .u16(wide ? 45 : 20, flags, 0, 0, date)
    .u32(0, narrow, narrow)
    .u16(name.length, zip64.length + padding.length)
    .raw(name)
    .raw(zip64)
    .raw(padding)
    .done();
}

/** The central directory and the records that end the file. */
function directory(entries: readonly Placed[], start: number, zip64From: number): Uint8Array {
  const pieces: Uint8Array[] = [];
  let size = 0;
  for (const { part, name, wide, offset, crc } of entries) {
    const far = offset >= zip64From;
    const extra = new Fields();
    if (wide || far) extra.u16(1, (wide ? 16 : 0) + (far ? 8 : 0));
    if (wide) extra.u64(part.size, part.size);
    if (far) extra.u64(offset);
    const extraBytes = extra.done();
    const version = extraBytes.length > 0 ? 45 : 20;
    const narrow = wide ? 0xffffffff : part.size;
    const record = new Fields()
      .u32(signatures.central)
      .u16(version, version, flags, 0, 0, date)
      .u32(crc, narrow, narrow)
      .u16(name.length, extraBytes.length, 0, 0, 0)
      .u32(0, far ? 0xffffffff : offset)
      .done();
    for (const piece of [record, name, extraBytes]) {
      pieces.push(piece);
      size += piece.length;
    }
  }
  const count = entries.length;
  const wide = count >= 0xffff || start >= zip64From || size >= zip64From;
  if (wide) {
    pieces.push(
      new Fields()
        .u32(signatures.end64)
        .u64(44)
        .u16(45, 45)
        .u32(0, 0)
        .u64(count, count, size, start)
        .u32(signatures.locator64, 0)
        .u64(start + size)
        .u32(1)
        .done(),
    );
  }
  const narrowCount = wide ? 0xffff : count;
  pieces.push(
    new Fields()
      .u32(signatures.end)
      .u16(0, 0, narrowCount, narrowCount)
      .u32(wide ? 0xffffffff : size, wide ? 0xffffffff : start)
      .u16(0)
      .done(),
  );
  const bytes = new Uint8Array(pieces.reduce((sum, piece) => sum + piece.length, 0));
  let at = 0;
  for (const piece of pieces) {
    bytes.set(piece, at);
    at += piece.length;
  }
  return bytes;
}
