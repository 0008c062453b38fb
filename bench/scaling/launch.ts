/** Starts a program on several ranks by Open MPI; each rank's output is in a file of its own. */
import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { linkName, type Hosts } from './hosts.js';

const { status, stdout } = spawnSync('mpirun', ['--version'], { encoding: 'utf8' });

export const hasOpenMpi = status === 0 && /open mpi/i.test(stdout);

/** Since a link that is cut takes what a rank says with it. */
const toFile = 'exec "$@" > "$KINDLING_BENCH_OUT/$OMPI_COMM_WORLD_RANK" 2>&1';

export interface Job {
  /** Of the launcher; null where it did not end in time and was killed. */
  readonly ended: Promise<number | null>;
  /** What a rank has printed so far. */
  readonly text: (rank: number) => string;
  /** Its process, once the program has said `pid NUMBER`. */
  readonly pid: (rank: number) => Promise<number>;
  readonly kill: () => void;
}

export interface LaunchOptions {
  readonly ranks: number;
  readonly program: string;
  readonly args: readonly string[];
  /** One rank on each. */
  readonly hosts?: Hosts;
  /** Milliseconds. */
  readonly limit?: number;
}

export const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** Whether a process is still there; one that has ended and was not asked for by its parent is not. */
export function isAlive(pid: number): boolean {
  try {
    return !/^\d+ \(.*\) Z/s.test(readFileSync(`/proc/${pid}/stat`, 'latin1'));
  } catch {
    return false;
  }
}

/** Waits until all of `pids` have ended, at most `limit` milliseconds. @returns when each had */
export async function ends(pids: readonly number[], began: number, limit: number): Promise<number[]> {
  const times = pids.map(() => Infinity);
  while (times.includes(Infinity) && performance.now() - began < limit) {
    pids.forEach((pid, i) => {
      if (times[i] === Infinity && !isAlive(pid)) times[i] = performance.now() - began;
    });
    await sleep(5);
  }
  return times;
}

/** What is to be put away at the end. */
const leftovers: (() => void)[] = [];
process.once('exit', () => {
  for (const putAway of leftovers) putAway();
});

export function launch({ ranks, program, args, hosts, limit = 600_000 }: LaunchOptions): Job {
  const out = mkdtempSync(join(tmpdir(), 'kindling-ranks-'));
  const command = [
    ...['mpirun', ...(hosts?.mpiOptions ?? ['--oversubscribe']), '-n', String(ranks)],
    ...['-x', 'KINDLING_BENCH_OUT', '-x', 'KINDLING_BENCH_LINK', 'sh', '-c', toFile, 'sh'],
    ...[process.execPath, program, ...args],
  ];
  const [first = '', ...rest] = hosts?.onFirst(command) ?? command;
  const child = spawn(first, rest, {
    env: {
      ...process.env,
      KINDLING_BENCH_OUT: out,
      KINDLING_BENCH_LINK: hosts === undefined ? undefined : linkName,
      // Containers run as root.
      OMPI_ALLOW_RUN_AS_ROOT: '1',
      OMPI_ALLOW_RUN_AS_ROOT_CONFIRM: '1',
      // Seconds from its polite signal to the other one: compiling the first step's kernels takes longer than the usual
      // one where cores are few, and nothing is said meanwhile.
      OMPI_MCA_odls_base_sigkill_timeout: '5',
    },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let errors = '';
  child.stderr.setEncoding('utf8').on('data', (more: string) => (errors += more));
  const text = (rank: number): string => {
    try {
      return readFileSync(join(out, String(rank)), 'utf8').replace(/^Warning: max.*\n/gm, '');
    } catch {
      return errors;
    }
  };
  let over = false;
  const ended = new Promise<number | null>((resolve, reject) => {
    const timer = setTimeout(() => child.kill('SIGKILL'), limit);
    child.on('error', reject);
    child.on('close', (code) => {
      clearTimeout(timer);
      over = true;
      resolve(code);
    });
  });
  leftovers.push(() => {
    if (!over) child.kill('SIGKILL');
    rmSync(out, { recursive: true, force: true });
  });
  const pid = async (rank: number): Promise<number> => {
    while (!over) {
      const found = /^pid (\d+)$/m.exec(text(rank))?.[1];
      if (found !== undefined) return Number(found);
      await sleep(20);
    }
    throw new Error(`rank ${rank} has not begun: ${text(rank)}`);
  };
  return { ended, text, pid, kill: () => void child.kill() };
}

/** What all ranks' last lines say. */
export async function resultsOf<T>(options: LaunchOptions): Promise<T[]> {
  const job = launch(options);
  const code = await job.ended;
  const texts = Array.from({ length: options.ranks }, (_, rank) => job.text(rank));
  const lines = texts.map((text) => text.trimEnd().split('\n').at(-1) ?? '');
  if (code !== 0 || lines.some((line) => !line.startsWith('{')))
    throw new Error(
      `${options.args.join(' ')} on ${options.ranks} ranks ended with ${code}:\n${texts.join('\n')}`,
    );
  return lines.map((line) => JSON.parse(line) as T);
}
