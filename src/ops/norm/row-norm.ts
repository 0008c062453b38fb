import { runtime } from '../../device/index.js';
import { defineOp } from '../../autograd/define.js';
import { isGradEnabled } from '../../autograd/mode.js';
import {
  fitsRowNorm,
  planRowNorm,
  planRowNormAffineGrad,
  planRowNormInputGrad,
  type RowNormProblem,
} from '../../kernels/norm/rows.js';
import { numel, sameShape } from '../../tensor/shape.js';
import { Tensor } from '../../tensor/tensor.js';
import { rowMajor } from '../base/copies.js';
import { runPlan } from '../base/run-plan.js';
import { sumTo } from '../base/sum-to.js';
import { add, mul, rsqrt, sub } from '../pointwise/pointwise.js';
import { mean } from '../reduce/reduce.js';

export interface RowNorm {
  /** For labels. */
  readonly name: string;
  /** How many of the last dims share their statistics. */
  readonly dims: number;
  /** Divide by the root of the mean square, without a mean. */
  readonly rms: boolean;
  readonly eps: number;
}

/** Row-major from its first element on, as a kernel binds it. */
const isRowMajor = (t: Tensor): boolean => t.isContiguous() && t.offset === 0;

/**
 * Whether {@link rowNorm} takes these operands: float32, `x` in row-major order, and the affine map's shape
 * that of the last dims.
 */
export function isRowNorm(x: Tensor, affine: readonly (Tensor | null)[], { dims }: RowNorm): boolean {
  const sizes = x.shape.slice(x.ndim - dims);
  const classes = numel(sizes);
  if (x.numel() === 0 || !isRowMajor(x)) return false;
  if (affine.some((t) => t !== null && (t.dtype !== 'float32' || !sameShape(t.shape, sizes)))) return false;
  const { target, maxBinding } = runtime();
  return x.dtype === 'float32' && fitsRowNorm(target, { rows: x.numel() / classes, classes }, maxBinding);
}

interface State {
  readonly norm: RowNorm;
  readonly problem: RowNormProblem;
}

/** Layer norm or RMS norm over the last dims, of operands for which {@link isRowNorm} holds. */
export const rowNorm: (x: Tensor, weight: Tensor | null, bias: Tensor | null, norm: RowNorm) => Tensor =
  defineOp<[Tensor, Tensor | null, Tensor | null, RowNorm], Tensor, State>({
    name: 'rowNorm',
    forward(ctx, x, weight, bias, norm) {
      const { name, dims, rms, eps } = norm;
      const classes = numel(x.shape.slice(x.ndim - dims));
      const rows = x.numel() / classes;
      const problem = { rows, classes, rms, scaled: weight !== null, shifted: bias !== null };
      ctx.state = { norm, problem };
      const y = Tensor.empty(x.shape, 'float32', name);
      const stats = Tensor.empty([rms ? 1 : 2, rows], 'float32', `${name} (statistics)`);
      runPlan(name, planRowNorm(runtime().target, problem, eps), {
        x,
        y,
        stats,
        gamma: weight === null ? undefined : rowMajor(weight),
        beta: bias === null ? undefined : rowMajor(bias),
      });
      ctx.save(x, stats, weight);
      return y;
    },
    backward(ctx, grad) {
      const { norm, problem } = ctx.state;
      const [x, stats, weight] = ctx.saved as [Tensor, Tensor, Tensor | null];
      if (isGradEnabled()) return differentiable(x, weight, grad, ctx.state);
      const name = `${norm.name}Backward`;
      const { target } = runtime();
      const dy = rowMajor(grad);
      const blank = (shape: readonly number[]): Tensor => Tensor.empty(shape, 'float32', name);
      let affine: { dgamma: Tensor; dbeta?: Tensor } | undefined;
      const affineGrads = (): { dgamma: Tensor; dbeta?: Tensor } => {
        if (affine !== undefined) return affine;
        const sizes = x.shape.slice(x.ndim - norm.dims);
        affine = { dgamma: blank(sizes), ...(problem.shifted && { dbeta: blank(sizes) }) };
        runPlan(name, planRowNormAffineGrad(target, problem), { x, dy, stats, ...affine });
        return affine;
      };
      return [
        () => {
          const dx = blank(x.shape);
          const gamma = weight === null ? undefined : rowMajor(weight);
          runPlan(name, planRowNormInputGrad(target, problem), { x, dy, dx, stats, gamma });
          return dx;
        },
        ...(problem.scaled ? [() => affineGrads().dgamma] : []),
        ...(problem.shifted ? [() => affineGrads().dbeta as Tensor] : []),
      ];
    },
  });

/** The same gradients made of ordinary ops, for `createGraph`. */
function differentiable(
  x: Tensor,
  weight: Tensor | null,
  dy: Tensor,
  { norm, problem }: State,
): (() => Tensor)[] {
  const { dims, rms, eps } = norm;
  const last = Array.from({ length: dims }, (_, i) => x.ndim - dims + i);
  const sizes = x.shape.slice(x.ndim - dims);
  const average = (t: Tensor): Tensor => mean(t, last, { keepdim: true });
  const centred = rms ? x : sub(x, average(x));
  const invstd = rsqrt(add(average(mul(centred, centred)), eps));
  const h = mul(centred, invstd);
  const dx = (): Tensor => {
    const g = weight === null ? dy : mul(dy, weight);
    const pulled = sub(g, mul(h, average(mul(g, h))));
    return mul(invstd, rms ? pulled : sub(pulled, average(g)));
  };
  return [
    dx,
    ...(problem.scaled ? [() => sumTo(mul(dy, h), sizes)] : []),
    ...(problem.shifted ? [() => sumTo(dy, sizes)] : []),
  ];
}
