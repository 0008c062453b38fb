/**
 * Writes the zip container of `torch.save` (PyTorch 1.6 and later, `torch/serialization.py`), front to back.
 */

import { noMore } from '../tensor/options.js';
import { isTensor } from '../tensor/tensor.js';
import type { ByteRange } from './byte-source.js';
import { TensorReader, type FloatDtype, type TensorSource } from './device-tensor.js';
import { itemSize } from './dtypes.js';
import type { HostDtype } from './dtypes.js';
import { CheckpointError } from './errors.js';
import { HostTensor } from './host-tensor.js';
import { collect, type FileLayout } from './layout.js';
import { OP } from './pickle-opcodes.js';
import { PickleWriter, writePlain } from './pickle-writer.js';
import { contiguousStrides, extent, isContiguous } from './strided.js';
import { layoutZip, type ZipPart } from './zip-writer.js';

/**
 * What `torch.save` is given: tensors and plain values, nested in arrays (lists), Maps and plain objects
 * (dicts). A Map that holds only tensors becomes an OrderedDict, as `state_dict()` gives; whole numbers
 * become Python's int, other numbers its float; an object with only whole numbers as keys becomes a dict with
 * int keys. Objects of other classes are refused when they are met; the type cannot say so without refusing
 * interfaces, such as an optimizer's state dict.
 */
export type TorchValue = null | undefined | boolean | number | bigint | string | TensorSource | object;

export interface TorchOptions {
  /** Floating point tensors are stored as this. Default: as they are. */
  readonly dtype?: FloatDtype;
  /** @internal See {@link layoutZip}. */
  readonly zip64From?: number;
}

/**
 * Storage classes that every PyTorch has; tensors of other dtypes lie in untyped storages (PyTorch 2.1 and
 * later).
 */
const storageClasses: Partial<Record<HostDtype, string>> = {
  float64: 'DoubleStorage',
  float32: 'FloatStorage',
  float16: 'HalfStorage',
  bfloat16: 'BFloat16Storage',
  int64: 'LongStorage',
  int32: 'IntStorage',
  int16: 'ShortStorage',
  int8: 'CharStorage',
  uint8: 'ByteStorage',
  bool: 'BoolStorage',
  complex64: 'ComplexFloatStorage',
  complex128: 'ComplexDoubleStorage',
};

/**
 * A storage of the file: the elements `[begin, end)` of a range of bytes, or one tensor written out in C
 * order.
 */
interface Stored {
  readonly key: string;
  readonly dtype: HostDtype;
  readonly elements: number;
  readonly source: HostTensor;
}

interface Placement {
  readonly stored: Stored;
  readonly offset: number;
  readonly strides: readonly number[];
}

/**
 * Lays out the file that `torch.save(value, path)` would write, such that `torch.load(path)` and
 * `torch.load(path, weights_only=True)` read it. (PyTorch 1.13's restricted reader takes no Python floats and
 * no bytes, not even from files of its own; later ones take floats.) Tensors that share memory share one
 * storage, written once.
 *
 * @throws CheckpointError for a value of a kind that cannot be written, naming its place
 */
export function layoutTorch(value: TorchValue, options: TorchOptions = {}): FileLayout {
  noMore('layoutTorch', arguments, 2);
  const reader = new TensorReader(options.dtype);
  const tensors = new Map<object, HostTensor>();
  const find = (item: unknown, path: string): HostTensor | undefined => {
    const known = typeof item === 'object' && item !== null ? tensors.get(item) : undefined;
    const tensor = known ?? reader.read(item, path);
    if (tensor !== undefined && known === undefined) tensors.set(item as object, tensor);
    return tensor;
  };
  const isTensorMap = (map: ReadonlyMap<unknown, unknown>) =>
    map.size > 0 && [...map].every(([key, item]) => typeof key === 'string' && isTensorLike(item));

  // Once to find the tensors, so that views of one storage are placed together; once to write.
  writePlain(new PickleWriter(), value, (item, path) => find(item, path) !== undefined, isTensorMap);
  const { placements, storages } = placeTensors([...tensors.values()]);
  const writer = new PickleWriter();
  writePlain(
    writer,
    value,
    (item) => {
      const tensor = tensors.get(item as object);
      if (tensor === undefined) return false;
      if (!writer.recall(item)) {
        writeTensor(writer, tensor, placements.get(tensor)!);
        writer.remember(item);
      }
      return true;
    },
    isTensorMap,
  );
  const bytes = (name: string, content: Uint8Array): ZipPart => ({
    name: `archive/${name}`,
    size: content.length,
    chunks: () => [content],
  });
  const text = (name: string, content: string) => bytes(name, new TextEncoder().encode(content));
  const zip64 = options.zip64From === undefined ? {} : { zip64From: options.zip64From };
  return layoutZip(
    [
      bytes('data.pkl', writer.done()),
      text('byteorder', 'little'),
      ...storages.map(({ key, source }) => ({
        name: `archive/data/${key}`,
        size: source.byteLength,
        chunks: () => source.chunks(),
      })),
      text('version', '3\n'),
    ],
    zip64,
  );
}

