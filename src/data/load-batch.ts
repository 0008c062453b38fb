import type { Dataset } from './dataset.js';
import { Random } from './random.js';

/** First stream number of the orders and of the samples, so that they never share random numbers. */
export const orderStream = 0;
const sampleStream = 1;

/** A batch to make: which samples, and which random numbers they see. */
export interface BatchRequest {
  readonly indices: readonly number[];
  readonly seed: number;
  readonly epoch: number;
  /** Asynchronous samples under way at once. */
  readonly concurrency: number;
  /** Gives the samples even where the dataset can build whole batches. */
  readonly samplesOnly: boolean;
}

/** What a dataset gave: samples (without those that are null), or a whole batch. */
export type Loaded<T> = { readonly samples: NonNullable<T>[] } | { readonly batch: unknown };

/** Loads a batch's samples, here or in a worker thread; `isClosed` stops it early. */
export async function loadBatch<T>(
  dataset: Dataset<T>,
  request: BatchRequest,
  isClosed: () => boolean,
): Promise<Loaded<T>> {
  const { indices, seed, epoch, concurrency } = request;
  const random = (index: number): Random => new Random(seed, sampleStream, epoch, index);
  if (dataset.getBatch !== undefined && !request.samplesOnly) {
    return { batch: await dataset.getBatch(indices, random) };
  }
  const samples = new Array<T>(indices.length);
  let next = 0;
  let failed = false;
  const work = async (): Promise<void> => {
    while (next < indices.length && !failed && !isClosed()) {
      const position = next++;
      const index = indices[position]!;
      try {
        const sample = dataset.get(index, random(index));
        samples[position] = sample instanceof Promise ? await sample : sample;
      } catch (cause) {
        failed = true;
        const message = cause instanceof Error ? cause.message : String(cause);
        throw new Error(`DataLoader: sample ${index}: ${message}`, { cause });
      }
    }
  };
  await Promise.all(Array.from({ length: Math.min(concurrency, indices.length) }, work));
  return {
    samples: samples.filter((sample): sample is NonNullable<T> => sample !== null && sample !== undefined),
  };
}
