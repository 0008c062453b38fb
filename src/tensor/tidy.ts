import { noMore } from './options.js';
import { abandonScope, beginScope, endScope } from './scope.js';

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
  endScope(scope, result, also?.());
  return result;
}

/**
 * Runs `fn` and frees every tensor it made except those it returns (in nested arrays or objects) or
 * `keep()`s.
 *
 * @throws Error when `fn` is async: the engine cannot tell what an interleaved async function made. Nothing
 * of it runs where that can be seen beforehand (`async () => ...`); otherwise what it made before its first
 * await is freed, what it makes later belongs to the garbage collector, and its promise is not reported a
 * second time.
 */
export function tidy<R>(fn: () => R): R {
  noMore('tidy', arguments, 1);
  return scoped('tidy()', () => callSync('tidy', tidyAdvice, fn, fn));
}

const tidyAdvice = 'read values after tidy returns, or use `using` and dispose()';

/**
 * @internal Calls `fn`, which must be done when it returns. What is declared async is refused before it
 * starts; the promise of anything else is settled in silence, since the error here stands for it.
 */
export function callSync<R>(name: string, advice: string, fn: unknown, call: () => R): R {
  const refusal = (): Error => new Error(`${name}: the callback must not be async; ${advice}`);
  if (Object.prototype.toString.call(fn) === '[object AsyncFunction]') throw refusal();
  const result = call();
  if (typeof (result as { then?: unknown } | null | undefined)?.then === 'function') {
    (result as unknown as PromiseLike<unknown>).then(undefined, () => undefined);
    throw refusal();
  }
  return result;
}
