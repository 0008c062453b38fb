/** Grad mode: whether ops record themselves on the tape. */

import { isPlainObject, noMore } from '../tensor/options.js';
import { nodeBuiltin } from '../device/adapter.js';

/** What calls of ops go through first where it is in force (`amp.autocast`). */
export interface Interceptor {
  /** The result in place of the op's, or undefined: the op runs as it was called. Null for all ops. */
  readonly enter: ((name: string, op: AnyOp, args: readonly unknown[]) => unknown) | null;
  /**
   * `op` is about to write over `args[0]`; what it returns is called when it has. Where it is there, ops that
   * make what in-place forms write are intercepted too.
   */
  readonly write?: (name: string, op: AnyOp, args: readonly unknown[]) => () => void;
  /** Kernels are about to run that read and write these: tensors, storages, or memory of the op's own. */
  readonly launching?: (read: readonly object[], written: readonly object[]) => void;
  /** It is in force no more. */
  end(): void;
}

// Functions of all types fit.
type AnyOp = (...args: never[]) => unknown;

/**
 * The modes of one stretch of code: a callback with all that it awaits, or the program outside of callbacks.
 */
class Mode {
  /** The callback has returned, or its promise has settled: what it left running has the modes around it. */
  ended = false;

  constructor(
    public grad: boolean,
    public inference: boolean,
    public interceptor: Interceptor | null,
    readonly outer: Mode | null,
  ) {}
}

const program = new Mode(true, false, null, null);

/** The mode of the code that runs now, as long as no async callback is pending. */
let active = program;
/** Callbacks whose promises have not settled. Ops look for their async context only while there are any. */
let pending = 0;

/** Follows a mode through the awaits of a callback; undefined where the platform cannot (browsers). */
interface Contexts {
  run<R>(mode: Mode, fn: () => R): R;
  getStore(): Mode | undefined;
}

function makeContexts(): Contexts | null {
  const hooks = nodeBuiltin?.('node:async_hooks');
  return hooks === undefined ? null : new hooks.AsyncLocalStorage<Mode>();
}

let contexts: Contexts | null | undefined;

/**
 * @internal Pretends that the platform has no async contexts, as in browsers. Returns a function that undoes
 * it.
 */
export function withoutAsyncContexts(): () => void {
  contexts = null;
  return () => void (contexts = undefined);
}

function here(): Mode {
  if (pending === 0) return active;
  let mode = contexts?.getStore() ?? program;
  while (mode.ended && mode.outer !== null) mode = mode.outer;
  return mode;
}

export const isGradEnabled = (): boolean => (pending === 0 ? active : here()).grad;
export const isInferenceMode = (): boolean => (pending === 0 ? active : here()).inference;

/** @internal For synchronous code, which sets it back in a `finally`. */
export function setGradMode(enabled: boolean): boolean {
  const mode = here();
  const before = mode.grad;
  mode.grad = enabled;
  return before;
}

/** How many modes with an interceptor have not ended. */
let interceptors = 0;

/** @internal Whether calls of ops must ask {@link intercept}: all that it costs while nothing intercepts. */
export let intercepting = false;

function count(change: Change, by: 1 | -1): void {
  if (change.interceptor === undefined) return;
  interceptors += by;
  intercepting = interceptors > 0;
  if (by < 0) change.interceptor.end();
}

/** @internal The interceptor in force, which may leave all ops as they are. */
export const currentInterceptor = (): Interceptor | null => (intercepting ? here().interceptor : null);

/** @internal What stands in place of the result of `op(...args)`; undefined for nothing. */
export const intercept = (name: string, op: AnyOp, args: readonly unknown[]): unknown =>
  here().interceptor?.enter?.(name, op, args);

/** @internal Runs synchronous code with ops intercepted by `interceptor`, or by nothing. */
export function interceptedBy<R>(interceptor: Interceptor | null, fn: () => R): R {
  if (!intercepting && interceptor === null) return fn();
  const mode = here();
  const before = mode.interceptor;
  mode.interceptor = interceptor;
  if (interceptor !== null) intercepting = ++interceptors > 0;
  try {
    return fn();
  } finally {
    mode.interceptor = before;
    if (interceptor !== null) intercepting = --interceptors > 0;
  }
}

/**
 * Restores the mode that was in force when it was made; `using guard = noGrad()`. For synchronous code only.
 */
export interface ModeGuard {
  /** @throws Error when the code since the guard was made has awaited something: the mode ended there. */
  [Symbol.dispose](): void;
}

/** @internal What a mode is called, and what it sets. */
export interface Change {
  readonly name: string;
  /** Arguments before the callback, for messages. */
  readonly args?: string;
  /** Default: as it is. */
  readonly grad?: boolean;
  readonly inference?: boolean;
  readonly interceptor?: Interceptor;
  /** Without `using` and without a callback it stays (`setGradEnabled`). */
  readonly stays?: boolean;
}

/**
 * A guard sets the mode at once. It ends where it is disposed, or with the synchronous code that made it: at
 * the first await, since other code runs then. So a guard that nobody disposes cannot leave grad mode off
 * either.
 */
