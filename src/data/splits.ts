import { noMore } from '../tensor/options.js';
import { Random } from './random.js';

/** Positions of the samples of each label, in order; labels in ascending order. */
function byLabel(what: string, labels: ArrayLike<number>): Map<number, number[]> {
  const groups = new Map<number, number[]>();
  for (let i = 0; i < labels.length; i++) {
    const label = labels[i]!;
    if (!Number.isInteger(label)) throw new TypeError(`${what}: label ${i} is ${label}, not an integer`);
    const group = groups.get(label);
    if (group === undefined) groups.set(label, [i]);
    else group.push(i);
  }
  return new Map([...groups].sort(([a], [b]) => a - b));
}

/**
 * Splits samples in two so that every class keeps its share in both (scikit-learn's `train_test_split` with
 * `stratify`). Each class gives `fraction` of its samples to `val`, rounded, but at least one and never all
 * of them.
 *
 * @param labels the class of every sample
 * @param fraction the share of `val`, between 0 and 1
 * @param seed the same seed gives the same split; what a class gives does not depend on the other classes'
 * samples
 * @returns positions in `labels`, ascending
 * @throws Error naming a class of one sample, which cannot be in both
 */
export function stratifiedSplit(
  labels: ArrayLike<number>,
  fraction: number,
  seed: number,
): { train: number[]; val: number[] } {
  noMore('stratifiedSplit', arguments, 3);
  if (!(fraction > 0 && fraction < 1)) {
    throw new RangeError(`stratifiedSplit: the fraction must be between 0 and 1, got ${fraction}`);
  }
  const train: number[] = [];
  const val: number[] = [];
  for (const [label, members] of byLabel('stratifiedSplit', labels)) {
    const n = members.length;
    if (n < 2) {
      throw new Error(
        `stratifiedSplit: class ${label} has a single sample, which cannot be in both halves; add samples or leave the class out`,
      );
    }
    const count = Math.min(Math.max(Math.round(n * fraction), 1), n - 1);
    const order = new Random(seed, label).permutation(n);
    order.forEach((position, rank) => (rank < count ? val : train).push(members[position]!));
  }
  const ascending = (a: number, b: number): number => a - b;
  return { train: train.sort(ascending), val: val.sort(ascending) };
}

/**
 * A weight per sample that makes every class equally likely in a `WeightedRandomSampler`: 1 / (number of
 * samples of its class).
 *
 * @param labels the class of every sample
 */
export function classBalancedWeights(labels: ArrayLike<number>): Float64Array {
  noMore('classBalancedWeights', arguments, 1);
  const weights = new Float64Array(labels.length);
  for (const members of byLabel('classBalancedWeights', labels).values()) {
    for (const member of members) weights[member] = 1 / members.length;
  }
  return weights;
}
