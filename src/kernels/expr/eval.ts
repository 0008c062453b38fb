/**
 * What each primitive of the expression language means, on JavaScript numbers. The builder folds constants
 * with it, `evaluate` interprets whole expressions with it (in double precision: the reference of the tests),
 * and the WGSL helpers are held against it. Conventions at the edges (NaN, ties, signs) are PyTorch's.
 */
import type { ExprType } from '../base/dtype.js';

/** Nearest integer, halves to even. */
export function roundHalfEven(x: number): number {
  const f = Math.floor(x);
  const d = x - f;
  if (d < 0.5) return f;
  if (d > 0.5) return f + 1;
  return f % 2 === 0 ? f : f + 1;
}

const maxNan = (a: number, b: number): number => (Number.isNaN(a) || Number.isNaN(b) ? NaN : Math.max(a, b));
const minNan = (a: number, b: number): number => (Number.isNaN(a) || Number.isNaN(b) ? NaN : Math.min(a, b));

/** Functions of one float. */
export const unaryFloat = {
  exp: Math.exp,
  log: Math.log,
  sqrt: Math.sqrt,
  rsqrt: (x: number) => 1 / Math.sqrt(x),
  floor: Math.floor,
  ceil: Math.ceil,
  round: roundHalfEven,
  trunc: Math.trunc,
} as const;

/** Functions of one number of any numeric type. */
export const unaryNumber = {
  neg: (x: number) => -x,
  abs: Math.abs,
  sign: (x: number) => (x > 0 ? 1 : x < 0 ? -1 : 0),
  relu: (x: number) => (x <= 0 ? 0 : x),
} as const;

/** Functions of two numbers of one type, giving that type. */
export const binaryNumber = {
  add: (a: number, b: number) => a + b,
  sub: (a: number, b: number) => a - b,
  mul: (a: number, b: number) => a * b,
  div: (a: number, b: number) => a / b,
  maximum: maxNan,
  minimum: minNan,
} as const;

export const comparisons = {
  lt: (a: number, b: number) => a < b,
  le: (a: number, b: number) => a <= b,
  gt: (a: number, b: number) => a > b,
  ge: (a: number, b: number) => a >= b,
  eq: (a: number, b: number) => a === b,
  ne: (a: number, b: number) => a !== b,
} as const;

/** On bool: and, or, exclusive or. On integers: bitwise. */
export const bitwise = {
  and: (a: number, b: number) => a & b,
  or: (a: number, b: number) => a | b,
  xor: (a: number, b: number) => a ^ b,
} as const;

export const shifts = {
  shl: (a: number, b: number) => a << b,
  shr: (a: number, b: number) => a >> b,
} as const;

export const classifiers = {
  isNan: (x: number) => Number.isNaN(x),
  isInf: (x: number) => Math.abs(x) === Infinity,
  isFinite: (x: number) => Number.isFinite(x),
} as const;

/** Primitives whose meaning does not depend on more than the numbers, but for wrapping. */
const simple = {
  ...unaryFloat,
  ...unaryNumber,
  ...binaryNumber,
  ...comparisons,
  ...bitwise,
  ...shifts,
  ...classifiers,
};

/** What has arguments. Everything that is keyed by operations has all of them, or does not compile. */
export type Operation = 'select' | 'clamp' | 'cast' | 'not' | keyof typeof simple;
export type Op = 'input' | 'param' | 'const' | 'call' | Operation;

/** Wraps a number into the range of an integer type, or 0/1 for bool; f32 is left in double precision. */
export function wrap(type: ExprType, x: number): number {
  if (type === 'i32') return x | 0;
  if (type === 'u32') return x >>> 0;
  if (type === 'bool') return x !== 0 ? 1 : 0;
  return x;
}

function toInteger(x: number): number {
  return Number.isNaN(x) ? 0 : Math.max(-2147483648, Math.min(2147483647, Math.trunc(x)));
}

/** Applies one primitive. Bools are 0 and 1. `from` is the type of the first argument. */
export function applyOp(op: Operation, type: ExprType, from: ExprType, args: readonly number[]): number {
  const [a = 0, b = 0, c = 0] = args;
  switch (op) {
    case 'select':
      return a !== 0 ? b : c;
    case 'clamp':
      return Number.isNaN(a) ? NaN : Math.min(Math.max(a, b), c);
    case 'cast':
      return from === 'f32' && type !== 'f32' && type !== 'bool' ? wrap(type, toInteger(a)) : wrap(type, a);
    case 'not':
      return wrap(type, from === 'bool' ? 1 - a : ~a);
    case 'mul':
      return type === 'f32' ? a * b : wrap(type, Math.imul(a, b));
    case 'div':
      return type === 'f32' ? a / b : b === 0 ? a : wrap(type, Math.trunc(a / b));
    case 'shr':
      return type === 'u32' ? a >>> b : a >> b;
    default:
      return wrap(type, Number(simple[op](a, b)));
  }
}
