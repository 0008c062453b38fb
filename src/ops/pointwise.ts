import { e, type Expr } from '../kernels/expr/expr.js';
import { isTensor, type Tensor } from '../tensor/tensor.js';
import { clone } from './copy.js';
import { inPlaceFunction, rowFunction, type Operand, type Row } from './row.js';

/*
 * The pointwise table: one row per op, a value and, where it matters, its gradient. Formulas and edge cases are PyTorch's
 * (https://pytorch.org/docs/stable/torch.html#pointwise-ops).
 */

export type Unary = (x: Tensor) => Tensor;
export type Binary = (x: Tensor, other: Operand) => Tensor;

type Options = Pick<Row, 'grad' | 'bakes' | 'refuse' | 'lends'>;

const unary = (name: string, kind: Row['kind'], expr: (x: Expr) => Expr, options: Options = {}): Row => ({
  name,
  kind,
  expr,
  ...options,
});
const binary = (
  name: string,
  kind: Row['kind'],
  expr: (x: Expr, y: Expr) => Expr,
  options: Options = {},
): Row => ({ name, kind, expr, ...options });

const notBool =
  (name: string) =>
  (dtype: string): string | null =>
    dtype === 'bool'
      ? `bool is not supported for ${name}; use logicalNot/logicalXor, or convert with .to('int32')`
      : null;

/** 0, ±0.5, ±1, ±2, 3, 4: the exponents that people write and that need no logarithm. */
const commonExponents = new Set([0, 0.5, -0.5, 1, -1, 2, -2, 3, 4]);

// ---- arithmetic

const addRow = binary('add', 'promote', (x, y) => (x.type === 'bool' ? e.or(x, y) : e.add(x, y)));
const subRow = binary('sub', 'promote', (x, y) => e.sub(x, y), { refuse: notBool('sub') });
const mulRow = binary('mul', 'promote', (x, y) => (x.type === 'bool' ? e.and(x, y) : e.mul(x, y)));
const divRow = binary('div', 'float', (x, y) => e.div(x, y), {
  grad: (g, _, a, b) => [e.div(g, b), e.neg(e.mul(g, e.div(e.div(a, b), b)))],
});
const floorDivRow = binary('div', 'promote', (x, y) => e.floorDiv(x, y));
const truncDivRow = binary('div', 'promote', (x, y) =>
  x.type === 'f32' ? e.trunc(e.div(x, y)) : e.div(x, y),
);
const powRow = binary('pow', 'promote', (x, y) => e.pow(x, y), {
  bakes: (position, value) => position === 1 && commonExponents.has(value),
  lends: 'result',
});
const alphaRow: Row = {
  name: 'add',
  kind: 'promote',
  expr: (x: Expr, y: Expr, alpha: Expr) => e.add(x, e.mul(y, alpha)),
};

export interface AlphaOptions {
  /** Multiplier of `other`. */
  alpha?: number;
}

const plainAdd = rowFunction(addRow);
const scaledAdd = rowFunction(alphaRow);

/** `torch.add`: `x + alpha * other`. */
export function add(x: Tensor, other: Operand, { alpha = 1 }: AlphaOptions = {}): Tensor {
  return alpha === 1 ? plainAdd(x, other) : scaledAdd(x, other, alpha);
}

const plainSub = rowFunction(subRow);

/** `torch.sub`: `x - alpha * other`. */
export function sub(x: Tensor, other: Operand, { alpha = 1 }: AlphaOptions = {}): Tensor {
  return alpha === 1 ? plainSub(x, other) : scaledAdd(x, other, -alpha);
}

/** `torch.rsub`: `other - x`. */
export const rsub: Binary = rowFunction({
  ...subRow,
  name: 'rsub',
  expr: (x: Expr, y: Expr) => e.sub(y, x),
}) as Binary;

/** `torch.mul`. */
export const mul: Binary = rowFunction(mulRow) as Binary;

export interface DivOptions {
  /** `null`: true division; `'floor'` and `'trunc'` round the quotient. */
  roundingMode?: null | 'floor' | 'trunc';
}

const trueDiv = rowFunction(divRow);
const floorDiv = rowFunction(floorDivRow);
const truncDiv = rowFunction(truncDivRow);

