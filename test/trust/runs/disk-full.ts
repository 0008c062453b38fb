/**
 * `npx tsx test/trust/runs/disk-full.ts [--method tmpfs|limit] [--seed 1] [--sizes 8]`: every place that the
 * command writes to, on a disk with room for a part of it only. `tmpfs` mounts a small file system (needs
 * root); `limit` lowers the size that a file may grow to (RLIMIT_FSIZE, by util-linux's prlimit), which
 * everybody may. Default: the first that works.
 *
 * Whatever the room, a command ends well, or with status 1 and one report that names the file; files that
 * were there are as they were (a run's state as a whole: it can be gone on with), and no part of a file is
 * left under any name but that of a download, which is gone on with.
 */
import { spawnSync } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statfsSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { run } from '../../../src/cli/run.js';
import { Random } from '../../../src/data/index.js';
import { close, init, loadCheckpoint, manualSeed, models, saveWeights } from '../../../src/index.js';
import { FileServer } from '../../hub/server.js';
import { buildCommand, environment, kindling, start, statusOf, writeImages } from './support.js';

/** A folder whose room can be set. */
interface Disk {
  readonly folder: string;
  /** Leaves room for so many bytes: in all (tmpfs), or for each file (limit). */
  setRoom(bytes: number): void;
  /** All the room again. */
  free(): void;
  remove(): void;
}

