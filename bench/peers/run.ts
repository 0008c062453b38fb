/**
 * `npm run bench:peers`: kindling and other libraries on one adapter, each in a process of its own, taking turns.
 * `--help` lists the options.
 */
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { dependenciesInstalled } from '../../scripts/setup.mjs';
import {
  currentLoad,
  describe,
  digits,
  environment,
  markdownTable,
  median,
  readResults,
  setDriverDefaults,
  slugOf,
  writeResults,
  type Environment,
} from '../report.js';
import { peerWorks, workNamed } from '../works.mjs';
import { type Ready, type Round } from './worker.mjs';

const folder = fileURLToPath(new URL('.', import.meta.url));
const mandatory = 'cifar-resnet20-train-step';
const reference = 'PyTorch CPU';
/** Milliseconds of repetitions per library and round, and their number at most. */
const roundBudget = 3000;
const maxReps = 20;
/** Largest relative difference that still counts as the same computation; see {@link agrees}. */
const tolerance = 2e-3;

interface Entry {
  readonly library: string;
  readonly version: string;
  readonly medianMs: number;
  readonly fastestMs: number;
  readonly samples: number;
  readonly firstMs: number;
  readonly peakRssMiB: number;
  readonly check: readonly number[];
  /** Whether `check` is kindling's. */
  readonly agrees: boolean;
}

interface Row {
  readonly work: string;
  readonly environment: Environment;
  readonly entries: readonly Entry[];
}

/** A library's process, which runs repetitions when told to. */
class Worker {
  private readonly child: ChildProcess;
  private readonly lines: AsyncIterator<string>;
  readonly times: number[] = [];
  peakRssMiB = 0;
  ready: Ready | undefined;

