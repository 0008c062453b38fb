import type { Checkpoint } from '../formats/index.js';
import { stateShapes, underModelKeys, whyForeign } from '../models/fit.js';
import { headKeys } from '../models/head.js';
import {
  findHead,
  get,
  list,
  loadWeights,
  replaceHead,
  weights,
  type ModelBuilder,
  type ModelOptions,
  type WeightsEntry,
} from '../models/index.js';
import type { TensorModule } from '../nn/index.js';
import { CliError, closeNames } from './errors.js';

/** How images become the input that a model was trained on. */
export interface InputRecipe {
  /** Length that the shorter side is resized to. */
  readonly resize: number;
  /** Side of the square that is cut out of the middle. */
  readonly size: number;
  readonly mean: readonly number[];
  readonly std: readonly number[];
  /** Of resizing. Default bilinear. */
  readonly interpolation?: 'bilinear' | 'bicubic';
}

/** ImageNet's channel statistics, which the CIFAR checkpoints of akamaster/pytorch_resnet_cifar10 use as well. */
const statistics = { mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] } as const;

/** What a model of this name expects unless the weight file or the user says otherwise: what its first published weights do. */
export async function recipeOf(modelName: string): Promise<InputRecipe> {
  if (modelName.startsWith('cifar_')) return { resize: 32, size: 32, ...statistics };
  const [first] = await weights(modelName);
  return first === undefined ? { resize: 256, size: 224, ...statistics } : recipeOfEntry(first);
}

function recipeOfEntry({ recipe: { resize, crop, mean, std, interpolation } }: WeightsEntry): InputRecipe {
  return { resize, size: crop, mean, std, ...(interpolation !== 'bilinear' && { interpolation }) };
}

/** What a published weight file says about itself. */
export function cardOf(entry: WeightsEntry): ModelCard {
  const { model, record } = entry;
  return {
    model,
    input: recipeOfEntry(entry),
    ...(record.options && { options: record.options }),
  };
}

/**
 * @param where what messages call the place of the name
 * @throws CliError with close names when there is no such model
 */
export function builderOf(modelName: string, where = '--model'): ModelBuilder {
  const models = list();
  if (models.includes(modelName)) return get(modelName);
  const close = closeNames(modelName, models);
  const hint =
    close.length > 0
      ? `did you mean ${close.map((name) => `'${name}'`).join(' or ')}?`
      : 'there is no such model;';
  throw new CliError(`${where} '${modelName}': ${hint} Models: ${models.join(', ')}`);
}

/** Classes that the head in a weight file tells apart, or null where the file has no such head. */
export function headRows(checkpoint: Checkpoint, headPath: string): number | null {
  return checkpoint.tensors.get(`${headPath}.weight`)?.shape[0] ?? null;
}

/**
 * A model with a weight file in it. Its head has as many outputs as the file's.
 *
 * @param numClasses what the user says it is; checked
 */
export async function modelWithWeights(
  modelName: string,
  checkpoint: Checkpoint,
  {
    numClasses,
    options,
  }: { readonly numClasses?: number | undefined; readonly options?: ModelCard['options'] } = {},
): Promise<TensorModule> {
  const model = builderOf(modelName)(options as ModelOptions);
  const { path, outFeatures } = findHead(model);
  const rows = headRows(checkpoint, path) ?? numClasses ?? outFeatures;
  if (numClasses !== undefined && numClasses !== rows) {
    throw new CliError(
      `${checkpoint.name}: its head '${path}' has ${rows} classes, but --num-classes is ${numClasses}`,
    );
  }
  if (rows !== outFeatures) replaceHead(model, rows);
  const shapes = stateShapes(model);
  const { tensors } = underModelKeys(model, checkpoint.tensors);
  const foreign = await whyForeign(modelName, tensors, shapes, headKeys(model));
  if (foreign !== null) throw new CliError(`${checkpoint.name}: ${foreign}`);
  await loadWeights(model, { ...checkpoint, tensors });
  return model;
}

/** What `kindling finetune` writes beside the weights, so that `kindling eval` knows how to use them. */
export interface ModelCard {
  readonly model?: string;
  readonly classes?: readonly string[];
  /** New classes by what they were made of. */
  readonly classMap?: readonly (readonly [string, readonly string[]])[];
  readonly input?: InputRecipe;
  /** Options of the model that the weights need. */
  readonly options?: Readonly<Record<string, unknown>>;
}

const cardKey = 'kindling';

export function cardMetadata(card: ModelCard): Record<string, string> {
  return { [cardKey]: JSON.stringify(card) };
}

/** The card of a weight file; empty for files of others. */
export function readCard(checkpoint: Checkpoint): ModelCard {
  const text = checkpoint.extra.get(cardKey);
  if (typeof text !== 'string') return {};
  try {
    return JSON.parse(text) as ModelCard;
  } catch {
    throw new CliError(`${checkpoint.name}: its '${cardKey}' metadata is not valid JSON`);
  }
}
