import { intercept, intercepting, isGradEnabled, isInferenceMode, setGradMode } from './mode.js';
import { edgeOf, record, type OutputMeta } from './node.js';
import { primitives } from './primitives.js';
import { currentSaver } from './recompute.js';
import { SavedTensors } from './saved.js';
import { markView } from './view.js';
import { isFloatingPoint } from '../tensor/dtype.js';
import { checkCount, isPlainObject } from '../tensor/options.js';
import { abandonScope, beginScope, endScope } from '../tensor/scope.js';
import { isTensor, Tensor } from '../tensor/tensor.js';
import { scoped } from '../tensor/tidy.js';

/** A gradient that is computed only if somebody needs it; null or undefined where none flows. */
export type GradThunk = (() => Tensor) | null | undefined;

/** What an op's forward and backward share. `S` is whatever plain data forward leaves for backward. */
export interface OpContext<S = unknown> {
  /**
   * Per tensor argument (arrays of tensors flattened): will its gradient be wanted? All false when nothing is
   * recorded.
   */
  readonly needs: readonly boolean[];
  /** Plain data for the backward (shapes, options). */
  state: S;
  /**
   * Keeps tensors for the backward; `ctx.saved` gives them back in this order. Save only what `needs` calls
   * for.
   */
  save(...tensors: readonly (Tensor | null | undefined)[]): void;
  /** As {@link save}, for values that may be overwritten all the same: they are copied before that. */
  lend(...tensors: readonly (Tensor | null | undefined)[]): void;
  /** In backward: what forward saved, in order. */
  readonly saved: readonly (Tensor | null)[];
}

export interface OpDefinition<A extends readonly unknown[], R extends Tensor | readonly Tensor[], S> {
  /** The op's public name: messages, `gradFn`, profiler labels. */
  readonly name: string;
  /**
   * Checks its arguments (throwing what was wrong and how to mend it) and computes. Runs with grad mode off.
   */
  forward(ctx: OpContext<S>, ...args: A): R;
  /**
   * One thunk per tensor argument, in argument order (arrays of tensors flattened). Thunks made of ops are
   * differentiable again. Absent: the op's result never requires grad.
   */
  backward?(ctx: OpContext<S>, ...grads: Tensor[]): readonly GradThunk[];
  /**
   * In place of `backward` where many results may get no gradient: those are null rather than zeros.
   */
  backwardOfSome?(ctx: OpContext<S>, grads: readonly (Tensor | null)[]): readonly GradThunk[];
}

const nothing: readonly never[] = [];

class Recording<S> implements OpContext<S> {
  state = undefined as S;
  saved: readonly (Tensor | null)[] = nothing;
  readonly kept: (Tensor | null | undefined)[] = [];
  readonly lent = new Set<Tensor>();
  constructor(readonly needs: readonly boolean[]) {}
  save(...tensors: readonly (Tensor | null | undefined)[]): void {
    this.kept.push(...tensors);
  }
  lend(...tensors: readonly (Tensor | null | undefined)[]): void {
    this.kept.push(...tensors);
    for (const tensor of tensors) if (tensor) this.lent.add(tensor);
  }
}

class NotRecording<S> implements OpContext<S> {
  state = undefined as S;
  readonly saved = nothing;
  constructor(readonly needs: readonly boolean[]) {}
  save(): void {}
  lend(): void {}
}

function collectTensors(args: readonly unknown[]): Tensor[] {
  const tensors: Tensor[] = [];
  for (const arg of args) {
    if (isTensor(arg)) tensors.push(arg);
    else if (Array.isArray(arg)) for (const item of arg) if (isTensor(item)) tensors.push(item);
  }
  return tensors;
}

/** Which inputs require grad; null when none does. */
function needsOf(inputs: readonly Tensor[]): boolean[] | null {
  let needs: boolean[] | null = null;
  for (let i = 0; i < inputs.length; i++) {
    if ((inputs[i] as Tensor).requiresGrad)
      (needs ??= new Array<boolean>(inputs.length).fill(false))[i] = true;
  }
  return needs;
}

const falses: readonly (readonly boolean[])[] = Array.from({ length: 9 }, (_, n) =>
  new Array<boolean>(n).fill(false),
);
const noNeeds = (n: number): readonly boolean[] => falses[n] ?? new Array<boolean>(n).fill(false);

/** @internal `fn` under the op's name, as stack traces and the debugger show it. */
export const named = <F extends (...args: never[]) => unknown>(name: string, fn: F): F =>
  Object.defineProperty(fn, 'name', { value: name });

/**
 * What an op throws for arguments of another kind, as plain JavaScript may give: a TypeError says nothing of
 * the op, and what an op within it makes of them names that one. Asked only after something was thrown.
 */
const misuse = (name: string, args: readonly unknown[], error: unknown): unknown => {
  if (!(error instanceof Error) || error.message.startsWith(`${name}:`)) return error;
  const [first] = args;
  if (first === undefined || first === null || (isPlainObject(first) && !isTensor(first)))
    return new Error(`${name}: expected a tensor first, got ${shownArgument(first)}`, { cause: error });
  if (!(error instanceof TypeError)) return error;
  const given = args.map(String).join(', ').slice(0, 80) || 'nothing';
  return new Error(`${name}: wrong argument: got ${given}; see what it takes`, { cause: error });
};

const shownArgument = (value: unknown): string =>
  value === undefined ? 'nothing' : value === null ? 'null' : 'an object';

