import type { HostBatch } from './collate.js';
import { exportedClass, type ModuleExport, type Portable } from './portable.js';
import { Random } from './random.js';
import { optionReader, type Trailing, noMore } from '../tensor/options.js';

/**
 * A map-style dataset (PyTorch's `torch.utils.data.Dataset`). `DataLoader` passes `random`, a stream that
 * depends only on its seed, the epoch and the index, so that random transforms do not depend on the order of
 * loading.
 */
export interface Dataset<T> extends Portable {
  readonly length: number;
  get(index: number, random?: Random): T | Promise<T>;
  /**
   * Builds a whole batch at once (PyTorch's `__getitems__`), already stacked along a new first dimension.
   * `DataLoader` prefers it to `get` and `collate` where it is defined and no `collate` was given.
   */
  readonly getBatch?: (
    indices: readonly number[],
    random: (index: number) => Random,
  ) => HostBatch<T> | Promise<HostBatch<T>>;
}

/** Throws a RangeError that names the dataset unless `index` is an integer in 0 ... length - 1. */
export function checkIndex(what: string, index: number, length: number): void {
  if (!Number.isInteger(index) || index < 0 || index >= length) {
    throw new RangeError(`${what}: index ${index} is outside 0 ... ${length - 1}`);
  }
}

/**
 * Some of a dataset's samples, in the given order (PyTorch's `Subset`).
 * @param indices each in 0 ... dataset.length - 1; repeats are allowed
 */
export class Subset<T> implements Dataset<T> {
  readonly indices: readonly number[];
  readonly getBatch?: NonNullable<Dataset<T>['getBatch']>;

  constructor(
    readonly dataset: Dataset<T>,
    indices: Iterable<number>,
  ) {
    noMore(new.target.name, arguments, 2);
    this.indices = [...indices];
    for (const index of this.indices) checkIndex('Subset', index, dataset.length);
    if (dataset.getBatch !== undefined) {
      this.getBatch = (positions, random) =>
        dataset.getBatch!(
          positions.map((position) => this.at(position)),
          random,
        );
    }
  }

  get length(): number {
    return this.indices.length;
  }

  source(): ModuleExport | undefined {
    return exportedClass(this, Subset, import.meta.url, 'Subset');
  }

  settings(): readonly unknown[] {
    return [this.dataset, this.indices];
  }

  get(index: number, random?: Random): T | Promise<T> {
    return this.dataset.get(this.at(index), random);
  }

  private at(position: number): number {
    checkIndex('Subset', position, this.length);
    return this.indices[position]!;
  }
}

/** Datasets one after the other (PyTorch's `ConcatDataset`). */
export class ConcatDataset<T> implements Dataset<T> {
  readonly length: number;

  constructor(readonly datasets: readonly Dataset<T>[]) {
    noMore(new.target.name, arguments, 1);
    if (datasets.length === 0) throw new Error('ConcatDataset: give it at least one dataset');
    this.length = datasets.reduce((sum, dataset) => sum + dataset.length, 0);
  }

  source(): ModuleExport | undefined {
    return exportedClass(this, ConcatDataset, import.meta.url, 'ConcatDataset');
  }

  settings(): readonly unknown[] {
    return [this.datasets];
  }

  get(index: number, random?: Random): T | Promise<T> {
    checkIndex('ConcatDataset', index, this.length);
    let rest = index;
    for (const dataset of this.datasets) {
      if (rest < dataset.length) return dataset.get(rest, random);
      rest -= dataset.length;
    }
    throw new Error('ConcatDataset: a dataset changed its length after it was concatenated');
  }
}

const readSplit = optionReader('randomSplit', { seed: 0 });

/**
 * Splits a dataset into random, disjoint subsets (PyTorch's `random_split`).
 * @param lengths counts that sum to `dataset.length`, or fractions that sum to 1 (what rounding down leaves
 * over is dealt out one by one from the first subset on, as PyTorch does)
 */
export function randomSplit<T>(
  dataset: Dataset<T>,
  lengths: readonly number[],
  ...args: Trailing<[], { seed?: number }>
): Subset<T>[] {
  const { seed } = readSplit(args);
  if (!Array.isArray(lengths))
    throw new Error(`randomSplit: lengths must be an array of numbers, got ${String(lengths)}`);
  const n = dataset.length;
  const sum = lengths.reduce((total, length) => total + length, 0);
  let counts = [...lengths];
  if (lengths.every((length) => length >= 0 && length <= 1) && Math.abs(sum - 1) < 1e-6) {
    counts = lengths.map((fraction) => Math.floor(n * fraction));
    let rest = n - counts.reduce((total, count) => total + count, 0);
    for (let i = 0; rest > 0; i = (i + 1) % counts.length, rest--) counts[i]!++;
  }
  const total = counts.reduce((all, count) => all + count, 0);
  if (total !== n || counts.some((count) => !Number.isInteger(count) || count < 0)) {
    throw new Error(
      `randomSplit: lengths [${lengths.join(', ')}] must be counts that sum to the dataset's ${n} samples, or fractions that sum to 1`,
    );
  }
  const order = new Random(seed).permutation(n);
  let start = 0;
  return counts.map((count) => new Subset(dataset, order.subarray(start, (start += count))));
}
