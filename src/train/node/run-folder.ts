import { existsSync } from 'node:fs';
import { appendFile, mkdir, open, readdir, readFile, rm, stat } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { loadCheckpoint, loadValue } from '../../formats/checkpoint.js';
import type { HostTensor } from '../../formats/host-tensor.js';
import { writeFileAtomically } from '../../formats/node-files.js';
import type { Module } from '../../nn/index.js';
import { printableJson } from '../../tensor/printable.js';
import type { Keeper, Kept, ResumableFolder, SavedTraining } from '../keeper.js';
import type { EpochReport, Progress } from '../progress.js';
import { progressOf } from '../state.js';
import { RunFolderError } from './errors.js';
import { lockFolder } from './lock.js';
import { Saver, seenNothing } from './saver.js';
import { checkWritable } from './writable.js';

/** The files of every run; `state` is the one that the others are measured by. */
export const runFiles = {
  config: 'config.json',
  history: 'history.jsonl',
  best: 'best.safetensors',
  last: 'last.safetensors',
  state: 'state.pth',
} as const;

type BaseFile = keyof typeof runFiles;

/** What config.json begins with. */
export interface BaseConfig {
  readonly kind: string;
  readonly version: 1;
  readonly created: string;
}

/** What tells runs of one program from those of others. */
export interface RunKind<C extends BaseConfig, F extends string> {
  /** In config.json. */
  readonly kind: string;
  /** Files besides the ones of every run. */
  readonly files: Readonly<Record<F, string>>;
  /** Texts of those that follow from the configuration: written anew with it. */
  readonly derived?: (config: C) => Partial<Readonly<Record<F, string>>>;
  /** Completes a configuration of an older version of the program. */
  readonly complete?: (config: C) => C;
}

/** A run of a script: what it says of itself is under `settings`. */
export interface ScriptConfig extends BaseConfig {
  readonly settings: Readonly<Record<string, unknown>>;
}

const ofScripts: RunKind<ScriptConfig, never> = { kind: 'kindling training', files: {} };

export interface KeepOptions {
  /** Stored beside the weights, as text. */
  readonly metadata?: ((epochs: readonly EpochReport[]) => Readonly<Record<string, string>>) | undefined;
}

const temporary = /^\..*\.tmp$|^lock\..*\.tmp$/;
const leftover = (name: string): boolean => name === 'lock' || temporary.test(name);

/** Plain data as JSON whose keys are in order. */
const ordered = (value: unknown): string =>
  JSON.stringify(value, (_, item: unknown) =>
    typeof item === 'object' && item !== null && !Array.isArray(item)
      ? Object.fromEntries(Object.entries(item).sort(([a], [b]) => (a < b ? -1 : 1)))
      : item,
  );

const encode = (text: string): [Uint8Array] => [new TextEncoder().encode(text)];

/**
 * The folder of a training, which survives a kill at any moment:
 *
 * ```ts
 * const folder = await RunFolder.openOrCreate('run', { lr: 0.01 });
 * await trainer.resume(folder);
 * await trainer.fit(loader, { epochs: 10, validation, folder });
 * await folder.close();
 * ```
 *
 * Each file is written whole or not at all, and state.pth last: what it says is how far the run has come,
 * whatever else a killed process had written by then. One process at a time has it, until `close`.
 */
