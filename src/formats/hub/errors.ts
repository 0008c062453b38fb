import { CheckpointError } from '../errors.js';

/**
 * A download that failed for good; the message starts with the file's name and says what is kept and what to
 * do.
 */
export class DownloadError extends CheckpointError {
  override readonly name: string = 'DownloadError';
}

/** What went wrong underneath: `fetch failed` alone helps nobody. */
export function reasonOf(error: unknown): string {
  let at = error;
  while (at instanceof Error && at.cause instanceof Error) at = at.cause;
  if (!(at instanceof Error)) return String(at);
  const { code } = at as NodeJS.ErrnoException;
  const text = at.message === '' ? at.name : at.message;
  return code === undefined || text.includes(code) ? text : `${text} (${code})`;
}
