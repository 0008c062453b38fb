/* The in-place forms of rows (`torch.Tensor.sin_` and its kin): they write over their first operand. */
import {
  abs,
  acos,
  acosh,
  asin,
  asinh,
  atan,
  atan2,
  atanh,
  ceil,
  clampMax,
  clampMin,
  cos,
  cosh,
  erf,
  erfc,
  erfinv,
  exp,
  exp2,
  expm1,
  floor,
  floorDivide,
  fmod,
  frac,
  hypot,
  log,
  log10,
  log1p,
  log2,
  mul,
  neg,
  reciprocal,
  relu,
  remainder,
  rsqrt,
  sigmoid,
  sign,
  sin,
  sinh,
  sqrt,
  square,
  tan,
  tanh,
  trunc,
  xlogy,
} from './pointwise.js';
import {
  bitwiseLeftShift,
  bitwiseRightShift,
  copysign,
  deg2rad,
  gcd,
  heaviside,
  i0,
  lcm,
  ldexp,
  rad2deg,
  sgn,
  sinc,
} from './more.js';
import { floatPower, pow } from './power.js';
import {
  bitwiseAnd,
  bitwiseNot,
  bitwiseOr,
  bitwiseXor,
  eq,
  ge,
  gt,
  le,
  logicalAnd,
  logicalNot,
  logicalOr,
  logicalXor,
  lt,
  ne,
} from './compare.js';
import { inPlaceOf, type Binary, type Power, type Unary } from '../base/row.js';

