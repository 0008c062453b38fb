/**
 * Expressions as WGSL. `emit` turns a list of expressions into `let` statements (common parts once) for
 * scalars or for vec4, and names the results:
 *
 *     const fns = new WgslFunctions();
 *     const x = () => ({ code: 'x', width: 4 });
 *     const { code, results } = emit([silu], { width: 4, input: x, functions: fns });
 *     // code: "let v1 = kSigmoid4(x); ..."   results: ['v2']
 *
 * Parts that depend on scalars only (params, constants, broadcast inputs) stay scalar until they meet a
 * vector.
 */
import { wgslType, type Width } from '../base/dtype.js';
import type { Operation } from './eval.js';
import type { Expr, ExprType } from './expr.js';
import {
  kClamp,
  kDivI,
  kDivU,
  kExp,
  kInf,
  kIsFinite,
  kIsInf,
  kIsNan,
  kLog,
  kMax,
  kMin,
  kNan,
  kNe,
  kRelu,
  kSign,
  kTruth,
} from './math.js';
import type { WgslFunction, WgslFunctions } from './wgsl-function.js';

export { WgslFunctions } from './wgsl-function.js';

export interface EmitOptions {
  /** Width of the results. */
  readonly width: Width;
  /** WGSL for an input, already of the expression's type; width 1 means one value for all lanes. */
  readonly input: (expr: Expr) => { code: string; width: Width };
  /** WGSL for a param; by default the launch parameter `p.name`. */
  readonly param?: (name: string) => string;
  readonly functions: WgslFunctions;
  /**
   * Start of the names of the emitted variables, which end in a number; distinct per emission within one
   * scope. No word of WGSL is a `v` and a number, while `f` and `i` would come to hide `f16` and `i32`.
   */
  readonly prefix?: `${string}v`;
}

export interface Emitted {
  /** Statements, one per line. */
  readonly code: string;
  /** WGSL names (or literals) of the expressions asked for, each of the full width. */
  readonly results: readonly string[];
}

/** An operation on operands that have WGSL already. */
interface Operands {
  readonly x: Expr;
  readonly args: readonly string[];
  readonly width: Width;
  readonly functions: WgslFunctions;
}
type Writer = (operands: Operands) => string;

const infix =
  (sign: string): Writer =>
  ({ args }) =>
    `${args[0]} ${sign} ${args[1]}`;

/** A function of WGSL. */
const builtin =
  (name: string): Writer =>
  ({ args }) =>
    `${name}(${args.join(', ')})`;

/** A function of ours, where WGSL's own is missing or too inexact. */
const helper =
  (fn: WgslFunction): Writer =>
  ({ args, width, functions }) =>
    `${functions.use(fn, width)}(${args.join(', ')})`;

/** By the type of the first operand. */
const byType =
  (writers: Partial<Readonly<Record<ExprType, Writer>>>): Writer =>
  (operands) => {
    const { op, args } = operands.x;
    const from = args[0]!.type;
    const writer = writers[from];
    if (writer === undefined)
      throw new Error(`expr: ${op} is not available for ${from}; cast the operand to f32`);
    return writer(operands);
  };

const integers = (writer: Writer): { i32: Writer; u32: Writer } => ({ i32: writer, u32: writer });

/** A constant second operand is never NaN, which spares half of the test. */
const extremum = (name: 'max' | 'min', nanSafe: WgslFunction): Writer => {
  const float: Writer = (operands) => {
    const { x, args, width, functions } = operands;
    const second = x.args[1]!;
    if (second.op !== 'const' || Number.isNaN(second.value)) return helper(nanSafe)(operands);
    return `select(${name}(${args.join(', ')}), ${args[0]}, ${functions.use(kIsNan, width)}(${args[0]}))`;
  };
  return byType({ f32: float, ...integers(builtin(name)) });
};

const shift =
  (sign: string): Writer =>
  ({ args, width }) => {
    const u32 = wgslType('u32', width);
    return `${args[0]} ${sign} (${u32}(${args[1]}) & ${u32}(31u))`;
  };

const cast: Writer = (operands) => {
  const { x, args, width } = operands;
  const from = x.args[0]!.type;
  if (x.type === 'bool')
    return from === 'f32' ? helper(kTruth)(operands) : `${args[0]} != ${wgslType(from, width)}(0)`;
  const to = wgslType(x.type, width);
  return x.type === 'u32' && from === 'f32'
    ? `${to}(${wgslType('i32', width)}(${args[0]}))`
    : `${to}(${args[0]})`;
};

const negated: Writer = ({ args }) => `-${args[0]}`;

