/** `torch.nn`: modules, layers, losses, `functional`, `init` and `utils`. */
export * from './activation.js';
export * from './activation-more.js';
export { MultiheadAttention, type AttendOptions, type MultiheadAttentionOptions } from './attention.js';
export { ModuleDict, ModuleList, ParameterDict, ParameterList, Sequential } from './containers.js';
export { Bilinear } from './bilinear.js';
export * from './conv.js';
export * from './conv-nd.js';
export { deepcopy } from './deepcopy.js';
export * from './dropout-more.js';
export * from './embedding.js';
export { Fold, Unfold } from './fold.js';
export { fused, type FusedOptions } from './fuse.js';
export * as functional from './functional.js';
export { type HookGrads } from './hooks.js';
export * as init from './init.js';
export { Identity, Linear } from './linear.js';
export * from './lazy.js';
export * from './loss.js';
export * from './loss-more.js';
export { Dropout, Dropout2d, Flatten, Unflatten } from './misc.js';
export { Module, type Inputs, type Output, type TensorModule } from './module.js';
export * from './norm.js';
export * from './norm-more.js';
export * from './padding.js';
export { Parameter, UninitializedParameter } from './parameter.js';
export * from './pooling.js';
export * from './rnn.js';
export * from './upsample.js';
export * from './pooling-more.js';
export * from './pooling-nd.js';
export { type Size2d } from '../ops/size2d.js';
export {
  type HostTensorLike,
  type IncompatibleKeys,
  type LoadOptions,
  type StateDict,
  type TensorLike,
} from './state-dict.js';
export { Summary, type SummaryOptions, type SummaryRow, type SummaryTotals } from './summary.js';
export * from './transformer.js';
export * as utils from './utils.js';
export { AdaptiveLogSoftmaxWithLoss } from './adaptive-softmax.js';
