/**
 * A small language for pointwise computations, from which kernels are generated and derivatives are taken.
 *
 *     const x = e.input(0);
 *     const silu = e.mul(x, sigmoid(x));             // functions.ts: what is called costs, the rest does not
 *     const dsilu = differentiate(silu, 0);          // grad.ts
 *     evaluate(silu, { inputs: [0.5] });             // on the CPU, in double precision
 *
 * An {@link Expr} is immutable and hash-consed: equal expressions are the same object, so `===` compares
 * them, a kernel can be keyed by `id`, and emission shares common parts. Arguments that are plain numbers (or
 * booleans) become constants of the type that the other operand has. Values that change from call to call (a
 * learning rate) must be `param`s: each new constant is a new expression and so a new kernel.
 *
 * Edges are PyTorch's: `maximum`/`minimum`/`clamp`/`relu` pass NaN on, `round` goes half to even,
 * `sign(NaN)` is 0.
 */
import type { ExprType } from '../base/dtype.js';
import type { WgslFunction } from './wgsl-function.js';
import {
  applyOp,
  type binaryNumber,
  type bitwise,
  type classifiers,
  type comparisons,
  shifts,
  type unaryFloat,
  unaryNumber,
  wrap,
  type Op,
  type Operation,
} from './eval.js';

export type { ExprType } from '../base/dtype.js';
export type { Op } from './eval.js';

export interface Expr {
  /** Unique among all expressions made in this process; arguments have smaller ids. */
  readonly id: number;
  readonly op: Op;
  readonly type: ExprType;
  readonly args: readonly Expr[];
  /** Of a const: its value, rounded to f32 or an integer; bools are 0 and 1. */
  readonly value: number;
  /** Of an input: its index. */
  readonly index: number;
  /** Of a param: its name. */
  readonly name: string;
  /** Of a call: what is called. */
  readonly fn: MathFunction | null;
}

/** From the operands of a function and its value `y`. */
export type Derivative = (args: readonly [Expr, Expr, Expr], y: Expr) => Expr;

/** A function of numbers of one type, giving that type: what it means, its WGSL, its derivatives. */
export interface MathFunction {
  /** Unique among the functions. */
  readonly name: string;
  /** In the language itself, of floats: instead of WGSL, it is written out where it is called. */
  readonly body?: (args: readonly Expr[]) => Expr;
  /** By the type of the operands. */
  readonly wgsl: Partial<Readonly<Record<'f32' | 'i32' | 'u32', WgslFunction>>>;
  /** In double precision; the conventions at the edges are PyTorch's. */
  readonly value: (args: readonly number[], type: ExprType) => number;
  /** Of the value with respect to each operand, of which there are as many; null where it is 0 everywhere. */
  readonly derivatives: readonly (Derivative | null)[];
  /** What an application comes to where that is simpler. */
  readonly simplify?: (args: readonly Expr[]) => Expr | undefined;
}

/** A number or boolean stands for a constant of the type that its neighbour has. */
export type ExprLike = Expr | number | boolean;

const interned = new Map<string, Expr>();

function intern(
  op: Op,
  type: ExprType,
  args: readonly Expr[],
  leaf: { value?: number; index?: number; name?: string; fn?: MathFunction } = {},
): Expr {
  const value = leaf.value ?? 0;
  const tag =
    op === 'const'
      ? Object.is(value, -0)
        ? '-0'
        : String(value)
      : (leaf.name ?? leaf.fn?.name ?? leaf.index ?? '');
  const key = `${op}:${type}:${tag}:${args.map((a) => a.id).join(',')}`;
  let expr = interned.get(key);
  if (expr === undefined) {
    const { index = -1, name = '', fn = null } = leaf;
    expr = { id: interned.size, op, type, args, value, index, name, fn };
    interned.set(key, expr);
  }
  return expr;
}

/** A constant. f32 values are rounded to float32. */
export function constant(value: number | boolean, type: ExprType = 'f32'): Expr {
  let v = Number(value);
  if (type === 'f32') v = Math.fround(v);
  else if (type === 'bool') v = v !== 0 ? 1 : 0;
  else if (!Number.isInteger(v))
    throw new Error(
      `expr: ${v} is not an integer, but an ${type} constant is wanted here; cast the other operand to f32`,
    );
  else v = type === 'i32' ? v | 0 : v >>> 0;
  return intern('const', type, [], { value: v });
}

