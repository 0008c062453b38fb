/**
 * Symbolic derivatives of expressions, to any order: `differentiate(expr, i)` is d expr / d input(i) as an expression.
 * Where a function has no derivative the value is PyTorch's: 0 for abs, relu and sign at 0, a half each for a tie in
 * maximum/minimum, 1 on the bounds of clamp (https://pytorch.org/docs/stable/notes/autograd.html, derivatives.yaml).
 */
import { constant, e, type Expr } from './expr.js';

/** undefined stands for a derivative that is identically zero, so that 0 * inf never arises from structure alone. */
type Tangent = Expr | undefined;

const plus = (a: Tangent, b: Tangent): Tangent => (a === undefined ? b : b === undefined ? a : e.add(a, b));
const times = (a: Tangent, factor: () => Expr): Tangent => (a === undefined ? undefined : e.mul(a, factor()));
const orZero = (a: Tangent): Expr => a ?? constant(0);

/** d y / d u of the functions of one float, from u and the value y itself. */
const unaryRules: Readonly<Record<string, (u: Expr, y: Expr) => Expr>> = {
  neg: () => constant(-1),
  abs: (u) => e.sign(u),
  relu: (u) => e.select(e.gt(u, 0), 1, 0),
  exp: (_, y) => y,
  expm1: (u) => e.exp(u),
  log: (u) => e.reciprocal(u),
  log1p: (u) => e.reciprocal(e.add(u, 1)),
  log2: (u) => e.reciprocal(e.mul(u, Math.LN2)),
  sqrt: (_, y) => e.div(0.5, y),
  rsqrt: (_, y) => e.mul(-0.5, e.mul(e.square(y), y)),
  sin: (u) => e.cos(u),
  cos: (u) => e.neg(e.sin(u)),
  tan: (_, y) => e.add(e.square(y), 1),
  asin: (u) => e.rsqrt(e.sub(1, e.square(u))),
  acos: (u) => e.neg(e.rsqrt(e.sub(1, e.square(u)))),
  atan: (u) => e.reciprocal(e.add(e.square(u), 1)),
  sinh: (u) => e.cosh(u),
  cosh: (u) => e.sinh(u),
  tanh: (_, y) => e.sub(1, e.square(y)),
  asinh: (u) => e.rsqrt(e.add(e.square(u), 1)),
  acosh: (u) => e.rsqrt(e.sub(e.square(u), 1)),
  atanh: (u) => e.reciprocal(e.sub(1, e.square(u))),
  sigmoid: (_, y) => e.mul(y, e.sub(1, y)),
  softplus: (u) => e.sigmoid(u),
  erf: (u) => e.mul(e.exp(e.neg(e.square(u))), 2 / Math.sqrt(Math.PI)),
  erfinv: (_, y) => e.mul(e.exp(e.square(y)), Math.sqrt(Math.PI) / 2),
};

function power(y: Expr, du: Tangent, dv: Tangent): Tangent {
  const [u, v] = y.args as [Expr, Expr];
  // PyTorch: the base's derivative is 0 where the exponent is 0, the exponent's is 0 where base = 0 and exponent >= 0.
  const base = times(du, () => e.select(e.eq(v, 0), 0, e.mul(v, e.pow(u, e.sub(v, 1)))));
  const exponent = times(dv, () => e.select(e.and(e.eq(u, 0), e.ge(v, 0)), 0, e.mul(y, e.log(u))));
  return plus(base, exponent);
}

function extremum(y: Expr, da: Tangent, db: Tangent): Tangent {
  if (da === undefined && db === undefined) return undefined;
  const [a, b] = y.args as [Expr, Expr];
  const [first, second] = y.op === 'maximum' ? [e.gt(a, b), e.lt(a, b)] : [e.lt(a, b), e.gt(a, b)];
  const tie = e.mul(0.5, orZero(plus(da, db)));
  return e.select(first, orZero(da), e.select(second, orZero(db), tie));
}

function rule(y: Expr, d: readonly Tangent[]): Tangent {
  const [a, b, c] = y.args as [Expr, Expr, Expr];
  const [da, db, dc] = d;
  const one = unaryRules[y.op];
  if (one !== undefined) return times(da, () => one(a, y));
  switch (y.op) {
    case 'add':
      return plus(da, db);
    case 'sub':
      return plus(da, db === undefined ? undefined : e.neg(db));
    case 'mul':
      return plus(
        times(da, () => b),
        times(db, () => a),
      );
    case 'div':
      return plus(
        da === undefined ? undefined : e.div(da, b),
        times(db, () => e.neg(e.div(y, b))),
      );
    case 'pow':
      return power(y, da, db);
    case 'maximum':
    case 'minimum':
      return extremum(y, da, db);
    case 'fmod':
      return plus(
        da,
        times(db, () => e.neg(e.trunc(e.div(a, b)))),
      );
    case 'remainder':
      return plus(
        da,
        times(db, () => e.neg(e.floor(e.div(a, b)))),
      );
    case 'atan2': {
      const norm = e.add(e.square(a), e.square(b));
      return plus(
        times(da, () => e.div(b, norm)),
        times(db, () => e.neg(e.div(a, norm))),
      );
    }
    case 'clamp': {
      if (da === undefined && db === undefined && dc === undefined) return undefined;
      return e.select(e.lt(a, b), orZero(db), e.select(e.gt(a, c), orZero(dc), orZero(da)));
    }
    case 'select':
      return db === undefined && dc === undefined ? undefined : e.select(a, orZero(db), orZero(dc));
    default:
      // Constants, params, steps (floor, sign, comparisons) and everything that is not a float.
      return undefined;
  }
}

/** The derivative of an f32 expression with respect to one of its f32 inputs. */
export function differentiate(expr: Expr, inputIndex: number): Expr {
  const done = new Map<Expr, Tangent>();
  const visit = (x: Expr): Tangent => {
    if (x.type !== 'f32') return undefined;
    if (done.has(x)) return done.get(x);
    const t =
      x.op === 'input' ? (x.index === inputIndex ? constant(1) : undefined) : rule(x, x.args.map(visit));
    done.set(x, t);
    return t;
  };
  return orZero(visit(expr));
}