/** @returns null where this process may not mount */
function tmpfs(): Disk | null {
  const folder = mkdtempSync(join(tmpdir(), 'kindling-disk-'));
  const size = 32 * 2 ** 20;
  const mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', `size=${size}`, 'tmpfs', folder]);
  if (mounted.status !== 0) {
    rmSync(folder, { recursive: true });
    return null;
  }
  const filler = join(folder, '.filler');
  return {
    folder,
    setRoom(bytes) {
      rmSync(filler, { force: true });
      const { bavail, bsize } = statfsSync(folder);
      writeFileSync(filler, Buffer.alloc(Math.max(0, bavail * bsize - bytes)));
    },
    free: () => rmSync(filler, { force: true }),
    remove() {
      spawnSync('umount', [folder]);
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** @returns null where there is no prlimit */
function limit(): Disk | null {
  const set = (bytes: string): boolean =>
    spawnSync('prlimit', ['--pid', String(process.pid), `--fsize=${bytes}:`]).status === 0;
  if (!set('unlimited')) return null;
  const folder = mkdtempSync(join(tmpdir(), 'kindling-disk-'));
  return {
    folder,
    setRoom: (bytes) => void set(String(Math.floor(bytes))),
    free: () => void set('unlimited'),
    remove: () => rmSync(folder, { recursive: true, force: true }),
  };
}

/** One command on a disk. */
interface Case {
  readonly name: string;
  /** Puts on the disk what is there before. */
  readonly before?: () => void;
  readonly args: readonly string[];
  /** Bytes that it writes in all, about; rooms are chosen below. */
  readonly needs: number;
  /** Checks what a failed command left, on a disk with room again; the problems. */
  readonly after?: () => Promise<string[]>;
}

interface Outcome {
  readonly tries: number;
  readonly failed: number;
  /** Files that errors named. */
  readonly named: ReadonlySet<string>;
  readonly problems: readonly string[];
}

/** Files below a folder with their content, without `.filler`. */
function snapshot(folder: string): Map<string, Buffer> {
  const files = new Map<string, Buffer>();
  for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name);
    if (entry.isFile() && entry.name !== '.filler') files.set(path, readFileSync(path));
  }
  return files;
}

async function inProcess(args: readonly string[]): Promise<{ code: number; stderr: string }> {
  let stderr = '';
  const quiet = { write: () => undefined };
  const code = await run(args, { streams: { stdout: quiet, stderr: { write: (text) => (stderr += text) } } });
  return { code, stderr };
}

/**
 * Files that a failed command may have made or changed: those of a run, which count as a whole, and parts of
 * downloads.
 */
const mayDiffer = /\/run\/[a-z]+\.(json|jsonl|txt|safetensors|pth|html)$|\.partial(\.json)?$/;

async function tryCase(disk: Disk, each: Case, rooms: readonly number[]): Promise<Outcome> {
  const named = new Set<string>();
  const problems: string[] = [];
  let failed = 0;
  for (const room of rooms) {
    disk.free();
    for (const name of readdirSync(disk.folder)) rmSync(join(disk.folder, name), { recursive: true });
    each.before?.();
    const old = snapshot(disk.folder);
    disk.setRoom(room);
    const { code, stderr } = await inProcess(each.args);
    disk.free();
    if (code === 0) continue;
    failed++;
    const problem = (text: string): void =>
      void problems.push(`${each.name}, room ${Math.round(room)}: ${text}`);
    const reports = stderr.split('\n').filter((line) => line.startsWith('kindling: '));
    if (code !== 1) problem(`status ${code}`);
    if (reports.length !== 1) problem(`${reports.length} reports: ${stderr}`);
    // What a download says is longer: what is kept and how to go on.
    const report =
      /^kindling: .*?([\w.-]+)(?: and [\w.-]+)?:? (?:cannot be (?:written|made)|needs [\d.]+|the disk is full)/;
    const name = report.exec(reports[0] ?? '')?.[1];
    if (name === undefined) problem(`names no file: ${stderr}`);
    else named.add(name);
    const left = snapshot(disk.folder);
    for (const [path, bytes] of left) {
      if (mayDiffer.test(path)) continue;
      if (!old.has(path)) problem(`left ${path} (${bytes.length} bytes)`);
      else if (!old.get(path)!.equals(bytes)) problem(`changed ${path}`);
    }
    for (const path of old.keys()) if (!left.has(path)) problem(`lost ${path}`);
    for (const text of (await each.after?.()) ?? []) problem(text);
  }
  return { tries: rooms.length, failed, named, problems };
}

/** Every file of a run can be read, and the run goes on to its end. */
async function whole(folder: string, begin: readonly string[]): Promise<string[]> {
  const problems: string[] = [];
  for (const name of ['last.safetensors', 'best.safetensors', 'state.pth']) {
    const path = join(folder, name);
    if (!existsSync(path)) continue;
    try {
      const { tensors } = await loadCheckpoint(path, name === 'state.pth' ? { key: ['model'] } : {});
      for (const tensor of tensors.values()) await tensor.bytes();
    } catch (error) {
      problems.push(String(error));
    }
  }
  const history = join(folder, 'history.jsonl');
  if (existsSync(history))
    for (const line of readFileSync(history, 'utf8').split('\n').slice(0, -1)) JSON.parse(line);
  const args = existsSync(join(folder, 'config.json')) ? ['finetune', '--resume', folder] : begin;
  const { code, stderr } = await inProcess(args);
  if (code !== 0) problems.push(`cannot be gone on with: ${stderr}`);
  return problems;
}

export interface DiskFigures {
  readonly method: string;
  readonly rows: readonly (Outcome & { readonly name: string })[];
}

/** @returns null where neither method is possible */
export async function fillDisks(options: {
  readonly folder: string;
  readonly method?: string | undefined;
  readonly seed: number;
  readonly sizes: number;
  readonly only?: string | undefined;
  readonly log?: (line: string) => void;
}): Promise<DiskFigures | null> {
  const { folder, method, seed, sizes, only, log = () => undefined } = options;
  const mounted = method === 'limit' ? null : tmpfs();
  const disk = mounted ?? (method === 'tmpfs' ? null : limit());
  if (disk === null) return null;
  const server = await new FileServer(Buffer.alloc(0)).listen();
  const cache = process.env['KINDLING_CACHE'];
  try {
    await init();
    manualSeed(0);
    const images = writeImages(join(folder, 'images'));
    const weights = join(folder, 'start.safetensors');
    await saveWeights(models.cifarResnet8(), weights);
    server.content = readFileSync(weights);
    const at = (name: string): string => join(disk.folder, name);
    const training = ['finetune', images, '--model', 'cifar_resnet8', '--batch-size', '8', '--epochs', '2'];
    const size = statSync(weights).size;
    const old = Buffer.alloc(1000, 'x');

    // A run that was stopped after its first epoch, to go on with.
    const stopped = join(folder, 'stopped');
    const interrupt = new AbortController();
    await run([...training, '--out', stopped], {
      signal: interrupt.signal,
      streams: {
        stdout: { write: (text) => void (text.startsWith('epoch') && interrupt.abort()) },
        stderr: { write: () => undefined },
      },
    });

    const begin = [...training, '--out', at('run')];
    const convert = (ending: string): Case => ({
      name: `convert to .${ending}`,
      before: () => writeFileSync(at(`out.${ending}`), old),
      args: ['convert', weights, at(`out.${ending}`), '--force'],
      needs: size,
    });
    const predictions = ['eval', '--weights', weights, '--data', images + '/val', '--outputs', '0,1,2'];
    const cases: Case[] = [
      ...['safetensors', 'pth', 'npz'].map(convert),
      { name: 'finetune, new run', args: begin, needs: 4 * size, after: () => whole(at('run'), begin) },
      {
        name: 'finetune, resumed',
        before: () => cpSync(stopped, at('run'), { recursive: true }),
        args: ['finetune', '--resume', at('run')],
        needs: 4 * size,
        after: () => whole(at('run'), begin),
      },
      {
        name: 'finetune, weights alone',
        before: () => writeFileSync(at('out.safetensors'), old),
        args: [...training, '--out', at('out.safetensors'), '--force'],
        needs: size,
      },
      {
        name: 'eval --predictions',
        before: () => writeFileSync(at('out.json'), '[1]'),
        args: [...predictions, '--predictions', at('out.json'), '--model', 'cifar_resnet8'],
        needs: 2,
      },
      {
        name: 'profile --trace --json',
        before: () => writeFileSync(at('trace.json'), '[]'),
        args: ['profile', 'cifar_resnet8', '--trace', at('trace.json'), '--json', at('report.json')],
        needs: 30_000,
      },
      {
        name: 'download',
        args: [...training, '--weights', server.url(), '--epochs', '1'],
        needs: size,
      },
    ];
    const rows: (Outcome & { name: string })[] = [];
    for (const [index, each] of cases.entries()) {
      if (only !== undefined && !each.name.includes(only)) continue;
      const random = new Random(seed, index);
      // No room at all, room for almost everything, and some between.
      const rooms = [
        0,
        0.97 * each.needs,
        ...Array.from({ length: sizes - 2 }, () => random.uniform(0, each.needs)),
      ];
      process.env['KINDLING_CACHE'] = at('cache');
      const outcome = await tryCase(disk, each, rooms.slice(0, sizes));
      rows.push({ name: each.name, ...outcome });
      log(`${each.name}: ${outcome.failed} of ${outcome.tries} ended in an error`);
    }
    return { method: mounted === null ? 'limit' : 'tmpfs', rows };
  } finally {
    if (cache === undefined) delete process.env['KINDLING_CACHE'];
    else process.env['KINDLING_CACHE'] = cache;
    disk.remove();
    server.close();
  }
}

/** As processes: the exit status, and standard output on the full disk. @returns the problems */
export async function fullOutputs(folder: string): Promise<string[]> {
  buildCommand();
  if (!existsSync('/dev/full')) return [];
  mkdirSync(folder, { recursive: true });
  const { command } = await import('./support.js');
  const problems: string[] = [];
  const images = writeImages(join(folder, 'images'));
  const check = (
    what: string,
    ended: Awaited<ReturnType<typeof kindling>['ended']>,
    status: number,
  ): void => {
    const reports = ended.stderr.split('\n').filter((line) => line.startsWith('kindling: '));
    if (statusOf(ended) !== status) problems.push(`${what}: status ${statusOf(ended)}, not ${status}`);
    if (reports.length === 0 || !/standard output cannot be written: ENOSPC/.test(ended.stderr))
      problems.push(`${what}: ${ended.stderr}`);
  };
  const shell = (line: string): ReturnType<typeof kindling>['ended'] =>
    start('sh', ['-c', `${line} > /dev/full`]).ended;
  const kindlingCommand = `'${process.execPath}' '${command}'`;
  check('weights', await shell(`exec ${kindlingCommand} weights`), 1);
  const out = join(folder, 'run');
  const training = `finetune '${images}' --model cifar_resnet8 --epochs 9 --out '${out}'`;
  check('finetune', await shell(`exec ${kindlingCommand} ${training}`), 1);
  const { code, stderr } = await kindling(['finetune', '--resume', out]).ended;
  if (code !== 0) problems.push(`resumed: ${stderr}`);
  return problems;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { values } = parseArgs({
    options: {
      method: { type: 'string' },
      seed: { type: 'string', default: '1' },
      sizes: { type: 'string', default: '8' },
      only: { type: 'string' },
    },
  });
  Object.assign(process.env, environment);
  const folder = mkdtempSync(join(tmpdir(), 'kindling-full-'));
  const started = performance.now();
  const figures = await fillDisks({
    folder,
    method: values.method,
    seed: Number(values.seed),
    sizes: Number(values.sizes),
    only: values.only,
    log: console.log,
  });
  if (figures === null) console.log('skipped: neither mount (root) nor prlimit works here');
  const outputs = values.only === undefined ? await fullOutputs(join(folder, 'outputs')) : [];
  const problems = [...(figures?.rows.flatMap((row) => row.problems) ?? []), ...outputs];
  console.log(`| command | tries | errors | files named |\n|---|---|---|---|`);
  for (const { name, tries, failed, named } of figures?.rows ?? [])
    console.log(`| ${name} | ${tries} | ${failed} | ${[...named].join(', ')} |`);
  for (const problem of problems) console.log(`FAILED ${problem}`);
  const seconds = (performance.now() - started) / 1000;
  console.log(
    `${figures?.method ?? 'no disk'}: ${problems.length} problems, ${seconds.toFixed(0)} s (seed ${values.seed})`,
  );
  rmSync(folder, { recursive: true });
  close();
  process.exitCode = problems.length === 0 ? 0 : 1;
}
