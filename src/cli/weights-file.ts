import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { resolve } from 'node:path';
import { loadCheckpoint, type Checkpoint } from '../formats/index.js';
import type { WeightsEntry } from '../models/index.js';
import type { Context } from './context.js';
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

/** Opens what `--weights` names: a file, a URL, or a published file by its name. */
export async function openNamedWeights(
  context: Context,
  modelName: string | undefined,
  spec: string,
): Promise<OpenedWeights> {
  const { path, entry } = await resolveWeights(modelName, spec, context);
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
