import { constant, e, type Expr } from '../../kernels/expr/expr.js';
import * as fn from '../../kernels/expr/functions.js';
import { named } from '../../autograd/define.js';
import type { Tensor } from '../../tensor/tensor.js';
import { isFloatingPoint } from '../../tensor/dtype.js';
import { optionReader, type Needed, type Trailing } from '../../tensor/options.js';
import { checkDivisor } from '../base/check.js';
import {
  binaryOp,
  inPlaceFunction,
  rowFunction,
  unaryOp,
  type Binary,
  type Operand,
  type Row,
  type Unary,
} from '../base/row.js';

/*
 * The pointwise table: one row per op, a value and, where it matters, its gradient. Formulas and edge cases
 * are PyTorch's (https://pytorch.org/docs/stable/torch.html#pointwise-ops).
 */

export type { Binary, Power, Unary } from '../base/row.js';

type Options = Partial<Omit<Row, 'name' | 'kind' | 'expr'>>;

type RowFn = (x: Tensor, ...rest: Operand[]) => Tensor;

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

// ---- arithmetic

const addRow = binary('add', 'promote', (x, y) => (x.type === 'bool' ? e.or(x, y) : e.add(x, y)));
const subRow = binary('sub', 'promote', (x, y) => e.sub(x, y), { refuse: notBool('sub') });
const divRow = binary('div', 'float', (x, y) => e.div(x, y), {
  grad: (g, _, a, b) => [e.div(g, b), e.neg(e.mul(g, e.div(e.div(a, b), b)))],
});
const steps: Options = { grad: () => [constant(0), constant(0)], checkIntegers: checkDivisor };
const floorDivRow = binary('div', 'promote', (x, y) => fn.floorDiv(x, y), steps);
const truncDivRow = binary(
  'div',
  'promote',
  (x, y) => (x.type === 'f32' ? e.trunc(e.div(x, y)) : e.div(x, y)),
  steps,
);
const alphaRow: Row = {
  name: 'add',
  kind: 'promote',
  expr: (x: Expr, y: Expr, alpha: Expr) => e.add(x, e.mul(y, alpha)),
};

export interface AlphaOptions {
  /** Multiplier of `other`. */
  alpha?: number;
}

const readAlpha = (op: string) => optionReader(op, { alpha: 1 });
const readAdd = readAlpha('add');
const readSub = readAlpha('sub');
const readRsub = readAlpha('rsub');

const plainAdd = rowFunction(addRow);
const scaledAdd = rowFunction(alphaRow);

/** `torch.add`: `x + alpha * other`. Integers past int32 wrap, as PyTorch's int32 does. */
export function add(x: Tensor, other: Operand, ...args: Trailing<[], AlphaOptions>): Tensor {
  const { alpha } = readAdd(args);
  return alpha === 1 ? plainAdd(x, other) : scaledAdd(x, other, alpha);
}

const plainSub = rowFunction(subRow);

/** `torch.sub`: `x - alpha * other`. */
export function sub(x: Tensor, other: Operand, ...args: Trailing<[], AlphaOptions>): Tensor {
  const { alpha } = readSub(args);
  return alpha === 1 ? plainSub(x, other) : scaledAdd(x, other, -alpha);
}

const plainRsub = rowFunction({ ...subRow, name: 'rsub', expr: (x: Expr, y: Expr) => e.sub(y, x) });
const scaledRsub = rowFunction({
  ...subRow,
  name: 'rsub',
  expr: (x: Expr, y: Expr, alpha: Expr) => e.sub(y, e.mul(x, alpha)),
});

/** `torch.rsub`: `other - alpha * x`. */
export function rsub(x: Tensor, other: Operand, ...args: Trailing<[], AlphaOptions>): Tensor {
  const { alpha } = readRsub(args);
  return alpha === 1 ? plainRsub(x, other) : scaledRsub(x, other, alpha);
}

/** `torch.mul`. Integers past int32 wrap, as in {@link add}. */
export const mul: Binary = binaryOp('mul', 'promote', (x, y) =>
  x.type === 'bool' ? e.and(x, y) : e.mul(x, y),
);

