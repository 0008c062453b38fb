import type { ByteSource } from './byte-source.js';
import { blobSource, memorySource } from './byte-source.js';
import { CheckpointError } from './errors.js';
import { HostTensor } from './host-tensor.js';
import { readNpy, readNpz } from './numpy-files.js';
import { readSafetensors } from './safetensors.js';
import { readSharded } from './sharded.js';
import { detectContainer } from './sniff.js';
import type { Container } from './sniff.js';
import { readTorchLegacy, readTorchZip } from './torch-file.js';
import type { PlainValue } from './torch-values.js';

/** A path (Node; of a folder too, if it holds a sharded model), a URL (browser), or the file's bytes. */
export type CheckpointSource = string | ArrayBuffer | Uint8Array | Blob;

export interface LoadCheckpointOptions {
  /**
   * Which entry holds the state dict, when the file nests it: a top-level key, or a path of keys. By default it is found:
   * the file itself, or its one entry that holds tensors under a usual name (`state_dict`, `model`, ...).
   */
  readonly key?: string | readonly string[];
  /**
   * A prefix to take off the tensors' keys. By default `module.`, which `DataParallel` adds, is taken off when all keys
   * have it; `false` keeps the keys as they are. A given prefix must be on at least one key.
   */
  readonly stripPrefix?: string | false;
  /** What error messages call the source, where it is not a path. */
  readonly name?: string;
}

export interface Checkpoint {
  /** The state dict in the file's order, with the file's own keys less the stripped prefix. Tensors read on demand. */
  readonly tensors: Map<string, HostTensor>;
  /**
   * Everything else, such as `epoch`, `best_prec1` or `optimizer`: the entries beside the state dict, and entries of the
   * state dict that are no tensors. For safetensors, the metadata.
   */
  readonly extra: Map<string, PlainValue>;
  readonly container: Container;
  /** Keys that lead to the state dict; empty when the file is one. */
  readonly key: readonly string[];
  /** The prefix that was taken off, or null. */
  readonly strippedPrefix: string | null;
  readonly name: string;
}

/** Usual names of a nested state dict. */
const usualKeys = [
  'state_dict',
  'model_state_dict',
  'model_state',
  'model',
  'net',
  'network',
  'weights',
  'params',
  'state_dict_ema',
  'model_ema',
  'params_ema',
  'ema_state_dict',
  'ema',
];

/**
 * Opens a weight file of PyTorch (zip or legacy), safetensors (sharded too) or numpy, told apart by content, without running any of the code
 * a pickle may name. Nothing but the description is read at first: each tensor's bytes are read by its own methods.
 *
 * @throws CheckpointError naming the file: not a weight file (says what it looks like), truncated (says what is missing),
 * a pickled module or TorchScript (says how to save it again), a refused global, or an unclear place of the state dict.
 */
export async function loadCheckpoint(
  source: CheckpointSource,
  options: LoadCheckpointOptions = {},
): Promise<Checkpoint> {
  const bytes = await openSource(source, options.name);
  const { name } = bytes;
  const container = await detectContainer(bytes);
  if (!isTorch(container)) {
    if (options.key !== undefined && options.key.length > 0) {
      const kind = container.startsWith('np') ? 'numpy' : 'safetensors';
      throw new CheckpointError(`${name}: a ${kind} file has no nested entries; drop the option \`key\``);
    }
    const { tensors, metadata } = await readFlat(bytes, container, source);
    return { ...strip(tensors, options.stripPrefix, name), extra: metadata, container, key: [], name };
  }
  const root = await readTorch(bytes, container);
  if (!(root instanceof Map)) {
    throw new CheckpointError(
      `${name}: holds ${kindOf(root)}, not a state dict; loadValue() returns it as it is`,
    );
  }
  const key =
    options.key === undefined
      ? findStateDict(root, name)
      : typeof options.key === 'string'
        ? [options.key]
        : options.key;
  const { dict, extra } = descend(root, key, name);
  const tensors = new Map<string, HostTensor>();
  for (const [entry, value] of dict) {
    if (value instanceof HostTensor && typeof entry === 'string') tensors.set(entry, value);
    else extra.set([...key, String(entry)].join('.'), value);
  }
  if (tensors.size === 0 && dict.size > 0) {
    throw new CheckpointError(
      `${name}: ${key.length > 0 ? `entry '${key.join('.')}'` : 'the file'} holds no tensors, only ${listKeys(dict)}`,
    );
  }
  return { ...strip(tensors, options.stripPrefix, name), extra, container, key, name };
}

