/**
 * One file over HTTP, whatever the connection and the server do; where the bytes go is a {@link Sink}'s
 * affair.
 */

import { formatBytes } from '../errors.js';
import { DownloadError, reasonOf } from './errors.js';

/** What a server said of the file; tells whether bytes got earlier are still a part of it. */
export interface Origin {
  readonly etag: string | null;
  readonly lastModified: string | null;
  /** Bytes of the whole file, where the server said. */
  readonly total: number | null;
}

/** Where a download goes: a file, or memory. It may hold the first bytes already. */
export interface Sink {
  readonly length: number;
  /** What the held bytes came from; null when unknown. */
  readonly origin: Origin | null;
  /** Forgets the bytes held: what is appended from now on is the start of this file. */
  begin(origin: Origin): Promise<void>;
  append(chunk: Uint8Array): Promise<void>;
  /** For error messages: what becomes of the bytes held. */
  readonly fate: string;
}

export interface DownloadProgress {
  /** Bytes there so far, those of an earlier attempt included. */
  readonly received: number;
  /** Bytes of the whole file, or null while the server has not said. */
  readonly total: number | null;
}

/** The length a file must have, in bytes; `within` when it is only known to some digits. */
export interface ExpectedSize {
  readonly bytes: number;
  readonly within: number;
}

/** The platform's `fetch`; types of a project that has none of the web's do without it. */
export type Fetch = typeof globalThis extends { fetch: infer F }
  ? F
  : (url: string, options?: object) => Promise<unknown>;

export interface TransferOptions {
  readonly url: string;
  /** How messages call the file. */
  readonly label: string;
  readonly size?: ExpectedSize | undefined;
  /** Whether a hash will be checked at the end: then bytes may be joined that no ETag vouches for. */
  readonly hashed: boolean;
  /**
   * Whether to send `If-Range`. In browsers that header costs a preflight, which few servers of files answer.
   */
  readonly ifRange: boolean;
  readonly fetch: Fetch;
  /** What the user may do when the server cannot be reached; ends the message of giving up. */
  readonly hint?: string | undefined;
  /** Failures in a row, without getting further, after which to give up. */
  readonly retries: number;
  /** Longest silence of the server in milliseconds. */
  readonly stallTimeout: number;
  /** Milliseconds before the second attempt; doubled for each further one. */
  readonly retryDelay: number;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((progress: DownloadProgress) => void) | undefined;
}

/** Worth another try. */
class TransientError extends DownloadError {
  constructor(
    message: string,
    options: ErrorOptions = {},
    /** Milliseconds that the server asks to wait. */
    readonly retryAfter = 0,
  ) {
    super(message, options);
  }
}

const maxDelay = 30_000;
const maxAttempts = 1000;
// Less than this is no way of getting on: a server may give a few bytes per connection for ever.
const leastGain = (total: number | null): number => Math.min(1 << 20, Math.ceil((total ?? 1 << 20) / 100));

/**
 * Fills the sink with the whole file: goes on where a connection broke (`Range` with `If-Range`), starts over
 * when the server cannot or the file has changed, waits longer after each failure in a row.
 *
 * @returns whether the bytes came in more than one answer
 * @throws DownloadError when there is no point in trying on; the signal's reason when it was aborted
 */
export async function transfer(options: TransferOptions, sink: Sink): Promise<{ joined: boolean }> {
  const { signal, label, retries } = options;
  let best = sink.length;
  let failures = 0;
  for (let attempts = 1; ; attempts++) {
    signal?.throwIfAborted();
    try {
      return { joined: await attempt(options, sink) };
    } catch (error) {
      signal?.throwIfAborted();
      if (!(error instanceof TransientError)) throw error;
      if (sink.length >= best + leastGain(sink.origin?.total ?? null)) failures = 0;
      best = Math.max(best, sink.length);
      failures++;
      if (failures > retries || attempts >= maxAttempts) {
        const tries = attempts === 1 ? '' : ` after ${attempts} attempts`;
        throw new DownloadError(
          `${label}: the download failed${tries}: ${error.message}${kept(sink)}${options.hint ?? ''}`,
          { cause: error },
        );
      }
      const backoff = options.retryDelay * 2 ** (failures - 1) * (0.75 + Math.random() / 2);
      await sleep(Math.min(maxDelay, Math.max(backoff, error.retryAfter)), signal);
    }
  }
}

