/** `torch.nn`: modules, layers, losses, `functional`, `init` and `utils`. */
export * from './layers/activation.js';
export * from './layers/activation-more.js';
export {
  MultiheadAttention,
  type AttendOptions,
  type MultiheadAttentionOptions,
} from './layers/attention.js';
export { ModuleDict, ModuleList, ParameterDict, ParameterList, Sequential } from './layers/containers.js';
export { Bilinear } from './layers/bilinear.js';
export * from './layers/conv.js';
export * from './layers/conv-nd.js';
export { deepcopy } from './base/deepcopy.js';
export * from './layers/dropout.js';
export * from './layers/embedding.js';
export { Fold, Unfold } from './layers/fold.js';
export { fused, type FusedOptions } from './base/fuse.js';
export * as functional from './functional.js';
export { type HookGrads } from './base/hooks.js';
export * as init from './base/init.js';
export { Identity, Linear } from './layers/linear.js';
export * from './layers/lazy.js';
export * from './layers/loss.js';
export * from './layers/loss-margin.js';
export { Dropout, Dropout2d, Flatten, Unflatten } from './layers/misc.js';
export { Module, type Inputs, type Output, type TensorModule } from './base/module.js';
export * from './layers/norm.js';
export * from './layers/norm-more.js';
export * from './layers/padding.js';
export { Parameter, UninitializedParameter } from './base/parameter.js';
export * from './layers/pooling.js';
export * from './layers/rnn.js';
export { RotaryPositionalEmbeddings } from './layers/rotary.js';
export * from './layers/upsample.js';
export * from './layers/pooling-more.js';
export * from './layers/pooling-nd.js';
export { type Size2d } from '../ops/base/sizes.js';
export {
  type HostTensorLike,
  type IncompatibleKeys,
  type LoadOptions,
  type StateDict,
  type StateDictOptions,
  type TensorLike,
} from './base/state-dict.js';
export { Summary, type SummaryOptions, type SummaryRow, type SummaryTotals } from './base/summary.js';
export * from './layers/transformer.js';
export * as utils from './tools/utils.js';
export { AdaptiveLogSoftmaxWithLoss } from './layers/adaptive-softmax.js';
