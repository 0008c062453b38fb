import { checkCount } from '../../tensor/options.js';
import { defineOp } from '../../autograd/define.js';
import { e, type Expr } from '../../kernels/expr/expr.js';
import type { Tensor } from '../../tensor/tensor.js';
import { gt } from '../pointwise/compare.js';
import { cat } from '../shape/join.js';
import { matmul } from '../matmul/matmul.js';
import { abs, add, ceil, clamp, div, exp2, log2, mul, neg } from '../pointwise/pointwise.js';
import { amax } from '../reduce/reduce.js';
import { rowFunction, type PointwiseFn } from '../base/row.js';
import { sumDims } from '../base/sum-to.js';
import { zerosLike } from '../creation/creation.js';
import { detach, narrow } from '../base/view.js';
import { where } from '../pointwise/where.js';
import { checkSquare, identityLike, mT, rowsOf, working } from './batch.js';

/** Of norms up to this, the eighth Taylor polynomial is exact in float32. */
const reach = 0.5;
/** Squarings at most: of a norm above 2^23 float32 has no right digit left, and the exponential is NaN. */
const most = 24;

/** The largest sum of a column of each matrix, [..., 1, 1]. */
const normOf = (a: Tensor): Tensor => amax(sumDims(abs(a), [a.ndim - 2], true), -1, true);

/** `squared` where more than `done` squarings are wanted. */
const squaredRow: PointwiseFn = rowFunction({
  name: 'matrixExp',
  kind: 'promote',
  expr: (out: Expr, squared: Expr, times: Expr, done: Expr) => e.select(e.gt(times, done), squared, out),
});

/**
 * Scaled by a power of two for each matrix, Taylor's polynomial in four products (M. Paterson, L. Stockmeyer,
 * 1973), squared back. How often is known on the GPU only, so all squarings are done where any might be.
 */
function exponential(a: Tensor): Tensor {
  if (a.numel() === 0) return working(a);
  const times = clamp(ceil(log2(mul(normOf(a), 1 / reach))), { min: 0 });
  const x = mul(a, where(gt(times, most), NaN, exp2(neg(times))));
  const x2 = matmul(x, x);
  const x3 = matmul(x2, x);
  const x4 = matmul(x2, x2);
  const sum = (...terms: readonly (readonly [Tensor, number])[]): Tensor =>
    terms.map(([t, by]) => (by === 1 ? t : mul(t, by))).reduce((s, t) => add(s, t));
  const one = identityLike(a, rowsOf(a), rowsOf(a));
  const high = sum([x4, 1 / 40320], [x3, 1 / 5040], [x2, 1 / 720], [x, 1 / 120], [one, 1 / 24]);
  let out = sum([matmul(x4, high), 1], [x3, 1 / 6], [x2, 1 / 2], [x, 1], [one, 1]);
  for (let i = 0; i < most; i++) out = squaredRow(out, matmul(out, out), times, i);
  return out;
}

const matrixExpOp: (a: Tensor) => Tensor = defineOp<[Tensor], Tensor>({
  name: 'matrixExp',
  forward(ctx, a) {
    ctx.save(a);
    return exponential(a);
  },
  backward(ctx, grad) {
    const a = mT(ctx.saved[0] as Tensor);
    const n = rowsOf(a);
    return [
      () => {
        // exp([[A, G], [0, A]]) has the derivative of exp at A towards G in its corner (R. Mathias, 1996).
        // It is linear in G, which is made small so that A alone decides how often is squared.
        const norm = normOf(detach(grad));
        const scale = where(gt(norm, 0), norm, 1);
        const block = cat([cat([a, div(grad, scale)], -1), cat([zerosLike(a), a], -1)], -2);
        return mul(narrow(narrow(matrixExpOp(block), -2, 0, n), -1, n, n), scale);
      },
    ];
  },
});

/**
 * `torch.linalg.matrix_exp`: exponentials of square matrices. Those of a norm (largest sum of a column's
 * magnitudes) above 2^23 are NaN.
 */
export function matrixExp(a: Tensor): Tensor {
  checkCount('matrixExp', arguments.length, 1);
  checkSquare('linalg.matrixExp', a);
  return matrixExpOp(a);
}
