import { DataLoader } from '../data/loader.js';
import { isTensor, type Tensor } from '../tensor/tensor.js';
import { requireLoader } from './checks.js';

/** What a model is trained or measured on at once: its input, what should come out, and what you like. */
export type TrainBatch = readonly [inputs: Tensor, targets: Tensor, ...rest: unknown[]];

/**
 * Where batches come from: a `DataLoader`, a list of batches, or anything else that gives them anew each time
 * it is gone through.
 *
 * `epoch` and `startBatch`, where a loader has both, are set before each pass, so that passes are numbered as
 * epochs are (from 0) and one can begin in the middle. Without them a pass that is taken up again leaves out
 * the batches that were done.
 */
export type Loader = (AsyncIterable<TrainBatch> | Iterable<TrainBatch>) & LoaderFields;

interface LoaderFields {
  /** Batches of an epoch. */
  readonly length?: number;
  /** Number of the next pass, from 0. */
  epoch?: number;
  /** Batches that the next pass leaves out. */
  startBatch?: number;
  /**
   * Batches that are done with the one that was given last, for loaders that pass over some; by default
   * batches are counted.
   */
  readonly used?: number;
  /**
   * With several ranks: the factor of the loss of the batch that was given last, such that the mean over the
   * ranks is the mean over the samples of all; 0 for one that only fills a place, and does not count. Default
   * 1.
   */
  readonly weight?: number;
  /** What the order is drawn from; kept in the state of a training where `loadState` can put it back. */
  readonly seed?: number;
  state?(): { readonly batch: number };
  loadState?(state: { readonly seed: number; readonly epoch: number; readonly batch: number }): void;
  /**
   * Whether the batches' tensors are made for this pass, and so are freed when they were used. Default: as it
   * is for a `DataLoader` without `collate`; else false.
   */
  readonly ownsBatches?: boolean;
}

export const ownsBatches = (loader: Loader): boolean =>
  loader.ownsBatches ?? (loader instanceof DataLoader && loader['collate'] === undefined);

/** A batch of a pass. */
export interface Placed {
  readonly batch: TrainBatch;
  /** Batches of the pass that are done with this one. */
  readonly done: number;
  /** Factor of its loss. */
  readonly weight: number;
}

/**
 * The batches of one pass.
 *
 * @param epoch from 1
 * @param from batches that were done before
 * @throws Error for what is no batch
 */
export async function* passOf(
  what: string,
  loader: Loader,
  epoch: number,
  from: number,
): AsyncGenerator<Placed, void> {
  requireLoader(what, loader);
  const placed = loader.epoch !== undefined && loader.startBatch !== undefined;
  if (placed) {
    loader.epoch = epoch - 1;
    loader.startBatch = from;
  }
  let done = placed ? from : 0;
  const own = ownsBatches(loader);
  for await (const batch of loader) {
    checkBatch(what, batch);
    done = loader.used ?? loader.state?.().batch ?? done + 1;
    if (placed || done > from) yield { batch, done, weight: loader.weight ?? 1 };
    else if (own) disposeBatch(batch);
  }
  if (!placed && done < from) throw tooShort(what, epoch, from, done);
}

/** For a pass that is taken up behind its end. */
export const tooShort = (what: string, epoch: number, from: number, batches: number): Error =>
  new Error(
    `${what}: ${from} batches of epoch ${epoch} are done, but the loader has only ${batches}; give the loader that the training was begun with`,
  );

export function checkBatch(what: string, batch: unknown): asserts batch is TrainBatch {
  if (!Array.isArray(batch) || !isTensor(batch[0]) || !isTensor(batch[1])) {
    const found = Array.isArray(batch) ? 'a list of something else' : typeof batch;
    throw new Error(
      `${what}: a batch must be [inputs, targets], two tensors, and is ${found}; give the DataLoader a dataset of pairs, or a \`collate\``,
    );
  }
  const [inputs, targets] = batch as unknown as TrainBatch;
  if (inputs.shape[0] !== targets.shape[0]) {
    throw new Error(
      `${what}: a batch has inputs [${inputs.shape.join(', ')}] and targets [${targets.shape.join(', ')}]; their first sizes, the samples, must be the same`,
    );
  }
}

/** Frees the tensors of a batch. */
export function disposeBatch(batch: readonly unknown[]): void {
  for (const item of new Set(batch)) if (isTensor(item)) item.dispose();
}

/** @throws Error for a pass that gave nothing */
export const noBatches = (what: string, epoch?: number): Error =>
  new Error(
    `${what}: the loader gave no batch${epoch === undefined ? '' : ` in epoch ${epoch}`}; is the dataset empty, or every sample left out? A generator can ` +
      'be gone through only once: pass an object that makes one, { [Symbol.asyncIterator]: () => batches() }',
  );
