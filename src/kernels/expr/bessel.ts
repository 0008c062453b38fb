/** Bessel functions of orders 0 and 1. */
import { e, type Expr } from './expr.js';
import { composedFunction, polynomial, type Function1 } from './function.js';
import { cos, sin } from './trigonometry.js';

/** Taylor's series of I_n(x) (2 / x)^n in x^2 / 4, good up to x = 8: all its terms are positive. */
function taylor(order: number): number[] {
  const coefficients = [1];
  for (let k = 1; k <= 18; k++) coefficients.unshift(coefficients[0]! / (k * (k + order)));
  return coefficients;
}
const taylor0 = taylor(0);
const taylor1 = taylor(1);

/** sqrt(x) exp(-x) I_n(x) in 16 / x - 1, past 8. */
const far0 = [
  1.08298983e-7, 3.63171031e-7, 1.47679211e-6, 1.11115255e-5, 1.36216843e-4, 3.36055585e-3, 4.02176509e-1,
];
const far1 = [
  -1.22124985e-7, -4.21555437e-7, -1.8267145e-6, -1.50033231e-5, -2.19236669e-4, -9.74958153e-3,
  3.89398459e-1,
];

const quarterSquare = (x: Expr): Expr => e.square(e.mul(x, 0.5));

/** I_n for x >= 0; `scaled`: times exp(-x). */
function modified(order: 0 | 1, a: Expr, scaled: boolean): Expr {
  const near = polynomial(quarterSquare(e.minimum(a, 8)), order === 0 ? taylor0 : taylor1);
  const low = order === 0 ? near : e.mul(near, e.mul(a, 0.5));
  const high = e.div(
    polynomial(e.sub(e.div(16, e.maximum(a, 8)), 1), order === 0 ? far0 : far1),
    e.sqrt(e.maximum(a, 8)),
  );
  // The exponential in two parts, so that it does not overflow before the product does.
  const grown = e.mul(e.mul(high, Math.exp(8)), e.exp(e.sub(a, 8)));
  return e.select(e.lt(a, 8), scaled ? e.mul(low, e.exp(e.neg(a))) : low, scaled ? high : grown);
}

/** A function of |x| with the sign of x. */
const odd = (x: Expr, y: Expr): Expr => e.mul(y, e.select(e.lt(x, 0), -1, 1));

export const i0: Function1 = composedFunction('i0', (x) => modified(0, e.abs(x), false), [([x]) => i1(x)]);

/** `exp(-|x|) i0(x)`. */
export const i0e: Function1 = composedFunction('i0e', (x) => modified(0, e.abs(x), true), [
  ([x], y) => e.sub(i1e(x), e.mul(e.sign(x), y)),
]);

export const i1: Function1 = composedFunction('i1', (x) => odd(x, modified(1, e.abs(x), false)), [
  ([x], y) => e.select(e.eq(x, 0), 0.5, e.sub(i0(x), e.div(y, x))),
]);

/** `exp(-|x|) i1(x)`. */
export const i1e: Function1 = composedFunction('i1e', (x) => odd(x, modified(1, e.abs(x), true)), [
  ([x], y) => e.select(e.eq(x, 0), 0.5, e.sub(i0e(x), e.mul(y, e.add(e.sign(x), e.reciprocal(x))))),
]);

