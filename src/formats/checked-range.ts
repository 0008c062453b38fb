/** Bytes that are handed out only once all of them are known to be those that were written. */

import type { ByteRange } from './byte-source.js';
import { crc32 } from './crc32.js';
import { CheckpointError } from './errors.js';

const piece = 1024 ** 2;
/** Memory for passes over a file, used again: fresh pages cost several times as much as reading into them. */
let spare: Uint8Array | undefined;

async function crcOf(range: ByteRange): Promise<number> {
  const into = spare ?? new Uint8Array(piece);
  // Another pass may begin before this one has ended.
  spare = undefined;
  try {
    let crc = 0;
    for (let at = 0; at < range.size; at += piece)
      crc = crc32(await range.read(at, Math.min(piece, range.size - at), into), crc);
    return crc;
  } finally {
    spare = into;
  }
}

/**
 * A range whose bytes are given only if together they have this CRC-32; `label` is the file's name and the
 * range's. What is read whole is checked as it comes; before a part is read, the range is read through once.
 */
export function checkedRange(range: ByteRange, expected: number, label: string): ByteRange {
  const { size } = range;
  let passed = false;
  let pass: Promise<void> | undefined;
  const check = async (): Promise<void> => {
    checkCrc(label, await crcOf(range), expected);
    passed = true;
  };
  return {
    size,
    async read(offset, length, into) {
      if (!passed && length === size) {
        const bytes = await range.read(offset, length, into);
        checkCrc(label, crc32(bytes), expected);
        passed = true;
        return bytes;
      }
      // Not kept when it fails, so that a disk that failed once is asked again.
      if (!passed) await (pass ??= check().finally(() => (pass = undefined)));
      return range.read(offset, length, into);
    },
  };
}

const hex = (crc: number): string => crc.toString(16).padStart(8, '0');

/** @throws CheckpointError where the checksums differ */
export function checkCrc(label: string, found: number, expected: number): void {
  if (found === expected) return;
  throw new CheckpointError(
    `${label} is damaged: its checksum is ${hex(found)}, and the file says ${hex(expected)}; copy or download it again. ` +
      '{ verify: false } reads it as it is',
  );
}
