/** The plain values that come out of the pickle inside a PyTorch file. */

import type { ByteRange } from './byte-source.js';
import { CheckpointError, quote } from './errors.js';
import { HostTensor } from './host-tensor.js';
import { Budget, defaultLimits } from './limits.js';
import { NumpyArray, NumpyDtype } from './numpy-values.js';
import { OpaqueObject, PickleGlobal, PickleObject } from './pickle-types.js';
import type { PickleValue } from './pickle-types.js';
import { keyText } from './render.js';
import { Namespace, StorageRef, TensorRef } from './torch-refs.js';

/**
 * A value from a file, without any Python: dict is a Map (order and keys of every kind kept), list and tuple
 * are arrays, int is a number or (beyond 2^53) a bigint, bytes are a Uint8Array, tensors and numpy arrays are
 * {@link HostTensor}s, and an object of another class is an {@link OpaqueObject}.
 */
export type PlainValue =
  | null
  | boolean
  | number
  | bigint
  | string
  | Uint8Array
  | HostTensor
  | OpaqueObject
  | PlainValue[]
  | Map<PlainValue, PlainValue>
  | Set<PlainValue>;

// Long paths only serve error messages; without a bound a deep chain of long keys would take quadratic
// memory.
const longestPath = 512;
const longestStep = 200;

/** Where a value is: the path is written out only where a tensor or an error needs it. */
class Place {
  private text: string | undefined;

  constructor(
    private readonly parent: Place | null,
    private readonly step: PickleValue,
    readonly depth: number,
  ) {}

  get path(): string {
    if (this.text !== undefined) return this.text;
    const { parent, step } = this;
    if (parent === null) return (this.text = '');
    // A number is an index; keys are given as text.
    const own = typeof step === 'number' ? `[${step}]` : keyText(step).slice(0, longestStep);
    const above = parent.path;
    this.text = (above === '' || typeof step === 'number' ? above + own : `${above}.${own}`).slice(
      0,
      longestPath,
    );
    return this.text;
  }
}

/** Bytes that a handle of a tensor takes, its storage's range and its place in a Map included. */
const tensorCost = 1000;
const visitCost = 160;

/**
 * Replaces what is left of Python in an unpickled value, in place where it can: tensors become {@link
 * HostTensor}s named by their path, numpy arrays too, types and dtypes become their names. Each object is
 * visited once, so shared and cyclic values cost nothing extra.
 */
export function toPlainValue(
  root: PickleValue,
  resolve: (storage: StorageRef, tensor: string) => ByteRange,
  bigEndian = false,
  budget = new Budget(defaultLimits, 0),
  file?: string,
): PlainValue {
  const { expandedBytes } = budget.limits;
  const done = new Map<object, PlainValue>();
  const queue: { value: PlainValue; place: Place }[] = [];
  let tensors = 0;

  const visit = (value: PickleValue, parent: Place | null, step: PickleValue): PlainValue => {
    if (value === null || typeof value !== 'object' || value instanceof Uint8Array) return value;
    const known = done.get(value);
    if (known !== undefined) return known;
    budget.hold(visitCost);
    const place = new Place(parent, step, parent === null ? 0 : parent.depth + 1);
    let plain: PlainValue;
    if (value instanceof TensorRef) plain = tensorOf(value, place.path);
    else if (value instanceof StorageRef) {
      const { dtype, viewOffset, elements } = value;
      const whole = new TensorRef(value, dtype ?? 'uint8', viewOffset, [elements - viewOffset], [1], false);
      plain = tensorOf(whole, place.path);
    } else if (value instanceof NumpyArray) plain = value.value(place.path);
    else if (value instanceof NumpyDtype) plain = value.code;
    else if (value instanceof PickleGlobal) plain = value.path;
    else if (value instanceof OpaqueObject) plain = value;
    else {
      const container = value instanceof Namespace ? value.attributes : value;
      if (container instanceof PickleObject)
        throw new CheckpointError(`'${place.path}' is an unfinished object`);
      budget.checkDepth(place.depth);
      // From here on its items are replaced one by one, so the cast holds once the queue is empty.
      plain = container as PlainValue;
      queue.push({ value: plain, place });
    }
    done.set(value, plain);
    return plain;
  };

  const tensorOf = (ref: TensorRef, name: string): HostTensor => {
    budget.hold(tensorCost);
    budget.checkTensors(++tensors);
    checkMetadata(ref.metadata, name);
    const storage = resolve(ref.storage, name);
    return new HostTensor({ ...ref, name, storage, bigEndian, maxExpandedBytes: expandedBytes, file });
  };

  const result = visit(root, null, null);
  for (let next = queue.pop(); next !== undefined; next = queue.pop()) {
    const { value, place } = next;
    if (Array.isArray(value)) {
      for (let i = 0; i < value.length; i++) value[i] = visit(value[i] as PickleValue, place, i);
    } else if (value instanceof Map) {
      let entries: Iterable<[PlainValue, PlainValue]> = value;
      if (hasObjects(value.keys())) {
        // Keys change, so that the order has to be made anew.
        entries = [...value];
        value.clear();
      }
      for (const [key, item] of entries) {
        const plainKey = visit(key as PickleValue, place, 'a key');
        // Numbers among keys are names here, not indices.
        const step = typeof plainKey === 'number' ? String(plainKey) : (plainKey as PickleValue);
        value.set(plainKey, visit(item as PickleValue, place, step));
      }
    } else if (value instanceof Set && hasObjects(value)) {
      const members = [...value];
      value.clear();
      for (const member of members) value.add(visit(member as PickleValue, place, 'a member'));
    }
  }
  return result;
}

/**
 * A tensor may be saved with operations that PyTorch has put off (`z.conj().imag` is stored as `z`, with
 * `{'neg': True}`): its values are not those of its storage.
 *
 * @throws CheckpointError for one of them, and for metadata that is not known
 */
function checkMetadata(metadata: PickleValue, name: string): void {
  if (metadata === null) return;
  if (!(metadata instanceof Map)) throw new CheckpointError(`'${name}': the tensor's metadata is no dict`);
  for (const [key, value] of metadata) {
    if (key !== 'neg' && key !== 'conj')
      throw new CheckpointError(
        `'${name}': the tensor has metadata of an unknown kind: ${quote(String(key), 40)}`,
      );
    if (value !== false)
      throw new CheckpointError(
        `'${name}': the tensor was saved with its ${key === 'neg' ? 'negation' : 'conjugation'} put off ` +
          `(metadata '${key}'), which is not supported: in Python, save tensor.resolve_conj().resolve_neg()`,
      );
  }
}

function hasObjects(values: Iterable<PlainValue>): boolean {
  for (const value of values) if (typeof value === 'object' && value !== null) return true;
  return false;
}
