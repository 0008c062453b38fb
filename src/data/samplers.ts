import { checkIndex } from './dataset.js';
import { derivedSeed } from './derived-seed.js';
import { Random } from './random.js';
import { lineOf } from '../tensor/line.js';
import { noMore, optionReader, type Trailing } from '../tensor/options.js';
import { isTensor } from '../tensor/tensor.js';

/**
 * Indices into a dataset, in the order to load them. Iterated once per epoch; an array will do. Where `order`
 * is defined, `DataLoader` calls it with a stream that depends on its seed and the epoch only, so that an
 * order can be had again.
 */
export interface Sampler extends Iterable<number> {
  readonly length: number;
  order?(random: Random): Iterable<number>;
}

/** Like {@link Sampler}, but gives the indices of whole batches. `length` counts the batches. */
export interface BatchesOfIndices extends Iterable<readonly number[]> {
  readonly length: number;
  order?(random: Random): Iterable<readonly number[]>;
}

function checkCount(what: string, count: number): number {
  if (!Number.isInteger(count) || count < 1) {
    throw new RangeError(`${what}: numSamples must be a positive integer, got ${String(count)}`);
  }
  return count;
}

function lengthOf(what: string, source: { readonly length: number } | null | undefined): number {
  const length = source?.length;
  if (length !== undefined && Number.isInteger(length) && length >= 0) return length;
  throw new TypeError(
    `${what}: expected a dataset or an array, whose length is known, got ${String(source)}`,
  );
}

/** Samplers are iterated without waiting, so values on the device must be read before. */
function checkList(what: string, name: string, list: unknown): void {
  if (isTensor(list))
    throw new TypeError(
      `${what}: ${name} are needed on the host; pass the numbers, await ${name}.toArray(), not the tensor`,
    );
  if (typeof list !== 'object' || list === null)
    throw new TypeError(`${what}: ${name} must be a list of numbers, got ${String(list)}`);
}

/** Base of the samplers: what the console shows of them. */
abstract class ShownSampler {
  abstract readonly length: number;

  /** The class with its options. */
  toString(): string {
    const { length } = this;
    const own = this as { readonly replacement?: boolean };
    return lineOf(this.constructor.name, { length, replacement: own.replacement });
  }

  [Symbol.for('nodejs.util.inspect.custom')](): string {
    return this.toString();
  }
}

/** Base of the random samplers: iterated by itself, it takes a seed that follows from `manualSeed`. */
abstract class SeededSampler extends ShownSampler implements Sampler {
  abstract order(random: Random): Iterable<number>;

  [Symbol.iterator](): Iterator<number> {
    return this.order(new Random(derivedSeed()))[Symbol.iterator]();
  }
}

/** PyTorch's `SequentialSampler`: 0 ... length - 1. */
export class SequentialSampler extends ShownSampler implements Sampler {
  readonly length: number;

  constructor(source: { readonly length: number }) {
    super();
    noMore(new.target.name, arguments, 1);
    this.length = lengthOf('SequentialSampler', source);
  }

  *[Symbol.iterator](): Generator<number, void> {
    for (let i = 0; i < this.length; i++) yield i;
  }
}

export interface RandomSamplerOptions {
  /** Draws each index independently of the others. Default false: every index once. */
  readonly replacement?: boolean;
  /**
   * How many indices; without replacement, more than there are begins anew. Default: as many as there are.
   */
  readonly numSamples?: number;
}

const readRandom = optionReader(
  'RandomSampler',
  { replacement: false, numSamples: undefined as number | undefined },
  'replacement',
  'numSamples',
);

/** PyTorch's `RandomSampler`. */
export class RandomSampler extends SeededSampler {
  readonly length: number;
  readonly replacement: boolean;
  private readonly size: number;

  constructor(
    source: { readonly length: number },
    ...args: Trailing<[replacement: boolean, numSamples: number], RandomSamplerOptions>
  ) {
    super();
    this.size = lengthOf('RandomSampler', source);
    const { replacement, numSamples } = readRandom(args);
    this.replacement = replacement;
    this.length = numSamples === undefined ? this.size : checkCount('RandomSampler', numSamples);
    if (this.size === 0 && this.length > 0) throw new Error('RandomSampler: there is nothing to draw from');
  }

  override *order(random: Random): Generator<number, void> {
    for (let left = this.length; left > 0;) {
      if (this.replacement) {
        yield random.integer(this.size);
        left--;
      } else {
        const round = random.permutation(this.size).subarray(0, left);
        yield* round;
        left -= round.length;
      }
    }
  }
}

/**
 * PyTorch's `SubsetRandomSampler`: the given indices, each once, in random order. Of a tensor, `await
 * indices.data()`.
 */
export class SubsetRandomSampler extends SeededSampler {
  readonly indices: readonly number[];

  constructor(indices: Iterable<number>) {
    noMore(new.target.name, arguments, 1);
    super();
    checkList('SubsetRandomSampler', 'indices', indices);
    this.indices = [...indices];
    const wrong = this.indices.find((index) => !Number.isInteger(index));
    if (wrong !== undefined)
      throw new TypeError(`SubsetRandomSampler: indices must be integers, got ${String(wrong)}`);
  }

