/**
 * The ops that PyTorch has as methods of Tensor (`slice` and `index` stand in for `x[...]`). All exports of
 * this file become methods too, but for those that methods.ts leaves out: adding such an op is writing it in
 * its file.
 */
export { hardshrink, prelu } from './activation.js';
export {
  asStrided,
  asStridedScatter,
  diagonalScatter,
  fillDiagonal_,
  selectScatter,
  sliceScatter,
  type DiagonalScatterOptions,
  type SliceScatterOptions,
} from './as-strided.js';
export * from './aliases.js';
export * from './compare.js';
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
} from './copy.js';
export * from './index-in-place.js';
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
} from './inspect.js';
export { newEmpty, newFull, newOnes, newTensor, newZeros } from './new-like.js';
export { gather, indexAdd, indexSelect, scatterAdd } from './indexing.js';
export { flip, repeat, roll, tile, tril, triu } from './join.js';
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
export * from './gamma.js';
export * from './in-place.js';
export { bmm, dot, matmul, mm, mv, outer } from './matmul.js';
export {
  argwhere,
  maskedScatter,
  maskedScatter_,
  maskedSelect,
  nonzero,
  type NonzeroOptions,
} from './nonzero.js';
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
} from './order.js';
export * from './pointwise.js';
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
} from './products.js';
export * from './pointwise-more.js';
export { bernoulli_, exponential_, normal_, uniform_ } from './random-fill.js';
export { cauchy_, geometric_, logNormal_, random_ } from './random-more.js';
export * from './random-sample.js';
export * from './reduce.js';
export { adjoint, diagflat, fliplr, flipud, ravel, rot90 } from './rearrange.js';
export { repeatInterleave, type RepeatInterleaveOptions } from './repeat-interleave.js';
export * from './reduce-more.js';
export { logSoftmax, softmax } from './softmax.js';
export { cumprod, cumprod_, cumsum, cumsum_, type ScanOptions } from './scan.js';
export {
  indexCopy,
  indexFill,
  indexReduce,
  scatter,
  scatterReduce,
  type ScatterOptions,
  type ScatterReduceOptions,
  type ScatterReduction,
} from './scatter.js';
export * from './scan-more.js';
export * from './sets.js';
export * from './sort.js';
export * from './splits.js';
export {
  std,
  var,
  type NormArgs,
  type VarArgs,
  type VarOptions,
  type VectorNormOptions,
} from './statistics.js';
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
} from './subscript.js';
export { put, take, takeAlongDim } from './take.js';
export * from './covariance.js';
export { diff, type DiffOptions } from './differences.js';
export { unfold } from './unfold.js';
export * from './view.js';
export { maskedFill, maskedFill_ } from './where.js';
