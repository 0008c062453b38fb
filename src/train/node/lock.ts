import { link, readFile, rename, rm, unlink, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { removeAtExit } from '../../formats/leftovers.js';
import { RunFolderError } from './errors.js';

interface Owner {
  readonly pid: number;
  readonly host: string;
}

/**
 * Makes this process the only one that writes to a folder: a file `lock` in it says which process that is.
 * The lock of a process that is gone, as after SIGKILL, is taken over.
 *
 * @returns what gives the folder back
 * @throws RunFolderError naming the process that has it
 */
export async function lockFolder(folder: string): Promise<() => Promise<void>> {
  const path = join(folder, 'lock');
  const own = join(folder, `.lock.${crypto.randomUUID()}.tmp`);
  const me: Owner = { pid: process.pid, host: hostname() };
  const releaseOwn = removeAtExit(own);
  try {
    await writeFile(own, `${JSON.stringify(me)}\n`, { flag: 'wx' }).catch((cause: Error) => {
      throw new RunFolderError(`${folder}: cannot be written to: ${cause.message}`, { cause });
    });
    // A link appears whole or not at all, and fails where the name is taken.
    for (let attempt = 0; attempt < 3; attempt++) {
      const taken = await link(own, path).then(
        () => true,
        (cause: NodeJS.ErrnoException) => {
          if (cause.code !== 'EEXIST') throw cause;
          return false;
        },
      );
      if (taken) {
        const release = removeAtExit(path);
        return () => rm(path, { force: true }).finally(release);
      }
      const owner = await ownerOf(path);
      if (owner !== null && isAlive(owner)) {
        throw new RunFolderError(
          `${folder}: is in use by process ${owner.pid}${owner.host === me.host ? '' : ` on ${owner.host}`}; ` +
            `wait for it or stop it (if there is no such process, delete ${path})`,
        );
      }
      await bury(path, owner);
    }
    throw new RunFolderError(`${folder}: another process is taking it at this moment; try again`);
  } finally {
    await rm(own, { force: true });
    releaseOwn();
  }
}

/**
 * Removes the lock of a process that is gone, unless another process has taken the folder since it was read.
 */
async function bury(path: string, stale: Owner | null): Promise<void> {
  const grave = `${path}.${crypto.randomUUID()}.tmp`;
  try {
    await rename(path, grave);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return;
    throw error;
  }
  const buried = await ownerOf(grave);
  if (buried?.pid !== stale?.pid || buried?.host !== stale?.host)
    await link(grave, path).catch(() => undefined);
  await unlink(grave);
}

async function ownerOf(path: string): Promise<Owner | null> {
  try {
    return JSON.parse(await readFile(path, 'utf8')) as Owner;
  } catch {
    return null;
  }
}

/** Processes on other machines cannot be asked and count as alive. */
function isAlive({ pid, host }: Owner): boolean {
  if (host !== hostname()) return true;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
