/** Literals of pickle protocol 0, whose arguments are text lines. */

import { CheckpointError, quote } from './errors.js';
import { hasLoneSurrogates } from './surrogates.js';

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

// Parsing decimal digits takes quadratic time; no count, seed or float in a weight file is this long.
const maxDigits = 2048;
const maxLongBytes = 1024;

/** A number where it is exact, a BigInt beyond 2^53. */
export function fromBigInt(value: bigint): number | bigint {
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : value;
}

export function parseInteger(text: string): number | bigint {
  const digits = text.endsWith('L') ? text.slice(0, -1) : text;
  if (digits.length > maxDigits || !/^[+-]?\d+$/.test(digits)) {
    throw new CheckpointError(`bad integer ${quote(text, 40)}`);
  }
  return fromBigInt(BigInt(digits));
}

export function parseFloatLiteral(text: string): number {
  if (text === 'nan' || text === '-nan') return NaN;
  if (text === 'inf') return Infinity;
  if (text === '-inf') return -Infinity;
  // Each digit can be matched in one way only, so that a bad number is refused in linear time.
  if (text.length > maxDigits || !/^[+-]?(\d+(\.\d*)?|\.\d+)(e[+-]?\d+)?$/i.test(text)) {
    throw new CheckpointError(`bad number ${quote(text, 40)}`);
  }
  return Number(text);
}

/** Little-endian two's complement of any length. */
export function decodeLong(bytes: Uint8Array): number | bigint {
  if (bytes.length === 0) return 0;
  if (bytes.length > maxLongBytes) throw new CheckpointError(`integer of ${bytes.length} bytes`);
  let hex = '';
  for (let i = bytes.length - 1; i >= 0; i--) hex += bytes[i]!.toString(16).padStart(2, '0');
  return fromBigInt(BigInt.asIntN(8 * bytes.length, BigInt(`0x${hex}`)));
}

/**
 * Python's `surrogatepass`: a name of a file that is no text has lone surrogates in Python (PEP 383), and
 * pickles write each in three bytes that UTF-8 does not allow.
 */
export function decodeUtf8(bytes: Uint8Array): string {
  try {
    return utf8.decode(bytes);
  } catch {
    return decodeSurrogates(bytes);
  }
}

/** The reverse of {@link decodeUtf8}, as Python's pickle writes a string. */
export function encodeUtf8(text: string): Uint8Array {
  if (!hasLoneSurrogates(text)) return new TextEncoder().encode(text);
  const bytes: number[] = [];
  for (const character of text) {
    const code = character.codePointAt(0)!;
    if (code < 0xd800 || code > 0xdfff) bytes.push(...new TextEncoder().encode(character));
    else bytes.push(0xed, 0x80 | ((code >> 6) & 63), 0x80 | (code & 63));
  }
  return Uint8Array.from(bytes);
}

function decodeSurrogates(bytes: Uint8Array): string {
  let text = '';
  let start = 0;
  try {
    for (let i = 0; i + 2 < bytes.length; i++) {
      const [a, b, c] = [bytes[i]!, bytes[i + 1]!, bytes[i + 2]!];
      if (a !== 0xed || b < 0xa0 || b > 0xbf || c < 0x80 || c > 0xbf) continue;
      text +=
        utf8.decode(bytes.subarray(start, i)) + String.fromCharCode(0xd000 | ((b & 63) << 6) | (c & 63));
      start = i + 3;
      i += 2;
    }
    return text + utf8.decode(bytes.subarray(start));
  } catch {
    throw new CheckpointError('a string is not valid UTF-8');
  }
}

/**
 * A Python 2 `str`: text where it is UTF-8, else its bytes. Encoding the text as UTF-8 gives the bytes back,
 * which is how {@link https://numpy.org numpy} data from Python 2 survives.
 */
export function decodePython2String(bytes: Uint8Array): string | Uint8Array {
  try {
    return utf8.decode(bytes);
  } catch {
    return bytes.slice();
  }
}

