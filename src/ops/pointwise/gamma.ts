import { e, type Expr } from '../../kernels/expr/expr.js';
import * as fn from '../../kernels/expr/functions.js';
import { checkCount, type Needed, optionReader, required } from '../../tensor/options.js';
import { isTensor, type Tensor } from '../../tensor/tensor.js';
import {
  binaryOp,
  inPlaceFunction,
  inPlaceOf,
  rowFunction,
  unaryOp,
  type Binary,
  type Row,
  type Unary,
} from '../base/row.js';

/* The gamma function's logarithm and what is derived from it. */

/** `torch.lgamma`: the logarithm of |gamma(x)|. */
export const lgamma: Unary = unaryOp('lgamma', 'float', (x) => fn.lgamma(x));
/** `torch.digamma`: the derivative of `lgamma`; NaN at the negative integers. */
export const digamma: Unary = unaryOp('digamma', 'float', (x) => fn.digamma(x));
/** `torch.Tensor.lgamma_`. */
export const lgamma_: Unary = inPlaceOf(lgamma);
/** `torch.Tensor.digamma_`. */
export const digamma_: Unary = inPlaceOf(digamma);

/** `torch.igamma`: the regularized lower incomplete gamma function of `a` and `x`; no gradient of `a`. */
export const igamma: Binary = binaryOp('igamma', 'float', (a, x) => fn.gammainc(a, x));
/** `torch.igammac`: the regularized upper incomplete gamma function of `a` and `x`; no gradient of `a`. */
export const igammac: Binary = binaryOp('igammac', 'float', (a, x) => fn.gammaincc(a, x));
/** `torch.Tensor.igamma_`. */
export const igamma_: Binary = inPlaceOf(igamma);
/** `torch.Tensor.igammac_`. */
export const igammac_: Binary = inPlaceOf(igammac);

const trigammaRow: Row = { name: 'polygamma', kind: 'float', expr: (x: Expr) => fn.trigamma(x) };
/** (-1)^(n + 1) n! zeta(n + 1, x) */
const polygammaRow: Row = {
  name: 'polygamma',
  kind: 'float',
  expr: (x: Expr, n: Expr, factor: Expr) => e.mul(factor, fn.zeta(e.add(n, 1), x)),
};

function polygammas(op: string, [zeroth, first, any]: readonly ReturnType<typeof inPlaceFunction>[]) {
  return (...args: [a: Tensor | number, b: Tensor | number]): Tensor => {
    checkCount(op, args.length, 2);
    const [a, b] = args;
    const [x, n] = isTensor(a) ? [a, b] : [b, a];
    if (!isTensor(x) || typeof n !== 'number')
      throw new Error(`${op}: takes a tensor and the order, a number, in either order`);
    if (!Number.isInteger(n) || n < 0)
      throw new Error(`${op}: the order must be an integer of 0 or more, got ${n}`);
    if (n < 2) return (n === 0 ? zeroth! : first!)(x);
    let factor = n % 2 === 1 ? 1 : -1;
    for (let i = 2; i <= n; i++) factor *= i;
    return any!(x, n, factor);
  };
}

/**
 * `torch.polygamma(n, x)`, and `polygamma(x, n)` as the method is called: the derivative of order `n` of
 * `digamma`. Below 0 a term is added for each integer that is passed, 4,096 at most.
 */
export const polygamma: (x: Tensor | number, n: Tensor | number) => Tensor = polygammas('polygamma', [
  digamma,
  rowFunction(trigammaRow),
  rowFunction(polygammaRow),
]);
/** `torch.Tensor.polygamma_`. */
export const polygamma_: (x: Tensor, n: number) => Tensor = polygammas('polygamma_', [
  digamma_,
  inPlaceFunction(trigammaRow),
  inPlaceFunction(polygammaRow),
]);

const mvlgammaRow: Row = {
  name: 'mvlgamma',
  kind: 'float',
  bakes: (position) => position === 1,
  expr: (x: Expr, p: Expr) => {
    let sum: Expr = e.const(((p.value * (p.value - 1)) / 4) * Math.log(Math.PI));
    for (let i = 0; i < p.value; i++) sum = e.add(fn.lgamma(e.sub(x, i / 2)), sum);
    return sum;
  },
};

const mvlgammas = (op: string, compute: ReturnType<typeof inPlaceFunction>) => {
  const read = optionReader(op, { p: required<number>() }, 'p');
  return (x: Tensor, ...args: Needed<[p: number], ['p']>): Tensor => {
    const { p } = read(args);
    if (!Number.isInteger(p) || p < 1 || p > 64)
      throw new Error(`${op}: p must be an integer from 1 to 64, got ${String(p)}`);
    return compute(x, p);
  };
};

/**
 * `torch.mvlgamma`: the logarithm of the multivariate gamma function of dimension `p`, which holds for
 * `x > (p - 1) / 2`.
 */
export const mvlgamma = mvlgammas('mvlgamma', rowFunction(mvlgammaRow));
/** `torch.Tensor.mvlgamma_`. */
export const mvlgamma_ = mvlgammas('mvlgamma_', inPlaceFunction(mvlgammaRow));
