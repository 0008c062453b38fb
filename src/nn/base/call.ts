import { abandonScope, beginScope, endScope } from '../../tensor/scope.js';
import { isTensor } from '../../tensor/tensor.js';
import { BackwardWatch, type BackwardHook, type HookGrads, type HookList } from './hooks.js';

/** @internal What a call needs of a module. */
export interface Called {
  readonly [internals]: ModuleInternals;
  readonly [isLayer]?: true;
  forward(...args: never[]): unknown;
}

/** @internal */
export type ForwardHook = (module: Called, args: readonly unknown[], output: unknown) => unknown;
/** @internal */
export type ForwardPreHook = (module: Called, args: readonly unknown[]) => unknown;
/** @internal */
export type FullBackwardHook = (
  module: Called,
  gradInput: HookGrads,
  gradOutput: HookGrads,
) => ReturnType<BackwardHook>;

/** @internal What a module keeps besides its properties. */
export interface ModuleInternals {
  /** Property names of the buffers; true for those that belong to the state dict. */
  readonly buffers: Map<string, boolean>;
  readonly preHooks: HookList<ForwardPreHook>;
  readonly forwardHooks: HookList<ForwardHook>;
  readonly backwardHooks: HookList<FullBackwardHook>;
  /** Names that have held a parameter; a plain tensor there is a mistake (`ownParameters`). */
  readonly parameters: Set<string>;
  /** Why it cannot be used: a `loadStateDict()` is under way, or failed midway; null when it can. */
  loading: string | null;
  /** The properties in order, where an object would put some of them first. */
  order?: readonly string[];
}

export const internals: unique symbol = Symbol('kindling.module');
/** @internal Marks the library's own layers, whose calls take no argument too many. */
export const isLayer: unique symbol = Symbol('kindling.layer');

/** @internal Its own properties in the order in which they were added. */
export function propertiesOf(module: Called): readonly string[] {
  const keys = Object.keys(module);
  const { order } = module[internals];
  if (order === undefined) return keys;
  return [...order.filter((key) => keys.includes(key)), ...keys.filter((key) => !order.includes(key))];
}

/** @internal Sees every module call, parents before what they call. */
export interface CallObserver {
  enter(module: Called, args: readonly unknown[]): void;
  leave(module: Called, result: unknown): void;
  /** The call threw. */
  abandon?(module: Called): void;
  /** It only wants to know: layers may still run fused. */
  readonly passive?: boolean;
  /** Layers that run as one, of whose calls nothing is seen. */
  enterFused?(modules: readonly Called[]): void;
  leaveFused?(): void;
}

/**
 * @internal
 * @throws Error while a `loadStateDict()` has not finished, or once one failed midway: the values are old, or
 * half of them
 */
export function checkLoaded(module: Called): void {
  const { loading } = module[internals];
  if (loading !== null) throw new Error(loading);
}

/** @internal How a state that cannot be used ends once its loading has failed: another may be loaded then. */
export const afterFailure =
  'loadStateDict() failed midway, so that some of the weights are the old ones; load a whole state first';

/** @internal @throws Error while a `loadStateDict()` is under way */
export function checkMayLoad(module: Called): void {
  if (module[internals].loading?.endsWith(afterFailure) !== true) checkLoaded(module);
}

let observer: CallObserver | null = null;

/** @internal Somebody watches the calls: each layer runs by itself. */
export const isObserved = (): boolean => observer !== null && observer.passive !== true;

/**
 * @internal Runs `fn` with every module call in it shown to `watch`, besides whoever watches already. Unlike
 * hooks it keeps no tensor alive.
 */
export function observeCalls<R>(watch: CallObserver, fn: () => R): R {
  const stop = watchCalls(watch);
  try {
    return fn();
  } finally {
    stop();
  }
}

/**
 * @internal Shows every module call to `watch` until the function that it returns is called. Stop the latest
 * one first.
 */
export function watchCalls(watch: CallObserver): () => void {
  const before = observer;
  observer = before === null ? watch : both(before, watch);
  return () => void (observer = before);
}

/** @internal Runs `fn`, which does what `modules` would do one after another. */
export function asOne<R>(modules: readonly Called[], fn: () => R): R {
  const watch = observer;
  if (watch?.enterFused === undefined) return fn();
  watch.enterFused(modules);
  try {
    return fn();
  } finally {
    watch.leaveFused?.();
  }
}

const both = (first: CallObserver, second: CallObserver): CallObserver => ({
  passive: first.passive === true && second.passive === true,
  enter(module, args) {
    first.enter(module, args);
    second.enter(module, args);
  },
  leave(module, result) {
    second.leave(module, result);
    first.leave(module, result);
  },
  abandon(module) {
    second.abandon?.(module);
    first.abandon?.(module);
  },
  enterFused(modules) {
    first.enterFused?.(modules);
    second.enterFused?.(modules);
  },
  leaveFused() {
    second.leaveFused?.();
    first.leaveFused?.();
  },
});

