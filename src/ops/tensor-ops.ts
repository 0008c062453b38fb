/**
 * Every op whose first argument is a tensor. All exports of these files become functions of the package and methods of
 * Tensor: adding an op is writing it in its file.
 */
export * from './activation.js';
export * from './compare.js';
export { bool, clone, contiguous, copy_, fill_, float, half, int, to, typeAs, zero_ } from './copy.js';
export * from './pointwise.js';
export * from './view.js';
