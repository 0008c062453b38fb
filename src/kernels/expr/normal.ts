/**
 * The normal distribution and the complements of erf, with all their digits in the tails. Polynomials here
 * and in the other files of composed functions are interpolations at Chebyshev's nodes, made in 40 digits.
 */
import { e, type Expr } from './expr.js';
import { composedFunction, polynomial, type Function1 } from './function.js';
import { log1p } from './exponentials.js';
import { erf } from './special.js';

const sqrtPi = Math.sqrt(Math.PI);

/** exp(scale * x^2) for 0 <= x <= 16: the square in two parts, of which the greater is exact. */
function expSquare(x: Expr, scale: 1 | -1 | -0.5): Expr {
  const high = e.div(e.floor(e.mul(x, 16)), 16);
  const rest = e.mul(e.sub(x, high), e.add(x, high));
  return e.mul(e.exp(e.mul(e.square(high), scale)), e.exp(e.mul(rest, scale)));
}

/** (1 + 2x) erfcx(x) in (x - 2) / (x + 2), a form of Shepherd & Laframboise (1981). */
const scaledTail = [
  6.80751476e-5, 1.60840346e-4, -3.70928411e-4, -1.39580509e-3, 1.23050322e-3, 8.6892527e-3, -8.0247391e-3,
  -5.42119952e-2, 1.64050497e-1, -1.6603109e-1, -9.27638157e-2, 1.27697839,
];

/** exp(x^2) erfc(x) for x >= 0. */
function positiveErfcx(x: Expr): Expr {
  const a = e.minimum(x, 1e37);
  return e.div(polynomial(e.div(e.sub(a, 2), e.add(a, 2)), scaledTail), e.add(e.add(a, a), 1));
}

export const erfc: Function1 = composedFunction(
  'erfc',
  (x) => {
    const a = e.clamp(x, 0.5, 16);
    return e.select(e.gt(x, 0.5), e.mul(expSquare(a, -1), positiveErfcx(a)), e.sub(1, erf(x)));
  },
  [([x]) => e.mul(e.exp(e.neg(e.square(x))), -2 / sqrtPi)],
);

/** `exp(x^2) erfc(x)`. */
export const erfcx: Function1 = composedFunction(
  'erfcx',
  (x) => {
    const tail = positiveErfcx(e.abs(x));
    const grown = e.mul(expSquare(e.minimum(e.abs(x), 16), 1), 2);
    return e.select(e.lt(x, 0), e.sub(grown, tail), tail);
  },
  [([x], y) => e.sub(e.mul(e.mul(x, 2), y), 2 / sqrtPi)],
);

/** The share of the standard normal distribution that lies below x. */
export const ndtr: Function1 = composedFunction(
  'ndtr',
  (x) => {
    const a = e.clamp(e.neg(x), 1, 16);
    const tail = e.mul(expSquare(a, -0.5), positiveErfcx(e.mul(a, Math.SQRT1_2)));
    return e.mul(e.select(e.lt(x, -1), tail, e.add(erf(e.mul(x, Math.SQRT1_2)), 1)), 0.5);
  },
  [([x]) => e.mul(e.exp(e.mul(e.square(x), -0.5)), Math.SQRT1_2 / sqrtPi)],
);

export const logNdtr: Function1 = composedFunction(
  'logNdtr',
  (x) => {
    const u = e.mul(x, -Math.SQRT1_2);
    const tail = e.sub(e.log(e.mul(erfcx(e.abs(u)), 0.5)), e.mul(e.square(x), 0.5));
    return e.select(e.lt(x, -1), tail, log1p(e.mul(erfc(e.neg(u)), -0.5)));
  },
  [([x]) => e.div(Math.SQRT2 / sqrtPi, erfcx(e.mul(x, -Math.SQRT1_2)))],
);

/** ndtri(1/2 + y) / y in y^2, up to y = 1/2 - exp(-2). */
const middle = [
  1.1033846e-5, 3.43069548e-5, 8.06912035e-5, 2.62618521e-4, 9.03790208e-4, 3.14389884e-3, 1.16193615e-2,
  4.77359156e-2, 2.44389336e-1, 2.71245574,
];
/** -ndtri(p) / w in 1 / w with w = sqrt(-2 log p), from 2 to 15. */
const tail = [
  -2.11947166e-5, 3.4738059e-5, 1.06870939e-5, -1.28405773e-5, -7.45685521e-5, 1.44839698e-4, -2.56535623e-4,
  6.7131362e-4, -2.13171775e-3, 8.40359969e-3, -4.69548397e-2, -2.25762376e-1, 8.16708707e-1,
];
const middleHalf = (0.5 - Math.exp(-2)) ** 2 / 2;

/** The inverse of {@link ndtr}. */
export const ndtri: Function1 = composedFunction(
  'ndtri',
  (p) => {
    const y = e.sub(p, 0.5);
    const central = e.mul(y, polynomial(e.sub(e.div(e.square(y), middleHalf), 1), middle));
    const w = e.sqrt(e.mul(e.log(e.minimum(p, e.sub(1, p))), -2));
    const t = e.div(e.sub(e.reciprocal(w), 17 / 60), 13 / 60);
    const far = e.mul(w, polynomial(t, tail));
    const inner = e.select(
      e.le(e.abs(y), 0.5 - Math.exp(-2)),
      central,
      e.select(e.lt(p, 0.5), e.neg(far), far),
    );
    return e.select(e.eq(p, 0), -Infinity, e.select(e.eq(p, 1), Infinity, inner));
  },
  [(_, y) => e.mul(e.exp(e.mul(e.square(y), 0.5)), sqrtPi * Math.SQRT2)],
);