function kept(sink: Sink): string {
  if (sink.length === 0) return '';
  const total = sink.origin?.total;
  const of = total === null || total === undefined ? '' : ` of ${formatBytes(total)}`;
  return `; ${formatBytes(sink.length)}${of} ${sink.fate}`;
}

/** One request. @returns whether it only added to bytes got earlier */
async function attempt(options: TransferOptions, sink: Sink): Promise<boolean> {
  const { url, label, hashed, onProgress } = options;
  const { length, origin } = sink;
  if (length > 0 && origin?.total === length) return true;
  const validator = strongEtag(origin) ?? origin?.lastModified ?? null;
  const fits = origin?.total === null || origin?.total === undefined || length < origin.total;
  const resume = length > 0 && fits && (validator !== null || hashed);
  const headers: Record<string, string> = { 'accept-encoding': 'identity' };
  if (resume) headers['range'] = `bytes=${length}-`;
  if (resume && validator !== null && options.ifRange) headers['if-range'] = validator;

  const watch = new Watch(options.stallTimeout, options.signal);
  try {
    const response = await watch.over(options.fetch(url, { headers, signal: watch.signal }), url);
    const now = originOf(response);
    const problem = statusProblem(response, resume);
    if (problem !== null) {
      await response.body?.cancel().catch(() => undefined);
      if (response.status !== 416 || !resume) throw problem(label, url);
      const end = /^bytes \*\/(\d+)$/.exec(response.headers.get('content-range') ?? '')?.[1];
      if (Number(end) === length && unchanged(origin, now)) return true;
      await startOver(sink, 'the server has no bytes beyond those got earlier');
    }
    const continues = response.status === 206;
    if (continues) {
      const range = /^bytes (\d+)-\d+\/(\d+|\*)$/.exec(response.headers.get('content-range') ?? '');
      // Browsers hide this header from other origins unless the server allows it; the hash tells then.
      const placed = range === null ? hashed : Number(range[1]) === length;
      if (!placed || !unchanged(origin, now)) {
        await response.body?.cancel().catch(() => undefined);
        await startOver(sink, 'the file changed on the server, or another part came than was asked for');
      }
    }
    if (now.total !== null) checkSize(options, now.total, 'the server announces');
    if (!continues) await sink.begin(now);
    const total = now.total ?? (continues ? (sink.origin?.total ?? null) : null);
    onProgress?.({ received: sink.length, total });
    await drain(response, watch, url, async (chunk) => {
      await sink.append(chunk);
      onProgress?.({ received: sink.length, total });
    });
    checkEnd(options, sink, total);
    return continues;
  } finally {
    watch.stop();
  }
}

async function drain(
  response: Response,
  watch: Watch,
  url: string,
  take: (chunk: Uint8Array) => Promise<void>,
): Promise<void> {
  const reader = response.body?.getReader();
  if (reader === undefined) return;
  try {
    for (;;) {
      const part = await watch.over(reader.read(), url);
      if (part.done) return;
      await take(part.value);
    }
  } finally {
    // A stream that was read to its end or has failed has nothing left to cancel.
    await reader.cancel().catch(() => undefined);
  }
}

async function startOver(sink: Sink, why: string): Promise<never> {
  await sink.begin({ etag: null, lastModified: null, total: null });
  throw new TransientError(`${why}; started over`);
}

function checkEnd(options: TransferOptions, sink: Sink, total: number | null): void {
  const { length } = sink;
  if (total !== null && length < total)
    throw new TransientError(`the connection ended after ${length} of ${total} bytes`);
  const { size } = options;
  if (total === null && size !== undefined && length < size.bytes - size.within)
    throw new TransientError(`the answer ended after ${length} of ${size.bytes} bytes`);
  if (total !== null && length > total)
    throw new DownloadError(`${options.label}: the server sent ${length} bytes after announcing ${total}`);
  checkSize(options, length, 'the server sent');
}

