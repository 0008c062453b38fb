/** Special functions (`torch.special`). */
import { e } from './expr.js';
import { unaryFunction } from './function.js';
import { kExp, kInf, kIsNan, kLog } from './math.js';
import { wgslFunction } from './wgsl-function.js';

// N. Juffa's erff (https://stackoverflow.com/a/35148199), below 1 ulp with fma.
const kErf = wgslFunction(
  `fn kErf$s(x: $F) -> $F {
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
  kExp,
  kIsNan,
);

// M. Giles, "Approximating the erfinv function" (GPU Computing Gems, 2011), single precision.
const kErfinv = wgslFunction(
  `fn kErfinv$s(x: $F) -> $F {
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
  kLog,
  kInf,
);

/**
 * Double precision error function: the Maclaurin series up to 2.5, then the continued fraction of erfc (A&S
 * 7.1.5, 7.1.14).
 */
function erfOf(x: number): number {
  const a = Math.abs(x);
  if (Number.isNaN(x)) return NaN;
  if (a > 6) return Math.sign(x);
  if (a < 2.5) {
    let term = x;
    let sum = x;
    for (let n = 1; Math.abs(term) > 1e-17 * Math.abs(sum); n++) {
      term *= (-x * x) / n;
      sum += term / (2 * n + 1);
    }
    return (2 / Math.sqrt(Math.PI)) * sum;
  }
  let f = 0;
  for (let k = 60; k >= 1; k--) f = k / 2 / (a + f);
  return Math.sign(x) * (1 - Math.exp(-a * a) / Math.sqrt(Math.PI) / (a + f));
}

/** Inverse of {@link erfOf}: Winitzki's estimate, then Newton's method. */
function erfinvOf(y: number): number {
  if (!(Math.abs(y) < 1)) return Math.abs(y) === 1 ? y * Infinity : NaN;
  if (y === 0) return y;
  const l = Math.log(1 - y * y);
  const t = 2 / (Math.PI * 0.147) + l / 2;
  let x = Math.sign(y) * Math.sqrt(Math.sqrt(t * t - l / 0.147) - t);
  for (let i = 0; i < 4; i++) x -= (erfOf(x) - y) / ((2 / Math.sqrt(Math.PI)) * Math.exp(-x * x));
  return x;
}

export const erf = unaryFunction('erf', kErf, erfOf, (u) =>
  e.mul(e.exp(e.neg(e.square(u))), 2 / Math.sqrt(Math.PI)),
);
export const erfinv = unaryFunction('erfinv', kErfinv, erfinvOf, (_, y) =>
  e.mul(e.exp(e.square(y)), Math.sqrt(Math.PI) / 2),
);
