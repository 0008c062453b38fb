import { DataLoader } from '../data/index.js';
import type { Tensor } from '../tensor/tensor.js';
import type { Samples } from './classes.js';
import { CliError } from './errors.js';

export interface BatchOptions {
  readonly batchSize: number;
  /** Which samples, in which order. Default: all, in theirs. */
  readonly order?: ArrayLike<number>;
  /** Names the random numbers of augmentation, with `epoch`. */
  readonly seed?: number;
  readonly epoch?: number;
  /** Batches of the order that are left out because they were done before. */
  readonly from?: number;
}

export interface LabelledBatch {
  readonly inputs: Tensor;
  readonly targets: Tensor;
  /** Which samples these are; those that could not be read are not among them. */
  readonly indices: readonly number[];
  /** Batches of the order that are done with this one. */
  readonly done: number;
}

/**
 * Batches in a given order that know their samples. Where an order is taken up again in the middle, batches
 * and their augmentation are those of an unbroken pass: both depend on the seed, the epoch and the sample
 * alone.
 */
export async function* batchesOf(samples: Samples, options: BatchOptions): AsyncGenerator<LabelledBatch> {
  const { batchSize, seed = 0, epoch = 0, from = 0 } = options;
  const { dataset, skipped, workers: numWorkers = 0 } = samples;
  const order = Array.from(options.order ?? { length: dataset.length }, (index, i) =>
    options.order === undefined ? i : Number(index),
  );
  const sampler = order.slice(from * batchSize);
  const loader = new DataLoader(dataset, { batchSize, sampler, seed, numWorkers });
  loader.epoch = epoch;
  let done = from;
  const iterator = loader[Symbol.asyncIterator]();
  try {
    for (;;) {
      const next = await iterator.next().catch((error: unknown) => {
        throw forTheUser(error);
      });
      if (next.done === true) return;
      const [inputs, targets] = next.value;
      let indices: number[] = [];
      // The loader passes over a batch of which no image could be read.
      while (indices.length === 0) {
        const all = order.slice(done * batchSize, (done + 1) * batchSize);
        indices = skipped === undefined ? all : all.filter((index) => skipped(index) === undefined);
        done++;
      }
      yield { inputs, targets, indices, done };
    }
  } finally {
    await iterator.return?.();
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
