/** The logarithm of the gamma function, its derivatives, and Hurwitz's zeta function. */
import { e, type Expr } from './expr.js';
import { composedFunction, mathFunction, polynomial, type Function1, type Function2 } from './function.js';
import { kInf, kIsFinite, kNan } from './math.js';
import { kPow } from './exponentials.js';
import { cos, fromInteger, sin } from './trigonometry.js';
import { wgslFunction } from './wgsl-function.js';

/** lgamma(1 + u) / u, in 2u. */
const aroundOne = [
  2.02994119e-5, -4.33796098e-5, 2.21083877e-5, -4.93691566e-5, 2.09153725e-4, -4.63846029e-4, 9.75567472e-4,
  -2.24022603e-3, 5.29951097e-3, -1.29633974e-2, 3.38225473e-2, -1.00171295e-1, 4.11233517e-1, -5.77215666e-1,
];
/** lgamma(2 + u) / u, in (4u - 1) / 3. */
const aroundTwo = [
  -1.01322165e-6, 3.35122651e-6, -8.43935782e-6, 2.90203687e-5, -1.05149423e-4, 3.83585816e-4, -1.47526386e-3,
  6.19657041e-3, -3.05411657e-2, 2.19178824e-1, 4.9948686e-1,
];

/** For x >= 0: by its zeros 1 and 2, past 3 by Stirling's series. */
function positiveLgamma(x: Expr): Expr {
  const small = e.lt(x, 0.5);
  const u = e.select(small, x, e.sub(x, 1));
  const one = e.sub(e.mul(u, polynomial(e.add(u, u), aroundOne)), e.select(small, e.log(x), 0));
  const v = e.sub(x, 2);
  const two = e.mul(v, polynomial(e.div(e.sub(e.mul(v, 4), 1), 3), aroundTwo));
  const r = e.reciprocal(x);
  const series = e.mul(r, polynomial(e.square(r), [-1 / 1680, 1 / 1260, -1 / 360, 1 / 12]));
  const many = e.add(
    e.mul(e.sub(x, 0.5), e.sub(e.log(x), 1)),
    e.add(series, (Math.log(2 * Math.PI) - 1) / 2),
  );
  return e.select(e.lt(x, 1.5), one, e.select(e.lt(x, 3), two, many));
}

/** The logarithm of |gamma(x)|; by reflection below 0. */
export const lgamma: Function1 = composedFunction(
  'lgamma',
  (x) => {
    const a = e.abs(x);
    const y = positiveLgamma(a);
    const sine = e.abs(sin(e.mul(fromInteger(a), Math.PI)));
    const reflected = e.sub(e.neg(e.log(e.mul(e.mul(a, sine), 1 / Math.PI))), y);
    return e.select(e.isInf(x), Infinity, e.select(e.lt(x, 0), reflected, y));
  },
  [([x]) => digamma(x)],
);

/** digamma(x) / (x - its zero), in x - 2. */
const digammaFit = [
  5.9118406e-5, -1.18281271e-4, 1.50026403e-5, -3.02439475e-5, 3.93754609e-4, -7.89976631e-4, 1.33350493e-3,
  -2.69029008e-3, 5.55758229e-3, -1.13490906e-2, 2.3446808e-2, -4.95500296e-2, 1.08999931e-1, -2.60738982e-1,
  7.85307539e-1,
];
const zero = 1.4616321449683623;
const zeroHigh = Math.fround(zero);

function positiveDigamma(x: Expr): Expr {
  const small = e.lt(x, 1);
  const z = e.select(small, e.add(x, 1), x);
  const near = e.mul(e.sub(e.sub(z, zeroHigh), zero - zeroHigh), polynomial(e.sub(z, 2), digammaFit));
  const r = e.reciprocal(x);
  const w = e.square(r);
  const series = polynomial(w, [691 / 32760, -1 / 132, 1 / 240, -1 / 252, 1 / 120, -1 / 12]);
  const far = e.add(e.log(x), e.sub(e.mul(series, w), e.mul(r, 0.5)));
  return e.select(e.lt(x, 3), e.sub(near, e.select(small, r, 0)), far);
}

