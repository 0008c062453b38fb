/**
 * WGSL functions that the language lacks or that some adapters get wrong, as text with `$F $I $U $B` for the
 * type (f32 or vec4<f32>, ...) and `$s` for the suffix that tells the two widths apart. All are free of
 * branches, so one text serves both widths.
 *
 * Why not the builtins: lavapipe's `log` is off by 1e-3 relative near 1, its `tanh` by 1.7e-3 near 0, its
 * `atan` by 2e-5, its `exp` by 4e-6 at 87, `max(NaN, 1)` is 1; SwiftShader has log(0) = -88; WGSL itself
 * allows `atan` 4096 ulp. The polynomials are Cephes' single precision ones (S. Moshier,
 * https://netlib.org/cephes) unless a comment says otherwise. NaN and infinity are made from bits held in a
 * variable: WGSL rejects them as constant expressions.
 */

/** Natural logarithm of the mantissa m in [sqrt(1/2), sqrt(2)), and the exponent e: x = m * 2^e. */
const splitLog = `
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
const logEdges = `
  let r1 = select(r, x, b == $U(0x7f800000u));
  let r2 = select(r1, kNan$s(), b > $U(0x7f800000u));
  return select(r2, -kInf$s(), (b & $U(0x7f800000u)) == $U(0u));`;

export const mathFunctions = {
  kNan: `fn kNan$s() -> $F { var b = 0x7fc00000u; return $F(bitcast<f32>(b)); }`,
  kInf: `fn kInf$s() -> $F { var b = 0x7f800000u; return $F(bitcast<f32>(b)); }`,
  kIsNan: `fn kIsNan$s(x: $F) -> $B { return (bitcast<$U>(x) & $U(0x7fffffffu)) > $U(0x7f800000u); }`,
  kIsInf: `fn kIsInf$s(x: $F) -> $B { return (bitcast<$U>(x) & $U(0x7fffffffu)) == $U(0x7f800000u); }`,
  kIsFinite: `fn kIsFinite$s(x: $F) -> $B { return (bitcast<$U>(x) & $U(0x7fffffffu)) < $U(0x7f800000u); }`,
  kNe: `fn kNe$s(a: $F, b: $F) -> $B { return !(a == b) | kIsNan$s(a) | kIsNan$s(b); }`,
  kTruth: `fn kTruth$s(x: $F) -> $B { return (bitcast<$U>(x) & $U(0x7fffffffu)) != $U(0u); }`,
  kRelu: `fn kRelu$s(x: $F) -> $F { return select(max(x, $F(0.0f)), x, kIsNan$s(x)); }`,
  kMax: `fn kMax$s(a: $F, b: $F) -> $F { return select(select(max(a, b), b, kIsNan$s(b)), a, kIsNan$s(a)); }`,
  kMin: `fn kMin$s(a: $F, b: $F) -> $F { return select(select(min(a, b), b, kIsNan$s(b)), a, kIsNan$s(a)); }`,
  kClamp: `fn kClamp$s(x: $F, lo: $F, hi: $F) -> $F { return kMin$s(kMax$s(x, lo), hi); }`,
  kSign: `fn kSign$s(x: $F) -> $F { return select(sign(x), $F(0.0f), kIsNan$s(x)); }`,
  kExp: `fn kExp$s(x: $F) -> $F {
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
  kExpm1: `fn kExpm1$s(x: $F) -> $F {
  // Taylor below 1/2, where exp(x) - 1 would cancel.
  var q = x * 2.4801587e-5f + 1.9841270e-4f;
  q = q * x + 1.3888889e-3f;
  q = q * x + 8.3333333e-3f;
  q = q * x + 4.1666667e-2f;
  q = q * x + 1.6666667e-1f;
  q = q * x + 0.5f;
  return select(kExp$s(x) - 1.0f, q * x * x + x, abs(x) < $F(0.5f));
}`,
  kLog: `fn kLog$s(x: $F) -> $F {${splitLog}
  let r = (f + (t - e * 2.12194440e-4f - 0.5f * z)) + e * 0.693359375f;${logEdges}
}`,
  kLog2: `fn kLog2$s(x: $F) -> $F {${splitLog}
  let r = (f + (t - 0.5f * z)) * 1.44269504f + e;${logEdges}
}`,
  kLog1p: `fn kLog1p$s(x: $F) -> $F {
  // 2 atanh(x / (2 + x)) near 0.
  let s = x / (x + 2.0f);
  let z = s * s;
  var q = z * 0.0909090909f + 0.1111111111f;
  q = q * z + 0.1428571429f;
  q = q * z + 0.2f;
  q = q * z + 0.3333333333f;
  return select(kLog$s(x + 1.0f), (q * z * s + s) * 2.0f, (x > $F(-0.35f)) & (x < $F(0.5f)));
}`,
  kSigmoid: `fn kSigmoid$s(x: $F) -> $F { return 1.0f / (kExp$s(-x) + 1.0f); }`,
  kSoftplus: `fn kSoftplus$s(x: $F) -> $F { return max(x, $F(0.0f)) + kLog1p$s(kExp$s(-abs(x))); }`,
  kTanh: `fn kTanh$s(x: $F) -> $F {
  let t = kExpm1$s(min(abs(x), $F(10.0f)) * 2.0f);
  return select(t / (t + 2.0f) * sign(x), x, kIsNan$s(x));
}`,
  kSinh: `fn kSinh$s(x: $F) -> $F {
  let a = abs(x);
  let t = kExpm1$s(min(a, $F(10.0f)));
  let h = kExp$s(a * 0.5f);
  let r = select(0.5f * (t + t / (t + 1.0f)), (0.5f * h) * h, a > $F(9.0f));
  return select(r * sign(x), x, kIsNan$s(x));
}`,
  kCosh: `fn kCosh$s(x: $F) -> $F {
  let h = kExp$s(abs(x) * 0.5f);
  return (0.5f * h) * h + 0.5f / (h * h);
}`,
  kAsinh: `fn kAsinh$s(x: $F) -> $F {
  let a = abs(x);
  let c = min(a, $F(1e4f));
  let r = select(kLog1p$s(c + c * c / (sqrt(c * c + 1.0f) + 1.0f)), kLog$s(a) + 0.693147181f, a > $F(1e4f));
  return select(r * sign(x), x, kIsNan$s(x));
}`,
  kAcosh: `fn kAcosh$s(x: $F) -> $F {
  let t = min(x, $F(1e4f)) - 1.0f;
  let r = select(kLog1p$s(t + sqrt(max(t * (t + 2.0f), $F(0.0f)))), kLog$s(x) + 0.693147181f, x > $F(1e4f));
  return select(r, kNan$s(), (x < $F(1.0f)) | kIsNan$s(x));
}`,
  kAtanh: `fn kAtanh$s(x: $F) -> $F {
  let a = abs(x);
  return 0.5f * kLog1p$s((a + a) / (1.0f - a)) * sign(x);
}`,
  // Cephes sinf and cosf: octants of pi / 4 taken off in three parts, then a polynomial. Built-in sines are
  // only good to 2^-11
  // on some adapters. Past 8192 the three parts run out of digits.
  kSinCos: `fn kSinCos$s(a: $F, shift: u32) -> $F {
  let o = ($U(min(a, $F(8192.0f)) * 1.27323954f) + 1u) & $U(0xfffffffeu);
  let y = $F(o);
  let z = ((a - y * 0.78515625f) - y * 2.4187564849853515625e-4f) - y * 3.77489497744594108e-8f;
  let q = z * z;
  let c = ((q * 2.443315711809948e-5f - 1.388731625493765e-3f) * q + 4.166664568298827e-2f) * q * q - 0.5f * q + 1.0f;
  let s = ((q * -1.9515295891e-4f + 8.3321608736e-3f) * q - 1.6666654611e-1f) * q * z + z;
  let p = o + shift;
  let r = select(s, c, (p & $U(2u)) != $U(0u));
  return select(r, -r, (p & $U(4u)) != $U(0u));
}`,
  kSin: `fn kSin$s(x: $F) -> $F {
  let a = abs(x);
  let r = select(kSinCos$s(a, 0u) * sign(x), sin(x), a > $F(8192.0f));
  return select(select(kNan$s(), r, kIsFinite$s(x)), x, a == $F(0.0f));
}`,
  kCos: `fn kCos$s(x: $F) -> $F {
  let a = abs(x);
  let r = select(kSinCos$s(a, 2u), cos(x), a > $F(8192.0f));
  return select(kNan$s(), r, kIsFinite$s(x));
}`,
  kTan: `fn kTan$s(x: $F) -> $F { return kSin$s(x) / kCos$s(x); }`,
  kAtan: `fn kAtan$s(x: $F) -> $F {
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
  kAtan2: `fn kAtan2$s(y: $F, x: $F) -> $F {
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
  // asin(a) for a in [0, 1]; above 1/2 by pi/2 - 2 asin(sqrt((1 - a) / 2)), whose second term is returned in
  // acos's favour.
  kAsinCore: `fn kAsinCore$s(a: $F) -> $F {
  let z = a * a;
  var q = z * 4.2163199048e-2f + 2.4181311049e-2f;
  q = q * z + 4.5470025998e-2f;
  q = q * z + 7.4953002686e-2f;
  q = q * z + 1.6666752422e-1f;
  return q * z * a + a;
}`,
  kAsin: `fn kAsin$s(x: $F) -> $F {
  let a = abs(x);
  let big = a > $F(0.5f);
  let c = kAsinCore$s(select(a, sqrt(max(0.5f - 0.5f * a, $F(0.0f))), big));
  let r = select(c, 1.57079633f - (c + c), big) * sign(x);
  return select(r, kNan$s(), !(a <= $F(1.0f)) | kIsNan$s(x));
}`,
  kAcos: `fn kAcos$s(x: $F) -> $F {
  let a = abs(x);
  let big = a > $F(0.5f);
  let c = kAsinCore$s(select(a, sqrt(max(0.5f - 0.5f * a, $F(0.0f))), big));
  let neg = x < $F(0.0f);
  let r = select(1.57079633f - select(c, -c, neg), select(c + c, 3.14159265f - (c + c), neg), big);
  return select(r, kNan$s(), !(a <= $F(1.0f)) | kIsNan$s(x));
}`,
  // N. Juffa's erff (https://stackoverflow.com/a/35148199), below 1 ulp with fma.
  kErf: `fn kErf$s(x: $F) -> $F {
  let t = min(abs(x), $F(4.0f));
  let s = t * t;
  var r = (t * -1.72853470e-5f + 3.83197126e-4f) * s + (t * -3.88396438e-3f + 2.42546219e-2f);
  r = r * t - 1.06777877e-1f;
  r = r * t - 6.34846687e-1f;
  r = r * t - 1.28717512e-1f;
  let far = (1.0f - kExp$s(r * t - t)) * sign(x);
  var q = s * -5.96761703e-4f + 4.99119423e-3f;
  q = q * s - 2.67681349e-2f;
  q = q * s + 1.12819925e-1f;
  q = q * s - 3.76125336e-1f;
  q = q * s + 1.28379166e-1f;
  return select(select(q * x + x, far, t > $F(0.927734375f)), x, kIsNan$s(x));
}`,
  // M. Giles, "Approximating the erfinv function" (GPU Computing Gems, 2011), single precision.
  kErfinv: `fn kErfinv$s(x: $F) -> $F {
  let w0 = -kLog$s((1.0f - x) * (1.0f + x));
  let u = w0 - 2.5f;
  var p = u * 2.81022636e-8f + 3.43273939e-7f;
  p = p * u - 3.5233877e-6f;
  p = p * u - 4.39150654e-6f;
  p = p * u + 2.1858087e-4f;
  p = p * u - 1.25372503e-3f;
  p = p * u - 4.17768164e-3f;
  p = p * u + 2.46640727e-1f;
  p = p * u + 1.50140941f;
  let v = sqrt(w0) - 3.0f;
  var q = v * -2.00214257e-4f + 1.00950558e-4f;
  q = q * v + 1.34934322e-3f;
  q = q * v - 3.67342844e-3f;
  q = q * v + 5.73950773e-3f;
  q = q * v - 7.6224613e-3f;
  q = q * v + 9.43887047e-3f;
  q = q * v + 1.00167406f;
  q = q * v + 2.83297682f;
  let r = select(q, p, w0 < $F(5.0f)) * x;
  return select(r, kInf$s() * sign(x), abs(x) == $F(1.0f));
}`,
  // |x|^y by exp2(y * log2 |x|) with y split so that y times the exponent of x is exact.
  kPow: `fn kPow$s(base: $F, y: $F) -> $F {
  let x = abs(base);${splitLog}
  let l = (f + (t - 0.5f * z)) * 1.44269504f;
  let yh = bitcast<$F>(bitcast<$U>(y) & $U(0xfffff000u));
  let n = clamp(floor(y * (e + l) + 0.5f), $F(-160.0f), $F(160.0f));
  let g = clamp((yh * e - n) + (y - yh) * e + y * l, $F(-200.0f), $F(200.0f));
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
  kFmod: `fn kFmod$s(a: $F, b: $F) -> $F {
  let x = abs(a);
  let y = abs(b);
  let q = trunc(x / y);
  // Halves of 12 bits make the products exact while the quotient is below 2^24.
  let yh = bitcast<$F>(bitcast<$U>(y) & $U(0xfffff000u));
  let yl = y - yh;
  let qh = bitcast<$F>(bitcast<$U>(q) & $U(0xfffff000u));
  let ql = q - qh;
  let r0 = (((x - qh * yh) - ql * yh) - qh * yl) - ql * yl;
  let r1 = select(r0, r0 + y, r0 < $F(0.0f));
  let r2 = select(r1, r1 - y, r1 >= y);
  let r3 = select(r2, x, x < y);
  let r4 = select(r3, -r3, (bitcast<$U>(a) & $U(0x80000000u)) != $U(0u));
  return select(r4, kNan$s(), kIsNan$s(a) | kIsNan$s(b) | kIsInf$s(a) | (b == $F(0.0f)));
}`,
  kRemainder: `fn kRemainder$s(a: $F, b: $F) -> $F {
  let m = kFmod$s(a, b);
  return select(m, m + b, !(m == $F(0.0f)) & ((m < $F(0.0f)) != (b < $F(0.0f))));
}`,
  // A u32 that orders as the value does; every NaN is the largest and -0 equals 0.
  kOrderF: `fn kOrderF$s(x: $F) -> $U {
  let b = bitcast<$U>(select(x, $F(0.0f), x == $F(0.0f)));
  let k = select(b | $U(0x80000000u), ~b, b >= $U(0x80000000u));
  return select(k, $U(0xffffffffu), (b & $U(0x7fffffffu)) > $U(0x7f800000u));
}`,
  kUnorderF: `fn kUnorderF$s(k: $U) -> $F {
  return bitcast<$F>(select(~k, k & $U(0x7fffffffu), k >= $U(0x80000000u)));
}`,
  kOrderI: `fn kOrderI$s(x: $I) -> $U { return bitcast<$U>(x) ^ $U(0x80000000u); }`,
  kUnorderI: `fn kUnorderI$s(k: $U) -> $I { return bitcast<$I>(k ^ $U(0x80000000u)); }`,
  kOrderU: `fn kOrderU$s(x: $U) -> $U { return x; }`,
  kUnorderU: `fn kUnorderU$s(k: $U) -> $U { return k; }`,
  // Integers: division by zero leaves the dividend, so that no adapter traps.
  kDivI: `fn kDivI$s(a: $I, b: $I) -> $I { return a / select(b, $I(1), b == $I(0)); }`,
  kModI: `fn kModI$s(a: $I, b: $I) -> $I { return a % select(b, $I(1), b == $I(0)); }`,
  kRemainderI: `fn kRemainderI$s(a: $I, b: $I) -> $I {
  let m = kModI$s(a, b);
  return select(m, m + b, (m != $I(0)) & ((m < $I(0)) != (b < $I(0))));
}`,
  kDivU: `fn kDivU$s(a: $U, b: $U) -> $U { return a / select(b, $U(1u), b == $U(0u)); }`,
  kModU: `fn kModU$s(a: $U, b: $U) -> $U { return a % select(b, $U(1u), b == $U(0u)); }`,
  // Integer power by squaring; a negative exponent gives 0 except for bases 1 and -1.
  kPowI: `fn kPowI$s(base: $I, y: $I) -> $I {
  var r = $I(1);
  var b = base;
  var n = bitcast<$U>(abs(y));
  for (var i = 0; i < 32; i++) {
    r = select(r, r * b, (n & $U(1u)) == $U(1u));
    b = b * b;
    n = n >> $U(1u);
  }
  return select(r, select($I(0), r, abs(base) == $I(1)), y < $I(0));
}`,
} as const;

export type MathFunction = keyof typeof mathFunctions;

/**
 * Collects the functions that a kernel uses, with what they use, each once and in an order that WGSL accepts.
 */
export class WgslFunctions {
  private readonly text = new Map<string, string>();

  /** Name to call for the function at this width. */
  use(name: MathFunction, width: 1 | 4): string {
    const suffix = width === 4 ? '4' : '';
    const full = name + suffix;
    if (!this.text.has(full)) {
      const source: string = mathFunctions[name];
      for (const [, callee] of source.matchAll(/\b(k[A-Z]\w*)\$s\(/g))
        if (callee !== name) this.use(callee as MathFunction, width);
      const type = (t: string): string => (width === 4 ? `vec4<${t}>` : t);
      const types: Readonly<Record<string, string>> = {
        F: type('f32'),
        I: type('i32'),
        U: type('u32'),
        B: type('bool'),
      };
      this.text.set(
        full,
        source.replace(/\$([FIUB])/g, (_, t: string) => types[t]!).replaceAll('$s', suffix),
      );
    }
    return full;
  }

  code(): string {
    return [...this.text.values()].join('\n');
  }
}
