import { runtime } from '../../device/index.js';
import { dtypeInfo } from '../../kernels/base/dtype.js';
import { e, input, type Expr } from '../../kernels/expr/expr.js';
import { planReduce, type Reduction } from '../../kernels/reduce/plan.js';
import type { DType, DTypeName } from '../../tensor/dtype.js';
import { isDense, isChannelsLast, stridesLike } from '../../tensor/shape.js';
import type { Trailing } from '../../tensor/options.js';
import { Tensor } from '../../tensor/tensor.js';
import { runPlan } from './run-plan.js';
import { expand, reshape } from './view.js';

/** @internal Shape of a reduction's result. */
export function reducedShape(shape: readonly number[], dims: readonly number[], keepdim: boolean): number[] {
  return keepdim
    ? shape.map((size, i) => (dims.includes(i) ? 1 : size))
    : shape.filter((_, i) => !dims.includes(i));
}

export interface ReduceCall {
  readonly name: string;
  readonly recipe: Reduction;
  readonly inputs: readonly Tensor[];
  /** Normalised dims. */
  readonly dims: readonly number[];
  readonly keepdim: boolean;
  /** One per result. */
  readonly dtypes: readonly DType[];
  readonly params?: Readonly<Record<string, number>>;
}

/** @internal Runs a reduction recipe outside the tape. */
export function runReduce(call: ReduceCall): Tensor[] {
  const { name, recipe, inputs, dims, keepdim, dtypes, params = {} } = call;
  const x = inputs[0] as Tensor;
  const shape = reducedShape(x.shape, dims, keepdim);
  // A kept batch and channel dim stay where they were in memory.
  const strides =
    keepdim && isChannelsLast(x.shape, x.strides) && isDense(x.shape, x.strides)
      ? stridesLike(shape, x.shape, x.strides)
      : undefined;
  const outputs = dtypes.map((dtype) => Tensor.empty(shape, dtype, name, strides, x));
  if ((outputs[0] as Tensor).numel() === 0) return outputs;
  const rt = runtime();
  const plan = planReduce(rt.target, {
    name,
    op: recipe.op,
    ...(recipe.map && { map: recipe.map }),
    ...(recipe.factor && { factor: recipe.factor }),
    ...(recipe.finish && { finish: recipe.finish.map((expr, i) => stored(expr, dtypes[i] as DType)) }),
    dims,
    inputs,
    outputs,
    paramNames: Object.keys(params),
    params: Object.values(params),
    maxBinding: rt.maxBinding,
    offsetAlignment: rt.limits.minStorageBufferOffsetAlignment,
  });
  const named: Record<string, Tensor> = {};
  inputs.forEach((tensor, i) => (named[`in${i}`] = tensor));
  outputs.forEach((tensor, i) => (named[`out${i}`] = tensor));
  runPlan(name, plan, named);
  return outputs;
}

const stored = (expr: Expr, dtype: DType): Expr => e.cast(expr, dtypeInfo[dtype].compute);

/**
 * @internal Input `k` in the type that reductions of its dtype compute in: bool and uint8 become integers.
 */
export function loaded(dtype: DType, k = 0): Expr {
  const x = input(k, dtypeInfo[dtype].compute);
  return dtype === 'bool' || dtype === 'uint8' ? e.cast(x, 'i32') : x;
}

export type Dims = number | readonly number[] | null;

export interface KeepdimOptions {
  /** Leave reduced dims in place with size 1. */
  keepdim?: boolean;
}

export interface DtypeOptions extends KeepdimOptions {
  /** Convert to this dtype before reducing. */
  dtype?: DTypeName;
}

/** What follows the tensor: `dim`, `keepdim` and options, in which both may stand too. */
export type DimArgs<O> = Trailing<[dim: Dims, keepdim: boolean], O & { dim?: Dims }>;

/** @internal Defaults of what reduces over dims, and of what converts first. */
export const overDims = { dim: null as Dims, keepdim: false };
/** @internal */
export const overDimsAs = { ...overDims, dtype: null as DType | null };

/** @internal A reduction once its dims are known. */
export type OverDims = (x: Tensor, dims: readonly number[], keepdim: boolean) => Tensor;

/** @internal What a reduction went over. */
export interface Span {
  readonly shape: readonly number[];
  readonly dims: readonly number[];
}

/** @internal Spreads a reduction's result or gradient over the reduced dims again, without a copy. */
export const spread = (t: Tensor, { shape, dims }: Span): Tensor =>
  expand(reshape(t, reducedShape(shape, dims, true)), shape);
/** @internal */
export const countOf = ({ shape, dims }: Span): number => dims.reduce((n, d) => n * (shape[d] as number), 1);