const isTensorLike = (value: unknown): boolean => value instanceof HostTensor || isTensor(value);

/** Decides which storages the file has and where in them each tensor lies. */
function placeTensors(tensors: readonly HostTensor[]) {
  const groups = new Map<ByteRange, HostTensor[]>();
  for (const tensor of tensors) {
    const group = groups.get(tensor.storage);
    if (group === undefined) groups.set(tensor.storage, [tensor]);
    else group.push(tensor);
  }
  const storages: Stored[] = [];
  const placements = new Map<HostTensor, Placement>();
  const store = (source: HostTensor): Stored => {
    const { dtype, size: elements } = source;
    const stored = { key: String(storages.length), dtype, elements, source };
    storages.push(stored);
    return stored;
  };
  for (const group of groups.values()) {
    const shared = sharedSpan(group);
    if (shared !== undefined) {
      const stored = store(shared);
      for (const tensor of group)
        placements.set(tensor, { stored, offset: tensor.offset - shared.offset, strides: tensor.strides });
      continue;
    }
    const views = new Map<string, Stored>();
    for (const tensor of group) {
      const { dtype, offset, shape, strides } = tensor;
      const view = `${dtype} ${offset} ${shape.join()} ${strides.join()}`;
      let stored = views.get(view);
      if (stored === undefined) views.set(view, (stored = store(tensor)));
      placements.set(tensor, { stored, offset: 0, strides: contiguousStrides(shape) });
    }
  }
  return { placements, storages };
}

/** The part of their common storage that several views touch, unless writing each view out takes less. */
function sharedSpan(group: readonly HostTensor[]): HostTensor | undefined {
  const [one] = group;
  const filled = group.filter((tensor) => tensor.size > 0);
  if (one === undefined || filled.length === 0 || group.some((tensor) => tensor.dtype !== one.dtype))
    return undefined;
  if (group.length === 1 && isContiguous(one.shape, one.strides)) return undefined;
  if (filled.length < group.length) return undefined;
  const begin = Math.min(...filled.map((tensor) => tensor.offset));
  const end = Math.max(...filled.map(({ offset, shape, strides }) => offset + extent(shape, strides)));
  const apart = new Map(
    filled.map(({ offset, shape, strides, size }) => [`${offset} ${shape.join()} ${strides.join()}`, size]),
  );
  const total = [...apart.values()].reduce((sum, size) => sum + size, 0);
  if (end - begin > total) return undefined;
  const { dtype, storage, bigEndian } = one;
  return new HostTensor({ dtype, shape: [end - begin], offset: begin, storage, bigEndian });
}

/** What `torch._utils._rebuild_tensor_v2` or `_v3` is to be called with. */
function writeTensor(writer: PickleWriter, tensor: HostTensor, { stored, offset, strides }: Placement): void {
  const { dtype, shape, requiresGrad } = tensor;
  const typed = storageClasses[dtype];
  if (typed === undefined && dtype.startsWith('complex'))
    throw new CheckpointError(`torch: tensor '${tensor.name}': PyTorch has no storage of ${dtype}`);
  const sizes = (values: readonly number[]) => () => {
    if (values.length === 0) writer.op(OP.EMPTY_TUPLE);
    else if (values.length > 3) writer.tuple(...values.map((value) => () => writer.integer(value)));
    else {
      for (const value of values) writer.integer(value);
      writer.op([OP.TUPLE1, OP.TUPLE2, OP.TUPLE3][values.length - 1]!);
    }
  };
  writer.global('torch._utils', typed === undefined ? '_rebuild_tensor_v3' : '_rebuild_tensor_v2');
  writer.tuple(
    () => {
      writer.tuple(
        () => writer.string('storage'),
        () =>
          typed === undefined
            ? writer.global('torch.storage', 'UntypedStorage')
            : writer.global('torch', typed),
        () => writer.string(stored.key),
        () => writer.string('cpu'),
        () => writer.integer(typed === undefined ? stored.elements * itemSize[dtype] : stored.elements),
      );
      writer.op(OP.BINPERSID);
    },
    () => writer.integer(offset),
    sizes(shape),
    sizes(strides),
    () => writer.boolean(requiresGrad),
    () => writer.global('collections', 'OrderedDict').op(OP.EMPTY_TUPLE, OP.REDUCE),
    ...(typed === undefined ? [() => writer.global('torch', dtype)] : []),
  );
  writer.op(OP.REDUCE);
}

/** The bytes of a zip `.pth` file in memory, e.g. for a download in the browser. */
export async function encodeTorch(
  value: TorchValue,
  options: TorchOptions = {},
): Promise<Uint8Array<ArrayBuffer>> {
  noMore('encodeTorch', arguments, 2);
  return collect(layoutTorch(value, options), 'torch');
}