  get length(): number {
    return this.indices.length;
  }

  override *order(random: Random): Generator<number, void> {
    for (const position of random.permutation(this.indices.length)) yield this.indices[position]!;
  }
}

const readWeighted = optionReader('WeightedRandomSampler', { replacement: true }, 'replacement');

/**
 * PyTorch's `WeightedRandomSampler`: draws index `i` with a probability proportional to `weights[i]`.
 * `classBalancedWeights` makes weights that draw every class equally often.
 *
 * @param weights one per sample, none negative; they need not sum to 1. Of a tensor, `await weights.data()`
 * @param numSamples how many indices per epoch
 * @param replacement whether an index can come more than once. Default true
 */
export class WeightedRandomSampler extends SeededSampler {
  readonly length: number;
  readonly replacement: boolean;
  private readonly weights: Float64Array;
  /** Running sums of the weights. */
  private readonly sums: Float64Array;

  constructor(
    weights: ArrayLike<number>,
    numSamples: number,
    ...args: Trailing<[replacement: boolean], { readonly replacement?: boolean }>
  ) {
    super();
    const { replacement } = readWeighted(args);
    this.replacement = replacement;
    this.length = checkCount('WeightedRandomSampler', numSamples);
    checkList('WeightedRandomSampler', 'weights', weights);
    this.weights = Float64Array.from(weights);
    const wrong = this.weights.findIndex((weight) => !(weight >= 0 && weight < Infinity));
    if (wrong >= 0) {
      throw new RangeError(
        `WeightedRandomSampler: weight ${wrong} is ${this.weights[wrong]}; weights must be finite and not negative`,
      );
    }
    const usable = this.weights.filter((weight) => weight > 0).length;
    if (usable === 0) throw new Error('WeightedRandomSampler: all weights are 0');
    if (!replacement && numSamples > usable) {
      throw new Error(
        `WeightedRandomSampler: ${numSamples} samples without replacement, but only ${usable} weights are positive`,
      );
    }
    let sum = 0;
    this.sums = this.weights.map((weight) => (sum += weight));
  }

  override *order(random: Random): Generator<number, void> {
    if (!this.replacement) {
      yield* this.withoutReplacement(random);
      return;
    }
    const total = this.sums.at(-1)!;
    for (let i = 0; i < this.length; i++) yield this.find(random.float() * total);
  }

  /** The first index whose running sum exceeds `target`; its weight is not 0. */
  private find(target: number): number {
    let low = 0;
    let high = this.sums.length - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.sums[middle]! > target) high = middle;
      else low = middle + 1;
    }
    return low;
  }

  /**
   * Exponential keys: the smallest key of rate `weight` is each index with the right probability (Efraimidis
   * and Spirakis, 2006).
   */
  private withoutReplacement(random: Random): number[] {
    const keys = Array.from(this.weights, (weight, index) => ({
      index,
      key: weight === 0 ? Infinity : -Math.log((random.uint32() + 1) * 2 ** -32) / weight,
    }));
    keys.sort((a, b) => a.key - b.key || a.index - b.index);
    return keys.slice(0, this.length).map(({ index }) => index);
  }
}

const readBatch = optionReader('BatchSampler', { dropLast: false }, 'dropLast');

/** PyTorch's `BatchSampler`: cuts another sampler's order into batches. */
export class BatchSampler implements BatchesOfIndices {
  readonly dropLast: boolean;

  constructor(
    readonly sampler: Sampler,
    readonly batchSize: number,
    ...args: Trailing<[dropLast: boolean], { readonly dropLast?: boolean }>
  ) {
    this.dropLast = readBatch(args).dropLast;
    if (!Number.isInteger(batchSize) || batchSize < 1) {
      throw new RangeError(`BatchSampler: batchSize must be a positive integer, got ${String(batchSize)}`);
    }
  }

  /** The class with its sampler and options. */
  toString(): string {
    const { sampler, batchSize, dropLast, length } = this;
    return lineOf('BatchSampler', { sampler, batchSize, dropLast, length });
  }

  [Symbol.for('nodejs.util.inspect.custom')](): string {
    return this.toString();
  }

  get length(): number {
    const batches = this.sampler.length / this.batchSize;
    return this.dropLast ? Math.floor(batches) : Math.ceil(batches);
  }

  [Symbol.iterator](): Iterator<readonly number[]> {
    return this.cut(this.sampler);
  }

  order(random: Random): Iterable<readonly number[]> {
    return this.cut(this.sampler.order?.(random) ?? this.sampler);
  }

  private *cut(order: Iterable<number>): Generator<readonly number[], void> {
    let batch: number[] = [];
    for (const index of order) {
      batch.push(index);
      if (batch.length === this.batchSize) {
        yield batch;
        batch = [];
      }
    }
    if (batch.length > 0 && !this.dropLast) yield batch;
  }
}

/**
 * Throws unless every index lies in the dataset, so that a wrong sampler is named before an epoch is half
 * done.
 */
export function checkBatches(batches: readonly (readonly number[])[], length: number): void {
  for (const batch of batches) for (const index of batch) checkIndex('DataLoader: sampler', index, length);
}
