import { HostTensor, saveSafetensors, type HostDtype } from '../formats/index.js';
import type { Module } from '../nn/index.js';
import type { Tensor } from '../tensor/tensor.js';

export interface HostStateDictOptions {
  /** Floating point values are stored as this. Default: as the model has them. */
  readonly dtype?: 'float32' | 'float16' | 'bfloat16';
}

export interface SaveWeightsOptions extends HostStateDictOptions {
  /** Strings to store beside the tensors. */
  readonly metadata?: Readonly<Record<string, string>>;
}

/**
 * A copy of a model's state on the host, under PyTorch's keys and dtypes: what the writers of `formats` take. Training may
 * go on meanwhile; each tensor is read as it is when this is called.
 */
export async function hostStateDict(
  model: Module,
  options: HostStateDictOptions = {},
): Promise<Map<string, HostTensor>> {
  const entries = [...model.stateDict()];
  const values = await Promise.all(entries.map(([, tensor]) => tensor.data()));
  return new Map(
    entries.map(([key, tensor], i) => {
      const host = HostTensor.from(fileDtype(key, tensor, options.dtype), tensor.shape, values[i] ?? [], {
        name: key,
      });
      tensor.dispose();
      return [key, host];
    }),
  );
}

/** PyTorch counts batches in int64, which the GPU has not. */
function fileDtype(key: string, tensor: Tensor, wanted: HostDtype | undefined): HostDtype {
  if (tensor.isFloatingPoint()) return wanted ?? tensor.dtype;
  return /(^|\.)num_batches_tracked$/.test(key) ? 'int64' : tensor.dtype;
}

/**
 * Saves a model as a safetensors file that PyTorch reads back (Node). The file is written whole or not at all: a crash in
 * the middle leaves what was there before.
 */
export async function saveWeights(
  model: Module,
  path: string,
  options: SaveWeightsOptions = {},
): Promise<void> {
  const { metadata, ...rest } = options;
  await saveSafetensors(path, await hostStateDict(model, rest), { metadata: { format: 'pt', ...metadata } });
}
