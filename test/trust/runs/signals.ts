/**
 * `npx tsx test/trust/runs/signals.ts [--rounds 8] [--seed 1] [--lanes 2]`: signals at random moments of a
 * process's life, and a reader that goes away. The exit status is that of the signal (or 0 where the command
 * was done before), no temporary file and no lock is left, and a run goes on to the bits of an undisturbed
 * one.
 */
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { Random } from '../../../src/data/index.js';
import { loadCheckpoint } from '../../../src/formats/index.js';
import { FileServer } from '../../hub/server.js';
import { undisturbed, workshop } from './recipes.js';
import {
  contentOf,
  differences,
  environment,
  inParallel,
  kindling,
  sleep,
  statusOf,
  strays,
  type Running,
} from './support.js';

/** What is done to a process. */
interface Disturbance {
  readonly name: string;
  readonly status: number;
  /**
   * Of a second signal. One that comes when the command has told of the first and Node takes the process down
   * finds no handler any more, and is what the process ends by.
   */
  readonly late?: number;
  readonly send: (running: Running, random: Random) => Promise<void>;
}

const signal = (name: NodeJS.Signals, status: number): Disturbance => ({
  name,
  status,
  send: ({ child }) => Promise.resolve(void child.kill(name)),
});

export const disturbances: readonly Disturbance[] = [
  signal('SIGINT', 130),
  signal('SIGTERM', 143),
  signal('SIGHUP', 129),
  {
    name: 'SIGINT twice',
    status: 130,
    async send({ child }, random) {
      child.kill('SIGINT');
      await sleep(random.uniform(350, 700));
      child.kill('SIGINT');
    },
  },
  {
    // What a closed terminal does: it and its shell tell the process.
    name: 'SIGHUP, SIGTERM',
    status: 129,
    late: 143,
    async send({ child }, random) {
      child.kill('SIGHUP');
      await sleep(random.uniform(1, 50));
      child.kill('SIGTERM');
    },
  },
  {
    name: 'reader gone',
    status: 141,
    send: ({ child }) => Promise.resolve(void child.stdout?.destroy()),
  },
];

export interface SignalRow {
  readonly command: string;
  readonly disturbance: string;
  tries: number;
  /** Ended by it; the others were done before, or (without a reader) had nothing more to say. */
  ended: number;
}

export interface SignalFigures {
  readonly rows: SignalRow[];
  readonly problems: string[];
}

/** A command that is disturbed. */
interface Victim {
  readonly name: string;
  readonly args: (place: string) => readonly string[];
  readonly milliseconds: number;
  /** Where it leaves files, for `strays`. */
  readonly folder: (place: string) => string;
  /** What is wrong with what it left. */
  readonly check: (place: string) => Promise<string[]>;
}