const code = (character: string): number => character.charCodeAt(0);

const simpleEscapes: ReadonlyMap<number, number> = new Map(
  Object.entries({
    '\\': '\\',
    "'": "'",
    '"': '"',
    a: '\x07',
    b: '\b',
    f: '\f',
    n: '\n',
    r: '\r',
    t: '\t',
    v: '\v',
  }).map(([letter, meaning]) => [code(letter), code(meaning)]),
);
const backslash = code('\\');
const space = (byte: number | undefined): boolean =>
  byte === 32 || (byte !== undefined && byte >= 9 && byte <= 13);

/** Value of the hexadecimal digits at `[at, at + count)`, or -1 where there are others. */
function hexDigits(bytes: Uint8Array, at: number, count: number): number {
  if (at + count > bytes.length) return -1;
  let value = 0;
  for (let i = at; i < at + count; i++) {
    const byte = bytes[i]!;
    const letter = byte | 32;
    const digit = byte >= 48 && byte <= 57 ? byte - 48 : letter >= 97 && letter <= 102 ? letter - 87 : -1;
    if (digit < 0) return -1;
    value = value * 16 + digit;
  }
  return value;
}

/**
 * A quoted Python 2 string literal (`S'...'`). Byte by byte, so that it takes no more memory than it has
 * characters.
 */
export function parseQuoted(line: Uint8Array): string | Uint8Array {
  let start = 0;
  let end = line.length;
  while (start < end && space(line[start])) start++;
  while (end > start && space(line[end - 1])) end--;
  const mark = line[start];
  if (end - start < 2 || (mark !== code("'") && mark !== code('"')) || line[end - 1] !== mark)
    throw new CheckpointError('a string literal is not quoted');
  const text = line.subarray(start + 1, end - 1);
  const bytes = new Uint8Array(text.length);
  let length = 0;
  for (let i = 0; i < text.length;) {
    const byte = text[i++]!;
    if (byte !== backslash || i === text.length) {
      bytes[length++] = byte;
      continue;
    }
    const letter = text[i]!;
    const hex = letter === code('x') ? hexDigits(text, i + 1, 2) : -1;
    let octal = 0;
    let digits = 0;
    while (digits < 3 && (text[i + digits]! & 0xf8) === 48) octal = octal * 8 + text[i + digits++]! - 48;
    if (hex >= 0) {
      bytes[length++] = hex;
      i += 3;
    } else if (digits > 0) {
      bytes[length++] = octal & 255;
      i += digits;
    } else {
      const meaning = simpleEscapes.get(letter);
      // Python keeps the backslash of an escape that it does not know.
      if (meaning === undefined) bytes[length++] = backslash;
      bytes[length++] = meaning ?? letter;
      i++;
    }
  }
  return decodePython2String(bytes.subarray(0, length));
}

/** Python's `raw-unicode-escape` codec (`V...`). */
export function parseRawUnicode(line: Uint8Array): string {
  // An escape is longer than the one or two code units that it stands for.
  const units = new Uint16Array(line.length);
  let length = 0;
  for (let i = 0; i < line.length;) {
    const byte = line[i]!;
    const digits = byte !== backslash ? 0 : line[i + 1] === code('u') ? 4 : line[i + 1] === code('U') ? 8 : 0;
    const point = digits === 0 ? -1 : hexDigits(line, i + 2, digits);
    if (point < 0) {
      units[length++] = byte;
      i++;
      continue;
    }
    if (point > 0x10ffff) throw new CheckpointError('a string escape is past the last Unicode character');
    if (point < 0x10000) units[length++] = point;
    else {
      units[length++] = 0xd800 + ((point - 0x10000) >> 10);
      units[length++] = 0xdc00 + ((point - 0x10000) & 0x3ff);
    }
    i += 2 + digits;
  }
  let text = '';
  for (let i = 0; i < length; i += 8192)
    text += String.fromCharCode(...units.subarray(i, Math.min(length, i + 8192)));
  return text;
}
