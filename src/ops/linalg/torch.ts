/** Linear algebra that PyTorch has beside `torch.linalg`, some of it with other arguments and results. */
import { defineComposite } from '../../autograd/define.js';
import { checkCount, optionReader, type Trailing } from '../../tensor/options.js';
import { showShape } from '../../tensor/shape.js';
import { isTensor, type Tensor } from '../../tensor/tensor.js';
import { clone } from '../base/copy.js';
import { zeros } from '../creation/creation.js';
import { batchOf, checkMatrix, checkSquare, columnsOf, mT, rowsOf, working } from './batch.js';
import { cholesky as choleskyOf, type UpperOption } from './cholesky.js';
import { multiDot, pinv } from './functions.js';
import { luOp, luSolve as luSolveOf, type Factored } from './lu.js';
import { qr as qrOf } from './qr.js';
import { svdOp } from './svd.js';
import { clash, triangularSolution } from './triangular.js';

export { choleskyInverse, choleskySolve } from './cholesky.js';
export { det, logdet, slogdet } from './det.js';
export { matrixPower } from './functions.js';
export { matrixExp } from './matrix-exp.js';
export { torchNorm as norm } from './norms.js';
export { geqrf, orgqr, ormqr } from './qr.js';
export { inverse } from './solve.js';

/** `torch.cholesky`: see `linalg.cholesky`. */
export const cholesky: (a: Tensor, ...args: Trailing<[upper: boolean], UpperOption>) => Tensor = choleskyOf;

const readPinverse = optionReader('pinverse', { rcond: 1e-15 }, 'rcond');

/** `torch.pinverse`: see `linalg.pinv`; singular values up to `rcond` times the largest count as zero. */
export const pinverse = (x: Tensor, ...args: Trailing<[rcond: number], { rcond?: number }>): Tensor =>
  pinv(x, readPinverse(args));

const readQr = optionReader('qr', { some: true }, 'some');

/** `torch.qr`: [Q, R]; `some` false: Q is square. See `linalg.qr`. */
export function qr(
  x: Tensor,
  ...args: Trailing<[some: boolean], { some?: boolean }>
): [q: Tensor, r: Tensor] {
  return qrOf(x, { mode: readQr(args).some ? 'reduced' : 'complete' });
}

const readSvd = optionReader('svd', { some: true, computeUv: true }, 'some', 'computeUv');

/** `torch.svd`: [U, S, V] with `A = U diag(S) V^T`, V not transposed; `some` false: U and V are square. */
export const svd: (
  x: Tensor,
  ...args: Trailing<[some: boolean, computeUv: boolean], { some?: boolean; computeUv?: boolean }>
) => [u: Tensor, s: Tensor, v: Tensor] = defineComposite(
  'svd',
  (x: Tensor, ...args: unknown[]): [Tensor, Tensor, Tensor] => {
    const { some, computeUv } = readSvd(args);
    checkMatrix('svd', x);
    const [u, s, vh] = svdOp(x, computeUv && !some);
    if (computeUv) return [u, s, mT(vh)];
    const zero = (n: number): Tensor => zeros([...batchOf(x), n, n]);
    return [zero(rowsOf(x)), s, zero(columnsOf(x))];
  },
);

const readLu = optionReader('lu', { pivot: true, getInfos: false }, 'pivot', 'getInfos');

/** `torch.lu`: [L and U in one matrix, pivots], with `getInfos` also info. */
export function lu(
  a: Tensor,
  ...args: Trailing<[pivot: boolean, getInfos: boolean], { pivot?: boolean; getInfos?: boolean }>
): Factored | [lu: Tensor, pivots: Tensor] {
  const { pivot, getInfos } = readLu(args);
  checkMatrix('lu', a);
  const [both, pivots, info] = luOp(a, pivot, undefined);
  return getInfos ? [both, pivots, info] : [both, pivots];
}

/** `torch.lu_solve`: X of `A X = B` from the factors of A. */
export function luSolve(b: Tensor, factors: Tensor, pivots: Tensor): Tensor {
  checkCount('luSolve', arguments.length, 3);
  return luSolveOf(factors, pivots, b);
}

const triangularDefaults = { upper: true, transpose: false, unitriangular: false };
const readTriangular = optionReader(
  'triangularSolve',
  triangularDefaults,
  'upper',
  'transpose',
  'unitriangular',
);

/** `torch.triangular_solve`: [X of `A X = B` (or of `A^T X = B`), a copy of A]. */
export const triangularSolve: (
  b: Tensor,
  a: Tensor,
  ...args: Trailing<
    [upper: boolean, transpose: boolean, unitriangular: boolean],
    Partial<typeof triangularDefaults>
  >
) => [solution: Tensor, copy: Tensor] = defineComposite(
  'triangularSolve',
  (b: Tensor, a: Tensor, ...args: unknown[]): [Tensor, Tensor] => {
    const op = 'triangularSolve';
    const { upper, transpose, unitriangular } = readTriangular(args);
    checkMatrix(op, b);
    checkSquare(op, a);
    if (rowsOf(b) !== rowsOf(a)) throw clash(op, a, b);
    const [matrix, isUpper] = transpose ? [mT(a), !upper] : [a, upper];
    return [triangularSolution(op, matrix, b, { upper: isUpper, unit: unitriangular }), working(a)];
  },
);

/** `torch.chain_matmul`: `linalg.multiDot` of matrices, of a single one a copy. */
export const chainMatmul: (...matrices: readonly Tensor[]) => Tensor = defineComposite(
  'chainMatmul',
  (...matrices: readonly Tensor[]): Tensor => {
    const [first] = matrices;
    if (first === undefined) throw new Error('chainMatmul: expected at least one matrix');
    matrices.forEach((x, i) => {
      if (!isTensor(x) || x.ndim !== 2)
        throw new Error(
          `chainMatmul: argument ${i} must be a matrix, got ${isTensor(x) ? showShape(x.shape) : String(x)}`,
        );
    });
    return matrices.length === 1 ? clone(first) : multiDot(matrices);
  },
);
