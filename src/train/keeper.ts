import type { Module } from '../nn/index.js';
import type { EpochReport, Progress } from './progress.js';

/**
 * Everything of a training that changes, under the names of a checkpoint: plain values, tensors, and Maps,
 * lists and objects of those. The tensors are handles of their own, to be disposed.
 */
export interface TrainingState {
  /** What training changes of the model. */
  readonly model: ReadonlyMap<string, unknown>;
  readonly average: ReadonlyMap<string, unknown> | null;
  readonly optimizer: unknown;
  readonly scaler: unknown;
  readonly schedule: unknown;
  readonly early_stopping: unknown;
  readonly random: unknown;
  /** A `Progress` as JSON, which is read back as it was written. */
  readonly progress: string;
  /** What the order of the batches is drawn from, where the loader tells it. */
  readonly loader?: { readonly seed: number };
}

/** A training as those see it who write it down. */
export interface Kept {
  /** What is validated and saved as weights: the model, or a moving average of it. */
  readonly saved: Module;
  /** Keys of its state that training may change. */
  readonly savedKeys: ReadonlySet<string>;
  /** The state at this place; between two steps only. */
  stateAt(progress: Progress): TrainingState;
}

/** Writes a training down as it goes on: what `Trainer.fit` takes as `folder` makes one. */
export interface Keeper {
  /** Called before the first step; `resumed` where the state was taken up from what was written before. */
  start(progress: Progress, resumed: boolean): Promise<void>;
  /** Called when an epoch has been better than all before, before `epoch`. */
  best(report: EpochReport): Promise<void>;
  /** Called after every epoch. */
  epoch(report: EpochReport, progress: Progress): Promise<void>;
  /** Called within an epoch, between two steps; asks for the progress only where it needs it. */
  batch(progress: () => Promise<Progress>): Promise<void>;
  /**
   * With several ranks, which have to come together for the progress: whether `batch` would ask for it now. A
   * keeper without it is not called within epochs then.
   */
  due?(): boolean;
  /** Called when the training is ended from outside. */
  interrupted(progress: Progress): Promise<void>;
}

/** A place for a training: `RunFolder` of `kindling/train/node`, or your own. */
export interface TrainingFolder {
  keep(training: Kept): Keeper;
}

/** Where a training is taken up from. */
export interface SavedTraining {
  readonly state: unknown;
  /** All weights; those that are not in the state stand still. */
  readonly weights: ReadonlyMap<string, unknown> | null;
}

/** A folder that gives back what was kept. */
export interface ResumableFolder extends TrainingFolder {
  /** Null where nothing was kept yet. */
  load(): Promise<SavedTraining | null>;
}
