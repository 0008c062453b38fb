import { appendFile, mkdir, open, readdir, readFile, rm, stat } from 'node:fs/promises';
import { existsSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { writeFileAtomically } from '../../formats/index.js';
import { printable, printableJson } from '../../tensor/printable.js';
import { CliError } from '../errors.js';
import { checkFolder } from '../files.js';
import { shellWord } from '../output.js';
import type { EpochReport } from '../training-loop.js';
import { lockFolder } from './lock.js';
import { completePlan, type Plan } from './plan.js';

/** config.json: all that is needed to do a training again. */
export interface RunConfig {
  readonly kind: 'kindling run';
  readonly version: 1;
  readonly created: string;
  readonly plan: Plan;
  readonly classes: readonly string[];
  readonly weights: { readonly source: string; readonly bytes: number; readonly sha256: string } | null;
  /** Of the names and classes of the images. */
  readonly dataDigest: string;
  readonly images: { readonly train: number; readonly validation: number | null };
  readonly versions: Readonly<Record<string, string | null>>;
  readonly adapter: Readonly<Record<string, string>>;
}

/** The files of a run; `state` is the one that the others are measured by. */
export const runFiles = {
  config: 'config.json',
  history: 'history.jsonl',
  classes: 'classes.txt',
  best: 'best.safetensors',
  last: 'last.safetensors',
  state: 'state.pth',
  report: 'report.html',
} as const;

const temporary = /^\..*\.tmp$|^lock\..*\.tmp$/;
const leftover = (name: string): boolean => name === 'lock' || temporary.test(name);

const encode = (text: string): [Uint8Array] => [new TextEncoder().encode(text)];

/**
 * The folder of a training. Each file is written whole or not at all, and state.pth last: what it says is how
 * far the run has come, whatever else a killed process had written by then.
 */
export class RunFolder {
  private constructor(
    /** As the user wrote it. */
    readonly path: string,
    private current: RunConfig,
    private readonly unlock: () => Promise<void>,
  ) {}

  /**
   * Checks before any work that a new run can be written to `path`.
   *
   * @throws CliError when it is a file, a folder of something else, or a run and `force` is not set
   */
  static async checkNew(path: string, force: boolean): Promise<void> {
    const entry = await stat(path).catch(() => null);
    if (entry === null) {
      let parent = dirname(resolve(path));
      while (!existsSync(parent)) parent = dirname(parent);
      return checkFolder(parent, path);
    }
    if (!entry.isDirectory())
      throw new CliError(`${path}: is a file; --out takes a folder or a .safetensors file`);
    await checkFolder(path);
    const names = (await readdir(path)).filter((name) => !leftover(name));
    if (names.length === 0) return;
    if (!names.includes(runFiles.config) || (await readConfig(path).catch(() => null)) === null) {
      throw new CliError(
        `${path}: holds other files (${names.slice(0, 3).join(', ')}${names.length > 3 ? ', ...' : ''}) and is no run; give a new or empty folder`,
      );
    }
    if (!force) {
      throw new CliError(
        `${path}: holds a run; go on with it (kindling finetune --resume ${path}), replace it (--force), or give another folder`,
      );
    }
  }

  /** Makes the folder of a new run; what an earlier run left in it goes. */
  static async create(path: string, config: RunConfig): Promise<RunFolder> {
    await mkdir(path, { recursive: true }).catch((cause: Error) => {
      throw new CliError(`${path}: cannot be made: ${cause.message}`, { cause });
    });
    const unlock = await lockFolder(path);
    const run = new RunFolder(path, config, unlock);
    try {
      await run.begin(config);
      await run.removeLeftovers();
      return run;
    } catch (error) {
      await unlock();
      throw error;
    }
  }

  /** Puts the folder into the state of a run that has trained nothing yet. */
  async begin(config: RunConfig): Promise<void> {
    // The old state must not outlive the old configuration.
    await rm(this.file('state'), { force: true });
    await this.configure(config);
    await this.writeClasses();
    for (const name of ['best', 'last', 'report'] as const) await rm(this.file(name), { force: true });
    await this.writeHistory([]);
  }

  /** Writes another configuration, under which the run goes on. */
  async configure(config: RunConfig): Promise<void> {
    await this.write('config', `${printableJson(JSON.stringify(config, null, 2))}\n`);
    this.current = config;
  }

  get config(): RunConfig {
    return this.current;
  }

  /** Takes up a run that was stopped. */
  static async open(path: string): Promise<RunFolder> {
    // Read twice: what is no run must not get a lock, and what is read must not change any more.
    await readConfig(path);
    const unlock = await lockFolder(path);
    try {
      const run = new RunFolder(path, await readConfig(path), unlock);
      await run.removeLeftovers();
      // The process that made the folder may not have come to it.
      if (!run.has('classes')) await run.writeClasses();
      return run;
    } catch (error) {
      await unlock();
      throw error;
    }
  }

  file(name: keyof typeof runFiles): string {
    return join(this.path, runFiles[name]);
  }

  has(name: keyof typeof runFiles): boolean {
    return existsSync(this.file(name));
  }

  async write(name: keyof typeof runFiles, text: string): Promise<void> {
    await writeFileAtomically(this.file(name), encode(text));
  }

  private async writeClasses(): Promise<void> {
    await this.write('classes', this.config.classes.map((name) => `${printable(name)}\n`).join(''));
  }

  /** Cuts the history back to the epochs that the state knows of. */
  async writeHistory(epochs: readonly EpochReport[]): Promise<void> {
    await this.write('history', epochs.map((epoch) => `${JSON.stringify(epoch)}\n`).join(''));
  }

  /** The text of history.jsonl, empty where there is none. */
  async readHistory(): Promise<string> {
    if (!this.has('history')) return '';
    return readFile(this.file('history'), 'utf8');
  }

  async appendHistory(epoch: EpochReport): Promise<void> {
    const path = this.file('history');
    try {
      const file = await open(path, 'a');
      const { size } = await file.stat();
      try {
        await appendFile(file, `${JSON.stringify(epoch)}\n`);
        await file.sync();
      } catch (error) {
        // On a full disk a part of the line may have found room.
        await file.truncate(size).catch(() => undefined);
        throw error;
      } finally {
        await file.close();
      }
    } catch (cause) {
      throw new CliError(`${path}: cannot be written: ${(cause as Error).message}`, { cause });
    }
  }

  /** Temporary files of a process that was killed. */
  private async removeLeftovers(): Promise<void> {
    for (const name of await readdir(this.path))
      if (temporary.test(name)) await rm(join(this.path, name), { force: true });
  }

  /** Lets other processes have the folder. */
  async close(): Promise<void> {
    await this.unlock();
  }
}

/**
 * The configuration of a run.
 *
 * @throws CliError when the folder holds none
 */
async function readConfig(path: string): Promise<RunConfig> {
  const file = join(path, runFiles.config);
  const text = await readFile(file, 'utf8').catch((cause: NodeJS.ErrnoException) => {
    const why = existsSync(path) ? `there is no ${runFiles.config} in it, so it is no run` : 'no such folder';
    throw new CliError(
      `${path}: ${cause.code === 'ENOENT' || cause.code === 'ENOTDIR' ? why : cause.message}`,
      {
        cause,
      },
    );
  });
  let config: Partial<RunConfig>;
  try {
    config = JSON.parse(text) as Partial<RunConfig>;
  } catch (cause) {
    throw new CliError(`${file}: is not valid JSON, so this is no run`, { cause });
  }
  if (config.kind !== 'kindling run') throw new CliError(`${file}: was not written by kindling finetune`);
  if (config.version !== 1)
    throw new CliError(`${file}: is of version ${String(config.version)}; this kindling knows version 1`);
  const whole = config as RunConfig;
  return { ...whole, plan: completePlan(whole.plan) };
}

/** How to go on with the run at `path`. */
export const resumeCommand = (path: string): string => `kindling finetune --resume ${shellWord(path)}`;
