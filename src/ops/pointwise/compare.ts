import { e, type Expr } from '../../kernels/expr/expr.js';
import type { Tensor } from '../../tensor/tensor.js';
import { rowFunction, type Operand, type Row } from '../base/row.js';
import type { Binary, Unary } from './pointwise.js';
import { optionReader, type Trailing } from '../../tensor/options.js';

/* Comparisons and tests: bool results, no gradients. NaN compares as IEEE 754 says. */

/** bool has no order in WGSL; compared as 0 and 1. */
const asNumber = (x: Expr): Expr => (x.type === 'bool' ? e.cast(x, 'i32') : x);

const comparison = (name: string, expr: (x: Expr, y: Expr) => Expr): Binary =>
  rowFunction({
    name,
    kind: 'compare',
    expr: (x: Expr, y: Expr) => expr(asNumber(x), asNumber(y)),
  } as Row) as Binary;

/** `torch.eq`. */
export const eq: Binary = comparison('eq', (x, y) => e.eq(x, y));
/** `torch.ne`. */
export const ne: Binary = comparison('ne', (x, y) => e.ne(x, y));
/** `torch.lt`. */
export const lt: Binary = comparison('lt', (x, y) => e.lt(x, y));
/** `torch.le`. */
export const le: Binary = comparison('le', (x, y) => e.le(x, y));
/** `torch.gt`. */
export const gt: Binary = comparison('gt', (x, y) => e.gt(x, y));
/** `torch.ge`. */
export const ge: Binary = comparison('ge', (x, y) => e.ge(x, y));

const test = (name: string, expr: (x: Expr) => Expr): Unary =>
  rowFunction({ name, kind: 'compare', expr } as Row) as Unary;

/** `torch.isnan`. */
export const isnan: Unary = test('isnan', (x) => e.isNan(x));
/** `torch.isinf`. */
export const isinf: Unary = test('isinf', (x) => e.isInf(x));
/** `torch.isfinite`. */
export const isfinite: Unary = test('isfinite', (x) => e.isFinite(x));

const logical = (name: string, expr: (x: Expr, y: Expr) => Expr): Binary =>
  rowFunction({ name, kind: 'logical', expr } as Row) as Binary;

/** `torch.logical_and`. */
export const logicalAnd: Binary = logical('logicalAnd', (x, y) => e.and(x, y));
/** `torch.logical_or`. */
export const logicalOr: Binary = logical('logicalOr', (x, y) => e.or(x, y));
/** `torch.logical_xor`. */
export const logicalXor: Binary = logical('logicalXor', (x, y) => e.xor(x, y));
/** `torch.logical_not`. */
export const logicalNot: Unary = rowFunction({
  name: 'logicalNot',
  kind: 'logical',
  expr: (x: Expr) => e.not(x),
}) as Unary;

const integersOnly =
  (name: string) =>
  (dtype: string): string | null =>
    dtype === 'float32' || dtype === 'float16' ? `${name} works on integers and bool, not on ${dtype}` : null;

const bitwise = (name: string, expr: (x: Expr, y: Expr) => Expr): Binary =>
  rowFunction({ name, kind: 'promote', expr, refuse: integersOnly(name) } as Row) as Binary;

/** `torch.bitwise_and`. */
export const bitwiseAnd: Binary = bitwise('bitwiseAnd', (x, y) => e.and(x, y));
/** `torch.bitwise_or`. */
export const bitwiseOr: Binary = bitwise('bitwiseOr', (x, y) => e.or(x, y));
/** `torch.bitwise_xor`. */
export const bitwiseXor: Binary = bitwise('bitwiseXor', (x, y) => e.xor(x, y));
/** `torch.bitwise_not`. */
export const bitwiseNot: Unary = rowFunction({
  name: 'bitwiseNot',
  kind: 'promote',
  expr: (x: Expr) => e.not(x),
  refuse: integersOnly('bitwiseNot'),
}) as Unary;

export interface CloseOptions {
  rtol?: number;
  atol?: number;
  equalNan?: boolean;
}

const closeRow = (equalNan: boolean): Row => ({
  name: 'isclose',
  kind: 'compare',
  expr: (x: Expr, y: Expr, rtol: Expr, atol: Expr) => {
    const near = e.le(e.abs(e.sub(x, y)), e.add(atol, e.mul(rtol, e.abs(y))));
    const close = e.or(e.eq(x, y), e.and(near, e.isFinite(y)));
    return equalNan ? e.or(close, e.and(e.isNan(x), e.isNan(y))) : close;
  },
});
const close = rowFunction(closeRow(false));
const closeNan = rowFunction(closeRow(true));

export type CloseArgs = Trailing<[rtol: number, atol: number, equalNan: boolean], CloseOptions>;

const readClose = optionReader<Required<CloseOptions>>(
  'isclose',
  { rtol: 1e-5, atol: 1e-8, equalNan: false },
  'rtol',
  'atol',
  'equalNan',
);

/** `torch.isclose`: `|x - y| <= atol + rtol * |y|`, element by element. */
export function isclose(x: Tensor, other: Operand, ...args: CloseArgs): Tensor {
  const { rtol, atol, equalNan } = readClose(args);
  return (equalNan ? closeNan : close)(x, other, rtol, atol);
}
