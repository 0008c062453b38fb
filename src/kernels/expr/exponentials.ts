/**
 * Exponentials, logarithms, powers and hyperbolic functions beside `exp` and `log`, which the language has.
 */
import { constant, e, type Expr, type ExprLike } from './expr.js';
import { mathFunction, unaryFunction } from './function.js';
import { kExp, kInf, kIsInf, kIsNan, kLog, kNan, logEdges, splitLog } from './math.js';
import { wgslFunction } from './wgsl-function.js';

const kExpm1 = wgslFunction(
  `fn kExpm1$s(x: $F) -> $F {
  // Taylor below 1/2, where exp(x) - 1 would cancel.
  var q = x * 2.4801587e-5f + 1.9841270e-4f;
  q = q * x + 1.3888889e-3f;
  q = q * x + 8.3333333e-3f;
  q = q * x + 4.1666667e-2f;
  q = q * x + 1.6666667e-1f;
  q = q * x + 0.5f;
  return select(kExp$s(x) - 1.0f, q * x * x + x, abs(x) < $F(0.5f));
}`,
  kExp,
);

const kLog2 = wgslFunction(
  `fn kLog2$s(x: $F) -> $F {${splitLog}
  let r = (f + (t - 0.5f * z)) * 1.44269504f + e;${logEdges}
}`,
  kNan,
  kInf,
);

const kLog1p = wgslFunction(
  `fn kLog1p$s(x: $F) -> $F {
  // 2 atanh(x / (2 + x)) near 0.
  let s = x / (x + 2.0f);
  let z = s * s;
  var q = z * 0.0909090909f + 0.1111111111f;
  q = q * z + 0.1428571429f;
  q = q * z + 0.2f;
  q = q * z + 0.3333333333f;
  return select(kLog$s(x + 1.0f), (q * z * s + s) * 2.0f, (x > $F(-0.35f)) & (x < $F(0.5f)));
}`,
  kLog,
);

const kSigmoid = wgslFunction(`fn kSigmoid$s(x: $F) -> $F { return 1.0f / (kExp$s(-x) + 1.0f); }`, kExp);

const kSoftplus = wgslFunction(
  `fn kSoftplus$s(x: $F) -> $F { return max(x, $F(0.0f)) + kLog1p$s(kExp$s(-abs(x))); }`,
  kLog1p,
  kExp,
);

const kTanh = wgslFunction(
  `fn kTanh$s(x: $F) -> $F {
  let t = kExpm1$s(min(abs(x), $F(10.0f)) * 2.0f);
  return select(t / (t + 2.0f) * sign(x), x, kIsNan$s(x));
}`,
  kExpm1,
  kIsNan,
);

const kSinh = wgslFunction(
  `fn kSinh$s(x: $F) -> $F {
  let a = abs(x);
  let t = kExpm1$s(min(a, $F(10.0f)));
  let h = kExp$s(a * 0.5f);
  let r = select(0.5f * (t + t / (t + 1.0f)), (0.5f * h) * h, a > $F(9.0f));
  return select(r * sign(x), x, kIsNan$s(x));
}`,
  kExpm1,
  kExp,
  kIsNan,
);

const kCosh = wgslFunction(
  `fn kCosh$s(x: $F) -> $F {
  let h = kExp$s(abs(x) * 0.5f);
  return (0.5f * h) * h + 0.5f / (h * h);
}`,
  kExp,
);

const kAsinh = wgslFunction(
  `fn kAsinh$s(x: $F) -> $F {
  let a = abs(x);
  let c = min(a, $F(1e4f));
  let r = select(kLog1p$s(c + c * c / (sqrt(c * c + 1.0f) + 1.0f)), kLog$s(a) + 0.693147181f, a > $F(1e4f));
  return select(r * sign(x), x, kIsNan$s(x));
}`,
  kLog1p,
  kLog,
  kIsNan,
);

const kAcosh = wgslFunction(
  `fn kAcosh$s(x: $F) -> $F {
  let t = min(x, $F(1e4f)) - 1.0f;
  let r = select(kLog1p$s(t + sqrt(max(t * (t + 2.0f), $F(0.0f)))), kLog$s(x) + 0.693147181f, x > $F(1e4f));
  return select(r, kNan$s(), (x < $F(1.0f)) | kIsNan$s(x));
}`,
  kLog1p,
  kLog,
  kNan,
  kIsNan,
);

const kAtanh = wgslFunction(
  `fn kAtanh$s(x: $F) -> $F {
  let a = abs(x);
  return 0.5f * kLog1p$s((a + a) / (1.0f - a)) * sign(x);
}`,
  kLog1p,
);

