/** Pointwise ops, whose rows say what they compute: their expressions as nodes. */
import { dtypeInfo } from '../../kernels/base/dtype.js';
import { e, input, type Expr } from '../../kernels/expr/expr.js';
import { erf } from '../../kernels/expr/special.js';
import { atan } from '../../kernels/expr/trigonometry.js';
import type { Operand, Row as PointwiseRow } from '../../ops/base/row.js';
import { isFloatingPoint, resultType, toFloatType, type DType } from '../../tensor/dtype.js';
import { isTensor } from '../../tensor/tensor.js';
import { sameShape } from '../../tensor/shape.js';
import { int, sizesOf, type ElementType, type Value } from '../graph.js';
import { cast, typed, type Builder, type Row } from '../row.js';

/** Operations of the expression language with a node of their own, whose result has the operands' type. */
const same: Readonly<Record<string, string>> = {
  neg: 'Neg',
  abs: 'Abs',
  sign: 'Sign',
  relu: 'Relu',
  exp: 'Exp',
  log: 'Log',
  sqrt: 'Sqrt',
  floor: 'Floor',
  ceil: 'Ceil',
  round: 'Round',
  add: 'Add',
  sub: 'Sub',
  mul: 'Mul',
  div: 'Div',
  maximum: 'Max',
  minimum: 'Min',
};
const tests: Readonly<Record<string, string>> = {
  lt: 'Less',
  le: 'LessOrEqual',
  gt: 'Greater',
  ge: 'GreaterOrEqual',
  eq: 'Equal',
  isNan: 'IsNaN',
  isInf: 'IsInf',
};
const logical: Readonly<Record<string, string>> = { and: 'And', or: 'Or', xor: 'Xor', not: 'Not' };
/** The same of integers, from opset 18 on. */
const bitwise: Readonly<Record<string, string>> = {
  and: 'BitwiseAnd',
  or: 'BitwiseOr',
  xor: 'BitwiseXor',
  not: 'BitwiseNot',
};
/** Functions of floats by the names that they have in the expression language. */
const calls: Readonly<Record<string, string>> = {
  tanh: 'Tanh',
  sigmoid: 'Sigmoid',
  erf: 'Erf',
  sin: 'Sin',
  cos: 'Cos',
  tan: 'Tan',
  asin: 'Asin',
  acos: 'Acos',
  atan: 'Atan',
  sinh: 'Sinh',
  cosh: 'Cosh',
  asinh: 'Asinh',
  acosh: 'Acosh',
  atanh: 'Atanh',
  softplus: 'Softplus',
  pow: 'Pow',
};
/** Below zero, or the zero that is. */
const isNegative = (x: Expr): Expr => e.or(e.lt(x, 0), e.and(e.eq(x, 0), e.lt(e.div(1, x), 0)));

/** The angle of (b, a): that of a / b, by half a turn from it where b is negative. */
function angle(a: Expr, b: Expr): Expr {
  const isOrigin = e.and(e.eq(a, 0), e.eq(b, 0));
  const isFar = e.and(e.isInf(a), e.isInf(b));
  const ratio = e.select(isOrigin, a, e.select(isFar, e.mul(e.sign(a), e.sign(b)), e.div(a, b)));
  return e.add(atan(ratio), e.select(isNegative(b), e.select(isNegative(a), -Math.PI, Math.PI), 0));
}

/** Functions made of others. */
const made: Readonly<Record<string, (x: Expr, y: Expr) => Expr>> = {
  atan2: angle,
  expm1: (x) => e.sub(e.exp(x), 1),
  log1p: (x) => e.log(e.add(x, 1)),
  log2: (x) => e.mul(e.log(x), Math.LOG2E),
  erfc: (x) => e.sub(1, erf(x)),
  ndtr: (x) => e.mul(e.add(erf(e.mul(x, Math.SQRT1_2)), 1), 0.5),
};

class Lowering {
  private readonly done = new Map<Expr, Value>();

  constructor(
    readonly t: Builder,
    private readonly name: string,
    private readonly inputs: readonly Value[],
    /** What floats are computed in. */
    private readonly floats: 'float32' | 'float16',
  ) {}

  private typeOf({ type }: Expr): ElementType {
    if (type === 'f32') return this.floats;
    return type === 'bool' ? 'bool' : 'int32';
  }

  value(x: Expr): Value {
    let value = this.done.get(x);
    if (value === undefined) this.done.set(x, (value = typed(this.make(x), this.typeOf(x))));
    return value;
  }

