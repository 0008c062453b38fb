/**
 * Expressions as WGSL. `emit` turns a list of expressions into `let` statements (common parts once) for scalars or for
 * vec4, and names the results:
 *
 *     const fns = new WgslFunctions();
 *     const { code, results } = emit([silu], { width: 4, input: () => ({ code: 'x', width: 4 }), functions: fns });
 *     // code: "let v1 = kSigmoid4(x); ..."   results: ['v2']
 *
 * Parts that depend on scalars only (params, constants, broadcast inputs) stay scalar until they meet a vector.
 */
import { wgslType, type Width } from '../base/dtype.js';
import type { Expr } from './expr.js';
import { type WgslFunctions } from './math.js';

export { WgslFunctions } from './math.js';

export interface EmitOptions {
  /** Width of the results. */
  readonly width: Width;
  /** WGSL for an input, already of the expression's type; width 1 means one value for all lanes. */
  readonly input: (expr: Expr) => { code: string; width: Width };
  /** WGSL for a param; by default the launch parameter `p.name`. */
  readonly param?: (name: string) => string;
  readonly functions: WgslFunctions;
  /** Start of the names of the emitted variables; distinct per emission within one scope. */
  readonly prefix?: string;
}

export interface Emitted {
  /** Statements, one per line. */
  readonly code: string;
  /** WGSL names (or literals) of the expressions asked for, each of the full width. */
  readonly results: readonly string[];
}

// prettier-ignore
const infix: Readonly<Record<string, string>> = {
  add: '+', sub: '-', mul: '*', div: '/',
  lt: '<', le: '<=', gt: '>', ge: '>=', eq: '==', ne: '!=',
  and: '&', or: '|', xor: '^',
};

/** Float primitives that WGSL computes well enough itself. */
// prettier-ignore
const builtins: Readonly<Record<string, string>> = {
  abs: 'abs', sign: 'sign', sqrt: 'sqrt', rsqrt: 'inverseSqrt',
  floor: 'floor', ceil: 'ceil', round: 'round', trunc: 'trunc', maximum: 'max', minimum: 'min', clamp: 'clamp',
};

// prettier-ignore
const floatFunctions: Readonly<Record<string, string>> = {
  exp: 'kExp', expm1: 'kExpm1', log: 'kLog', log1p: 'kLog1p', log2: 'kLog2', sin: 'kSin', cos: 'kCos', tan: 'kTan', asin: 'kAsin', acos: 'kAcos', atan: 'kAtan',
  sinh: 'kSinh', cosh: 'kCosh', tanh: 'kTanh', asinh: 'kAsinh', acosh: 'kAcosh', atanh: 'kAtanh', sigmoid: 'kSigmoid',
  softplus: 'kSoftplus', erf: 'kErf', erfinv: 'kErfinv', relu: 'kRelu', sign: 'kSign', maximum: 'kMax', minimum: 'kMin',
  clamp: 'kClamp', fmod: 'kFmod', remainder: 'kRemainder', pow: 'kPow', atan2: 'kAtan2', ne: 'kNe',
  isNan: 'kIsNan', isInf: 'kIsInf', isFinite: 'kIsFinite',
};

const intFunctions: Readonly<Record<string, string>> = {
  div: 'kDivI',
  fmod: 'kModI',
  remainder: 'kRemainderI',
  pow: 'kPowI',
};
const uintFunctions: Readonly<Record<string, string>> = { div: 'kDivU', fmod: 'kModU', remainder: 'kModU' };

/** A literal of scalar type; infinities and NaN go through functions because WGSL rejects them as constants. */
export function literal(expr: Pick<Expr, 'type' | 'value'>, functions: WgslFunctions): string {
  const v = expr.value;
  switch (expr.type) {
    case 'f32':
      if (Number.isNaN(v)) return `${functions.use('kNan', 1)}()`;
      if (Math.abs(v) === Infinity) return `${v < 0 ? '-' : ''}${functions.use('kInf', 1)}()`;
      return v < 0 || Object.is(v, -0) ? `(-${shortest(-v)}f)` : `${shortest(v)}f`;
    case 'i32':
      return `i32(${v})`;
    case 'u32':
      return `${v}u`;
    case 'bool':
      return v ? 'true' : 'false';
  }
}

const largestFloat = 3.4028234663852886e38;

/** The shortest decimal that rounds to the float32 `v`; WGSL rejects one past the largest float32 even if it rounds to it. */
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

  const operation = (x: Expr, args: readonly string[], width: Width): string => {
    const from = x.args[0]!.type;
    const call = (name: string): string => `${functions.use(name, width)}(${args.join(', ')})`;
    if (x.op === 'select') return `select(${args[2]}, ${args[1]}, ${args[0]})`;
    if (x.op === 'neg') return from === 'u32' ? `${wgslType('u32', width)}(0u) - ${args[0]}` : `-${args[0]}`;
    if (x.op === 'not') return `${x.type === 'bool' ? '!' : '~'}${args[0]}`;
    if (x.op === 'shl' || x.op === 'shr') {
      return `${args[0]} ${x.op === 'shl' ? '<<' : '>>'} (${wgslType('u32', width)}(${args[1]}) & ${wgslType('u32', width)}(31u))`;
    }
    if (x.op === 'cast') {
      if (x.type === 'bool' && from === 'f32') return call('kTruth');
      if (x.type === 'bool') return `${args[0]} != ${wgslType(from, width)}(0)`;
      const to = wgslType(x.type, width);
      return x.type === 'u32' && from === 'f32'
        ? `${to}(${wgslType('i32', width)}(${args[0]}))`
        : `${to}(${args[0]})`;
    }
    const table = from === 'f32' ? floatFunctions : from === 'i32' ? intFunctions : uintFunctions;
    // A constant second operand is never NaN, which spares half of the test.
    if ((x.op === 'maximum' || x.op === 'minimum') && from === 'f32' && x.args[1]!.op === 'const') {
      if (!Number.isNaN(x.args[1]!.value)) {
        return `select(${builtins[x.op]}(${args.join(', ')}), ${args[0]}, ${functions.use('kIsNan', width)}(${args[0]}))`;
      }
    }
    const helper = table[x.op];
    if (helper !== undefined) return call(helper);
    if (x.op === 'relu') return from === 'u32' ? args[0]! : `max(${args[0]}, ${wgslType(from, width)}(0))`;
    const sign = x.op === 'xor' && x.args[0]!.type === 'bool' ? '!=' : infix[x.op];
    if (sign !== undefined) return `${args[0]} ${sign} ${args[1]}`;
    if (from === 'u32' && x.op === 'sign') return `min(${args[0]}, ${wgslType('u32', width)}(1u))`;
    const builtin = builtins[x.op];
    if (builtin !== undefined) return `${builtin}(${args.join(', ')})`;
    throw new Error(`expr: ${x.op} is not available for ${from}; cast the operand to f32`);
  };

  const visit = (x: Expr): { code: string; width: Width } => {
    let r = done.get(x);
    if (r !== undefined) return r;
    if (x.op === 'const') r = { code: literal(x, functions), width: 1 };
    else if (x.op === 'param') r = { code: options.param?.(x.name) ?? `p.${x.name}`, width: 1 };
    else if (x.op === 'input') r = options.input(x);
    else {
      const parts = x.args.map(visit);
      const width: Width = parts.some((part) => part.width === 4) ? 4 : 1;
      const args = parts.map((part, i) => widen(part, x.args[i]!, width));
      const name = `${prefix}${x.id}`;
      lines.push(`let ${name} = ${operation(x, args, width)};`);
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
