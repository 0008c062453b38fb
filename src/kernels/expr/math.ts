/**
 * WGSL functions that the language lacks or that some adapters get wrong, as text with `$F $I $U $B` for the
 * type (f32 or vec4<f32>, ...) and `$s` for the suffix that tells the two widths apart. All are free of
 * branches, so one text serves both widths.
 *
 * Why not the builtins: lavapipe's `log` is off by 1e-3 relative near 1, its `tanh` by 1.7e-3 near 0, its
 * `atan` by 2e-5, its `exp` by 4e-6 at 87, `max(NaN, 1)` is 1; SwiftShader has log(0) = -88; WGSL itself
 * allows `atan` 4096 ulp. The polynomials are Cephes' single precision ones (S. Moshier,
 * https://netlib.org/cephes) unless a comment says otherwise. NaN and infinity are made from bits held in a
 * variable: WGSL rejects them as constant expressions. Here is what the language's own operations need; the
 * other files of this folder have the rest.
 */
import { wgslFunction } from './wgsl-function.js';

/** Natural logarithm of the mantissa m in [sqrt(1/2), sqrt(2)), and the exponent e: x = m * 2^e. */
export const splitLog = `
  let b = bitcast<$U>(x);
  let m0 = bitcast<$F>((b & $U(0x007fffffu)) | $U(0x3f000000u));
  let low = m0 < $F(0.70710678f);
  let e = $F($I((b >> $U(23u)) & $U(255u)) - select($I(126), $I(127), low));
  let f = select(m0, m0 + m0, low) - $F(1.0f);
  let z = f * f;
  var q = f * 7.0376836292e-2f - 1.1514610310e-1f;
  q = q * f + 1.1676998740e-1f;
  q = q * f - 1.2420140846e-1f;
  q = q * f + 1.4249322787e-1f;
  q = q * f - 1.6668057665e-1f;
  q = q * f + 2.0000714765e-1f;
  q = q * f - 2.4999993993e-1f;
  q = q * f + 3.3333331174e-1f;
  let t = f * z * q;`;

/** Replaces the value of a logarithm where the argument is 0 (or denormal), infinite, negative or NaN. */
export const logEdges = `
  let r1 = select(r, x, b == $U(0x7f800000u));
  let r2 = select(r1, kNan$s(), b > $U(0x7f800000u));
  return select(r2, -kInf$s(), (b & $U(0x7f800000u)) == $U(0u));`;

export const kNan = wgslFunction(`fn kNan$s() -> $F { var b = 0x7fc00000u; return $F(bitcast<f32>(b)); }`);

export const kInf = wgslFunction(`fn kInf$s() -> $F { var b = 0x7f800000u; return $F(bitcast<f32>(b)); }`);

export const kIsNan = wgslFunction(
  `fn kIsNan$s(x: $F) -> $B { return (bitcast<$U>(x) & $U(0x7fffffffu)) > $U(0x7f800000u); }`,
);

export const kIsInf = wgslFunction(
  `fn kIsInf$s(x: $F) -> $B { return (bitcast<$U>(x) & $U(0x7fffffffu)) == $U(0x7f800000u); }`,
);

export const kIsFinite = wgslFunction(
  `fn kIsFinite$s(x: $F) -> $B { return (bitcast<$U>(x) & $U(0x7fffffffu)) < $U(0x7f800000u); }`,
);

export const kNe = wgslFunction(
  `fn kNe$s(a: $F, b: $F) -> $B { return !(a == b) | kIsNan$s(a) | kIsNan$s(b); }`,
  kIsNan,
);

export const kTruth = wgslFunction(
  `fn kTruth$s(x: $F) -> $B { return (bitcast<$U>(x) & $U(0x7fffffffu)) != $U(0u); }`,
);

export const kRelu = wgslFunction(
  `fn kRelu$s(x: $F) -> $F { return select(max(x, $F(0.0f)), x, kIsNan$s(x)); }`,
  kIsNan,
);