  private make(x: Expr): Value {
    const { t } = this;
    if (x.op === 'const') return t.scalar(x.value, this.typeOf(x));
    if (x.op === 'input') return cast(t, this.inputs[x.index] as Value, this.typeOf(x));
    if (x.op === 'cast') return cast(t, this.value(x.args[0] as Expr), this.typeOf(x));
    if (x.op === 'call') return this.call(x);
    const args = (): Value[] => x.args.map((arg) => this.value(arg));
    const [first] = x.args as [Expr];
    if (Object.hasOwn(logical, x.op)) {
      if (first.type === 'bool') return t.node(logical[x.op] as string, args());
      if (t.opset < 18)
        throw t.unsupported(this.name, 'needs opsetVersion 18 or later for its bits of integers');
      return t.node(bitwise[x.op] as string, args());
    }
    if (Object.hasOwn(same, x.op)) return t.node(same[x.op] as string, args());
    if (Object.hasOwn(tests, x.op)) return t.node(tests[x.op] as string, args());
    switch (x.op) {
      case 'ne':
        return t.node('Not', [typed(t.node('Equal', args()), 'bool')]);
      case 'isFinite': {
        const [y] = args() as [Value];
        const odd = t.node('Or', [typed(t.node('IsNaN', [y]), 'bool'), typed(t.node('IsInf', [y]), 'bool')]);
        return t.node('Not', [typed(odd, 'bool')]);
      }
      case 'rsqrt':
        return t.node('Reciprocal', [typed(t.node('Sqrt', args()), this.floats)]);
      case 'trunc': {
        const [y] = args() as [Value];
        const size = typed(t.node('Floor', [typed(t.node('Abs', [y]), this.floats)]), this.floats);
        return t.node('Mul', [typed(t.node('Sign', [y]), this.floats), size]);
      }
      case 'select':
        return t.node('Where', args());
      case 'clamp': {
        const [y, low, high] = args() as [Value, Value, Value];
        // Clip takes bounds without dims only.
        if (low.shape?.length === 0 && high.shape?.length === 0) return t.node('Clip', [y, low, high]);
        const above = typed(t.node('Max', [y, low]), this.typeOf(x));
        return t.node('Min', [above, high]);
      }
      default:
        throw t.unsupported(this.name, `computes '${x.op}', for which ONNX has no operator`);
    }
  }

  private call(x: Expr): Value {
    const fn = x.fn as NonNullable<Expr['fn']>;
    if (Object.hasOwn(calls, fn.name) && (x.type === 'f32' || fn.name === 'pow'))
      return this.t.node(
        calls[fn.name] as string,
        x.args.map((arg) => this.value(arg)),
      );
    const [first, second] = x.args as [Expr, Expr];
    // Mod of integers has the divisor's sign, of floats the dividend's.
    if (fn.name === 'fmod' || (fn.name === 'remainder' && x.type === 'i32'))
      return this.t.node('Mod', [this.value(first), this.value(second)], { fmod: int(fn.name === 'fmod') });
    if (fn.name === 'remainder')
      return this.value(e.sub(first, e.mul(second, e.floor(e.div(first, second)))));
    if (fn.name === 'floorDiv' && x.type === 'f32') return this.value(e.floor(e.div(first, second)));
    const own = Object.hasOwn(made, fn.name) ? made[fn.name]?.(first, second) : fn.body?.(x.args);
    if (own === undefined)
      throw this.t.unsupported(this.name, `computes '${fn.name}', for which ONNX has no operator`);
    return this.value(own);
  }
}

/** What operands are computed in. */
export function commonDtype(operands: readonly Operand[], kind: PointwiseRow['kind']): DType {
  const dtype = resultType(...operands);
  return kind === 'float' ? toFloatType(dtype) : dtype;
}

/** A pointwise op as what its expression says. */
export const rowOfExpression =
  ({ name, kind, expr }: PointwiseRow): Row =>
  (t, args, result) => {
    const operands = args as readonly Operand[];
    const common = commonDtype(operands, kind);
    if (common === 'uint8' && kind !== 'logical')
      throw t.unsupported(
        name,
        "computes with uint8, which ONNX's operators do not; convert with .to('int32')",
      );
    const compute = kind === 'logical' ? 'bool' : dtypeInfo[common].compute;
    const inputs: Value[] = [];
    const loads = operands.map((operand) => {
      if (!isTensor(operand)) return e.const(Number(operand), compute);
      const value = t.value(operand);
      // Half precision stays what it is computed in where all of it is.
      const dtype: DType = isFloatingPoint(operand.dtype) && isFloatingPoint(common) ? common : operand.dtype;
      return e.cast(input(inputs.push(cast(t, value, dtype)) - 1, dtypeInfo[dtype].compute), compute);
    });
    const lowering = new Lowering(t, name, inputs, common === 'float16' ? 'float16' : 'float32');
    const value = lowering.value(expr(...loads));
    const made = cast(t, value, isTensor(result) ? result.dtype : common);
    // What comes out the same for all operands is one number (x to the power of 0).
    return made.shape !== null && isTensor(result) && !sameShape(made.shape, result.shape)
      ? t.node('Expand', [made, sizesOf(result.shape)])
      : made;
  };
