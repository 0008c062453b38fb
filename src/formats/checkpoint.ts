import { namedMap } from '../tensor/named-map.js';
import { printable } from '../tensor/printable.js';
import type { ByteSource } from './byte-source.js';
import { blobSource, memorySource } from './byte-source.js';
import { CheckpointError, inFile, quoteKey } from './errors.js';
import { HostTensor } from './host-tensor.js';
import { Budget, resolveLimits, type Limits, type ReadLimits, type ReadOptions } from './limits.js';
import { OpaqueObject } from './pickle-types.js';
import { keyText } from './render.js';
import { readSafetensors } from './safetensors.js';
import { detectContainer } from './sniff.js';
import type { Container } from './sniff.js';
import { descend, findStateDict, findWrappers, kindOf, listKeys, withoutWrappers } from './state-dict.js';
import type { PlainValue } from './torch-values.js';

/** A path (Node; of a folder too, if it holds a sharded model), a URL (browser), or the file's bytes. */
export type CheckpointSource = string | ArrayBuffer | Uint8Array | Blob;

export interface LoadValueOptions {
  /** What error messages call the source, where it is not a path. */
  readonly name?: string;
  /** How much a file may cost before it is refused. */
  readonly limits?: ReadLimits;
  /**
   * Whether bytes are checked as they are read, where the file has checksums: zip archives (`.pth`, `.npz`),
   * and safetensors files that kindling wrote. Default true. False reads a damaged file as it is.
   */
  readonly verify?: boolean;
}

export interface LoadCheckpointOptions extends LoadValueOptions {
  /**
   * Which entry holds the state dict, when the file nests it: a top-level key, or a path of keys. By default
   * it is found: the file itself, or its one entry that holds tensors under a usual name (`state_dict`,
   * `model`, ...).
   */
  readonly key?: string | readonly string[];
  /**
   * A prefix to take off the tensors' keys; it must be on at least one of them. By default the names that
   * wrappers put into keys are taken out: `module` (DataParallel, AveragedModel) and `_orig_mod`
   * (torch.compile), around the whole model or a part of it, wherever a module has that one child and nothing
   * else. `false` keeps the keys as they are.
   */
  readonly stripPrefix?: string | false;
}

export interface Checkpoint {
  /**
   * The state dict in the file's order, with the file's own keys less the stripped prefix. Tensors read on
   * demand.
   */
  readonly tensors: Map<string, HostTensor>;
  /**
   * Everything else, such as `epoch`, `best_prec1` or `optimizer`: the entries beside the state dict, and
   * entries of the state dict that are no tensors. Objects of other Python classes are {@link OpaqueObject}s.
   * For safetensors, the metadata.
   */
  readonly extra: Map<string, PlainValue>;
  readonly container: Container;
  /** Keys that lead to the state dict; empty when the file is one. */
  readonly key: readonly string[];
  /** The prefix that was taken off all keys, or null. */
  readonly strippedPrefix: string | null;
  /** Paths of wrappers around parts of the model that were taken out of keys: `features.module`. */
  readonly wrappers: readonly string[];
  readonly name: string;
}

/**
 * Opens a weight file of PyTorch (zip or legacy), safetensors (sharded too) or numpy, told apart by content,
 * without running any of the code a pickle may name. Nothing but the description is read at first: each
 * tensor's bytes are read by its own methods.
 *
 * @throws CheckpointError naming the file: not a weight file (says what it looks like), truncated (says what
 * is missing), a pickled module or TorchScript (says how to save it again), a refused global, or an unclear
 * place of the state dict.
 */
export async function loadCheckpoint(
  source: CheckpointSource,
  options: LoadCheckpointOptions = {},
): Promise<Checkpoint> {
  const bytes = await openSource(source, options.name);
  return within(bytes, options, (reading) => open(source, bytes, options, reading));
}

/** Runs a reader; whatever it throws names the file. */
async function within<T>(
  bytes: ByteSource,
  { limits, verify = true }: LoadValueOptions,
  read: (reading: Reading) => Promise<T>,
): Promise<T> {
  const bounds = resolveLimits(limits);
  try {
    return await read({ budget: new Budget(bounds, bytes.size), verify, limits: bounds });
  } catch (error) {
    throw inFile(bytes.name, error);
  }
}

