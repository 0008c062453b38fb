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
export * from './activation-more.js';
export { scaledDotProductAttention, type AttentionOptions } from './attention.js';
export { batchNorm, type BatchNormOptions } from './batch-norm.js';
export { conv2d, convTranspose2d } from './conv.js';
export * from './conv-lines.js';
export * from './conv-volumes.js';
export {
  arange,
  empty,
  emptyLike,
  eye,
  full,
  fullLike,
  linspace,
  logspace,
  ones,
  onesLike,
  tensor,
  zeros,
  zerosLike,
  type CreationOptions,
  type LogspaceOptions,
  type ShapeArgs,
  type TensorData,
  type TensorOptions,
} from './creation.js';
export { cdist, type CdistOptions } from './cdist.js';
export {
  trilIndices,
  triuIndices,
  vander,
  type TriangleIndicesOptions,
  type VanderOptions,
} from './index-grids.js';
export {
  cumulativeTrapezoid,
  gradient,
  trapezoid,
  trapz,
  type GradientOptions,
  type TrapezoidOptions,
} from './differences.js';
export * from './dtypes.js';
export {
  dropout,
  dropout2d,
  featureDropout,
  type Dropout,
  type DropoutArgs,
  type DropoutOptions,
} from './dropout.js';
export { ctcLoss, type CtcLossOptions, type Lengths } from './ctc.js';
export * from './dropout-more.js';
export * from './distance.js';
export { embeddingBag, type EmbeddingBagOptions } from './embedding-bag.js';
export * from './grid-sample.js';
export { fold, type FoldOptions } from './fold.js';
export { einsum, type Sublist } from './einsum.js';
export { embedding, oneHot, type EmbeddingOptions, type LookupOptions } from './embedding.js';
export * from './interpolate.js';
export { cat, pad, stack, type PadMode, type PadOptions } from './join.js';
export { luUnpack } from './linalg/lu.js';
export { chainMatmul } from './linalg/torch.js';
export * from './loss.js';
export * from './loss-likelihood.js';
export * from './loss-margin.js';
export { linear } from './matmul.js';
export {
  groupNorm,
  layerNorm,
  normalize,
  type NormArgs,
  type NormOptions,
  type NormalizeOptions,
} from './norm.js';
export * from './norm-more.js';
export * from './pool.js';
export * from './pool-fractional.js';
export * from './pool-lines.js';
export * from './pool-power.js';
export * from './pool-unpool.js';
export * from './pool-volumes.js';
export { tensordot, type TensordotDims } from './products.js';
export { randLike, randintLike, randnLike } from './random-fill.js';
export * from './random-create.js';
export { constantPadNd } from './rearrange.js';
export { crossEntropy, nllLoss } from './softmax.js';
export * from './shuffle.js';
export * from './stacks.js';
export {
  bucketize,
  isin,
  searchsorted,
  type BucketizeOptions,
  type IsinOptions,
  type SearchsortedOptions,
} from './search.js';
// The nuclear norm needs singular values, which programs of the core alone do without.
export { norm, stdMean, varMean } from './statistics.js';
export * from './tensor-ops.js';
export { where } from './where.js';
export { countWork, type Work } from './count-work.js';
