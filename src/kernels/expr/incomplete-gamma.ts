/** The regularized incomplete gamma functions (https://dlmf.nist.gov/8.2). */
import { e, type Expr } from './expr.js';
import { log1p } from './exponentials.js';
import { composedFunction, mathFunction, polynomial, type Function2 } from './function.js';
import { lgamma } from './gamma.js';
import { wgslFunction } from './wgsl-function.js';

const kGammaSeries = wgslFunction(`fn kGammaSeries$s(a: $F, x: $F) -> $F {
  var term = $F(1.0f);
  var sum = term;
  var n = a;
  for (var i = 0; i < 1000; i++) {
    n = n + 1.0f;
    term = term * (x / n);
    sum = sum + term;
    if (!any(term > sum * 1e-8f)) { break; }
  }
  return sum;
}`);

/** 1 + x / (a + 1) + x^2 / ((a + 1) (a + 2)) + ...; for x up to a + 1. */
const gammaSeries = mathFunction({
  name: 'gammaSeries',
  wgsl: { f32: kGammaSeries },
  value: ([a = NaN, x = NaN]) => {
    let [term, sum] = [1, 1];
    for (let i = 1; i < 10000 && term > sum * 1e-17; i++) sum += term *= x / (a + i);
    return sum;
  },
  derivatives: [null, null],
});

// Lentz's way through a continued fraction.
const kGammaFraction = wgslFunction(`fn kGammaFraction$s(a: $F, x: $F) -> $F {
  var b = x + 1.0f - a;
  var c = $F(1e30f);
  var d = 1.0f / b;
  var h = d;
  for (var i = 1.0f; i < 1000.0f; i += 1.0f) {
    let k = i * (a - i);
    b = b + 2.0f;
    d = k * d + b;
    d = 1.0f / select(d, $F(1e-30f), abs(d) < $F(1e-30f));
    c = b + k / c;
    c = select(c, $F(1e-30f), abs(c) < $F(1e-30f));
    h = h * (d * c);
    if (!any(abs(d * c - 1.0f) > $F(1e-7f))) { break; }
  }
  return h;
}`);

/** 1 / (x + 1 - a - 1 (1 - a) / (x + 3 - a - ...)); for x from a + 1. */
const gammaFraction = mathFunction({
  name: 'gammaFraction',
  wgsl: { f32: kGammaFraction },
  value: ([a = NaN, x = NaN]) => {
    let f = 0;
    for (let k = 2000; k >= 1; k--) f = (k * (a - k)) / (x + 2 * k + 1 - a + f);
    return 1 / (x + 1 - a + f);
  },
  derivatives: [null, null],
});

/** x^a exp(-x) / gamma(a + 1); for a past 3 by Stirling's series, in which the large parts are gone. */
function front(a: Expr, x: Expr): Expr {
  const plain = e.sub(e.sub(e.mul(a, e.log(x)), x), lgamma(e.add(a, 1)));
  const b = e.maximum(a, 3);
  const u = e.div(e.sub(x, b), b);
  const r = e.reciprocal(b);
  const series = e.mul(r, polynomial(e.square(r), [-1 / 1680, 1 / 1260, -1 / 360, 1 / 12]));
  const log = e.select(e.lt(u, -0.5), e.log(e.div(x, b)), log1p(e.maximum(u, -0.5)));
  const large = e.sub(e.mul(b, e.sub(log, u)), e.add(e.mul(e.log(e.mul(b, 2 * Math.PI)), 0.5), series));
  return e.exp(e.select(e.lt(a, 3), plain, large));
}

/** Both share everything but which of the two is the difference from 1. */
function regularized(a: Expr, x: Expr, upper: boolean): Expr {
  const below = e.lt(x, e.add(a, 1));
  const factor = front(a, x);
  // Each where it converges: the other lanes get an argument at which it stops at once.
  const sum = e.mul(factor, gammaSeries(a, e.select(below, x, 0)));
  const tail = e.mul(e.mul(factor, a), gammaFraction(e.select(below, 1, a), e.select(below, 1, x)));
  const y = upper ? e.select(below, e.sub(1, sum), tail) : e.select(below, sum, e.sub(1, tail));
  const [none, all] = upper ? [1, 0] : [0, 1];
  const ends = e.select(
    e.or(e.eq(x, 0), e.eq(a, Infinity)),
    none,
    e.select(e.or(e.eq(x, Infinity), e.eq(a, 0)), all, y),
  );
  const invalid = e.or(
    e.or(e.lt(x, 0), e.lt(a, 0)),
    e.or(e.and(e.eq(a, 0), e.eq(x, 0)), e.and(e.eq(a, Infinity), e.eq(x, Infinity))),
  );
  return e.select(e.or(invalid, e.or(e.isNan(a), e.isNan(x))), NaN, ends);
}

const notDerived = (): Expr => {
  throw new Error('gammainc: there is no gradient of the first operand, as in PyTorch; detach() it');
};
const density = (a: Expr, x: Expr): Expr => e.div(e.mul(front(a, x), a), x);

/** The lower one: the share of gamma(a) up to x. */
export const gammainc: Function2 = composedFunction('gammainc', (a, x) => regularized(a, x, false), [
  notDerived,
  ([a, x]) => density(a, x),
]);

/** The upper one: 1 less the lower. */
export const gammaincc: Function2 = composedFunction('gammaincc', (a, x) => regularized(a, x, true), [
  notDerived,
  ([a, x]) => e.neg(density(a, x)),
]);
