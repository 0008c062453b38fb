/** The libraries' processes, and how each is started. */
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { dependenciesInstalled } from '../../scripts/setup.mjs';
import { digits, median } from '../report.js';
import { peerWorkNamed } from '../works.mjs';
import { type Ready, type Round } from './worker.mjs';

const folder = fileURLToPath(new URL('.', import.meta.url));
/** Runs on the CPU, for scale. */
export const reference = 'PyTorch CPU';
/** Milliseconds of repetitions per library and round, and their number at most. */
const roundBudget = 3000;
const maxReps = 20;

/** A library's process, which runs repetitions when told to. */
export class Worker {
  private readonly child: ChildProcess;
  private readonly lines: AsyncIterator<string>;
  readonly times: number[] = [];
  peakRssMiB = 0;
  ready: Ready | undefined;

  constructor(
    readonly name: string,
    command: string,
    args: readonly string[],
    env: NodeJS.ProcessEnv,
  ) {
    this.child = spawn(command, [...args, '--rounds'], {
      cwd: folder,
      env,
      stdio: ['pipe', 'pipe', process.env['BENCH_VERBOSE'] ? 'inherit' : 'ignore'],
    });
    // A worker that dies shows in its output ending.
    this.child.on('error', () => {});
    this.child.stdin?.on('error', () => {});
    this.lines = createInterface({ input: this.child.stdout! })[Symbol.asyncIterator]();
  }

  private async next<T>(): Promise<T | undefined> {
    const { value, done } = await this.lines.next();
    return done === true ? undefined : (JSON.parse(value) as T);
  }

  /** Waits for the first run; false when the library cannot do this work. */
  async start(): Promise<boolean> {
    this.ready = await this.next<Ready>();
    if (this.ready === undefined) this.say('failed; BENCH_VERBOSE=1 shows its output');
    else if (!this.ready.supported) this.say('cannot do this');
    else this.say(`first run ${digits((this.ready.firstMs ?? 0) / 1000)} s`);
    return this.ready?.supported ?? false;
  }

  async round(): Promise<void> {
    const reps = Math.min(maxReps, Math.max(2, Math.round(roundBudget / (this.ready?.steadyMs ?? 1))));
    this.child.stdin?.write(`${reps}\n`);
    const round = await this.next<Round>();
    if (round === undefined) throw new Error(`${this.name} died during its round`);
    this.times.push(...round.times);
    this.peakRssMiB = round.peakRssMiB;
    this.say(`${round.times.length} x ${digits(median(round.times))} ms`);
  }

  end(): Promise<void> {
    return new Promise((resolve) => {
      if (this.child.exitCode !== null || this.child.signalCode !== null) return resolve();
      this.child.on('close', () => resolve());
      this.child.stdin?.end();
      setTimeout(() => this.child.kill('SIGKILL'), 5000).unref();
    });
  }

  private say(text: string): void {
    console.error(`  ${this.name}: ${text}`);
  }
}

/** Starts a library's process on a work. */
export type Start = (work: string, env?: NodeJS.ProcessEnv) => Worker;

function python(): string | undefined {
  const candidates = [process.env['BENCH_PYTHON'], 'python3', '/usr/bin/python3'];
  return candidates.find((name) => name && spawnSync(name, ['-c', 'import torch']).status === 0);
}

/**
 * By short name, kindling first.
 * @param kindling kindling's worker, bundled
 */
export function libraries(kindling: string): Map<string, Start> {
  const node =
    (name: string, file: string): Start =>
    (work, env = process.env) =>
      new Worker(name, process.execPath, [file, '--work', work], env);
  const all = new Map([
    ['kindling', node('kindling', kindling)],
    ['jax', node('jax-js', 'jax.mjs')],
    ['tfjs', node('tfjs', 'tfjs.mjs')],
    ['ort', node('ONNX Runtime Web', 'ort.mjs')],
  ]);
  const interpreter = python();
  if (interpreter === undefined) {
    console.error('No Python with PyTorch was found (BENCH_PYTHON names one): its column stays empty.');
  } else {
    all.set('pytorch', (work, env = process.env) => {
      const args = ['pytorch.py', '--work', JSON.stringify(peerWorkNamed(work))];
      return new Worker(reference, interpreter, args, env);
    });
  }
  return all;
}

/** The other libraries, in this folder's own node_modules. */
export function installPeers(): void {
  if (dependenciesInstalled(folder)) return;
  console.error('Installing the peers (npm ci in bench/peers) ...');
  const args = ['ci', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error'];
  const { status } = spawnSync('npm', args, { cwd: folder, stdio: 'inherit' });
  if (status !== 0) throw new Error('npm ci failed in bench/peers: is the package registry reachable?');
}
