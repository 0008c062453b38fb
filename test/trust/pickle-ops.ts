/**
 * Lengths of pickle opcodes with their arguments (Python's `Lib/pickletools.py`), written apart from the
 * reader under test.
 */

const fixed: Readonly<Record<string, number>> = {
  '\x80': 2, J: 5, K: 2, M: 3, G: 9, h: 2, j: 5, q: 2, r: 5, '\x82': 2, '\x83': 3, '\x84': 5, '\x95': 9,
}; // prettier-ignore
const lines: Readonly<Record<string, number>> = {
  I: 1,
  L: 1,
  F: 1,
  S: 1,
  V: 1,
  g: 1,
  p: 1,
  P: 1,
  c: 2,
  i: 2,
};
/** Bytes of the length that follows the opcode. */
const counted: Readonly<Record<string, 1 | 4 | 8>> = {
  '\x8a': 1, U: 1, C: 1, '\x8c': 1, '\x8b': 4, T: 4, X: 4, B: 4, '\x8d': 8, '\x8e': 8, '\x96': 8,
}; // prettier-ignore

/** Bytes of the opcode at `at`; more than there are where its argument is cut off. */
export function opLengths(bytes: Uint8Array, at: number): number {
  const code = String.fromCharCode(bytes[at]!);
  const known = fixed[code];
  if (known !== undefined) return known;
  const count = lines[code];
  if (count !== undefined) {
    let end = at;
    for (let i = 0; i < count; i++) {
      end = bytes.indexOf(10, end + 1);
      if (end < 0) return bytes.length - at;
    }
    return end + 1 - at;
  }
  const width = counted[code];
  if (width === undefined) return 1;
  let length = 0;
  for (let i = Math.min(width, 6); i > 0; i--) length = length * 256 + (bytes[at + i] ?? 0);
  return 1 + width + length;
}
