/** Trigonometric functions and their inverses. */
import { e, type Expr } from './expr.js';
import { composedFunction, mathFunction, polynomial, unaryFunction } from './function.js';
import { kIsFinite, kIsInf, kIsNan, kNan } from './math.js';
import { wgslFunction } from './wgsl-function.js';

// Cephes sinf and cosf: octants of pi / 4 taken off in three parts, then a polynomial. Built-in sines are
// only good to 2^-11
// on some adapters. Past 8192 the three parts run out of digits.
const kSinCos = wgslFunction(`fn kSinCos$s(a: $F, shift: u32) -> $F {
  let o = ($U(min(a, $F(8192.0f)) * 1.27323954f) + 1u) & $U(0xfffffffeu);
  let y = $F(o);
  let z = ((a - y * 0.78515625f) - y * 2.4187564849853515625e-4f) - y * 3.77489497744594108e-8f;
  let q = z * z;
  let c = ((q * 2.443315711809948e-5f - 1.388731625493765e-3f) * q + 4.166664568298827e-2f) * q * q - 0.5f * q + 1.0f;
  let s = ((q * -1.9515295891e-4f + 8.3321608736e-3f) * q - 1.6666654611e-1f) * q * z + z;
  let p = o + shift;
  let r = select(s, c, (p & $U(2u)) != $U(0u));
  return select(r, -r, (p & $U(4u)) != $U(0u));
}`);

const kSin = wgslFunction(
  `fn kSin$s(x: $F) -> $F {
  let a = abs(x);
  let r = select(kSinCos$s(a, 0u) * sign(x), sin(x), a > $F(8192.0f));
  return select(select(kNan$s(), r, kIsFinite$s(x)), x, a == $F(0.0f));
}`,
  kSinCos,
  kNan,
  kIsFinite,
);

const kCos = wgslFunction(
  `fn kCos$s(x: $F) -> $F {
  let a = abs(x);
  let r = select(kSinCos$s(a, 2u), cos(x), a > $F(8192.0f));
  return select(kNan$s(), r, kIsFinite$s(x));
}`,
  kSinCos,
  kNan,
  kIsFinite,
);

const kTan = wgslFunction(`fn kTan$s(x: $F) -> $F { return kSin$s(x) / kCos$s(x); }`, kSin, kCos);

const kAtan = wgslFunction(
  `fn kAtan$s(x: $F) -> $F {
  let a = abs(x);
  let far = a > $F(2.41421356f);
  let mid = a > $F(0.41421356f);
  let u = select(select(a, (a - 1.0f) / (a + 1.0f), mid), -1.0f / a, far);
  let y = select(select($F(0.0f), $F(0.785398163f), mid), $F(1.57079633f), far);
  let z = u * u;
  var q = z * 8.05374449538e-2f - 1.38776856032e-1f;
  q = q * z + 1.99777106478e-1f;
  q = q * z - 3.33329491539e-1f;
  return select((y + (q * z * u + u)) * sign(x), x, kIsNan$s(x) | (a == $F(0.0f)));
}`,
  kIsNan,
);

const kAtan2 = wgslFunction(
  `fn kAtan2$s(y: $F, x: $F) -> $F {
  let ay = abs(y);
  let ax = abs(x);
  let hi = max(ax, ay);
  let both = kIsInf$s(ax) & kIsInf$s(ay);
  let q = select(min(ax, ay) / hi, $F(1.0f), both);
  let a0 = kAtan$s(select(q, $F(0.0f), hi == $F(0.0f)));
  let a1 = select(a0, 1.57079633f - a0, ay > ax);
  let a2 = select(a1, 3.14159265f - a1, (bitcast<$U>(x) & $U(0x80000000u)) != $U(0u));
  let a3 = select(a2, -a2, (bitcast<$U>(y) & $U(0x80000000u)) != $U(0u));
  return select(a3, kNan$s(), kIsNan$s(x) | kIsNan$s(y));
}`,
  kIsInf,
  kAtan,
  kNan,
  kIsNan,
);

