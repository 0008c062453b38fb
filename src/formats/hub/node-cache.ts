/** The folder of downloaded files (Node). */

import { cacheFolder as engineFolder } from '../../device/index.js';
import { DownloadError } from './errors.js';

/** @internal Node's modules, reached at run time so that bundlers for the browser meet no `node:` name. */
export function nodeModules() {
  if (typeof process !== 'object' || typeof process.getBuiltinModule !== 'function') {
    throw new DownloadError('downloading into files needs Node 20.16 or later');
  }
  return {
    fs: process.getBuiltinModule('node:fs/promises'),
    streams: process.getBuiltinModule('node:fs'),
    path: process.getBuiltinModule('node:path'),
    os: process.getBuiltinModule('node:os'),
    hash: process.getBuiltinModule('node:crypto'),
  };
}

/**
 * Where downloads are kept: `$KINDLING_CACHE`, or `kindling` in the system's cache folder (`$XDG_CACHE_HOME`,
 * `~/.cache`, `~/Library/Caches`, `%LOCALAPPDATA%`). Weight files lie in `hub/checkpoints` below it.
 */
export function cacheFolder(): string {
  const folder = engineFolder();
  if (folder === undefined) throw new DownloadError('downloading into files needs Node 20.16 or later');
  return folder;
}

/** What a file of the cache is known to be, beside it in `<name>.json`. */
interface Receipt {
  readonly url: string;
  /** Of the whole file. */
  readonly sha256: string;
  readonly size: number;
  readonly mtimeMs: number;
}

const receiptOf = (path: string): string => `${path}.json`;

/**
 * @internal Notes a file's hash, so that it need not be computed at each use. A cache that cannot be written
 * to works too.
 */
export async function writeReceipt(path: string, url: string, sha256: string): Promise<void> {
  const { fs } = nodeModules();
  const { size, mtimeMs } = await fs.stat(path);
  const receipt: Receipt = { url, sha256, size, mtimeMs };
  const temporary = `${receiptOf(path)}.${crypto.randomUUID()}.tmp`;
  try {
    await fs.writeFile(temporary, `${JSON.stringify(receipt)}\n`);
    await fs.rename(temporary, receiptOf(path));
  } catch {
    await fs.rm(temporary, { force: true }).catch(() => undefined);
  }
}

/**
 * @internal Whether the cache holds the file: `damaged` when its hash is wrong. Hashed anew only if it was
 * touched.
 */
export async function lookUp(
  path: string,
  url: string,
  sha256Prefix: string | undefined,
): Promise<{ state: 'absent' | 'whole' } | { state: 'damaged'; got: string }> {
  const { fs } = nodeModules();
  const stats = await fs.stat(path).catch(() => null);
  if (stats === null || !stats.isFile()) return { state: 'absent' };
  if (sha256Prefix === undefined) return { state: 'whole' };
  const receipt = await readJson<Receipt>(receiptOf(path));
  const current = receipt?.size === stats.size && receipt.mtimeMs === stats.mtimeMs;
  if (current && receipt.sha256.startsWith(sha256Prefix)) return { state: 'whole' };
  const sha256 = await fileHash(path);
  if (!sha256.startsWith(sha256Prefix)) return { state: 'damaged', got: sha256 };
  await writeReceipt(path, url, sha256);
  return { state: 'whole' };
}

async function fileHash(path: string): Promise<string> {
  const { hash, streams } = nodeModules();
  const sha256 = hash.createHash('sha256');
  for await (const chunk of streams.createReadStream(path, { highWaterMark: 1 << 20 }))
    sha256.update(chunk as Uint8Array);
  return sha256.digest('hex');
}

/** @internal A small JSON file, or null when it is missing or damaged. */
export async function readJson<T>(path: string): Promise<T | null> {
  try {
    return JSON.parse(await nodeModules().fs.readFile(path, 'utf8')) as T;
  } catch {
    return null;
  }
}
