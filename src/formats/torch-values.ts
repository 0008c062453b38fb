/** What the pickle inside a PyTorch file may refer to, and the plain values that come out of it. */

import type { ByteRange } from './byte-source.js';
import { CheckpointError } from './errors.js';
import type { HostDtype } from './dtypes.js';
import { isHostDtype, itemSize } from './dtypes.js';
import { HostTensor } from './host-tensor.js';
import { encodeText, NumpyArray, NumpyDtype, rawBytes, textOf } from './numpy-values.js';
import { PickleGlobal, PickleObject } from './pickle-types.js';
import type { PickleLimits, PickleValue } from './pickle-types.js';

/**
 * A value from a file, without any Python: dict is a Map (order and keys of every kind kept), list and tuple are arrays,
 * int is a number or (beyond 2^53) a bigint, bytes are a Uint8Array, tensors and numpy arrays are {@link HostTensor}s.
 */
export type PlainValue =
  | null
  | boolean
  | number
  | bigint
  | string
  | Uint8Array
  | HostTensor
  | PlainValue[]
  | Map<PlainValue, PlainValue>
  | Set<PlainValue>;

/** A storage that the pickle names and the container holds. */
export class StorageRef extends PickleObject {
  constructor(
    readonly key: string,
    /** null for an untyped storage, which counts bytes. */
    readonly dtype: HostDtype | null,
    readonly elements: number,
    /** Where the part that is meant starts; old files slice storages themselves. */
    readonly viewOffset = 0,
  ) {
    super();
  }

  get byteLength(): number {
    return this.elements * (this.dtype === null ? 1 : itemSize[this.dtype]);
  }
}

class TensorRef extends PickleObject {
  constructor(
    readonly storage: StorageRef,
    readonly dtype: HostDtype,
    readonly offset: number,
    readonly shape: readonly number[],
    readonly strides: readonly number[],
    readonly requiresGrad: boolean,
  ) {
    super();
  }

  /** Python attributes of a tensor are dropped; an old-style state would replace the data, so it is refused. */
  override setState(state: PickleValue): void {
    if (state !== null && !(state instanceof Map)) throw new CheckpointError('a tensor has an unknown state');
  }

  withGrad(requiresGrad: boolean): TensorRef {
    return new TensorRef(this.storage, this.dtype, this.offset, this.shape, this.strides, requiresGrad);
  }
}

/** `argparse.Namespace` and `types.SimpleNamespace`: attributes only; becomes a Map. */
class Namespace extends PickleObject {
  readonly attributes = new Map<PickleValue, PickleValue>();

  override setState(state: PickleValue, limits: PickleLimits): void {
    if (!(state instanceof Map)) throw new CheckpointError('a namespace has an unknown state');
    limits.spend(state.size);
    for (const [key, value] of state) this.attributes.set(key, value);
  }
}

const storageDtypes: Readonly<Record<string, HostDtype | null>> = {
  DoubleStorage: 'float64',
  FloatStorage: 'float32',
  HalfStorage: 'float16',
  BFloat16Storage: 'bfloat16',
  LongStorage: 'int64',
  IntStorage: 'int32',
  ShortStorage: 'int16',
  CharStorage: 'int8',
  ByteStorage: 'uint8',
  BoolStorage: 'bool',
  ComplexFloatStorage: 'complex64',
  ComplexDoubleStorage: 'complex128',
  UntypedStorage: null,
  _UntypedStorage: null,
};

class StorageType extends PickleGlobal {
  constructor(
    path: string,
    readonly dtype: HostDtype | null,
  ) {
    super(path);
  }
}

type Args = readonly PickleValue[];

function integer(value: PickleValue | undefined, what: string): number {
  if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 0) return value;
  throw new CheckpointError(`${what} is not a whole number of at least 0`);
}

function integers(value: PickleValue | undefined, what: string): number[] {
  if (!Array.isArray(value) || value.length > 64)
    throw new CheckpointError(`${what} is not a tuple of at most 64 numbers`);
  return value.map((item) => integer(item, what));
}

