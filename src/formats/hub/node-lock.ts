/**
 * A lock file that outlives no crash: its holder touches it, and whoever waits takes over a lock nobody
 * touches.
 */

import { removeAtExit } from '../leftovers.js';
import { DownloadError } from './errors.js';
import { nodeModules } from './node-cache.js';
import { sleep } from './transfer.js';

export interface LockOptions {
  readonly signal?: AbortSignal | undefined;
  /** Called once if another holds the lock. */
  readonly onWait?: ((holder: string) => void) | undefined;
  /** Milliseconds without a touch after which the holder counts as gone. */
  readonly staleAfter?: number;
}

interface Holder {
  readonly pid: number;
  /** The machine, or the container in it: process ids mean nothing elsewhere. */
  readonly host: string;
  readonly token: string;
}

const poll = 100;
const defaultStaleAfter = 15_000;

/**
 * Runs `body` while holding the lock file. `stillHeld` throws if another took the lock over, which happens to
 * a process that was stopped for longer than `staleAfter`.
 */
export async function withFileLock<T>(
  path: string,
  { signal, onWait, staleAfter = defaultStaleAfter }: LockOptions,
  body: (stillHeld: () => Promise<void>) => Promise<T>,
): Promise<T> {
  const { fs } = nodeModules();
  const me: Holder = { pid: process.pid, host: await hostName(), token: crypto.randomUUID() };
  await acquire(path, me, staleAfter, signal, onWait);
  const release = removeAtExit(path);
  const beat = setInterval(() => {
    const now = new Date();
    fs.utimes(path, now, now).catch(() => undefined);
  }, staleAfter / 5);
  const isMine = async (): Promise<boolean> => (await holderOf(path))?.token === me.token;
  try {
    return await body(async () => {
      if (!(await isMine()))
        throw new DownloadError(`${path}: another process took over, as this one stood still for too long`);
    });
  } finally {
    clearInterval(beat);
    if (await isMine()) await fs.rm(path, { force: true });
    release();
  }
}

async function acquire(
  path: string,
  me: Holder,
  staleAfter: number,
  signal: AbortSignal | undefined,
  onWait: LockOptions['onWait'],
): Promise<void> {
  const { fs } = nodeModules();
  let seen = { version: '', since: 0 };
  let told = false;
  for (;;) {
    signal?.throwIfAborted();
    if (await create(path, JSON.stringify(me))) return;
    const stats = await fs.stat(path).catch(() => null);
    if (stats === null) continue;
    const holder = await holderOf(path);
    // Ages are counted by this machine's clock alone: a file server's may differ.
    const version = `${stats.mtimeMs} ${holder?.token ?? ''}`;
    if (version !== seen.version) seen = { version, since: performance.now() };
    const silent = performance.now() - seen.since > staleAfter;
    if (silent || (holder !== null && holder.host === me.host && !isAlive(holder.pid))) {
      await breakLock(path, holder?.token ?? null, staleAfter);
      continue;
    }
    if (!told) onWait?.(holder === null ? 'another process' : `process ${holder.pid}`);
    told = true;
    await sleep(poll, signal);
  }
}

/** False when the file is there already. Its content appears with it, so nobody reads half of it. */
async function create(path: string, content: string): Promise<boolean> {
  const { fs } = nodeModules();
  const own = `${path}.${crypto.randomUUID()}`;
  const taken = (error: NodeJS.ErrnoException): boolean => error.code === 'EEXIST';
  const release = removeAtExit(own);
  try {
    await fs.writeFile(own, content, { flag: 'wx' });
    const problem = await fs.link(own, path).then(
      () => null,
      (error: NodeJS.ErrnoException) => error,
    );
    if (problem === null) return true;
    if (taken(problem)) return false;
    // A file system without hard links.
    try {
      await fs.writeFile(path, content, { flag: 'wx' });
      return true;
    } catch (error) {
      if (taken(error as NodeJS.ErrnoException)) return false;
      // A lock without its content would be nobody's, and others would wait for it.
      await fs.rm(path, { force: true });
      throw error;
    }
  } finally {
    await fs.rm(own, { force: true });
    release();
  }
}

/**
 * Removes a dead holder's lock. Done under a lock of its own, so that no one removes the lock of who came
 * next.
 */
async function breakLock(path: string, token: string | null, staleAfter: number): Promise<void> {
  const { fs } = nodeModules();
  const guard = `${path}.break`;
  try {
    await fs.writeFile(guard, '', { flag: 'wx' });
  } catch {
    const stats = await fs.stat(guard).catch(() => null);
    if (stats !== null && Date.now() - stats.mtimeMs > staleAfter) await fs.rm(guard, { force: true });
    else await sleep(poll);
    return;
  }
  try {
    if (((await holderOf(path))?.token ?? null) === token) await fs.rm(path, { force: true });
  } finally {
    await fs.rm(guard, { force: true });
  }
}

async function holderOf(path: string): Promise<Holder | null> {
  try {
    return JSON.parse(await nodeModules().fs.readFile(path, 'utf8')) as Holder;
  } catch {
    return null;
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

async function hostName(): Promise<string> {
  const { fs, os } = nodeModules();
  const namespace = await fs.readlink('/proc/self/ns/pid').catch(() => '');
  return `${os.hostname()} ${namespace}`;
}