export interface DivOptions {
  /** `null`: true division; `'floor'` and `'trunc'` round the quotient. */
  roundingMode?: null | 'floor' | 'trunc';
}

const divides = (op: string, [byTrue, byFloor, byTrunc]: readonly Binary[]) => {
  const read = optionReader(op, { roundingMode: null as DivOptions['roundingMode'] });
  return named(op, (x: Tensor, other: Operand, ...args: Trailing<[], DivOptions>): Tensor => {
    const { roundingMode } = read(args);
    const divide =
      roundingMode === null
        ? byTrue
        : roundingMode === 'floor'
          ? byFloor
          : roundingMode === 'trunc'
            ? byTrunc
            : undefined;
    if (divide === undefined)
      throw new Error(`${op}: roundingMode must be null, 'floor' or 'trunc', got '${String(roundingMode)}'`);
    return divide(x, other);
  });
};

/** `torch.true_divide`: `div` without its options, which costs a bundle less. */
export const trueDivide: Binary = rowFunction(divRow) as Binary;

type Div = (x: Tensor, other: Operand, ...args: Trailing<[], DivOptions>) => Tensor;

const divRows: readonly Row[] = [divRow, floorDivRow, truncDivRow];

/**
 * `torch.div`. Integer division without a rounding mode gives float32; with one, an integer divided by zero
 * is an error, as in `floorDivide`, `fmod` and `remainder`: at once by a number, at the next await by a
 * tensor.
 */
export const div: Div = divides('div', divRows.map(rowFunction) as Binary[]);
/** `torch.Tensor.div_`. */
export const div_: Div = divides('div_', divRows.map(inPlaceFunction) as Binary[]);

/** `torch.floor_divide`. */
export const floorDivide: Binary = rowFunction({ ...floorDivRow, name: 'floorDivide' }) as Binary;

/** `torch.fmod`: the remainder with the sign of the dividend. */
export const fmod: Binary = binaryOp('fmod', 'promote', (x, y) => fn.fmod(x, y), {
  checkIntegers: checkDivisor,
});

/** `torch.remainder`: the remainder with the sign of the divisor. */
export const remainder: Binary = binaryOp('remainder', 'promote', (x, y) => fn.remainder(x, y), {
  checkIntegers: checkDivisor,
});

/** `torch.maximum`; NaN wins, ties share the gradient. */
export const maximum: Binary = binaryOp('maximum', 'promote', (x, y) =>
  x.type === 'bool' ? e.or(x, y) : e.maximum(x, y),
);

/** `torch.minimum`; NaN wins, ties share the gradient. */
export const minimum: Binary = binaryOp('minimum', 'promote', (x, y) =>
  x.type === 'bool' ? e.and(x, y) : e.minimum(x, y),
);

/** `torch.xlogy`: `x * log(y)`, and 0 where x is 0 (unless y is NaN). */
export const xlogy: Binary = binaryOp('xlogy', 'float', (x, y) =>
  e.select(e.and(e.eq(x, 0), e.not(e.isNan(y))), 0, e.mul(x, e.log(y))),
);

/** `torch.atan2`. */
export const atan2: Binary = binaryOp('atan2', 'float', (x, y) => fn.atan2(x, y));

/** `torch.logaddexp`: `log(exp(x) + exp(y))` without overflow. */
export const logaddexp: Binary = binaryOp(
  'logaddexp',
  'float',
  // Equal operands apart: the difference of two infinities is NaN.
  (x, y) =>
    e.select(
      e.eq(x, y),
      e.add(x, Math.LN2),
      e.add(e.maximum(x, y), fn.log1p(e.exp(e.neg(e.abs(e.sub(x, y)))))),
    ),
  { grad: (g, _, x, y) => [e.mul(g, fn.sigmoid(e.sub(x, y))), e.mul(g, fn.sigmoid(e.sub(y, x)))] },
);

/** `torch.hypot`: `sqrt(x^2 + y^2)`. */
export const hypot: Binary = binaryOp('hypot', 'promote', (x, y) => fn.hypot(x, y), {
  grad: (g, r, x, y) => [e.mul(g, e.div(x, r)), e.mul(g, e.div(y, r))],
});

