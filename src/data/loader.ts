import { type Batch, type HostBatch, stackSamples, toTensors } from './collate.js';
import type { Dataset } from './dataset.js';
import { entropySeed, Random } from './random.js';

/** Indices into a dataset, in the order to load them. Iterated once per epoch; an array will do. */
export interface Sampler extends Iterable<number> {
  readonly length: number;
}

export interface DataLoaderOptions<T, B> {
  /** Samples per batch. Default 1. */
  readonly batchSize?: number;
  /** A new random order each epoch. Default false. */
  readonly shuffle?: boolean;
  /** Decides which samples come in which order; not together with `shuffle`. */
  readonly sampler?: Sampler;
  /** Leaves out a last batch that is not full. Default false. */
  readonly dropLast?: boolean;
  /** The same seed gives the same order and the same augmentation. Default: random. */
  readonly seed?: number;
  /** Makes a batch of the samples; its result is yielded as it is. Default: stack them to Tensors. */
  readonly collate?: (samples: NonNullable<T>[]) => B | Promise<B>;
  /** Batches made ahead of the one in use. Default 1; 0 makes each batch when it is asked for. */
  readonly prefetch?: number;
  /** Asynchronous samples (image files) under way at once. Default 8. */
  readonly concurrency?: number;
}

function checkCount(name: string, value: number, least: number): number {
  if (!Number.isInteger(value) || value < least) {
    throw new RangeError(`DataLoader: ${name} must be an integer of at least ${least}, got ${value}`);
  }
  return value;
}

/** First stream number of the orders and of the samples, so that they never share random numbers. */
const orderStream = 0;
const sampleStream = 1;

/**
 * Batches of a dataset (PyTorch's `DataLoader`):
 *
 * ```ts
 * const loader = new DataLoader(dataset, { batchSize: 64, shuffle: true, seed: 1 });
 * for await (const [images, labels] of loader) { ... }
 * ```
 *
 * The next batch is made while the current one is in use. Samples that are `null` (see `ImageFolder`) are left out of their batch.
 * Order and augmentation depend on `seed`, `epoch` and the sample only, not on timing.
 */
export class DataLoader<T, B = Batch<T>> implements AsyncIterable<B> {
  readonly batchSize: number;
  readonly dropLast: boolean;
  readonly seed: number;
  /** Number of the next pass over the data; each pass counts it up. Set it to resume a run. */
  epoch = 0;
  private readonly prefetch: number;
  private readonly concurrency: number;
  private readonly shuffle: boolean;
  private readonly sampler: Sampler | undefined;
  private readonly collate: ((samples: NonNullable<T>[]) => B | Promise<B>) | undefined;

  constructor(
    readonly dataset: Dataset<T>,
    options: DataLoaderOptions<T, B> = {},
  ) {
    this.batchSize = checkCount('batchSize', options.batchSize ?? 1, 1);
    this.prefetch = checkCount('prefetch', options.prefetch ?? 1, 0);
    this.concurrency = checkCount('concurrency', options.concurrency ?? 8, 1);
    this.dropLast = options.dropLast ?? false;
    this.seed = options.seed ?? entropySeed();
    this.shuffle = options.shuffle ?? false;
    this.sampler = options.sampler;
    this.collate = options.collate;
    if (this.shuffle && this.sampler !== undefined) {
      throw new Error('DataLoader: `sampler` decides the order itself; leave out `shuffle`');
    }
  }

  /** Batches per epoch. */
  get length(): number {
    const samples = this.sampler?.length ?? this.dataset.length;
    return this.dropLast ? Math.floor(samples / this.batchSize) : Math.ceil(samples / this.batchSize);
  }

  [Symbol.asyncIterator](): AsyncIterableIterator<B, undefined> {
    const epoch = this.epoch++;
    const order = this.order(epoch);
    const batches = Array.from({ length: Math.ceil(order.length / this.batchSize) }, (_, i) =>
      order.slice(i * this.batchSize, (i + 1) * this.batchSize),
    );
    if (this.dropLast && (batches.at(-1)?.length ?? 0) < this.batchSize) batches.pop();
    return new BatchIterator<B>(batches.length, this.prefetch, (batch, isClosed) =>
      this.load(batches[batch]!, epoch, isClosed),
    );
  }

