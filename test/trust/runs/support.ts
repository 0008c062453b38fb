/**
 * What the scripts about whole runs share: the built command as a process, made-up images, and what a run
 * folder comes to.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { HostTensor, loadCheckpoint, loadValue, type PlainValue } from '../../../src/formats/index.js';
import { Random } from '../../../src/data/index.js';
import { build } from '../../../scripts/build.mjs';

export const root = fileURLToPath(new URL('../../../', import.meta.url));
export const command = join(root, 'dist/cli/main.js');

/** Makes sure that `dist` is what the sources say. */
export function buildCommand(): void {
  build();
}

/** The environment of a process: the compiled shaders are kept between them, as for the tests. */
export const environment: NodeJS.ProcessEnv = {
  ...process.env,
  LP_NUM_THREADS: process.env['LP_NUM_THREADS'] ?? '8',
  MESA_SHADER_CACHE_DIR: process.env['MESA_SHADER_CACHE_DIR'] ?? join(root, 'node_modules/.cache/mesa'),
};

export interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  /** Without what Dawn prints about its limits. */
  readonly stderr: string;
  readonly milliseconds: number;
}

export interface Running {
  readonly child: ChildProcess;
  readonly ended: Promise<Ended>;
}

/** What the exit status is in a shell. */
export const statusOf = ({ code, signal }: Ended): number =>
  code ?? 128 + ({ SIGHUP: 1, SIGINT: 2, SIGKILL: 9, SIGPIPE: 13, SIGTERM: 15 }[signal as string] ?? 0);

const dawnsOwn = /^Warning: maxDynamic.*\n/gm;

/** Starts a program; `onOutput` sees its standard output as it comes. */
export function start(
  file: string,
  args: readonly string[],
  { onOutput, env }: { onOutput?: (text: string) => void; env?: Readonly<Record<string, string>> } = {},
): Running {
  const begun = performance.now();
  const child = spawn(file, args, { env: { ...environment, ...env }, stdio: ['ignore', 'pipe', 'pipe'] });
  let [stdout, stderr] = ['', ''];
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
    onOutput?.(text);
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  const ended = new Promise<Ended>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code, signal) =>
      resolve({
        code,
        signal,
        stdout,
        stderr: stderr.replace(dawnsOwn, ''),
        milliseconds: performance.now() - begun,
      }),
    );
  });
  return { child, ended };
}

/** Starts `kindling ...args`. */
export const kindling = (args: readonly string[], options: Parameters<typeof start>[2] = {}): Running =>
  start(process.execPath, [command, ...args], options);

/** A folder with `train` and `val`, three classes of 32 x 32 pictures that are easy to tell apart. */
export function writeImages(folder: string, perClass = { train: 8, val: 3 }): string {
  for (const [split, count] of Object.entries(perClass))
    for (let label = 0; label < 3; label++) {
      const into = join(folder, split, `class${label}`);
      mkdirSync(into, { recursive: true });
      for (let i = 0; i < count; i++) {
        const random = new Random(1, label, i, split === 'val' ? 1 : 0);
        const pixels = Uint8Array.from(
          { length: 32 * 32 * 3 },
          (_, k) => random.integer(64) + 60 * label + (k % 3 === label ? 60 : 0),
        );
        writeFileSync(join(into, `${i}.ppm`), Buffer.concat([Buffer.from('P6\n32 32\n255\n'), pixels]));
      }
    }
  return folder;
}

/** Files that must not be left behind: temporary ones and locks. */
export const strays = (folder: string): string[] =>
  existsSync(folder) ? readdirSync(folder).filter((name) => /\.tmp$|^lock|\.partial$/.test(name)) : [];

/**
 * What a run folder holds, as one hash per file, without times: equal for two runs that came to the same
 * bits. Of weight files and of the state every byte of every tensor counts, and what is stored beside them.
 */
export async function contentOf(run: string): Promise<Record<string, string>> {
  const content: Record<string, string> = {};
  for (const name of readdirSync(run).sort()) {
    const path = join(run, name);
    // The report is drawn from the rest, and tells times.
    if (name === 'report.html') content[name] = 'there';
    else if (name.endsWith('.safetensors')) content[name] = await hashOfWeights(path);
    else if (name === 'state.pth') content[name] = await hashOf(await loadValue(path));
    else if (name === 'config.json' || name === 'lock') content[name] = 'there';
    else content[name] = digest(withoutTimes(readFileSync(path, 'utf8')));
  }
  return content;
}

/** Names of the files in which two contents differ. */
export const differences = (
  one: Readonly<Record<string, string>>,
  other: Readonly<Record<string, string>>,
): string[] =>
  [...new Set([...Object.keys(one), ...Object.keys(other)])].filter((name) => one[name] !== other[name]);

const digest = (...parts: (string | Uint8Array)[]): string => {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part);
  return hash.digest('hex').slice(0, 16);
};

const withoutTimes = (text: string): string => text.replace(/\\?"seconds\\?":[\d.e+-]+/g, '"seconds":0');

async function hashOfWeights(path: string): Promise<string> {
  const { tensors, extra } = await loadCheckpoint(path);
  const parts: string[] = [];
  for (const [key, tensor] of tensors) parts.push(key, await hashOf(tensor));
  for (const [key, value] of extra) parts.push(key, await hashOf(value));
  return digest(...parts);
}

async function hashOf(value: PlainValue | HostTensor | undefined): Promise<string> {
  if (value instanceof HostTensor)
    return digest(value.dtype, JSON.stringify(value.shape), await value.bytes());
  if (value instanceof Map) {
    const parts: string[] = [];
    for (const [key, item] of value) parts.push(String(key), await hashOf(item));
    return digest('map', ...parts);
  }
  if (Array.isArray(value)) {
    const parts: string[] = [];
    for (const item of value) parts.push(await hashOf(item as PlainValue));
    return digest('list', ...parts);
  }
  return digest(typeof value, typeof value === 'string' ? withoutTimes(value) : String(value));
}

/** Does `count` pieces of work, some at once, in order of their numbers. */
export async function inParallel(
  count: number,
  lanes: number,
  work: (index: number) => Promise<void>,
): Promise<void> {
  let next = 0;
  const lane = async (): Promise<void> => {
    while (next < count) await work(next++);
  };
  await Promise.all(Array.from({ length: lanes }, lane));
}

export const sleep = (milliseconds: number): Promise<void> =>
  new Promise((resolve) => setTimeout(resolve, milliseconds));
