import { e } from '../../kernels/expr/expr.js';
import * as fn from '../../kernels/expr/functions.js';
import { binaryOp, unaryOp, type Binary, type Unary } from '../base/row.js';

/* What PyTorch has in `torch.special` alone (https://pytorch.org/docs/1.13/special.html). */

/** `torch.special.entr`: `-x log(x)`; 0 at 0, minus infinity below. */
export const entr: Unary = unaryOp(
  'entr',
  'float',
  (x) =>
    e.select(
      e.isNan(x),
      x,
      e.select(e.gt(x, 0), e.neg(e.mul(x, e.log(x))), e.select(e.eq(x, 0), 0, -Infinity)),
    ),
  { grad: (g, _, x) => [e.mul(g, e.neg(e.add(e.log(x), 1)))] },
);
/** `torch.special.erfcx`: `exp(x^2) erfc(x)`. */
export const erfcx: Unary = unaryOp('erfcx', 'float', (x) => fn.erfcx(x));
/** `torch.special.ndtr`: how much of the standard normal distribution lies below x. */
export const ndtr: Unary = unaryOp('ndtr', 'float', (x) => fn.ndtr(x));
/** `torch.special.log_ndtr`: `log(ndtr(x))`, also where `ndtr(x)` is 0 in float32. */
export const logNdtr: Unary = unaryOp('logNdtr', 'float', (x) => fn.logNdtr(x), { lends: 'operands' });
/** `torch.special.ndtri`: the inverse of `ndtr`; NaN outside of 0 to 1. */
export const ndtri: Unary = unaryOp('ndtri', 'float', (x) => fn.ndtri(x));
/** `torch.special.xlog1py`: `x log1p(y)`, and 0 where x is 0 (unless y is NaN). */
export const xlog1py: Binary = binaryOp('xlog1py', 'float', (x, y) =>
  e.select(e.and(e.eq(x, 0), e.not(e.isNan(y))), 0, e.mul(x, fn.log1p(y))),
);
/** `torch.special.zeta`: Hurwitz's, the sum of `(k + q) ** -x` over k = 0, 1, ... */
export const zeta: Binary = binaryOp('zeta', 'float', (x, q) => fn.zeta(x, q));

// ---- Bessel functions

/** `torch.special.i0e`: `exp(-|x|) i0(x)`. */
export const i0e: Unary = unaryOp('i0e', 'float', (x) => fn.i0e(x));
/** `torch.special.i1`: the modified Bessel function of order 1. */
export const i1: Unary = unaryOp('i1', 'float', (x) => fn.i1(x));
/** `torch.special.i1e`: `exp(-|x|) i1(x)`. */
export const i1e: Unary = unaryOp('i1e', 'float', (x) => fn.i1e(x));
/** `torch.special.modified_bessel_i0`: the same as `i0`. */
export const modifiedBesselI0: Unary = unaryOp('modifiedBesselI0', 'float', (x) => fn.i0(x));
/** `torch.special.modified_bessel_i1`: the same as `i1`. */
export const modifiedBesselI1: Unary = unaryOp('modifiedBesselI1', 'float', (x) => fn.i1(x));
/** `torch.special.modified_bessel_k0`: the modified Bessel function of the second kind, order 0. */
export const modifiedBesselK0: Unary = unaryOp('modifiedBesselK0', 'float', (x) => fn.k0(x));
/** `torch.special.modified_bessel_k1`: the modified Bessel function of the second kind, order 1. */
export const modifiedBesselK1: Unary = unaryOp('modifiedBesselK1', 'float', (x) => fn.k1(x));
/** `torch.special.scaled_modified_bessel_k0`: `exp(x) modifiedBesselK0(x)`. */
export const scaledModifiedBesselK0: Unary = unaryOp('scaledModifiedBesselK0', 'float', (x) => fn.k0e(x));
/** `torch.special.scaled_modified_bessel_k1`: `exp(x) modifiedBesselK1(x)`. */
export const scaledModifiedBesselK1: Unary = unaryOp('scaledModifiedBesselK1', 'float', (x) => fn.k1e(x));
/** `torch.special.bessel_j0`: the Bessel function of the first kind, order 0. */
export const besselJ0: Unary = unaryOp('besselJ0', 'float', (x) => fn.besselJ0(x));
/** `torch.special.bessel_j1`: the Bessel function of the first kind, order 1. */
export const besselJ1: Unary = unaryOp('besselJ1', 'float', (x) => fn.besselJ1(x));
/** `torch.special.bessel_y0`: the Bessel function of the second kind, order 0; NaN below 0. */
export const besselY0: Unary = unaryOp('besselY0', 'float', (x) => fn.besselY0(x));
/** `torch.special.bessel_y1`: the Bessel function of the second kind, order 1; NaN below 0. */
export const besselY1: Unary = unaryOp('besselY1', 'float', (x) => fn.besselY1(x));
/** `torch.special.spherical_bessel_j0`: `sin(x) / x`, and 1 at 0. */
export const sphericalBesselJ0: Unary = unaryOp('sphericalBesselJ0', 'float', (x) =>
  e.select(e.isInf(x), 0, e.select(e.eq(x, 0), 1, e.div(fn.sin(x), x))),
);

