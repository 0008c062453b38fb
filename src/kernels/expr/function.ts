/** Functions that the language has no operation for. Each costs a bundle only where it is used. */
import {
  call,
  e,
  evaluate,
  input,
  type Derivative,
  type Expr,
  type ExprLike,
  type MathFunction,
} from './expr.js';
import type { WgslFunction } from './wgsl-function.js';

/** Builders of expressions. */
export type Function1 = (x: ExprLike) => Expr;
export type Function2 = (x: ExprLike, y: ExprLike) => Expr;

/**
 * The builder of a function's expressions: it takes an operand for each derivative, so that none is missing.
 */
export const mathFunction =
  <const D extends readonly (Derivative | null)[]>(
    fn: MathFunction & { readonly derivatives: D },
  ): ((...operands: { -readonly [K in keyof D]: ExprLike }) => Expr) =>
  (...operands) =>
    call(fn, operands);

/** A function of one float. A derivative of null stands for 0 everywhere. */
export const unaryFunction = (
  name: string,
  wgsl: WgslFunction,
  value: (x: number) => number,
  derivative: ((u: Expr, y: Expr) => Expr) | null,
): Function1 =>
  mathFunction({
    name,
    wgsl: { f32: wgsl },
    value: ([x = NaN]) => value(x),
    derivatives: [derivative && (([u], y) => derivative(u, y))],
  });

/** A function that is an expression of others: what it means in double precision follows. */
export const composedFunction = <const D extends readonly (Derivative | null)[]>(
  name: string,
  body: (...args: { -readonly [K in keyof D]: Expr }) => Expr,
  derivatives: D,
): ((...operands: { -readonly [K in keyof D]: ExprLike }) => Expr) => {
  const written = (args: readonly Expr[]): Expr => body(...(args as { -readonly [K in keyof D]: Expr }));
  return mathFunction({
    name,
    body: written,
    wgsl: {},
    value: (inputs) => evaluate(written(inputs.map((_, i) => input(i))), { inputs }),
    derivatives,
  });
};

/** By Horner's rule; the coefficient of the highest power first. */
export const polynomial = (x: Expr, coefficients: readonly number[]): Expr =>
  coefficients.slice(1).reduce<Expr>((sum, c) => e.add(e.mul(sum, x), c), e.const(coefficients[0]!));
