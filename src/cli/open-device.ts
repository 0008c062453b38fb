import {
  closeSync,
  fstatSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  rmSync,
  statSync,
  type Stats,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { init } from '../index.js';

/** Two lines of Dawn's about limits that kindling does not use. */
const limits = /^Warning: maxDynamic\w+ artificially reduced from \d+ to \d+ to fit [\w ]+\.\n/gm;

/**
 * `init` without what Dawn writes to the error output about limits, past Node's streams: it would stand in
 * progress bars and in `2>file`.
 */
export async function openDevice(): Promise<void> {
  const restore = redirectErrors();
  let printed = '';
  try {
    await init();
  } finally {
    printed = restore().replace(limits, '');
  }
  if (printed !== '') process.stderr.write(printed);
}

/**
 * What native code writes to the error output goes into a file from now on, until the function returned is
 * called, which returns it. Node has no `dup2`: file descriptor 2 is closed, and what is opened next gets the
 * lowest free number. Where that cannot be, or would do harm, nothing is changed.
 */
function redirectErrors(): () => string {
  const nothing = (): string => '';
  if (process.platform !== 'linux') return nothing;
  let folder: string | undefined;
  let saved: number | undefined;
  try {
    if (sharesOffset(fstatSync(2))) return nothing;
    saved = openSync('/proc/self/fd/2', 'a');
    folder = mkdtempSync(join(tmpdir(), 'kindling-'));
    const path = join(folder, 'errors');
    closeSync(openSync(path, 'w'));
    reopen(path, 'r+');
  } catch {
    // Another user's terminal, a socket, no temporary folder.
    if (saved !== undefined) closeSync(saved);
    return nothing;
  } finally {
    if (folder !== undefined) rmSync(folder, { recursive: true, force: true });
  }
  const original = saved;
  return () => {
    const printed = Buffer.alloc(fstatSync(2).size);
    readSync(2, printed, 0, printed.length, 0);
    reopen(`/proc/self/fd/${original}`, 'a');
    closeSync(original);
    return printed.toString();
  };
}

/** Nothing else may open a file between the two calls: before a device is open, no other thread does. */
function reopen(path: string, flags: string): void {
  closeSync(2);
  openSync(path, flags);
}

/**
 * Whether others write at the same offset of the same regular file: standard output (`>log 2>&1`) or a
 * program that this one was started by. What is opened anew has an offset of its own, and they would write
 * over it. npx and its shell have the file, too, and write nothing after the command.
 */
function sharesOffset(errors: Stats): boolean {
  if (!errors.isFile()) return false;
  const same = (other: Stats): boolean => other.dev === errors.dev && other.ino === errors.ino;
  if (same(fstatSync(1))) return true;
  const holds = (pid: number): boolean =>
    readdirSync(`/proc/${pid}/fd`).some((fd) => {
      const stats = statSync(`/proc/${pid}/fd/${fd}`, { throwIfNoEntry: false });
      return stats !== undefined && same(stats);
    });
  let pid = process.ppid;
  while (holds(pid)) {
    if (!isNpx(pid) && !isNpx(parentOf(pid))) return true;
    pid = parentOf(pid);
  }
  return false;
}

const isNpx = (pid: number): boolean => /^npm exec\b/.test(readFileSync(`/proc/${pid}/cmdline`, 'utf8'));

/** The fourth field of a process's status; the second may have spaces, and ends with the last parenthesis. */
const parentOf = (pid: number): number =>
  Number(readFileSync(`/proc/${pid}/stat`, 'utf8').replace(/^.*\)/s, '').split(' ')[2]);