const writers: Readonly<Record<Operation, Writer>> = {
  select: ({ args }) => `select(${args[2]}, ${args[1]}, ${args[0]})`,
  cast,
  neg: byType({
    f32: negated,
    i32: negated,
    u32: ({ args, width }) => `${wgslType('u32', width)}(0u) - ${args[0]}`,
  }),
  not: ({ x, args }) => `${x.type === 'bool' ? '!' : '~'}${args[0]}`,
  add: infix('+'),
  sub: infix('-'),
  mul: infix('*'),
  div: byType({ f32: infix('/'), i32: helper(kDivI), u32: helper(kDivU) }),
  maximum: extremum('max', kMax),
  minimum: extremum('min', kMin),
  clamp: byType({ f32: helper(kClamp), ...integers(builtin('clamp')) }),
  relu: byType({
    f32: helper(kRelu),
    i32: ({ args, width }) => `max(${args[0]}, ${wgslType('i32', width)}(0))`,
    u32: ({ args }) => args[0]!,
  }),
  sign: byType({
    f32: helper(kSign),
    i32: builtin('sign'),
    u32: ({ args, width }) => `min(${args[0]}, ${wgslType('u32', width)}(1u))`,
  }),
  abs: builtin('abs'),
  lt: infix('<'),
  le: infix('<='),
  gt: infix('>'),
  ge: infix('>='),
  eq: infix('=='),
  ne: byType({ f32: helper(kNe), ...integers(infix('!=')), bool: infix('!=') }),
  and: infix('&'),
  or: infix('|'),
  xor: byType({ ...integers(infix('^')), bool: infix('!=') }),
  shl: shift('<<'),
  shr: shift('>>'),
  sqrt: builtin('sqrt'),
  rsqrt: builtin('inverseSqrt'),
  floor: builtin('floor'),
  ceil: builtin('ceil'),
  round: builtin('round'),
  trunc: builtin('trunc'),
  exp: helper(kExp),
  log: helper(kLog),
  isNan: helper(kIsNan),
  isInf: helper(kIsInf),
  isFinite: helper(kIsFinite),
};

/**
 * A literal of scalar type; infinities and NaN go through functions because WGSL rejects them as constants.
 */
export function literal(expr: Pick<Expr, 'type' | 'value'>, functions: WgslFunctions): string {
  const v = expr.value;
  switch (expr.type) {
    case 'f32':
      if (Number.isNaN(v)) return `${functions.use(kNan, 1)}()`;
      if (Math.abs(v) === Infinity) return `${v < 0 ? '-' : ''}${functions.use(kInf, 1)}()`;
      return v < 0 || Object.is(v, -0) ? `(-${shortest(-v)}f)` : `${shortest(v)}f`;
    case 'i32':
      return `i32(${v})`;
    case 'u32':
      return `${v}u`;
    case 'bool':
      return v ? 'true' : 'false';
  }
}

/** {@link call} refuses types that a function has no WGSL for. */
const wgslOf = ({ fn, type }: Expr): WgslFunction => fn!.wgsl[type as 'f32' | 'i32' | 'u32']!;

const largestFloat = 3.4028234663852886e38;

/**
 * The shortest decimal that rounds to the float32 `v`; WGSL rejects one past the largest float32 even if it
 * rounds to it.
 */
function shortest(v: number): string {
  for (let digits = 6; digits < 10; digits++) {
    const text = String(Number(v.toPrecision(digits)));
    if (Math.fround(Number(text)) === v && Number(text) <= largestFloat) return text;
  }
  return String(v);
}

export function emit(exprs: readonly Expr[], options: EmitOptions): Emitted {
  const { functions, prefix = 'v' } = options;
  const lines: string[] = [];
  const done = new Map<Expr, { code: string; width: Width }>();

  const visit = (x: Expr): { code: string; width: Width } => {
    let r = done.get(x);
    if (r !== undefined) return r;
    if (x.op === 'const') r = { code: literal(x, functions), width: 1 };
    else if (x.op === 'param') r = { code: options.param?.(x.name) ?? `p.${x.name}`, width: 1 };
    else if (x.op === 'input') r = options.input(x);
    else if (x.fn?.body !== undefined) r = visit(x.fn.body(x.args));
    else {
      const parts = x.args.map(visit);
      const width: Width = parts.some((part) => part.width === 4) ? 4 : 1;
      const args = parts.map((part, i) => widen(part, x.args[i]!, width));
      const name = `${prefix}${x.id}`;
      const writer = x.op === 'call' ? helper(wgslOf(x)) : writers[x.op];
      lines.push(`let ${name} = ${writer({ x, args, width, functions })};`);
      r = { code: name, width };
    }
    done.set(x, r);
    return r;
  };

  const results = exprs.map((x) => widen(visit(x), x, options.width));
  return { code: lines.join('\n'), results };
}

function widen(part: { code: string; width: Width }, x: Expr, width: Width): string {
  return part.width === width ? part.code : `${wgslType(x.type, width)}(${part.code})`;
}