  private order(epoch: number): number[] {
    if (this.sampler !== undefined) return [...this.sampler];
    const n = this.dataset.length;
    return this.shuffle
      ? [...new Random(this.seed, orderStream, epoch).permutation(n)]
      : Array.from({ length: n }, (_, i) => i);
  }

  /** Makes one batch on the host and returns how to finish it, or null where every sample was left out. */
  private async load(
    indices: readonly number[],
    epoch: number,
    isClosed: () => boolean,
  ): Promise<(() => B | Promise<B>) | null> {
    const random = (index: number): Random => new Random(this.seed, sampleStream, epoch, index);
    const { dataset, collate } = this;
    if (collate === undefined && dataset.getBatch !== undefined) {
      const host = await dataset.getBatch(indices, random);
      // Without `collate`, B is Batch<T>.
      return () => toTensors<T>(host) as B;
    }
    const samples = await this.samples(indices, random, isClosed);
    if (samples.length === 0) return null;
    if (collate !== undefined) return () => collate(samples);
    const host = stackSamples(samples) as HostBatch<T>;
    return () => toTensors<T>(host) as B;
  }

  private async samples(
    indices: readonly number[],
    random: (index: number) => Random,
    isClosed: () => boolean,
  ): Promise<NonNullable<T>[]> {
    const samples = new Array<T>(indices.length);
    let next = 0;
    let failed = false;
    const work = async (): Promise<void> => {
      while (next < indices.length && !failed && !isClosed()) {
        const position = next++;
        const index = indices[position]!;
        try {
          const sample = this.dataset.get(index, random(index));
          samples[position] = sample instanceof Promise ? await sample : sample;
        } catch (cause) {
          failed = true;
          const message = cause instanceof Error ? cause.message : String(cause);
          throw new Error(`DataLoader: sample ${index}: ${message}`, { cause });
        }
      }
    };
    await Promise.all(Array.from({ length: Math.min(this.concurrency, indices.length) }, work));
    return samples.filter((sample): sample is NonNullable<T> => sample !== null && sample !== undefined);
  }
}

type Finish<B> = (() => B | Promise<B>) | null;

/** One pass. Batches are started in order, at most `prefetch` ahead; nothing starts after `return`. */
class BatchIterator<B> implements AsyncIterableIterator<B, undefined> {
  private started = 0;
  private readonly ready: Promise<Finish<B>>[] = [];
  private timer: ReturnType<typeof setTimeout> | undefined;
  private closed = false;

  constructor(
    private readonly count: number,
    private readonly prefetch: number,
    private readonly load: (batch: number, isClosed: () => boolean) => Promise<Finish<B>>,
  ) {}

  async next(): Promise<IteratorResult<B, undefined>> {
    try {
      for (;;) {
        if (this.ready.length === 0) this.start();
        const batch = this.ready.shift();
        if (batch === undefined) return { done: true, value: undefined };
        const finish = await batch;
        if (this.closed) return { done: true, value: undefined };
        // In a task of its own, so that synchronous datasets work while the caller waits for the GPU.
        this.timer ??= setTimeout(() => {
          this.timer = undefined;
          while (this.ready.length < this.prefetch && this.start());
        }, 0);
        if (finish !== null) return { done: false, value: await finish() };
      }
    } catch (error) {
      await this.return();
      throw error;
    }
  }

  /** Ends the pass: `break` in a `for await` comes here. Waits for samples under way, so that nothing runs on afterwards. */
  async return(): Promise<IteratorResult<B, undefined>> {
    this.closed = true;
    clearTimeout(this.timer);
    this.timer = undefined;
    await Promise.allSettled(this.ready.splice(0));
    return { done: true, value: undefined };
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  private start(): boolean {
    if (this.closed || this.started >= this.count) return false;
    const batch = this.load(this.started++, () => this.closed);
    // A batch that is never asked for must not count as an unhandled rejection; `next` still sees the error.
    batch.catch(() => undefined);
    this.ready.push(batch);
    return true;
  }
}
