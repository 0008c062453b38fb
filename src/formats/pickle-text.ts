/** Literals of pickle protocol 0, whose arguments are text lines. */

import { CheckpointError, quote } from './errors.js';

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

// Parsing decimal digits takes quadratic time; no count or seed in a weight file is this long.
const maxDigits = 2048;
const maxLongBytes = 1024;

/** A number where it is exact, a BigInt beyond 2^53. */
export function fromBigInt(value: bigint): number | bigint {
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : value;
}

export function parseInteger(text: string): number | bigint {
  const digits = text.endsWith('L') ? text.slice(0, -1) : text;
  if (!/^[+-]?\d+$/.test(digits) || digits.length > maxDigits) {
    throw new CheckpointError(`bad integer ${quote(text, 40)}`);
  }
  return fromBigInt(BigInt(digits));
}

export function parseFloatLiteral(text: string): number {
  if (text === 'nan' || text === '-nan') return NaN;
  if (text === 'inf') return Infinity;
  if (text === '-inf') return -Infinity;
  if (!/^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(text)) {
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

export function decodeUtf8(bytes: Uint8Array): string {
  try {
    return utf8.decode(bytes);
  } catch {
    throw new CheckpointError('a string is not valid UTF-8');
  }
}

/**
 * A Python 2 `str`: text where it is UTF-8, else its bytes. Encoding the text as UTF-8 gives the bytes back, which is
 * how {@link https://numpy.org numpy} data from Python 2 survives.
 */
export function decodePython2String(bytes: Uint8Array): string | Uint8Array {
  try {
    return utf8.decode(bytes);
  } catch {
    return bytes.slice();
  }
}

export function latin1(bytes: Uint8Array): string {
  let text = '';
  for (let i = 0; i < bytes.length; i += 8192) text += String.fromCharCode(...bytes.subarray(i, i + 8192));
  return text;
}

const simpleEscapes: Readonly<Record<string, string>> = {
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
};

/** A quoted Python 2 string literal (`S'...'`). */
export function parseQuoted(line: Uint8Array): string | Uint8Array {
  const text = latin1(line).trim();
  const mark = text[0];
  if (text.length < 2 || (mark !== "'" && mark !== '"') || text[text.length - 1] !== mark) {
    throw new CheckpointError('a string literal is not quoted');
  }
  const plain = text
    .slice(1, -1)
    .replace(/\\(x[0-9a-fA-F]{2}|[0-7]{1,3}|[\s\S])/g, (whole: string, escape: string) => {
      if (/^x[0-9a-fA-F]{2}$/.test(escape)) return String.fromCharCode(parseInt(escape.slice(1), 16));
      if (/^[0-7]+$/.test(escape)) return String.fromCharCode(parseInt(escape, 8) & 255);
      return simpleEscapes[escape] ?? whole;
    });
  return decodePython2String(Uint8Array.from(plain, (character) => character.charCodeAt(0)));
}

/** Python's `raw-unicode-escape` codec (`V...`). */
export function parseRawUnicode(line: Uint8Array): string {
  return latin1(line).replace(
    /\\u([0-9a-fA-F]{4})|\\U([0-9a-fA-F]{8})/g,
    (_, short?: string, long?: string) => {
      const code = parseInt(short ?? long ?? '', 16);
      if (code > 0x10ffff) throw new CheckpointError('a string escape is past the last Unicode character');
      return String.fromCodePoint(code);
    },
  );
}