  constructor(
    readonly name: string,
    command: string,
    args: readonly string[],
  ) {
    this.child = spawn(command, [...args, '--rounds'], {
      cwd: folder,
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
    if (this.ready === undefined) console.log(`  ${this.name}: failed; BENCH_VERBOSE=1 shows its output`);
    else if (!this.ready.supported) console.log(`  ${this.name}: cannot do this`);
    else console.log(`  ${this.name}: first run ${digits((this.ready.firstMs ?? 0) / 1000)} s`);
    return this.ready?.supported ?? false;
  }

  async round(): Promise<void> {
    const reps = Math.min(maxReps, Math.max(2, Math.round(roundBudget / (this.ready?.steadyMs ?? 1))));
    this.child.stdin?.write(`${reps}\n`);
    const round = await this.next<Round>();
    if (round === undefined) throw new Error(`${this.name} died during its round`);
    this.times.push(...round.times);
    this.peakRssMiB = round.peakRssMiB;
    console.log(`  ${this.name}: ${round.times.length} x ${digits(median(round.times))} ms`);
  }

  end(): Promise<void> {
    return new Promise((resolve) => {
      if (this.child.exitCode !== null || this.child.signalCode !== null) return resolve();
      this.child.on('close', () => resolve());
      this.child.stdin?.end();
      setTimeout(() => this.child.kill('SIGKILL'), 5000).unref();
    });
  }
}

function python(): string | undefined {
  const candidates = [process.env['BENCH_PYTHON'], 'python3', '/usr/bin/python3'];
  return candidates.find((name) => name && spawnSync(name, ['-c', 'import torch']).status === 0);
}

/** Starts of the workers by short name. */
function commands(): Map<string, (work: string) => Worker> {
  const node =
    (name: string, file: string, ...flags: string[]) =>
    (work: string) =>
      new Worker(name, process.execPath, [...flags, file, '--work', work]);
  const all = new Map([
    ['kindling', node('kindling', 'kindling.ts', '--import', 'tsx')],
    ['jax', node('jax-js', 'jax.mjs')],
    ['tfjs', node('tfjs', 'tfjs.mjs')],
    ['ort', node('ONNX Runtime Web', 'ort.mjs')],
  ]);
  const interpreter = python();
  if (interpreter === undefined) {
    console.log('No Python with PyTorch was found (BENCH_PYTHON names one): its column stays empty.');
  } else {
    const script = (work: string): string[] => ['pytorch.py', '--work', JSON.stringify(workNamed(work))];
    all.set('pytorch', (work) => new Worker(reference, interpreter, script(work)));
  }
  return all;
}

/**
 * Losses are judged by the first: where an activation is all but 0, rounding decides whether a ReLU lets its gradient through, and
 * one such element is half a percent of a layer's gradient.
 */
function agrees(work: string, own: readonly number[], other: readonly number[]): boolean {
  const scaleOf = (i: number): number => Math.abs(own[workNamed(work).op === 'train' ? 0 : i] ?? NaN);
  return (
    own.length === other.length &&
    own.every((value, i) => Math.abs(value - (other[i] ?? NaN)) <= tolerance * scaleOf(i))
  );
}

async function measure(
  work: string,
  starts: readonly ((work: string) => Worker)[],
  rounds: number,
): Promise<Row> {
  const load = currentLoad();
  console.log(`\n${work} (load ${load})`);
  const workers: Worker[] = [];
  try {
    // One after the other: compiling takes all cores.
    for (const start of starts) {
      const worker = start(work);
      if (await worker.start()) workers.push(worker);
      else await worker.end();
    }
    for (let i = 0; i < rounds; i++) for (const worker of workers) await worker.round();
  } finally {
    await Promise.all(workers.map((worker) => worker.end()));
  }
  const own = workers[0]?.ready;
  if (own?.library !== 'kindling') throw new Error(`${work}: kindling itself did not run`);
  for (const { name, ready } of workers) {
    if (name !== reference && ready?.adapter !== own.adapter) {
      throw new Error(`${name} runs on '${ready?.adapter}', kindling on '${own.adapter}'`);
    }
  }
  return {
    work,
    environment: environment(own.adapter, load),
    entries: workers.map(({ name, ready, times, peakRssMiB }) => ({
      library: name,
      version: ready?.version ?? '',
      medianMs: median(times),
      fastestMs: Math.min(...times),
      samples: times.length,
      firstMs: ready?.firstMs ?? NaN,
      peakRssMiB,
      check: ready?.check ?? [],
      agrees: agrees(work, own.check ?? [], ready?.check ?? []),
    })),
  };
}

function bestPeer(row: Row): Entry | undefined {
  const peers = row.entries.filter((e) => e.library !== 'kindling' && e.library !== reference && e.agrees);
  return peers.sort((a, b) => a.medianMs - b.medianMs)[0];
}

function ratio(row: Row): number | undefined {
  const own = row.entries.find((e) => e.library === 'kindling');
  const best = bestPeer(row);
  return own && best && best.medianMs / own.medianMs;
}

function report(rows: readonly Row[]): string {
  const libraries = [...new Set(['kindling', ...rows.flatMap((r) => r.entries.map((e) => e.library))])];
  const ordered = [...libraries.filter((name) => name !== reference), reference];
  const versions = new Map(rows.flatMap((r) => r.entries.map((e) => [e.library, e.version] as const)));
  const entryOf = (row: Row, library: string): Entry | undefined =>
    row.entries.find((e) => e.library === library);
  const cells = (show: (entry: Entry) => string) => (row: Row) =>
    ordered.map((library) => {
      const entry = entryOf(row, library);
      return entry === undefined ? '-' : show(entry) + (entry.agrees ? '' : ' (differs)');
    });
  const times = cells((entry) => digits(entry.medianMs));
  const others = cells((entry) => `${digits(entry.firstMs / 1000)} s, ${entry.peakRssMiB.toFixed(0)} MiB`);
  const names = ordered.map((name) => `${name} ${versions.get(name) ?? ''}`.trim());
  const showRatio = (row: Row): string => {
    const value = ratio(row);
    return value === undefined ? '-' : `**${digits(value)}x**`;
  };
  const environments = rows.map((row) => `- ${row.work}: ${describe(row.environment)}`);
  return [
    '# kindling and its peers',
    'Median milliseconds; the libraries took turns, each in its own process on the same adapter. The last column is how many times ' +
      "as long the fastest peer took. PyTorch runs on the CPU's own instructions and is there for scale.",
    markdownTable(
      ['work', ...names, 'best peer / kindling'],
      rows.map((row) => [row.work, ...times(row), showRatio(row)]),
    ),
    'First run of the process (compiling, with what the driver kept from before) and peak resident memory:',
    markdownTable(
      ['work', ...names],
      rows.map((row) => [row.work, ...others(row)]),
    ),
    'When and where:',
    environments.join('\n'),
  ].join('\n\n');
}

function installPeers(): void {
  if (dependenciesInstalled(folder)) return;
  console.log('Installing the peers (npm ci in bench/peers) ...');
  const args = ['ci', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error'];
  const { status } = spawnSync('npm', args, { cwd: folder, stdio: 'inherit' });
  if (status !== 0) throw new Error('npm ci failed in bench/peers: is the package registry reachable?');
}

const help = `Usage: npm run bench:peers -- [options]

  --only NAMES        comma-separated parts of work names (default: ${mandatory})
  --all               every work: ${Object.keys(peerWorks).join(', ')}
  --rounds N          turns per library (default 3)
  --libraries NAMES   comma-separated: kindling,jax,tfjs,ort,pytorch (default: all)
  --json FILE         also write this run's rows there
  --no-save           leave bench/results as it is`;

const { values } = parseArgs({
  allowNegative: true,
  options: {
    only: { type: 'string' },
    all: { type: 'boolean', default: false },
    rounds: { type: 'string', default: '3' },
    libraries: { type: 'string' },
    json: { type: 'string' },
    save: { type: 'boolean', default: true },
    help: { type: 'boolean', default: false },
  },
});

if (values.help) {
  console.log(help);
} else {
  setDriverDefaults();
  installPeers();
  const parts = (values.only ?? mandatory).split(',');
  const chosen = Object.keys(peerWorks).filter(
    (name) => (values.all && values.only === undefined) || parts.some((part) => name.includes(part)),
  );
  const wanted = values.libraries?.split(',');
  const starts = [...commands()]
    .filter(([name]) => name === 'kindling' || wanted === undefined || wanted.includes(name))
    .map(([, start]) => start);
  const rows: Row[] = [];
  for (const work of chosen) {
    const row = await measure(work, starts, Number(values.rounds));
    rows.push(row);
    const best = bestPeer(row);
    if (best) console.log(`  ${best.library} / kindling: ${digits(ratio(row) ?? NaN)}`);
    if (values.save) save(row);
  }
  if (values.json !== undefined) writeFileSync(values.json, JSON.stringify({ rows }, null, 2) + '\n');
  if (!values.save) console.log('\n' + report(rows));
}

/** Puts a row into the adapter's results beside the rows of earlier runs. */
function save(row: Row): void {
  const name = `peers-${slugOf(row.environment.adapter)}`;
  const earlier = (readResults(name) as { rows: Row[] } | undefined)?.rows ?? [];
  const byWork = new Map([...earlier, row].map((r) => [r.work, r]));
  const rows = Object.keys(peerWorks).flatMap((work) => byWork.get(work) ?? []);
  writeResults(name, { data: { rows }, markdown: report(rows) });
}
