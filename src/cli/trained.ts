import { existsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { loadCheckpoint, type Checkpoint } from '../formats/index.js';
import { findHead, weights as publishedWeights, type WeightsEntry } from '../models/index.js';
import type { TensorModule } from '../nn/index.js';
import type { Context } from './context.js';
import { CliError, UsageError } from './errors.js';
import { inputOf } from './finetune/plan.js';
import { runFiles } from './finetune/run-folder.js';
import { modelFromFile } from './load-model.js';
import type { Options } from './option-rows.js';
import type { trainedModel } from './shared-options.js';
import { readCard, type CardInput, type ModelCard } from './model-card.js';
import { openNamedWeights } from './weights-file.js';

/** A trained model as `eval` and `predict` name it. */
export type TrainedOptions = Options<typeof trainedModel>;

/** Weights that are known to be a model's, before the model is made. */
export interface Trained {
  /** What messages call it: the path. */
  readonly name: string;
  readonly modelName: string;
  readonly checkpoint: Checkpoint;
  readonly card: ModelCard;
  readonly entry: WeightsEntry | null;
  readonly input: CardInput;
}

/** The best weights in a run's folder, or the last where no epoch has been measured yet. */
function runWeights(folder: string): string {
  const found = [runFiles.best, runFiles.last].map((file) => join(folder, file)).find(existsSync);
  if (found === undefined)
    throw new CliError(
      `${folder}: is a folder without ${runFiles.best}; give a run's folder or a weight file`,
    );
  return found;
}

export const isFolder = (path: string): boolean =>
  statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false;

/**
 * Opens what was named: a run's folder, a weight file, a URL, or a published name.
 *
 * @throws UsageError when neither the file nor the options say which model it is
 */
export async function openTrained(context: Context, spec: string, options: TrainedOptions): Promise<Trained> {
  const opened = isFolder(spec)
    ? await openRun(runWeights(spec))
    : await openNamedWeights(context, options.model, spec);
  const { checkpoint, card, entry } = opened;
  const modelName = options.model ?? card.model;
  if (modelName === undefined)
    throw new UsageError(`--model is missing, and ${spec} does not say which it is for`);
  const input = inputOf(modelName, options, card);
  return { name: spec, modelName, checkpoint, card, entry, input };
}

async function openRun(path: string): Promise<{ checkpoint: Checkpoint; card: ModelCard; entry: null }> {
  const checkpoint = await loadCheckpoint(path);
  return { checkpoint, card: readCard(checkpoint), entry: null };
}

/** Makes the model, in evaluation mode. */
export async function makeTrained(
  { modelName, checkpoint, card }: Trained,
  numClasses?: number,
): Promise<{ model: TensorModule; outputs: number }> {
  const model = await modelFromFile(modelName, checkpoint, { numClasses, options: card.options });
  model.eval();
  return { model, outputs: findHead(model).outFeatures };
}

/**
 * Names of the outputs: the card's, the published file's, or ImageNet's for a published model of its 1,000
 * classes.
 */
export async function classNames(
  { card, entry, modelName }: Trained,
  outputs: number,
): Promise<readonly string[]> {
  if (card.classes?.length === outputs) return card.classes;
  const own = entry === null ? null : await entry.categories().catch(() => null);
  if (own?.length === outputs) return own;
  if (outputs === 1000) {
    const [published] = (await publishedWeights(modelName)).filter(
      ({ record }) => record.numClasses === outputs,
    );
    const names = await published?.categories().catch(() => null);
    if (names?.length === outputs) return names;
  }
  return Array.from({ length: outputs }, (_, i) => `class ${i}`);
}