function guard(change: Change): ModeGuard {
  const { name, args = '', stays = false } = change;
  const mode = here();
  const { grad, inference, interceptor } = mode;
  const before = { grad, inference, interceptor };
  Object.assign(mode, {
    grad: change.grad ?? grad,
    inference: inference || change.inference === true,
    interceptor: change.interceptor ?? interceptor,
  });
  count(change, 1);
  let state: 'open' | 'disposed' | 'cut off' = 'open';
  let held = false;
  const end = (how: typeof state): void => {
    state = how;
    Object.assign(mode, before);
    count(change, -1);
  };
  const dispose = (): void => {
    if (state === 'cut off') {
      throw new Error(
        `${name}: this guard was held across an await, where its mode ended, so that code which ran meanwhile ` +
          `was not affected. Wrap the code in a callback instead: await ${name}(${args}async () => { ... })`,
      );
    }
    if (state === 'open') end('disposed');
  };
  queueMicrotask(() => {
    if (state === 'open' && (!stays || held)) end('cut off');
  });
  return {
    // `using` reads the method where the guard is made, which tells a guard from a bare statement.
    get [Symbol.dispose]() {
      held = true;
      return dispose;
    },
  };
}

function run<R>(change: Change, fn: () => R): R {
  if (contexts === undefined) contexts = makeContexts();
  const outer = here();
  const mode = new Mode(
    change.grad ?? outer.grad,
    outer.inference || change.inference === true,
    change.interceptor ?? outer.interceptor,
    outer,
  );
  const before = active;
  const end = (): void => {
    mode.ended = true;
    count(change, -1);
  };
  active = mode;
  count(change, 1);
  let result: R;
  try {
    result = contexts === null ? fn() : contexts.run(mode, fn);
  } catch (error) {
    end();
    throw error;
  } finally {
    active = before;
  }
  if (!isPromise(result)) {
    end();
    return result;
  }
  if (contexts === null) {
    end();
    // The error below says it; the callback's own end must not be reported beside it.
    result.then(undefined, () => undefined);
    throw new Error(
      `${change.name}: the callback returned a promise, and this platform cannot tell which code belongs to it after ` +
        `an await. Await outside: const y = ${change.name}(${change.args ?? ''}() => model(x)); await y.data()`,
    );
  }
  pending++;
  return Promise.resolve(result).finally(() => {
    end();
    pending--;
  }) as R;
}

/** @internal A mode of a callback and all that it awaits, or without one a guard. */
export const inModeOf = <R>(change: Change, fn?: () => R): R | ModeGuard =>
  fn === undefined ? guard(change) : run(change, fn);

function isPromise(value: unknown): value is PromiseLike<unknown> {
  return (
    typeof value === 'object' && value !== null && typeof (value as { then?: unknown }).then === 'function'
  );
}

/** The last of `most` arguments is what is to run, if it is there. */
function checkFunction(op: string, given: ArrayLike<unknown>, most: number): void {
  noMore(op, given, most);
  const fn = given[most - 1];
  if (fn !== undefined && typeof fn !== 'function')
    throw new Error(`${op}: expected a function to run, got ${isPlainObject(fn) ? 'options' : String(fn)}`);
}

/**
 * `torch.no_grad`: ops inside record nothing. With a callback, sync or async, it returns what the callback
 * returns. The mode holds for the callback and all that it awaits, and for no other code that runs meanwhile;
 * what the callback leaves running when its promise settles has the mode around it. In browsers a callback
 * must not return a promise.
 *
 * Without a callback it returns a guard for `using` in synchronous code.
 *
 * @throws Error in browsers, when the callback returns a promise
 */
export function noGrad(): ModeGuard;
export function noGrad<R>(fn: () => R): R;
export function noGrad<R>(fn?: () => R): R | ModeGuard {
  checkFunction('noGrad', arguments, 1);
  return inModeOf({ name: 'noGrad', grad: false }, fn);
}

/** `torch.enable_grad`: records again inside a `noGrad`. Callbacks and guards as there. */
export function enableGrad(): ModeGuard;
export function enableGrad<R>(fn: () => R): R;
export function enableGrad<R>(fn?: () => R): R | ModeGuard {
  checkFunction('enableGrad', arguments, 1);
  return inModeOf({ name: 'enableGrad', grad: true }, fn);
}

/** `torch.inference_mode`: as `noGrad`; what is made inside can never be recorded by autograd later. */
export function inferenceMode(): ModeGuard;
export function inferenceMode<R>(fn: () => R): R;
export function inferenceMode<R>(fn?: () => R): R | ModeGuard {
  checkFunction('inferenceMode', arguments, 1);
  return inModeOf({ name: 'inferenceMode', grad: false, inference: true }, fn);
}

/**
 * `torch.set_grad_enabled`. As a statement it stays until it is set again, in the callback of a grad mode
 * until that ends; with `using` or a callback as `noGrad`.
 */
export function setGradEnabled(enabled: boolean): ModeGuard;
export function setGradEnabled<R>(enabled: boolean, fn: () => R): R;
export function setGradEnabled<R>(enabled: boolean, fn?: () => R): R | ModeGuard {
  checkFunction('setGradEnabled', arguments, 2);
  const change = { name: 'setGradEnabled', args: `${enabled}, `, grad: enabled, stays: true };
  return fn === undefined ? guard(change) : run(change, fn);
}
