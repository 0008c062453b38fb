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
  swiglu,
  tanhshrink,
} from './pointwise/activation.js';
export * from './random/noisy.js';
export { scaledDotProductAttention, type AttentionOptions } from './sequence/attention.js';
export { batchNorm, type BatchNormOptions } from './norm/batch-norm.js';
export { backends, type Backends } from './conv/backends.js';
export { conv2d, convTranspose2d } from './conv/conv.js';
export * from './conv/lines.js';
export * from './conv/volumes.js';
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
} from './creation/creation.js';
export {
  fromGPUBuffer,
  gpuBuffer,
  type GPUBufferOptions,
  gpuDevice,
  type GPURange,
} from './creation/gpu-buffer.js';
export { cdist, type CdistOptions } from './matmul/cdist.js';
export {
  trilIndices,
  triuIndices,
  vander,
  type TriangleIndicesOptions,
  type VanderOptions,
} from './reduce/index-grids.js';
export {
  cumulativeTrapezoid,
  gradient,
  trapezoid,
  trapz,
  type GradientOptions,
  type TrapezoidOptions,
} from './reduce/differences.js';
export { asTensor, type AsTensorOptions } from './creation/as-tensor.js';
export * from './creation/dtypes.js';
export {
  dropout,
  dropout2d,
  featureDropout,
  type Dropout,
  type DropoutArgs,
  type DropoutOptions,
} from './random/dropout.js';
export { ctcLoss, type CtcLossOptions, type Lengths } from './loss/ctc.js';
export * from './random/dropout-kinds.js';
export * from './matmul/distance.js';
export { embeddingBag, type EmbeddingBagOptions } from './sequence/embedding-bag.js';
export * from './images/grid-sample.js';
export { fold, type FoldOptions } from './conv/fold.js';
export { einsum, type Sublist } from './matmul/einsum.js';
export { rotaryEmbedding, type RotaryOptions } from './sequence/rotary.js';
export { embedding, oneHot, type EmbeddingOptions, type LookupOptions } from './sequence/embedding.js';
export * from './images/interpolate.js';
export { cat, pad, stack, type PadMode, type PadOptions } from './shape/join.js';
export { luUnpack } from './linalg/lu.js';
export { chainMatmul } from './linalg/torch.js';
export * from './loss/loss.js';
export * from './loss/likelihood.js';
export * from './loss/margin.js';
export { linear } from './matmul/matmul.js';
export {
  groupNorm,
  layerNorm,
  normalize,
  type NormArgs,
  type NormOptions,
  type NormalizeOptions,
} from './norm/norm.js';
export * from './norm/more.js';
export * from './images/pool.js';
export * from './images/pool-fractional.js';
export * from './images/pool-lines.js';
export * from './images/pool-power.js';
export * from './images/pool-unpool.js';
export * from './images/pool-volumes.js';
export { tensordot, type TensordotDims } from './matmul/products.js';
export { randLike, randintLike, randnLike } from './random/fill.js';
export * from './random/counts.js';
export * from './random/create.js';
export { constantPadNd } from './shape/rearrange.js';
export { crossEntropy, nllLoss } from './reduce/softmax.js';
export * from './shape/shuffle.js';
export * from './shape/stacks.js';
export {
  bucketize,
  isin,
  searchsorted,
  type BucketizeOptions,
  type IsinOptions,
  type SearchsortedOptions,
} from './index/search.js';
// The nuclear norm needs singular values, which programs of the core alone do without.
export { norm, stdMean, varMean } from './reduce/statistics.js';
export * from './tensor-ops.js';
export { where } from './index/where.js';
export * from './pointwise/windows.js';
export { countWork, type Work } from './base/count-work.js';