/**
 * Makes an op from its one declaration: temporaries of the forward are freed when it returns, a tape node is
 * recorded only if grad mode is on and some input requires grad.
 */
export function defineOp<A extends readonly unknown[], R extends Tensor | readonly Tensor[], S = unknown>(
  definition: OpDefinition<A, R, S>,
): (...args: A) => R {
  const { name } = definition;
  const hasBackward = definition.backward !== undefined || definition.backwardOfSome !== undefined;
  const op = named(name, (...args: A): R => {
    if (intercepting) {
      const instead = intercept(name, op, args);
      if (instead !== undefined) return instead as R;
    }
    const inputs = collectTensors(args);
    for (const input of inputs) void input.storage;
    const needs = hasBackward && isGradEnabled() ? needsOf(inputs) : null;
    if (needs !== null) currentSaver()?.beforeOp(name, inputs);
    const recording = needs === null ? null : new Recording<S>(needs);
    const ctx = recording ?? new NotRecording<S>(noNeeds(inputs.length));
    const before = setGradMode(false);
    const scope = beginScope(name);
    let result: R;
    try {
      result = definition.forward(ctx, ...args);
    } catch (error) {
      abandonScope(scope);
      throw misuse(name, args, error);
    } finally {
      setGradMode(before);
    }
    endScope(scope, result, recording?.kept);
    if (isInferenceMode()) markInference(result);
    const source = inputs[0];
    if (source !== undefined && result instanceof Tensor && result.storage === source.storage)
      markView(result, source, before);
    if (recording !== null) attach(definition, recording, inputs, result);
    return result;
  });
  return op;
}

/**
 * @internal A function that `amp.autocast` must know by name before it looks at its arguments, as it knows
 * what {@link defineOp} and {@link defineComposite} make.
 */
export const entered = <F extends (...args: never[]) => unknown>(name: string, fn: F): F => {
  const op: F = named(name, ((...args: Parameters<F>) => {
    try {
      return (intercepting ? intercept(name, op, args) : undefined) ?? fn(...args);
    } catch (error) {
      throw misuse(name, args, error);
    }
  }) as F);
  return op;
};

function markInference(result: Tensor | readonly Tensor[]): void {
  if (result instanceof Tensor) result.isInference = true;
  else for (const tensor of result) tensor.isInference = true;
}

function attach<A extends readonly unknown[], R extends Tensor | readonly Tensor[], S>(
  definition: OpDefinition<A, R, S>,
  ctx: Recording<S>,
  inputs: readonly Tensor[],
  result: R,
): void {
  const { name } = definition;
  const outputs: readonly Tensor[] = result instanceof Tensor ? [result] : result;
  const saved = new SavedTensors();
  const saver = currentSaver();
  saver?.beginSaving(inputs);
  for (const tensor of ctx.kept) {
    if (tensor) saved.save(tensor, outputs.indexOf(tensor), ctx.lent.has(tensor));
    else saved.save(null);
  }
  saver?.endSaving();
  // Handles that were kept only to be saved have done their work.
  for (const tensor of ctx.kept) {
    if (
      tensor &&
      !outputs.includes(tensor) &&
      !inputs.includes(tensor) &&
      !tensor.isDisposed &&
      !tensor.isKept
    ) {
      tensor.disposeBy(name);
    }
  }
  const { state } = ctx;
  const metas = outputs.map(({ shape, dtype }): OutputMeta => ({ shape, dtype }));
  record(name, inputs.map(edgeOf), saved, outputs, (grads, needs, kept) => {
    const back = new Recording<S>(needs);
    back.state = state;
    back.saved = kept;
    const thunks =
      definition.backwardOfSome?.(back, grads) ??
      definition.backward?.(back, ...(grads.map((grad, i) => grad ?? zerosFor(metas[i])) as Tensor[])) ??
      [];
    return thunks.map((thunk, i) => (thunk && needs[i] ? thunk() : null));
  });
}

/** Outputs that got no gradient count as zeros; integer outputs have none at all. */
function zerosFor(meta: OutputMeta | undefined): Tensor | null {
  if (meta === undefined || !isFloatingPoint(meta.dtype)) return null;
  return primitives().zeros(meta.shape, meta.dtype);
}

/**
 * An op made of other ops: its gradient follows from theirs, and the handles it makes on the way are freed
 * when it returns (the tape keeps what it needs). One that takes no options says how many arguments it takes
 * at most.
 */
export function defineComposite<F extends (...args: never[]) => unknown>(
  name: string,
  fn: F,
  most = Infinity,
): F {
  const op: F = named(name, ((...args: Parameters<F>) => {
    if (intercepting) {
      const instead = intercept(name, op, args);
      if (instead !== undefined) return instead;
    }
    checkCount(name, args.length, most);
    let result: unknown;
    try {
      result = scoped(name, () => fn(...args));
    } catch (error) {
      throw misuse(name, args, error);
    }
    if (isTensor(result)) forgetBase(result);
    else if (Array.isArray(result)) for (const one of result) if (isTensor(one)) forgetBase(one, result);
    return result;
  }) as F);
  return op;
}

/**
 * What is stored as a view of a temporary that is gone is nobody's view, unless another result shows the same
 * memory.
 */
function forgetBase(result: Tensor, all: readonly unknown[] = []): void {
  if (result.viewOf?.base.isDisposed !== true) return;
  if (all.some((other) => other !== result && isTensor(other) && other.storage === result.storage)) return;
  result.viewOf = null;
}