/** The operand `index` of the kernel; `type` is how its dtype computes (see `dtypeInfo`). */
export function input(index: number, type: ExprType = 'f32'): Expr {
  return intern('input', type, [], { index });
}

/** A scalar handed over at each launch. */
export function param(name: string, type: 'f32' | 'i32' | 'u32' = 'f32'): Expr {
  return intern('param', type, [], { name });
}

const isConst = (x: Expr, value: number): boolean => x.op === 'const' && x.value === value;

function make(op: Operation, type: ExprType, args: readonly Expr[]): Expr {
  if (args.every((a) => a.op === 'const')) {
    return constant(
      applyOp(
        op,
        type,
        args[0]!.type,
        args.map((a) => a.value),
      ),
      type,
    );
  }
  return intern(op, type, args);
}

/** Turns literals into constants of the type that the expressions among `args` share. */
export function unify(op: string, args: readonly ExprLike[]): Expr[] {
  let type: ExprType | undefined;
  for (const a of args) {
    if (typeof a !== 'object') continue;
    if (type !== undefined && a.type !== type) {
      throw new Error(`expr: ${op} has operands of types ${type} and ${a.type}; cast one of them`);
    }
    type = a.type;
  }
  const t = type ?? (args.every((a) => typeof a === 'boolean') ? 'bool' : 'f32');
  return args.map((a) => (typeof a === 'object' ? a : constant(a, t)));
}

/** A function applied to operands of one type. */
export function call(fn: MathFunction, likes: readonly ExprLike[]): Expr {
  const args = unify(fn.name, likes);
  const { type } = args[0]!;
  // A derivative too few would be a gradient of zero.
  if (args.length !== fn.derivatives.length)
    throw new Error(`expr: ${fn.name} has ${fn.derivatives.length} derivatives for ${args.length} operands`);
  need(fn.name, args[0]!, fn.body ? ['f32'] : (Object.keys(fn.wgsl) as ExprType[]));
  if (args.every((a) => a.op === 'const'))
    return constant(
      applyFunction(
        fn,
        type,
        args.map((a) => a.value),
      ),
      type,
    );
  return fn.simplify?.(args) ?? intern('call', type, args, { fn });
}

const applyFunction = (fn: MathFunction, type: ExprType, args: readonly number[]): number =>
  wrap(type, fn.value(args, type));

function need(op: string, x: Expr, allowed: readonly ExprType[]): void {
  if (!allowed.includes(x.type))
    throw new Error(`expr: ${op} takes ${allowed.join(' or ')}, not ${x.type}; cast the operand`);
}

const numeric: readonly ExprType[] = ['f32', 'i32', 'u32'];

function unary(op: keyof typeof unaryFloat | keyof typeof unaryNumber): (x: ExprLike) => Expr {
  return (like) => {
    const x = unify(op, [like])[0]!;
    need(op, x, op in unaryNumber ? numeric : ['f32']);
    if (op === 'neg' && x.op === 'neg') return x.args[0]!;
    if (op === 'abs' && x.type === 'u32') return x;
    return make(op, x.type, [x]);
  };
}

const commutative = new Set<Op>(['add', 'mul', 'maximum', 'minimum', 'and', 'or', 'xor', 'eq', 'ne']);

function binary(op: keyof typeof binaryNumber): (a: ExprLike, b: ExprLike) => Expr {
  return (likeA, likeB) => {
    let [a, b] = unify(op, [likeA, likeB]) as [Expr, Expr];
    need(op, a, numeric);
    // Constants last, else by age: x + y and y + x become one expression (float addition commutes exactly).
    if (commutative.has(op) && (a.op === 'const' || (b.op !== 'const' && a.id > b.id))) [a, b] = [b, a];
    return simplify(op, a, b) ?? make(op, a.type, [a, b]);
  };
}

const exactReciprocal = (v: number): boolean =>
  v !== 0 &&
  Number.isFinite(v) &&
  Math.abs(v) >= 2 ** -100 &&
  Math.abs(v) <= 2 ** 100 &&
  Number.isInteger(Math.log2(Math.abs(v)));

/**
 * Rewrites that keep every value, NaN and infinity included; `x * 0` stays. A product with a mask keeps
 * PyTorch's meaning of masked gradients: g * select(c, a, 0) is 0 where c is false, even if g is infinite
 * there.
 */
