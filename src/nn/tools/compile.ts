import { isRunning, Recording, runtime } from '../../device/index.js';
import { currentInterceptor, isGradEnabled, isInferenceMode, noGrad } from '../../autograd/mode.js';
import { backends, clone, copy_, emptyLike } from '../../ops/index.js';
import { copyInto } from '../../ops/base/copies.js';
import { checkCount } from '../../tensor/options.js';
import { Storage } from '../../tensor/storage.js';
import { isTensor, type Tensor } from '../../tensor/tensor.js';
import { observeCalls } from '../base/call.js';
import { ModuleGuards } from './compile-guards.js';

/** What the calls of a compiled function came to. */
export interface CompileCounts {
  /** Run as it is. */
  readonly eager: number;
  /** Run as it is, and recorded. */
  readonly recorded: number;
  /** Replayed. */
  readonly replayed: number;
  /** Why it is run as it is although it has been recorded; null while nothing speaks against replays. */
  readonly reason: string | null;
}

/** A function whose launches are recorded and replayed. */
export interface Compiled<A extends unknown[], R> {
  (...args: A): R;
  counts(): CompileCounts;
  /** Forgets what was recorded and frees its memory. The next calls record again. */
  reset(): void;
}

/** One recorded call: its arguments' and its results' places in memory. */
interface Recorded<R> {
  readonly recording: Recording;
  readonly inputs: readonly Tensor[];
  readonly result: R;
}

/** Recordings of one kind of arguments that may come without a replay between before it is given up. */
const maxRecordings = 6;
/** Of one kind that are kept; the oldest goes. */
const keptRecordings = 3;
/** Kinds that are known; the oldest goes. A number that counts makes each call a kind of its own. */
const maxKinds = 8;
/** Calls of one kind that run as they are first: what is made once (an optimizer's state) is there then. */
const warmUps = 1;

interface Kind<R> {
  calls: number;
  recordings: Recorded<R>[];
  made: number;
  reason: string | null;
}

const isPlain = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && Object.getPrototypeOf(value) === Object.prototype;

/** `value` with every tensor in it (in nested arrays and plain objects) replaced. */
function mapTensors<T>(value: T, by: (tensor: Tensor) => unknown): T {
  if (isTensor(value)) return by(value) as T;
  if (Array.isArray(value)) return value.map((item) => mapTensors<unknown>(item, by)) as T;
  if (!isPlain(value)) return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, mapTensors(item, by)])) as T;
}

/** The class of an object in `value` in which tensors could hide. */
function opaqueIn(value: unknown, depth = 0): string | null {
  if (typeof value !== 'object' || value === null || isTensor(value)) return null;
  if (depth > maxDepth) return 'structure too deep';
  if (!Array.isArray(value) && !isPlain(value)) return value.constructor.name;
  return Object.values(value).reduce<string | null>(
    (found, item) => found ?? opaqueIn(item, depth + 1),
    null,
  );
}

/** How deep arguments and results are looked into. */
const maxDepth = 8;

let identities = 0;
const identityOf = new WeakMap<object, number>();

/** What a value that is no tensor is known by: itself where it is a primitive. */
function describe(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value); // quoted, so that no text looks like two values
  if ((typeof value !== 'object' || value === null) && typeof value !== 'function')
    return `${typeof value} ${Object.is(value, -0) ? '-0' : String(value)}`;
  let id = identityOf.get(value);
  if (id === undefined) identityOf.set(value, (id = identities++));
  return `#${id}`;
}

/** What calls with the same recording share: arguments but for the tensors' contents, and modes. */
function keyOf(value: unknown): string {
  if (isTensor(value)) {
    const { dtype, shape, strides, requiresGrad } = value;
    return `${dtype}[${shape.join()}|${strides.join()}]${requiresGrad ? '*' : ''}`;
  }
  if (Array.isArray(value)) return `[${value.map(keyOf).join(';')}]`;
  if (isPlain(value))
    return `{${Object.entries(value)
      .map(([key, item]) => `${JSON.stringify(key)}:${keyOf(item)}`)
      .join(';')}}`;
  return describe(value);
}

