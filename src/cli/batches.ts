import { DataLoader, Random } from '../data/index.js';
import type { Tensor } from '../tensor/tensor.js';
import type { Samples } from './classes.js';
import { CliError } from './errors.js';

export interface BatchOptions {
  readonly batchSize: number;
  /** Shuffles, as a DataLoader of this seed would; names the random numbers of augmentation too. */
  readonly seed?: number;
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
  /** The samples of the last batch. */
  indices: readonly number[] = [];

  constructor(
    readonly samples: Samples,
    private readonly options: BatchOptions,
  ) {}

  /** Batches of a pass. */
  get length(): number {
    return Math.ceil(this.samples.dataset.length / this.options.batchSize);
  }

  /** The number of a sample in the data, by its place among those that could be read. */
  indexOf(place: number): number {
    const { labels, skipped } = this.samples;
    return [...labels.keys()].filter((index) => skipped?.(index) === undefined)[place] ?? place;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<[Tensor, Tensor], void> {
    const { batchSize, seed } = this.options;
    const { dataset, skipped, workers: numWorkers = 0 } = this.samples;
    const { epoch, startBatch } = this;
    const count = dataset.length;
    const order =
      seed === undefined
        ? Array.from({ length: count }, (_, i) => i)
        : Array.from(new Random(seed, 0, epoch).permutation(count));
    const sampler = order.slice(startBatch * batchSize);
    this.used = startBatch;
    if (sampler.length === 0) return;
    const loader = new DataLoader(dataset, { batchSize, sampler, seed: seed ?? 0, numWorkers });
    loader.epoch = epoch;
    const iterator = loader[Symbol.asyncIterator]();
    try {
      for (;;) {
        const next = await iterator.next().catch((error: unknown) => {
          throw forTheUser(error);
        });
        if (next.done === true) return;
        this.indices = [];
        // The loader passes over a batch of which no image could be read.
        while (this.indices.length === 0) {
          const all = order.slice(this.used * batchSize, (this.used + 1) * batchSize);
          this.indices = skipped === undefined ? all : all.filter((index) => skipped(index) === undefined);
          this.used++;
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
