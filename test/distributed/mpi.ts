/** Runs programs on several ranks, where an MPI launcher is installed. */
import { spawn, spawnSync } from 'node:child_process';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = dirname(fileURLToPath(import.meta.url));

/** A launcher, by the family of MPI that it belongs to. */
export interface Launcher {
  readonly family: 'Open MPI' | 'MPICH';
  readonly command: string;
  readonly options: readonly string[];
}

/** One of each family that is installed; Debian has both under these names. */
export const launchers: readonly Launcher[] = ['mpirun', 'mpirun.openmpi', 'mpirun.mpich']
  .map((command): Launcher | null => {
    const { status, stdout } = spawnSync(command, ['--version'], { encoding: 'utf8' });
    if (status !== 0) return null;
    if (/open mpi/i.test(stdout)) return { family: 'Open MPI', command, options: ['--oversubscribe'] };
    return /hydra/i.test(stdout) ? { family: 'MPICH', command, options: [] } : null;
  })
  .filter((found, i, all): found is Launcher => {
    return found !== null && all.findIndex((other) => other?.family === found.family) === i;
  });

export const hasMpi = launchers.length > 0;
if (!hasMpi)
  console.log('test/distributed: skipped, for there is no mpirun: apt-get install openmpi-bin (or mpich)');

/** The launcher that programs are started by. */
let launcher = launchers[0];

/** Has the programs of the tests from here on started by `chosen`. */
export function use(chosen: Launcher): void {
  launcher = chosen;
}

export interface Ended {
  readonly code: number | null;
  readonly text: string;
  /** From the start, in milliseconds. */
  readonly ms: number;
}

export interface Running {
  /** Ends all ranks. */
  readonly stop: () => void;
  readonly ended: Promise<Ended>;
  /** What it has printed so far. */
  readonly text: () => string;
}

/** Starts `programs/<program>` on so many ranks. */
export function start(ranks: number, program: string, ...args: readonly string[]): Running {
  const began = performance.now();
  if (launcher === undefined) throw new Error('no MPI launcher is installed');
  const child = spawn(
    launcher.command,
    [
      ...launcher.options,
      ...['-n', String(ranks), process.execPath, join(here, 'programs', program), ...args],
    ],
    {
      env: {
        ...process.env,
        // Containers run as root.
        OMPI_ALLOW_RUN_AS_ROOT: '1',
        OMPI_ALLOW_RUN_AS_ROOT_CONFIRM: '1',
      },
      stdio: ['ignore', 'pipe', 'pipe'],
    },
  );
  let text = '';
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (more: string) => (text += more));
  const ended = new Promise<Ended>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code) => {
      resolve({ code, text, ms: performance.now() - began });
    });
  });
  return { ended, text: () => text, stop: () => void child.kill() };
}

/**
 * Trains on so many ranks, kills `rank` after `wait` milliseconds of training, and returns what was printed and
 * how long the others took to end.
 */
export async function killOne(
  ranks: number,
  rank: number,
  wait: number,
  norm: string,
): Promise<Ended & { readonly pid: number }> {
  const { ended, text, stop } = start(ranks, 'ddp.mjs', '100000', norm);
  try {
    const pidOf = (of: number): number => Number(new RegExp(`^pid ${of} (\\d+)$`, 'm').exec(text())?.[1]);
    const all = Array.from({ length: ranks }, (_, i) => i);
    while (all.some((of) => Number.isNaN(pidOf(of)))) await sleep(20);
    await sleep(wait);
    const pid = pidOf(rank);
    const killed = performance.now();
    process.kill(pid, 'SIGKILL');
    return { ...(await ended), pid, ms: performance.now() - killed };
  } finally {
    stop();
  }
}

/**
 * What is said of `rank`, process `pid`, that was killed: by the others, or by MPICH's launcher, which ends them
 * before they can, and may name another of the processes that have ended.
 */
export const wordsOnKilled = (rank: number, pid: number): RegExp =>
  launcher?.family === 'MPICH'
    ? new RegExp(`rank ${rank} \\(.*, process ${pid}\\) has ended|PID \\d+ RUNNING AT .*\\n.*EXIT CODE: 9`)
    : new RegExp(`rank ${rank} \\(.*, process ${pid}\\) has ended`);

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

export const run = (ranks: number, program: string, ...args: readonly string[]): Promise<Ended> =>
  start(ranks, program, ...args).ended;

export interface TrainingResult {
  readonly rank: number;
  /** Of all weights. */
  readonly bits: number;
  readonly losses: readonly number[];
}

/** What `programs/ddp.mjs` says on each rank, by rank. */
export async function train(ranks: number, ...args: readonly string[]): Promise<TrainingResult[]> {
  const { code, text } = await run(ranks, 'ddp.mjs', ...args);
  if (code !== 0) throw new Error(`mpirun ended with ${code}:\n${text}`);
  const results = text
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line) as TrainingResult);
  return results.sort((a, b) => a.rank - b.rank);
}

/** The largest distance between two runs' losses. */
export const farthest = (a: TrainingResult, b: TrainingResult): number =>
  Math.max(...a.losses.map((loss, i) => Math.abs(loss - (b.losses[i] ?? NaN))));