interface Reading extends ReadOptions {
  readonly limits: Limits;
}

async function open(
  source: CheckpointSource,
  bytes: ByteSource,
  options: LoadCheckpointOptions,
  reading: Reading,
): Promise<Checkpoint> {
  const { name } = bytes;
  const container = await detectContainer(bytes);
  if (!isTorch(container)) {
    if (options.key !== undefined && options.key.length > 0) {
      const kind = container.startsWith('np') ? 'numpy' : 'safetensors';
      throw new CheckpointError(`${name}: a ${kind} file has no nested entries; drop the option \`key\``);
    }
    const { tensors, metadata: extra } = await readFlat(bytes, container, source, reading);
    return { ...unwrap(tensors, options.stripPrefix, name, extra), extra, container, key: [], name };
  }
  const root = await readTorch(bytes, container, reading);
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
    else extra.set([...key, keyText(entry)].join('.'), value);
  }
  if (tensors.size === 0 && dict.size > 0) {
    const where = key.length > 0 ? `entry ${quoteKey(key.join('.'))}` : 'the file';
    throw new CheckpointError(`${name}: ${where} holds no tensors, only ${listKeys(dict)}`);
  }
  return { ...unwrap(tensors, options.stripPrefix, name, extra), extra, container, key, name };
}

/** @internal A checkpoint that was opened with its keys as they are, as it is by default. */
export function unwrapCheckpoint(checkpoint: Checkpoint): Checkpoint {
  const extra = new Map(checkpoint.extra);
  return { ...checkpoint, ...unwrap(checkpoint.tensors, undefined, checkpoint.name, extra), extra };
}

/**
 * The whole value that `torch.save` wrote, of any shape, or a safetensors file as a Map. Errors as for {@link
 * loadCheckpoint}.
 */
export async function loadValue(
  source: CheckpointSource,
  options: LoadValueOptions = {},
): Promise<PlainValue> {
  const bytes = await openSource(source, options.name);
  return within(bytes, options, async (reading) => {
    const container = await detectContainer(bytes);
    if (isTorch(container)) return readTorch(bytes, container, reading);
    const { tensors } = await readFlat(bytes, container, source, reading);
    return container === 'npy' ? [...tensors.values()][0]! : new Map(tensors);
  });
}

type TorchContainer = 'torch-zip' | 'torch-legacy';

const isTorch = (container: Container): container is TorchContainer => container.startsWith('torch');

/**
 * The formats that hold tensors by name and nothing nested. All but the usual one are loaded when a file is
 * of it.
 */