/** Ops run otherwise than they are called (`amp.autocast` around the call). */
const isIntercepted = (): boolean => (currentInterceptor()?.enter ?? null) !== null;

const modes = (): string => `${isGradEnabled()} ${isInferenceMode()} ${backends.winograd} ${isIntercepted()}`;

/** Memory of functions that nobody holds any more. */
const abandoned = new FinalizationRegistry<Map<string, Kind<unknown>>>((kinds) => forget(kinds));

function forget(kinds: Map<string, Kind<unknown>>): void {
  for (const { recordings } of kinds.values()) recordings.forEach(drop);
  kinds.clear();
}

function forgetOldest(kinds: Map<string, Kind<unknown>>): void {
  for (const [key, { recordings }] of kinds) {
    recordings.forEach(drop);
    kinds.delete(key);
    return;
  }
}

function drop({ recording, inputs, result }: Recorded<unknown>): void {
  if (!isRunning(recording.owner)) return;
  for (const input of inputs) input.dispose();
  mapTensors(result, (tensor) => tensor.dispose());
  runtime().forgetRecording(recording);
}

/**
 * `torch.compile`, by recording: `fn` runs as it is at first; then one call's launches are recorded, and
 * further calls replay them, without running `fn`: no shapes are worked out, no tape is built, no memory is
 * taken. Results are the same bits. For a training step, or for prediction:
 *
 * ```ts
 * const step = k.compile((x: Tensor, y: Tensor) => {
 *   optimizer.zeroGrad();
 *   const loss = k.nn.functional.crossEntropy(model(x), y);
 *   loss.backward();
 *   optimizer.step();
 *   return loss;
 * });
 * for await (const [x, y] of loader) console.log(await step(x, y).item());
 * ```
 *
 * Arguments are tensors and other values, in arrays and plain objects too; tensors come back the same way,
 * detached and in memory of their own. A replay stands for the call as long as arguments have the same
 * shapes, dtypes and other values, modules that it calls have the same settings, modes, parameters and no
 * hooks, and nothing that it took for granted has changed; else the call is recorded anew, or run as it is.
 * Random numbers, running statistics, optimizers' steps and schedulers (their rates, whatever changes them)
 * go on in replays. Gradients are left in `.grad`, in memory that the next replay writes again.
 *
 * What else `fn` does in JavaScript (counting, printing) happens only in calls that are not replayed, and
 * numbers that it computes are those of the recording: pass what changes as an argument, numbers as tensors.
 * It holds on to the memory of a call for each recording; `reset()` frees it.
 *
 * @throws Error when `fn` is async, or reads a value while it is recorded
 */
export function compile<A extends unknown[], R>(fn: (...args: A) => R): Compiled<A, R> {
  checkCount('compile', arguments.length, 1);
  if (typeof fn !== 'function') throw new TypeError(`compile: expected a function, got ${String(fn)}`);
  const kinds = new Map<string, Kind<unknown>>();
  const counts = { eager: 0, recorded: 0, replayed: 0 };
  let reason: string | null = null;

  const plain = (self: unknown, args: A): R => {
    const before = Storage.made;
    const result = sync(fn.apply(self, args));
    return opaqueIn(result) === null ? ownMemory(result, before) : result;
  };
  const eager = (self: unknown, args: A): R => {
    counts.eager++;
    return plain(self, args);
  };
  const call = function (this: unknown, ...args: A): R {
    const hidden = opaqueIn(args);
    if (hidden !== null) {
      reason = `an argument is a ${hidden}, whose contents cannot be compared`;
      return eager(this, args);
    }
    mapTensors(args, refuseGrad);
    const key = `${modes()} ${keyOf(args)}`;
    let kind = kinds.get(key) as Kind<R> | undefined;
    if (kind === undefined) {
      kinds.set(key, (kind = { calls: 0, recordings: [], made: 0, reason: null }));
      if (kinds.size > maxKinds) forgetOldest(kinds);
    }
    const rt = runtime();
    if (rt.recording !== null || rt.isIdle) return plain(this, args);
    kind.recordings = kind.recordings.filter(({ recording }) => recording.owner === rt);
    const known = kind.recordings.find(({ recording }) => recording.isUsable);
    if (known !== undefined) {
      counts.replayed++;
      kind.made = 0;
      return replay(known, args);
    }
    // What a region around the call has cast would be taken for granted.
    if (kind.calls++ < warmUps || kind.reason !== null || isIntercepted()) {
      if (isIntercepted()) reason = 'it is called within autocast: put the region into the function';
      return eager(this, args);
    }
    counts.recorded++;
    const { result, reason: why } = record(fn.bind(this) as typeof fn, args, kind);
    reason = why ?? reason;
    return result;
  };
  const compiled = Object.assign(call, {
    counts: (): CompileCounts => ({ ...counts, reason }),
    reset(): void {
      forget(kinds);
      reason = null;
    },
  });
  abandoned.register(compiled, kinds);
  return compiled;
}