// ---- orthogonal polynomials: (x, degree), without gradients, as in PyTorch

const family = (name: string, value: typeof fn.chebyshevT): Binary =>
  binaryOp(name, 'float', (x, n) => value(x, n), { grad: () => [null, null] });

/** `torch.special.chebyshev_polynomial_t(x, n)`; a degree past 65,536 gives NaN, here and below. */
export const chebyshevPolynomialT: Binary = family('chebyshevPolynomialT', fn.chebyshevT);
/** `torch.special.chebyshev_polynomial_u(x, n)`. */
export const chebyshevPolynomialU: Binary = family('chebyshevPolynomialU', fn.chebyshevU);
/** `torch.special.chebyshev_polynomial_v(x, n)`. */
export const chebyshevPolynomialV: Binary = family('chebyshevPolynomialV', fn.chebyshevV);
/** `torch.special.chebyshev_polynomial_w(x, n)`. */
export const chebyshevPolynomialW: Binary = family('chebyshevPolynomialW', fn.chebyshevW);
/** `torch.special.shifted_chebyshev_polynomial_t(x, n)`: of `2x - 1`. */
export const shiftedChebyshevPolynomialT: Binary = family(
  'shiftedChebyshevPolynomialT',
  fn.shiftedChebyshevT,
);
/** `torch.special.shifted_chebyshev_polynomial_u(x, n)`: of `2x - 1`. */
export const shiftedChebyshevPolynomialU: Binary = family(
  'shiftedChebyshevPolynomialU',
  fn.shiftedChebyshevU,
);
/** `torch.special.shifted_chebyshev_polynomial_v(x, n)`: of `2x - 1`. */
export const shiftedChebyshevPolynomialV: Binary = family(
  'shiftedChebyshevPolynomialV',
  fn.shiftedChebyshevV,
);
/** `torch.special.shifted_chebyshev_polynomial_w(x, n)`: of `2x - 1`. */
export const shiftedChebyshevPolynomialW: Binary = family(
  'shiftedChebyshevPolynomialW',
  fn.shiftedChebyshevW,
);
/** `torch.special.hermite_polynomial_h(x, n)`: the physicists'. */
export const hermitePolynomialH: Binary = family('hermitePolynomialH', fn.hermiteH);
/** `torch.special.hermite_polynomial_he(x, n)`: the probabilists'. */
export const hermitePolynomialHe: Binary = family('hermitePolynomialHe', fn.hermiteHe);
/** `torch.special.laguerre_polynomial_l(x, n)`. */
export const laguerrePolynomialL: Binary = family('laguerrePolynomialL', fn.laguerreL);
/** `torch.special.legendre_polynomial_p(x, n)`. */
export const legendrePolynomialP: Binary = family('legendrePolynomialP', fn.legendreP);
