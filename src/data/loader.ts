import { type Batch, type HostBatch, stackSamples, toTensors } from './collate.js';
import type { Dataset } from './dataset.js';
import { type BatchRequest, loadBatch, type Loaded, orderStream } from './load-batch.js';
import type { WorkerPool } from './node/worker-pool.js';
import { derivedSeed } from './derived-seed.js';
import { Random } from './random.js';
import {
  BatchSampler,
  type BatchesOfIndices,
  checkBatches,
  RandomSampler,
  type Sampler,
  SequentialSampler,
} from './samplers.js';
import { lineOf } from '../tensor/line.js';
import { optionReader, requireBoolean, type Trailing } from '../tensor/options.js';

export interface DataLoaderOptions<T, B> {
  /** Samples per batch. Default 1. */
  readonly batchSize?: number;
  /** A new random order each epoch. Default false. */
  readonly shuffle?: boolean;
  /** Decides which samples come in which order; not together with `shuffle`. */
  readonly sampler?: Sampler;
  /**
   * Decides which samples make up which batch; not together with `batchSize`, `shuffle`, `sampler` and
   * `dropLast`.
   */
  readonly batchSampler?: BatchesOfIndices;
  /** Leaves out a last batch that is not full. Default false. */
  readonly dropLast?: boolean;
  /**
   * The same seed gives the same order and the same augmentation. Default: one that follows from the seed of
   * `manualSeed` and from how many loaders were made without one since.
   */
  readonly seed?: number;
  /**
   * Makes a batch of the samples, in this thread; its result is yielded as it is. Default: stack them to
   * Tensors.
   */
  readonly collate?: (samples: NonNullable<T>[]) => B | Promise<B>;
  /**
   * Threads that load and transform samples (only in Node). Default 0: this thread does it, while it waits
   * for the device; files are decoded in threads of the decoder's own all the same. The dataset must be one
   * that can be sent (see `Portable`); batches are the same bit for bit.
   */
  readonly numWorkers?: number;
  /** Keeps the workers for the next epoch; `close()` ends them. Default false. */
  readonly persistentWorkers?: boolean;
  /** Batches made ahead of the one in use: in all, or per worker. Default 1 without workers, 2 with them. */
  readonly prefetchFactor?: number;
  /** Asynchronous samples (image files) under way at once, in each thread. Default 8. */
  readonly concurrency?: number;
}

/** Where a run stands: what `loadState` needs to go on with the batch after the last one that was used. */
export interface LoaderState {
  readonly seed: number;
  readonly epoch: number;
  /** Batches of that epoch that have been used. */
  readonly batch: number;
}

const readLoader = optionReader<object>(
  'DataLoader',
  Object.fromEntries(
    [
      'batchSize',
      'shuffle',
      'sampler',
      'batchSampler',
      'dropLast',
      'seed',
      'collate',
      'numWorkers',
      'persistentWorkers',
      'prefetchFactor',
      'concurrency',
    ].map((key) => [key, undefined]),
  ),
);

function checkCount(name: string, value: number, least: number): number {
  if (!Number.isInteger(value) || value < least) {
    throw new RangeError(`DataLoader: ${name} must be an integer of at least ${least}, got ${String(value)}`);
  }
  return value;
}

/** Makes the sampler of batches that the options ask for. */
function batchesOf<T, B>(dataset: Dataset<T>, options: DataLoaderOptions<T, B>): BatchesOfIndices {
  const { batchSampler, sampler, batchSize, shuffle = false, dropLast = false } = options;
  if (batchSampler !== undefined) {
    if (batchSize !== undefined || sampler !== undefined || shuffle || dropLast) {
      throw new Error(
        'DataLoader: `batchSampler` decides the batches itself; leave out `batchSize`, `sampler`, `shuffle` and `dropLast`',
      );
    }
    return batchSampler;
  }
  checkCount('batchSize', batchSize ?? 1, 1);
  if (shuffle && sampler !== undefined) {
    throw new Error('DataLoader: `sampler` decides the order itself; leave out `shuffle`');
  }
  const order = sampler ?? (shuffle ? new RandomSampler(dataset) : new SequentialSampler(dataset));
  return new BatchSampler(order, batchSize ?? 1, dropLast);
}

