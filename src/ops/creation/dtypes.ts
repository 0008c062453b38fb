import { checkTensors } from '../base/tensors.js';
import { checkCount, noMore } from '../../tensor/options.js';
import {
  bytesPerElement,
  dtypeNamed,
  isFloatingPoint as isFloat,
  promoteTypes as promote,
  resultType as resultOf,
  type DType,
  type DTypeName,
  type Promotable,
} from '../../tensor/dtype.js';
import { numel as count } from '../../tensor/shape.js';
import { isTensor, type Tensor } from '../../tensor/tensor.js';

/* What PyTorch's functions say of dtypes, and of whether something is a tensor. */

export { isTensor };

/** `torch.numel`: the number of elements. */
export function numel(x: Tensor): number {
  noMore('numel', arguments, 1);
  checkTensors('numel', x);
  return count(x.shape);
}

/** `torch.is_floating_point`: whether `x` is a float32 or float16 tensor. */
export function isFloatingPoint(x: Tensor): boolean {
  noMore('isFloatingPoint', arguments, 1);
  checkTensors('isFloatingPoint', x);
  return isFloat(x.dtype);
}

/** `torch.promote_types`: the dtype that holds the values of both. */
export function promoteTypes(a: DTypeName, b: DTypeName): DType {
  noMore('promoteTypes', arguments, 2);
  return promote(dtypeNamed('promoteTypes', a), dtypeNamed('promoteTypes', b));
}

/** `torch.result_type`: the dtype of a pointwise op on these tensors and numbers. */
export function resultType(a: Promotable, b: Promotable): DType {
  noMore('resultType', arguments, 2);
  for (const x of [a, b])
    if (!isTensor(x) && typeof x !== 'number' && typeof x !== 'boolean')
      throw new Error(`resultType: expected tensors and numbers, got ${String(x)}`);
  return resultOf(a, b);
}

/** `torch.can_cast`: whether a result of dtype `from` may be written to a tensor of dtype `to`. */
export function canCast(from: DTypeName, to: DTypeName): boolean {
  checkCount('canCast', arguments.length, 2);
  const [a, b] = [dtypeNamed('canCast', from), dtypeNamed('canCast', to)];
  if (isFloat(a)) return isFloat(b);
  return a === 'bool' || b !== 'bool';
}

export interface FloatInfo {
  readonly bits: number;
  readonly dtype: DType;
  /** The distance from 1 to the next number. */
  readonly eps: number;
  readonly max: number;
  readonly min: number;
  /** The least positive number of full precision. */
  readonly tiny: number;
  readonly smallestNormal: number;
  /** The decimal precision as a power of ten. */
  readonly resolution: number;
}

/** `torch.finfo`: limits of a float dtype; of float64 those of float32, in which it is held. */
export function finfo(dtype: DTypeName = 'float32'): FloatInfo {
  checkCount('finfo', arguments.length, 1);
  const held = dtypeNamed('finfo', dtype);
  if (!isFloat(held)) throw new Error(`finfo: expected a float dtype, got ${held}; use iinfo`);
  const [bits, mantissa, exponent, resolution] =
    held === 'float32' ? [32, 23, 127, 1e-6] : [16, 10, 15, 1e-3];
  const max = (2 - 2 ** -mantissa) * 2 ** exponent;
  const tiny = 2 ** (1 - exponent);
  return { bits, dtype: held, eps: 2 ** -mantissa, max, min: -max, tiny, smallestNormal: tiny, resolution };
}

export interface IntInfo {
  readonly bits: number;
  readonly dtype: DType;
  readonly max: number;
  readonly min: number;
}

/** `torch.iinfo`: limits of an integer dtype; of int64 those of int32, in which it is held. */
export function iinfo(dtype: DTypeName): IntInfo {
  checkCount('iinfo', arguments.length, 1);
  const held = dtypeNamed('iinfo', dtype);
  if (held === 'uint8') return { bits: 8, dtype: held, max: 255, min: 0 };
  if (held === 'int32')
    return { bits: 8 * bytesPerElement.int32, dtype: held, max: 2 ** 31 - 1, min: -(2 ** 31) };
  throw new Error(`iinfo: expected an integer dtype, got ${held}`);
}

/** `torch.get_default_dtype`: float32. */
export function getDefaultDtype(): DType {
  noMore('getDefaultDtype', arguments, 0);
  return 'float32';
}

/** `torch.set_default_dtype`: the default is float32 and stays so. @throws Error for any other */
export function setDefaultDtype(dtype: DTypeName): void {
  checkCount('setDefaultDtype', arguments.length, 1);
  if (dtypeNamed('setDefaultDtype', dtype) !== 'float32')
    throw new Error(
      `setDefaultDtype: the default is float32; give { dtype: '${dtype}' } where tensors are made`,
    );
}
