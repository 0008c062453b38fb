import { lineOf } from '../tensor/line.js';
import { Random, type Sampler } from '../data/index.js';
import { optionReader } from '../tensor/options.js';
import { getRank, getWorldSize, isInitialized } from './process.js';

export interface DistributedSamplerOptions {
  /** Number of parts. Default: the number of ranks. */
  readonly numReplicas?: number | null;
  /** Which part. Default: this process's. */
  readonly rank?: number | null;
  /** A new order in every epoch (see `setEpoch`), the same on all ranks. Default true. */
  readonly shuffle?: boolean;
  /** The same on all ranks. Default 0. */
  readonly seed?: number;
  /**
   * Leave out what is over, rather than repeat the first samples so that all parts are equally long. Default
   * false.
   */
  readonly dropLast?: boolean;
}

const read = optionReader<Required<DistributedSamplerOptions>>(
  'DistributedSampler',
  { numReplicas: null, rank: null, shuffle: true, seed: 0, dropLast: false },
  'numReplicas',
  'rank',
  'shuffle',
  'seed',
  'dropLast',
);

/**
 * `torch.utils.data.distributed.DistributedSampler`: every `numReplicas`-th index from `rank` on, of an order
 * that all ranks agree on.
 */
export class DistributedSampler implements Sampler {
  readonly numReplicas: number;
  readonly rank: number;
  readonly length: number;
  private readonly shuffle: boolean;
  private readonly seed: number;
  private epoch = 0;

  constructor(
    private readonly source: { readonly length: number },
    ...args: [options?: DistributedSamplerOptions]
  ) {
    const options = read(args);
    this.numReplicas = options.numReplicas ?? (isInitialized() ? getWorldSize() : 1);
    this.rank = options.rank ?? (isInitialized() ? getRank() : 0);
    if (!Number.isInteger(this.numReplicas) || this.numReplicas < 1)
      throw new Error(`DistributedSampler: numReplicas must be a positive integer, got ${this.numReplicas}`);
    if (!Number.isInteger(this.rank) || this.rank < 0 || this.rank >= this.numReplicas)
      throw new Error(`DistributedSampler: rank must be from 0 to ${this.numReplicas - 1}, got ${this.rank}`);
    if (source.length < 1) throw new Error('DistributedSampler: the dataset is empty');
    const { shuffle, seed, dropLast } = options;
    this.shuffle = shuffle;
    this.seed = seed;
    const parts = source.length / this.numReplicas;
    this.length = dropLast ? Math.floor(parts) : Math.ceil(parts);
  }

  /** The class with its options, and the epoch that is drawn for. */
  toString(): string {
    const { length, numReplicas, rank, shuffle, seed, epoch } = this;
    return lineOf('DistributedSampler', { length, numReplicas, rank, shuffle, seed, epoch });
  }

  [Symbol.for('nodejs.util.inspect.custom')](): string {
    return this.toString();
  }

  /** To be called before each epoch, with its number: else every epoch has the same order. */
  setEpoch(epoch: number): void {
    this.epoch = epoch;
  }

  /** The loader's own random numbers are left alone: they differ between ranks. */
  order(): Iterable<number> {
    const { length } = this.source;
    const order = this.shuffle
      ? new Random(this.seed, 0, this.epoch).permutation(length)
      : Uint32Array.from({ length }, (_, i) => i);
    return Array.from(
      { length: this.length },
      (_, i) => order[(this.rank + i * this.numReplicas) % length] as number,
    );
  }

  [Symbol.iterator](): Iterator<number> {
    return this.order()[Symbol.iterator]();
  }
}

const readUnrepeated = optionReader<Required<Omit<DistributedSamplerOptions, 'dropLast'>>>(
  'UnrepeatedDistributedSampler',
  { numReplicas: null, rank: null, shuffle: false, seed: 0 },
  'numReplicas',
  'rank',
  'shuffle',
  'seed',
);

/**
 * As {@link DistributedSampler}, but every sample is in one part only, so that parts may differ by a sample
 * and measures of all of them are exact: for validation (as Lightning's sampler of this name; not for
 * training, in which all ranks need as many batches). Does not shuffle by default.
 */
export class UnrepeatedDistributedSampler extends DistributedSampler {
  override readonly length: number;

  constructor(
    source: { readonly length: number },
    ...args: [options?: Omit<DistributedSamplerOptions, 'dropLast'>]
  ) {
    super(source, readUnrepeated(args));
    this.length = Math.ceil((source.length - this.rank) / this.numReplicas);
  }
}