/**
 * @internal What `model(x)` does: hooks and forward in a memory scope. What they made and neither returned,
 * stored on the module or one of its children, nor showed to a user's hook is freed when the call returns.
 */
export function callModule(module: Called, args: readonly unknown[]): unknown {
  const { name } = module.constructor;
  const scope = beginScope(`the end of ${name}.forward()`);
  let result: unknown;
  try {
    result = observer === null ? run(module, name, args) : observed(observer, module, name, args);
    keepStored(module, true);
  } catch (error) {
    abandonScope(scope);
    throw error;
  }
  endScope(scope, result);
  return result;
}

function observed(watch: CallObserver, module: Called, name: string, args: readonly unknown[]): unknown {
  watch.enter(module, args);
  let result: unknown;
  try {
    result = run(module, name, args);
  } catch (error) {
    watch.abandon?.(module);
    throw error;
  }
  watch.leave(module, result);
  return result;
}

function run(module: Called, name: string, args: readonly unknown[]): unknown {
  const { loading, preHooks, forwardHooks, backwardHooks } = module[internals];
  if (loading !== null) checkLoaded(module);
  for (const hook of [...preHooks.list]) {
    keepTensors(args);
    const changed = hook(module, args);
    if (changed !== undefined && changed !== null) args = Array.isArray(changed) ? changed : [changed];
  }
  let watch: BackwardWatch | null = null;
  if (backwardHooks.list.length > 0) {
    watch = new BackwardWatch(
      name,
      backwardHooks.list.map((hook) => (gradInput, gradOutput) => hook(module, gradInput, gradOutput)),
    );
    args = watch.inputs(args);
  }
  if (!(args.length <= lengthOf(module.forward))) checkCall(module, name, args.length);
  let result: unknown = module.forward(...(args as never[]));
  if (isPromise(result)) {
    result.then(undefined, () => undefined);
    throw new Error(
      `${name}: forward must not be async, because what it makes is freed when the call returns. ` +
        'Read values (await t.item()) outside the model',
    );
  }
  for (const hook of [...forwardHooks.list]) {
    keepTensors(args);
    keepTensors(result);
    const changed = hook(module, args, result);
    if (changed !== undefined && changed !== null) result = changed;
  }
  return watch === null ? result : watch.output(result, args);
}

const lengthOf = (forward: unknown): number => (forward as { length: number } | undefined)?.length ?? NaN;

/** Functions that were seen to take more arguments than their length says. */
const open = new WeakSet<object>();

/**
 * Called where a forward may have got arguments that it does not look at. A function's length ends at the
 * first default or rest parameter, and a user's class may override a layer's forward: only its text says for
 * certain that it takes no more. A user's own module is called as JavaScript calls a function.
 */
function checkCall(module: Called, name: string, count: number): void {
  const { forward } = module;
  if (typeof forward !== 'function')
    throw new Error(`${name}: has no method forward, so it cannot be called`);
  if (module[isLayer] !== true || forward.length === 0 || open.has(forward)) return;
  const text = Function.prototype.toString.call(forward);
  if (!/^forward\s*\([\w$,\s]*\)\s*\{/.test(text) || text.includes('arguments')) {
    open.add(forward);
    return;
  }
  const most = `${forward.length} argument${forward.length === 1 ? '' : 's'}`;
  throw new Error(`${name}: forward takes ${most}, got ${count}; options are given where the layer is made`);
}

function isPromise(value: unknown): value is PromiseLike<unknown> {
  return (
    typeof value === 'object' && value !== null && typeof (value as { then?: unknown }).then === 'function'
  );
}

/** @internal */
export function isModule(value: unknown): value is Called {
  return typeof value === 'function' && internals in value;
}

/**
 * Tensors that forward stored on the module, or on one of its children, outlive the call. An assignment to a
 * property leaves no trace, so that each call has to look at all of them: by their keys, because
 * `Object.values` of a function takes several times as long.
 */
function keepStored(module: Called, onChildren: boolean): void {
  const fields = module as unknown as Readonly<Record<string, unknown>>;
  for (const key of Object.keys(fields)) {
    const value = fields[key];
    if (typeof value === 'object') keepTensors(value);
    else if (onChildren && isModule(value)) keepStored(value, false);
  }
}

const maxDepth = 3;

/** Keeps the tensors in `value`: itself, or in nested arrays, plain objects, Maps and Sets. */
function keepTensors(value: unknown, depth = 0): void {
  if (typeof value !== 'object' || value === null || depth > maxDepth || ArrayBuffer.isView(value)) return;
  if (isTensor(value)) {
    value.keep();
  } else if (Array.isArray(value) || value instanceof Set) {
    for (const item of value) {
      // Arrays hold one kind of thing: a list of numbers needs no walk.
      if (typeof item !== 'object') break;
      keepTensors(item, depth + 1);
    }
  } else if (value instanceof Map) {
    for (const item of value.values()) keepTensors(item, depth + 1);
  } else if (Object.getPrototypeOf(value) === Object.prototype) {
    for (const item of Object.values(value)) keepTensors(item, depth + 1);
  }
}