function checkSize({ size, label, url }: TransferOptions, bytes: number, verb: string): void {
  if (size === undefined || Math.abs(bytes - size.bytes) <= size.within) return;
  const about = size.within === 0 ? '' : 'about ';
  throw new DownloadError(
    `${label}: ${verb} ${bytes} bytes, but the file has ${about}${size.bytes}: this is not the file, ` +
      `or a proxy or login page answers for ${shown(url)}`,
  );
}

function originOf(response: Response): Origin {
  const { headers } = response;
  const encoding = headers.get('content-encoding');
  const plain = encoding === null || encoding === '' || encoding === 'identity';
  const range = /\/(\d+)$/.exec(headers.get('content-range') ?? '')?.[1];
  // Of a compressed answer the length is not the file's; of a part it is the part's.
  const length = plain && response.status !== 206 ? headers.get('content-length') : null;
  const total = range ?? length;
  return {
    etag: headers.get('etag'),
    lastModified: headers.get('last-modified'),
    total: total === null || !/^\d+$/.test(total) ? null : Number(total),
  };
}

/** A weak ETag promises the same meaning, not the same bytes. */
function strongEtag(origin: Origin | null): string | null {
  const etag = origin?.etag ?? null;
  return etag === null || etag.startsWith('W/') ? null : etag;
}

/** Some servers ignore `If-Range`, so the answer is compared too. */
function unchanged(before: Origin | null, now: Origin): boolean {
  const same = (a: unknown, b: unknown): boolean => a === null || b === null || a === b;
  return (
    before === null ||
    (same(strongEtag(before), strongEtag(now)) &&
      same(before.lastModified, now.lastModified) &&
      same(before.total, now.total))
  );
}

/** A URL less what may be secret in it. */
export function shown(url: string): string {
  const { origin, pathname } = new URL(url);
  return `${origin}${pathname}`;
}

const passing = new Set([408, 425, 429, 500, 502, 503, 504]);

function statusProblem(
  { status, statusText, headers }: Response,
  resumed: boolean,
): ((label: string, url: string) => Error) | null {
  if (status === 200 || (status === 206 && resumed)) return null;
  const said = `${status}${statusText === '' ? '' : ` ${statusText}`}`;
  if (passing.has(status)) {
    const seconds = Number(headers.get('retry-after') ?? '');
    return () =>
      new TransientError(`the server answered ${said}`, {}, Number.isFinite(seconds) ? seconds * 1000 : 0);
  }
  return (label, url) => new DownloadError(`${label}: the server answered ${said} for ${shown(url)}`);
}

/** Certificates do not get better by waiting. */
const hopeless = /CERT|ERR_TLS|SELF_SIGNED|UNABLE_TO_(GET|VERIFY)|ERR_INVALID_URL|unknown scheme/;

/** Aborts what is silent for too long; nothing is counted while the bytes are being stored. */
class Watch {
  private readonly controller = new AbortController();
  readonly signal: AbortSignal;

  constructor(
    private readonly timeout: number,
    private readonly outer: AbortSignal | undefined,
  ) {
    this.signal = this.controller.signal;
    outer?.addEventListener('abort', this.forward);
  }

  private readonly forward = (): void => this.controller.abort(this.outer?.reason);

  async over<T>(promise: Promise<T>, url: string): Promise<T> {
    const silence = new TransientError(`no byte came for ${this.timeout / 1000} s`);
    const timer = setTimeout(() => this.controller.abort(silence), this.timeout);
    try {
      return await promise;
    } catch (error) {
      if (this.signal.aborted) throw this.signal.reason;
      const reason = reasonOf(error);
      if (hopeless.test(reason)) throw new DownloadError(`${shown(url)}: ${reason}`, { cause: error });
      throw new TransientError(reason, { cause: error });
    } finally {
      clearTimeout(timer);
    }
  }

  stop(): void {
    this.outer?.removeEventListener('abort', this.forward);
  }
}

/** @internal Rejects with the signal's reason when it is aborted. */
export function sleep(milliseconds: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const onAbort = (): void => {
      clearTimeout(timer);
      reject(signal?.reason as Error);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener('abort', onAbort);
      resolve();
    }, milliseconds);
    if (signal?.aborted) onAbort();
    else signal?.addEventListener('abort', onAbort, { once: true });
  });
}
