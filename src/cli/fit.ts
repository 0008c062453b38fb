import { DataLoader } from '../data/index.js';
import { Adam, AdamW, lrScheduler, RMSprop, SGD, type Optimizer } from '../optim/index.js';
import type { TensorModule } from '../nn/index.js';
import type { Tensor } from '../tensor/tensor.js';
import type { Context } from './context.js';
import { Interrupted } from './errors.js';
import { percent } from './output.js';
import { evaluate, trainEpoch, type Labelled } from './training.js';

export const optimizerNames = ['sgd', 'adam', 'adamw', 'rmsprop'] as const;
export const scheduleNames = ['none', 'step', 'cosine', 'exponential'] as const;

export interface OptimizerChoice {
  readonly optimizer: (typeof optimizerNames)[number];
  readonly lr?: number | undefined;
  readonly momentum?: number | undefined;
  readonly weightDecay?: number | undefined;
}

export interface ScheduleChoice {
  readonly schedule: (typeof scheduleNames)[number];
  /** Epochs between two cuts of the learning rate (`step`). */
  readonly stepSize: number;
  /** What it is multiplied by (`step`, `exponential`). */
  readonly gamma: number;
}

/** PyTorch's defaults where it has some; SGD's are those of its transfer-learning tutorial, times 10 in the learning rate. */
export function makeOptimizer(params: readonly Tensor[], choice: OptimizerChoice): Optimizer {
  const { weightDecay } = choice;
  const decay = weightDecay === undefined ? {} : { weightDecay };
  switch (choice.optimizer) {
    case 'sgd':
      return new SGD(params, { lr: choice.lr ?? 0.01, momentum: choice.momentum ?? 0.9, ...decay });
    case 'adam':
      return new Adam(params, { lr: choice.lr ?? 1e-3, ...decay });
    case 'adamw':
      return new AdamW(params, { lr: choice.lr ?? 1e-3, ...decay });
    case 'rmsprop':
      return new RMSprop(params, { lr: choice.lr ?? 1e-3, momentum: choice.momentum ?? 0, ...decay });
  }
}

function makeScheduler(
  optimizer: Optimizer,
  epochs: number,
  choice: ScheduleChoice,
): lrScheduler.LRScheduler | null {
  const { stepSize, gamma } = choice;
  switch (choice.schedule) {
    case 'none':
      return null;
    case 'step':
      return new lrScheduler.StepLR(optimizer, stepSize, { gamma });
    case 'cosine':
      return new lrScheduler.CosineAnnealingLR(optimizer, epochs);
    case 'exponential':
      return new lrScheduler.ExponentialLR(optimizer, gamma);
  }
}

export interface FitOptions extends ScheduleChoice {
  readonly model: TensorModule;
  /** Puts the modules into the modes they are trained in; called before each epoch. */
  readonly trainMode: () => void;
  readonly optimizer: Optimizer;
  readonly train: Labelled;
  readonly validation?: { readonly data: Labelled; readonly labels: Int32Array } | undefined;
  readonly epochs: number;
  readonly batchSize: number;
  readonly seed: number;
  /** Prints a line after every so many epochs and after the last. Default 1. */
  readonly lineEvery?: number;
  /** What stands before such a line. */
  readonly indent?: string;
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

export interface FitResult {
  readonly epochs: readonly EpochReport[];
  /** Ctrl-C ended it early; the epoch under way is not in `epochs`. */
  readonly interrupted: boolean;
}

/** Trains for some epochs, with a line for each. */
export async function fit(context: Context, options: FitOptions): Promise<FitResult> {
  const {
    model,
    optimizer,
    train,
    validation,
    epochs,
    batchSize,
    seed,
    lineEvery = 1,
    indent = '',
  } = options;
  const { output } = context;
  const scheduler = makeScheduler(optimizer, epochs, options);
  const loader = new DataLoader(train, { batchSize, shuffle: true, seed });
  const reports: EpochReport[] = [];
  const digits = String(epochs).length;
  try {
    for (let epoch = 1; epoch <= epochs; epoch++) {
      const label = `${indent}epoch ${String(epoch).padStart(digits)}/${epochs}`;
      const started = performance.now();
      const lr = optimizer.paramGroups[0]?.lr ?? 0;
      options.trainMode();
      const result = await trainEpoch(context, { model, optimizer, loader, epoch, label });
      if (result.interrupted) return { epochs: reports, interrupted: true };
      scheduler?.step();
      let checked = null;
      if (validation !== undefined) {
        model.eval();
        checked = await evaluate(context, model, validation.data, validation.labels, {
          batchSize: Math.max(batchSize, 64),
          label: `${label}, validation`,
        });
      }
      const report: EpochReport = {
        epoch,
        loss: result.loss,
        trainAccuracy: result.correct / result.count,
        validationAccuracy: checked === null ? null : checked.correct / checked.count,
        validationLoss: checked === null ? null : checked.loss,
        lr,
        seconds: (performance.now() - started) / 1000,
      };
      reports.push(report);
      if (epoch % lineEvery === 0 || epoch === epochs) {
        const val = checked === null ? '' : `val ${percent(checked.correct, checked.count)}  `;
        output.line(
          `${label}  loss ${result.loss.toFixed(4)}  train ${percent(result.correct, result.count)}  ${val}` +
            `lr ${Number(lr.toPrecision(3))}  ${report.seconds.toFixed(1)} s`,
        );
      }
    }
  } catch (error) {
    if (!(error instanceof Interrupted)) throw error;
    return { epochs: reports, interrupted: true };
  }
  return { epochs: reports, interrupted: false };
}