/**
 * Batches of a dataset (PyTorch's `DataLoader`):
 *
 * ```ts
 * const loader = new DataLoader(dataset, { batchSize: 64, shuffle: true, seed: 1 });
 * for await (const [images, labels] of loader) { ... }
 * ```
 *
 * The next batch is made while the current one is in use. Samples that are `null` (see `ImageFolder`) are
 * left out of their batch. Order and augmentation depend on `seed`, `epoch` and the sample only, not on
 * timing or the number of workers; `state()` and `loadState()` continue an interrupted run, also in the
 * middle of an epoch.
 */
export class DataLoader<T, B = Batch<T>> implements AsyncIterable<B> {
  /** Undefined where a `batchSampler` decides. */
  readonly batchSize: number | undefined;
  readonly dropLast: boolean;
  /** Number of the next pass over the data; each pass counts it up. Set it to resume a run. */
  epoch = 0;
  /**
   * Batches that the next pass leaves out (without loading them), to resume in the middle of an epoch; it
   * then is 0 again.
   */
  startBatch = 0;
  private seedInUse: number;
  private readonly batches: BatchesOfIndices;
  private readonly ahead: number;
  private readonly concurrency: number;
  private readonly numWorkers: number;
  private readonly persistentWorkers: boolean;
  private readonly collate: ((samples: NonNullable<T>[]) => B | Promise<B>) | undefined;
  private pass: BatchIterator<B> | undefined;
  private pool: Promise<WorkerPool> | undefined;

  constructor(
    readonly dataset: Dataset<T>,
    ...args: Trailing<[], DataLoaderOptions<T, B>>
  ) {
    readLoader(args);
    const [options = {}] = args;
    for (const key of ['shuffle', 'dropLast', 'persistentWorkers'] as const)
      if (options[key] !== undefined) requireBoolean(`DataLoader: ${key}`, options[key]);
    this.batches = batchesOf(dataset, options);
    this.batchSize = options.batchSampler === undefined ? (options.batchSize ?? 1) : undefined;
    this.dropLast = options.dropLast ?? false;
    this.numWorkers = checkCount('numWorkers', options.numWorkers ?? 0, 0);
    this.persistentWorkers = options.persistentWorkers ?? false;
    const factor = checkCount('prefetchFactor', options.prefetchFactor ?? (this.numWorkers > 0 ? 2 : 1), 0);
    this.ahead = this.numWorkers > 0 ? this.numWorkers * Math.max(factor, 1) : factor;
    this.concurrency = checkCount('concurrency', options.concurrency ?? 8, 1);
    this.seedInUse = options.seed ?? derivedSeed();
    this.collate = options.collate;
  }

  /** The class with its dataset, its options, and the pass that comes next. */
  toString(): string {
    const { dataset, batches, batchSize, dropLast, numWorkers, length, epoch, startBatch } = this;
    const sampler = batches instanceof BatchSampler ? batches.sampler : batches;
    return lineOf('DataLoader', {
      dataset,
      sampler,
      batchSize,
      dropLast: dropLast || undefined,
      numWorkers: numWorkers || undefined,
      length,
      epoch,
      startBatch: startBatch || undefined,
    });
  }

  [Symbol.for('nodejs.util.inspect.custom')](): string {
    return this.toString();
  }

  /** Batches per epoch. */
  get length(): number {
    return this.batches.length;
  }

  /** Set by the options, or by what `manualSeed` was given. */
  get seed(): number {
    return this.seedInUse;
  }

  /** Where the run stands: in the middle of a pass, or before the next one. */
  state(): LoaderState {
    const { seed, pass } = this;
    if (pass === undefined || pass.finished) return { seed, epoch: this.epoch, batch: this.startBatch };
    return { seed, epoch: this.epoch - 1, batch: pass.used };
  }

  /**
   * Continues where `state()` was taken: the next pass begins with the batch after the last one that was
   * used.
   */
  loadState({ seed, epoch, batch }: LoaderState): void {
    new Random(seed);
    this.epoch = checkCount('state.epoch', epoch, 0);
    this.startBatch = checkCount('state.batch', batch, 0);
    this.seedInUse = seed;
    this.pass = undefined;
  }

