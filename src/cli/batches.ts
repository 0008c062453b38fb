import { DataLoader, Random } from '../data/index.js';
import type { Tensor } from '../tensor/tensor.js';
import type { Ranks } from '../train/ranks.js';
import type { Samples } from './classes.js';
import { CliError } from './errors.js';

export interface BatchOptions {
  readonly batchSize: number;
  /** Shuffles, as a DataLoader of this seed would; names the random numbers of augmentation too. */
  readonly seed?: number;
  /**
   * Processes that share the samples. In an order that is shuffled they share each batch, of `batchSize` for
   * each of them; in the data's order they take turns with whole batches, which so are those of one process.
   */
  readonly ranks?: Pick<Ranks, 'rank' | 'worldSize'> | null;
  /** Where a pass was taken up by another number of ranks. */
  readonly turn?: Turn | null;
}

/** A place in a pass from which on batches are of another size. */
export interface Turn {
  /** Of the pass, from 0. */
  readonly epoch: number;
  /** Batches that were done ... */
  readonly batches: number;
  /** ... and the samples of them. */
  readonly samples: number;
}

/** What a rank takes at once. */
interface Part {
  readonly indices: readonly number[];
  /** Batches of the order that are done with it. */
  readonly used: number;
  readonly weight: number;
}

/**
 * Batches of samples, for `kindling/train`. It knows which samples these are; those that could not be read
 * are not among them. Where a pass is taken up again in the middle, batches and their augmentation are those
 * of an unbroken one: both depend on the seed, the epoch and the sample alone.
 */
export class SampleLoader implements AsyncIterable<[inputs: Tensor, targets: Tensor]> {
  readonly ownsBatches = true;
  /** Number of the next pass, from 0. */
  epoch = 0;
  /** Batches that the next pass leaves out because they were done before. */
  startBatch = 0;
  /** Batches of the order that are done with the last one. */
  used = 0;
  /** Of the loss of the last batch, so that the mean over the ranks is that over all samples. */
  weight = 1;
  /** The samples of the last batch. */
  indices: readonly number[] = [];

  constructor(
    readonly samples: Samples,
    private readonly options: BatchOptions,
  ) {}

  /** Batches of the next pass. */
  get length(): number {
    const { batchSize, seed, ranks, turn } = this.options;
    const { length } = this.samples.dataset;
    const worldSize = ranks?.worldSize ?? 1;
    if (seed === undefined)
      return Math.ceil((Math.ceil(length / batchSize) - (ranks?.rank ?? 0)) / worldSize);
    const from = turn?.epoch === this.epoch ? turn : { batches: 0, samples: 0 };
    return from.batches + Math.ceil((length - from.samples) / (batchSize * worldSize));
  }

  /** The number of a sample in the data, by its place among those of this rank that could be read. */
  indexOf(place: number): number {
    const { skipped } = this.samples;
    const all = this.parts(0).flatMap(({ indices }) => indices);
    return all.filter((index) => skipped?.(index) === undefined)[place] ?? place;
  }

  /** What this rank takes in a pass. */
  private parts(epoch: number): Part[] {
    const { batchSize, seed, ranks = null, turn = null } = this.options;
    const { dataset, skipped } = this.samples;
    const { rank, worldSize } = ranks ?? { rank: 0, worldSize: 1 };
    const parts: Part[] = [];
    if (seed === undefined) {
      for (let from = rank * batchSize; from < dataset.length; from += worldSize * batchSize) {
        const count = Math.min(batchSize, dataset.length - from);
        const indices = Array.from({ length: count }, (_, i) => from + i);
        parts.push({ indices, used: parts.length + 1, weight: 1 });
      }
      return parts;
    }
    const order = Array.from(new Random(seed, 0, epoch).permutation(dataset.length));
    let { batches: used, samples: from } = turn?.epoch === epoch ? turn : { batches: 0, samples: 0 };
    // What was done before the turn is only counted.
    for (let i = 0; i < used; i++) parts.push({ indices: [], used: i + 1, weight: 0 });
    for (; from < order.length; from += batchSize * worldSize) {
      used++;
      const all = order.slice(from, from + batchSize * worldSize);
      if (ranks === null) {
        parts.push({ indices: all, used, weight: 1 });
        continue;
      }
      // Those that cannot be read are known before, so that all ranks have as many batches.
      const good = all.filter((index) => skipped?.(index) === undefined);
      const own = good.filter((_, i) => i % worldSize === rank);
      const weight = (own.length * worldSize) / good.length;
      // A rank that is left with nothing lends a hand without weight.
      parts.push({
        indices: own.length > 0 ? own : good.slice(0, 1),
        used,
        weight: own.length > 0 ? weight : 0,
      });
    }
    return parts;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<[Tensor, Tensor], void> {
    const { dataset, skipped, workers: numWorkers = 0 } = this.samples;
    const { epoch, startBatch } = this;
    const parts = this.parts(epoch)
      .slice(startBatch)
      .filter(({ indices }) => indices.length > 0);
    this.used = startBatch;
    this.epoch = epoch + 1;
    if (parts.length === 0) return;
    const batchSampler = parts.map(({ indices }) => indices);
    const loader = new DataLoader(dataset, { batchSampler, seed: this.options.seed ?? 0, numWorkers });
    loader.epoch = epoch;
    const iterator = loader[Symbol.asyncIterator]();
    let at = 0;
    try {
      for (;;) {
        const next = await iterator.next().catch((error: unknown) => {
          throw forTheUser(error);
        });
        if (next.done === true) return;
        this.indices = [];
        // The loader passes over a batch of which no image could be read.
        while (this.indices.length === 0) {
          const { indices, used, weight } = parts[at++] as Part;
          this.indices =
            skipped === undefined ? indices : indices.filter((index) => skipped(index) === undefined);
          [this.used, this.weight] = [used, weight];
        }
        yield next.value as [Tensor, Tensor];
      }
    } finally {
      await iterator.return?.();
    }
  }
}

/** An image file that cannot be decoded. */
export class BadImageError extends CliError {
  /** @param reason what is wrong with which file */
  constructor(
    readonly reason: string,
    options?: ErrorOptions,
  ) {
    super(`${reason}; replace or delete it, or leave such images out with --on-bad-image skip`, options);
  }
}

/** What is wrong with an image file; what is around it speaks to programmers. */
function forTheUser(error: unknown): unknown {
  for (let at = error; at instanceof Error; at = at.cause) {
    const [, reason] = /ImageFolder: (.*?); replace or delete it, or pass/s.exec(at.message) ?? [];
    if (reason !== undefined) return new BadImageError(reason, { cause: error });
  }
  return error;
}
