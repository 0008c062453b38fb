import {
  loadCheckpoint,
  unwrapCheckpoint,
  type Checkpoint,
  type CheckpointSource,
  type LoadCheckpointOptions,
} from '../formats/checkpoint.js';
import { CheckpointError, inFile, quoteKey } from '../formats/errors.js';
import type { IncompatibleKeys, LoadOptions, Module } from '../nn/index.js';
import { stateShapes } from './file-match.js';

export interface LoadWeightsOptions extends LoadCheckpointOptions, LoadOptions {}

export interface LoadedWeights extends IncompatibleKeys {
  /** The opened file: its other entries (`extra`), container and keys. */
  readonly checkpoint: Checkpoint;
}

/**
 * Copies a weight file into a model: `await loadWeights(model, 'resnet18.pth')`. The file may be PyTorch's
 * (zip or legacy) or safetensors, given as a path (Node), a URL, bytes, or an opened checkpoint. Tensors are
 * read one at a time. Keys of older torchvision releases (DenseNet, vision transformers) are understood.
 *
 * @throws CheckpointError naming the file: when it cannot be read, or when its keys do not fit the model,
 * listing all that are missing, unexpected or of another shape; then nothing was loaded
 */
export async function loadWeights(
  model: Module,
  source: CheckpointSource | Checkpoint,
  options: LoadWeightsOptions = {},
): Promise<LoadedWeights> {
  const checkpoint = isCheckpoint(source) ? source : await openFor(model, source, options);
  const { strict = true } = options;
  try {
    const keys = await model.loadStateDict(checkpoint.tensors, { strict });
    return { ...keys, checkpoint };
  } catch (cause) {
    if (cause instanceof CheckpointError) throw inFile(checkpoint.name, cause);
    const message = cause instanceof Error ? cause.message : String(cause);
    throw new CheckpointError(`${checkpoint.name}: ${unwrapped(checkpoint)}${message}`, { cause });
  }
}

/** What was done to the keys of the file, for errors that list them. */
function unwrapped({ strippedPrefix, wrappers }: Checkpoint): string {
  const taken = [...(strippedPrefix === null ? [] : [strippedPrefix.slice(0, -1)]), ...(wrappers ?? [])];
  if (taken.length === 0) return '';
  const names = taken.map((name) => quoteKey(name)).join(' and ');
  return `with ${names} taken out of its keys (which { stripPrefix: false } prevents): `;
}

/**
 * A model may itself have modules that are called as wrappers are, an averaged model above all: then keys
 * stay as they are.
 */
async function openFor(
  model: Module,
  source: CheckpointSource,
  options: LoadCheckpointOptions,
): Promise<Checkpoint> {
  if (options.stripPrefix !== undefined) return loadCheckpoint(source, options);
  const asIs = await loadCheckpoint(source, { ...options, stripPrefix: false });
  const bare = unwrapCheckpoint(asIs);
  if (bare.tensors.size === asIs.tensors.size && bare.strippedPrefix === null && bare.wrappers.length === 0)
    return asIs;
  const keys = [...stateShapes(model).keys()];
  const found = ({ tensors }: Checkpoint): number => keys.filter((key) => tensors.has(key)).length;
  return found(asIs) > found(bare) ? asIs : bare;
}

function isCheckpoint(source: CheckpointSource | Checkpoint): source is Checkpoint {
  return typeof source === 'object' && 'tensors' in source && source.tensors instanceof Map;
}
