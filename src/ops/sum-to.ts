import { numel, sameShape, type Shape } from '../tensor/shape.js';
import type { Tensor } from '../tensor/tensor.js';
import { sumDims } from './reduce.js';
import { reshape } from './view.js';

/** The gradient of broadcasting: sums `x` over the dims along which `shape` was repeated. */
export function sumTo(x: Tensor, shape: Shape): Tensor {
  if (sameShape(x.shape, shape)) return x;
  if (numel(x.shape) === numel(shape)) return reshape(x, shape);
  const lead = x.ndim - shape.length;
  const dims: number[] = [];
  x.shape.forEach((size, i) => {
    if (i < lead || (shape[i - lead] === 1 && size !== 1)) dims.push(i);
  });
  const summed = sumDims(x, dims, true);
  return lead === 0 ? summed : reshape(summed, shape);
}
