import { named } from '../../autograd/define.js';
import { currentInterceptor, intercept, intercepting } from '../../autograd/mode.js';
import { dtypeInfo } from '../../kernels/base/dtype.js';
import { e, input, param, type Expr } from '../../kernels/expr/expr.js';
import { elementOf, isFloatingPoint, resultType, toFloatType, type DType } from '../../tensor/dtype.js';
import { argumentReader, checkCount, isPlainObject, type Needed } from '../../tensor/options.js';
import { isTensor, type Tensor } from '../../tensor/tensor.js';
import { applyInPlace, applyPointwise, type Pointwise } from './apply.js';

/** What pointwise ops take: a tensor, or a number or boolean that broadcasts and only weakly promotes. */
export type Operand = Tensor | number | boolean;

/** How the operands' dtypes decide what is computed and stored. */
export type Kind =
  /** Promoted dtype in, the same out (`add`). */
  | 'promote'
  /** Integers and bool become float32 (`exp`, true division). */
  | 'float'
  /** Promoted dtype in, bool out (`lt`). */
  | 'compare'
  /** Every operand as a truth value, bool out (`logicalAnd`). */
  | 'logical';

/** One row of the pointwise table. */
export interface Row {
  readonly name: string;
  readonly kind: Kind;
  /** The value. Operands arrive in the common compute type (`logical`: as bool). */
  readonly expr: (...operands: Expr[]) => Expr;
  /**
   * The gradient of each operand from the result's gradient `g` and the result `y`; default: the symbolic
   * derivative times `g`, from the result where that is enough. Used where PyTorch's choice at
   * kinks differs, or where it is cheaper or more exact.
   */
  readonly grad?: (g: Expr, y: Expr, ...operands: Expr[]) => readonly (Expr | null)[];
  /**
   * The gradient reads the result or the operands, which may all the same be overwritten, because PyTorch's
   * gradient reads something else: the tape copies them before that.
   */
  readonly lends?: 'result' | 'operands';
  /** Operands behind the first that may come by these names, in one object. */
  readonly names?: readonly string[];
  /** Operands that must be given; default: all. */
  readonly least?: number;
  /** Operands (by position) whose numeric value is compiled in: few values, much cheaper (`pow` with 2). */
  readonly bakes?: (position: number, value: number) => boolean;
  /** Dtypes that the op refuses, with the reason. */
  readonly refuse?: (dtype: DType) => string | null;
  /** Refuses values, where integers are computed. */
  readonly checkIntegers?: (op: string, operands: readonly Operand[]) => void;
}

interface Compiled {
  readonly pointwise: Pointwise;
  /** What it is computed in. */
  readonly compute: Expr['type'];
  /** Positions of the operands that are launch parameters. */
  readonly paramAt: readonly number[];
}

function compile(row: Row, operands: readonly Operand[], common: DType): Compiled {
  const compute = row.kind === 'logical' ? 'bool' : dtypeInfo[common].compute;
  const inputs: DType[] = [];
  const params: string[] = [];
  const paramAt: number[] = [];
  const tensorAt: number[] = [];
  const loads = operands.map((operand, position): Expr => {
    if (isTensor(operand)) {
      const at = inputs.push(operand.dtype) - 1;
      tensorAt.push(position);
      const loaded = input(at, dtypeInfo[operand.dtype].compute);
      return cast(loaded, compute);
    }
    const value = Number(operand);
    if (compute === 'bool') return e.const(value !== 0, 'bool');
    if (row.bakes?.(position, value)) return e.const(value, compute);
    const name = `s${position}`;
    params.push(name);
    paramAt.push(position);
    return param(name, compute);
  });
  const value = row.expr(...loads);
  const dtype: DType = row.kind === 'compare' || row.kind === 'logical' ? 'bool' : common;
  const n = inputs.length;
  let grads: (Expr | null)[] | undefined;
  if (row.grad !== undefined && isFloatingPoint(dtype)) {
    const all = row.grad(input(n), input(n + 1), ...loads);
    grads = tensorAt.map((position, i) =>
      isFloatingPoint(inputs[i] as DType) ? (all[position] ?? null) : null,
    );
  }
  return {
    pointwise: {
      name: row.name,
      expr: cast(value, dtypeInfo[dtype].compute),
      inputs,
      dtype,
      params,
      ...(grads && { grads }),
      ...(row.lends && { lends: row.lends }),
    },
    compute,
    paramAt,
  };
}

/** A bool is 0 or 1 as a number, and a number is true unless it is zero. */
function cast(x: Expr, type: Expr['type']): Expr {
  if (x.type === type) return x;
  return e.cast(x, type);
}

function commonDtype(row: Row, operands: readonly Operand[]): DType {
  const dtype = resultType(...operands);
  return row.kind === 'float' ? toFloatType(dtype) : dtype;
}

export type PointwiseFn = (...operands: Operand[]) => Tensor;

/** The rows of functions, for their in-place forms. */
const rows = new WeakMap<object, Row>();

/** Compiles and caches a row per combination of dtypes and numbers, and calls it. */
export function rowFunction(row: Row): PointwiseFn {
  const cache = new Map<string, Compiled>();
  const fn: PointwiseFn = named(row.name, (...operands) => {
    if (intercepting) {
      const instead = intercept(row.name, fn, operands);
      if (instead !== undefined) return instead as Tensor;
    }
    const { compiled, tensors, params } = lookUp(row, cache, operands, null);
    return applyPointwise(compiled.pointwise, tensors, params);
  });
  rows.set(fn, row);
  return fn;
}

/** @internal The row that a function was made of; null for all others. */
export const rowOf = (fn: object): Row | null => rows.get(fn) ?? null;

