/**
 * The ops that PyTorch has as methods of Tensor (`slice` and `index` stand in for `x[...]`). All exports of
 * this file become methods too, but for those that methods.ts leaves out: adding such an op is writing it in
 * its file.
 */
export { hardshrink, prelu } from './pointwise/activation.js';
export {
  asStrided,
  asStridedScatter,
  diagonalScatter,
  fillDiagonal_,
  selectScatter,
  sliceScatter,
  type DiagonalScatterOptions,
  type SliceScatterOptions,
} from './shape/as-strided.js';
export * from './pointwise/aliases.js';
export * from './pointwise/compare.js';
export {
  bool,
  byte,
  clone,
  contiguous,
  copy_,
  double,
  fill,
  fill_,
  float,
  half,
  int,
  long,
  to,
  typeAs,
  zero_,
} from './base/copy.js';
export * from './gather/in-place.js';
export {
  elementSize,
  isComplex,
  isNonzero,
  isSameSize,
  isSigned,
  ndimension,
  nelement,
  storageOffset,
  stride,
  tolist,
} from './creation/inspect.js';
export { newEmpty, newFull, newOnes, newTensor, newZeros } from './creation/new-like.js';
export { gather, indexAdd, indexSelect, scatterAdd } from './gather/gather.js';
export { flip, repeat, roll, tile, tril, tril_, triu, triu_ } from './shape/join.js';
export {
  cholesky,
  choleskyInverse,
  choleskySolve,
  det,
  geqrf,
  inverse,
  logdet,
  lu,
  luSolve,
  matrixExp,
  matrixPower,
  norm,
  orgqr,
  ormqr,
  pinverse,
  qr,
  slogdet,
  svd,
  triangularSolve,
} from './linalg/torch.js';
export * from './pointwise/float-bits.js';
export * from './pointwise/gamma.js';
export * from './pointwise/in-place.js';
export { histogram, type HistogramOptions } from './index/histogram.js';
export { bmm, dot, matmul, mm, mv, outer } from './matmul/matmul.js';
export {
  argwhere,
  maskedScatter,
  maskedScatter_,
  maskedSelect,
  nonzero,
  type NonzeroOptions,
} from './index/nonzero.js';
export {
  kthvalue,
  median,
  mode,
  msort,
  nanmedian,
  nanquantile,
  quantile,
  type Interpolation,
  type Median,
  type QuantileOptions,
} from './index/order.js';
export * from './pointwise/pointwise.js';
export * from './pointwise/power.js';
export {
  addbmm,
  addbmm_,
  addmm,
  addmm_,
  addmv,
  addmv_,
  addr,
  addr_,
  baddbmm,
  baddbmm_,
  cross,
  ger,
  inner,
  kron,
  vdot,
  type AddmmOptions,
} from './matmul/products.js';
export * from './pointwise/more.js';
export { bernoulli_, exponential_, normal_, uniform_ } from './random/fill.js';
export { cauchy_, geometric_, logNormal_, random_ } from './random/distributions.js';
export * from './random/sample.js';
export * from './reduce/reduce.js';
export { adjoint, diagflat, fliplr, flipud, ravel, rot90 } from './shape/rearrange.js';
export { repeatInterleave, type RepeatInterleaveOptions } from './index/repeat-interleave.js';
export * from './reduce/more.js';
export { logSoftmax, softmax } from './reduce/softmax.js';
export { cumprod, cumprod_, cumsum, cumsum_, type ScanOptions } from './reduce/scan.js';
export {
  indexCopy,
  indexFill,
  indexReduce,
  scatter,
  scatterReduce,
  type ScatterOptions,
  type ScatterReduceOptions,
  type ScatterReduction,
} from './gather/scatter.js';
export * from './reduce/extremes.js';
export * from './index/sets.js';
export * from './index/sort.js';
export * from './shape/diagonal.js';
export * from './shape/splits.js';
export {
  std,
  var,
  type NormArgs,
  type VarArgs,
  type VarOptions,
  type VectorNormOptions,
} from './reduce/statistics.js';
export {
  __getitem__,
  index,
  indexPut,
  indexPut_,
  type AnyIndex,
  type BoolTensor,
  type GetItemKey,
  type Index,
  type IndexPutOptions,
  type Slice,
} from './index/subscript.js';
export { put, take, takeAlongDim } from './gather/take.js';
export * from './matmul/covariance.js';
export { diff, type DiffOptions } from './reduce/differences.js';
export { unfold } from './shape/unfold.js';
export * from './base/pieces.js';
export * from './base/view.js';
export { maskedFill, maskedFill_ } from './pointwise/where.js';