  [Symbol.asyncIterator](): AsyncIterableIterator<B, undefined> {
    const epoch = this.epoch++;
    const first = this.startBatch;
    this.startBatch = 0;
    const order = this.batches.order?.(new Random(this.seed, orderStream, epoch)) ?? this.batches;
    const batches = Array.from(order);
    checkBatches(batches, this.dataset.length);
    if (first > batches.length) {
      throw new RangeError(`DataLoader: startBatch is ${first}, but an epoch has ${batches.length} batches`);
    }
    const pool = this.numWorkers > 0 && first < batches.length ? this.startWorkers() : undefined;
    const load = async (batch: number, isClosed: () => boolean): Promise<Finish<B>> => {
      const request: BatchRequest = {
        indices: batches[batch]!,
        seed: this.seed,
        epoch,
        concurrency: this.concurrency,
        samplesOnly: this.collate !== undefined,
      };
      const loaded =
        pool === undefined
          ? await loadBatch(this.dataset, request, isClosed)
          : ((await (await pool).load(request)) as Loaded<T>);
      return this.finish(loaded);
    };
    const end = async (): Promise<void> => {
      if (pool !== undefined && !this.persistentWorkers) await this.endWorkers(pool);
    };
    this.pass = new BatchIterator<B>(first, batches.length, this.ahead, load, end);
    return this.pass;
  }

  /** Ends workers that were kept for the next epoch. */
  async close(): Promise<void> {
    await this.pass?.return();
    if (this.pool !== undefined) await this.endWorkers(this.pool);
  }

  private startWorkers(): Promise<WorkerPool> {
    const started =
      this.pool ??
      // Imported only here: a browser has no worker threads of Node's.
      import('./node/worker-pool.js').then(({ WorkerPool }) => new WorkerPool(this.dataset, this.numWorkers));
    if (this.persistentWorkers) this.pool = started;
    // The error is thrown by the batch that waits for the workers.
    started.catch(() => undefined);
    return started;
  }

  private async endWorkers(pool: Promise<WorkerPool>): Promise<void> {
    if (this.pool === pool) this.pool = undefined;
    const running = await pool.catch(() => undefined);
    await running?.close();
  }

  /** How to finish a batch once it is asked for, or null where every sample was left out. */
  private finish(loaded: Loaded<T>): Finish<B> {
    // Without `collate`, B is Batch<T>.
    if ('batch' in loaded) return () => toTensors<T>(loaded.batch as HostBatch<T>) as B;
    const { samples } = loaded;
    if (samples.length === 0) return null;
    const { collate } = this;
    if (collate !== undefined) return () => collate(samples);
    const host = stackSamples(samples) as HostBatch<T>;
    return () => toTensors<T>(host) as B;
  }
}

type Finish<B> = (() => B | Promise<B>) | null;

/** One pass. Batches are started in order, at most `ahead` ahead; nothing starts after `return`. */
class BatchIterator<B> implements AsyncIterableIterator<B, undefined> {
  /** Batches before the next one to give out. */
  used: number;
  finished = false;
  private started: number;
  private readonly ready: Promise<Finish<B>>[] = [];
  private timer: ReturnType<typeof setTimeout> | undefined;
  private closed = false;
  private ended: Promise<void> | undefined;

  constructor(
    first: number,
    private readonly count: number,
    private readonly ahead: number,
    private readonly load: (batch: number, isClosed: () => boolean) => Promise<Finish<B>>,
    private readonly end: () => Promise<void>,
  ) {
    this.used = first;
    this.started = first;
  }

  async next(): Promise<IteratorResult<B, undefined>> {
    try {
      for (;;) {
        if (this.ready.length === 0) this.start();
        const batch = this.ready.shift();
        if (batch === undefined) {
          this.finished ||= this.used === this.count;
          return await this.return();
        }
        const finish = await batch;
        if (this.closed) return { done: true, value: undefined };
        // In a task of its own, so that synchronous datasets work while the caller waits for the GPU.
        this.timer ??= setTimeout(() => {
          this.timer = undefined;
          while (this.ready.length < this.ahead && this.start());
        }, 0);
        this.used++;
        if (finish !== null) return { done: false, value: await finish() };
      }
    } catch (error) {
      await this.return();
      throw error;
    }
  }

  /**
   * Ends the pass: `break` in a `for await` comes here. Waits for samples under way, so that nothing runs on
   * afterwards.
   */
  async return(): Promise<IteratorResult<B, undefined>> {
    this.closed = true;
    clearTimeout(this.timer);
    this.timer = undefined;
    const ended = (this.ended ??= this.end());
    await Promise.allSettled([...this.ready.splice(0), ended]);
    await ended;
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
