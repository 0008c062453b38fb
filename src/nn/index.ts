/** `torch.nn`: modules, layers, losses, `functional`, `init` and `utils`. */
export * from './activation.js';
export { MultiheadAttention, type AttendOptions, type MultiheadAttentionOptions } from './attention.js';
export { ModuleDict, ModuleList, ParameterList, Sequential } from './containers.js';
export * from './conv.js';
export { deepcopy } from './deepcopy.js';
export * as functional from './functional.js';
export type { HookGrads } from './hooks.js';
export * as init from './init.js';
export { Embedding, Identity, Linear } from './linear.js';
export * from './loss.js';
export * from './misc.js';
export { Module, type Inputs, type Output, type TensorModule } from './module.js';
export * from './norm.js';
export { Parameter } from './parameter.js';
export * from './pooling.js';
export type { HostTensorLike, IncompatibleKeys, LoadOptions, StateDict, TensorLike } from './state-dict.js';
export { Summary, type SummaryOptions, type SummaryRow, type SummaryTotals } from './summary.js';
export * as utils from './utils.js';
