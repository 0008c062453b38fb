/** Bytes that are handed out only once all of them are known to be those that were written. */

import type { ByteRange } from './byte-source.js';
import { crc32 } from './crc32.js';
import { CheckpointError } from './errors.js';

// Ranges up to this size are read as a whole; of larger ones the checksum takes a pass of its own over the file.
const wholePiece = 8 * 1024 ** 2;

/** A range whose bytes are given only if together they have this CRC-32; `label` is the file's name and the range's. */
export function checkedRange(range: ByteRange, expected: number, label: string): ByteRange {
  const { size } = range;
  let whole: WeakRef<Uint8Array> | undefined;
  let passed = false;
  let pass: Promise<void> | undefined;

  const check = async (): Promise<void> => {
    let crc = 0;
    for (let at = 0; at < size; at += wholePiece)
      crc = crc32(await range.read(at, Math.min(wholePiece, size - at)), crc);
    checkCrc(label, crc, expected);
    passed = true;
  };
  return {
    size,
    async read(offset, length, into) {
      if (!passed && (size <= wholePiece || length === size)) {
        const bytes = whole?.deref() ?? (await range.read(0, size, length === size ? into : undefined));
        checkCrc(label, crc32(bytes), expected);
        // What is in memory already is not read again; the memory of others may be used for something else.
        if (bytes.buffer !== into?.buffer) whole = new WeakRef(bytes);
        passed = true;
        return offset === 0 && length === size ? bytes : bytes.subarray(offset, offset + length);
      }
      // Not kept when it fails, so that a disk that failed once is asked again.
      if (!passed) await (pass ??= check().finally(() => (pass = undefined)));
      const kept = whole?.deref();
      return kept === undefined ? range.read(offset, length, into) : kept.subarray(offset, offset + length);
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
