import { defineComposite, defineOp } from '../../autograd/define.js';
import { qrLaunch } from '../../kernels/linalg/factor.js';
import { noMore, optionReader, type Trailing } from '../../tensor/options.js';
import { showShape } from '../../tensor/shape.js';
import { Tensor } from '../../tensor/tensor.js';
import { zeros } from '../creation/creation.js';
import { fillInto } from '../base/copies.js';
import { cat, tril, triu } from '../shape/join.js';
import { matmul } from '../matmul/matmul.js';
import { add, mul, sub } from '../pointwise/pointwise.js';
import { narrow, unsqueeze } from '../base/view.js';
import {
  batchOf,
  checkMatrix,
  columnsOf,
  countOf,
  identityLike,
  mT,
  rowsOf,
  runLaunches,
  target,
  working,
} from './batch.js';
import { triangularOp, triangularSolution } from './triangular.js';

/** @internal Householder QR outside the tape: R with the reflectors below its diagonal, and their factors. */
export function factorQr(a: Tensor): [h: Tensor, tau: Tensor] {
  const [rows, columns] = [rowsOf(a), columnsOf(a)];
  const h = working(a);
  const tau = Tensor.empty([...batchOf(a), Math.min(rows, columns)], 'float32', 'qr');
  if (h.numel() > 0)
    runLaunches('qr', [qrLaunch(target(), { count: countOf(a), rows, columns })], { a: h, tau });
  else if (tau.numel() > 0) fillInto(tau, 0);
  return [h, tau];
}

/** `torch.geqrf`: [R with the reflectors of Q below its diagonal, tau]. Has no gradient, as in PyTorch. */
export function geqrf(a: Tensor): [a: Tensor, tau: Tensor] {
  noMore('geqrf', arguments, 1);
  return factors(a);
}

const factors = defineOp<[Tensor], [Tensor, Tensor]>({
  name: 'geqrf',
  forward(_, a) {
    checkMatrix('geqrf', a);
    return factorQr(a);
  },
});

/**
 * Reflectors `I - tau v v^T`, multiplied, are `I - V T V^T` with `T = (I + D S)^-1 D`, D the diagonal of tau
 * and S what is above the diagonal of `V^T V` (R. Schreiber, C. Van Loan, 1989). This is V and T V^T.
 */
function reflectors(h: Tensor, tau: Tensor): [v: Tensor, w: Tensor] {
  const k = tau.shape[tau.ndim - 1] as number;
  const v = add(tril(narrow(h, -1, 0, k), -1), identityLike(h, rowsOf(h), k));
  const d = unsqueeze(tau, -1);
  const s = mul(d, triu(matmul(mT(v), v), 1));
  return [v, triangularOp(s, mul(d, mT(v)), true, true)];
}

/** @internal The first `columns` columns of Q. */
export function columnsOfQ(h: Tensor, tau: Tensor, columns: number): Tensor {
  const identity = identityLike(h, rowsOf(h), columns);
  const [v, w] = reflectors(h, tau);
  return sub(identity, matmul(v, narrow(w, -1, 0, columns)));
}

function checkReflectors(op: string, h: Tensor, tau: Tensor): void {
  checkMatrix(op, h);
  const k = tau.shape[tau.ndim - 1] as number;
  if (rowsOf(h) < columnsOf(h) || tau.ndim !== h.ndim - 1 || k > columnsOf(h))
    throw new Error(
      `${op}: expected reflectors [..., m, n] with m >= n and tau [..., k] with k <= n, got ${showShape(h.shape)} and ${showShape(tau.shape)}`,
    );
}

/**
 * `torch.linalg.householder_product`: the first n columns of the product of k reflectors, for h [..., m, n]
 * and tau [..., k].
 */
export const householderProduct: (h: Tensor, tau: Tensor) => Tensor = defineComposite(
  'linalg.householderProduct',
  (h: Tensor, tau: Tensor): Tensor => {
    checkReflectors('linalg.householderProduct', h, tau);
    return columnsOfQ(h, tau, columnsOf(h));
  },
  2,
);

/** `torch.orgqr`: see {@link householderProduct}. */
export const orgqr: (h: Tensor, tau: Tensor) => Tensor = householderProduct;

export interface OrmqrOptions {
  /** False: `C Q`. Default true. */
  left?: boolean;
  /** Q transposed. */
  transpose?: boolean;
}

