/**
 * `torch.optim`: optimizers, under `lrScheduler` what sets their learning rate, under `swaUtils` averages of
 * weights.
 */
export { Adadelta, Adagrad, type AdadeltaOptions, type AdagradOptions } from './adagrad.js';
export { Adamax, NAdam, RAdam, type AdamKinOptions, type NAdamOptions } from './adam-kin.js';
export { Adam, AdamW, type AdamOptions } from './adam.js';
export { EarlyStopping, type EarlyStoppingOptions } from './early-stopping.js';
export { FusedOptimizer, type Step } from './fused-optimizer.js';
export * as lrScheduler from './lr-scheduler.js';
export {
  Optimizer,
  type BaseOptions,
  type OptimizerStateDict,
  type ParamGroup,
  type Params,
  type ScheduleFields,
} from './optimizer.js';
export type { ParamState, StateValue } from './state.js';
export { RMSprop, type RMSpropOptions } from './rmsprop.js';
export { LBFGS, type LBFGSOptions } from './lbfgs.js';
export { ASGD, Rprop, type ASGDOptions, type RpropOptions } from './rprop.js';

export { restore, snapshot, type HostCopy, type Parts, type Snapshot, type Stateful } from './snapshot.js';
export { SGD, type SGDOptions } from './sgd.js';
export * as swaUtils from './swa-utils.js';
