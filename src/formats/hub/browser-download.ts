/** Downloads into the browser's Cache storage. */

import { DownloadError, reasonOf } from './errors.js';
import { checkedPrefix, expectedSize, fileNameOf, settings, type DownloadOptions } from './options.js';
import { shown, transfer, type Origin, type Sink } from './transfer.js';

class MemorySink implements Sink {
  length = 0;
  origin: Origin | null = null;
  readonly fate = 'had come';
  private chunks: Uint8Array<ArrayBuffer>[] = [];

  begin(origin: Origin): Promise<void> {
    this.origin = origin;
    this.chunks = [];
    this.length = 0;
    return Promise.resolve();
  }

  append(chunk: Uint8Array): Promise<void> {
    this.chunks.push(chunk as Uint8Array<ArrayBuffer>);
    this.length += chunk.length;
    return Promise.resolve();
  }

  /** Browsers keep large Blobs outside of the script's memory. */
  take(): Blob {
    const blob = new Blob(this.chunks);
    this.chunks = [];
    return blob;
  }
}

/**
 * The file as a Blob, from the browser's Cache storage or the network. A connection that breaks is taken up
 * where it broke; the SHA-256 is checked before the file is stored. The server must allow other origins
 * (CORS).
 *
 * @throws DownloadError as `downloadFile` does
 */
export async function downloadBlob(options: DownloadOptions): Promise<Blob> {
  const url = new URL(options.url).href;
  const label = fileNameOf(url);
  const prefix = checkedPrefix(options.sha256Prefix);
  const cache = await openCache(options.cacheDir ?? 'kindling');
  const hit = await cache?.match(url);
  if (hit !== undefined) {
    const blob = await hit.blob();
    if (prefix === undefined || (await hashOf(blob, label)).startsWith(prefix)) return blob;
    await cache?.delete(url);
  }
  if (options.offline === true) throw new DownloadError(`${label}: is not in the browser's cache`);
  const sink = new MemorySink();
  await transfer(
    {
      ...settings(options),
      url,
      label,
      size: expectedSize(options.size),
      hashed: prefix !== undefined,
      ifRange: false,
    },
    sink,
  );
  const blob = sink.take();
  if (prefix !== undefined) {
    const sha256 = await hashOf(blob, label);
    if (!sha256.startsWith(prefix))
      throw new DownloadError(
        `${label}: the file at ${shown(url)} has SHA-256 ${sha256}, expected ${prefix}...`,
      );
  }
  try {
    await cache?.put(url, new Response(blob, { headers: { 'content-length': String(blob.size) } }));
  } catch (error) {
    // A full or forbidden storage costs the next visit a download, not this one its model.
    options.onMessage?.(`${label}: could not be stored for the next time: ${reasonOf(error)}`);
  }
  return blob;
}

/** Cache storage exists on secure origins only. */
async function openCache(name: string): Promise<Cache | null> {
  return typeof caches === 'undefined' ? null : await caches.open(name).catch(() => null);
}

async function hashOf(blob: Blob, label: string): Promise<string> {
  const subtle = globalThis.crypto?.subtle as SubtleCrypto | undefined;
  if (subtle === undefined) {
    throw new DownloadError(
      `${label}: its SHA-256 cannot be checked: this page is not on a secure origin (https or localhost)`,
    );
  }
  const digest = new Uint8Array(await subtle.digest('SHA-256', await blob.arrayBuffer()));
  return [...digest].map((byte) => byte.toString(16).padStart(2, '0')).join('');
}