/** `torch.div`. Integer division without a rounding mode gives float32. */
export function div(x: Tensor, other: Operand, { roundingMode = null }: DivOptions = {}): Tensor {
  if (roundingMode === null) return trueDiv(x, other);
  if (roundingMode === 'floor') return floorDiv(x, other);
  if (roundingMode === 'trunc') return truncDiv(x, other);
  throw new Error(`div: roundingMode must be null, 'floor' or 'trunc', got '${String(roundingMode)}'`);
}

/** `torch.floor_divide`. */
export const floorDivide: Binary = floorDiv as Binary;

/** `torch.pow`. */
export const pow: Binary = rowFunction(powRow) as Binary;

/** `torch.fmod`: the remainder with the sign of the dividend. */
export const fmod: Binary = rowFunction(binary('fmod', 'promote', (x, y) => e.fmod(x, y))) as Binary;

/** `torch.remainder`: the remainder with the sign of the divisor. */
export const remainder: Binary = rowFunction(
  binary('remainder', 'promote', (x, y) => e.remainder(x, y)),
) as Binary;

/** `torch.maximum`; NaN wins, ties share the gradient. */
export const maximum: Binary = rowFunction(
  binary('maximum', 'promote', (x, y) => (x.type === 'bool' ? e.or(x, y) : e.maximum(x, y))),
) as Binary;

/** `torch.minimum`; NaN wins, ties share the gradient. */
export const minimum: Binary = rowFunction(
  binary('minimum', 'promote', (x, y) => (x.type === 'bool' ? e.and(x, y) : e.minimum(x, y))),
) as Binary;

/** `torch.xlogy`: `x * log(y)`, and 0 where x is 0 (unless y is NaN). */
export const xlogy: Binary = rowFunction(
  binary('xlogy', 'float', (x, y) => e.select(e.and(e.eq(x, 0), e.not(e.isNan(y))), 0, e.mul(x, e.log(y)))),
) as Binary;

/** `torch.atan2`. */
export const atan2: Binary = rowFunction(binary('atan2', 'float', (x, y) => e.atan2(x, y))) as Binary;

/** `torch.logaddexp`: `log(exp(x) + exp(y))` without overflow. */
export const logaddexp: Binary = rowFunction(
  binary(
    'logaddexp',
    'float',
    // Equal operands apart: the difference of two infinities is NaN.
    (x, y) =>
      e.select(
        e.eq(x, y),
        e.add(x, Math.LN2),
        e.add(e.maximum(x, y), e.log1p(e.exp(e.neg(e.abs(e.sub(x, y)))))),
      ),
    { grad: (g, _, x, y) => [e.mul(g, e.sigmoid(e.sub(x, y))), e.mul(g, e.sigmoid(e.sub(y, x)))] },
  ),
) as Binary;

/** `torch.hypot`: `sqrt(x^2 + y^2)`. */
export const hypot: Binary = rowFunction(
  binary('hypot', 'promote', (x, y) => e.sqrt(e.add(e.mul(x, x), e.mul(y, y))), {
    grad: (g, r, x, y) => [e.mul(g, e.div(x, r)), e.mul(g, e.div(y, r))],
  }),
) as Binary;

const lerpRow: Row = {
  name: 'lerp',
  kind: 'promote',
  expr: (x: Expr, y: Expr, w: Expr) => e.add(x, e.mul(w, e.sub(y, x))),
};
const lerpFn = rowFunction(lerpRow);

/** `torch.lerp`: `x + weight * (end - x)`. */
export function lerp(x: Tensor, end: Tensor, weight: Operand): Tensor {
  return lerpFn(x, end, weight);
}

export interface ValueOptions {
  value?: number;
}

const addcmulRow: Row = {
  name: 'addcmul',
  kind: 'promote',
  expr: (x: Expr, a: Expr, b: Expr, v: Expr) => e.add(x, e.mul(v, e.mul(a, b))),
};
const addcdivRow: Row = {
  name: 'addcdiv',
  kind: 'promote',
  expr: (x: Expr, a: Expr, b: Expr, v: Expr) => e.add(x, e.mul(v, e.div(a, b))),
};
const addcmulFn = rowFunction(addcmulRow);
const addcdivFn = rowFunction(addcdivRow);

/** `torch.addcmul`: `x + value * a * b`. */
export function addcmul(x: Tensor, a: Tensor, b: Tensor, { value = 1 }: ValueOptions = {}): Tensor {
  return addcmulFn(x, a, b, value);
}