// asin(a) for a in [0, 1]; above 1/2 by pi/2 - 2 asin(sqrt((1 - a) / 2)), whose second term is returned in
// acos's favour.
const kAsinCore = wgslFunction(`fn kAsinCore$s(a: $F) -> $F {
  let z = a * a;
  var q = z * 4.2163199048e-2f + 2.4181311049e-2f;
  q = q * z + 4.5470025998e-2f;
  q = q * z + 7.4953002686e-2f;
  q = q * z + 1.6666752422e-1f;
  return q * z * a + a;
}`);

const kAsin = wgslFunction(
  `fn kAsin$s(x: $F) -> $F {
  let a = abs(x);
  let big = a > $F(0.5f);
  let c = kAsinCore$s(select(a, sqrt(max(0.5f - 0.5f * a, $F(0.0f))), big));
  let r = select(c, 1.57079633f - (c + c), big) * sign(x);
  return select(r, kNan$s(), !(a <= $F(1.0f)) | kIsNan$s(x));
}`,
  kAsinCore,
  kNan,
  kIsNan,
);

const kAcos = wgslFunction(
  `fn kAcos$s(x: $F) -> $F {
  let a = abs(x);
  let big = a > $F(0.5f);
  let c = kAsinCore$s(select(a, sqrt(max(0.5f - 0.5f * a, $F(0.0f))), big));
  let neg = x < $F(0.0f);
  let r = select(1.57079633f - select(c, -c, neg), select(c + c, 3.14159265f - (c + c), neg), big);
  return select(r, kNan$s(), !(a <= $F(1.0f)) | kIsNan$s(x));
}`,
  kAsinCore,
  kNan,
  kIsNan,
);

export const sin = unaryFunction('sin', kSin, Math.sin, (u) => cos(u));
export const cos = unaryFunction('cos', kCos, Math.cos, (u) => e.neg(sin(u)));
export const tan = unaryFunction('tan', kTan, Math.tan, (_, y) => e.add(e.square(y), 1));
export const asin = unaryFunction('asin', kAsin, Math.asin, (u) => e.rsqrt(e.sub(1, e.square(u))));
export const acos = unaryFunction('acos', kAcos, Math.acos, (u) => e.neg(e.rsqrt(e.sub(1, e.square(u)))));
export const atan = unaryFunction('atan', kAtan, Math.atan, (u) => e.reciprocal(e.add(e.square(u), 1)));

export const atan2 = mathFunction({
  name: 'atan2',
  wgsl: { f32: kAtan2 },
  value: ([a = 0, b = 0]) => Math.atan2(a, b),
  derivatives: [
    ([a, b]) => e.div(b, e.add(e.square(a), e.square(b))),
    ([a, b]) => e.neg(e.div(a, e.add(e.square(a), e.square(b)))),
  ],
});

/** From the nearest integer: what sines and cosines of pi * x depend on but for the sign, exact. */
export const fromInteger = (x: Expr): Expr => e.sub(x, e.round(x));

/** 1, or -1 where the integer nearest to x is odd. */
function parity(x: Expr): Expr {
  const half = e.mul(e.round(x), 0.5);
  return e.select(e.eq(half, e.floor(half)), 1, -1);
}

const pi = (x: Expr): Expr => e.mul(x, Math.PI);

/** `sin(pi x) / (pi x)`. */
export const sinc = composedFunction(
  'sinc',
  (x) => e.select(e.eq(x, 0), 1, e.div(e.mul(sin(pi(fromInteger(x))), parity(x)), pi(x))),
  [
    ([x], y) => {
      const z = e.square(pi(x));
      const series = polynomial(z, [1 / 45360, -1 / 840, 1 / 30, -1 / 3]);
      const far = e.div(e.sub(e.mul(cos(pi(fromInteger(x))), parity(x)), y), x);
      return e.select(e.lt(e.abs(x), 0.25), e.mul(e.mul(series, x), Math.PI ** 2), far);
    },
  ],
);
