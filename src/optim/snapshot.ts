import { noMore } from '../tensor/options.js';
import { Module } from '../nn/index.js';
import { assign } from '../nn/base/state-dict.js';
import { getRngState, setRngState, type RngState } from '../ops/index.js';
import type { DType, TypedArray } from '../tensor/dtype.js';
import { isTensor, type Tensor } from '../tensor/tensor.js';
import { showShape, type Shape } from '../tensor/shape.js';
import { type Storage } from '../tensor/storage.js';
import { Optimizer } from './optimizer.js';
import type { ParamState } from './state.js';

/** A model, an optimizer, a scheduler, early stopping, or anything else with a state dict. */
export interface Stateful {
  stateDict(): unknown;
  // A method, so that classes with narrower states fit.
  loadStateDict(state: never): unknown;
}

/** What is saved and restored together, under names of your choice; `random` is taken. */
export type Parts = Readonly<Record<string, Stateful | null | undefined>>;

/** A tensor's values on the host, in row-major order. */
export interface HostCopy {
  readonly dtype: DType;
  readonly shape: Shape;
  readonly data: TypedArray;
}

/** Plain data: it needs no device, and can be cloned, posted to a worker or kept in IndexedDB. */
export interface Snapshot {
  /** The state dict of each part, with {@link HostCopy} for tensors. */
  readonly parts: Readonly<Record<string, unknown>>;
  /** Buffers that are in no state dict (`registerBuffer(name, tensor, false)`), by part and name. */
  readonly buffers: Readonly<Record<string, Readonly<Record<string, HostCopy>>>>;
  /** The global stream of random numbers. */
  readonly random: RngState;
}

/**
 * Copies a training to the host: parameters, buffers, the optimizer's state, schedules, and the stream of
 * random numbers, all as they are at the call. With {@link restore} it goes on from there after the device
 * was lost, or after steps to be undone:
 *
 * ```ts
 * const saved = await k.snapshot({ model, optimizer, scheduler });
 * // ... DeviceLostError
 * await k.init();
 * await k.restore(saved, { model, optimizer, scheduler });
 * ```
 *
 * It takes as much host memory as the training takes on the device (without gradients and activations).
 */
export async function snapshot(parts: Parts): Promise<Snapshot> {
  noMore('snapshot', arguments, 1);
  checkNames('snapshot', parts);
  const random = getRngState();
  const reads: Promise<void>[] = [];
  const copyOf = (tensor: Tensor): object => {
    const { dtype, shape } = tensor;
    const copy = { dtype, shape: [...shape], data: undefined as TypedArray | undefined };
    reads.push(tensor.data().then((data) => void (copy.data = data)));
    return copy;
  };
  const states: Record<string, unknown> = {};
  const buffers: Record<string, Record<string, HostCopy>> = {};
  for (const [name, part] of present(parts)) {
    const state = part.stateDict();
    // A Trainer's: its state is complete by itself.
    if (state instanceof Promise) throw new Error(`snapshot: '${name}' gives its state as a promise`);
    states[name] = onHost(state, copyOf);
    disposeTensors(state);
    if (!(part instanceof Module)) continue;
    const hidden = hiddenBuffers(part).map(([key, buffer]) => [key, copyOf(buffer)] as const);
    if (hidden.length > 0) buffers[name] = Object.fromEntries(hidden) as Record<string, HostCopy>;
  }
  const results = await Promise.allSettled(reads);
  for (const result of results) if (result.status === 'rejected') throw result.reason;
  return { parts: states, buffers, random };
}

/**
 * Puts a training back to what `source` says: a {@link snapshot}, or the dict of a checkpoint with the same
 * names, as `formats.loadValue(path)` gives it (`{ model: ..., optimizer: ..., random: getRngState() }`).
 * Names that `source` has beside those of `parts` (an epoch) are left alone.
 *
 * The objects stay what they are. After the device was lost (or closed) and `init()` was called again, the
 * same parameters, buffers and optimizer state get memory on the new device, so that parameter groups and
 * your own references hold. Gradients are dropped. Other tensors of the old device (batches, activations,
 * recorded graphs) are gone.
 *
 * @throws Error naming what is missing or does not fit; checks of names come first, before anything is
 * changed
 */