/** The whole value that `torch.save` wrote, of any shape, or a safetensors file as a Map. Errors as for {@link loadCheckpoint}. */
export async function loadValue(
  source: CheckpointSource,
  options: { readonly name?: string } = {},
): Promise<PlainValue> {
  const bytes = await openSource(source, options.name);
  const container = await detectContainer(bytes);
  if (isTorch(container)) return readTorch(bytes, container);
  const { tensors } = await readFlat(bytes, container, source);
  return container === 'npy' ? [...tensors.values()][0]! : new Map(tensors);
}

type TorchContainer = 'torch-zip' | 'torch-legacy';

const isTorch = (container: Container): container is TorchContainer => container.startsWith('torch');

/** The formats that hold tensors by name and nothing nested. */
async function readFlat(
  bytes: ByteSource,
  container: Exclude<Container, TorchContainer>,
  source: CheckpointSource,
): Promise<{ tensors: Map<string, HostTensor>; metadata: Map<string, PlainValue> }> {
  switch (container) {
    case 'safetensors':
      return readSafetensors(bytes);
    case 'safetensors-index':
      return readSharded(bytes, (file) => {
        if (typeof source === 'string') return openSource(besides(source, bytes.name, file));
        throw new CheckpointError('an index alone does not say where its files are: give its path or URL');
      });
    case 'npz':
      return { tensors: await readNpz(bytes), metadata: new Map() };
    case 'npy': {
      const key = bytes.name.replace(/^.*[/\\]/, '').replace(/\.npy$/i, '');
      return { tensors: new Map([[key, await readNpy(bytes, bytes.name, key)]]), metadata: new Map() };
    }
  }
}

/** The path or URL of a file in the same folder; `opened` is what a folder's path turned out to mean. */
function besides(source: string, opened: string, file: string): string {
  if (isUrl(source)) return new URL(encodeURIComponent(file), source).href;
  return opened.replace(/[^/\\]*$/, '') + file;
}

function readTorch(source: ByteSource, container: TorchContainer): Promise<PlainValue> {
  return container === 'torch-zip' ? readTorchZip(source) : readTorchLegacy(source);
}

const isUrl = (source: string): boolean => /^(https?|blob|data):/i.test(source);

async function openSource(source: CheckpointSource, name?: string): Promise<ByteSource> {
  if (source instanceof ArrayBuffer || source instanceof Uint8Array) return memorySource(source, name);
  if (source instanceof Blob) return blobSource(source, name);
  if (typeof source !== 'string')
    throw new CheckpointError('loadCheckpoint: give it a path, an ArrayBuffer, a Uint8Array or a Blob');
  if (!isUrl(source) && typeof process === 'object' && process.versions?.node) {
    // Imported only here, so that a browser never sees the file system.
    const { fileSource, indexInFolder } = await import('./node-files.js');
    return fileSource((await indexInFolder(source)) ?? source);
  }
  const label = name ?? source.slice(0, 200);
  let response: Response;
  try {
    response = await fetch(source);
  } catch (cause) {
    throw new CheckpointError(`${label}: cannot be fetched`, { cause });
  }
  if (!response.ok)
    throw new CheckpointError(`${label}: the server answered ${response.status} ${response.statusText}`);
  return blobSource(await response.blob(), label);
}

function isStateDict(value: PlainValue | undefined): value is Map<string, PlainValue> {
  if (!(value instanceof Map)) return false;
  let tensors = 0;
  for (const [key, item] of value) {
    if (typeof key !== 'string') return false;
    if (item instanceof HostTensor) tensors++;
  }
  return tensors > 0;
}

