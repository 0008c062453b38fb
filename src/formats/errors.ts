/** A weight file that cannot be read or written; the message starts with the file's name and says what was wrong. */
export class CheckpointError extends Error {
  override readonly name: string = 'CheckpointError';
}

/** Allocates bytes for `what`; too large a request becomes a {@link CheckpointError} instead of a bare RangeError. */
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

/** A value from a file, quoted and shortened so that it can stand in an error message. */
export function quote(text: string, limit = 120): string {
  return JSON.stringify(text.length > limit ? `${text.slice(0, limit)}...` : text);
}
