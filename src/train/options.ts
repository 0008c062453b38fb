import type { Module } from '../nn/index.js';
import type { EarlyStopping } from '../optim/early-stopping.js';
import { LBFGS } from '../optim/lbfgs.js';
import { Optimizer } from '../optim/optimizer.js';
import type { AveragedModel } from '../optim/swa-utils.js';
import { closeNames } from '../tensor/close-names.js';
import {
  requireClassWeights,
  requireLoader,
  requireMethods,
  requireMetrics,
  requireModule,
  requireOptions,
  shown,
} from './checks.js';
import type { Metrics, Scored } from './evaluate.js';
import type { Callbacks } from './events.js';
import type { TrainingFolder } from './keeper.js';
import type { Loader } from './loader.js';
import type { EpochReport } from './progress.js';
import { ranksOf, requireMergeable, type Ranks } from './ranks.js';
import type { AnyScheduler, Schedule, Watch } from './schedule.js';
import type { Tensor } from '../tensor/tensor.js';
import type { LossFunction, StepRecipe, Trainable } from './step.js';

/** What an epoch trains, where that is not the model on the loaders of `fit`. */
export interface Stage<O = Tensor> {
  /** A part of the model: its head on features that were made once, for one. */
  readonly model?: Trainable<O> | undefined;
  /** What is validated. Default: `model`, or the same part of the average. */
  readonly validated?: Trainable<O> | undefined;
  readonly train?: Loader | undefined;
  readonly validation?: Loader | undefined;
}

/**
 * How a model is trained. What is not given is not done.
 *
 * @typeParam O what the model returns, which `loss` is given: a tensor, or tensors in a list or under names
 */
export interface TrainerOptions<O = Tensor> extends Omit<StepRecipe<O>, 'afterStep'> {
  readonly model: Trainable<O>;
  readonly optimizer: Optimizer;
  /** Of the validation. Default: `loss`; without one plain cross-entropy. */
  readonly validationLoss?: LossFunction<O> | undefined;
  /** A scheduler, or one with when it steps (`scheduleOf`). */
  readonly scheduler?: AnyScheduler | Schedule | null | undefined;
  readonly earlyStopping?: EarlyStopping | null | undefined;
  /**
   * What early stopping and ReduceLROnPlateau look at. Default: the validation loss, or in mode `max` the
   * validation accuracy.
   */
  readonly watch?: Watch | undefined;
  /** Whether an epoch is better than another. Default: `isBetter`. */
  readonly better?: ((one: EpochReport, other: EpochReport) => boolean) | undefined;
  /**
   * A moving average of the weights, which is validated and saved as weights in the model's place: its decay,
   * such as 0.999, or a model that averages.
   */
  readonly ema?: number | AveragedModel<Trainable<O>> | null | undefined;
  /** Mixed precision, with a GradScaler where none is given. */
  readonly amp?: boolean | undefined;
  /** Batches whose gradients make one step, in the mean. Default 1. */
  readonly accumulate?: number | undefined;
  /** Measured in the validation, for the reports. */
  readonly metrics?: Metrics<Scored<O>> | undefined;
  /** Puts the modules into the modes that they are trained in. Default: `model.train()`. */
  readonly trainMode?: ((model: Trainable<O>, epoch: number) => void) | undefined;
  /**
   * Called before each epoch (from 1), after `trainMode`: freezes and unfreezes, sets modes and rates. What
   * it returns is trained in this epoch; loaders that shuffle should have a seed. It is called again for an
   * epoch that is gone on with.
   */
  readonly onEpochStart?: ((epoch: number) => Stage<O> | void | Promise<Stage<O> | void>) | undefined;
  /**
   * Keys of the model's state that training may change, which is all that a state holds of it; the others
   * must come with the model. Default: all.
   */
  readonly changing?: ReadonlySet<string> | undefined;
  /**
   * The processes that train together, each with a Trainer of the same options and a loader of its part of
   * the data. Default: those of a `model` that is a DistributedDataParallel. They stop, save and measure
   * together; only rank 0 needs a `folder`.
   */
  readonly ranks?: Ranks | null | undefined;
}

export interface FitOptions extends Callbacks {
  /** Of the whole training, with those that are done. */
  readonly epochs: number;
  readonly validation?: Loader | null | undefined;
  /** Ends it between two steps when it is aborted, or between two batches of validation. */
  readonly signal?: AbortSignal | undefined;
  /** Where it is written down. */
  readonly folder?: TrainingFolder | null | undefined;
  /** Batches between two `step` events. Default: up to ten events in a second. */
  readonly stepEvery?: number | undefined;
}

const trainerKeys = [
  ...['model', 'optimizer', 'loss', 'labelSmoothing', 'classWeights', 'mix', 'clipGradNorm', 'scaler'],
  ...['validationLoss', 'scheduler', 'earlyStopping', 'watch', 'better', 'ema', 'amp', 'accumulate'],
  ...['metrics', 'trainMode', 'onEpochStart', 'changing', 'ranks'],
];
const fitKeys = [
  ...['epochs', 'validation', 'signal', 'folder', 'stepEvery'],
  ...['onStart', 'onStep', 'onEpoch', 'onBest', 'onEnd'],
];

