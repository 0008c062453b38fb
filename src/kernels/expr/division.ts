/** Remainders and floor division, on floats and integers. Division by zero leaves an integer dividend. */
import { constant, e, unify, type Expr, type ExprLike } from './expr.js';
import { composedFunction, mathFunction } from './function.js';
import { kModI, kNan } from './math.js';
import { copysign } from './numbers.js';
import { wgslFunction } from './wgsl-function.js';

// Long division of the mantissas, eight bits of the quotient at a time: exact however large the quotient is.
const kFmod = wgslFunction(
  `fn kFmod$s(a: $F, b: $F) -> $F {
  let x = bitcast<$U>(a) & $U(0x7fffffffu);
  let y = bitcast<$U>(b) & $U(0x7fffffffu);
  let ex = $I(max(x >> $U(23u), $U(1u)));
  let ey = $I(max(y >> $U(23u), $U(1u)));
  let mx = (x & $U(0x007fffffu)) | select($U(0x00800000u), $U(0u), x < $U(0x00800000u));
  let my = max((y & $U(0x007fffffu)) | select($U(0x00800000u), $U(0u), y < $U(0x00800000u)), $U(1u));
  var r = mx % my;
  var left = ex - ey;
  while (any(left > $I(0))) {
    let step = clamp(left, $I(0), $I(8));
    r = (r << $U(step)) % my;
    left = left - step;
  }
  let k = ey - $I(150);
  let h = k >> $U(1u);
  let m = $F(r) * bitcast<$F>((h + $I(127)) << $U(23u)) * bitcast<$F>((k - h + $I(127)) << $U(23u));
  let r1 = select(m, bitcast<$F>(x), x < y);
  let r2 = bitcast<$F>(bitcast<$U>(r1) | (bitcast<$U>(a) & $U(0x80000000u)));
  let none = (x >= $U(0x7f800000u)) | (y > $U(0x7f800000u)) | (b == $F(0.0f));
  return select(r2, kNan$s(), none);
}`,
  kNan,
);

const kRemainder = wgslFunction(
  `fn kRemainder$s(a: $F, b: $F) -> $F {
  let m = kFmod$s(a, b);
  return select(m, m + b, !(m == $F(0.0f)) & ((m < $F(0.0f)) != (b < $F(0.0f))));
}`,
  kFmod,
);

const kRemainderI = wgslFunction(
  `fn kRemainderI$s(a: $I, b: $I) -> $I {
  let m = kModI$s(a, b);
  return select(m, m + b, (m != $I(0)) & ((m < $I(0)) != (b < $I(0))));
}`,
  kModI,
);

const kModU = wgslFunction(`fn kModU$s(a: $U, b: $U) -> $U { return a % select(b, $U(1u), b == $U(0u)); }`);

const modulo = (a: number, b: number): number => {
  const m = a % b;
  return m !== 0 && m < 0 !== b < 0 ? m + b : m;
};

/** The remainder with the sign of the dividend. */
export const fmod = mathFunction({
  name: 'fmod',
  wgsl: { f32: kFmod, i32: kModI, u32: kModU },
  value: ([a = 0, b = 0], type) => (type !== 'f32' && b === 0 ? 0 : a % b),
  derivatives: [() => constant(1), ([a, b]) => e.neg(e.trunc(e.div(a, b)))],
});

/** The remainder with the sign of the divisor. */
export const remainder = mathFunction({
  name: 'remainder',
  wgsl: { f32: kRemainder, i32: kRemainderI, u32: kModU },
  value: ([a = 0, b = 0], type) => (type !== 'f32' && b === 0 ? 0 : modulo(a, b)),
  derivatives: [() => constant(1), ([a, b]) => e.neg(e.floor(e.div(a, b)))],
});

// From the exact remainder, so that the rounding of a quotient next to an integer does not count.
const floorDivFloat = composedFunction(
  'floorDiv',
  (a, b) => {
    const m = fmod(a, b);
    const whole = e.div(e.sub(a, m), b);
    const d = e.select(e.and(e.ne(m, 0), e.xor(e.lt(b, 0), e.lt(m, 0))), e.sub(whole, 1), whole);
    const low = e.floor(d);
    const floor = e.select(e.gt(e.sub(d, low), 0.5), e.add(low, 1), low);
    const quotient = e.div(a, b);
    return e.select(e.eq(b, 0), quotient, e.select(e.eq(d, 0), copysign(0, quotient), floor));
  },
  [null, null],
);

/**
 * Floor division with PyTorch's `floor_divide` / `div(rounding_mode='floor')` meaning, on floats and
 * integers.
 */
export function floorDiv(likeA: ExprLike, likeB: ExprLike): Expr {
  const [a, b] = unify('floorDiv', [likeA, likeB]) as [Expr, Expr];
  if (a.type === 'f32') return floorDivFloat(a, b);
  if (a.type === 'u32') return e.div(a, b);
  return e.div(e.sub(a, remainder(a, b)), b);
}

const gcdText = (
  name: string,
  type: string,
  magnitude: string,
): string => `fn ${name}$s(x: ${type}, y: ${type}) -> ${type} {
  var a = ${magnitude}(x);
  var b = ${magnitude}(y);
  while (any(b != ${type}(0))) {
    let done = b == ${type}(0);
    let r = a % select(b, ${type}(1), done);
    a = select(b, a, done);
    b = select(r, b, done);
  }
  return a;
}`;

/** The greatest common divisor of integers; not negative. */
export const gcd = mathFunction({
  name: 'gcd',
  wgsl: { i32: wgslFunction(gcdText('kGcdI', '$I', 'abs')), u32: wgslFunction(gcdText('kGcdU', '$U', '')) },
  value: ([x = 0, y = 0]) => {
    let [a, b] = [Math.abs(x), Math.abs(y)];
    while (b !== 0) [a, b] = [b, a % b];
    return a;
  },
  derivatives: [null, null],
});

/** The least common multiple of integers; not negative. */
export function lcm(a: Expr, b: Expr): Expr {
  const divisor = gcd(a, b);
  const multiple = e.mul(e.div(a, e.select(e.eq(divisor, 0), 1, divisor)), b);
  return e.abs(multiple);
}
