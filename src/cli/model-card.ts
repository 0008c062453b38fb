import type { Checkpoint } from '../formats/index.js';
import type { InputRecipe, WeightsEntry } from '../models/index.js';
import { CliError } from './errors.js';

/** How images become the input that a model was trained on, as it is stored beside weights. */
export interface CardInput {
  /** Length that the shorter side is resized to. */
  readonly resize: number;
  /** Side of the square that is cut out of the middle. */
  readonly size: number;
  readonly mean: readonly number[];
  readonly std: readonly number[];
  /** Of resizing. Default bilinear. */
  readonly interpolation?: 'bilinear' | 'bicubic';
}

/** What `kindling finetune` writes beside the weights, so that `kindling eval` knows how to use them. */
export interface ModelCard {
  readonly model?: string;
  readonly classes?: readonly string[];
  /** New classes by what they were made of. */
  readonly classMap?: readonly (readonly [string, readonly string[]])[];
  readonly input?: CardInput;
  /** Options of the model that the weights need. */
  readonly options?: Readonly<Record<string, unknown>>;
}

/** A model's or a published file's input, as cards have it. */
export function cardInput({ resize, crop, mean, std, interpolation }: InputRecipe): CardInput {
  return { resize, size: crop, mean, std, ...(interpolation !== 'bilinear' && { interpolation }) };
}

/** What a published weight file says about itself. */
export function cardOf({ model, record, recipe }: WeightsEntry): ModelCard {
  return { model, input: cardInput(recipe), ...(record.options && { options: record.options }) };
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
