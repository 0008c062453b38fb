import type { Checkpoint, CheckpointSource } from '../formats/index.js';
import type { Module } from '../nn/index.js';
import type { ModelOptions } from './define.js';
import { loadWeights } from './load-weights.js';

/** The name of a manifest entry, a path (Node), a URL, bytes, a Blob, or an opened checkpoint. */
export type WeightsSource = CheckpointSource | Checkpoint;

export interface PretrainedOptions {
  weights: WeightsSource;
  /** Default true: everything in the file must fit. False leaves what does not fit at its init. */
  strict?: boolean;
}

export interface ModelRecipe<M extends Module, O extends ModelOptions> {
  readonly modelName: string;
  readonly construct: (options: O) => M;
  readonly defaults: Partial<O>;
}

/** @internal A model with weights in it. */
export async function loadPretrained<M extends Module, O extends ModelOptions>(
  recipe: ModelRecipe<M, O>,
  options: O,
  { weights, strict = true }: PretrainedOptions,
): Promise<M> {
  const model = recipe.construct({ ...recipe.defaults, ...options });
  await loadWeights(model, weights, { strict });
  return model;
}
