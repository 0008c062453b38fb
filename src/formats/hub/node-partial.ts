/** A download under way, as a file that a later process can go on with. */

import type { FileHandle } from 'node:fs/promises';
import { formatBytes } from '../errors.js';
import { DownloadError, reasonOf } from './errors.js';
import { nodeModules, readJson } from './node-cache.js';
import type { Origin, Sink } from './transfer.js';

/** Kept beside the bytes. */
interface State extends Origin {
  readonly url: string;
}

const statePath = (path: string): string => `${path}.json`;
const full = new Set(['ENOSPC', 'EDQUOT']);

export class PartialFile implements Sink {
  length = 0;
  origin: Origin | null = null;
  /** Bytes taken over from an earlier process. */
  resumedFrom = 0;
  readonly fate: string;
  private sha256 = nodeModules().hash.createHash('sha256');

  private constructor(
    private readonly path: string,
    private readonly url: string,
    private readonly label: string,
    private readonly file: FileHandle,
  ) {
    this.fate = `are kept in ${path}, and the next download goes on from there`;
  }

  /** Opens what an earlier download of this URL left, or nothing. */
  static async open(path: string, url: string, label: string): Promise<PartialFile> {
    const { fs, streams } = nodeModules();
    const { O_CREAT, O_RDWR } = streams.constants;
    const file = await fs.open(path, O_CREAT | O_RDWR, 0o666).catch((cause: unknown) => {
      throw writeError(label, path, cause);
    });
    const partial = new PartialFile(path, url, label, file);
    try {
      const state = await readJson<State>(statePath(path));
      const { size } = await file.stat();
      if (size > 0 && state?.url === url) {
        // Hashing what is there reads it once; the rest is hashed as it comes.
        const stream = streams.createReadStream(path, { highWaterMark: 1 << 20 });
        for await (const chunk of stream) {
          partial.sha256.update(chunk as Uint8Array);
          partial.length += (chunk as Uint8Array).length;
        }
        partial.origin = state;
        partial.resumedFrom = partial.length;
      }
    } catch (error) {
      await file.close();
      throw writeError(label, path, error);
    }
    return partial;
  }

  async begin(origin: Origin): Promise<void> {
    try {
      await this.file.truncate(0);
      const { etag, lastModified, total } = origin;
      const state: State = { url: this.url, etag, lastModified, total };
      await nodeModules().fs.writeFile(statePath(this.path), `${JSON.stringify(state)}\n`);
    } catch (error) {
      await this.remove().catch(() => undefined);
      throw writeError(this.label, this.path, error);
    }
    this.length = 0;
    this.resumedFrom = 0;
    this.origin = origin;
    this.sha256 = nodeModules().hash.createHash('sha256');
    if (origin.total !== null) await this.checkSpace(origin.total);
  }

  async append(chunk: Uint8Array): Promise<void> {
    try {
      for (let done = 0; done < chunk.length;) {
        const { bytesWritten } = await this.file.write(chunk, done, chunk.length - done, this.length + done);
        done += bytesWritten;
      }
    } catch (error) {
      throw writeError(this.label, this.path, error, this.origin?.total ?? null);
    }
    this.sha256.update(chunk);
    this.length += chunk.length;
  }

  /** The SHA-256 of the whole, in hexadecimal. Nothing may be appended afterwards. */
  digest(): string {
    return this.sha256.digest('hex');
  }

  /** The bytes take their final name, after they have reached the disk. */
  async finish(target: string): Promise<void> {
    const { fs } = nodeModules();
    try {
      // An older process may have left a longer file.
      await this.file.truncate(this.length);
      await this.file.sync();
      await this.file.close();
      await fs.rename(this.path, target);
    } catch (error) {
      throw writeError(this.label, target, error);
    }
    await fs.rm(statePath(this.path), { force: true });
  }

  async close(): Promise<void> {
    await this.file.close().catch(() => undefined);
  }

  async remove(): Promise<void> {
    const { fs } = nodeModules();
    await this.close();
    await fs.rm(this.path, { force: true });
    await fs.rm(statePath(this.path), { force: true });
  }

  /** Better told before the download than after most of it. */
  private async checkSpace(needed: number): Promise<void> {
    const { fs, path } = nodeModules();
    const folder = path.dirname(this.path);
    const stats = await fs.statfs(folder).catch(() => null);
    if (stats === null || stats.blocks === 0) return;
    const free = stats.bavail * stats.bsize;
    if (free >= needed) return;
    throw new DownloadError(
      `${this.label}: needs ${formatBytes(needed)}, but ${folder} has ${formatBytes(free)} free; ` +
        'make room, or set KINDLING_CACHE to a folder on another disk',
    );
  }
}

/** @internal An error of the file system, in terms of the cache. */
export function writeError(
  label: string,
  path: string,
  error: unknown,
  total: number | null = null,
): DownloadError {
  if (error instanceof DownloadError) return error;
  const code = (error as NodeJS.ErrnoException).code ?? '';
  if (full.has(code)) {
    const whole = total === null ? '' : ` of its ${formatBytes(total)}`;
    return new DownloadError(
      `${label}: the disk is full; what came${whole} is kept in ${path}. Make room and download again, which goes on ` +
        'from there, or delete that file and set KINDLING_CACHE to a folder on another disk',
      { cause: error },
    );
  }
  const denied = ['EACCES', 'EPERM', 'EROFS'].includes(code);
  return new DownloadError(
    `${label}: ${path} cannot be written: ${reasonOf(error)}` +
      (denied ? '; set KINDLING_CACHE to a folder that can' : ''),
    { cause: error },
  );
}