/** `torch.addcdiv`: `x + value * a / b`. */
export function addcdiv(x: Tensor, a: Tensor, b: Tensor, { value = 1 }: ValueOptions = {}): Tensor {
  return addcdivFn(x, a, b, value);
}

// ---- unary

const floatUnary = (name: string, expr: (x: Expr) => Expr, grad?: Row['grad']): Unary =>
  rowFunction(unary(name, 'float', expr, grad === undefined ? {} : { grad })) as Unary;
const sameUnary = (name: string, expr: (x: Expr) => Expr, options: Options = {}): Unary =>
  rowFunction(unary(name, 'promote', expr, options)) as Unary;
/** Steps have no gradient, and integers are their own result. */
const stepUnary = (name: string, expr: (x: Expr) => Expr): Unary =>
  sameUnary(name, (x) => (x.type === 'f32' ? expr(x) : x));

const negRow = unary('neg', 'promote', (x) => e.neg(x), { refuse: notBool('neg') });
const expRow = unary('exp', 'float', (x) => e.exp(x));
const sqrtRow = unary('sqrt', 'float', (x) => e.sqrt(x));
const tanhRow = unary('tanh', 'float', (x) => e.tanh(x));
const sigmoidRow = unary('sigmoid', 'float', (x) => e.sigmoid(x));
/** The gradient needs only the result. */
const reluRow = unary('relu', 'promote', (x) => e.relu(x), {
  grad: (g, y) => [e.select(e.gt(y, 0), g, 0)],
});

/** `torch.neg`. */
export const neg: Unary = rowFunction(negRow) as Unary;
/** `torch.abs`; its derivative at 0 is 0. */
export const abs: Unary = sameUnary('abs', (x) => (x.type === 'bool' ? x : e.abs(x)));
/** `torch.sign`. */
export const sign: Unary = sameUnary('sign', (x) => (x.type === 'bool' ? x : e.sign(x)));
/** `torch.square`. */
export const square: Unary = sameUnary('square', (x) => e.mul(x, x));
/** `torch.exp`. */
export const exp: Unary = rowFunction(expRow) as Unary;
/** `torch.exp2`: `2 ** x`. */
export const exp2: Unary = floatUnary('exp2', (x) => e.exp(e.mul(x, Math.LN2)));
/** `torch.expm1`. */
export const expm1: Unary = floatUnary(
  'expm1',
  (x) => e.expm1(x),
  (g, y) => [e.mul(g, e.add(y, 1))],
);
/** `torch.log`. */
export const log: Unary = floatUnary('log', (x) => e.log(x));
/** `torch.log1p`. */
export const log1p: Unary = floatUnary('log1p', (x) => e.log1p(x));
/** `torch.log2`. */
export const log2: Unary = floatUnary('log2', (x) => e.log2(x));
/** `torch.log10`. */
export const log10: Unary = floatUnary('log10', (x) => e.mul(e.log(x), Math.LOG10E));
/** `torch.sqrt`. */
export const sqrt: Unary = rowFunction(sqrtRow) as Unary;
/** `torch.rsqrt`. */
export const rsqrt: Unary = floatUnary('rsqrt', (x) => e.rsqrt(x));
/** `torch.reciprocal`. */
export const reciprocal: Unary = floatUnary(
  'reciprocal',
  (x) => e.reciprocal(x),
  (g, y) => [e.neg(e.mul(g, e.mul(y, y)))],
);
/** `torch.sin`. */
export const sin: Unary = floatUnary('sin', (x) => e.sin(x));
/** `torch.cos`. */
export const cos: Unary = floatUnary('cos', (x) => e.cos(x));
/** `torch.tan`. */
export const tan: Unary = floatUnary('tan', (x) => e.tan(x));
/** `torch.asin`. */
export const asin: Unary = floatUnary('asin', (x) => e.asin(x));
/** `torch.acos`. */
export const acos: Unary = floatUnary('acos', (x) => e.acos(x));
/** `torch.atan`. */
export const atan: Unary = floatUnary('atan', (x) => e.atan(x));
/** `torch.sinh`. */
export const sinh: Unary = floatUnary('sinh', (x) => e.sinh(x));
/** `torch.cosh`. */
export const cosh: Unary = floatUnary('cosh', (x) => e.cosh(x));
/** `torch.asinh`. */
export const asinh: Unary = floatUnary('asinh', (x) => e.asinh(x));
/** `torch.acosh`. */
export const acosh: Unary = floatUnary('acosh', (x) => e.acosh(x));
/** `torch.atanh`. */
export const atanh: Unary = floatUnary('atanh', (x) => e.atanh(x));
/** `relu(x) = max(x, 0)`; NaN stays NaN, the derivative at 0 is 0. */
export const relu: Unary = rowFunction(reluRow) as Unary;
/** `torch.erf`. */
export const erf: Unary = floatUnary('erf', (x) => e.erf(x));
/** `torch.erfc`: `1 - erf(x)`. */
export const erfc: Unary = floatUnary('erfc', (x) => e.sub(1, e.erf(x)));
/** `torch.erfinv`. */
export const erfinv: Unary = rowFunction(
  unary('erfinv', 'float', (x) => e.erfinv(x), { lends: 'result' }),
) as Unary;
/** `torch.tanh`. */
export const tanh: Unary = rowFunction(tanhRow) as Unary;
/** `torch.sigmoid`. */
export const sigmoid: Unary = rowFunction(sigmoidRow) as Unary;
/** `torch.floor`. */
export const floor: Unary = stepUnary('floor', (x) => e.floor(x));
/** `torch.ceil`. */
export const ceil: Unary = stepUnary('ceil', (x) => e.ceil(x));
/** `torch.round`: halves go to the even neighbour. */
export const round: Unary = stepUnary('round', (x) => e.round(x));
/** `torch.trunc`. */
export const trunc: Unary = stepUnary('trunc', (x) => e.trunc(x));
/** `torch.frac`: `x - trunc(x)`. */
export const frac: Unary = floatUnary(
  'frac',
  (x) => e.sub(x, e.trunc(x)),
  (g) => [g],
);

