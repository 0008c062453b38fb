/** Files from the network, kept for the next time. */

import { downloadBlob } from './browser-download.js';
import { downloadFile } from './node-download.js';
import type { DownloadOptions } from './options.js';

export { downloadBlob } from './browser-download.js';
export { DownloadError } from './errors.js';
export { cacheFolder } from './node-cache.js';
export { cachedFile, downloadFile } from './node-download.js';
export type { DownloadOptions } from './options.js';
export type { DownloadProgress } from './transfer.js';

/** @internal A source for `loadCheckpoint`: a path in Node, a Blob in a browser. */
export function download(options: DownloadOptions): Promise<string | Blob> {
  const node = typeof process === 'object' && process.versions?.node !== undefined;
  return node ? downloadFile(options) : downloadBlob(options);
}