/** `torch.Tensor.abs_`. */
export const abs_: Unary = inPlaceOf(abs);
/** `torch.Tensor.acos_`. */
export const acos_: Unary = inPlaceOf(acos);
/** `torch.Tensor.acosh_`. */
export const acosh_: Unary = inPlaceOf(acosh);
/** `torch.Tensor.asin_`. */
export const asin_: Unary = inPlaceOf(asin);
/** `torch.Tensor.asinh_`. */
export const asinh_: Unary = inPlaceOf(asinh);
/** `torch.Tensor.atan_`. */
export const atan_: Unary = inPlaceOf(atan);
/** `torch.Tensor.atan2_`. */
export const atan2_: Binary = inPlaceOf(atan2);
/** `torch.Tensor.atanh_`. */
export const atanh_: Unary = inPlaceOf(atanh);
/** `torch.Tensor.bitwise_and_`. */
export const bitwiseAnd_: Binary = inPlaceOf(bitwiseAnd);
/** `torch.Tensor.bitwise_left_shift_`. */
export const bitwiseLeftShift_: Binary = inPlaceOf(bitwiseLeftShift);
/** `torch.Tensor.bitwise_not_`. */
export const bitwiseNot_: Unary = inPlaceOf(bitwiseNot);
/** `torch.Tensor.bitwise_or_`. */
export const bitwiseOr_: Binary = inPlaceOf(bitwiseOr);
/** `torch.Tensor.bitwise_right_shift_`. */
export const bitwiseRightShift_: Binary = inPlaceOf(bitwiseRightShift);
/** `torch.Tensor.bitwise_xor_`. */
export const bitwiseXor_: Binary = inPlaceOf(bitwiseXor);
/** `torch.Tensor.ceil_`. */
export const ceil_: Unary = inPlaceOf(ceil);
/** `torch.Tensor.clamp_max_`. */
export const clampMax_: Binary = inPlaceOf(clampMax);
/** `torch.Tensor.clamp_min_`. */
export const clampMin_: Binary = inPlaceOf(clampMin);
/** `torch.Tensor.copysign_`. */
export const copysign_: Binary = inPlaceOf(copysign);
/** `torch.Tensor.cos_`. */
export const cos_: Unary = inPlaceOf(cos);
/** `torch.Tensor.cosh_`. */
export const cosh_: Unary = inPlaceOf(cosh);
/** `torch.Tensor.deg2rad_`. */
export const deg2rad_: Unary = inPlaceOf(deg2rad);
/** `torch.Tensor.eq_`. */
export const eq_: Binary = inPlaceOf(eq);
/** `torch.Tensor.erf_`. */
export const erf_: Unary = inPlaceOf(erf);
/** `torch.Tensor.erfc_`. */
export const erfc_: Unary = inPlaceOf(erfc);
/** `torch.Tensor.erfinv_`. */
export const erfinv_: Unary = inPlaceOf(erfinv);
/** `torch.Tensor.exp_`. */
export const exp_: Unary = inPlaceOf(exp);
/** `torch.Tensor.exp2_`. */
export const exp2_: Unary = inPlaceOf(exp2);
/** `torch.Tensor.expm1_`. */
export const expm1_: Unary = inPlaceOf(expm1);
/** `torch.Tensor.float_power_`. */
export const floatPower_: Binary = inPlaceOf(floatPower);
/** `torch.Tensor.floor_`. */
export const floor_: Unary = inPlaceOf(floor);
/** `torch.Tensor.floor_divide_`. */
export const floorDivide_: Binary = inPlaceOf(floorDivide);
/** `torch.Tensor.fmod_`. */
export const fmod_: Binary = inPlaceOf(fmod);
/** `torch.Tensor.frac_`. */
export const frac_: Unary = inPlaceOf(frac);
/** `torch.Tensor.gcd_`. */
export const gcd_: Binary = inPlaceOf(gcd);
/** `torch.Tensor.ge_`. */
export const ge_: Binary = inPlaceOf(ge);
/** `torch.Tensor.gt_`. */
export const gt_: Binary = inPlaceOf(gt);
/** `torch.Tensor.heaviside_`. */
export const heaviside_: Binary = inPlaceOf(heaviside);
/** `torch.Tensor.hypot_`. */
export const hypot_: Binary = inPlaceOf(hypot);
/** `torch.Tensor.i0_`. */
export const i0_: Unary = inPlaceOf(i0);
/** `torch.Tensor.lcm_`. */
export const lcm_: Binary = inPlaceOf(lcm);
/** `torch.Tensor.ldexp_`. */
export const ldexp_: Binary = inPlaceOf(ldexp);
/** `torch.Tensor.le_`. */
export const le_: Binary = inPlaceOf(le);
/** `torch.Tensor.log_`. */
export const log_: Unary = inPlaceOf(log);
/** `torch.Tensor.log10_`. */
export const log10_: Unary = inPlaceOf(log10);
/** `torch.Tensor.log1p_`. */
export const log1p_: Unary = inPlaceOf(log1p);
/** `torch.Tensor.log2_`. */
export const log2_: Unary = inPlaceOf(log2);
/** `torch.Tensor.logical_and_`. */
export const logicalAnd_: Binary = inPlaceOf(logicalAnd);
/** `torch.Tensor.logical_not_`. */
export const logicalNot_: Unary = inPlaceOf(logicalNot);
/** `torch.Tensor.logical_or_`. */
export const logicalOr_: Binary = inPlaceOf(logicalOr);
/** `torch.Tensor.logical_xor_`. */
export const logicalXor_: Binary = inPlaceOf(logicalXor);
/** `torch.Tensor.lt_`. */
export const lt_: Binary = inPlaceOf(lt);
/** `torch.Tensor.mul_`. */
export const mul_: Binary = inPlaceOf(mul);
/** `torch.Tensor.ne_`. */
export const ne_: Binary = inPlaceOf(ne);
/** `torch.Tensor.neg_`. */
export const neg_: Unary = inPlaceOf(neg);
/** `torch.Tensor.pow_`. */
export const pow_: Power = inPlaceOf(pow);
/** `torch.Tensor.rad2deg_`. */
export const rad2deg_: Unary = inPlaceOf(rad2deg);
/** `torch.Tensor.reciprocal_`. */
export const reciprocal_: Unary = inPlaceOf(reciprocal);
/** `torch.Tensor.relu_`. */
export const relu_: Unary = inPlaceOf(relu);
/** `torch.Tensor.remainder_`. */
export const remainder_: Binary = inPlaceOf(remainder);
/** `torch.Tensor.rsqrt_`. */
export const rsqrt_: Unary = inPlaceOf(rsqrt);
/** `torch.Tensor.sgn_`. */
export const sgn_: Unary = inPlaceOf(sgn);
/** `torch.Tensor.sigmoid_`. */
export const sigmoid_: Unary = inPlaceOf(sigmoid);
/** `torch.Tensor.sign_`. */
export const sign_: Unary = inPlaceOf(sign);
/** `torch.Tensor.sin_`. */
export const sin_: Unary = inPlaceOf(sin);
/** `torch.Tensor.sinc_`. */
export const sinc_: Unary = inPlaceOf(sinc);
/** `torch.Tensor.sinh_`. */
export const sinh_: Unary = inPlaceOf(sinh);
/** `torch.Tensor.sqrt_`. */
export const sqrt_: Unary = inPlaceOf(sqrt);
/** `torch.Tensor.square_`. */
export const square_: Unary = inPlaceOf(square);
/** `torch.Tensor.tan_`. */
export const tan_: Unary = inPlaceOf(tan);
/** `torch.Tensor.tanh_`. */
export const tanh_: Unary = inPlaceOf(tanh);
/** `torch.Tensor.trunc_`. */
export const trunc_: Unary = inPlaceOf(trunc);
/** `torch.Tensor.xlogy_`. */
export const xlogy_: Binary = inPlaceOf(xlogy);
