import { checkTensors } from '../base/tensors.js';
import { named } from '../../autograd/define.js';
import { constant, e, type Expr } from '../../kernels/expr/expr.js';
import * as fn from '../../kernels/expr/functions.js';
import { checkCount, optionReader, type Trailing } from '../../tensor/options.js';
import type { Tensor } from '../../tensor/tensor.js';
import { clone } from '../base/copy.js';
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

/* Rows beside those of pointwise.ts, which are less often met. */

const noGradient = { grad: (): Expr[] => [constant(0), constant(0)] };

const only =
  (name: string, integers: boolean) =>
  (dtype: 'bool' | string): string | null => {
    const integer = dtype === 'int32' || dtype === 'uint8';
    if (integers) return integer ? null : `${name} works on integers, not on ${dtype}`;
    return dtype === 'bool' ? `${name} does not work on bool; convert with .to('int32')` : null;
  };

// ---- signs and parts

/** `torch.angle` of real numbers: pi where negative, else 0; NaN stays NaN. */
export const angle: Unary = unaryOp(
  'angle',
  'float',
  (x) => e.select(e.isNan(x), x, e.select(e.lt(x, 0), Math.PI, 0)),
  noGradient,
);
/** `torch.copysign`: the magnitude of `x` with the sign of `other`, which -0 has too. */
export const copysign: Binary = binaryOp('copysign', 'float', (x, y) => fn.copysign(x, y));
/** `torch.sgn`: of real numbers the same as `sign`. */
export const sgn: Unary = unaryOp('sgn', 'promote', (x) => (x.type === 'bool' ? x : e.sign(x)));
/** `torch.signbit`: whether the sign is minus, of -0 too. */
export const signbit: Unary = unaryOp('signbit', 'compare', (x) => {
  if (x.type === 'f32') return e.lt(fn.copysign(1, x), 0);
  return x.type === 'i32' ? e.lt(x, 0) : e.const(false, 'bool');
});
/** `torch.heaviside`: 0 where `x` is negative or NaN, 1 where positive, `values` where it is 0. */
export const heaviside: Binary = binaryOp(
  'heaviside',
  'promote',
  (x, y) => {
    if (x.type === 'bool') return e.or(x, y);
    const step = e.select(e.eq(x, 0), y, e.select(e.lt(x, 0), e.const(0, x.type), 1));
    return x.type === 'f32' ? e.select(e.isNan(x), 0, step) : step;
  },
  noGradient,
);
/** `torch.isneginf`. */
export const isneginf: Unary = unaryOp('isneginf', 'compare', (x) =>
  x.type === 'f32' ? e.and(e.isInf(x), e.lt(x, 0)) : e.const(false, 'bool'),
);
/** `torch.isposinf`. */
export const isposinf: Unary = unaryOp('isposinf', 'compare', (x) =>
  x.type === 'f32' ? e.and(e.isInf(x), e.gt(x, 0)) : e.const(false, 'bool'),
);
/** `torch.isreal`: true everywhere, since there are no complex tensors. */
export const isreal: Unary = unaryOp('isreal', 'compare', (_x) => e.const(true, 'bool'));

/** `torch.positive`: `x` itself. */
export function positive(x: Tensor): Tensor {
  checkTensors('positive', x);
  checkCount('positive', arguments.length, 1);
  if (x.dtype === 'bool') throw new Error('positive: bool is not supported');
  return x;
}

// ---- arithmetic

/** `torch.deg2rad`. */
export const deg2rad: Unary = unaryOp('deg2rad', 'float', (x) => e.mul(x, Math.PI / 180));
/** `torch.rad2deg`. */
export const rad2deg: Unary = unaryOp('rad2deg', 'float', (x) => e.mul(x, 180 / Math.PI));
/** `torch.ldexp`: `x * 2 ** other`. */
export const ldexp: Binary = binaryOp('ldexp', 'float', (x, y) => e.mul(x, fn.pow(2, y)));

/** The operand that is no NaN, if one is. */
const withoutNan = (x: Expr, y: Expr, best: Expr): Expr =>
  x.type === 'f32' ? e.select(e.isNan(x), y, e.select(e.isNan(y), x, best)) : best;
const chosen =
  (first: (x: Expr, y: Expr) => Expr) =>
  (g: Expr, _: Expr, x: Expr, y: Expr): Expr[] => {
    const left = e.or(first(x, y), e.isNan(y));
    return [e.select(left, g, 0), e.select(left, 0, g)];
  };
/** `torch.fmax`: the maximum, of which NaN is no candidate; a tie's gradient goes to `x`. */
export const fmax: Binary = binaryOp(
  'fmax',
  'promote',
  (x, y) => (x.type === 'bool' ? e.or(x, y) : withoutNan(x, y, e.maximum(x, y))),
  { grad: chosen(e.ge) },
);
/** `torch.fmin`: the minimum, of which NaN is no candidate; a tie's gradient goes to `x`. */
export const fmin: Binary = binaryOp(
  'fmin',
  'promote',
  (x, y) => (x.type === 'bool' ? e.and(x, y) : withoutNan(x, y, e.minimum(x, y))),
  { grad: chosen(e.le) },
);
/** `torch.gcd` of integers, not negative; of 0 and 0 it is 0. */
export const gcd: Binary = binaryOp('gcd', 'promote', (x, y) => fn.gcd(x, y), { refuse: only('gcd', true) });
/** `torch.lcm` of integers, not negative; with 0 it is 0. */
export const lcm: Binary = binaryOp('lcm', 'promote', (x, y) => fn.lcm(x, y), { refuse: only('lcm', true) });

