/**
 * The training of a model: a Trainer with all that stands around a step, and its parts for loops of your own.
 * Run folders, which need a disk, are in `kindling/train/node`.
 */
export { balancedClassWeights, mixing, type MixingOptions } from './classes.js';
export { NonFiniteLossError, NotANumberError } from './errors.js';
export {
  evaluate,
  type ClassifiedBatch,
  type EvaluateOptions,
  type Evaluation,
  type MetricLike,
  type Metrics,
  type Scored,
  type Seen,
} from './evaluate.js';
export type {
  BestEvent,
  Callbacks,
  EndEvent,
  EpochEvent,
  EpochStartEvent,
  Fit,
  StartEvent,
  StepEvent,
  TrainEvent,
  ValidationStepEvent,
} from './events.js';
export { trunkFeatures, type FeatureDataset, type TrunkFeaturesOptions } from './features.js';
export type {
  Keeper,
  Kept,
  ResumableFolder,
  SavedTraining,
  TrainingFolder,
  TrainingState,
} from './keeper.js';
export type { Loader, TrainBatch } from './loader.js';
export type { FitOptions, Stage, TrainerOptions } from './options.js';
export { isBetter, type EpochReport, type EpochSums, type FitResult, type Progress } from './progress.js';
export type { Ranks } from './ranks.js';
export { scheduleOf, type AnyScheduler, type Schedule, type Watch } from './schedule.js';
export {
  outputsOf,
  trainStep,
  type LossFunction,
  type Mix,
  type Part,
  type Place,
  type StepRecipe,
  type StepResult,
  type StepValues,
  type Trainable,
} from './step.js';
export { Trainer } from './trainer.js';
export {
  NoSuchParametersError,
  trainUnfrozen,
  Unfreezing,
  type ThawStage,
  type UnfreezingOptions,
} from './unfreezing.js';