export const aFolder = 'give await RunFolder.openOrCreate(path), of kindling/train/node';

/** Options may hold what has a class of its own, so they are checked by name alone. */
export function checkKeys(where: string, options: object, known: readonly string[]): void {
  for (const key of Object.keys(options)) {
    if (known.includes(key)) continue;
    const close = closeNames(key, known).map((name) => `'${name}'`);
    throw new Error(
      `${where}: unknown option '${key}'${close.length > 0 ? `; did you mean ${close.join(' or ')}?` : ''}`,
    );
  }
}

function requireFunction(where: string, name: string, value: unknown): void {
  if (value !== undefined && typeof value !== 'function')
    throw new Error(`${where}: \`${name}\` must be a function, and is ${shown(value)}`);
}

/** @throws Error for an optimizer that trains another model */
function checkOwner(model: Module, optimizer: Optimizer): void {
  const own = new Set<unknown>(model.parameters());
  const trained = optimizer.paramGroups.flatMap(({ params }) => params);
  if (trained.length > 0 && !trained.some((parameter) => own.has(parameter)))
    throw new Error(
      'Trainer: none of the parameters of `optimizer` belongs to `model`; make it of model.parameters(), of this model',
    );
}

/** @throws Error where no parameter would change */
export function checkTrained(optimizer: Optimizer, epoch: number): void {
  if (optimizer.paramGroups.some(({ params }) => params.some(({ requiresGrad }) => requiresGrad))) return;
  throw new Error(
    `Trainer.fit: nothing to train in epoch ${epoch}: all parameters of the optimizer are frozen; thaw some (requiresGrad_()), here or in onEpochStart`,
  );
}

/** @throws Error for what `onEpochStart` may not return */
export function checkStage<O>(stage: Stage<O> | void | null): Stage<O> {
  if (stage === undefined || stage === null) return {};
  requireOptions('Trainer: what onEpochStart returns', stage, '{ model, train }');
  checkKeys('Trainer: what onEpochStart returns', stage, ['model', 'validated', 'train', 'validation']);
  return stage;
}

export function checkOptions<O>(options: TrainerOptions<O>): void {
  requireOptions('Trainer', options, '{ model, optimizer }');
  checkKeys('Trainer', options, trainerKeys);
  const { optimizer, accumulate = 1, loss, labelSmoothing, classWeights, amp, scaler } = options;
  requireModule('Trainer', options.model);
  if (!(optimizer instanceof Optimizer)) throw new Error('Trainer: `optimizer` must be an optimizer');
  checkOwner(options.model, optimizer);
  requireClassWeights('Trainer', classWeights);
  if (options.metrics !== undefined) requireMetrics('Trainer', options.metrics);
  const ranks = ranksOf(options.model, options.ranks);
  if (ranks !== null) {
    if (options.metrics !== undefined) requireMergeable(options.metrics);
    if (optimizer instanceof LBFGS)
      throw new Error(
        'Trainer: LBFGS looks at the loss, of which each rank knows its own only: it does not go with several ranks',
      );
  }
  for (const name of ['loss', 'validationLoss', 'mix', 'better', 'trainMode', 'onEpochStart'] as const)
    requireFunction('Trainer', name, options[name]);
  if (!Number.isInteger(accumulate) || accumulate < 1)
    throw new Error(`Trainer: accumulate must be a whole number of batches, 1 or more, got ${accumulate}`);
  if (loss !== undefined && (labelSmoothing !== undefined || (classWeights ?? null) !== null))
    throw new Error(
      'Trainer: `labelSmoothing` and `classWeights` are of the default loss; put them into `loss`, or leave it out',
    );
  if (optimizer instanceof LBFGS && (amp === true || (scaler ?? null) !== null || accumulate > 1))
    throw new Error(
      'Trainer: LBFGS evaluates the loss itself, several times a step: it does not go with `amp`, `scaler` and `accumulate`',
    );
  if (amp === false && (scaler ?? null) !== null)
    throw new Error('Trainer: `scaler` is for mixed precision; leave out `amp: false`');
}

/** @throws Error for unknown options, and for numbers that count nothing */
export function checkFit(options: FitOptions): void {
  requireOptions('Trainer.fit', options, '{ epochs: 10 }');
  checkKeys('Trainer.fit', options, fitKeys);
  for (const name of ['onStart', 'onStep', 'onEpoch', 'onBest', 'onEnd'] as const)
    requireFunction('Trainer.fit', name, options[name]);
  if (options.validation !== undefined && options.validation !== null)
    requireLoader('Trainer.fit: validation', options.validation);
  if (options.folder !== undefined && options.folder !== null)
    requireMethods('Trainer.fit: `folder`', options.folder, ['keep'], aFolder);
  const { epochs, stepEvery = 1 } = options;
  for (const [name, count] of Object.entries({ epochs, stepEvery }))
    if (!Number.isInteger(count) || count < 1)
      throw new Error(`Trainer.fit: ${name} must be a whole number of 1 or more, got ${String(count)}`);
}
