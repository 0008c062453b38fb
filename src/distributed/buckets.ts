import { numel } from '../tensor/shape.js';
import type { Tensor } from '../tensor/tensor.js';
import type { GradFuture } from './comm-hooks.js';

/** @internal Gradients that have set out, and what they become. */
export interface Travel {
  readonly flat: Tensor;
  /** Where the mean goes. */
  readonly grads: readonly Tensor[];
  /** Those of `grads` that nobody wants. */
  readonly blanks: readonly Tensor[];
  readonly reduced: Tensor | GradFuture;
}

/** @internal Parameters whose gradients travel together. */
export interface Bucket {
  readonly parameters: readonly Tensor[];
  /** Those whose gradients have come in this step. */
  readonly ready: Set<Tensor>;
  travel: Travel | null;
}

const firstBucket = 2 ** 20;

/** @internal In the order in which backward comes to them: the last first. `cap` in bytes. */
export function bucketsOf(parameters: readonly Tensor[], cap: number): Bucket[] {
  const buckets: Tensor[][] = [];
  let bytes = Infinity;
  for (const parameter of [...parameters].reverse()) {
    const size = 4 * numel(parameter.shape);
    const limit = buckets.length === 1 ? Math.min(firstBucket, cap) : cap;
    if (bytes + size > limit) {
      buckets.push([]);
      bytes = 0;
    }
    buckets.at(-1)!.push(parameter);
    bytes += size;
  }
  return buckets.map((list) => ({ parameters: list, ready: new Set(), travel: null }));
}