type LerpArgs = Needed<[end: Tensor, weight: Operand], ['end', 'weight']>;

/** From the nearer end, so that a weight of 1 gives `end` itself. */
const lerpRow: Row = {
  name: 'lerp',
  kind: 'promote',
  names: ['end', 'weight'],
  expr: (x: Expr, y: Expr, w: Expr) => {
    const d = e.sub(y, x);
    return e.select(e.lt(e.abs(w), 0.5), e.add(x, e.mul(w, d)), e.sub(y, e.mul(d, e.sub(1, w))));
  },
  grad: (g: Expr, _: Expr, x: Expr, y: Expr, w: Expr) => [
    e.mul(g, e.sub(1, w)),
    e.mul(g, w),
    e.mul(g, e.sub(y, x)),
  ],
};
const lerpFn = rowFunction(lerpRow);

/** `torch.lerp`: `x + weight * (end - x)`. */
export function lerp(x: Tensor, ...args: LerpArgs): Tensor {
  return lerpFn(x, ...(args as Operand[]));
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
  refuse: (dtype) => (isFloatingPoint(dtype) ? null : 'integers do not divide; convert them to float32'),
};
const readAddcmul = optionReader('addcmul', { value: 1 });
const readAddcdiv = optionReader('addcdiv', { value: 1 });
const addcmulFn = rowFunction(addcmulRow);
const addcdivFn = rowFunction(addcdivRow);

/** `torch.addcmul`: `x + value * a * b`. */
export function addcmul(x: Tensor, a: Tensor, b: Tensor, ...args: Trailing<[], ValueOptions>): Tensor {
  const { value } = readAddcmul(args);
  return addcmulFn(x, a, b, value);
}

/** `torch.addcdiv`: `x + value * a / b`. */
export function addcdiv(x: Tensor, a: Tensor, b: Tensor, ...args: Trailing<[], ValueOptions>): Tensor {
  const { value } = readAddcdiv(args);
  return addcdivFn(x, a, b, value);
}

// ---- unary

const floatUnary = (name: string, expr: (x: Expr) => Expr, grad?: Row['grad']): Unary =>
  unaryOp(name, 'float', expr, grad === undefined ? {} : { grad });
const sameUnary = (name: string, expr: (x: Expr) => Expr, options: Options = {}): Unary =>
  unaryOp(name, 'promote', expr, options);
/** Steps have no gradient, and integers are their own result. */
const stepUnary = (name: string, expr: (x: Expr) => Expr): Unary =>
  sameUnary(name, (x) => (x.type === 'f32' ? expr(x) : x));

