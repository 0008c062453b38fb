/**
 * The ops that PyTorch has as methods of Tensor (`slice` and `index` stand in for `x[...]`). All exports of
 * this file become methods too: adding such an op is writing it in its file.
 */
export { hardshrink, prelu } from './activation.js';
export * from './compare.js';
export { bool, clone, contiguous, copy_, fill_, float, half, int, to, typeAs, zero_ } from './copy.js';
export { gather, indexAdd, indexSelect, scatter, scatterAdd, takeAlongDim } from './indexing.js';
export { flip, repeat, repeatInterleave, roll, tile, tril, triu } from './join.js';
export { addmm, bmm, dot, matmul, mm, mv, outer, type AddmmOptions } from './matmul.js';
export * from './pointwise.js';
export { bernoulli_, exponential_, normal_, uniform_ } from './random-fill.js';
export * from './random-sample.js';
export * from './reduce.js';
export { logSoftmax, softmax } from './softmax.js';
export { cumprod, cumsum, type ScanOptions } from './scan.js';
export * from './sort.js';
export * from './statistics.js';
export { unfold } from './unfold.js';
export * from './view.js';
export { maskedFill, maskedFill_ } from './where.js';
