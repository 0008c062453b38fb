/** Grad mode: whether ops record themselves on the tape. */

let gradEnabled = true;
let inferenceDepth = 0;

export const isGradEnabled = (): boolean => gradEnabled;
export const isInferenceMode = (): boolean => inferenceDepth > 0;

/** @internal */
export function setGradMode(enabled: boolean): boolean {
  const before = gradEnabled;
  gradEnabled = enabled;
  return before;
}

/** Restores the mode that was in force when it was made; `using guard = noGrad()`. */
export interface ModeGuard {
  [Symbol.dispose](): void;
}

function enter(enabled: boolean, inference: boolean): () => void {
  const before = setGradMode(enabled);
  if (inference) inferenceDepth++;
  let open = true;
  return () => {
    if (!open) return;
    open = false;
    if (inference) inferenceDepth--;
    setGradMode(before);
  };
}

function run<R>(enabled: boolean, inference: boolean, fn?: () => R): R | ModeGuard {
  const leave = enter(enabled, inference);
  if (fn === undefined) return { [Symbol.dispose]: leave };
  let result: R;
  try {
    result = fn();
  } catch (error) {
    leave();
    throw error;
  }
  if (result instanceof Promise) return result.finally(leave) as R;
  leave();
  return result;
}

/**
 * `torch.no_grad`: ops inside record nothing. With a callback (sync or async) it returns what the callback returns;
 * without one it returns a guard for `using`. The mode is global: do not interleave other async work with an async callback.
 */
export function noGrad(): ModeGuard;
export function noGrad<R>(fn: () => R): R;
export function noGrad<R>(fn?: () => R): R | ModeGuard {
  return run(false, false, fn);
}

/** `torch.enable_grad`: records again inside a `noGrad`. */
export function enableGrad(): ModeGuard;
export function enableGrad<R>(fn: () => R): R;
export function enableGrad<R>(fn?: () => R): R | ModeGuard {
  return run(true, false, fn);
}

/** `torch.inference_mode`: as `noGrad`; what is made inside can never be recorded by autograd later. */
export function inferenceMode(): ModeGuard;
export function inferenceMode<R>(fn: () => R): R;
export function inferenceMode<R>(fn?: () => R): R | ModeGuard {
  return run(false, true, fn);
}

/** `torch.set_grad_enabled`. */
export function setGradEnabled(enabled: boolean): ModeGuard;
export function setGradEnabled<R>(enabled: boolean, fn: () => R): R;
export function setGradEnabled<R>(enabled: boolean, fn?: () => R): R | ModeGuard {
  return run(enabled, false, fn);
}