async function readFlat(
  bytes: ByteSource,
  container: Exclude<Container, TorchContainer>,
  source: CheckpointSource,
  reading: Reading,
): Promise<{ tensors: Map<string, HostTensor>; metadata: Map<string, PlainValue> }> {
  switch (container) {
    case 'safetensors':
      return readSafetensors(bytes, reading);
    case 'safetensors-index': {
      const { readSharded } = await import('./sharded.js');
      return readSharded(
        bytes,
        (file) => {
          if (typeof source === 'string') return openSource(besides(source, bytes.path ?? source, file));
          throw new CheckpointError('an index alone does not say where its files are: give its path or URL');
        },
        reading,
      );
    }
    case 'npz': {
      const { readNpz } = await import('./numpy-files.js');
      return { tensors: await readNpz(bytes, reading), metadata: new Map() };
    }
    case 'npy': {
      const { readNpy } = await import('./numpy-files.js');
      // A backslash parts folders, or begins a control character that is spelled out.
      const key = bytes.name.replace(/^.*(?:\/|\\(?!x[0-9a-f]{2}|u[0-9a-f{]))/, '').replace(/\.npy$/i, '');
      return { tensors: new Map([[key, await readNpy(bytes, bytes.name, key)]]), metadata: new Map() };
    }
  }
}

/** The path or URL of a file in the same folder; `opened` is what a folder's path turned out to mean. */
function besides(source: string, opened: string, file: string): string {
  if (isUrl(source)) return new URL(encodeURIComponent(file), source).href;
  return opened.replace(/[^/\\]*$/, '') + file;
}

async function readTorch(
  source: ByteSource,
  container: TorchContainer,
  reading: Reading,
): Promise<PlainValue> {
  // Two thirds of this room, for the unpickling.
  const { readTorchLegacy, readTorchZip } = await import('./torch-file.js');
  const read = container === 'torch-zip' ? readTorchZip : readTorchLegacy;
  const value = await read(source, reading);
  if (value instanceof OpaqueObject) {
    throw new CheckpointError(
      `${source.name}: holds a pickled object of the Python class ${quoteKey(value.className)}, not just tensors: probably a ` +
        'whole module saved by torch.save(model). Its weights cannot be read without running the class; nothing was ' +
        "executed. Save them again in Python: torch.save(torch.load(path).state_dict(), 'weights.pth')",
    );
  }
  return value;
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
  const label = printable(name ?? source.slice(0, 200));
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

/**
 * The tensors under the keys that a model has: less a given prefix, or less what wrappers put into them. What
 * an averaged model counts beside its weights goes to `extra`.
 */
function unwrap(
  tensors: Map<string, HostTensor>,
  option: string | false | undefined,
  name: string,
  extra: Map<string, PlainValue>,
): Pick<Checkpoint, 'tensors' | 'strippedPrefix' | 'wrappers'> {
  const untouched = { tensors: rename(tensors, (key) => key), strippedPrefix: null, wrappers: [] };
  if (option === false || option === '') return untouched;
  if (option !== undefined) {
    const stripped = rename(tensors, (key) =>
      key.startsWith(option) && key !== option ? key.slice(option.length) : key,
    );
    if (![...tensors.keys()].some((key) => key.startsWith(option) && key !== option)) {
      throw new CheckpointError(
        `${name}: no key starts with the prefix ${quoteKey(option)}; the keys are ${listKeys(tensors)}`,
      );
    }
    if (stripped.size < tensors.size) throw clash(name, `the prefix ${quoteKey(option)}`);
    return { tensors: stripped, strippedPrefix: option, wrappers: [] };
  }
  const paths = findWrappers(tensors.keys());
  if (paths.length === 0) return untouched;
  // The wrappers around the whole model: each is the only step below the one before.
  const outer: string[] = [];
  for (const path of paths) {
    const before = outer.length === 0 ? '' : `${outer[outer.length - 1]}.`;
    if (path.startsWith(before) && !path.slice(before.length).includes('.')) outer.push(path);
    else break;
  }
  const counters = new Set(['', ...paths.map((path) => `${path}.`)].map((prefix) => `${prefix}n_averaged`));
  const kept = new Map<string, HostTensor>();
  for (const [key, tensor] of tensors)
    if (counters.has(key)) extra.set(key, tensor);
    else kept.set(key, tensor);
  const all = new Set(paths);
  const unwrapped = rename(kept, (key) => withoutWrappers(key, all));
  if (unwrapped.size < kept.size)
    throw clash(name, `the names of wrappers (${paths.map((path) => quoteKey(path)).join(', ')})`);
  const last = outer[outer.length - 1];
  return {
    tensors: unwrapped,
    strippedPrefix: last === undefined ? null : `${last}.`,
    wrappers: paths.filter((path) => !outer.includes(path)),
  };
}

const clash = (name: string, what: string): CheckpointError =>
  new CheckpointError(`${name}: without ${what} two keys are the same; pass { stripPrefix: false }`);

/** Tensors under new keys, and named by them. Tied weights, one tensor under two keys, become two handles. */
function rename(tensors: Map<string, HostTensor>, to: (key: string) => string): Map<string, HostTensor> {
  const renamed = namedMap<HostTensor>();
  for (const [key, tensor] of tensors) {
    const name = to(key);
    renamed.set(name, tensor.renamed(name));
  }
  return renamed;
}