/** J_0 over its first two factors, and J_1 over those and x, in x^2 / 32 - 1. */
const nearJ0 = [
  -2.81497236e-9, 4.0396686e-8, -4.67695192e-7, 4.36657468e-6, -3.15734317e-5, 1.69772135e-4, -6.41539064e-4,
  1.56364315e-3, -2.11979429e-3, 1.14349377e-3,
];
const nearJ1 = [
  -1.17689797e-10, 1.84261275e-9, -2.35212917e-8, 2.44238425e-7, -1.98909374e-6, 1.22421786e-5,
  -5.40800324e-5, 1.58600167e-4, -2.69752275e-4, 1.9498937e-4,
];
const zeros0 = [2.404825557695773, 5.520078110286311];
const zeros1 = [3.831705970207512, 7.015586669815619];
/** Y_0 - 2 / pi log(x) J_0, and (Y_1 - 2 / pi (log(x) J_1 - 1 / x)) / x, in x^2 / 32 - 1. */
const nearY0 = [
  -3.24173931e-7, 5.37476418e-6, -7.27925126e-5, 8.06091728e-4, -7.0257428e-3, 4.63670878e-2, -2.1895747e-1,
  6.72177067e-1, -1.07754773, 1.44126325e-1, 1.64709648, -8.2843589e-1, -3.82250654e-1,
];
const nearY1 = [
  -3.63729147e-6, 4.53319409e-5, -4.43781013e-4, 3.42183217e-3, -1.96287727e-2, 7.85481575e-2, -1.96398396e-1,
  2.35072041e-1, 2.33675716e-2, -2.43377428e-1, 7.07598588e-2,
];
/** Hankel's P and Q x / 8 in 128 / x^2 - 1, past 8. */
const hankel = [
  [
    [-2.06509217e-7, 6.15035924e-6, -5.36367164e-4, 9.99457274e-1],
    [7.17210237e-8, -1.48289327e-6, 6.83314084e-5, -1.55551132e-2],
  ],
  [
    [2.46752682e-7, -7.97455719e-6, 8.98804768e-4, 1.00090703],
    [-8.36516706e-8, 1.82771602e-6, -9.62144964e-5, 4.67768732e-2],
  ],
] as const;

/** (x - zero) (x + zero) for each zero, which is subtracted in two parts. */
const factors = (x: Expr, zeros: readonly number[]): Expr =>
  zeros
    .map((zero) => {
      const high = Math.fround(zero);
      return e.mul(e.sub(e.sub(x, high), zero - high), e.add(x, zero));
    })
    .reduce((a, b) => e.mul(a, b));

/** J_n and Y_n past 8: the modulus, and the phase x - (2n + 1) pi / 4 by sums of sine and cosine. */
function farOscillation(order: 0 | 1, x: Expr): { j: Expr; y: Expr } {
  const a = e.maximum(x, 8);
  const u = e.div(8, a);
  const t = e.sub(e.mul(e.square(u), 2), 1);
  const p = polynomial(t, hankel[order][0]);
  const q = e.mul(u, polynomial(t, hankel[order][1]));
  const [s, c] = [sin(a), cos(a)];
  const [plus, minus] = [e.add(s, c), e.sub(s, c)];
  // Times sqrt(2): cosine and sine of the phase.
  const [cosine, sine] = order === 0 ? [plus, minus] : [minus, e.neg(plus)];
  const modulus = e.sqrt(e.div(1 / Math.PI, a));
  return {
    j: e.mul(modulus, e.sub(e.mul(p, cosine), e.mul(q, sine))),
    y: e.mul(modulus, e.add(e.mul(p, sine), e.mul(q, cosine))),
  };
}

const inSquare = (x: Expr): Expr => e.sub(e.div(e.square(x), 32), 1);

function nearJ(order: 0 | 1, x: Expr): Expr {
  const a = e.minimum(x, 8);
  if (order === 0) return e.mul(factors(a, zeros0), polynomial(inSquare(a), nearJ0));
  return e.mul(e.mul(a, factors(a, zeros1)), polynomial(inSquare(a), nearJ1));
}

export const besselJ0: Function1 = composedFunction(
  'besselJ0',
  (x) => {
    const a = e.abs(x);
    return e.select(e.isInf(x), 0, e.select(e.lt(a, 8), nearJ(0, a), farOscillation(0, a).j));
  },
  [([x]) => e.neg(besselJ1(x))],
);

export const besselJ1: Function1 = composedFunction(
  'besselJ1',
  (x) => {
    const a = e.abs(x);
    const y = e.select(e.lt(a, 8), nearJ(1, a), farOscillation(1, a).j);
    return e.select(e.isInf(x), 0, odd(x, y));
  },
  [([x], y) => e.select(e.eq(x, 0), 0.5, e.sub(besselJ0(x), e.div(y, x)))],
);

