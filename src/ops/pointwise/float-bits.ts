import { e } from '../../kernels/expr/expr.js';
import * as fn from '../../kernels/expr/functions.js';
import { isFloatingPoint } from '../../tensor/dtype.js';
import { checkCount } from '../../tensor/options.js';
import type { Tensor } from '../../tensor/tensor.js';
import { to } from '../base/copy.js';
import { binaryOp, inPlaceOf, unaryOp, type Binary, type Unary } from '../base/row.js';
import { checkTensors } from '../base/tensors.js';
import { detach } from '../base/view.js';

/*
 * What a float is made of. Computed from the bits: subnormal numbers are treated as PyTorch treats them, as
 * long as no op has computed with them before (many adapters, the software driver among them, make them 0).
 */

const mantissa: Unary = unaryOp('frexp', 'float', (x) => fn.mantissa(x), {
  grad: (g, _, x) => [e.mul(g, fn.mantissaSlope(x))],
  lends: 'operands',
});
const exponent: Unary = unaryOp('frexp', 'float', (x) => fn.exponent(x));

/**
 * `torch.frexp`: `x` as `mantissa * 2 ** exponent`, the magnitude of the mantissa in [0.5, 1); exponents are
 * int32. Zero, infinities and NaN are their own mantissas, with exponent 0.
 */
export function frexp(x: Tensor): [mantissa: Tensor, exponent: Tensor] {
  checkCount('frexp', arguments.length, 1);
  checkTensors('frexp', x);
  if (!isFloatingPoint(x.dtype))
    throw new Error(`frexp: expected a float tensor, got ${x.dtype}; convert it with .to('float32')`);
  return [mantissa(x), to(exponent(detach(x)), 'int32')];
}

/**
 * `torch.nextafter`: the next float32 after `x` on the way to `other`, elementwise; it has no gradient.
 *
 * @throws Error for tensors that are not float32
 */
export const nextafter: Binary = binaryOp('nextafter', 'promote', (x, y) => fn.nextafter(x, y), {
  refuse: (dtype) => (dtype === 'float32' ? null : `expected float32 tensors, got ${dtype}`),
  grad: () => [null, null],
});
/** `torch.Tensor.nextafter_`. */
export const nextafter_: Binary = inPlaceOf(nextafter);
