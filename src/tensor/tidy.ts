import { abandonScope, beginScope, endScope, type Scope } from './scope.js';
import type { Tensor } from './tensor.js';

const adopt = (tensor: Tensor): void => tensor.watch();

/** @internal Runs `fn` in a scope: what it makes and neither returns nor keeps is freed when it returns. */
export function scoped<R>(name: string, fn: () => R, also?: () => unknown): R {
  const scope = beginScope(name);
  let result: R;
  try {
    result = fn();
  } catch (error) {
    abandonScope(scope);
    throw error;
  }
  closeScope(scope, result, also?.());
  return result;
}

/** @internal */
export function closeScope(scope: Scope, result: unknown, also?: unknown): void {
  endScope(scope, result, adopt, also);
}

/**
 * Runs `fn` and frees every tensor it made except those it returns (in nested arrays or objects) or `keep()`s.
 * `fn` must be synchronous: the engine cannot tell what an interleaved async function made.
 */
export function tidy<R>(fn: () => R): R {
  return scoped('tidy()', () => {
    const result = fn();
    if (result instanceof Promise) {
      throw new Error(
        'tidy: the callback must not be async; read values after tidy returns, or use `using` and dispose()',
      );
    }
    return result;
  });
}
