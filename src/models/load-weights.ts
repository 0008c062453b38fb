import {
  CheckpointError,
  loadCheckpoint,
  type Checkpoint,
  type CheckpointSource,
  type LoadCheckpointOptions,
} from '../formats/index.js';
import type { IncompatibleKeys, LoadOptions, Module } from '../nn/index.js';

export interface LoadWeightsOptions extends LoadCheckpointOptions, LoadOptions {}

export interface LoadedWeights extends IncompatibleKeys {
  /** The opened file: its other entries (`extra`), container and keys. */
  readonly checkpoint: Checkpoint;
}

/**
 * Copies a weight file into a model: `await loadWeights(model, 'resnet18.pth')`. The file may be PyTorch's (zip or legacy)
 * or safetensors, given as a path (Node), a URL, bytes, or an opened checkpoint. Tensors are read one at a time.
 * Keys of older torchvision releases (DenseNet, vision transformers) are understood.
 *
 * @throws CheckpointError naming the file: when it cannot be read, or when its keys do not fit the model, listing all
 * that are missing, unexpected or of another shape; then nothing was loaded
 */
export async function loadWeights(
  model: Module,
  source: CheckpointSource | Checkpoint,
  options: LoadWeightsOptions = {},
): Promise<LoadedWeights> {
  const checkpoint = isCheckpoint(source) ? source : await loadCheckpoint(source, options);
  const { strict = true } = options;
  try {
    const keys = await model.loadStateDict(checkpoint.tensors, { strict });
    return { ...keys, checkpoint };
  } catch (cause) {
    const message = cause instanceof Error ? cause.message : String(cause);
    throw new CheckpointError(`${checkpoint.name}: ${message}`, { cause });
  }
}

function isCheckpoint(source: CheckpointSource | Checkpoint): source is Checkpoint {
  return typeof source === 'object' && 'tensors' in source && source.tensors instanceof Map;
}