/** What has a pole at 0 and no value below. */
const fromZero = (x: Expr, pole: number, y: Expr): Expr =>
  e.select(e.eq(x, 0), pole, e.select(e.lt(x, 0), NaN, y));

export const besselY0: Function1 = composedFunction(
  'besselY0',
  (x) => {
    const a = e.minimum(x, 8);
    const near = e.add(polynomial(inSquare(a), nearY0), e.mul(e.mul(e.log(a), nearJ(0, a)), 2 / Math.PI));
    const y = e.select(e.lt(x, 8), near, farOscillation(0, x).y);
    return e.select(e.eq(x, Infinity), 0, fromZero(x, -Infinity, y));
  },
  [([x]) => e.neg(besselY1(x))],
);

export const besselY1: Function1 = composedFunction(
  'besselY1',
  (x) => {
    const a = e.minimum(x, 8);
    const logs = e.mul(e.sub(e.mul(e.log(a), nearJ(1, a)), e.reciprocal(a)), 2 / Math.PI);
    const near = e.add(e.mul(a, polynomial(inSquare(a), nearY1)), logs);
    const y = e.select(e.lt(x, 8), near, farOscillation(1, x).y);
    return e.select(e.eq(x, Infinity), 0, fromZero(x, -Infinity, y));
  },
  [([x], y) => e.sub(besselY0(x), e.div(y, x))],
);

/** K_0 + log(x / 2) I_0, and x (K_1 - log(x / 2) I_1), in x^2 / 2 - 1, up to 2. */
const nearK0 = [
  6.09431609e-8, 4.05566572e-6, 1.82805554e-4, 5.05339206e-3, 7.17770103e-2, 3.40497321e-1, -3.03620773e-1,
];
const nearK1 = [
  -7.08262708e-7, -3.89344982e-5, -1.38316877e-3, -2.78542273e-2, -2.43838529e-1, -3.32240956e-1,
  8.85088288e-1,
];
/** sqrt(x) exp(x) K_n(x) in 4 / x - 1, past 2. */
const farK0 = [
  1.05168567e-6, -2.97762074e-6, 6.7498384e-6, -2.40971798e-5, 9.96332931e-5, -4.7995238e-4, 3.03288628e-3,
  -3.10714479e-2, 1.21859534,
];
const farK1 = [
  -1.27062105e-6, 3.66839412e-6, -8.66435023e-6, 3.20839872e-5, -1.39675715e-4, 7.35942321e-4, -5.56672338e-3,
  1.03349721e-1, 1.36315189,
];

/** K_n for x >= 0; `scaled`: times exp(x). */
function modifiedK(order: 0 | 1, x: Expr, scaled: boolean): Expr {
  const a = e.minimum(x, 2);
  const logs = e.mul(e.log(e.mul(a, 0.5)), modified(order, a, false));
  const t = e.sub(e.mul(e.square(a), 0.5), 1);
  const near =
    order === 0 ? e.sub(polynomial(t, nearK0), logs) : e.add(e.div(polynomial(t, nearK1), a), logs);
  const b = e.maximum(x, 2);
  const far = e.div(polynomial(e.sub(e.div(4, b), 1), order === 0 ? farK0 : farK1), e.sqrt(b));
  const y = e.select(
    e.le(x, 2),
    scaled ? e.mul(near, e.exp(a)) : near,
    scaled ? far : e.mul(far, e.exp(e.neg(b))),
  );
  return fromZero(x, Infinity, y);
}

export const k0: Function1 = composedFunction('k0', (x) => modifiedK(0, x, false), [([x]) => e.neg(k1(x))]);
export const k1: Function1 = composedFunction('k1', (x) => modifiedK(1, x, false), [
  ([x], y) => e.neg(e.add(k0(x), e.div(y, x))),
]);
/** `exp(x) k0(x)`. */
export const k0e: Function1 = composedFunction('k0e', (x) => modifiedK(0, x, true), [
  ([x], y) => e.sub(y, k1e(x)),
]);
/** `exp(x) k1(x)`. */
export const k1e: Function1 = composedFunction('k1e', (x) => modifiedK(1, x, true), [
  ([x], y) => e.sub(y, e.add(k0e(x), e.div(y, x))),
]);
