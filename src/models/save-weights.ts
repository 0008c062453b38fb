import { checkPath, readAll, type FloatDtype } from '../formats/device-tensor.js';
import { CheckpointError } from '../formats/errors.js';
import { HostTensor } from '../formats/host-tensor.js';
import type { Module } from '../nn/index.js';
import { namedMap } from '../tensor/named-map.js';
import { checkOptions, noMore } from '../tensor/options.js';

export interface HostStateDictOptions {
  /** Floating point values are stored as this. Default: as the model has them. */
  readonly dtype?: FloatDtype;
}

export interface SaveWeightsOptions extends HostStateDictOptions {
  /** Strings to store beside the tensors. Only safetensors files have a place for them. */
  readonly metadata?: Readonly<Record<string, string>>;
}

/**
 * A copy of a model's state on the host, under PyTorch's keys and dtypes: what the writers of `formats` take.
 * Training may go on meanwhile; each tensor is read as it is when this is called.
 */
export async function hostStateDict(
  model: Module,
  options: HostStateDictOptions = {},
): Promise<Map<string, HostTensor>> {
  requireModel('hostStateDict', model);
  const state = model.stateDict();
  const lazy = [...readAll(state, options.dtype)];
  const copies = await Promise.all(lazy.map(([, tensor]) => tensor.bytes()));
  for (const tensor of state.values()) tensor.dispose();
  return namedMap(
    lazy.map(([name, { dtype, shape }], i) => [
      name,
      HostTensor.fromBytes(dtype, shape, copies[i]!, { name }),
    ]),
  );
}

function requireModel(op: string, model: unknown): void {
  if (typeof (model as Partial<Module> | null | undefined)?.stateDict === 'function') return;
  throw new CheckpointError(
    `${op}: expected a model (a Module), got ${model instanceof Map ? 'a Map' : String(model)}; ` +
      'a state dict is saved with saveSafetensors() or saveTorch()',
  );
}

/**
 * Saves a model's state dict (Node) in the format that the path's ending names: `.safetensors`, or `.pth` and
 * `.pt` for PyTorch's own (`torch.load(path)`, `weights_only=True` too). PyTorch reads both back bit for bit.
 * The file is written whole or not at all: a crash in the middle leaves what was there before. Tensors are
 * fetched one piece at a time, so await it before training on; a tensor that changes meanwhile is an error.
 *
 * @throws CheckpointError for another ending, for metadata in a `.pth` file, or when the file cannot be
 * written
 */
export async function saveWeights(
  model: Module,
  path: string,
  options: SaveWeightsOptions = {},
): Promise<void> {
  noMore('saveWeights', arguments, 3);
  checkPath('saveWeights(model, path)', path);
  checkOptions('saveWeights', options, 'metadata', 'dtype');
  const { metadata, dtype } = options;
  const ending = /\.(safetensors|pth|pt)$/i.exec(path)?.[1]?.toLowerCase();
  if (ending === undefined) {
    throw new CheckpointError(
      `saveWeights: '${path}' must end in .safetensors, .pth or .pt: the ending says which format to write`,
    );
  }
  if (ending !== 'safetensors' && metadata !== undefined && Object.keys(metadata).length > 0) {
    throw new CheckpointError(
      `saveWeights: ${path}: a .pth file has no place for metadata; save a .safetensors file, or use saveTorch()`,
    );
  }
  requireModel('saveWeights', model);
  const state = model.stateDict();
  try {
    const tensors = readAll(state, dtype);
    const { saveSafetensors, saveTorch } = await import('../formats/node-files.js');
    if (ending === 'safetensors')
      await saveSafetensors(path, tensors, { metadata: { format: 'pt', ...metadata } });
    else await saveTorch(path, tensors);
  } finally {
    for (const tensor of state.values()) tensor.dispose();
  }
}