function rebuildTensor(args: Args, dtype?: HostDtype): TensorRef {
  const [storage, offset, shape, strides, requiresGrad] = args;
  if (!(storage instanceof StorageRef))
    throw new CheckpointError('a tensor is built from something that is no storage');
  const type = dtype ?? storage.dtype;
  if (type === null) throw new CheckpointError('a tensor is built from an untyped storage without a dtype');
  return new TensorRef(
    storage,
    type,
    storage.viewOffset + integer(offset, 'a tensor offset'),
    integers(shape, 'a tensor shape'),
    integers(strides, 'a tensor stride'),
    requiresGrad === true,
  );
}

function torchDtype(value: PickleValue | undefined): HostDtype {
  const name = value instanceof PickleGlobal ? value.path.replace(/^torch\./, '') : '';
  if (!isHostDtype(name)) throw new CheckpointError('a tensor has an unknown dtype');
  return name;
}

function items(value: PickleValue | undefined, limits: PickleLimits): PickleValue[] {
  if (value === undefined) return [];
  if (!Array.isArray(value) && !(value instanceof Set))
    throw new CheckpointError('a list of items is expected');
  limits.spend(value instanceof Set ? value.size : value.length);
  return [...value];
}

function dictOf(value: PickleValue | undefined, limits: PickleLimits): Map<PickleValue, PickleValue> {
  if (value instanceof Map) {
    limits.spend(value.size);
    return new Map(value);
  }
  const map = new Map<PickleValue, PickleValue>();
  for (const pair of items(value, limits)) {
    if (!Array.isArray(pair) || pair.length !== 2)
      throw new CheckpointError('a dict is built from something else than pairs');
    map.set(pair[0]!, pair[1]!);
  }
  return map;
}

function bytesOf(value: PickleValue | undefined, limits: PickleLimits): Uint8Array {
  if (value === undefined) return new Uint8Array(0);
  const bytes = rawBytes(value);
  limits.spend(bytes.length);
  return bytes;
}

function named(...keys: string[]): (args: Args) => PickleValue {
  return (args) => new Map(keys.map((key, i) => [key, args[i] ?? null]));
}

const pythonRange = (args: Args): PickleValue =>
  args.length === 1 ? named('stop')(args) : named('start', 'stop', 'step')(args);

