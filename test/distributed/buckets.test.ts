/** Which gradients travel together. */
import { expect, it } from 'vitest';
import { bucketsOf } from '../../src/distributed/buckets.js';

const sizes = (parameters: readonly number[], cap: number): number[][] =>
  bucketsOf(
    parameters.map((size) => ({ shape: [size] })),
    cap,
  ).map((bucket) => bucket.map(({ shape }) => shape[0] as number));

it('buckets close where PyTorch (compute_bucket_assignment_by_size) closes them', () => {
  expect(sizes([300_000, 5, 200_000, 100_000, 3, 7, 300, 1_000_000, 20], 2 * 2 ** 20)).toEqual([
    [20, 1_000_000],
    [300, 7, 3, 100_000, 200_000, 5, 300_000],
  ]);
  expect(sizes([50, 30, 20, 10, 5], 100)).toEqual([[5, 10, 20], [30], [50]]);
});