export const kMax = wgslFunction(
  `fn kMax$s(a: $F, b: $F) -> $F { return select(select(max(a, b), b, kIsNan$s(b)), a, kIsNan$s(a)); }`,
  kIsNan,
);

export const kMin = wgslFunction(
  `fn kMin$s(a: $F, b: $F) -> $F { return select(select(min(a, b), b, kIsNan$s(b)), a, kIsNan$s(a)); }`,
  kIsNan,
);

export const kClamp = wgslFunction(
  `fn kClamp$s(x: $F, lo: $F, hi: $F) -> $F { return kMin$s(kMax$s(x, lo), hi); }`,
  kMin,
  kMax,
);

export const kSign = wgslFunction(
  `fn kSign$s(x: $F) -> $F { return select(sign(x), $F(0.0f), kIsNan$s(x)); }`,
  kIsNan,
);

export const kExp = wgslFunction(
  `fn kExp$s(x: $F) -> $F {
  let c = clamp(x, $F(-105.0f), $F(89.0f));
  let n = floor(c * 1.44269504f + 0.5f);
  let r = (c - n * 0.693359375f) + n * 2.12194440e-4f;
  var q = r * 1.9875691500e-4f + 1.3981999507e-3f;
  q = q * r + 8.3334519073e-3f;
  q = q * r + 4.1665795894e-2f;
  q = q * r + 1.6666665459e-1f;
  q = q * r + 5.0000001201e-1f;
  q = (q * r * r + r) + 1.0f;
  let k = $I(n);
  let h = k >> $U(1u);
  let s = bitcast<$F>((h + $I(127)) << $U(23u)) * q;
  return select(s * bitcast<$F>((k - h + $I(127)) << $U(23u)), x, kIsNan$s(x));
}`,
  kIsNan,
);

export const kLog = wgslFunction(
  `fn kLog$s(x: $F) -> $F {${splitLog}
  let r = (f + (t - e * 2.12194440e-4f - 0.5f * z)) + e * 0.693359375f;${logEdges}
}`,
  kNan,
  kInf,
);

// A u32 that orders as the value does; every NaN is the largest and -0 equals 0.
export const kOrderF = wgslFunction(`fn kOrderF$s(x: $F) -> $U {
  let b = bitcast<$U>(select(x, $F(0.0f), x == $F(0.0f)));
  let k = select(b | $U(0x80000000u), ~b, b >= $U(0x80000000u));
  return select(k, $U(0xffffffffu), (b & $U(0x7fffffffu)) > $U(0x7f800000u));
}`);

export const kUnorderF = wgslFunction(`fn kUnorderF$s(k: $U) -> $F {
  return bitcast<$F>(select(~k, k & $U(0x7fffffffu), k >= $U(0x80000000u)));
}`);

export const kOrderI = wgslFunction(`fn kOrderI$s(x: $I) -> $U { return bitcast<$U>(x) ^ $U(0x80000000u); }`);

export const kUnorderI = wgslFunction(
  `fn kUnorderI$s(k: $U) -> $I { return bitcast<$I>(k ^ $U(0x80000000u)); }`,
);

export const kOrderU = wgslFunction(`fn kOrderU$s(x: $U) -> $U { return x; }`);

export const kUnorderU = wgslFunction(`fn kUnorderU$s(k: $U) -> $U { return k; }`);

// Integers: division by zero leaves the dividend, so that no adapter traps.
export const kDivI = wgslFunction(
  `fn kDivI$s(a: $I, b: $I) -> $I { return a / select(b, $I(1), b == $I(0)); }`,
);

export const kModI = wgslFunction(
  `fn kModI$s(a: $I, b: $I) -> $I { return a % select(b, $I(1), b == $I(0)); }`,
);

export const kDivU = wgslFunction(
  `fn kDivU$s(a: $U, b: $U) -> $U { return a / select(b, $U(1u), b == $U(0u)); }`,
);