const shift = (name: string, op: (x: Expr, by: Expr) => Expr): Binary =>
  binaryOp(name, 'promote', op, { refuse: only(name, true) });
/** `torch.bitwise_left_shift` of integers; by 0 to 31 bits. */
export const bitwiseLeftShift: Binary = shift('bitwiseLeftShift', (x, y) => e.shl(x, y));
/** `torch.bitwise_right_shift` of integers, which keeps the sign; by 0 to 31 bits. */
export const bitwiseRightShift: Binary = shift('bitwiseRightShift', (x, y) => e.shr(x, y));

/** `torch.logaddexp2`: `log2(2 ** x + 2 ** y)` without overflow. */
export const logaddexp2: Binary = binaryOp(
  'logaddexp2',
  'float',
  // Equal operands apart: the difference of two infinities is NaN.
  (x, y) => {
    const less = e.exp(e.mul(e.abs(e.sub(x, y)), -Math.LN2));
    return e.select(e.eq(x, y), e.add(x, 1), e.add(e.maximum(x, y), e.mul(fn.log1p(less), Math.LOG2E)));
  },
  {
    grad: (g, _, x, y) => {
      const d = e.mul(e.sub(x, y), Math.LN2);
      return [e.mul(g, fn.sigmoid(d)), e.mul(g, fn.sigmoid(e.neg(d)))];
    },
  },
);

/** `torch.sinc`: `sin(pi x) / (pi x)`, and 1 at 0. */
export const sinc: Unary = unaryOp('sinc', 'float', (x) => fn.sinc(x));

// ---- with options

type RowFn = (x: Tensor, ...rest: Operand[]) => Tensor;

export interface LogitOptions {
  /** Where given, x is clamped to `[eps, 1 - eps]` first. */
  eps?: number | null;
}

const odds = (x: Expr): Expr => e.log(e.div(x, e.sub(1, x)));
const logitRow: Row = { name: 'logit', kind: 'float', expr: odds };
const clampedLogitRow: Row = {
  name: 'logit',
  kind: 'float',
  expr: (x: Expr, low: Expr, high: Expr) => odds(e.clamp(x, low, high)),
};

type Logit = (x: Tensor, ...args: Trailing<[eps: number | null], LogitOptions>) => Tensor;

const logits = (op: string, make: (row: Row) => RowFn): Logit => {
  const read = optionReader(op, { eps: null as number | null }, 'eps');
  const [plain, clamped] = [make(logitRow), make(clampedLogitRow)];
  return named(op, (x, ...args) => {
    const { eps } = read(args);
    return eps === null ? plain(x) : clamped(x, eps, 1 - eps);
  });
};

/** `torch.logit`: `log(x / (1 - x))`, the inverse of sigmoid. */
export const logit: Logit = logits('logit', rowFunction as (row: Row) => RowFn);
/** `torch.Tensor.logit_`. */
export const logit_: Logit = logits('logit_', inPlaceFunction);

const largestFloat = 3.4028234663852886e38;

export interface NanToNumOptions {
  nan?: number;
  /** Default: the largest float32. */
  posinf?: number;
  /** Default: the most negative float32. */
  neginf?: number;
}

const nanToNumRow: Row = {
  name: 'nanToNum',
  kind: 'float',
  expr: (x: Expr, nan: Expr, posinf: Expr, neginf: Expr) =>
    e.select(
      e.isNan(x),
      nan,
      e.select(e.gt(x, largestFloat), posinf, e.select(e.lt(x, -largestFloat), neginf, x)),
    ),
  grad: (g: Expr, _: Expr, x: Expr) => [e.select(e.le(e.abs(x), largestFloat), g, 0)],
};
const nanToNumFn = rowFunction(nanToNumRow);
const nanToNumInto = inPlaceFunction(nanToNumRow);
const readNanToNum = optionReader(
  'nanToNum',
  { nan: 0, posinf: largestFloat, neginf: -largestFloat },
  'nan',
  'posinf',
  'neginf',
);

type NanToNum = Trailing<[nan: number, posinf: number, neginf: number], NanToNumOptions>;

/** `torch.nan_to_num`: numbers in place of NaN and the infinities; integers are their own result. */
export function nanToNum(x: Tensor, ...args: NanToNum): Tensor {
  checkTensors('nanToNum', x);
  const { nan, posinf, neginf } = readNanToNum(args);
  return x.isFloatingPoint() ? nanToNumFn(x, nan, posinf, neginf) : clone(x);
}

/** `torch.Tensor.nan_to_num_`. */
export function nanToNum_(x: Tensor, ...args: NanToNum): Tensor {
  checkTensors('nanToNum_', x);
  const { nan, posinf, neginf } = readNanToNum(args);
  return x.isFloatingPoint() ? nanToNumInto(x, nan, posinf, neginf) : x;
}

// ---- Bessel functions

/** `torch.i0`: the modified Bessel function of order 0. */
export const i0: Unary = unaryOp('i0', 'float', (x) => fn.i0(x));
