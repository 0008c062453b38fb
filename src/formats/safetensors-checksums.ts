/**
 * The checksums in the safetensors files that kindling writes, under `kindling.crc32` in `__metadata__`:
 * eight hexadecimal digits for the header and eight for each tensor's bytes, in the header's order. The entry
 * comes first, so that its place is always the same; the header's own checksum is taken with a `-` for each
 * of the digits. Other readers see a string.
 */

import { crc32 } from './crc32.js';
import { CheckpointError } from './errors.js';

export const checksumKey = 'kindling.crc32';

const encoder = new TextEncoder();
/** Where the digits begin in the header. */
const place = encoder.encode(`{"__metadata__":{"${checksumKey}":"`);
const digits = 8;
const dash = '-'.charCodeAt(0);

const hex = (crc: number): string => crc.toString(16).padStart(digits, '0');

export class ChecksumWriter {
  private readonly crcs: (number | undefined)[];

  constructor(private readonly tensors: number) {
    this.crcs = new Array<undefined>(tensors);
  }

  /** What stands in the place of the digits until they are known. */
  get placeholder(): string {
    return '-'.repeat(digits * (this.tensors + 1));
  }

  set(tensor: number, crc: number): void {
    this.crcs[tensor] = crc;
  }

  /** The digits, once all tensors have been written. `header` has the placeholder. */
  patches(header: Uint8Array): { offset: number; bytes: Uint8Array }[] {
    if (this.crcs.includes(undefined)) return [];
    const text = [crc32(header), ...(this.crcs as number[])].map(hex).join('');
    return [{ offset: 8 + place.length, bytes: encoder.encode(text) }];
  }
}

export interface Checksums {
  /** The header's checksum as found and as written. */
  readonly header: readonly [found: number, written: number];
  tensors(index: number): number;
}

/**
 * The checksums of a file with so many tensors, whose entry is taken out of `metadata`; null where it has
 * none: another program's file, or one that was written piece by piece without the patches.
 *
 * @throws CheckpointError where the entry is there, but damaged
 */
export function readChecksums(
  header: Uint8Array,
  metadata: Map<string, string>,
  tensors: number,
): Checksums | null {
  // The first entry, even if its name is not quite right: a bit of that may have flipped.
  const [first] = metadata;
  const [key, value] = first ?? [];
  const length = digits * (tensors + 1);
  const whole = value?.length === length && /^[0-9a-f]*$/.test(value);
  const inPlace = place.every((byte, i) => header[i] === byte);
  if (key !== checksumKey) {
    // Another program may have sorted the entries, or changed the tensors they belong to.
    metadata.delete(checksumKey);
    if (key?.length !== checksumKey.length || !whole) return null;
    throw new CheckpointError(damage);
  }
  metadata.delete(checksumKey);
  if (!inPlace || /^-*$/.test(value ?? '')) return null;
  if (!whole || value === undefined) throw new CheckpointError(damage);
  const blank = header.slice();
  blank.fill(dash, place.length, place.length + length);
  const at = (i: number): number => parseInt(value.slice(digits * i, digits * (i + 1)), 16);
  return { header: [crc32(blank), at(0)], tensors: (i) => at(i + 1) };
}

const damage =
  'the checksums in the safetensors header are damaged; copy the file again. { verify: false } reads it as it is';