export interface LogitOptions {
  /** Where given, x is clamped to `[eps, 1 - eps]` first. */
  eps?: number | null;
}

const logitFn = floatUnary('logit', (x) => e.log(e.div(x, e.sub(1, x))));

/** `torch.logit`: `log(x / (1 - x))`, the inverse of sigmoid. */
export function logit(x: Tensor, { eps = null }: LogitOptions = {}): Tensor {
  return logitFn(eps === null ? x : clamp(x, eps, 1 - eps));
}

const largestFloat = 3.4028234663852886e38;

export interface NanToNumOptions {
  nan?: number;
  /** Default: the largest float32. */
  posinf?: number;
  /** Default: the most negative float32. */
  neginf?: number;
}

const nanToNumFn = rowFunction({
  name: 'nanToNum',
  kind: 'float',
  expr: (x: Expr, nan: Expr, posinf: Expr, neginf: Expr) =>
    e.select(
      e.isNan(x),
      nan,
      e.select(e.gt(x, largestFloat), posinf, e.select(e.lt(x, -largestFloat), neginf, x)),
    ),
  grad: (g, _, x) => [e.select(e.le(e.abs(x), largestFloat), g, 0)],
});

/** `torch.nan_to_num`: numbers in place of NaN and the infinities; integers are their own result. */
export function nanToNum(x: Tensor, options: NanToNumOptions = {}): Tensor {
  if (!x.isFloatingPoint()) return clone(x);
  const { nan = 0, posinf = largestFloat, neginf = -largestFloat } = options;
  return nanToNumFn(x, nan, posinf, neginf);
}

export interface ClampOptions {
  min?: Operand | null;
  max?: Operand | null;
}

/** `clamp(x, min, max)` or `clamp(x, { min, max })`. */
export type Clamp = (x: Tensor, min?: Operand | ClampOptions | null, max?: Operand | null) => Tensor;

const clampBothRow: Row = {
  name: 'clamp',
  kind: 'promote',
  expr: (x: Expr, lo: Expr, hi: Expr) => e.clamp(x, lo, hi),
  // No gradient for NaN, and all of it to `hi` where the bounds are crossed, as in PyTorch.
  grad: (g, _, x, lo, hi) => [
    e.select(e.and(e.ge(x, lo), e.le(x, hi)), g, 0),
    e.select(e.and(e.lt(lo, hi), e.lt(x, lo)), g, 0),
    e.select(e.or(e.gt(x, hi), e.lt(hi, lo)), g, 0),
  ],
};
const clampLowRow: Row = {
  name: 'clamp',
  kind: 'promote',
  expr: (x: Expr, lo: Expr) => e.maximum(x, lo),
  grad: (g, _, x, lo) => [e.select(e.ge(x, lo), g, 0), e.select(e.lt(x, lo), g, 0)],
};
const clampHighRow: Row = {
  name: 'clamp',
  kind: 'promote',
  expr: (x: Expr, hi: Expr) => e.minimum(x, hi),
  grad: (g, _, x, hi) => [e.select(e.le(x, hi), g, 0), e.select(e.gt(x, hi), g, 0)],
};

