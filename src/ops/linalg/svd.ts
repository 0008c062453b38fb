import { defineComposite, defineOp } from '../../autograd/define.js';
import { jacobiRowsLaunches, movedBytes } from '../../kernels/linalg/jacobi.js';
import { svdLaunch } from '../../kernels/linalg/svd.js';
import { noMore, optionReader, type Trailing } from '../../tensor/options.js';
import { Tensor } from '../../tensor/tensor.js';
import { eye } from '../creation/creation.js';
import { eq, ge } from '../pointwise/compare.js';
import { to } from '../base/copy.js';
import { cat, triu } from '../shape/join.js';
import { matmul } from '../matmul/matmul.js';
import { add, mul, sub } from '../pointwise/pointwise.js';
import { sort } from '../index/sort.js';
import { norm } from '../reduce/statistics.js';
import { diagonal } from '../shape/diagonal.js';
import { narrow, unsqueeze } from '../base/view.js';
import { where } from '../pointwise/where.js';
import {
  batchOf,
  checkMatrix,
  columnsOf,
  countOf,
  identityLike,
  mT,
  quotient,
  rowsInOrder,
  rowsOf,
  runLaunches,
  smallSize,
  target,
  working,
} from './batch.js';
import { columnsOfQ, factorQr } from './qr.js';

type Parts = [u: Tensor, s: Tensor, v: Tensor];

/**
 * Larger matrices, as Q R: the rows of R are turned until they are orthogonal, `R = V W`, so that W has the
 * singular values in its rows' lengths (Z. Drmac, K. Veselic, "New fast and accurate Jacobi SVD algorithm",
 * 2008). Rows of length zero have a direction only by another QR.
 */
function byJacobi(a: Tensor, full: boolean): Parts {
  const [m, n] = [rowsOf(a), columnsOf(a)];
  const [h, tau] = factorQr(a);
  const w = working(triu(narrow(h, -2, 0, n)));
  const v = working(identityLike(a, n, n));
  runLaunches('svd', jacobiRowsLaunches(target(), countOf(a), n), { w, v }, { moved: movedBytes });
  const [s, order] = sort(norm(w, { dim: -1 }), { descending: true });
  const [rest, restTau] = factorQr(mT(rowsInOrder(w, order)));
  const signs = sub(mul(to(ge(diagonal(rest, { dim1: -2, dim2: -1 }), 0), 'float32'), 2), 1);
  const right = mul(columnsOfQ(rest, restTau, n), unsqueeze(signs, -2));
  const q = columnsOfQ(h, tau, full ? m : n);
  const left = matmul(narrow(q, -1, 0, n), mT(rowsInOrder(v, order)));
  return [full && m > n ? cat([left, narrow(q, -1, n, m - n)], -1) : left, s, right];
}

/** m >= n; V is not transposed. */
function tall(a: Tensor, full: boolean): Parts {
  const [m, n] = [rowsOf(a), columnsOf(a)];
  // LAPACK's bound (sgesdd): much taller matrices are made square first.
  if (m >= Math.floor((n * 11) / 6) && m > 1 && n > 0) {
    const [h, tau] = factorQr(a);
    const q = columnsOfQ(h, tau, full ? m : n);
    const [u, s, v] = tall(triu(narrow(h, -2, 0, n)), false);
    if (!full || m === n) return [matmul(q, u), s, v];
    return [cat([matmul(narrow(q, -1, 0, n), u), narrow(q, -1, n, m - n)], -1), s, v];
  }
  if (n > smallSize) return byJacobi(a, full);
  const width = full ? m : n;
  const u = Tensor.empty([...batchOf(a), m, width], 'float32', 'svd');
  const s = Tensor.empty([...batchOf(a), n], 'float32', 'svd');
  const v = Tensor.empty([...batchOf(a), n, n], 'float32', 'svd');
  if (s.numel() > 0) {
    const bytes = s.numel() * 4;
    runLaunches(
      'svd',
      [svdLaunch(target(), countOf(a), m, n, width)],
      { a: working(a), u, s, v },
      { e: bytes, tauQ: bytes, tauP: bytes },
    );
  } else if (u.numel() > 0) return [working(identityLike(a, m, width)), s, v];
  return [u, s, v];
}

