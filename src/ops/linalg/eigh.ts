import { defineComposite, defineOp } from '../../autograd/define.js';
import { eighLaunch } from '../../kernels/linalg/eigh.js';
import { jacobiEighLaunches, movedBytes, turnsBytes } from '../../kernels/linalg/jacobi.js';
import { optionReader, type Trailing } from '../../tensor/options.js';
import { Tensor } from '../../tensor/tensor.js';
import { eye } from '../creation/creation.js';
import { eq } from '../pointwise/compare.js';
import { flip, tril, triu } from '../shape/join.js';
import { matmul } from '../matmul/matmul.js';
import { add, mul, sub } from '../pointwise/pointwise.js';
import { sort } from '../index/sort.js';
import { diagonal } from '../shape/diagonal.js';
import { unsqueeze } from '../base/view.js';
import { where } from '../pointwise/where.js';
import {
  batchOf,
  checkSquare,
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

/** Larger matrices are turned diagonal in parallel. */
function byJacobi(a: Tensor, upper: boolean): [Tensor, Tensor] {
  const n = rowsOf(a);
  const one = upper ? triu(a) : tril(a);
  const x = working(add(one, mT(upper ? triu(a, 1) : tril(a, -1))));
  const v = working(identityLike(a, n, n));
  const count = countOf(a);
  runLaunches(
    'eigh',
    jacobiEighLaunches(target(), count, n),
    { a: x, v },
    { moved: movedBytes, turns: turnsBytes(count, n) },
  );
  const [values, order] = sort(diagonal(x, { dim1: -2, dim2: -1 }));
  return [values, mT(rowsInOrder(v, order))];
}

/** Symmetric matrices by one triangle: values [..., n], ascending, and vectors [..., n, n], in columns. */
function decompose(a: Tensor, upper: boolean): [Tensor, Tensor] {
  const n = rowsOf(a);
  const values = Tensor.empty([...batchOf(a), n], 'float32', 'eigh');
  const vectors = Tensor.empty(a.shape, 'float32', 'eigh');
  if (vectors.numel() === 0) return [values, vectors];
  if (n > smallSize) return byJacobi(a, upper);
  const x = upper ? flip(a, [-2, -1]) : working(a);
  const bytes = values.numel() * 4;
  runLaunches(
    'eigh',
    [eighLaunch(target(), countOf(a), n, upper)],
    { a: x, d: values, z: vectors },
    { e: bytes, tau: bytes },
  );
  return [values, vectors];
}

/** @internal */
export const eighOp: (a: Tensor, upper: boolean) => [values: Tensor, vectors: Tensor] = defineOp<
  [Tensor, boolean],
  [Tensor, Tensor]
>({
  name: 'eigh',
  forward(ctx, a, upper) {
    const out = decompose(a, upper);
    ctx.save(...out);
    return out;
  },
  backward(ctx, gValues, gVectors) {
    const [values, vectors] = ctx.saved as [Tensor, Tensor];
    return [
      () => {
        const own = eq(eye(rowsOf(vectors)), 1);
        const gaps = where(own, 1, sub(unsqueeze(values, -2), unsqueeze(values, -1)));
        const w = matmul(mT(vectors), gVectors);
        const turned = quotient(mul(sub(w, mT(w)), 0.5), gaps);
        const inner = where(own, unsqueeze(gValues, -2), turned);
        return matmul(vectors, matmul(inner, mT(vectors)));
      },
    ];
  },
});

export interface TriangleOption {
  /** Which triangle is read: 'L' (default) or 'U'. */
  UPLO?: 'L' | 'U' | 'l' | 'u';
}

const readEigh = optionReader('linalg.eigh', { UPLO: 'L' }, 'UPLO');
const readEigvalsh = optionReader('linalg.eigvalsh', { UPLO: 'L' }, 'UPLO');

function isUpper(op: string, UPLO: string): boolean {
  if (!['L', 'U', 'l', 'u'].includes(UPLO)) throw new Error(`${op}: UPLO is '${UPLO}', expected 'L' or 'U'`);
  return UPLO.toUpperCase() === 'U';
}

/**
 * `torch.linalg.eigh`: [eigenvalues ascending, eigenvectors in columns] of symmetric matrices. Vectors have
 * LAPACK's signs for n up to 25.
 */
export function eigh(
  a: Tensor,
  ...args: Trailing<[UPLO: 'L' | 'U'], TriangleOption>
): [eigenvalues: Tensor, eigenvectors: Tensor] {
  const upper = isUpper('linalg.eigh', readEigh(args).UPLO);
  checkSquare('linalg.eigh', a);
  return eighOp(a, upper);
}

/** `torch.linalg.eigvalsh`: eigenvalues of symmetric matrices, ascending. */
export const eigvalsh: (a: Tensor, ...args: Trailing<[UPLO: 'L' | 'U'], TriangleOption>) => Tensor =
  defineComposite('linalg.eigvalsh', (a: Tensor, ...args: unknown[]): Tensor => {
    const upper = isUpper('linalg.eigvalsh', readEigvalsh(args).UPLO);
    checkSquare('linalg.eigvalsh', a);
    return eighOp(a, upper)[0];
  });

function complex(op: string, instead: string): never {
  throw new Error(
    `linalg.${op}: eigenvalues of a matrix that is not symmetric are complex, and there are no complex tensors; for a symmetric one use linalg.${instead}`,
  );
}

/** `torch.linalg.eig`, which needs complex tensors. @throws always */
export const eig = (_: Tensor): never => complex('eig', 'eigh');
/** `torch.linalg.eigvals`, which needs complex tensors. @throws always */
export const eigvals = (_: Tensor): never => complex('eigvals', 'eigvalsh');