function simplify(op: keyof typeof binaryNumber, a: Expr, b: Expr): Expr | undefined {
  const float = a.type === 'f32';
  switch (op) {
    case 'add':
      if (isConst(b, 0)) return a;
      if (b.op === 'neg') return e.sub(a, b.args[0]!);
      return undefined;
    case 'sub':
      if (isConst(b, 0)) return a;
      if (isConst(a, 0)) return e.neg(b);
      return undefined;
    case 'mul':
      if (isConst(b, 1)) return a;
      if (isConst(b, 0) && !float) return b;
      if (isConst(b, -1)) return e.neg(a);
      if (!float) return undefined;
      if (a.op === 'neg' && b.op === 'const') return e.mul(a.args[0]!, -b.value);
      if (a.op === 'select' && isConst(a.args[2]!, 0)) return e.select(a.args[0]!, e.mul(a.args[1]!, b), 0);
      if (b.op === 'select' && isConst(b.args[2]!, 0)) return e.select(b.args[0]!, e.mul(b.args[1]!, a), 0);
      return undefined;
    case 'div':
      if (isConst(b, 1)) return a;
      if (float && b.op === 'const' && exactReciprocal(b.value)) return e.mul(a, 1 / b.value);
      return undefined;
    default:
      return undefined;
  }
}

function compare(op: keyof typeof comparisons): (a: ExprLike, b: ExprLike) => Expr {
  return (likeA, likeB) => {
    const [a, b] = unify(op, [likeA, likeB]) as [Expr, Expr];
    if (a.type === 'bool' && op === 'ne') return e.xor(a, b);
    if (a.type === 'bool' && op === 'eq') return e.not(e.xor(a, b));
    need(op, a, numeric);
    return make(op, 'bool', [a, b]);
  };
}

function bits(op: keyof typeof bitwise | keyof typeof shifts): (a: ExprLike, b: ExprLike) => Expr {
  return (likeA, likeB) => {
    const [a, b] = unify(op, [likeA, likeB]) as [Expr, Expr];
    need(op, a, op in shifts ? ['i32', 'u32'] : ['bool', 'i32', 'u32']);
    if (a.type === 'bool' && (a.op === 'const' || b.op === 'const')) {
      const [c, x] = a.op === 'const' ? [a, b] : [b, a];
      if (op === 'and') return c.value ? x : c;
      if (op === 'or') return c.value ? c : x;
      return c.value ? e.not(x) : x;
    }
    return make(op, a.type, [a, b]);
  };
}

function classify(op: keyof typeof classifiers): (x: ExprLike) => Expr {
  return (like) => {
    const x = unify(op, [like])[0]!;
    if (x.type !== 'f32') return constant(op === 'isFinite', 'bool');
    return make(op, 'bool', [x]);
  };
}

function cast(like: ExprLike, type: ExprType): Expr {
  const x = typeof like === 'object' ? like : constant(like, typeof like === 'boolean' ? 'bool' : type);
  if (x.type === type) return x;
  return make('cast', type, [x]);
}

/** `cond ? a : b` per element (PyTorch's `where`). The branch not taken may be NaN. */
function select(condLike: ExprLike, likeA: ExprLike, likeB: ExprLike): Expr {
  const cond = typeof condLike === 'object' ? condLike : constant(condLike, 'bool');
  need('select', cond, ['bool']);
  const [a, b] = unify('select', [likeA, likeB]) as [Expr, Expr];
  if (a === b) return a;
  if (cond.op === 'const') return cond.value ? a : b;
  if (cond.op === 'not') return select(cond.args[0]!, b, a);
  if (a.type === 'bool') return e.or(e.and(cond, a), e.and(e.not(cond), b));
  return make('select', a.type, [cond, a, b]);
}

/** min(max(x, lo), hi); NaN stays NaN. Its derivative is 1 on the bounds themselves. */
function clamp(likeX: ExprLike, lo: ExprLike, hi: ExprLike): Expr {
  const args = unify('clamp', [likeX, lo, hi]);
  need('clamp', args[0]!, numeric);
  return make('clamp', args[0]!.type, args);
}

