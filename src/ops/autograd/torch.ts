/** All of `torch.autograd`. */
export * from './autograd.js';
export * as functional from './functional.js';