function decompose(a: Tensor, full: boolean): Parts {
  if (rowsOf(a) >= columnsOf(a)) return tall(a, full);
  const wide = columnsOf(a) >= Math.floor((rowsOf(a) * 11) / 6);
  if (!wide || rowsOf(a) < 1) {
    const [u, s, v] = tall(mT(a), full);
    return [v, s, u];
  }
  // The square factor is decomposed as LAPACK has it, lower triangular.
  const [m, n] = [rowsOf(a), columnsOf(a)];
  const [h, tau] = factorQr(mT(a));
  const q = columnsOfQ(h, tau, full ? n : m);
  const [u, s, v] = tall(mT(triu(narrow(h, -2, 0, m))), false);
  const first = matmul(narrow(q, -1, 0, m), v);
  return [u, s, full && n > m ? cat([first, narrow(q, -1, m, n - m)], -1) : first];
}

/** @internal [U, S, V^T]. */
export const svdOp: (a: Tensor, full: boolean) => [u: Tensor, s: Tensor, vh: Tensor] = defineOp<
  [Tensor, boolean],
  [Tensor, Tensor, Tensor]
>({
  name: 'svd',
  forward(ctx, a, full) {
    const [u, s, v] = decompose(a, full);
    const vh = working(mT(v));
    ctx.save(u, s, vh);
    return [u, s, vh];
  },
  backward(ctx, gU, gS, gVh) {
    const [u, s, vh] = ctx.saved as [Tensor, Tensor, Tensor];
    return [() => svdGrad(u, s, vh, gU, gS, gVh)];
  },
});

const skew = (x: Tensor): Tensor => sub(x, mT(x));

/**
 * `U ((skew(U^T gU) / E) S + S (skew(V^T gV) / E) + diag(gS)) V^T` with `E[i, j] = s[j]^2 - s[i]^2`, and what
 * turns out of the spaces of U and V where these are not square. Vectors past the singular values have no
 * gradient, as in PyTorch.
 */
function svdGrad(u: Tensor, s: Tensor, vh: Tensor, gU: Tensor, gS: Tensor, gVh: Tensor): Tensor {
  const [m, n] = [rowsOf(u), columnsOf(vh)];
  const k = s.shape[s.ndim - 1] as number;
  const [left, right] = [narrow(u, -1, 0, k), narrow(vh, -2, 0, k)];
  const [gLeft, gRight] = [narrow(gU, -1, 0, k), narrow(gVh, -2, 0, k)];
  const own = eq(eye(k), 1);
  const [row, column] = [unsqueeze(s, -2), unsqueeze(s, -1)];
  const gaps = where(own, 1, mul(sub(row, column), add(row, column)));
  const inU = mul(quotient(skew(matmul(mT(left), gLeft)), gaps), row);
  const inV = mul(column, quotient(skew(matmul(right, mT(gRight))), gaps));
  const inner = where(own, unsqueeze(gS, -2), add(inU, inV));
  let out = matmul(matmul(left, inner), right);
  if (m > k) {
    const g = quotient(gLeft, row);
    out = add(out, matmul(sub(g, matmul(left, matmul(mT(left), g))), right));
  }
  if (n > k) {
    const g = quotient(gRight, column);
    out = add(out, matmul(left, sub(g, matmul(matmul(g, mT(right)), right))));
  }
  return out;
}

const valuesOp: (a: Tensor) => Tensor = defineComposite('svdvals', (a: Tensor): Tensor => svdOp(a, false)[1]);

export interface SvdOptions {
  /** U and V^T are square. Default true. */
  fullMatrices?: boolean;
  /** cuSOLVER's algorithms in PyTorch; only null here. */
  driver?: null;
}

const readSvd = optionReader('linalg.svd', { fullMatrices: true, driver: null }, 'fullMatrices');
const readSvdvals = optionReader('linalg.svdvals', { driver: null });

/**
 * `torch.linalg.svd`: [U, S, V^T] with `A = U diag(S) V^T`, S descending. The gradient of vectors is infinite
 * where singular values are equal.
 */
export function svd(
  a: Tensor,
  ...args: Trailing<[fullMatrices: boolean], SvdOptions>
): [u: Tensor, s: Tensor, vh: Tensor] {
  const { fullMatrices } = readSvd(args);
  checkMatrix('linalg.svd', a);
  return svdOp(a, fullMatrices);
}

/** `torch.linalg.svdvals`: singular values, descending. */
export function svdvals(a: Tensor, options?: { driver?: null }): Tensor {
  noMore('linalg.svdvals', arguments, 2);
  readSvdvals(options === undefined ? [] : [options]);
  checkMatrix('linalg.svdvals', a);
  return valuesOp(a);
}
