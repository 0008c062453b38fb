import { Random } from '../data/random.js';
import type { Module } from '../nn/index.js';
import { getRngState, setRngState } from '../ops/index.js';
import type { Evaluation } from './evaluation.js';
import type { EpochSums } from './progress.js';

/** Processes that train one model, each on its part of the data: `ranks` of a DistributedDataParallel. */
export interface Ranks {
  /** Number of this process, from 0. */
  readonly rank: number;
  readonly worldSize: number;
  /** Every rank's value, by rank. */
  allGatherObject<T>(value: T): Promise<T[]>;
  /** Rank 0's value. */
  broadcastObject<T>(value: T): Promise<T>;
  /** Rank 0's value, with tensors in it; the others get these on the host. */
  broadcastState(value: unknown): Promise<unknown>;
}

/** Another rank was ended from outside, and this one with it. */
export class OtherRankEndedError extends Error {
  override readonly name = 'OtherRankEndedError';
  constructor() {
    super('another rank was ended from outside');
  }
}

/** What a DistributedDataParallel of `kindling/distributed` is, as seen from here. */
interface Parallel {
  readonly module: Module;
  readonly ranks: Ranks;
  shareBuffers(average: Module | null): void;
  settle(): Promise<void>;
}

const parallelOf = (model: Module): Parallel | null => {
  const { module, ranks, shareBuffers } = model as unknown as Partial<Parallel>;
  return module !== undefined && ranks !== undefined && typeof shareBuffers === 'function'
    ? (model as unknown as Parallel)
    : null;
};

/** The ranks that a model is trained by; null where it is by one. */
export function ranksOf(model: Module, given: Ranks | null | undefined): Ranks | null {
  const ranks = given ?? parallelOf(model)?.ranks ?? null;
  return ranks === null || ranks.worldSize === 1 ? null : ranks;
}

/** The model itself, where averaging over ranks is wrapped around it. */
export const innerOf = <M extends Module>(model: M): M =>
  (parallelOf(model)?.module as M | undefined) ?? model;

/** Running statistics differ between the ranks until rank 0's are those of all. */
export const shareBuffers = (model: Module, average: Module | null): void =>
  parallelOf(model)?.shareBuffers(average);

/** With `findUnusedParameters` gradients can be used from here on. */
export const settled = async (model: Module): Promise<void> => parallelOf(model)?.settle();

/**
 * Random numbers of its own for each rank, all of which follow from rank 0's place in its stream: a state of
 * rank 0 is that of all.
 */
export async function spreadRandom({ rank, broadcastObject }: Ranks): Promise<void> {
  const { seed, offset } = await broadcastObject({ ...getRngState() });
  if (rank === 0) return;
  const random = new Random(seed, rank);
  setRngState({ seed: random.uint32() * 2 ** 21 + (random.uint32() >>> 11), offset });
}

/** What all ranks have seen of an epoch. `before` is of earlier, and in each of the ranks' sums. */
export function joined(before: EpochSums, all: readonly EpochSums[]): EpochSums {
  const add = (total: EpochSums, { count, loss, correct, batches }: EpochSums): EpochSums => ({
    count: total.count + count - before.count,
    loss: total.loss + loss - before.loss,
    correct:
      total.correct === null || correct === null ? null : total.correct + correct - (before.correct ?? 0),
    batches,
  });
  return all.reduce(add, before);
}

/** What a rank says before each step; the others' is looked at after it. */
export interface Word {
  /** It has a batch. */
  readonly more: boolean;
  /** It is to be ended from outside. */
  readonly stop: boolean;
  /** Its keeper wants to write. */
  readonly save: boolean;
}

/** @returns whether one of them is to be ended, or wants to write */
export function agreed(
  words: readonly Word[],
  what: string,
  epoch: number,
  batch: number,
): { readonly stop: boolean; readonly save: boolean } {
  const [ended, on] = [words.findIndex(({ more }) => !more), words.findIndex(({ more }) => more)];
  if (ended >= 0 && on >= 0)
    throw new Error(
      `${what}: the loader of rank ${ended} has ended after ${batch} batches of epoch ${epoch}, and that of rank ${on} goes on; ` +
        'all must have as many: a DistributedSampler sees to that',
    );
  return { stop: words.some(({ stop }) => stop), save: words.some(({ save }) => save) };
}

/** One rank's part of an evaluation; null where it was ended from outside. */
export interface Part extends Omit<Evaluation, 'accuracy' | 'metrics'> {
  readonly samples: number;
  readonly states: Readonly<Record<string, unknown>>;
}

/** The parts as one, in the order of the ranks; of metrics see {@link joinMetrics}. */
export function joinParts(parts: readonly Part[]): Part {
  const sum = (a: number | null, b: number | null): number | null =>
    a === null || b === null ? null : a + b;
  const none: Part = { count: 0, loss: 0, correct: 0, topCorrect: 0, samples: 0, states: {} };
  return parts.reduce(
    (all, part) => ({
      count: all.count + part.count,
      loss: all.loss + part.loss,
      correct: sum(all.correct, part.correct),
      topCorrect: sum(all.topCorrect, part.topCorrect),
      samples: all.samples + part.samples,
      states: {},
    }),
    none,
  );
}

/** A metric whose state can be told to other ranks. */
interface Mergeable {
  stateDict(): Promise<unknown>;
  merge(state: unknown): void;
  reset(): void;
}

/** @throws Error for a metric that knows only what its own rank has seen */
export function requireMergeable(metrics: Readonly<Record<string, object>>): void {
  for (const [name, metric] of Object.entries(metrics)) {
    const { stateDict, merge } = metric as Partial<Mergeable>;
    if (typeof stateDict !== 'function' || typeof merge !== 'function')
      throw new Error(
        `evaluate: metric '${name}' has no stateDict() and merge(state), by which what several ranks have seen becomes one; ` +
          'give one of kindling/metrics, or an object with these',
      );
  }
}

/** The states of metrics, for other ranks. */
export async function statesOf(metrics: Readonly<Record<string, object>>): Promise<Record<string, unknown>> {
  const states: Record<string, unknown> = {};
  for (const [name, metric] of Object.entries(metrics))
    states[name] = await (metric as Mergeable).stateDict();
  return states;
}

/** Each metric becomes what all ranks have seen. */
export function joinMetrics(metrics: Readonly<Record<string, object>>, parts: readonly Part[]): void {
  for (const [name, metric] of Object.entries(metrics)) {
    (metric as Mergeable).reset();
    for (const { states } of parts) (metric as Mergeable).merge(states[name]);
  }
}
