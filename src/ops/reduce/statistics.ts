import { checkTensors } from '../base/tensors.js';
import { defineOp, entered } from '../../autograd/define.js';
import { e, input } from '../../kernels/expr/expr.js';
import { normP, reductions, type Reduction } from '../../kernels/reduce/plan.js';
import { isFloatingPoint, type DType } from '../../tensor/dtype.js';
import { normalizeDims } from '../../tensor/shape.js';
import { optionReader, type Trailing } from '../../tensor/options.js';
import type { Tensor } from '../../tensor/tensor.js';
import { eq, isnan, logicalOr } from '../pointwise/compare.js';
import { to } from '../base/copy.js';
import { abs, add, trueDivide as div, mul, sign, sub } from '../pointwise/pointwise.js';
import { pow } from '../pointwise/power.js';
import { mean } from './reduce.js';
import { sumDims } from '../base/sum-to.js';
import { countOf, runReduce, spread, type Dims, type KeepdimOptions, type Span } from '../base/reduction.js';
import { maskedFill } from '../pointwise/where.js';

/* Variance, standard deviation and norms. */

export interface VarOptions extends KeepdimOptions {
  /** Subtracted from the count in the divisor. Default 1 (Bessel). */
  correction?: number;
  /** PyTorch's older name: true is correction 1, false is 0. */
  unbiased?: boolean;
}

interface Deviation {
  readonly name: string;
  readonly correction: number;
  /** The standard deviation instead of the variance. */
  readonly root: boolean;
  /** The mean too, as a second result. */
  readonly mean: boolean;
}

type DeviationState = Span & Deviation;

/** Variance or standard deviation, and the mean if asked for. */
const deviationOp: (x: Tensor, dims: readonly number[], keepdim: boolean, how: Deviation) => Tensor[] =
  defineOp<[Tensor, readonly number[], boolean, Deviation], Tensor[], DeviationState>({
    name: 'var',
    forward(ctx, x, dims, keepdim, how) {
      ctx.state = { shape: x.shape, dims, ...how };
      const { finish, ...recipe } = how.root ? reductions.stdMean : reductions.varMean;
      const results = runReduce({
        name: how.name,
        recipe: { ...recipe, finish: how.mean ? finish : [finish[0]] },
        inputs: [x],
        dims,
        keepdim,
        dtypes: how.mean ? [x.dtype, x.dtype] : [x.dtype],
        params: { correction: how.correction },
      });
      ctx.save(x, how.root ? results[0] : null);
      return results;
    },
    backward(ctx, grad, gradMean) {
      const [x, out] = ctx.saved as [Tensor, Tensor | null];
      const { state } = ctx;
      const count = countOf(state);
      return [
        () => {
          const degrees = Math.max(0, count - state.correction);
          const scaled =
            out === null
              ? mul(grad as Tensor, 2 / degrees)
              : maskedFill(div(grad as Tensor, mul(out, degrees)), eq(out, 0), 0);
          const ofDeviation = mul(spread(scaled, state), sub(x, mean(x, state.dims, { keepdim: true })));
          return gradMean === undefined
            ? ofDeviation
            : add(ofDeviation, spread(mul(gradMean, 1 / count), state));
        },
      ];
    },
  });

const varDefaults = {
  dim: null as Dims,
  keepdim: false,
  correction: null as number | null,
  unbiased: null as boolean | null,
};

/** What follows the tensor: PyTorch's older forms have `unbiased` second, or as the only argument. */
export type VarArgs =
  | Trailing<[dim: Dims, unbiased: boolean, keepdim: boolean], VarOptions & { dim?: Dims }>
  | [unbiased: boolean];

const deviation = (name: string, how: { readonly root: boolean; readonly mean: boolean }) => {
  const read = optionReader(name, varDefaults, 'dim', 'unbiased', 'keepdim');
  return (x: Tensor, args: VarArgs): Tensor[] => {
    const [first, ...rest] = args;
    const only = typeof first === 'boolean' && rest.length === 0;
    const { dim, keepdim, correction, unbiased } = read(only ? [{ unbiased: first }] : args);
    if (!isFloatingPoint(x.dtype))
      throw new Error(`${name}: expected a float tensor, got ${x.dtype}; convert it with .to('float32')`);
    if (correction !== null && unbiased !== null)
      throw new Error(`${name}: give correction or unbiased, not both; unbiased: true is correction: 1`);
    return deviationOp(x, normalizeDims(name, dim, x.ndim), keepdim, {
      name,
      correction: correction ?? (unbiased === false ? 0 : 1),
      ...how,
    });
  };
};

const varianceOf = deviation('var', { root: false, mean: false });
const stdOf = deviation('std', { root: true, mean: false });
const varMeanOf = deviation('varMean', { root: false, mean: true });
const stdMeanOf = deviation('stdMean', { root: true, mean: true });

/**
 * `torch.var` (a reserved word in JavaScript as a function's name; `x.var(...)` works): over `dim`, with
 * `correction` or `unbiased`; `var(x, false)` is that of all elements, biased.
 */