function not(like: ExprLike): Expr {
  const x = unify('not', [like])[0]!;
  need('not', x, ['bool', 'i32', 'u32']);
  if (x.op === 'not') return x.args[0]!;
  return make('not', x.type, [x]);
}

/** The builders. Every operand may be an Expr or a literal. */
export const e = {
  input,
  param,
  const: constant,
  cast,
  select,
  clamp,
  not,
  neg: unary('neg'),
  abs: unary('abs'),
  sign: unary('sign'),
  relu: unary('relu'),
  exp: unary('exp'),
  log: unary('log'),
  sqrt: unary('sqrt'),
  rsqrt: unary('rsqrt'),
  floor: unary('floor'),
  ceil: unary('ceil'),
  round: unary('round'),
  trunc: unary('trunc'),
  add: binary('add'),
  sub: binary('sub'),
  mul: binary('mul'),
  div: binary('div'),
  maximum: binary('maximum'),
  minimum: binary('minimum'),
  lt: compare('lt'),
  le: compare('le'),
  gt: compare('gt'),
  ge: compare('ge'),
  eq: compare('eq'),
  ne: compare('ne'),
  and: bits('and'),
  or: bits('or'),
  xor: bits('xor'),
  shl: bits('shl'),
  shr: bits('shr'),
  isNan: classify('isNan'),
  isInf: classify('isInf'),
  isFinite: classify('isFinite'),
  square: (x: ExprLike): Expr => e.mul(x, x),
  reciprocal: (x: ExprLike): Expr => e.div(1, x),
} as const;

export interface EvaluateOptions {
  readonly inputs?: readonly number[];
  readonly params?: Readonly<Record<string, number>>;
}

/** Interprets an expression on the CPU. f32 parts are computed in double precision; bools are 0 and 1. */
export function evaluate(expr: Expr, { inputs = [], params = {} }: EvaluateOptions = {}): number {
  const done = new Map<Expr, number>();
  const visit = (x: Expr): number => {
    let v = done.get(x);
    if (v !== undefined) return v;
    if (x.op === 'const') v = x.value;
    else if (x.op === 'input') v = inputs[x.index];
    else if (x.op === 'param') v = params[x.name];
    else if (x.op === 'call') v = applyFunction(x.fn!, x.type, x.args.map(visit));
    else v = applyOp(x.op, x.type, x.args[0]!.type, x.args.map(visit));
    if (v === undefined) throw new Error(`evaluate: no value was given for ${x.op} ${x.name || x.index}`);
    done.set(x, v);
    return v;
  };
  return visit(expr);
}

/** `expr` with its inputs replaced by what `f` says (undefined: as they are). */
export const substitute = (expr: Expr, f: (index: number, type: ExprType) => Expr | undefined): Expr =>
  rewrite(expr, (x) => (x.op === 'input' ? f(x.index, x.type) : undefined));

/** `expr` with `by` wherever it contains `part`, unless that is a leaf. */
export const replace = (expr: Expr, part: Expr, by: Expr): Expr =>
  part.args.length === 0 ? expr : rewrite(expr, (x) => (x === part ? by : undefined));

function rewrite(expr: Expr, f: (x: Expr) => Expr | undefined): Expr {
  const done = new Map<Expr, Expr>();
  const visit = (x: Expr): Expr => {
    let r = done.get(x);
    if (r === undefined) done.set(x, (r = f(x) ?? rebuild(x, x.args.map(visit))));
    return r;
  };
  return visit(expr);
}

const builders: Readonly<Record<Exclude<Operation, 'cast'>, (...args: Expr[]) => Expr>> = e;

function rebuild(x: Expr, args: Expr[]): Expr {
  if (x.op === 'input' || x.op === 'param' || x.op === 'const') return x;
  if (args.every((a, i) => a === x.args[i])) return x;
  if (x.op === 'call') return call(x.fn!, args);
  return x.op === 'cast' ? cast(args[0]!, x.type) : builders[x.op](...args);
}

/** Inputs that an expression reads, ascending. */
export function inputsOf(expr: Expr): number[] {
  const found = new Set<number>();
  const seen = new Set<Expr>();
  const visit = (x: Expr): void => {
    if (seen.has(x)) return;
    seen.add(x);
    if (x.op === 'input') found.add(x.index);
    x.args.forEach(visit);
  };
  visit(expr);
  return [...found].sort((a, b) => a - b);
}
