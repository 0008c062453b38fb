import { checkTensors } from '../base/tensors.js';
import { checkCount, type Needed, required } from '../../tensor/options.js';
import { isTensor, type Tensor } from '../../tensor/tensor.js';
import {
  empty,
  full,
  ones,
  parseShape,
  readCreation,
  tensor,
  zeros,
  type CreationOptions,
  type ShapeArgs,
  type TensorData,
  type TensorOptions,
} from './creation.js';
import type { Shape } from '../../tensor/shape.js';

/* Fresh tensors in the dtype of another (`torch.Tensor.new_*`). */

const newOf =
  (op: string, make: (shape: Shape, options: CreationOptions) => Tensor) =>
  (x: Tensor, ...args: ShapeArgs): Tensor => {
    checkTensors(op, x);
    const { shape, options } = parseShape(op, args);
    return make(shape, { dtype: options.dtype ?? x.dtype, requiresGrad: options.requiresGrad });
  };

type NewOf = (x: Tensor, ...args: ShapeArgs) => Tensor;

/** `torch.Tensor.new_zeros`: zeros of a shape in the dtype of `x`. */
export const newZeros: NewOf = newOf('newZeros', zeros);
/** `torch.Tensor.new_ones`: ones of a shape in the dtype of `x`. */
export const newOnes: NewOf = newOf('newOnes', ones);
/** `torch.Tensor.new_empty`: of a shape in the dtype of `x`; zeros, as {@link empty}. */
export const newEmpty: NewOf = newOf('newEmpty', empty);

/** `torch.Tensor.new_full`: `fillValue` everywhere, of a shape in the dtype of `x`. */
export function newFull(
  x: Tensor,
  ...args: Needed<[size: Shape, fillValue: number | boolean], ['size', 'fillValue'], [], CreationOptions>
): Tensor {
  const fields = { size: required<Shape>(), fillValue: required<number | boolean>() };
  const { size, fillValue, options } = readCreation('newFull', args, fields, 'size', 'fillValue');
  return full(size, fillValue, { dtype: options.dtype ?? x.dtype, requiresGrad: options.requiresGrad });
}

/** `torch.Tensor.new_tensor`: host values in the dtype of `x`. */
export function newTensor(x: Tensor, data: TensorData, options: TensorOptions = {}): Tensor {
  checkTensors('newTensor', x);
  checkCount('newTensor', arguments.length, 3);
  if (isTensor(data)) throw new Error('newTensor: the data is already a tensor; use clone() or detach()');
  return tensor(data, { dtype: x.dtype, ...options });
}