function var_(x: Tensor, ...args: VarArgs): Tensor {
  checkTensors('var', x);
  return varianceOf(x, args)[0] as Tensor;
}
export { var_ as var };

/** `torch.std`, as `var`; finite where the variance is too large for its dtype. Its gradient at 0 is 0. */
export function std(x: Tensor, ...args: VarArgs): Tensor {
  checkTensors('std', x);
  return stdOf(x, args)[0] as Tensor;
}

/** `torch.var_mean`: variance and mean, from one pass. */
export function varMean(x: Tensor, ...args: VarArgs): [variance: Tensor, mean: Tensor] {
  checkTensors('varMean', x);
  return varMeanOf(x, args) as [Tensor, Tensor];
}

/** `torch.std_mean`: standard deviation and mean, from one pass. */
export function stdMean(x: Tensor, ...args: VarArgs): [std: Tensor, mean: Tensor] {
  checkTensors('stdMean', x);
  return stdMeanOf(x, args) as [Tensor, Tensor];
}

export interface VectorNormOptions extends KeepdimOptions {
  /** Order: 2 by default, also as 'fro'; 0, 1, `Infinity`, `-Infinity` or any other number. */
  p?: number | 'fro';
  dim?: Dims;
  /** Convert to this dtype first. */
  dtype?: DType;
}

interface NormState extends Span {
  readonly p: number;
}

const normOp: (x: Tensor, p: number, dims: readonly number[], keepdim: boolean) => Tensor = defineOp<
  [Tensor, number, readonly number[], boolean],
  Tensor,
  NormState
>({
  name: 'norm',
  forward(ctx, x, p, dims, keepdim) {
    ctx.state = { shape: x.shape, dims, p };
    const out = runReduce({
      name: 'norm',
      recipe: normRecipe(p),
      inputs: [x],
      dims,
      keepdim,
      dtypes: [x.dtype],
    })[0] as Tensor;
    ctx.save(x, out);
    return out;
  },
  backward(ctx, grad) {
    const [x, out] = ctx.saved as [Tensor, Tensor];
    const { state } = ctx;
    // Powers and counts on the way may leave float16's range where the gradient does not.
    const wide = (t: Tensor): Tensor => to(t, 'float32');
    return [() => to(normGrad(wide(x), spread(wide(grad), state), spread(wide(out), state), state), x.dtype)];
  },
});

/** The gradient of the norm `n` at `x`, both it and its own gradient `g` spread over `x`. */
function normGrad(x: Tensor, g: Tensor, n: Tensor, { p, dims }: NormState): Tensor {
  if (p === 0) return mul(x, 0);
  if (p === 1) return mul(g, sign(x));
  if (p === 2) return mul(g, maskedFill(div(x, n), eq(n, 0), 0));
  const size = abs(x);
  if (Math.abs(p) === Infinity) {
    const hit = to(logicalOr(eq(size, n), isnan(size)), 'float32');
    return mul(mul(g, sign(x)), div(hit, sumDims(hit, dims, true)));
  }
  // As PyTorch divides by the norm, so that second derivatives at 0 are its NaN too.
  if (p < 1) return mul(mul(mul(sign(x), maskedFill(pow(size, p - 1), eq(x, 0), 0)), g), pow(n, 1 - p));
  const direction = p < 2 ? mul(sign(x), pow(size, p - 1)) : mul(x, pow(size, p - 2));
  return mul(direction, maskedFill(div(g, pow(n, p - 1)), eq(n, 0), 0));
}

function normRecipe(p: number): Reduction {
  if (p === 0) return reductions.norm0;
  if (p === 1) return reductions.norm1;
  if (p === 2) return reductions.norm2;
  if (p === Infinity) return reductions.normInf;
  if (p === -Infinity) return { op: 'min', map: e.abs(input(0)) };
  return normP(p);
}

const readNorm = optionReader(
  'norm',
  { p: 2 as number | 'fro' | null, dim: null as Dims, keepdim: false, dtype: null as DType | null },
  'p',
  'dim',
  'keepdim',
);

/** `norm(x, p, dim, keepdim)`, or by name. */
export type NormArgs = Trailing<[p: number | 'fro' | null, dim: Dims, keepdim: boolean], VectorNormOptions>;

/** `torch.norm` / `torch.linalg.vector_norm`: `sum(|x|^p)^(1/p)` over `dim` (all dims by default). */
export const norm: (x: Tensor, ...args: NormArgs) => Tensor = entered(
  'norm',
  (x: Tensor, ...args: NormArgs): Tensor => {
    const { p, dim, keepdim, dtype } = readNorm(args);
    const source = dtype === null ? x : to(x, dtype);
    if (!isFloatingPoint(source.dtype))
      throw new Error(`norm: expected a float tensor, got ${x.dtype}; convert it with .to('float32')`);
    const order = p === null || p === 'fro' ? 2 : p;
    if (typeof order !== 'number')
      throw new Error(`norm: p must be a number or 'fro', got ${JSON.stringify(order)}`);
    return normOp(source, order, normalizeDims('norm', dim, x.ndim), keepdim);
  },
);