// |x|^y by exp2(y * log2 |x|). The logarithm is a sum of numbers of which the first has twelve bits, as has
// the first of y's: their products are exact, and what is left of log2 |x| counts y-fold.
export const kPow = wgslFunction(
  `fn kPow$s(base: $F, y: $F) -> $F {
  let x = abs(base);${splitLog}
  let mask = $U(0xfffff000u);
  let fh = bitcast<$F>(bitcast<$U>(f) & mask);
  let sh = bitcast<$F>(bitcast<$U>(f - 0.5f * z) & mask);
  let sl = ((f - sh) - 0.5f * fh * fh) - 0.5f * (f - fh) * (f + fh) + t;
  let p = sh * 1.4423828125f;
  let lower = sh * 3.1222839e-4f + sl * 1.44269504f;
  let l = p + lower;
  let lh = bitcast<$F>(bitcast<$U>(l) & mask);
  let ll = (p - lh) + lower;
  let yh = bitcast<$F>(bitcast<$U>(y) & mask);
  let n = clamp(floor(y * (e + l) + 0.5f), $F(-160.0f), $F(160.0f));
  let rest = (y - yh) * e + ((y - yh) * lh + y * ll);
  let g = clamp(((yh * e - n) + yh * lh) + rest, $F(-200.0f), $F(200.0f));
  let k = $I(n);
  let h = k >> $U(1u);
  let s = bitcast<$F>((h + $I(127)) << $U(23u)) * kExp$s(g * 0.693147181f);
  let m = s * bitcast<$F>((k - h + $I(127)) << $U(23u));
  let integer = y == floor(y);
  let half = 0.5f * y;
  let odd = integer & (half != floor(half)) & (abs(y) < $F(16777216.0f));
  let minus = (bitcast<$U>(base) & $U(0x80000000u)) != $U(0u);
  let zero = (b & $U(0x7f800000u)) == $U(0u);
  let infinite = b == $U(0x7f800000u);
  let up = y > $F(0.0f);
  let inf = kInf$s();
  // x = 0 or infinity, then an infinite exponent, then the sign, then the cases that are always 1.
  let r0 = select(select(m, select(inf, $F(0.0f), up), zero), select($F(0.0f), inf, up), infinite);
  let grows = (x > $F(1.0f)) == up;
  let r1 = select(r0, select($F(0.0f), inf, grows), kIsInf$s(y));
  let r2 = select(r1, -r1, minus & odd);
  let r3 = select(r2, kNan$s(), minus & !integer & !zero & !infinite & !kIsInf$s(y));
  let r4 = select(r3, kNan$s(), kIsNan$s(base) | kIsNan$s(y));
  let one = (base == $F(1.0f)) | (y == $F(0.0f)) | ((base == $F(-1.0f)) & kIsInf$s(y));
  return select(r4, $F(1.0f), one);
}`,
  kExp,
  kInf,
  kIsInf,
  kNan,
  kIsNan,
);

// Integer power by squaring; a negative exponent gives 0 except for bases 1 and -1.
const kPowI = wgslFunction(`fn kPowI$s(base: $I, y: $I) -> $I {
  var r = $I(1);
  var b = base;
  var n = bitcast<$U>(abs(y));
  for (var i = 0; i < 32; i++) {
    r = select(r, r * b, (n & $U(1u)) == $U(1u));
    b = b * b;
    n = n >> $U(1u);
  }
  return select(r, select($I(0), r, abs(base) == $I(1)), y < $I(0));
}`);

export const expm1 = unaryFunction('expm1', kExpm1, Math.expm1, (u) => e.exp(u));
export const log1p = unaryFunction('log1p', kLog1p, Math.log1p, (u) => e.reciprocal(e.add(u, 1)));
export const log2 = unaryFunction('log2', kLog2, Math.log2, (u) => e.reciprocal(e.mul(u, Math.LN2)));
export const sigmoid = unaryFunction(
  'sigmoid',
  kSigmoid,
  (x) => 1 / (1 + Math.exp(-x)),
  (_, y) => e.mul(y, e.sub(1, y)),
);
/** log(1 + exp(x)), stable on both sides. */
export const softplus = unaryFunction(
  'softplus',
  kSoftplus,
  (x) => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x))),
  (u) => sigmoid(u),
);
export const tanh = unaryFunction('tanh', kTanh, Math.tanh, (_, y) => e.sub(1, e.square(y)));
export const sinh = unaryFunction('sinh', kSinh, Math.sinh, (u) => cosh(u));
export const cosh = unaryFunction('cosh', kCosh, Math.cosh, (u) => sinh(u));
export const asinh = unaryFunction('asinh', kAsinh, Math.asinh, (u) => e.rsqrt(e.add(e.square(u), 1)));
export const acosh = unaryFunction('acosh', kAcosh, Math.acosh, (u) => e.rsqrt(e.sub(e.square(u), 1)));
export const atanh = unaryFunction('atanh', kAtanh, Math.atanh, (u) => e.reciprocal(e.sub(1, e.square(u))));

/** Powers that need no logarithm. */
function simplePower([a, b]: readonly Expr[]): Expr | undefined {
  if (a === undefined || b?.op !== 'const') return undefined;
  if (b.value === 0) return constant(1, a.type);
  if (b.value === 1) return a;
  if (b.value === 2) return e.mul(a, a);
  if (b.value === 3) return e.mul(e.mul(a, a), a);
  if (a.type !== 'f32') return undefined;
  if (b.value === 4) return e.square(e.square(a));
  if (b.value === 0.5) return e.sqrt(a);
  if (b.value === -0.5) return e.rsqrt(a);
  if (b.value === -1) return e.reciprocal(a);
  if (b.value === -2) return e.reciprocal(e.mul(a, a));
  return undefined;
}

/** `pow(0, 0)` is 1. */
export const pow: (base: ExprLike, exponent: ExprLike) => Expr = mathFunction({
  name: 'pow',
  wgsl: { f32: kPow, i32: kPowI },
  value: ([a = 0, b = 0]) =>
    a === 1 || b === 0 ? 1 : Math.abs(a) === 1 && !Number.isFinite(b) && !Number.isNaN(b) ? 1 : a ** b,
  // PyTorch: the base's derivative is 0 where the exponent is 0, the exponent's is 0 where base = 0 and
  // exponent >= 0.
  derivatives: [
    ([u, v]) => e.select(e.eq(v, 0), 0, e.mul(v, pow(u, e.sub(v, 1)))),
    ([u, v], y) => e.select(e.and(e.eq(u, 0), e.ge(v, 0)), 0, e.mul(y, e.log(u))),
  ],
  simplify: simplePower,
});
