import { printable, printableLines } from '../tensor/printable.js';

/** A message quotes names and lists of keys, which a file may make as long as it likes. */
const longestMessage = 32_768;

/**
 * A weight file that cannot be read or written; the message starts with the file's name and says what was
 * wrong. Messages are safe to print: control characters of names in the file are spelled out (`\x1b`).
 */
export class CheckpointError extends Error {
  override readonly name: string = 'CheckpointError';

  constructor(message: string, options?: ErrorOptions) {
    const more = message.length - longestMessage;
    const text = more > 0 ? `${message.slice(0, longestMessage)}... (${more} characters more)` : message;
    super(printableLines(text), options);
  }
}

/**
 * The error with the file's name in front, unless it is there already. What is no CheckpointError becomes
 * one.
 */
export function inFile(file: string, error: unknown, where = ''): CheckpointError {
  const message = error instanceof Error ? error.message : String(error);
  // Parts of files are named `file (part)` or `file: part`.
  if (error instanceof CheckpointError && message.startsWith(file)) return error;
  const place = where === '' ? '' : `${where}: `;
  const what = error instanceof CheckpointError ? message : `cannot be read: ${message}`;
  return new CheckpointError(`${file}: ${place}${what}`, { cause: error });
}

/**
 * Allocates bytes for `what`; too large a request becomes a {@link CheckpointError} instead of a bare
 * RangeError.
 */
export function allocate(bytes: number, what: string): Uint8Array<ArrayBuffer> {
  try {
    return new Uint8Array(bytes);
  } catch (cause) {
    throw new CheckpointError(`${what}: cannot allocate ${formatBytes(bytes)} of host memory`, { cause });
  }
}

export function formatBytes(bytes: number): string {
  if (bytes < 1024) return `${bytes} bytes`;
  const units = ['KiB', 'MiB', 'GiB', 'TiB'];
  let value = bytes;
  let unit = -1;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${value.toFixed(1)} ${units[unit]}`;
}

const cut = (text: string, limit: number): string =>
  text.length > limit ? `${text.slice(0, limit)}...` : text;

/** A value from a file, quoted and shortened so that it can stand in an error message. */
export function quote(text: string, limit = 120): string {
  return JSON.stringify(cut(text, limit));
}

/** A key or a name from a file, as {@link quote} but in single quotes, which messages have around keys. */
export function quoteKey(text: string, limit = 200): string {
  return `'${printable(cut(text, limit))}'`;
}
