/**
 * Tensors made from a rule on positions: eye, triangles, one-hot. All are pointwise kernels over coordinates
 * (`iota` inputs), so any strides and dtypes work on both sides.
 *
 * Every function returns a Plan with the buffers `x` (where there is an input) and `out`.
 */
import { dtypeInfo } from '../base/dtype.js';
import { e, input, param } from '../expr/expr.js';
import type { Target } from '../base/kernel.js';
import { renamed, type Limits, type Plan } from '../base/plan.js';
import {
  planPointwise,
  type PointwiseInput,
  type PointwiseOperand,
  type PointwiseProblem,
} from '../pointwise/plan.js';

/**
 * The launches of a pointwise problem as a Plan; `names` are those of [...inputs, ...outputs] (undefined for
 * iotas).
 */
export const namedPlan = (
  target: Target,
  problem: PointwiseProblem,
  names: readonly (string | undefined)[],
): Plan => ({ launches: renamed(planPointwise(target, problem), names), workspaces: {} });

/** An input whose value is the coordinate along dimension `dim` of `shape`. */
function coordinate(shape: readonly number[], dim: number): PointwiseInput {
  return { dtype: 'int32', shape, strides: shape.map((_, d) => (d === dim ? 1 : 0)), offset: 0, iota: true };
}

interface Made extends Limits {
  readonly out: PointwiseOperand;
  /** `out` is a view: nothing beside its elements may be written. */
  readonly exact?: boolean;
}

/** Ones on the diagonal of the last two dimensions. */
export function planEye(target: Target, { out, ...rest }: Made): Plan {
  const r = out.shape.length;
  const inputs = [coordinate(out.shape, r - 2), coordinate(out.shape, r - 1)];
  const exprs = [e.cast(e.eq(input(0, 'i32'), input(1, 'i32')), dtypeInfo[out.dtype].compute)];
  return namedPlan(target, { name: 'eye', exprs, inputs, outputs: [out], ...rest }, [
    undefined,
    undefined,
    'out',
  ]);
}

/**
 * tril (column - row <= diagonal) or triu (>=) of the last two dimensions; zero elsewhere. `x` and `out`
 * agree in dtype.
 */
export function planTriangle(
  target: Target,
  {
    x,
    out,
    diagonal,
    upper,
    ...rest
  }: Made & { readonly x: PointwiseOperand; readonly diagonal: number; readonly upper: boolean },
): Plan {
  const r = out.shape.length;
  const compute = dtypeInfo[x.dtype].compute;
  const offset = e.sub(input(1, 'i32'), input(0, 'i32'));
  const k = param('diagonal', 'i32');
  const exprs = [
    e.select(upper ? e.ge(offset, k) : e.le(offset, k), input(2, compute), compute === 'bool' ? false : 0),
  ];
  const inputs = [coordinate(out.shape, r - 2), coordinate(out.shape, r - 1), x];
  const problem = {
    name: upper ? 'triu' : 'tril',
    exprs,
    inputs,
    outputs: [out],
    paramNames: ['diagonal'],
    params: [diagonal],
  };
  return namedPlan(target, { ...problem, ...rest }, [undefined, undefined, 'x', 'out']);
}

/** 1 where the last coordinate equals the index. `x`: int32 of out.shape without its last dimension. */
export function planOneHot(
  target: Target,
  { x, out, ...rest }: Made & { readonly x: PointwiseOperand },
): Plan {
  const index = { ...x, shape: [...x.shape, 1], strides: [...x.strides, 0] };
  const exprs = [e.cast(e.eq(input(0, 'i32'), input(1, 'i32')), dtypeInfo[out.dtype].compute)];
  const inputs = [index, coordinate(out.shape, out.shape.length - 1)];
  return namedPlan(target, { name: 'oneHot', exprs, inputs, outputs: [out], ...rest }, [
    'x',
    undefined,
    'out',
  ]);
}