export class RunFolder<C extends BaseConfig = ScriptConfig, F extends string = never>
  implements ResumableFolder, AsyncDisposable
{
  private closed = false;

  private constructor(
    /** As it was given. */
    readonly path: string,
    private current: C,
    private readonly kind: RunKind<C, F>,
    private readonly unlock: () => Promise<void>,
    /** False where another process writes it. */
    private readonly writes = true,
  ) {}

  /**
   * Makes the folder of a new run; what an earlier run left in it goes.
   *
   * @param settings what the script wants to know again, as plain data
   * @param options.force replaces a run that is there
   * @throws RunFolderError for a file, a folder of something else, and a run that is not to be replaced
   */
  static async create(
    path: string,
    settings: Readonly<Record<string, unknown>> = {},
    { force = false }: { readonly force?: boolean } = {},
  ): Promise<RunFolder> {
    await RunFolder.checkNew(path, force, ofScripts);
    const created = new Date().toISOString();
    return RunFolder.make(path, { kind: ofScripts.kind, version: 1, created, settings }, ofScripts);
  }

  /** Takes up a run that was stopped. @throws RunFolderError where there is none */
  static open(path: string): Promise<RunFolder> {
    return RunFolder.take(path, ofScripts);
  }

  /**
   * The run that is there, or a new one.
   *
   * @throws RunFolderError where the run that is there was made with other settings
   */
  static async openOrCreate(
    path: string,
    settings: Readonly<Record<string, unknown>> = {},
  ): Promise<RunFolder> {
    if (!existsSync(join(path, runFiles.config))) return RunFolder.create(path, settings);
    const run = await RunFolder.open(path);
    const [there, given] = [run.config.settings, settings].map((each) => ordered(each));
    if (Object.keys(settings).length === 0 || there === given) return run;
    await run.close();
    throw new RunFolderError(
      `${path}: holds a run with other settings, ${there} where now ${given} are given; give those, go on as it is (RunFolder.open), or replace it (RunFolder.create with { force: true })`,
      { problem: 'run' },
    );
  }

  /**
   * Checks before any work that a new run can be written to `path`.
   *
   * @throws RunFolderError when it is a file, a folder of something else, or a run and `force` is not set
   */
  static async checkNew<C extends BaseConfig, F extends string>(
    path: string,
    force: boolean,
    kind: RunKind<C, F>,
  ): Promise<void> {
    const entry = await stat(path).catch(() => null);
    if (entry === null) {
      let parent = dirname(resolve(path));
      while (!existsSync(parent)) parent = dirname(parent);
      return checkWritable(parent, path);
    }
    if (!entry.isDirectory())
      throw new RunFolderError(`${path}: is a file; a run needs a folder`, { problem: 'file' });
    await checkWritable(path);
    const names = (await readdir(path)).filter((name) => !leftover(name));
    if (names.length === 0) return;
    if (!names.includes(runFiles.config) || (await readConfig(path, kind).catch(() => null)) === null) {
      throw new RunFolderError(
        `${path}: holds other files (${names.slice(0, 3).join(', ')}${names.length > 3 ? ', ...' : ''}) and is no run; give a new or empty folder`,
      );
    }
    if (!force) {
      throw new RunFolderError(
        `${path}: holds a run; go on with it (RunFolder.open), replace it ({ force: true }), or give another folder`,
        { problem: 'run' },
      );
    }
  }

  /** Makes the folder of a run of some kind. */
  static async make<C extends BaseConfig, F extends string>(
    path: string,
    config: C,
    kind: RunKind<C, F>,
  ): Promise<RunFolder<C, F>> {
    await mkdir(path, { recursive: true }).catch((cause: Error) => {
      throw new RunFolderError(`${path}: cannot be made: ${cause.message}`, { cause });
    });
    const unlock = await lockFolder(path);
    const run = new RunFolder(path, config, kind, unlock);
    try {
      await run.begin(config);
      await run.removeLeftovers();
      return run;
    } catch (error) {
      await unlock();
      throw error;
    }
  }

  /**
   * The run of another process, which writes it and has the lock: what is written here is nowhere but in this
   * object.
   *
   * @param config as the other one has it
   */
  static beside<C extends BaseConfig, F extends string>(
    path: string,
    config: C,
    kind: RunKind<C, F>,
  ): RunFolder<C, F> {
    return new RunFolder(path, config, kind, () => Promise.resolve(), false);
  }

  /** Takes up a run of some kind. */
  static async take<C extends BaseConfig, F extends string>(
    path: string,
    kind: RunKind<C, F>,
  ): Promise<RunFolder<C, F>> {
    // Read twice: what is no run must not get a lock, and what is read must not change any more.
    await readConfig(path, kind);
    const unlock = await lockFolder(path);
    try {
      const run = new RunFolder(path, await readConfig(path, kind), kind, unlock);
      await run.removeLeftovers();
      // The process that made the folder may not have come to them.
      await run.writeDerived((name) => !run.has(name));
      return run;
    } catch (error) {
      await unlock();
      throw error;
    }
  }

  /** Puts the folder into the state of a run that has trained nothing yet. */
  async begin(config: C): Promise<void> {
    if (!this.writes) {
      this.current = config;
      return;
    }
    // The old state must not outlive the old configuration.
    await rm(this.file('state'), { force: true });
    await this.configure(config);
    await this.writeDerived(() => true);
    const derived = this.kind.derived?.(config) ?? {};
    const others = (Object.keys(this.kind.files) as F[]).filter((name) => !(name in derived));
    for (const name of ['best', 'last', ...others] as const) await rm(this.file(name), { force: true });
    await this.writeHistory([]);
  }

  /** Writes another configuration, under which the run goes on. */
  async configure(config: C): Promise<void> {
    await this.write('config', `${printableJson(JSON.stringify(config, null, 2))}\n`);
    this.current = config;
  }

  get config(): C {
    return this.current;
  }

  /** The path of a file of the run. */
  file(name: BaseFile | F): string {
    const names: Readonly<Record<string, string>> = { ...runFiles, ...this.kind.files };
    return join(this.path, names[name] ?? name);
  }

  has(name: BaseFile | F): boolean {
    return existsSync(this.file(name));
  }

  /** Writes a file, whole or not at all. */
  async write(name: BaseFile | F, text: string): Promise<void> {
    if (this.writes) await writeFileAtomically(this.file(name), encode(text));
  }

  private async writeDerived(which: (name: F) => boolean): Promise<void> {
    for (const [name, text] of Object.entries(this.kind.derived?.(this.config) ?? {}) as [F, string][])
      if (which(name)) await this.write(name, text);
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
    if (!this.writes) return;
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
      throw new RunFolderError(`${path}: cannot be written: ${(cause as Error).message}`, { cause });
    }
  }

  /** Writes a training down as it goes on; `Trainer.fit` asks for it. */
  keep(training: Kept, { metadata = () => ({}) }: KeepOptions = {}): Keeper {
    if (this.closed)
      throw new RunFolderError(`${this.path}: was closed; take it up again (RunFolder.open) before \`fit\``);
    return new Saver(this, training, metadata);
  }

  /**
   * What state.pth holds, or null where the run was ended before it had the first.
   *
   * @param complete whether nothing is left to do for a finished run, which then needs no best weights
   * @throws RunFolderError when files are missing without which the run cannot go on, or could only start
   *   over and lose what it has
   */
  async readState(
    complete: (progress: Progress, values: ReadonlyMap<string, unknown>) => boolean = () => false,
  ): Promise<ReadonlyMap<string, unknown> | null> {
    if (!this.has('state')) {
      if (await this.hasTrained()) throw this.missing('state');
      return null;
    }
    const value = await loadValue(this.file('state'));
    if (!(value instanceof Map) || typeof value.get('progress') !== 'string')
      throw new RunFolderError(`${this.file('state')}: is not the state of a training`);
    const values = value as ReadonlyMap<string, unknown>;
    const progress = progressOf(values);
    const withBest = progress.bestEpoch > 0 && !complete(progress, values);
    const needed = withBest ? (['last', 'best'] as const) : ['last' as const];
    for (const name of needed) if (!this.has(name)) throw this.missing(name);
    return values;
  }

  /** How far the run has come; null before its first state. */
  async readProgress(): Promise<Progress | null> {
    const state = await this.readState(() => true);
    return state === null ? null : progressOf(state);
  }

  /** What `Trainer.resume` asks for. */
  async load(): Promise<SavedTraining | null> {
    const state = await this.readState();
    return state === null ? null : { state, weights: await this.weights('last') };
  }

  /** The weights of the best epoch, or of the last. */
  async weights(which: 'best' | 'last'): Promise<ReadonlyMap<string, HostTensor>> {
    return (await loadCheckpoint(this.file(which))).tensors;
  }

  /** Loads the best weights into a model of the run's kind. */
  async loadBest(model: Module): Promise<void> {
    await model.loadStateDict(await this.weights('best'));
  }

  /** Whether a run without state.pth has something that starting over would write over. */
  private async hasTrained(): Promise<boolean> {
    const derived = this.kind.derived?.(this.config) ?? {};
    const results = (Object.keys(this.kind.files) as F[]).filter((name) => !(name in derived));
    if (['best' as const, ...results].some((name) => this.has(name))) return true;
    if ((await this.readHistory()).trim() !== '') return true;
    if (!this.has('last')) return false;
    const { extra } = await loadCheckpoint(this.file('last'));
    return extra.get('seen') !== seenNothing;
  }

  private missing(name: 'state' | 'last' | 'best'): RunFolderError {
    const there = (['best', 'last'] as const).find((each) => this.has(each));
    const weights = there === undefined ? null : this.file(there);
    const others = weights === null ? '' : `, or begin a new run with its weights (${weights})`;
    return new RunFolderError(
      `${this.path}: cannot be gone on with, as ${runFiles[name]} is missing; nothing was changed. Put the file back${others}`,
      { problem: 'missing', file: runFiles[name], weights },
    );
  }

  /** Temporary files of a process that was killed. */
  private async removeLeftovers(): Promise<void> {
    for (const name of await readdir(this.path))
      if (temporary.test(name)) await rm(join(this.path, name), { force: true });
  }

  /** Lets other processes have the folder. */
  async close(): Promise<void> {
    this.closed = true;
    await this.unlock();
  }

  /** `await using folder = ...` closes it. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

/**
 * The configuration of a run.
 *
 * @throws RunFolderError when the folder holds none
 */
async function readConfig<C extends BaseConfig, F extends string>(
  path: string,
  { kind, complete }: RunKind<C, F>,
): Promise<C> {
  const file = join(path, runFiles.config);
  const text = await readFile(file, 'utf8').catch((cause: NodeJS.ErrnoException) => {
    const why = existsSync(path) ? `there is no ${runFiles.config} in it, so it is no run` : 'no such folder';
    throw new RunFolderError(
      `${path}: ${cause.code === 'ENOENT' || cause.code === 'ENOTDIR' ? why : cause.message}`,
      { cause },
    );
  });
  let config: Partial<BaseConfig>;
  try {
    config = JSON.parse(text) as Partial<BaseConfig>;
  } catch (cause) {
    throw new RunFolderError(`${file}: is not valid JSON, so this is no run`, { cause });
  }
  if (config.kind !== kind)
    throw new RunFolderError(`${file}: is not the configuration of a '${kind}'`, { problem: 'kind' });
  if (config.version !== 1)
    throw new RunFolderError(
      `${file}: is of version ${String(config.version)}; this kindling knows version 1`,
    );
  return complete === undefined ? (config as C) : complete(config as C);
}
