/** Families of orthogonal polynomials, by their recurrences; the degree is an operand. */
import { mathFunction, type Function2 } from './function.js';
import { kNan } from './math.js';
import { wgslFunction } from './wgsl-function.js';

interface Family {
  readonly name: string;
  /** WGSL of the polynomial of degree 1 in `z`. */
  readonly first: string;
  /** WGSL of degree `k + 1` from `q` of degree `k` and `p` of the one before. */
  readonly next: string;
  readonly value: { first(x: number): number; next(x: number, k: number, q: number, p: number): number };
  /** In 2x - 1 instead of x. */
  readonly shifted?: boolean;
}

/** Degrees past this are NaN: an invocation that counts for seconds would lose the device. */
const most = 65536;

/** The degree is cut towards 0; below 0 the value is 0, as PyTorch has it. */
function family({ name, first, next, value, shifted = false }: Family): Function2 {
  return mathFunction({
    name,
    wgsl: {
      f32: wgslFunction(
        `fn ${name}$s(x: $F, n: $F) -> $F {
  let z = ${shifted ? 'x + x - 1.0f' : 'x'};
  let degree = trunc(n);
  var p = $F(1.0f);
  var q = select($F(1.0f), ${first}, degree >= $F(1.0f));
  let stop = select(degree, $F(0.0f), degree > $F(${most}.0f));
  for (var k = 1.0f; any($F(k) < stop); k += 1.0f) {
    let r = ${next};
    let more = $F(k) < stop;
    p = select(p, q, more);
    q = select(q, r, more);
  }
  q = select(q, kNan$s(), degree > $F(${most}.0f));
  return select(q, $F(0.0f), degree < $F(0.0f));
}`,
        kNan,
      ),
    },
    value: ([x = NaN, n = NaN]) => {
      const z = shifted ? 2 * x - 1 : x;
      const degree = Math.trunc(n);
      if (degree < 0) return 0;
      if (degree > most) return NaN;
      let [p, q] = [1, degree >= 1 ? value.first(z) : 1];
      for (let k = 1; k < degree; k++) [p, q] = [q, value.next(z, k, q, p)];
      return q;
    },
    derivatives: [null, null],
  });
}

/** Chebyshev's four kinds differ in their first degree only. */
const chebyshev = (kind: string, first: string, value: (x: number) => number, shifted: boolean): Function2 =>
  family({
    name: `${shifted ? 'shiftedC' : 'c'}hebyshev${kind}`,
    first,
    next: '2.0f * z * q - p',
    value: { first: value, next: (x, _, q, p) => 2 * x * q - p },
    shifted,
  });

export const chebyshevT = chebyshev('T', 'z', (x) => x, false);
export const chebyshevU = chebyshev('U', 'z + z', (x) => 2 * x, false);
export const chebyshevV = chebyshev('V', 'z + z - 1.0f', (x) => 2 * x - 1, false);
export const chebyshevW = chebyshev('W', 'z + z + 1.0f', (x) => 2 * x + 1, false);
export const shiftedChebyshevT = chebyshev('T', 'z', (x) => x, true);
export const shiftedChebyshevU = chebyshev('U', 'z + z', (x) => 2 * x, true);
export const shiftedChebyshevV = chebyshev('V', 'z + z - 1.0f', (x) => 2 * x - 1, true);
export const shiftedChebyshevW = chebyshev('W', 'z + z + 1.0f', (x) => 2 * x + 1, true);

/** The physicists' polynomials. */
export const hermiteH = family({
  name: 'hermiteH',
  first: 'z + z',
  next: '2.0f * (z * q - k * p)',
  value: { first: (x) => 2 * x, next: (x, k, q, p) => 2 * (x * q - k * p) },
});
/** The probabilists' polynomials. */
export const hermiteHe = family({
  name: 'hermiteHe',
  first: 'z',
  next: 'z * q - k * p',
  value: { first: (x) => x, next: (x, k, q, p) => x * q - k * p },
});
export const laguerreL = family({
  name: 'laguerreL',
  first: '1.0f - z',
  next: '((2.0f * k + 1.0f - z) * q - k * p) / (k + 1.0f)',
  value: { first: (x) => 1 - x, next: (x, k, q, p) => ((2 * k + 1 - x) * q - k * p) / (k + 1) },
});
export const legendreP = family({
  name: 'legendreP',
  first: 'z',
  next: '((2.0f * k + 1.0f) * z * q - k * p) / (k + 1.0f)',
  value: { first: (x) => x, next: (x, k, q, p) => ((2 * k + 1) * x * q - k * p) / (k + 1) },
});