/** `torch.neg`. */
export const neg: Unary = unaryOp('neg', 'promote', (x) => e.neg(x), { refuse: notBool('neg') });
/** `torch.abs`; its derivative at 0 is 0. */
export const abs: Unary = sameUnary('abs', (x) => (x.type === 'bool' ? x : e.abs(x)));
/** `torch.sign`. */
export const sign: Unary = sameUnary('sign', (x) => (x.type === 'bool' ? x : e.sign(x)));
/** `torch.square`. */
export const square: Unary = sameUnary('square', (x) => e.mul(x, x));
/** `torch.exp`. */
export const exp: Unary = unaryOp('exp', 'float', (x) => e.exp(x));
/** `torch.exp2`: `2 ** x`. */
export const exp2: Unary = floatUnary('exp2', (x) => fn.pow(2, x));
/** `torch.expm1`. */
export const expm1: Unary = floatUnary(
  'expm1',
  (x) => fn.expm1(x),
  (g, y) => [e.mul(g, e.add(y, 1))],
);
/** `torch.log`. */
export const log: Unary = floatUnary('log', (x) => e.log(x));
/** `torch.log1p`. */
export const log1p: Unary = floatUnary('log1p', (x) => fn.log1p(x));
/** `torch.log2`. */
export const log2: Unary = floatUnary('log2', (x) => fn.log2(x));
/** `torch.log10`. */
export const log10: Unary = floatUnary('log10', (x) => e.mul(e.log(x), Math.LOG10E));
/** `torch.sqrt`. */
export const sqrt: Unary = unaryOp('sqrt', 'float', (x) => e.sqrt(x));
/** `torch.rsqrt`. */
export const rsqrt: Unary = floatUnary('rsqrt', (x) => e.rsqrt(x));
/** `torch.reciprocal`. */
export const reciprocal: Unary = floatUnary(
  'reciprocal',
  (x) => e.reciprocal(x),
  (g, y) => [e.neg(e.mul(g, e.mul(y, y)))],
);
/** `torch.sin`. */
export const sin: Unary = floatUnary('sin', (x) => fn.sin(x));
/** `torch.cos`. */
export const cos: Unary = floatUnary('cos', (x) => fn.cos(x));
/** `torch.tan`. */
export const tan: Unary = floatUnary('tan', (x) => fn.tan(x));
/** `torch.asin`. */
export const asin: Unary = floatUnary('asin', (x) => fn.asin(x));
/** `torch.acos`. */
export const acos: Unary = floatUnary('acos', (x) => fn.acos(x));
/** `torch.atan`. */
export const atan: Unary = floatUnary('atan', (x) => fn.atan(x));
/** `torch.sinh`. */
export const sinh: Unary = floatUnary('sinh', (x) => fn.sinh(x));
/** `torch.cosh`. */
export const cosh: Unary = floatUnary('cosh', (x) => fn.cosh(x));
/** `torch.asinh`. */
export const asinh: Unary = floatUnary('asinh', (x) => fn.asinh(x));
/** `torch.acosh`. */
export const acosh: Unary = floatUnary('acosh', (x) => fn.acosh(x));
/** `torch.atanh`. */
export const atanh: Unary = floatUnary('atanh', (x) => fn.atanh(x));
/** `relu(x) = max(x, 0)`; NaN stays NaN, the derivative at 0 is 0. */
export const relu: Unary = unaryOp('relu', 'promote', (x) => e.relu(x), {
  grad: (g, y) => [e.select(e.gt(y, 0), g, 0)],
});
/** `torch.erf`. */
export const erf: Unary = floatUnary('erf', (x) => fn.erf(x));
/** `torch.erfc`: `1 - erf(x)`, with all its digits where that is near 0. */
export const erfc: Unary = floatUnary('erfc', (x) => fn.erfc(x));
/** `torch.erfinv`. */
export const erfinv: Unary = unaryOp('erfinv', 'float', (x) => fn.erfinv(x), { lends: 'result' });
/** `torch.tanh`. */
export const tanh: Unary = unaryOp('tanh', 'float', (x) => fn.tanh(x));
/** `torch.sigmoid`. */
export const sigmoid: Unary = unaryOp('sigmoid', 'float', (x) => fn.sigmoid(x));
/** `torch.floor`. */
export const floor: Unary = stepUnary('floor', (x) => e.floor(x));
/** `torch.ceil`. */
export const ceil: Unary = stepUnary('ceil', (x) => e.ceil(x));
const roundRow: Row = {
  name: 'round',
  kind: 'promote',
  expr: (x: Expr) => (x.type === 'f32' ? e.round(x) : x),
};
/** One of `up` and `down` is 1. */
const decimalsRow: Row = {
  name: 'round',
  kind: 'promote',
  expr: (x: Expr, up: Expr, down: Expr) => e.div(e.mul(e.round(e.div(e.mul(x, up), down)), down), up),
  grad: () => [constant(0)],
  refuse: (dtype) => (isFloatingPoint(dtype) ? null : `decimals need a float tensor, got ${dtype}`),
};

export interface RoundOptions {
  /** Digits behind the point that stay; negative: zeros before it. */
  decimals?: number;
}

type Round = (x: Tensor, ...args: Trailing<[], RoundOptions>) => Tensor;

const rounds = (op: string, make: (row: Row) => RowFn): Round => {
  const read = optionReader(op, { decimals: 0 });
  const [plain, scaled] = [make(roundRow), make(decimalsRow)];
  return named(op, (x, ...args) => {
    const { decimals } = read(args);
    if (!Number.isInteger(decimals)) throw new Error(`${op}: decimals must be an integer, got ${decimals}`);
    if (decimals === 0) return plain(x);
    return scaled(x, 10 ** Math.max(decimals, 0), 10 ** Math.max(-decimals, 0));
  });
};