/** In calls that are not recorded too, so that all refuse the same. */
function refuseGrad(tensor: Tensor): Tensor {
  if (!tensor.requiresGrad) return tensor;
  throw new Error(
    'compile: an argument requires grad, and its gradient would go to a copy: make it a parameter, or detach() it',
  );
}

function sync<R>(result: R): R {
  if (result instanceof Promise) {
    result.catch(() => undefined);
    throw new Error('compile: the function is async; await what it needs before, and its result outside.');
  }
  return result;
}

/**
 * `result` of a call that ran as it is, as replays give theirs: detached, and copied where its memory is an
 * argument's, a parameter's or another tensor's.
 *
 * @param before how many storages there were before the call
 */
function ownMemory<R>(result: R, before: number): R {
  const seen = new Set<Storage>();
  return mapTensors(result, (tensor) => {
    const { storage } = tensor;
    const own = storage.id >= before && storage.hasOneHandle && !seen.has(storage);
    seen.add(storage);
    if (!own) return handedOut(tensor);
    return tensor.requiresGrad ? tensor.detach() : tensor;
  });
}

/** Results in memory of their own. */
const handedOut = <R>(result: R): R => noGrad(() => mapTensors(result, (tensor) => clone(tensor.detach())));

function replay<A extends unknown[], R>({ recording, inputs, result }: Recorded<R>, args: A): R {
  let at = 0;
  noGrad(() => mapTensors(args, (tensor) => copyInto(inputs[at++] as Tensor, tensor)));
  runtime().replay(recording);
  return handedOut(result);
}

function record<A extends unknown[], R>(
  fn: (...args: A) => R,
  args: A,
  kind: Kind<R>,
): { result: R; reason: string | null } {
  const rt = runtime();
  const inputs: Tensor[] = [];
  const originals: Tensor[] = [];
  const given = mapTensors(args, (tensor) => {
    const copy = noGrad(() => {
      const like = emptyLike(tensor);
      copyInto(like, tensor);
      return like;
    }).keep();
    inputs.push(copy);
    originals.push(tensor);
    return copy;
  });
  const versions = inputs.map(({ storage }) => storage.version);
  const guards = new ModuleGuards();
  let result!: R;
  const recording = new Recording(rt);
  rt.recordCalls(recording, () => {
    result = sync(observeCalls(guards, () => fn(...given)));
  });
  // What was written into the copies belongs into the arguments.
  inputs.forEach((copy, i) => {
    if (copy.storage.version === versions[i]) return;
    recording.refuse('it changes an argument in place');
    noGrad(() => copy_(originals[i] as Tensor, copy));
  });
  const opaque = opaqueIn(result);
  if (opaque !== null) recording.refuse(`it returns a ${opaque}, in which tensors could be`);
  if (opaque === null) result = mapTensors(result, (tensor) => tensor.detach().keep());
  guards.guard(recording);
  const handed = opaque === null ? handedOut(result) : result;
  kind.made++;
  if (recording.refused === null && kind.made <= maxRecordings) {
    kind.recordings.push({ recording, inputs, result });
    if (kind.recordings.length > keptRecordings) drop(kind.recordings.shift() as Recorded<R>);
    return { result: handed, reason: null };
  }
  kind.reason =
    recording.refused ?? `it was recorded ${maxRecordings} times, and something had changed each time`;
  drop({ recording, inputs, result });
  return { result: handed, reason: kind.reason };
}
