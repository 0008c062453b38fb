import type { Histogram } from './messages.js';

/** Limits that grow by a tenth from 1e-12 to 1e20, to both sides of 0, as TensorFlow's and PyTorch's. */
function defaultLimits(): number[] {
  const positive: number[] = [];
  for (let limit = 1e-12; limit < 1e20; limit *= 1.1) positive.push(limit);
  return [-Number.MAX_VALUE, ...positive.map((limit) => -limit).reverse(), 0, ...positive, Number.MAX_VALUE];
}

let limits: readonly number[] | undefined;

/** The first place of `sorted` whose entry is above `value`, at most the last: there its bucket ends. */
function bucketOf(sorted: readonly number[], value: number): number {
  let [low, high] = [0, sorted.length - 1];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (sorted[middle]! <= value) low = middle + 1;
    else high = middle;
  }
  return low;
}

/**
 * @internal A histogram of finite values: buckets from the first that holds one to the last, behind an empty
 * one, whose limit is where the first begins.
 */
export function histogramOf(values: ArrayLike<number>): Histogram {
  limits ??= defaultLimits();
  const counts = new Array<number>(limits.length).fill(0);
  let [min, max, sum, sumSquares] = [Infinity, -Infinity, 0, 0];
  for (let i = 0; i < values.length; i++) {
    const value = values[i]!;
    if (!Number.isFinite(value)) throw new Error(`value ${i} is ${value}, which no bucket can hold`);
    min = Math.min(min, value);
    max = Math.max(max, value);
    sum += value;
    sumSquares += value * value;
    counts[bucketOf(limits, value)]!++;
  }
  // The lowest limit is nobody's: there is one before the first.
  const [from, to] = [bucketOf(limits, min) - 1, bucketOf(limits, max) + 1];
  return {
    min,
    max,
    num: values.length,
    sum,
    sumSquares,
    limits: limits.slice(from, to),
    counts: counts.slice(from, to),
  };
}