/** `torch.round`: halves go to the even neighbour. */
export const round: Round = rounds('round', rowFunction as (row: Row) => RowFn);
/** `torch.Tensor.round_`. */
export const round_: Round = rounds('round_', inPlaceFunction);
/** `torch.trunc`. */
export const trunc: Unary = stepUnary('trunc', (x) => e.trunc(x));
/** `torch.frac`: `x - trunc(x)`. */
export const frac: Unary = floatUnary(
  'frac',
  (x) => e.sub(x, e.trunc(x)),
  (g) => [g],
);

export interface ClampOptions {
  min?: Operand | null;
  max?: Operand | null;
}

/** `clamp(x, min, max)` or `clamp(x, { min, max })`. */
export type Clamp = (
  x: Tensor,
  ...args: Trailing<[min: Operand | null, max: Operand | null], ClampOptions>
) => Tensor;

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

/** `torch.clamp_min`: at least `min`, a number or a tensor. */
export const clampMin: Binary = rowFunction({ ...clampLowRow, name: 'clampMin' }) as Binary;
/** `torch.clamp_max`: at most `max`, a number or a tensor. */
export const clampMax: Binary = rowFunction({ ...clampHighRow, name: 'clampMax' }) as Binary;

function clampWith(op: string, both: RowFn, low: RowFn, high: RowFn): Clamp {
  const read = optionReader<Required<ClampOptions>>(op, { min: null, max: null }, 'min', 'max');
  return (x, ...args) => {
    const { min, max } = read(args);
    if (min !== null && max !== null) return both(x, min, max);
    if (min !== null) return low(x, min);
    if (max !== null) return high(x, max);
    throw new Error(`${op}: give at least one of { min, max }`);
  };
}

/**
 * `torch.clamp` between `min` and `max` (numbers or tensors; at least one); the gradient on a bound is passed
 * on.
 */
export const clamp: Clamp = clampWith(
  'clamp',
  rowFunction(clampBothRow),
  rowFunction(clampLowRow),
  rowFunction(clampHighRow),
);

// ---- in place

/** `torch.Tensor.add_`. */
export function add_(x: Tensor, other: Operand, ...args: Trailing<[], AlphaOptions>): Tensor {
  const { alpha } = readAdd(args);
  return alpha === 1 ? addInto(x, other) : scaledAddInto(x, other, alpha);
}
const addInto = inPlaceFunction(addRow);
const scaledAddInto = inPlaceFunction(alphaRow);

/** `torch.Tensor.sub_`. */
export function sub_(x: Tensor, other: Operand, ...args: Trailing<[], AlphaOptions>): Tensor {
  const { alpha } = readSub(args);
  return alpha === 1 ? subInto(x, other) : scaledAddInto(x, other, -alpha);
}
const subInto = inPlaceFunction(subRow);

const addcmulInto = inPlaceFunction(addcmulRow);
const addcdivInto = inPlaceFunction(addcdivRow);
const lerpInto = inPlaceFunction(lerpRow);

/** `torch.Tensor.addcmul_`. */
export function addcmul_(x: Tensor, a: Tensor, b: Tensor, ...args: Trailing<[], ValueOptions>): Tensor {
  const { value } = readAddcmul(args);
  return addcmulInto(x, a, b, value);
}
/** `torch.Tensor.addcdiv_`. */
export function addcdiv_(x: Tensor, a: Tensor, b: Tensor, ...args: Trailing<[], ValueOptions>): Tensor {
  const { value } = readAddcdiv(args);
  return addcdivInto(x, a, b, value);
}
/** `torch.Tensor.lerp_`. */
export function lerp_(x: Tensor, ...args: LerpArgs): Tensor {
  return lerpInto(x, ...(args as Operand[]));
}
/** `torch.Tensor.clamp_`. */
export const clamp_: Clamp = clampWith(
  'clamp_',
  inPlaceFunction(clampBothRow),
  inPlaceFunction(clampLowRow),
  inPlaceFunction(clampHighRow),
);
