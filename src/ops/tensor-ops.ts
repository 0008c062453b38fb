/**
 * Every op whose first argument is a tensor. All exports of these files become functions of the package and methods of
 * Tensor: adding an op is writing it in its file.
 */
export * from './activation.js';
export { batchNorm, type BatchNormOptions } from './batch-norm.js';
export * from './compare.js';
export { conv1d, conv2d, convTranspose2d } from './conv.js';
export { bool, clone, contiguous, copy_, fill_, float, half, int, to, typeAs, zero_ } from './copy.js';
export * from './dropout.js';
export * from './indexing.js';
export { flip, pad, repeat, repeatInterleave, roll, tile, tril, triu } from './join.js';
export * from './interpolate.js';
export * from './loss.js';
export * from './matmul.js';
export * from './norm.js';
export * from './pointwise.js';
export * from './pool.js';
export * from './random-fill.js';
export * from './sample.js';
export * from './reduce.js';
export { crossEntropy, logSoftmax, nllLoss, softmax } from './softmax.js';
export * from './scan.js';
export * from './sort.js';
export * from './statistics.js';
export { unfold } from './unfold.js';
export * from './view.js';
export { maskedFill, maskedFill_ } from './where.js';