const joinPath = (args: Args, limits: PickleLimits): PickleValue => {
  const parts = args.map(textOf);
  limits.spend(parts.reduce((sum, part) => sum + part.length, 0));
  return parts.join('/').replace(/^\/\//, '/');
};

const rebuildNumpyScalar = (args: Args): PickleValue => {
  const [dtype, raw] = args;
  if (!(dtype instanceof NumpyDtype)) throw new CheckpointError('a numpy scalar has no dtype');
  return dtype.scalar(rawBytes(raw));
};

const builtins: Readonly<Record<string, PickleGlobal['call']>> = {
  set: ([list], limits) => new Set(items(list, limits)),
  frozenset: ([list], limits) => new Set(items(list, limits)),
  list: ([list], limits) => items(list, limits),
  tuple: ([list], limits) => items(list, limits),
  dict: ([pairs], limits) => dictOf(pairs, limits),
  bytes: ([raw], limits) => bytesOf(raw, limits),
  bytearray: ([raw, encoding], limits) =>
    typeof raw === 'string' && typeof encoding === 'string'
      ? encodeText(raw, encoding)
      : bytesOf(raw, limits),
  slice: named('start', 'stop', 'step'),
  range: pythonRange,
  xrange: pythonRange,
  int: undefined,
  float: undefined,
  bool: undefined,
  str: undefined,
  object: undefined,
};

/** Functions and classes by path. `undefined` marks a name that may be mentioned but not called. */
const table = new Map<string, PickleGlobal['call']>([
  ['torch._utils._rebuild_tensor', (args) => rebuildTensor(args.slice(0, 4))],
  ['torch._utils._rebuild_tensor_v2', (args) => rebuildTensor(args)],
  ['torch._utils._rebuild_tensor_v3', (args) => rebuildTensor(args, torchDtype(args[6]))],
  ['torch._utils._rebuild_parameter', rebuildParameter],
  ['torch._utils._rebuild_parameter_with_state', rebuildParameter],
  ['torch._tensor._rebuild_from_type_v2', rebuildFromType],
  ['torch.Tensor', undefined],
  ['torch.nn.parameter.Parameter', undefined],
  ['torch.Size', ([sizes]) => integers(sizes, 'a torch.Size')],
  ['torch.device', (args) => args.map(String).join(':')],
  ['torch.torch_version.TorchVersion', ([version]) => textOf(version)],
  ['torch.serialization._get_layout', ([layout]) => textOf(layout)],
  ['torch.storage.TypedStorage', undefined],
  ['torch.storage._TypedStorage', undefined],
  ['collections.OrderedDict', ([pairs], limits) => dictOf(pairs, limits)],
  ['collections.defaultdict', (args, limits) => dictOf(args[1], limits)],
  ['collections.Counter', ([counts], limits) => dictOf(counts, limits)],
  ['collections.deque', ([list], limits) => items(list, limits)],
  ['argparse.Namespace', () => new Namespace()],
  ['types.SimpleNamespace', () => new Namespace()],
  ['pathlib.PosixPath', joinPath],
  ['pathlib.PurePosixPath', joinPath],
  ['pathlib.WindowsPath', joinPath],
  ['_codecs.encode', encodeCall],
  ['copyreg._reconstructor', reconstruct],
  ['copy_reg._reconstructor', reconstruct],
  ['numpy.ndarray', undefined],
  ['numpy.dtype', ([code]) => new NumpyDtype(textOf(code))],
]);
for (const core of ['numpy.core.multiarray', 'numpy._core.multiarray']) {
  table.set(`${core}.scalar`, rebuildNumpyScalar);
  table.set(`${core}._reconstruct`, () => new NumpyArray());
}
for (const [name, call] of Object.entries(builtins)) {
  table.set(`builtins.${name}`, call);
  table.set(`__builtin__.${name}`, call);
}

function rebuildParameter([tensor, requiresGrad]: Args): PickleValue {
  if (!(tensor instanceof TensorRef))
    throw new CheckpointError('a parameter is built from something that is no tensor');
  return tensor.withGrad(requiresGrad === true);
}

/** `_rebuild_from_type_v2(function, type, args, state)`: a tensor with Python attributes, which are dropped. */
function rebuildFromType([rebuild, , args]: Args, limits: PickleLimits): PickleValue {
  if (
    !(rebuild instanceof PickleGlobal) ||
    !rebuild.path.startsWith('torch._utils.') ||
    !Array.isArray(args)
  ) {
    throw new CheckpointError('a tensor subclass is built in an unknown way');
  }
  return rebuild.call!(args, limits);
}

function encodeCall([text, encoding]: Args, limits: PickleLimits): PickleValue {
  if (typeof text !== 'string')
    throw new CheckpointError('_codecs.encode is given something that is no text');
  limits.spend(text.length);
  return encodeText(text, typeof encoding === 'string' ? encoding : 'utf-8');
}

/** How protocols 0 and 1 make an object before its state is set: `_reconstructor(class, base, state)`. */
function reconstruct([type]: Args, limits: PickleLimits): PickleValue {
  if (!(type instanceof PickleGlobal) || !type.call)
    throw new CheckpointError('an object of an unknown class is rebuilt');
  return type.call([], limits);
}

/** The fixed table: everything else is refused. */
export function findGlobal(module: string, name: string): PickleGlobal | undefined {
  const path = `${module}.${name}`;
  if (table.has(path)) return new PickleGlobal(path, table.get(path));
  if (module === 'torch' || module === 'torch.cuda' || module === 'torch.storage') {
    if (Object.hasOwn(storageDtypes, name)) return new StorageType(path, storageDtypes[name]!);
  }
  if (module === 'torch' && isHostDtype(name)) return new PickleGlobal(path);
  return undefined;
}

/** Advice for names that real files hold and that cannot be supported. */
export function explainGlobal(module: string, name: string): string | undefined {
  if (name.startsWith('_rebuild_q') || /^Q\w+Storage$/.test(name)) {
    return 'Quantised tensors are not supported: call `.dequantize()` on them in Python before saving';
  }
  if (name.startsWith('_rebuild_sparse')) {
    return 'Sparse tensors are not supported: call `.to_dense()` on them in Python before saving';
  }
  if (module.startsWith('torch.')) return undefined;
  return 'In Python, save only tensors and plain values: torch.save(model.state_dict(), path)';
}

/** The storage of a `('storage', type, key, location, size, view)` persistent id. */
export function storageOfId(id: PickleValue): StorageRef {
  if (!Array.isArray(id) || id[0] !== 'storage')
    throw new CheckpointError('an unknown kind of persistent id');
  const [, type, key, , elements, view] = id;
  if (!(type instanceof StorageType)) throw new CheckpointError('a storage has an unknown type');
  // A legacy view of the storage is (key of the view, offset, size), in elements; later files hold None here.
  const viewOffset = Array.isArray(view) ? integer(view[1], 'the offset of a storage view') : 0;
  return new StorageRef(textOf(key), type.dtype, integer(elements, 'a storage size'), viewOffset);
}

const maxDepth = 1000;

/**
 * Replaces what is left of Python in an unpickled value, in place where it can: tensors become {@link HostTensor}s named
 * by their path, numpy arrays too, types and dtypes become their names. Each object is visited once, so shared and cyclic
 * values cost nothing extra.
 */
export function toPlainValue(
  root: PickleValue,
  resolve: (storage: StorageRef, tensor: string) => ByteRange,
  bigEndian = false,
): PlainValue {
  const done = new Map<object, PlainValue>();
  const queue: { value: PlainValue; path: string; depth: number }[] = [];

  const visit = (value: PickleValue, path: string, depth: number): PlainValue => {
    if (value === null || typeof value !== 'object' || value instanceof Uint8Array) return value;
    const known = done.get(value);
    if (known !== undefined) return known;
    if (depth > maxDepth) throw new CheckpointError(`values are nested more than ${maxDepth} deep; refused`);
    let plain: PlainValue;
    if (value instanceof TensorRef) plain = tensorOf(value, path);
    else if (value instanceof StorageRef) {
      const { dtype, viewOffset, elements } = value;
      plain = tensorOf(
        new TensorRef(value, dtype ?? 'uint8', viewOffset, [elements - viewOffset], [1], false),
        path,
      );
    } else if (value instanceof NumpyArray) plain = value.tensor().renamed(path);
    else if (value instanceof NumpyDtype) plain = value.code;
    else if (value instanceof PickleGlobal) plain = value.path;
    else {
      const container = value instanceof Namespace ? value.attributes : value;
      if (container instanceof PickleObject) throw new CheckpointError(`'${path}' is an unfinished object`);
      // From here on its items are replaced one by one, so the cast holds once the queue is empty.
      plain = container as PlainValue;
      queue.push({ value: plain, path, depth });
    }
    done.set(value, plain);
    return plain;
  };

  const tensorOf = (ref: TensorRef, path: string): HostTensor =>
    new HostTensor({ ...ref, name: path, storage: resolve(ref.storage, path), bigEndian });

  const result = visit(root, '', 0);
  for (let next = queue.pop(); next !== undefined; next = queue.pop()) {
    const { value, path, depth } = next;
    const below = (key: PlainValue) => {
      const name = typeof key === 'object' ? '...' : String(key);
      // Long paths only serve error messages; without a bound a deep chain of long keys would take quadratic memory.
      return (path === '' ? name : `${path}.${name}`).slice(0, 512);
    };
    if (Array.isArray(value)) {
      for (let i = 0; i < value.length; i++)
        value[i] = visit(value[i] as PickleValue, `${path}[${i}]`.slice(0, 512), depth + 1);
    } else if (value instanceof Map) {
      const entries = [...value];
      value.clear();
      for (const [key, item] of entries) {
        const plainKey = visit(key as PickleValue, `${path} (a key)`, depth + 1);
        value.set(plainKey, visit(item as PickleValue, below(plainKey), depth + 1));
      }
    } else if (value instanceof Set) {
      const members = [...value];
      value.clear();
      for (const member of members) value.add(visit(member as PickleValue, `${path} (a member)`, depth + 1));
    }
  }
  return result;
}