export async function restore(
  source: Snapshot | ReadonlyMap<string, unknown> | Readonly<Record<string, unknown>>,
  parts: Parts,
): Promise<void> {
  noMore('restore', arguments, 2);
  checkNames('restore', parts);
  const { states, buffers, random } = readSource(source);
  const list = present(parts);
  const missing = list.filter(([name]) => states.get(name) === undefined || states.get(name) === null);
  if (missing.length > 0) {
    throw new Error(
      `restore: there is no state for ${missing.map(([name]) => `'${name}'`).join(', ')}; the source has ` +
        `${[...states.keys()].map((name) => `'${name}'`).join(', ') || 'nothing'}. Give the parts the names they were saved under`,
    );
  }
  const hidden = list.flatMap(([name, part]) =>
    part instanceof Module
      ? hiddenBuffers(part).map(([key, buffer]) => ({
          at: `${name}.${key}`,
          buffer,
          copy: buffers[name]?.[key],
        }))
      : [],
  );
  for (const { at, buffer, copy } of hidden) {
    if (copy === undefined && buffer.isStranded) {
      throw new Error(
        `restore: buffer '${at}' of shape ${showShape(buffer.shape)} was on a device that is gone and is in no state dict ` +
          '(registerBuffer with persistent = false): restore from a snapshot(), or make the model anew',
      );
    }
  }

  const moved = new Map<Storage, Storage>();
  for (const [, part] of list) {
    if (part instanceof Module) {
      for (const tensor of part.parameters()) {
        tensor.grad = null;
        tensor.moveToDevice(moved);
      }
      for (const tensor of part.buffers()) tensor.moveToDevice(moved);
    } else if (part instanceof Optimizer) {
      // Parameters that belong to no model here.
      for (const parameter of part.paramGroups.flatMap((group) => group.params)) {
        parameter.grad = null;
        parameter.moveToDevice(moved);
      }
    }
  }
  for (const { buffer, copy } of hidden) if (copy !== undefined) assign(buffer, copy);
  for (const [name, part] of list) {
    const handles = part instanceof Optimizer ? new Map(part.state) : null;
    await part.loadStateDict(states.get(name) as never);
    if (part instanceof Optimizer && handles !== null) keepHandles(part, handles);
  }
  if (random !== undefined) setRngState(random);
}

/** The optimizer's new state under the handles that it had. */
function keepHandles(optimizer: Optimizer, before: ReadonlyMap<Tensor, ParamState>): void {
  for (const [parameter, state] of optimizer.state) {
    const old = before.get(parameter) ?? {};
    for (const [name, value] of Object.entries(state)) {
      const handle = old[name];
      if (!isTensor(value) || !isTensor(handle)) continue;
      handle.takeOver(value);
      state[name] = handle;
    }
  }
}

function checkNames(op: string, parts: Parts): void {
  if (present(parts).length === 0)
    throw new Error(`${op}: name at least one part: ${op}(..., { model, optimizer, scheduler })`);
  for (const [name, part] of present(parts)) {
    if (name === 'random')
      throw new Error(`${op}: 'random' names the stream of random numbers; call the part otherwise`);
    if (typeof part.stateDict !== 'function' || typeof part.loadStateDict !== 'function')
      throw new Error(`${op}: '${name}' has no stateDict() and loadStateDict()`);
  }
}

const present = (parts: Parts): [string, Stateful][] =>
  Object.entries(parts).filter(
    (entry): entry is [string, Stateful] => entry[1] !== null && entry[1] !== undefined,
  );

/** Buffers that the state dict leaves out. */
function hiddenBuffers(module: Module): [string, Tensor][] {
  const state = module.stateDict();
  const known = new Set([...state.values()].map((tensor) => tensor.storage));
  disposeTensors(state);
  return module.namedBuffers().filter(([, buffer]) => !known.has(buffer.storage));
}

interface Source {
  readonly states: ReadonlyMap<string, unknown>;
  readonly buffers: Snapshot['buffers'];
  readonly random: RngState | undefined;
}

function readSource(
  source: Snapshot | ReadonlyMap<string, unknown> | Readonly<Record<string, unknown>>,
): Source {
  if (!(source instanceof Map) && isPlainObject((source as Snapshot).parts) && 'random' in source) {
    const { parts, buffers, random } = source as Snapshot;
    return { states: new Map(Object.entries(parts)), buffers, random };
  }
  if (typeof source !== 'object' || source === null)
    throw new Error('restore: give a snapshot, or the dict of a checkpoint (await formats.loadValue(path))');
  const states = new Map<string, unknown>(source instanceof Map ? source : Object.entries(source));
  const random = states.get('random');
  const fields = random instanceof Map ? (Object.fromEntries(random) as Record<string, unknown>) : random;
  return {
    states,
    buffers: {},
    random: isPlainObject(fields) && 'offset' in fields ? (fields as unknown as RngState) : undefined,
  };
}

function isPlainObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** A state dict with a copy for each tensor, in containers of its own. */
function onHost(value: unknown, copyOf: (tensor: Tensor) => object): unknown {
  if (isTensor(value)) return copyOf(value);
  if (Array.isArray(value)) return value.map((item) => onHost(item, copyOf));
  if (value instanceof Map)
    return new Map([...value].map(([key, item]) => [key as unknown, onHost(item, copyOf)]));
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, onHost(item, copyOf)]));
}

/** State dicts are made of handles of their own. */
function disposeTensors(value: unknown): void {
  if (isTensor(value)) value.dispose();
  else if (value instanceof Map || Array.isArray(value)) value.forEach(disposeTensors);
  else if (typeof value === 'object' && value !== null) Object.values(value).forEach(disposeTensors);
}
