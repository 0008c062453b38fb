/** Downloads into the cache folder (Node). */

import { formatBytes } from '../errors.js';
import { DownloadError } from './errors.js';
import { cacheFolder, lookUp, nodeModules, writeReceipt } from './node-cache.js';
import { withFileLock } from './node-lock.js';
import { PartialFile, writeError } from './node-partial.js';
import { checkedPrefix, expectedSize, fileNameOf, settings, type DownloadOptions } from './options.js';
import { shown, transfer } from './transfer.js';

/** @internal Where a URL's file is, or will be, in the cache. */
function cachePath(options: DownloadOptions): string {
  const { path, hash } = nodeModules();
  const name = fileNameOf(options.url);
  // A name without a hash of its content says little: two servers may each have a `model.pth`.
  const digest = (text: string): string => hash.createHash('sha256').update(text).digest('hex').slice(0, 12);
  const unique = options.sha256Prefix === undefined ? `${digest(String(options.url))}-${name}` : name;
  return path.join(options.cacheDir ?? cacheFolder(), 'hub', 'checkpoints', unique);
}

/** The path of a file that was downloaded before, or null. Asks no server; a damaged file counts as none. */
export async function cachedFile(options: DownloadOptions): Promise<string | null> {
  const target = cachePath(options);
  const prefix = checkedPrefix(options.sha256Prefix);
  return (await lookUp(target, String(options.url), prefix)).state === 'whole' ? target : null;
}

/**
 * Downloads a file into the cache and returns its path; a file that is there already costs no network call.
 * Goes on where an earlier download broke off, this process's or another's, and checks the SHA-256 before the
 * file gets its name, so under that name there is never half a file or another. Processes that want the same
 * file at once download it once.
 *
 * @throws DownloadError saying what is kept and what to do; the signal's reason when it was aborted
 */
export async function downloadFile(options: DownloadOptions): Promise<string> {
  const { fs, path } = nodeModules();
  const prefix = checkedPrefix(options.sha256Prefix);
  const url = new URL(options.url).href;
  const target = cachePath(options);
  const label = fileNameOf(url);
  const { offline, onMessage = () => undefined, signal } = options;

  const found = await lookUp(target, url, prefix);
  if (found.state === 'whole') return target;
  const damage =
    found.state === 'damaged'
      ? `${target} is damaged: its SHA-256 is ${found.got}, expected ${prefix}...`
      : null;
  if (offline ?? isOffline()) {
    throw new DownloadError(
      `${label}: ${damage ?? `is not in the cache (${target})`}, and KINDLING_OFFLINE forbids to download it; ` +
        'unset it, or put the file there',
    );
  }
  if (damage !== null) onMessage(`${damage}; downloading it again`);
  await fs.mkdir(path.dirname(target), { recursive: true }).catch((cause: unknown) => {
    throw writeError(label, path.dirname(target), cause);
  });
  const lock = {
    signal,
    onWait: (holder: string) => onMessage(`${label}: waiting for ${holder}, which downloads it`),
  };
  const run = (stillHeld: () => Promise<void>): Promise<string> =>
    downloadHeld(options, { url, target, label, prefix }, stillHeld);
  try {
    return await withFileLock(
      `${target}.lock`,
      { ...lock, ...(options.staleLockAfter !== undefined && { staleAfter: options.staleLockAfter }) },
      run,
    );
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw code === undefined || signal?.aborted ? error : writeError(label, `${target}.lock`, error);
  }
}

interface Job {
  readonly url: string;
  readonly target: string;
  readonly label: string;
  readonly prefix: string | undefined;
}

async function downloadHeld(
  options: DownloadOptions,
  { url, target, label, prefix }: Job,
  stillHeld: () => Promise<void>,
): Promise<string> {
  // Whoever held the lock before may have got it.
  if ((await lookUp(target, url, prefix)).state === 'whole') return target;
  const partialPath = `${target}.${prefix ?? 'unverified'}.partial`;
  for (let again = true; ; again = false) {
    const partial = await PartialFile.open(partialPath, url, label);
    const { resumedFrom } = partial;
    try {
      if (resumedFrom > 0) options.onMessage?.(`${label}: going on after ${formatBytes(resumedFrom)}`);
      const { joined } = await transfer(
        {
          ...settings(options),
          url,
          label,
          size: expectedSize(options.size),
          hashed: prefix !== undefined,
          ifRange: true,
          hint: hintFor(options, target, prefix),
        },
        partial,
      );
      const sha256 = partial.digest();
      if (prefix !== undefined && !sha256.startsWith(prefix)) {
        const { length } = partial;
        await partial.remove();
        // Parts of two files may have been joined; then a fresh start helps, otherwise nothing does.
        if (joined && again) continue;
        throw new DownloadError(
          `${label}: the file at ${shown(url)} has SHA-256 ${sha256}, expected ${prefix}${prefix.length < 64 ? '...' : ''}; ` +
            `its ${length} bytes were deleted. It was changed on its way or on the server`,
        );
      }
      await stillHeld();
      await partial.finish(target);
      await writeReceipt(target, url, sha256);
      return target;
    } finally {
      await partial.close();
    }
  }
}

function hintFor({ fetch }: DownloadOptions, target: string, prefix: string | undefined): string {
  const { env } = process;
  const proxy = ['HTTPS_PROXY', 'https_proxy', 'HTTP_PROXY', 'http_proxy'].find((name) => env[name]);
  const byHand = prefix === undefined ? '' : `. A file that you put at ${target} will do as well`;
  if (proxy === undefined || fetch !== undefined || env['NODE_USE_ENV_PROXY'] === '1') return byHand;
  return `. ${proxy} is set, which Node heeds with NODE_USE_ENV_PROXY=1 only (22.21, 24 and later)${byHand}`;
}

const isOffline = (): boolean => !['', '0', 'false', undefined].includes(process.env['KINDLING_OFFLINE']);
