import type { Checkpoint } from '../formats/index.js';
import { findHead, get, list, replaceHead, type ModelBuilder, type ModelOptions } from '../models/index.js';
import { fillModel } from '../models/pretrained.js';
import type { TensorModule } from '../nn/index.js';
import { CliError, UsageError } from './errors.js';
import type { ModelCard } from './model-card.js';
import { meant } from './near-names.js';

/**
 * @param where what messages call the place of the name
 * @throws CliError with close names when there is no such model
 */
export function builderOf(modelName: string, where = '--model'): ModelBuilder {
  const models = list();
  if (models.includes(modelName)) return get(modelName);
  const hint = meant(modelName, models) || 'there is no such model;';
  throw new CliError(`${where} '${modelName}': ${hint} kindling models lists all ${models.length}`);
}

/** The model that a command cannot do without. */
export function neededModel({ model }: { readonly model: string | undefined }): string {
  if (model !== undefined) return model;
  throw new UsageError("missing required argument 'model'; kindling models lists them");
}

/**
 * A model with a weight file in it. Its head has as many outputs as the file's.
 *
 * @param numClasses what the user says it is; checked
 * @throws CheckpointError for another model's file
 */
export async function modelFromFile(
  modelName: string,
  checkpoint: Checkpoint,
  {
    numClasses,
    options,
  }: { readonly numClasses?: number | undefined; readonly options?: ModelCard['options'] } = {},
): Promise<TensorModule> {
  const model = builderOf(modelName)(options as ModelOptions);
  const { path, outFeatures } = findHead(model);
  const rows = checkpoint.tensors.get(`${path}.weight`)?.shape[0] ?? numClasses ?? outFeatures;
  if (numClasses !== undefined && numClasses !== rows) {
    throw new CliError(
      `${checkpoint.name}: its head '${path}' has ${rows} classes, but --num-classes is ${numClasses}`,
    );
  }
  if (rows !== outFeatures) replaceHead(model, rows);
  await fillModel(model, modelName, checkpoint);
  return model;
}