/** The in-place form of what {@link rowFunction} made (`sin_` of `sin`). */
export function inPlaceOf<F extends (self: Tensor, ...rest: never) => Tensor>(fn: F): F {
  const row = rows.get(fn);
  if (row === undefined) throw new Error(`inPlaceOf: ${fn.name} is not the function of a row`);
  return inPlaceFunction(row) as unknown as F;
}

/** The in-place form (`add_`): writes over the first operand, whose dtype must be able to hold the result. */
export function inPlaceFunction(row: Row): (self: Tensor, ...rest: Operand[]) => Tensor {
  const cache = new Map<string, Compiled>();
  const name = `${row.name}_`;
  const renamed = { ...row, name };
  const fn = named(name, (self: Tensor, ...rest: Operand[]) => {
    const into = isTensor(self) ? self.dtype : null;
    const { compiled, tensors, params } = lookUp(renamed, cache, [self, ...rest], into);
    const written = currentInterceptor()?.write?.(row.name, fn, [self, ...rest]);
    const result = applyInPlace(compiled.pointwise, tensors, params);
    written?.();
    return result;
  });
  rows.set(fn, row);
  return fn;
}

interface LookedUp {
  readonly compiled: Compiled;
  readonly tensors: Tensor[];
  readonly params: number[];
}

function lookUp(
  row: Row,
  cache: Map<string, Compiled>,
  operands: readonly Operand[],
  into: DType | null,
): LookedUp {
  checkCount(row.name, operands.length, row.expr.length);
  let key = '';
  for (let i = 0; i < operands.length; i++) {
    const operand = operands[i] as Operand;
    if (isTensor(operand)) key += operand.shape.length === 0 ? `${operand.dtype}0,` : `${operand.dtype},`;
    else if (typeof operand === 'number') {
      if (row.bakes?.(i, operand)) key += `=${operand},`;
      else key += Number.isInteger(operand) ? 'n,' : 'r,';
    } else if (typeof operand === 'boolean')
      key += row.kind === 'logical' || row.bakes?.(i, Number(operand)) ? `=${operand},` : 'b,';
    else if (row.names !== undefined && i > 0 && isPlainObject(operand)) {
      const [self, ...rest] = operands as [Operand, ...Operand[]];
      const named = argumentReader<readonly Operand[]>(row.name, ...row.names)(rest);
      return lookUp(row, cache, [self, ...named], into);
    } else
      throw new Error(
        `${row.name}: operand ${i} is ${operand === null ? 'null' : typeof operand}, expected a tensor or a number`,
      );
  }
  let compiled = cache.get(key);
  if (compiled === undefined) {
    const { least = row.expr.length } = row;
    if (operands.length < least)
      throw new Error(`${row.name}: takes ${least} operands, got ${operands.length}`);
    const common = commonDtype(row, operands);
    const refusal = row.refuse?.(common);
    if (refusal) throw new Error(`${row.name}: ${refusal}`);
    if (!operands.some(isTensor)) throw new Error(`${row.name}: at least one operand must be a tensor`);
    compiled = compile(row, operands, common);
    if (into !== null && compiled.pointwise.dtype !== into) compiled = storedAs(row, compiled, into);
    cache.set(key, compiled);
  }
  if (row.checkIntegers !== undefined && compiled.compute !== 'f32') row.checkIntegers(row.name, operands);
  const tensors: Tensor[] = [];
  for (const operand of operands) if (isTensor(operand)) tensors.push(operand);
  return { compiled, tensors, params: compiled.paramAt.map((at) => numberAt(row, compiled, operands, at)) };
}

/** Operand `at`, a number, which must be one of the type that is computed in. */
function numberAt(row: Row, { compute }: Compiled, operands: readonly Operand[], at: number): number {
  const value = Number(operands[at]);
  if (compute === 'i32' && (value | 0) !== value) return elementOf(row.name, value, 'int32');
  // A uint8 tensor may be compared with 256.
  if (compute === 'u32' && value >>> 0 !== value) return elementOf(row.name, value, 'uint8');
  return value;
}

/** @internal PyTorch's rule for in-place results: the category may not sink. @throws Error where it would */
export function checkStored(op: string, result: DType, into: DType): void {
  const level = (dtype: DType): number => (dtype === 'bool' ? 0 : isFloatingPoint(dtype) ? 2 : 1);
  if (level(result) > level(into)) {
    throw new Error(
      `${op}: the result is ${result}, which cannot be stored in a ${into} tensor; use the out-of-place form`,
    );
  }
}

function storedAs(row: Row, compiled: Compiled, into: DType): Compiled {
  const { pointwise } = compiled;
  if (pointwise.dtype !== 'bool') checkStored(row.name, pointwise.dtype, into);
  return {
    ...compiled,
    pointwise: { ...pointwise, expr: cast(pointwise.expr, dtypeInfo[into].compute), dtype: into },
  };
}

export type Unary = (x: Tensor) => Tensor;
export type Binary = (x: Tensor, other: Operand) => Tensor;
export type Power = (x: Tensor, ...args: Needed<[exponent: Operand], ['exponent']>) => Tensor;

type Options = Partial<Omit<Row, 'name' | 'kind' | 'expr'>>;

/** An op of one tensor from its row. */
export const unaryOp = (name: string, kind: Kind, expr: (x: Expr) => Expr, options: Options = {}): Unary =>
  rowFunction({ name, kind, expr, ...options } as Row) as Unary;

/** An op of two operands from its row. */
export const binaryOp = (
  name: string,
  kind: Kind,
  expr: (x: Expr, y: Expr) => Expr,
  options: Options = {},
): Binary => rowFunction({ name, kind, expr, ...options } as Row) as Binary;