type ClampFn = (x: Tensor, ...bounds: Operand[]) => Tensor;

function clampWith(both: ClampFn, low: ClampFn, high: ClampFn): Clamp {
  return (x, first = null, second = null) => {
    const named = typeof first === 'object' && first !== null && !isTensor(first);
    const { min = null, max = null } = named ? first : { min: first, max: second };
    if (min !== null && max !== null) return both(x, min, max);
    if (min !== null) return low(x, min);
    if (max !== null) return high(x, max);
    throw new Error('clamp: give at least one of { min, max }');
  };
}

/**
 * `torch.clamp` between `min` and `max` (numbers or tensors; at least one); the gradient on a bound is passed
 * on.
 */
export const clamp: Clamp = clampWith(
  rowFunction(clampBothRow),
  rowFunction(clampLowRow),
  rowFunction(clampHighRow),
);

// ---- in place

/** `torch.Tensor.add_`. */
export function add_(x: Tensor, other: Operand, { alpha = 1 }: AlphaOptions = {}): Tensor {
  return alpha === 1 ? addInto(x, other) : scaledAddInto(x, other, alpha);
}
const addInto = inPlaceFunction(addRow);
const scaledAddInto = inPlaceFunction(alphaRow);

/** `torch.Tensor.sub_`. */
export function sub_(x: Tensor, other: Operand, { alpha = 1 }: AlphaOptions = {}): Tensor {
  return alpha === 1 ? subInto(x, other) : scaledAddInto(x, other, -alpha);
}
const subInto = inPlaceFunction(subRow);

/** `torch.Tensor.mul_`. */
export const mul_: Binary = inPlaceFunction(mulRow) as Binary;
/** `torch.Tensor.div_`. */
export const div_: Binary = inPlaceFunction(divRow) as Binary;
/** `torch.Tensor.pow_`. */
export const pow_: Binary = inPlaceFunction(powRow) as Binary;
/** `torch.Tensor.neg_`. */
export const neg_: Unary = inPlaceFunction(negRow) as Unary;
/** `torch.Tensor.exp_`. */
export const exp_: Unary = inPlaceFunction(expRow) as Unary;
/** `torch.Tensor.sigmoid_`. */
export const sigmoid_: Unary = inPlaceFunction(sigmoidRow) as Unary;
/** `torch.Tensor.tanh_`. */
export const tanh_: Unary = inPlaceFunction(tanhRow) as Unary;
/** `torch.Tensor.sqrt_`. */
export const sqrt_: Unary = inPlaceFunction(sqrtRow) as Unary;
/** `torch.Tensor.relu_`. */
export const relu_: Unary = inPlaceFunction(reluRow) as Unary;

const addcmulInto = inPlaceFunction(addcmulRow);
const addcdivInto = inPlaceFunction(addcdivRow);
const lerpInto = inPlaceFunction(lerpRow);

/** `torch.Tensor.addcmul_`. */
export function addcmul_(x: Tensor, a: Tensor, b: Tensor, { value = 1 }: ValueOptions = {}): Tensor {
  return addcmulInto(x, a, b, value);
}
/** `torch.Tensor.addcdiv_`. */
export function addcdiv_(x: Tensor, a: Tensor, b: Tensor, { value = 1 }: ValueOptions = {}): Tensor {
  return addcdivInto(x, a, b, value);
}
/** `torch.Tensor.lerp_`. */
export function lerp_(x: Tensor, end: Tensor, weight: Operand): Tensor {
  return lerpInto(x, end, weight);
}
/** `torch.Tensor.clamp_`. */
export const clamp_: Clamp = clampWith(
  inPlaceFunction(clampBothRow),
  inPlaceFunction(clampLowRow),
  inPlaceFunction(clampHighRow),
);
