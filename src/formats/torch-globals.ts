/** The table of what the pickle inside a PyTorch file may call, and what becomes of every other name. */

import { CheckpointError, quote } from './errors.js';
import type { HostDtype } from './dtypes.js';
import { isHostDtype } from './dtypes.js';
import { encodeText, NumpyArray, NumpyDtype, rawBytes, textOf } from './numpy-values.js';
import { OpaqueObject, PickleGlobal } from './pickle-types.js';
import type { PickleLimits, PickleValue } from './pickle-types.js';
import { Namespace, StorageRef, StorageType, TensorRef } from './torch-refs.js';

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

type Args = readonly PickleValue[];

export function integer(value: PickleValue | undefined, what: string): number {
  if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 0) return value;
  throw new CheckpointError(`${what} is not a whole number of at least 0`);
}

function integers(value: PickleValue | undefined, what: string): number[] {
  if (!Array.isArray(value) || value.length > 64)
    throw new CheckpointError(`${what} is not a tuple of at most 64 numbers`);
  return value.map((item) => integer(item, what));
}

/** @param most how many arguments there are, the last of which is the tensor's metadata if it is a seventh */
function rebuildTensor(args: Args, most: number, dtype?: HostDtype): TensorRef {
  checkCount(args, most);
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
    most > 6 ? (args[most - 1] ?? null) : null,
  );
}

/** What one more argument would say of the tensor is not known. */
function checkCount(args: Args, most: number): void {
  if (args.length > most)
    throw new CheckpointError(`a tensor is built from ${args.length} arguments, of which ${most} are known`);
}

/** `torch.device('cuda', 1)`, as PyTorch prints it. */
function device(args: Args): string {
  const [type, index, ...more] = args;
  if (typeof type !== 'string' || type.length > 64 || more.length > 0)
    throw new CheckpointError('a torch.device is named by something else than a short string');
  if (index === undefined || index === null) return type;
  return `${type}:${integer(index, 'the number of a torch.device')}`;
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
    for (const key of value.keys()) limits.key(key);
    return new Map(value);
  }
  const map = new Map<PickleValue, PickleValue>();
  for (const pair of items(value, limits)) {
    if (!Array.isArray(pair) || pair.length !== 2)
      throw new CheckpointError('a dict is built from something else than pairs');
    limits.key(pair[0]!);
    map.set(pair[0]!, pair[1]!);
  }
  return map;
}

