import type { Checkpoint } from '../formats/index.js';
import { findHead, weights as publishedWeights, type WeightsEntry } from '../models/index.js';
import type { TensorModule } from '../nn/index.js';
import type { Context } from './context.js';
import { UsageError } from './errors.js';
import { inputOf } from './finetune/plan.js';
import { modelFromFile } from './load-model.js';
import type { Options } from './option-rows.js';
import type { trainedModel } from './shared-options.js';
import type { CardInput, ModelCard } from './model-card.js';
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

/**
 * Opens the weights that were named.
 *
 * @throws UsageError when there are none, or neither they nor the options say which model they are for
 */
export async function openTrained(context: Context, options: TrainedOptions): Promise<Trained> {
  const spec = options.weights;
  if (spec === undefined)
    throw new UsageError(
      'name a run or weights first, or with --weights (kindling weights lists published ones)',
    );
  const { checkpoint, card, entry } = await openNamedWeights(context, options.model, spec);
  const modelName = options.model ?? card.model;
  if (modelName === undefined)
    throw new UsageError(`--model is missing, and ${spec} does not say which it is for`);
  const input = inputOf(modelName, options, card);
  return { name: spec, modelName, checkpoint, card, entry, input };
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