/** The derivative of {@link lgamma}; NaN at the negative integers. */
export const digamma: Function1 = composedFunction(
  'digamma',
  (x) => {
    const below = e.lt(x, 0);
    const y = positiveDigamma(e.select(below, e.sub(1, x), x));
    const r = fromInteger(x);
    const angle = e.mul(r, Math.PI);
    const reflected = e.sub(y, e.div(e.mul(cos(angle), Math.PI), sin(angle)));
    return e.select(below, e.select(e.eq(r, 0), NaN, reflected), y);
  },
  [([x]) => trigamma(x)],
);

export const trigamma: Function1 = composedFunction(
  'trigamma',
  (x) => {
    const below = e.lt(x, 0);
    const y = zeta(2, e.select(below, e.sub(1, x), x));
    const sine = e.div(sin(e.mul(fromInteger(x), Math.PI)), Math.PI);
    return e.select(below, e.sub(e.reciprocal(e.square(sine)), y), y);
  },
  [([x]) => e.mul(zeta(3, x), -2)],
);

// Euler-Maclaurin from the tenth positive term on. Below zero the terms are as many as q is far from it.
const kZeta = wgslFunction(
  `fn kZeta$s(x: $F, q: $F) -> $F {
  var sum = kPow$s(q, -x);
  var a = q;
  for (var i = 0; i < 4096; i++) {
    let more = ($B(i < 9) | (a <= $F(9.0f))) & kIsFinite$s(a);
    if (!any(more)) { break; }
    a = select(a, a + 1.0f, more);
    sum = sum + select($F(0.0f), kPow$s(a, -x), more);
  }
  let b = kPow$s(a, -x);
  let r = 1.0f / a;
  let w = r * r;
  // Each term by the one before: Bernoulli's numbers over factorials, times rising factorials of x.
  var s = (x + 7.0f) * (x + 8.0f) * w * -0.0252525253f + 1.0f;
  s = (x + 5.0f) * (x + 6.0f) * w * -0.025f * s + 1.0f;
  s = (x + 3.0f) * (x + 4.0f) * w * -0.0238095238f * s + 1.0f;
  s = (x + 1.0f) * (x + 2.0f) * w * -0.0166666667f * s + 1.0f;
  let tail = b * (a / (x - 1.0f) - 0.5f + x * r * 0.0833333333f * s);
  let r0 = sum + select($F(0.0f), tail, b != $F(0.0f));
  let pole = (q <= $F(0.0f)) & (q == floor(q));
  let r1 = select(r0, kNan$s(), (q < $F(0.0f)) & (x != floor(x)));
  let r2 = select(r1, kInf$s(), pole | (x == $F(1.0f)));
  return select(r2, kNan$s(), x < $F(1.0f));
}`,
  kPow,
  kIsFinite,
  kNan,
  kInf,
);

function zetaOf(x: number, q: number): number {
  if (x < 1) return NaN;
  if (x === 1 || (q <= 0 && Number.isInteger(q))) return Infinity;
  if (q < 0 && !Number.isInteger(x)) return NaN;
  let sum = q ** -x;
  let a = q;
  for (let i = 0; i < 20 || a <= 20; i++) sum += (++a) ** -x;
  const b = a ** -x;
  let s = 1;
  const ratios = [-1 / 60, -1 / 42, -1 / 40, -5 / 198, -691 / 27300];
  for (let k = 4; k >= 0; k--) s = 1 + ((ratios[k]! * (x + 2 * k + 1) * (x + 2 * k + 2)) / a ** 2) * s;
  return b === 0 ? sum : sum + b * (a / (x - 1) - 0.5 + (x / a / 12) * s);
}

/** Hurwitz's zeta function: the sum of `(k + q) ** -x` over k = 0, 1, ... */
export const zeta: Function2 = mathFunction({
  name: 'zeta',
  wgsl: { f32: kZeta },
  value: ([x = NaN, q = NaN]) => zetaOf(x, q),
  derivatives: [() => e.const(NaN), ([x, q]) => e.neg(e.mul(x, zeta(e.add(x, 1), q)))],
});
