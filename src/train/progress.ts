/** What an epoch has come to so far. */
export interface EpochSums {
  /** Samples seen that count: a label of -100 is left out, a share where a sample has several labels. */
  readonly count: number;
  /** Sum over the samples, each measured before the step that it was part of. */
  readonly loss: number;
  /** Samples that were classified right; null where the outputs are no scores of classes. */
  readonly correct: number | null;
  /** Batches done. */
  readonly batches: number;
}

export const noSums: EpochSums = { count: 0, loss: 0, correct: 0, batches: 0 };

/** An epoch, as the history has it. */
export interface EpochReport {
  /** From 1. */
  readonly epoch: number;
  /** Mean over the samples that count, each measured before the step that it was part of. */
  readonly loss: number;
  /** Share of them, measured so; null where the outputs are no scores of classes. */
  readonly trainAccuracy: number | null;
  readonly validationAccuracy: number | null;
  /** Null without validation data. */
  readonly validationLoss: number | null;
  /** The learning rate that the epoch began with, of the last parameter group. */
  readonly lr: number;
  readonly seconds: number;
  /** What the metrics came to on the validation data, where there are metrics. */
  readonly metrics?: Readonly<Record<string, unknown>>;
}

/** How far a training has come: plain data, all that is needed beside weights and optimizer to go on. */
export interface Progress {
  /** The epochs that are done. */
  readonly epochs: readonly EpochReport[];
  /** Of the epoch under way. */
  readonly sums: EpochSums;
  /** Seconds spent in the epoch under way. */
  readonly seconds: number;
  /** The learning rate that the epoch under way began with; null where none is under way. */
  readonly lr: number | null;
  /** Number of the best epoch so far, from 1; 0 before the first. */
  readonly bestEpoch: number;
  /** All epochs are done, or early stopping has ended the training. */
  readonly finished: boolean;
}

export const atStart: Progress = {
  epochs: [],
  sums: noSums,
  seconds: 0,
  lr: null,
  bestEpoch: 0,
  finished: false,
};

/** What a training has come to. */
export interface FitResult extends Progress {
  /** It was ended from outside; the epoch under way is not in `epochs`. */
  readonly interrupted: boolean;
}

/**
 * Which of two epochs is better: the more accurate one on the validation data, of equals the one with less
 * loss, of equals the first.
 */
export function isBetter(one: EpochReport, other: EpochReport): boolean {
  const measure = ({ validationAccuracy, validationLoss, loss }: EpochReport): [number, number] => [
    validationAccuracy ?? 0,
    validationLoss ?? loss,
  ];
  const [accuracy, loss] = measure(one);
  const [otherAccuracy, otherLoss] = measure(other);
  return accuracy > otherAccuracy || (accuracy === otherAccuracy && loss < otherLoss);
}
