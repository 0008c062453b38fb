import { createHash } from 'node:crypto';
import { createReadStream, existsSync, readdirSync, statSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { loadCheckpoint, type Checkpoint } from '../formats/index.js';
import type { WeightsEntry } from '../models/index.js';
import type { Context } from './context.js';
import { CliError } from './errors.js';
import { runFiles } from './finetune/run-folder.js';
import { cardOf, readCard, type ModelCard } from './model-card.js';
import { resolveWeights } from './weights.js';

/** Weights that were named on the command line. */
export interface OpenedWeights {
  readonly checkpoint: Checkpoint;
  /** Absolute path. */
  readonly path: string;
  /** What the file is for, as far as it or its publisher says. */
  readonly card: ModelCard;
  /** The published file it is; null for a file of the user's. */
  readonly entry: WeightsEntry | null;
}

export const isFolder = (path: string): boolean =>
  statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false;

/**
 * The best weights in a run's folder, or the last where no epoch has been measured yet; the folder of a
 * sharded model is read as a file is.
 */
function inFolder(folder: string): string {
  const found = [runFiles.best, runFiles.last].map((file) => join(folder, file)).find(existsSync);
  if (found !== undefined) return found;
  if (readdirSync(folder).some((name) => name.endsWith('.safetensors.index.json'))) return folder;
  throw new CliError(`${folder}: is a folder without ${runFiles.best}; give a run's folder or a weight file`);
}

/** The file that `--weights` names, in the cache where it is from outside. */
export async function weightsPath(
  context: Context,
  modelName: string | undefined,
  spec: string,
): Promise<{ path: string; entry: WeightsEntry | null }> {
  return isFolder(spec) ? { path: inFolder(spec), entry: null } : resolveWeights(modelName, spec, context);
}

/** Opens what `--weights` names: a run's folder, a file, a URL, or published weights. */
export async function openNamedWeights(
  context: Context,
  modelName: string | undefined,
  spec: string,
): Promise<OpenedWeights> {
  const { path, entry } = await weightsPath(context, modelName, spec);
  const checkpoint = await loadCheckpoint(path);
  const card = entry === null ? readCard(checkpoint) : cardOf(entry);
  return { checkpoint, path: resolve(path), card, entry };
}

/** SHA-256 of a file, in hexadecimal, and its size. */
export async function fileDigest(path: string): Promise<{ bytes: number; sha256: string }> {
  const hash = createHash('sha256');
  let bytes = 0;
  for await (const chunk of createReadStream(path) as AsyncIterable<Buffer>) {
    hash.update(chunk);
    bytes += chunk.length;
  }
  return { bytes, sha256: hash.digest('hex') };
}
