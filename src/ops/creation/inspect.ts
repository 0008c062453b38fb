import { checkTensors } from '../base/tensors.js';
import { checkCount, noMore } from '../../tensor/options.js';
import { bytesPerElement } from '../../tensor/dtype.js';
import { normalizeDim, numel as count, sameShape } from '../../tensor/shape.js';
import type { NestedArray, Tensor } from '../../tensor/tensor.js';

/* What PyTorch tells of a tensor, beside the properties and methods that the class itself has. */

/** What `op` is asked of. @throws Error, naming it, for what is no tensor */
function asked(op: string, x: Tensor): Tensor {
  checkTensors(op, x);
  return x;
}

/** `torch.Tensor.nelement`: the number of elements. */
export function nelement(x: Tensor): number {
  noMore('nelement', arguments, 1);
  return count(asked('nelement', x).shape);
}

/** `torch.Tensor.ndimension`: the number of dims. */
export function ndimension(x: Tensor): number {
  noMore('ndimension', arguments, 1);
  return asked('ndimension', x).ndim;
}

/** `torch.Tensor.element_size`: bytes per element in GPU memory (4 for uint8 and bool too). */
export function elementSize(x: Tensor): number {
  noMore('elementSize', arguments, 1);
  return bytesPerElement[asked('elementSize', x).dtype];
}

/** `torch.Tensor.storage_offset`: where the first element lies in the storage, in elements. */
export function storageOffset(x: Tensor): number {
  noMore('storageOffset', arguments, 1);
  return asked('storageOffset', x).offset;
}

/** `torch.is_signed`: whether the dtype holds negative numbers. */
export function isSigned(x: Tensor): boolean {
  noMore('isSigned', arguments, 1);
  return asked('isSigned', x).dtype !== 'uint8' && x.dtype !== 'bool';
}

/** `torch.is_complex`: never; there are no complex numbers. */
export function isComplex(x: Tensor): boolean {
  noMore('isComplex', arguments, 1);
  return (asked('isComplex', x), false);
}

/** `torch.Tensor.is_same_size`: whether the shapes are equal. */
export function isSameSize(x: Tensor, other: Tensor): boolean {
  noMore('isSameSize', arguments, 2);
  checkTensors('isSameSize', x, other);
  return sameShape(x.shape, other.shape);
}

/** `torch.Tensor.stride`: steps in memory per dim, in elements; of one dim where it is given. */
export function stride(x: Tensor): readonly number[];
export function stride(x: Tensor, dim: number): number;
export function stride(x: Tensor, dim?: number): readonly number[] | number {
  checkTensors('stride', x);
  checkCount('stride', arguments.length, 2);
  return dim === undefined ? x.strides : (x.strides[normalizeDim('stride', dim, x.ndim)] as number);
}

/** `torch.is_nonzero`: whether the one element of `x` is other than zero. */
export async function isNonzero(x: Tensor): Promise<boolean> {
  checkTensors('isNonzero', x);
  checkCount('isNonzero', arguments.length, 1);
  if (x.numel() !== 1)
    throw new Error(`isNonzero: expected one element, got ${x.numel()}; use any() or all()`);
  return (await x.item()) !== 0;
}

/** `torch.Tensor.tolist`: nested arrays of the values; a number for a zero-dim tensor. */
export function tolist(x: Tensor): Promise<NestedArray> {
  noMore('tolist', arguments, 1);
  return asked('tolist', x).toArray();
}
