import { named } from '../autograd/define.js';
import { dtypeInfo } from '../kernels/base/dtype.js';
import { e, input, param, type Expr } from '../kernels/expr/expr.js';
import { isFloatingPoint, resultType, toFloatType, type DType } from '../tensor/dtype.js';
import { isTensor, type Tensor } from '../tensor/tensor.js';
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
  /** Operands (by position) whose numeric value is compiled in: few values, much cheaper (`pow` with 2). */
  readonly bakes?: (position: number, value: number) => boolean;
  /** Dtypes that the op refuses, with the reason. */
  readonly refuse?: (dtype: DType) => string | null;
}

interface Compiled {
  readonly pointwise: Pointwise;
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

/** Compiles and caches a row per combination of dtypes and numbers, and calls it. */
export function rowFunction(row: Row): PointwiseFn {
  const cache = new Map<string, Compiled>();
  return named(row.name, (...operands) => {
    const { compiled, tensors, params } = lookUp(row, cache, operands, null);
    return applyPointwise(compiled.pointwise, tensors, params);
  });
}

/** The in-place form (`add_`): writes over the first operand, whose dtype must be able to hold the result. */
export function inPlaceFunction(row: Row): (self: Tensor, ...rest: Operand[]) => Tensor {
  const cache = new Map<string, Compiled>();
  const name = `${row.name}_`;
  const renamed = { ...row, name };
  return named(name, (self: Tensor, ...rest: Operand[]) => {
    const { compiled, tensors, params } = lookUp(renamed, cache, [self, ...rest], self.dtype);
    return applyInPlace(compiled.pointwise, tensors, params);
  });
}

function lookUp(row: Row, cache: Map<string, Compiled>, operands: readonly Operand[], into: DType | null) {
  let key = '';
  for (let i = 0; i < operands.length; i++) {
    const operand = operands[i] as Operand;
    if (isTensor(operand)) key += operand.shape.length === 0 ? `${operand.dtype}0,` : `${operand.dtype},`;
    else if (typeof operand === 'number') {
      if (row.bakes?.(i, operand)) key += `=${operand},`;
      else key += Number.isInteger(operand) ? 'n,' : 'r,';
    } else if (typeof operand === 'boolean')
      key += row.kind === 'logical' || row.bakes?.(i, Number(operand)) ? `=${operand},` : 'b,';
    else
      throw new Error(
        `${row.name}: operand ${i} is ${operand === null ? 'null' : typeof operand}, expected a tensor or a number`,
      );
  }
  let compiled = cache.get(key);
  if (compiled === undefined) {
    const common = commonDtype(row, operands);
    const refusal = row.refuse?.(common);
    if (refusal) throw new Error(`${row.name}: ${refusal}`);
    if (!operands.some(isTensor)) throw new Error(`${row.name}: at least one operand must be a tensor`);
    compiled = compile(row, operands, common);
    if (into !== null && compiled.pointwise.dtype !== into) compiled = storedAs(row, compiled, into);
    cache.set(key, compiled);
  }
  const tensors: Tensor[] = [];
  for (const operand of operands) if (isTensor(operand)) tensors.push(operand);
  return { compiled, tensors, params: compiled.paramAt.map((at) => Number(operands[at])) };
}

/** PyTorch's rule for in-place results: the category may not sink. */
function storedAs(row: Row, compiled: Compiled, into: DType): Compiled {
  const { pointwise } = compiled;
  const level = (dtype: DType): number => (dtype === 'bool' ? 0 : isFloatingPoint(dtype) ? 2 : 1);
  if (level(pointwise.dtype) > level(into) && pointwise.dtype !== 'bool') {
    throw new Error(
      `${row.name}: the result is ${pointwise.dtype}, which cannot be stored in a ${into} tensor; use the out-of-place form`,
    );
  }
  return {
    ...compiled,
    pointwise: { ...pointwise, expr: cast(pointwise.expr, dtypeInfo[into].compute), dtype: into },
  };
}
