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

/**
 * @internal In the order in which backward comes to them: the last first. A bucket takes parameters until it
 * holds `cap` bytes or more, the first one a MiB: PyTorch's `compute_bucket_assignment_by_size`.
 */
export function bucketsOf<T extends { readonly shape: readonly number[] }>(
  parameters: readonly T[],
  cap: number,
): T[][] {
  const buckets: T[][] = [];
  let room = 0;
  for (const parameter of [...parameters].reverse()) {
    if (room <= 0) {
      room = buckets.length === 0 ? Math.min(firstBucket, cap) : cap;
      buckets.push([]);
    }
    buckets.at(-1)!.push(parameter);
    room -= 4 * numel(parameter.shape);
  }
  return buckets;
}
