import type { DownloadProgress, ExpectedSize, Fetch } from './transfer.js';

export interface DownloadOptions {
  readonly url: string | URL;
  /**
   * The first hexadecimal digits, at least 8, of the file's SHA-256. Without them the content is not checked,
   * and what is in the cache is used for ever.
   */
  readonly sha256Prefix?: string | undefined;
  /** Bytes the file must have, or MiB to three decimals; an answer of another length is refused at once. */
  readonly size?: number | { readonly mebibytes: number } | undefined;
  /** Instead of `cacheFolder()` (Node), or the name of the Cache (browsers; default `kindling`). */
  readonly cacheDir?: string | undefined;
  readonly onProgress?: ((progress: DownloadProgress) => void) | undefined;
  /** Told of waits for another process, of resumed downloads and damaged files. */
  readonly onMessage?: ((message: string) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Instead of the global one: through a proxy, with a token, ... */
  readonly fetch?: Fetch | undefined;
  /** Failures in a row, without getting further, after which to give up. Default 4. */
  readonly retries?: number | undefined;
  /** Longest silence of the server in milliseconds. Default 30,000. */
  readonly stallTimeout?: number | undefined;
  /** Milliseconds before the second attempt, doubled for each further one. Default 500. */
  readonly retryDelay?: number | undefined;
  /** Milliseconds after which a silent process no longer counts as downloading (Node). Default 15,000. */
  readonly staleLockAfter?: number | undefined;
  /** Serve from the cache or fail. Default: whether the environment has KINDLING_OFFLINE=1. */
  readonly offline?: boolean | undefined;
}

/** @internal */
export function settings(options: DownloadOptions) {
  const { fetch: given, retries = 4, stallTimeout = 30_000, retryDelay = 500, signal, onProgress } = options;
  const own: typeof fetch = (input, init) => globalThis.fetch(input, init);
  return { fetch: given ?? own, retries, stallTimeout, retryDelay, signal, onProgress };
}

/** @internal @throws RangeError for something that is no beginning of a SHA-256 */
export function checkedPrefix(prefix: string | undefined): string | undefined {
  if (prefix === undefined) return undefined;
  const lower = prefix.toLowerCase();
  if (/^[0-9a-f]{8,64}$/.test(lower)) return lower;
  throw new RangeError(`downloadFile: sha256Prefix must be 8 to 64 hexadecimal digits, got '${prefix}'`);
}

/** @internal */
export function expectedSize(size: DownloadOptions['size']): ExpectedSize | undefined {
  if (size === undefined) return undefined;
  if (typeof size === 'number') return { bytes: size, within: 0 };
  // Three decimals of a MiB are 1049 bytes apart.
  return { bytes: Math.round(size.mebibytes * 2 ** 20), within: 1049 };
}

/** @internal The last part of a URL's path, as a name that any file system takes. */
export function fileNameOf(url: string | URL): string {
  const { pathname, hostname } = new URL(url);
  const last = pathname.split('/').filter(Boolean).at(-1) ?? hostname;
  let name = last;
  try {
    name = decodeURIComponent(last);
  } catch {
    // A stray `%` is a name like any other.
  }
  return (
    name
      .replace(/[^\w.+-]/g, '_')
      .replace(/^\.+/, '_')
      .slice(-100) || 'file'
  );
}