export async function disturb(options: {
  readonly folder: string;
  readonly rounds: number;
  readonly seed: number;
  readonly lanes: number;
  readonly only?: string | undefined;
  readonly log?: (line: string) => void;
}): Promise<SignalFigures> {
  const { folder, rounds, seed, lanes, only, log = () => undefined } = options;
  const { recipes } = await workshop(folder);
  const [whole, cached] = [recipes[0]!, recipes[1]!];
  const twin = await undisturbed(whole, join(folder, 'whole'));
  const weights = join(folder, 'start.safetensors');
  // A server that takes its time, so that the signal finds a download under way.
  const server = await new FileServer(readFileSync(weights)).listen();
  server.behaviour.pace = 60;
  const readable = async (path: string): Promise<string[]> => {
    if (!existsSync(path)) return [];
    for (const tensor of (await loadCheckpoint(path)).tensors.values()) await tensor.bytes();
    return [];
  };
  const run =
    (extra: readonly string[]): Victim['args'] =>
    (place) => [...whole.args, ...extra, '--out', join(place, 'run')];
  const resumed = async (place: string): Promise<string[]> => {
    const path = join(place, 'run');
    const args = existsSync(join(path, 'config.json')) ? ['finetune', '--resume', path] : run([])(place);
    const { code, stderr } = await kindling(args).ended;
    if (code !== 0) return [`cannot be gone on with: ${stderr}`];
    return differences(twin.content, await contentOf(path)).map((name) => `${name} differs`);
  };
  const { milliseconds } = twin;
  const victims: Victim[] = [
    { name: 'finetune', args: run([]), milliseconds, folder: (place) => join(place, 'run'), check: resumed },
    {
      name: 'finetune --workers 2',
      args: run(['--workers', '2']),
      milliseconds,
      folder: (place) => join(place, 'run'),
      check: resumed,
    },
    {
      name: 'finetune to a file',
      args: (place) => [...cached.args, '--out', join(place, 'out.safetensors')],
      milliseconds,
      folder: (place) => place,
      check: (place) => readable(join(place, 'out.safetensors')),
    },
    {
      name: 'convert',
      args: (place) => ['convert', weights, join(place, 'out.npz')],
      milliseconds: 0.25 * milliseconds,
      folder: (place) => place,
      check: (place) => readable(join(place, 'out.npz')),
    },
    {
      name: 'download',
      args: () => ['eval', '--weights', server.url(), '--data', join(folder, 'images/val')],
      milliseconds: 0.8 * milliseconds,
      folder: (place) => join(place, 'hub/checkpoints'),
      check: () => Promise.resolve([]),
    },
  ];

  const figures: SignalFigures = { rows: [], problems: [] };
  const trials: (() => Promise<void>)[] = [];
  for (const [v, victim] of victims.entries()) {
    if (only !== undefined && victim.name !== only) continue;
    for (const [d, { name, status, late, send }] of disturbances.entries()) {
      const row: SignalRow = { command: victim.name, disturbance: name, tries: 0, ended: 0 };
      figures.rows.push(row);
      for (let round = 0; round < rounds; round++)
        trials.push(async () => {
          const random = new Random(seed, v, d, round);
          const place = mkdtempSync(join(folder, 'place-'));
          const running = kindling(victim.args(place), { env: { KINDLING_CACHE: place } });
          const wait = sleep(random.uniform(0, victim.milliseconds)).then(() => send(running, random));
          const ended = await running.ended;
          await wait;
          const got = statusOf(ended);
          const problem = (text: string): void =>
            void figures.problems.push(`${victim.name}, ${name}, round ${round}: ${text}`);
          row.tries++;
          const told = ended.stderr.includes('interrupted by');
          if (got === status || (got === late && told)) row.ended++;
          else if (got !== 0) problem(`status ${got}, not ${status}: ${ended.stderr}`);
          // A part of a download is kept by design, and gone on with.
          const left = strays(victim.folder(place)).filter((file) => !file.endsWith('.partial'));
          if (left.length > 0) problem(`left ${left.join(', ')} (status ${got})`);
          const reports = ended.stderr.match(/^kindling: .*/gm) ?? [];
          if (reports.length > 2) problem(`${reports.length} reports: ${ended.stderr}`);
          for (const text of await victim.check(place)) problem(text);
          rmSync(place, { recursive: true });
        });
    }
  }
  await inParallel(trials.length, lanes, async (i) => {
    await trials[i]!();
    if (i % 10 === 9) log(`${i + 1} of ${trials.length} trials, ${figures.problems.length} problems`);
  });
  server.close();
  return figures;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { values } = parseArgs({
    options: {
      rounds: { type: 'string', default: '8' },
      seed: { type: 'string', default: '1' },
      lanes: { type: 'string', default: '2' },
      only: { type: 'string' },
    },
  });
  Object.assign(process.env, environment);
  const folder = mkdtempSync(join(tmpdir(), 'kindling-signals-'));
  const started = performance.now();
  const { rows, problems } = await disturb({
    folder,
    rounds: Number(values.rounds),
    seed: Number(values.seed),
    lanes: Number(values.lanes),
    only: values.only,
    log: console.log,
  });
  console.log('| command | disturbance | tries | ended by it |\n|---|---|---|---|');
  for (const { command, disturbance, tries, ended } of rows)
    console.log(`| ${command} | ${disturbance} | ${tries} | ${ended} |`);
  for (const problem of problems) console.log(`FAILED ${problem}`);
  const minutes = (performance.now() - started) / 60_000;
  console.log(`${problems.length} problems, ${minutes.toFixed(1)} min (seed ${values.seed})`);
  rmSync(folder, { recursive: true });
  process.exitCode = problems.length === 0 ? 0 : 1;
}
