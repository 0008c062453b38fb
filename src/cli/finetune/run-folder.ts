import { join } from 'node:path';
import { printable } from '../../tensor/printable.js';
import * as train from '../../train/node/index.js';
import { runFiles as baseFiles } from '../../train/node/run-folder.js';
import type { Turn } from '../batches.js';
import type { Context } from '../context.js';
import { CliError } from '../errors.js';
import { shellWord } from '../output.js';
import { isLead } from '../ranks.js';
import type { GivenOptions } from './command-line.js';
import { completePlan, type Plan } from './plan.js';

/** config.json: all that is needed to do a training again. */
export interface RunConfig {
  readonly kind: 'kindling run';
  readonly version: 1;
  readonly created: string;
  readonly plan: Plan;
  /** The options that stood on the command line; missing in runs of before. */
  readonly given?: GivenOptions;
  readonly classes: readonly string[];
  readonly weights: { readonly source: string; readonly bytes: number; readonly sha256: string } | null;
  /** Of the names and classes of the images. */
  readonly dataDigest: string;
  readonly images: { readonly train: number; readonly validation: number | null };
  readonly versions: Readonly<Record<string, string | null>>;
  readonly adapter: Readonly<Record<string, string>>;
  /** Processes that train together, each on batches of its own; missing where it is one. */
  readonly ranks?: number;
  /** Where others than these took a pass up. */
  readonly turn?: Turn | null;
}

const ownFiles = { classes: 'classes.txt', report: 'report.html' } as const;

/** The files of a run. */
export const runFiles = { ...baseFiles, ...ownFiles } as const;

/** The folder of a training by `kindling finetune`. */
export type RunFolder = train.RunFolder<RunConfig, keyof typeof ownFiles>;

const kind: train.RunKind<RunConfig, keyof typeof ownFiles> = {
  kind: 'kindling run',
  files: ownFiles,
  derived: ({ classes }) => ({ classes: classes.map((name) => `${printable(name)}\n`).join('') }),
  complete: (config) => ({ ...config, plan: completePlan(config.plan) }),
};

/** See `RunFolder` of `kindling/train/node`; what is wrong is said in the command's words. */
export const RunFolder = {
  checkNew: (path: string, force: boolean): Promise<void> =>
    inWords(path, () => train.RunFolder.checkNew(path, force, kind)),
  /** Rank 0 writes it; the others wait for it, and read. */
  create: async (context: Context, path: string, config: RunConfig): Promise<RunFolder> => {
    const run = isLead(context) ? await inWords(path, () => train.RunFolder.make(path, config, kind)) : null;
    await context.ranks?.barrier();
    return run ?? train.RunFolder.beside(path, config, kind);
  },
  open: async (context: Context, path: string): Promise<RunFolder> => {
    const run = isLead(context) ? await inWords(path, () => train.RunFolder.take(path, kind)) : null;
    const config = (await context.ranks?.broadcastObject(run?.config ?? null)) ?? null;
    return run ?? train.RunFolder.beside(path, config as RunConfig, kind);
  },
};

/**
 * Does something with a run's folder.
 *
 * @throws CliError where the library would name its own functions
 */
export async function inWords<R>(path: string, work: () => Promise<R>): Promise<R> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof train.RunFolderError)) throw error;
    const text = wordsFor(path, error);
    throw text === null ? error : new CliError(text, { cause: error });
  }
}

function wordsFor(path: string, { problem, file, weights }: train.RunFolderError): string | null {
  if (problem === 'file') return `${path}: is a file; --out takes a folder or a .safetensors file`;
  if (problem === 'run')
    return `${path}: holds a run; go on with it (kindling finetune --resume ${path}), replace it (--force), or give another folder`;
  if (problem === 'kind') return `${join(path, runFiles.config)}: was not written by kindling finetune`;
  if (problem !== 'missing') return null;
  const others =
    weights === null ? '' : `, or begin a new one with its weights (--weights ${weights} --out NEW)`;
  return `${path}: cannot be gone on with, as ${file} is missing; nothing was changed. Put the file back${others}`;
}

/** How to go on with the run at `path`. */
export const resumeCommand = (path: string): string => `kindling finetune --resume ${shellWord(path)}`;
