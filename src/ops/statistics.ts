import { defineComposite, defineOp } from '../autograd/define.js';
import { e, input } from '../kernels/expr/expr.js';
import { normP, reductions, type Reduction } from '../kernels/reduce/plan.js';
import { isFloatingPoint } from '../tensor/dtype.js';
import { normalizeDims } from '../tensor/shape.js';
import type { Tensor } from '../tensor/tensor.js';
import { eq } from './compare.js';
import { to } from './copy.js';
import { abs, div, mul, pow, sign, sqrt, sub } from './pointwise.js';
import { mean } from './reduce.js';
import { sumDims } from './sum-to.js';
import {
  countOf,
  parseDims,
  runReduce,
  spread,
  type DimArgs,
  type Dims,
  type KeepdimOptions,
  type Span,
} from './reduce-core.js';
import { maskedFill, where } from './where.js';

/* Variance, standard deviation and norms. */

export interface VarOptions extends KeepdimOptions {
  /** Subtracted from the count in the divisor. Default 1 (Bessel). */
  correction?: number;
  /** PyTorch's older name: true is correction 1, false is 0. */
  unbiased?: boolean;
}

interface VarState extends Span {
  readonly correction: number;
}

const varOp: (x: Tensor, dims: readonly number[], keepdim: boolean, correction: number) => Tensor = defineOp<
  [Tensor, readonly number[], boolean, number],
  Tensor,
  VarState
>({
  name: 'var',
  forward(ctx, x, dims, keepdim, correction) {
    ctx.state = { shape: x.shape, dims, correction };
    ctx.save(x);
    const recipe = { ...reductions.varMean, finish: [reductions.varMean.finish[0]] };
    return runReduce({
      name: 'var',
      recipe,
      inputs: [x],
      dims,
      keepdim,
      dtypes: [x.dtype],
      params: { correction },
    })[0] as Tensor;
  },
  backward(ctx, grad) {
    const x = ctx.saved[0] as Tensor;
    const { state } = ctx;
    const scale = 2 / (countOf(state) - state.correction);
    return [() => mul(spread(mul(grad, scale), state), sub(x, mean(x, state.dims, { keepdim: true })))];
  },
});

function variance(op: string, x: Tensor, args: DimArgs<VarOptions>): Tensor {
  const { dim, options } = parseDims<VarOptions>(args);
  if (!isFloatingPoint(x.dtype))
    throw new Error(`${op}: expected a float tensor, got ${x.dtype}; convert it with .to('float32')`);
  const correction = options.correction ?? (options.unbiased === false ? 0 : 1);
  return varOp(x, normalizeDims(op, dim, x.ndim), options.keepdim ?? false, correction);
}

/** `torch.var` (a reserved word in JavaScript as a function's name; `x.var(...)` works). */
function var_(x: Tensor, ...args: DimArgs<VarOptions>): Tensor {
  return variance('var', x, args);
}
export { var_ as var };

/** `torch.std`; its gradient at 0 is 0. */
export const std: (x: Tensor, ...args: DimArgs<VarOptions>) => Tensor = defineComposite(
  'std',
  (x: Tensor, ...args: DimArgs<VarOptions>): Tensor => {
    const v = variance('std', x, args);
    const flat = eq(v, 0);
    return where(flat, 0, sqrt(maskedFill(v, flat, 1)));
  },
);

export interface VectorNormOptions extends KeepdimOptions {
  /** Order: 2 by default; 0, 1, `Infinity`, `-Infinity` or any other number. */
  p?: number;
  dim?: Dims;
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
    const { p } = state;
    return [
      () => {
        const g = spread(grad, state);
        const n = spread(out, state);
        if (p === 0) return mul(x, 0);
        if (p === 1) return mul(g, sign(x));
        if (Math.abs(p) === Infinity) {
          const hit = to(eq(abs(x), n), 'float32');
          return mul(mul(g, sign(x)), div(hit, sumDims(hit, state.dims, true)));
        }
        const flat = eq(n, 0);
        const safe = maskedFill(n, flat, 1);
        const direction = p === 2 ? div(x, safe) : mul(mul(sign(x), pow(abs(x), p - 1)), pow(safe, 1 - p));
        return mul(g, maskedFill(direction, flat, 0));
      },
    ];
  },
});

function normRecipe(p: number): Reduction {
  if (p === 0) return reductions.norm0;
  if (p === 1) return reductions.norm1;
  if (p === 2) return reductions.norm2;
  if (p === Infinity) return reductions.normInf;
  if (p === -Infinity) return { op: 'min', map: e.abs(input(0)) };
  return normP(p);
}

/** `torch.norm` / `torch.linalg.vector_norm`: `sum(|x|^p)^(1/p)` over `dim` (all dims by default). */
export function norm(x: Tensor, options: VectorNormOptions = {}): Tensor {
  if (!isFloatingPoint(x.dtype))
    throw new Error(`norm: expected a float tensor, got ${x.dtype}; convert it with .to('float32')`);
  return normOp(x, options.p ?? 2, normalizeDims('norm', options.dim, x.ndim), options.keepdim ?? false);
}
