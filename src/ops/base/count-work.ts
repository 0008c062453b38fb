import { noMore } from '../../tensor/options.js';

/** Multiply-adds of convolutions and matrix products, noted as the ops run. */
export interface Work {
  multiplyAdds: number;
}

let current: Work | null = null;

/**
 * Runs `fn` and adds the multiply-adds of its convolutions and matrix products to `work` as they happen: from
 * the actual shapes, backward passes included, pointwise work left out (the count that torchvision
 * publishes).
 */
export function countWork<R>(work: Work, fn: () => R): R {
  noMore('countWork', arguments, 2);
  if (typeof fn !== 'function') throw new Error(`countWork: expected a function to run, got ${String(fn)}`);
  const before = current;
  current = work;
  try {
    return fn();
  } finally {
    current = before;
    if (before !== null) before.multiplyAdds += work.multiplyAdds;
  }
}

/** @internal */
export function noteMultiplyAdds(count: number): void {
  if (current !== null) current.multiplyAdds += count;
}