function setOf(value: PickleValue | undefined, limits: PickleLimits): Set<PickleValue> {
  const members = items(value, limits);
  for (const member of members) limits.key(member);
  return new Set(members);
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

const joinPath = (args: Args): PickleValue => {
  const parts = args.map(textOf);
  return parts.join('/').replace(/^\/\//, '/');
};

const rebuildNumpyScalar = (args: Args): PickleValue => {
  const [dtype, raw] = args;
  if (!(dtype instanceof NumpyDtype)) throw new CheckpointError('a numpy scalar has no dtype');
  return dtype.scalar(rawBytes(raw));
};

const builtins: Readonly<Record<string, PickleGlobal['call']>> = {
  set: ([list], limits) => setOf(list, limits),
  frozenset: ([list], limits) => setOf(list, limits),
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
  ['torch._utils._rebuild_tensor', (args) => rebuildTensor(args, 4)],
  ['torch._utils._rebuild_tensor_v2', (args) => rebuildTensor(args, 7)],
  ['torch._utils._rebuild_tensor_v3', (args) => rebuildTensor(args, 8, torchDtype(args[6]))],
  ['torch._utils._rebuild_parameter', (args) => rebuildParameter(args, 3)],
  ['torch._utils._rebuild_parameter_with_state', (args) => rebuildParameter(args, 4)],
  ['torch._tensor._rebuild_from_type_v2', rebuildFromType],
  ['torch.Tensor', undefined],
  ['torch.nn.parameter.Parameter', undefined],
  ['torch.Size', ([sizes]) => integers(sizes, 'a torch.Size')],
  ['torch.device', device],
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

/** A fourth argument holds Python attributes, which are dropped. */
function rebuildParameter(args: Args, most: number): PickleValue {
  checkCount(args, most);
  const [tensor, requiresGrad] = args;
  if (!(tensor instanceof TensorRef))
    throw new CheckpointError('a parameter is built from something that is no tensor');
  return tensor.withGrad(requiresGrad === true);
}

/**
 * `_rebuild_from_type_v2(function, type, args, state)`: a tensor with Python attributes, which are dropped.
 */
function rebuildFromType(all: Args, limits: PickleLimits): PickleValue {
  checkCount(all, 4);
  const [rebuild, , args] = all;
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

/** The fixed table: what it does not hold is refused, or stands for itself ({@link findGlobalOrForeign}). */
export function findGlobal(module: string, name: string): PickleGlobal | undefined {
  const path = `${module}.${name}`;
  if (table.has(path)) return new PickleGlobal(path, table.get(path));
  if (module === 'torch' || module === 'torch.cuda' || module === 'torch.storage') {
    if (Object.hasOwn(storageDtypes, name)) return new StorageType(path, storageDtypes[name]!);
  }
  if (module === 'torch' && isHostDtype(name)) return new PickleGlobal(path);
  return undefined;
}

/**
 * Modules whose names have no business in a file of weights and many an attack: a file that mentions one is
 * refused by name. Nothing would be run either way, so this is a warning to its owner and not what keeps the
 * reader safe.
 */
const attackers = new Set(
  (
    'os posix nt posixpath ntpath subprocess sys shutil socket ssl pty tty fcntl signal ctypes commands popen2 platform ' +
    'runpy importlib imp pkgutil zipimport code codeop codecs marshal pickle _pickle cPickle dill cloudpickle joblib shelve ' +
    'pydoc pdb bdb cProfile profile timeit trace inspect ast dis types gc threading _thread multiprocessing asyncio ' +
    'concurrent webbrowser http urllib urllib2 httplib ftplib smtplib telnetlib xmlrpc requests aiohttp paramiko ' +
    'tempfile glob fileinput io _io nturl2path ' +
    'torch.hub torch.jit torch.package torch.serialization torch.multiprocessing'
  ).split(' '),
);

/**
 * The same of Python's built-in functions. The others are honest values beside weights: a type of an argument
 * (`int`, which protocol 2 writes as `__builtin__.long`), `max`, an exception, `Ellipsis`.
 */
const attackingBuiltins = new Set(
  (
    'eval exec execfile compile open file input raw_input breakpoint apply reload setattr delattr globals locals vars ' +
    'help exit quit copyright credits license memoryview buffer'
  ).split(' '),
);
const builtinModules = new Set(['builtins', '__builtin__']);

/** Modules of PyTorch in which tensors are made: what is unknown there would be a tensor that is lost. */
const tensorMakers = new Set(['torch', 'torch._utils', 'torch._tensor', 'torch.storage', 'torch.cuda']);

/** Of those modules, what objects of honest files are made of. */
const harmless = new Set(['types.MethodType', 'types.MappingProxyType']);

/** Whether nothing with this name is let in, not even as a name. */
function isRefused(module: string, name: string): boolean {
  if (harmless.has(`${module}.${name}`)) return false;
  const [first = '', second] = module.split('.', 2);
  return (
    tensorMakers.has(module) ||
    (builtinModules.has(first) && (module !== first || attackingBuiltins.has(name.split('.', 1)[0]!))) ||
    attackers.has(first) ||
    (second !== undefined && attackers.has(`${first}.${second}`)) ||
    name.includes('__')
  );
}

/**
 * As {@link findGlobal}; another class or function is a name only, and what it would make an {@link
 * OpaqueObject}. Names in which tensors or attacks are made are refused.
 */
export function findGlobalOrForeign(module: string, name: string): PickleGlobal | undefined {
  const found = findGlobal(module, name);
  if (found !== undefined || isRefused(module, name)) return found;
  const path = `${module}.${name}`;
  return new PickleGlobal(path, () => new OpaqueObject(path), true);
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

/** What {@link PickleHost.persistentLoad} is in PyTorch's files. */
export function persistentLoad(id: PickleValue): PickleValue {
  // The legacy format writes a module's class as ('module', class, path of its source, source).
  if (Array.isArray(id) && id[0] === 'module' && id[1] instanceof PickleGlobal) return id[1];
  return storageOfId(id);
}

/** The storage of a `('storage', type, key, location, size, view)` persistent id. */
export function storageOfId(id: PickleValue): StorageRef {
  if (!Array.isArray(id) || id[0] !== 'storage')
    throw new CheckpointError('an unknown kind of persistent id');
  const [, type, key, , elements, view] = id;
  if (!(type instanceof StorageType)) throw new CheckpointError('a storage has an unknown type');
  const name = textOf(key);
  if (name.length > maxStorageName)
    throw new CheckpointError(`the name of a storage has ${name.length} characters: ${quote(name, 40)}`);
  // A legacy view of the storage is (key of the view, offset, size), in elements; later files hold None here.
  const viewOffset = Array.isArray(view) ? integer(view[1], 'the offset of a storage view') : 0;
  return new StorageRef(name, type.dtype, integer(elements, 'a storage size'), viewOffset);
}

// A number, or the decimal address that the storage had.
const maxStorageName = 1000;
