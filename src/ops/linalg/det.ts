import { checkCount } from '../../tensor/options.js';
import { defineComposite, defineOp } from '../../autograd/define.js';
import { isGradEnabled } from '../../autograd/mode.js';
import type { Tensor } from '../../tensor/tensor.js';
import { to } from '../base/copy.js';
import { arange, eye, zerosLike } from '../creation/creation.js';
import { eq, le } from '../pointwise/compare.js';
import { matmul } from '../matmul/matmul.js';
import { abs, add, log, mul, sign, sub } from '../pointwise/pointwise.js';
import { amax, amin, prod } from '../reduce/reduce.js';
import { sumDims } from '../base/sum-to.js';
import { diagonal } from '../shape/diagonal.js';
import { unsqueeze } from '../base/view.js';
import { where } from '../pointwise/where.js';
import { checkSquare, diagonalMatrix, mT, rowsOf } from './batch.js';
import { factorLu, luSolution } from './lu.js';
import { solveOp } from './solve.js';
import { svdOp } from './svd.js';

const diagonalOf = (x: Tensor): Tensor => diagonal(x, { dim1: -2, dim2: -1 });

/** The determinant of the permutation: -1 for each row that was exchanged with another. */
function parity(lu: Tensor, pivots: Tensor): Tensor {
  const own = arange(1, rowsOf(lu) + 1, 1, { dtype: 'int32' });
  return prod(sub(mul(to(eq(pivots, own), 'float32'), 2), 1), -1);
}

/** Of `[..., n]`, along the last dim: the product of all others. Finite where some are zero. */
function productsOfOthers(s: Tensor): Tensor {
  const n = s.shape[s.ndim - 1] as number;
  return prod(where(eq(eye(n), 1), 1, unsqueeze(s, -2)), -1);
}

const perMatrix = (x: Tensor): Tensor => unsqueeze(unsqueeze(x, -1), -1);

/**
 * Cofactors times `g`, to be differentiated again. By `det A^-T` where the pivots are far from zero, else by
 * the singular values, which needs no inverse; each formula sees a harmless matrix where the other one
 * counts.
 */
function cofactors(a: Tensor, lu: Tensor, g: Tensor): Tensor {
  const n = rowsOf(a);
  const pivots = abs(diagonalOf(lu));
  const marks = perMatrix(le(amin(pivots, -1), mul(amax(pivots, -1), 1e-3)));
  const regular = where(marks, eye(n), a);
  const scale = diagonalMatrix(mul(unsqueeze(mul(g, detOp(regular)), -1), onesRow(n)));
  const byInverse = solveOp(mT(regular), scale, undefined)[0];
  const other = where(marks, a, diagonalMatrix(arange(1, n + 1, 1, { dtype: 'float32' })));
  const [u, s, vh] = svdOp(other, false);
  const sides = mul(mul(detOp(u), detOp(vh)), g);
  const d = mul(productsOfOthers(s), unsqueeze(sides, -1));
  const bySvd = matmul(mul(u, unsqueeze(d, -2)), vh);
  return where(marks, bySvd, byInverse);
}

const onesRow = (n: number): Tensor => diagonalOf(eye(n));

/** @internal */
export const detOp: (a: Tensor) => Tensor = defineOp<[Tensor], Tensor>({
  name: 'det',
  forward(ctx, a) {
    const [lu, pivots] = factorLu(a, true);
    ctx.save(a, lu, pivots);
    return mul(prod(diagonalOf(lu), -1), parity(lu, pivots));
  },
  backward(ctx, grad) {
    const [a, lu, pivots] = ctx.saved as [Tensor, Tensor, Tensor];
    return [
      () => {
        if (a.numel() === 0) return zerosLike(a);
        if (isGradEnabled()) return cofactors(a, lu, grad);
        // With a tiny pivot in place of a zero one, the determinant and the inverse fit each other.
        const zero = where(eq(diagonalOf(lu), 0), 2 ** -23, 0);
        const regular = add(lu, diagonalMatrix(zero));
        const own = mul(prod(diagonalOf(regular), -1), parity(lu, pivots));
        const scale = mul(unsqueeze(mul(grad, own), -1), onesRow(rowsOf(a)));
        return luSolution(regular, pivots, diagonalMatrix(scale), true);
      },
    ];
  },
});

/** `torch.linalg.det`: determinants of square matrices; 0 for singular ones. */
export function det(a: Tensor): Tensor {
  checkCount('det', arguments.length, 1);
  checkSquare('linalg.det', a);
  return detOp(a);
}

const slogdetOp: (a: Tensor) => [Tensor, Tensor] = defineOp<[Tensor], [Tensor, Tensor]>({
  name: 'slogdet',
  forward(ctx, a) {
    const [lu, pivots] = factorLu(a, true);
    const d = diagonalOf(lu);
    ctx.save(a, lu, pivots);
    return [mul(prod(sign(d), -1), parity(lu, pivots)), sumDims(log(abs(d)), [d.ndim - 1], false)];
  },
  backward(ctx, _, grad) {
    const [a, lu, pivots] = ctx.saved as [Tensor, Tensor, Tensor];
    return [
      () => {
        const scale = diagonalMatrix(mul(unsqueeze(grad, -1), onesRow(rowsOf(a))));
        return isGradEnabled() ? solveOp(mT(a), scale, undefined)[0] : luSolution(lu, pivots, scale, true);
      },
    ];
  },
});

/**
 * `torch.linalg.slogdet`: [sign, logarithm of the absolute value] of determinants; [0, -Infinity] for a
 * singular matrix.
 */
export function slogdet(a: Tensor): [sign: Tensor, logabsdet: Tensor] {
  checkCount('slogdet', arguments.length, 1);
  checkSquare('linalg.slogdet', a);
  return slogdetOp(a);
}

/** `torch.logdet`: the logarithm of the determinant; NaN where that is negative. */
export const logdet: (a: Tensor) => Tensor = defineComposite(
  'logdet',
  (a: Tensor): Tensor => {
    checkSquare('logdet', a);
    const [signs, logs] = slogdetOp(a);
    return where(eq(signs, -1), NaN, logs);
  },
  1,
);
