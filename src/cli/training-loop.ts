import { Random } from '../data/index.js';
import type { TensorModule } from '../nn/index.js';
import type { EarlyStopping, Optimizer } from '../optim/index.js';
import type { Context } from './context.js';
import { Interrupted } from './errors.js';
import { percent } from './output.js';
import type { Schedule } from './schedules.js';
import { evaluate, noSums, trainEpoch, type EpochSums, type Samples, type StepRecipe } from './training.js';

/** What one epoch trains: the whole model on images, or its head on features that were made once. */
export interface Stage {
  readonly model: TensorModule;
  readonly train: Samples;
  readonly validation: Samples | null;
  /** What is validated: the model, or a moving average of it. */
  readonly validated?: TensorModule;
  /** Puts the modules into the modes they are trained in. */
  readonly trainMode: () => void;
}

export interface EpochReport {
  readonly epoch: number;
  readonly loss: number;
  readonly trainAccuracy: number;
  readonly validationAccuracy: number | null;
  readonly validationLoss: number | null;
  readonly lr: number;
  readonly seconds: number;
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

export interface FitOptions extends StepRecipe {
  /** Called before each epoch, which is counted from 1. */
  readonly stage: (epoch: number) => Stage;
  readonly optimizer: Optimizer;
  readonly schedule: Schedule | null;
  readonly epochs: number;
  readonly batchSize: number;
  /** Samples at once in validation. */
  readonly validationBatch: number;
  readonly seed: number;
  readonly earlyStopping?: EarlyStopping | null;
  /** Where to go on. */
  readonly from?: Progress;
  /** Called when an epoch has been better than all before, before `onEpoch`. */
  readonly onBest?: (report: EpochReport) => Promise<void>;
  /** Called after every epoch. */
  readonly onEpoch?: (progress: Progress) => Promise<void>;
  /** Called within an epoch, between two batches; asks for the progress only where it needs it. */
  readonly onBatch?: (progress: () => Promise<Progress>) => Promise<void> | void;
  /** Prints a line after every so many epochs and after the last. Default 1. */
  readonly lineEvery?: number;
  /** What stands before such a line. */
  readonly indent?: string;
}

export interface FitResult extends Progress {
  /** Ctrl-C ended it early; the epoch under way is not in `epochs`. */
  readonly interrupted: boolean;
}

/**
 * The order of the samples in an epoch counted from 1: the one that a shuffling DataLoader of this seed
 * gives.
 */
function orderOf(seed: number, epoch: number, count: number): Uint32Array {
  return new Random(seed, 0, epoch - 1).permutation(count);
}

/**
 * Which of two epochs is better: the more accurate one, of equals the one with less loss, of equals the
 * first.
 */
export function isBetter(one: EpochReport, other: EpochReport): boolean {
  const [a, b] = [one, other].map(({ validationAccuracy, validationLoss, loss }) => ({
    accuracy: validationAccuracy ?? 0,
    loss: validationLoss ?? loss,
  })) as [{ accuracy: number; loss: number }, { accuracy: number; loss: number }];
  return a.accuracy > b.accuracy || (a.accuracy === b.accuracy && a.loss < b.loss);
}

/** Trains for some epochs, with a line for each. */
export async function fit(context: Context, options: FitOptions): Promise<FitResult> {
  const { optimizer, schedule, epochs, seed, earlyStopping = null, lineEvery = 1 } = options;
  let progress = options.from ?? atStart;
  const perBatch = schedule !== null && schedule.per === 'batch' ? schedule : null;
  const afterStep =
    perBatch === null
      ? options.afterStep
      : () => {
          options.afterStep?.();
          perBatch.step(NaN);
        };
  try {
    while (!progress.finished) {
      const epoch = progress.epochs.length + 1;
      const started = performance.now() - 1000 * progress.seconds;
      const seconds = (): number => (performance.now() - started) / 1000;
      const label = `${options.indent ?? ''}epoch ${String(epoch).padStart(String(epochs).length)}/${epochs}`;
      // The last group is the head.
      const lr = progress.lr ?? optimizer.paramGroups.at(-1)?.lr ?? 0;
      const { model, train, validation, validated = model, trainMode } = options.stage(epoch);
      trainMode();
      const before = progress;
      const { interrupted, ...sums } = await trainEpoch(context, {
        ...options,
        afterStep,
        model,
        samples: train,
        order: orderOf(seed, epoch, train.dataset.length),
        epoch,
        label,
        sums: before.sums,
        pause: async (settled) => {
          await options.onBatch?.(async () => ({ ...before, sums: await settled(), seconds: seconds(), lr }));
          return false;
        },
      });
      progress = { ...before, sums, seconds: seconds(), lr };
      if (interrupted) return { ...progress, interrupted };
      let checked = null;
      if (validation !== null) {
        validated.eval();
        checked = await evaluate(context, validated, validation, {
          batchSize: options.validationBatch,
          label: `${label}, validation`,
        });
      }
      const report: EpochReport = {
        epoch,
        loss: sums.loss / sums.count,
        trainAccuracy: sums.correct / sums.count,
        validationAccuracy: checked === null ? null : checked.correct / checked.count,
        validationLoss: checked === null ? null : checked.loss,
        lr,
        seconds: seconds(),
      };
      if (schedule !== null && schedule.per === 'epoch') schedule.step(report.validationLoss ?? report.loss);
      const best = progress.epochs[progress.bestEpoch - 1];
      const improved = best === undefined || isBetter(report, best);
      const stop = earlyStopping?.step(report.validationLoss ?? report.loss) ?? false;
      progress = {
        epochs: [...progress.epochs, report],
        sums: noSums,
        seconds: 0,
        lr: null,
        bestEpoch: improved ? epoch : progress.bestEpoch,
        finished: epoch >= epochs || stop,
      };
      if (improved) await options.onBest?.(report);
      await options.onEpoch?.(progress);
      if (epoch % lineEvery === 0 || progress.finished) {
        const val = checked === null ? '' : `val ${percent(checked.correct, checked.count)}  `;
        context.output.line(
          `${label}  loss ${report.loss.toFixed(4)}  train ${percent(sums.correct, sums.count)}  ${val}` +
            `lr ${Number(lr.toPrecision(3))}  ${report.seconds.toFixed(1)} s`,
        );
      }
      if (stop && epoch < epochs)
        context.output.line(`stopped early: no improvement for ${earlyStopping?.patience} epochs`);
    }
  } catch (error) {
    if (!(error instanceof Interrupted)) throw error;
    return { ...progress, interrupted: true };
  }
  return { ...progress, interrupted: false };
}
