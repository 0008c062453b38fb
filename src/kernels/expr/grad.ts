/**
 * Symbolic derivatives of expressions, to any order: `differentiate(expr, i)` is d expr / d input(i) as an
 * expression. Where a function has no derivative the value is PyTorch's: 0 for abs, relu and sign at 0, a
 * half each for a tie in maximum/minimum, 1 on the bounds of clamp
 * (https://pytorch.org/docs/stable/notes/autograd.html, derivatives.yaml).
 */
import type { Operation } from './eval.js';
import { constant, e, type Expr } from './expr.js';

/**
 * undefined stands for a derivative that is identically zero, so that 0 * inf never arises from structure
 * alone.
 */
type Tangent = Expr | undefined;

const plus = (a: Tangent, b: Tangent): Tangent => (a === undefined ? b : b === undefined ? a : e.add(a, b));
const times = (a: Tangent, factor: () => Expr): Tangent => (a === undefined ? undefined : e.mul(a, factor()));
const orZero = (a: Tangent): Expr => a ?? constant(0);

/**
 * The tangent of `y` from those of its arguments. An operation without a rule does not compile; what is flat
 * says so.
 */
type Rule = (y: Expr, d: readonly Tangent[]) => Tangent;

/** A function of one float: d y / d u, from u and the value y itself. */
const chain =
  (derivative: (u: Expr, y: Expr) => Expr): Rule =>
  (y, [du]) =>
    times(du, () => derivative(y.args[0]!, y));

/** A function of two floats: d y / d a and d y / d b. */
const chain2 =
  (first: (a: Expr, b: Expr, y: Expr) => Expr, second: (a: Expr, b: Expr, y: Expr) => Expr): Rule =>
  (y, [da, db]) => {
    const [a, b] = y.args as [Expr, Expr];
    return plus(
      times(da, () => first(a, b, y)),
      times(db, () => second(a, b, y)),
    );
  };

/** Constant, a step, or no float. */
const flat: Rule = () => undefined;

const extremum: Rule = (y, [da, db]) => {
  if (da === undefined && db === undefined) return undefined;
  const [a, b] = y.args as [Expr, Expr];
  const [first, second] = y.op === 'maximum' ? [e.gt(a, b), e.lt(a, b)] : [e.lt(a, b), e.gt(a, b)];
  const tie = e.mul(0.5, orZero(plus(da, db)));
  return e.select(first, orZero(da), e.select(second, orZero(db), tie));
};

/** A called function's own derivatives. */
const called: Rule = (y, d) => {
  const args = y.args as readonly [Expr, Expr, Expr];
  return d.reduce((sum, dx, i) => {
    const derivative = y.fn!.derivatives[i] ?? null;
    if (derivative === null) return sum;
    const part = times(dx, () => derivative(args, y));
    return plus(sum, part);
  }, undefined);
};

const clamp: Rule = ({ args }, [dx, dLow, dHigh]) => {
  if (dx === undefined && dLow === undefined && dHigh === undefined) return undefined;
  const [x, low, high] = args as [Expr, Expr, Expr];
  return e.select(e.lt(x, low), orZero(dLow), e.select(e.gt(x, high), orZero(dHigh), orZero(dx)));
};

const rules: Readonly<Record<Operation, Rule>> = {
  neg: chain(() => constant(-1)),
  abs: chain((u) => e.sign(u)),
  relu: chain((u) => e.select(e.gt(u, 0), 1, 0)),
  exp: chain((_, y) => y),
  log: chain((u) => e.reciprocal(u)),
  sqrt: chain((_, y) => e.div(0.5, y)),
  rsqrt: chain((_, y) => e.mul(-0.5, e.mul(e.square(y), y))),
  sign: flat,
  floor: flat,
  ceil: flat,
  round: flat,
  trunc: flat,
  add: (_, [da, db]) => plus(da, db),
  sub: (_, [da, db]) => plus(da, db && e.neg(db)),
  mul: chain2(
    (_, b) => b,
    (a) => a,
  ),
  div: (y, [da, db]) => {
    const b = y.args[1]!;
    return plus(
      da && e.div(da, b),
      times(db, () => e.neg(e.div(y, b))),
    );
  },
  maximum: extremum,
  minimum: extremum,
  clamp,
  select: ({ args }, [, da, db]) =>
    da === undefined && db === undefined ? undefined : e.select(args[0]!, orZero(da), orZero(db)),
  cast: flat,
  not: flat,
  and: flat,
  or: flat,
  xor: flat,
  shl: flat,
  shr: flat,
  lt: flat,
  le: flat,
  gt: flat,
  ge: flat,
  eq: flat,
  ne: flat,
  isNan: flat,
  isInf: flat,
  isFinite: flat,
};

/** The derivative of an f32 expression with respect to one of its f32 inputs. */
export function differentiate(expr: Expr, inputIndex: number): Expr {
  const done = new Map<Expr, Tangent>();
  const tangent = (x: Expr): Tangent => {
    if (x.op === 'input') return x.index === inputIndex ? constant(1) : undefined;
    if (x.op === 'const' || x.op === 'param') return undefined;
    return (x.op === 'call' ? called : rules[x.op])(x, x.args.map(visit));
  };
  const visit = (x: Expr): Tangent => {
    if (x.type !== 'f32') return undefined;
    if (done.has(x)) return done.get(x);
    const t = tangent(x);
    done.set(x, t);
    return t;
  };
  return orZero(visit(expr));
}
