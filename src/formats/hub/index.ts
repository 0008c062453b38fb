/** Files from the network, kept for the next time. */

import type { DownloadOptions } from './options.js';

export { DownloadError } from './errors.js';
export type { DownloadOptions } from './options.js';
export type { DownloadProgress } from './transfer.js';

/** @internal A source for `loadCheckpoint`: a path in Node, a Blob in a browser. */
export async function download(options: DownloadOptions): Promise<string | Blob> {
  // Each platform loads its own.
  if (typeof process === 'object' && process.versions?.node !== undefined) {
    const { downloadFile } = await import('./node-download.js');
    return downloadFile(options);
  }
  const { downloadBlob } = await import('./browser-download.js');
  return downloadBlob(options);
}
