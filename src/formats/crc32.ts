/** CRC-32 as ZIP uses it (ISO 3309, reflected polynomial 0xedb88320). */

type Crc32 = (bytes: Uint8Array, previous: number) => number;

const slices = 8;
let tables: Uint32Array | undefined;

/**
 * tables[256 * k + b]: the remainder of byte b followed by k zero bytes (Intel's "slicing by 8", Kounavis and
 * Berry 2005).
 */
function makeTables(): Uint32Array {
  const made = new Uint32Array(256 * slices);
  for (let byte = 0; byte < 256; byte++) {
    let crc = byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
    made[byte] = crc;
  }
  for (let i = 256; i < made.length; i++) {
    const before = made[i - 256]!;
    made[i] = (before >>> 8) ^ made[before & 0xff]!;
  }
  return made;
}

/** @internal The version for platforms without one of their own. */
export const portableCrc32: Crc32 = (bytes, previous) => {
  const t = (tables ??= makeTables());
  let crc = ~previous;
  let i = 0;
  for (const end = bytes.length - 7; i < end; i += 8) {
    crc ^= bytes[i]! | (bytes[i + 1]! << 8) | (bytes[i + 2]! << 16) | (bytes[i + 3]! << 24);
    crc =
      t[1792 + (crc & 0xff)]! ^
      t[1536 + ((crc >>> 8) & 0xff)]! ^
      t[1280 + ((crc >>> 16) & 0xff)]! ^
      t[1024 + (crc >>> 24)]! ^
      t[768 + bytes[i + 4]!]! ^
      t[512 + bytes[i + 5]!]! ^
      t[256 + bytes[i + 6]!]! ^
      t[bytes[i + 7]!]!;
  }
  for (; i < bytes.length; i++) crc = (crc >>> 8) ^ t[(crc ^ bytes[i]!) & 0xff]!;
  return ~crc >>> 0;
};

/** Node 20.15 and later have it in native code, several times faster. */
function platformCrc32(): Crc32 | undefined {
  if (typeof process !== 'object' || typeof process.getBuiltinModule !== 'function') return undefined;
  const zlib = process.getBuiltinModule('node:zlib') as { crc32?: Crc32 };
  return zlib.crc32;
}

let chosen: Crc32 | undefined;

/** The checksum of bytes that follow others whose checksum is `previous`. */
export function crc32(bytes: Uint8Array, previous = 0): number {
  chosen ??= platformCrc32() ?? portableCrc32;
  return chosen(bytes, previous);
}