const readOrmqr = optionReader('ormqr', { left: true, transpose: false }, 'left', 'transpose');

/** `torch.ormqr`: `Q C` (or `C Q`, or with Q transposed) for the Q of {@link geqrf}'s results. */
export const ormqr: (
  h: Tensor,
  tau: Tensor,
  c: Tensor,
  ...args: Trailing<[left: boolean, transpose: boolean], OrmqrOptions>
) => Tensor = defineComposite('ormqr', (h: Tensor, tau: Tensor, c: Tensor, ...args: unknown[]): Tensor => {
  const { left, transpose } = readOrmqr(args);
  checkMatrix('ormqr', h);
  checkMatrix('ormqr', c);
  if (rowsOf(h) !== (left ? rowsOf(c) : columnsOf(c)))
    throw new Error(`ormqr: reflectors ${showShape(h.shape)} do not fit ${showShape(c.shape)}`);
  if (tau.numel() === 0) return working(c);
  const [v, w] = reflectors(h, tau);
  const x = left ? c : mT(c);
  const flip = transpose === left;
  const y = sub(x, flip ? matmul(mT(w), matmul(mT(v), x)) : matmul(v, matmul(w, x)));
  return left ? y : mT(y);
});

/**
 * With no more columns than rows: `(gQ + Q M) R^-T`, M the symmetric matrix with the lower triangle of
 * `R gR^T - gQ^T Q`.
 */
function qrGrad(q: Tensor, r: Tensor, gQ: Tensor, gR: Tensor): Tensor {
  const lower = sub(matmul(r, mT(gR)), matmul(mT(gQ), q));
  const m = add(tril(lower), mT(tril(lower, -1)));
  return triangularSolution('qr', mT(r), add(gQ, matmul(q, m)), { upper: false, left: false });
}

type Mode = 'reduced' | 'complete' | 'r';

const qrOp: (a: Tensor, mode: Mode) => [Tensor, Tensor] = defineOp<[Tensor, Mode], [Tensor, Tensor], Mode>({
  name: 'qr',
  forward(ctx, a, mode) {
    ctx.state = mode;
    const [m, k] = [rowsOf(a), Math.min(rowsOf(a), columnsOf(a))];
    const [h, tau] = factorQr(a);
    const columns = mode === 'complete' ? m : k;
    const r = triu(narrow(h, -2, 0, Math.min(columns, m)));
    const q = mode === 'r' ? zeros([0]) : columnsOfQ(h, tau, columns);
    ctx.save(a, q, r);
    return [q, r];
  },
  backward(ctx, gQ, gR) {
    const [a, q, r] = ctx.saved as [Tensor, Tensor, Tensor];
    const [m, n] = [rowsOf(a), columnsOf(a)];
    if (ctx.state === 'r') throw new Error("linalg.qr: mode 'r' has no gradient; use mode 'reduced'");
    if (ctx.state === 'complete' && m > n)
      throw new Error(
        "linalg.qr: mode 'complete' has a gradient only where there are no more rows than columns; use mode 'reduced'",
      );
    return [
      () => {
        if (m >= n) return qrGrad(q, r, gQ, gR);
        // R = [U, V] with V = Q^T Y, Y the columns of A past the square.
        const [y, gV] = [narrow(a, -1, m, n - m), narrow(gR, -1, m, n - m)];
        const square = qrGrad(q, narrow(r, -1, 0, m), add(gQ, matmul(y, mT(gV))), narrow(gR, -1, 0, m));
        return cat([square, matmul(q, gV)], -1);
      },
    ];
  },
});

export interface QrOptions {
  /** 'reduced' (default): Q [..., m, k], R [..., k, n]; 'complete': Q [..., m, m]; 'r': R, and Q is empty. */
  mode?: Mode;
}

const readQr = optionReader('linalg.qr', { mode: 'reduced' as Mode }, 'mode');

/** `torch.linalg.qr`: [Q, R] with `A = Q R`, signs as LAPACK has them. */
export function qr(a: Tensor, ...args: Trailing<[mode: Mode], QrOptions>): [q: Tensor, r: Tensor] {
  const { mode } = readQr(args);
  if (mode !== 'reduced' && mode !== 'complete' && mode !== 'r')
    throw new Error(`linalg.qr: mode ${String(mode)} is none of 'reduced', 'complete', 'r'`);
  checkMatrix('linalg.qr', a);
  return qrOp(a, mode);
}
