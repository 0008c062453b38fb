import { e, type Expr } from '../../kernels/expr/expr.js';
import * as fn from '../../kernels/expr/functions.js';
import { binaryOp, type Binary, type Operand, type Power } from '../base/row.js';

/** 0, ±0.5, ±1, ±2, 3, 4: the exponents that people write and that need no logarithm. */
const commonExponents = new Set([0, 0.5, -0.5, 1, -1, 2, -2, 3, 4]);

const asInt = (x: Expr): Expr => e.cast(x, 'i32');

/** PyTorch's rule: of integers, tensors may hold negative exponents and numbers may not be ones. */
function checkExponent(op: string, [, exponent]: readonly Operand[]): void {
  if (typeof exponent === 'number' && exponent < 0)
    throw new Error(
      `${op}: integers to negative integer powers are not allowed (exponent ${exponent}); convert to float32 first`,
    );
}

function powOf(x: Expr, y: Expr): Expr {
  return x.type === 'u32' ? e.cast(fn.pow(asInt(x), asInt(y)), 'u32') : fn.pow(x, y);
}

/**
 * `torch.pow`. Integers past int32 wrap, as in {@link add}; negative powers in a tensor are cut towards zero,
 * and a negative number is no exponent for integers.
 */
export const pow: Power = binaryOp('pow', 'promote', powOf, {
  names: ['exponent'],
  checkIntegers: checkExponent,
  refuse: (dtype) => (dtype === 'bool' ? 'bool to bool is not there; convert one to int32' : null),
  bakes: (position, value) => position === 1 && commonExponents.has(value),
  lends: 'result',
}) as Power;

/** `torch.float_power`: `pow`, computed in float32 (PyTorch: float64) whatever the operands are. */
export const floatPower: Binary = binaryOp('floatPower', 'float', (x, y) => fn.pow(x, y), {
  lends: 'result',
});
