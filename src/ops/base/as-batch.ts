import { showShape } from '../../tensor/shape.js';
import type { Tensor } from '../../tensor/tensor.js';
import { reshape } from './view.js';

const sizeLetters = ['', 'L', 'H, W', 'D, H, W'];

/**
 * @internal Runs on a batch [N, C, ...] of `dims` more dims, also for an input without a batch, whose results
 * lose that dim again.
 */
export function asBatch(
  op: string,
  x: Tensor,
  dims: number,
  run: (x: Tensor) => readonly Tensor[],
): readonly Tensor[] {
  if (x.ndim === dims + 2) return run(x);
  if (x.ndim !== dims + 1) {
    const sizes = sizeLetters[dims];
    throw new Error(
      `${op}: expected an input of shape [N, C, ${sizes}] or [C, ${sizes}], got ${showShape(x.shape)}`,
    );
  }
  return run(reshape(x, [1, ...x.shape])).map((y) => reshape(y, y.shape.slice(1)));
}