function findStateDict(root: Map<PlainValue, PlainValue>, name: string): readonly string[] {
  const usual = usualKeys.filter((key) => isStateDict(root.get(key)));
  if (usual.length === 1) return usual;
  if (usual.length === 0 && (isStateDict(root) || root.size === 0)) return [];
  const any =
    usual.length > 0
      ? usual
      : [...root].filter(([, value]) => isStateDict(value)).map(([key]) => String(key));
  if (any.length === 1) return any;
  if (any.length === 0)
    throw new CheckpointError(`${name}: no state dict found; the file holds ${listKeys(root)}`);
  throw new CheckpointError(
    `${name}: several entries hold a state dict: ${any.map((key) => `'${key}'`).join(', ')}; choose one, e.g. { key: '${any[0]}' }`,
  );
}

/** Follows `key`; what lies beside the path goes to `extra`. */
function descend(root: Map<PlainValue, PlainValue>, key: readonly string[], name: string) {
  const extra = new Map<string, PlainValue>();
  let dict = root;
  for (const [depth, step] of key.entries()) {
    const next = dict.get(step);
    if (!(next instanceof Map)) {
      const where = depth === 0 ? 'the file' : `'${key.slice(0, depth).join('.')}'`;
      const problem =
        next === undefined ? `no entry '${step}'` : `${kindOf(next)} at '${step}', not a state dict`;
      throw new CheckpointError(`${name}: ${where} has ${problem}; it holds ${listKeys(dict)}`);
    }
    for (const [entry, value] of dict) {
      if (entry !== step) extra.set([...key.slice(0, depth), String(entry)].join('.'), value);
    }
    dict = next;
  }
  return { dict, extra };
}

function strip(tensors: Map<string, HostTensor>, option: string | false | undefined, name: string) {
  const keys = [...tensors.keys()];
  const prefix = option ?? 'module.';
  const matching =
    prefix === false || prefix === ''
      ? 0
      : keys.filter((key) => key.startsWith(prefix) && key !== prefix).length;
  if (option === undefined ? matching < keys.length : matching === 0) {
    if (option) {
      throw new CheckpointError(
        `${name}: no key starts with the prefix '${option}'; the keys are ${listKeys(tensors)}`,
      );
    }
    return { tensors: rename(tensors, ''), strippedPrefix: null };
  }
  if (prefix === false || matching === 0) return { tensors: rename(tensors, ''), strippedPrefix: null };
  const stripped = rename(tensors, prefix);
  if (stripped.size < tensors.size) {
    throw new CheckpointError(
      `${name}: without the prefix '${prefix}' two keys are the same; pass { stripPrefix: false }`,
    );
  }
  return { tensors: stripped, strippedPrefix: prefix };
}

/** Keys less the prefix, and the tensors named by them. Tied weights, one tensor under two keys, become two handles. */
function rename(tensors: Map<string, HostTensor>, prefix: string): Map<string, HostTensor> {
  return new Map(
    [...tensors].map(([key, tensor]) => {
      const name = prefix !== '' && key.startsWith(prefix) && key !== prefix ? key.slice(prefix.length) : key;
      return [name, tensor.renamed(name)];
    }),
  );
}

function kindOf(value: PlainValue): string {
  if (value instanceof HostTensor) return `one tensor of shape [${value.shape.join(', ')}]`;
  if (Array.isArray(value)) return `a list of ${value.length} items`;
  if (value instanceof Map) return 'a dict';
  if (value instanceof Set) return 'a set';
  if (value instanceof Uint8Array) return 'bytes';
  return value === null ? 'None' : `a ${typeof value}`;
}

function listKeys(map: ReadonlyMap<unknown, unknown>): string {
  const keys = [...map.keys()].slice(0, 8).map((key) => `'${String(key).slice(0, 60)}'`);
  if (keys.length === 0) return 'nothing';
  return keys.join(', ') + (map.size > keys.length ? ` and ${map.size - keys.length} more` : '');
}
