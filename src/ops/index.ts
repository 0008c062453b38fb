/**
 * All ops as functions. Nothing here makes them methods (methods.ts does), so that a bundle holds those it
 * calls.
 */
export {
  celu,
  elu,
  gelu,
  glu,
  hardsigmoid,
  hardswish,
  hardtanh,
  leakyRelu,
  logsigmoid,
  mish,
  relu6,
  selu,
  silu,
  softplus,
  softshrink,
  softsign,
  tanhshrink,
} from './activation.js';
export { scaledDotProductAttention, type AttentionOptions } from './attention.js';
export { batchNorm, type BatchNormOptions } from './batch-norm.js';
export { conv1d, conv2d, convTranspose2d } from './conv.js';
export {
  arange,
  empty,
  emptyLike,
  eye,
  full,
  fullLike,
  linspace,
  ones,
  onesLike,
  tensor,
  zeros,
  zerosLike,
  type CreationOptions,
  type ShapeArgs,
  type TensorData,
  type TensorOptions,
} from './creation.js';
export * from './dropout.js';
export { embedding, oneHot, type EmbeddingOptions } from './indexing.js';
export * from './interpolate.js';
export { cat, pad, stack } from './join.js';
export * from './loss.js';
export { linear } from './matmul.js';
export * from './norm.js';
export * from './pool.js';
export { randintLike, randLike, randnLike } from './random-fill.js';
export * from './random-create.js';
export { crossEntropy, nllLoss } from './softmax.js';
export * from './tensor-ops.js';
export { where } from './where.js';
export { countWork, type Work } from './count-work.js';
