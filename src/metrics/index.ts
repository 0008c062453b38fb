/** Measures under torchmetrics' names, counted on the GPU: `kindling/metrics`. */
export { CohenKappa, MatthewsCorrCoef, type CohenKappaOptions } from './agreement.js';
export { MetricCollection, type CollectionValues, type MetricCollectionOptions } from './collection.js';
export {
  ConfusionMatrix,
  type ConfusionMatrices,
  type ConfusionMatrixOptions,
  type PairOptions,
} from './confusion-matrix.js';
export { AUROC, AveragePrecision, type CurveAverage, type CurveOptions } from './curves.js';
export type { TaskName, TaskOptions } from './inputs.js';
export { MeanMetric, MeanMetric as Mean, type MeanMetricOptions } from './mean.js';
export { Metric, type Gatherer, type MetricSettings, type MetricState } from './metric.js';
export {
  MeanAbsoluteError,
  MeanSquaredError,
  R2Score,
  type MeanSquaredErrorOptions,
  type R2ScoreOptions,
  type RegressionOptions,
} from './regression.js';
export {
  Accuracy,
  F1Score,
  FBetaScore,
  Precision,
  Recall,
  type Average,
  type FBetaOptions,
  type PerAverage,
  type StatOptions,
  type ZeroDivisionOptions,
} from './stat-scores.js';
export type { StatePart, StateValue } from './state.js';
