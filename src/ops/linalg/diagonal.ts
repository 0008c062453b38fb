import { optionReader } from '../../tensor/options.js';
import type { Tensor } from '../../tensor/tensor.js';
import { diagonal as diagonalOf, type DiagonalOptions } from '../shape/diagonal.js';

const readDiagonal = optionReader('linalg.diagonal', { offset: 0, dim1: -2, dim2: -1 });

/** `torch.linalg.diagonal`: as `diagonal`, of the last two dims unless others are named; a view. */
export function diagonal(a: Tensor, ...args: [options?: DiagonalOptions]): Tensor {
  return diagonalOf(a, readDiagonal(args));
}
