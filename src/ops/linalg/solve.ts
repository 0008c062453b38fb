import { defineComposite, defineOp } from '../../autograd/define.js';
import { isGradEnabled } from '../../autograd/mode.js';
import { checkCount, optionReader, type Trailing } from '../../tensor/options.js';
import { broadcastShapes, sameShape } from '../../tensor/shape.js';
import type { Tensor } from '../../tensor/tensor.js';
import { matmul } from '../matmul/matmul.js';
import { neg } from '../pointwise/pointwise.js';
import { squeeze, unsqueeze } from '../base/view.js';
import {
  batchOf,
  broadcastBatches,
  checkMatrix,
  checkSquare,
  columnsOf,
  identityLike,
  mT,
  rowsOf,
} from './batch.js';
import { factorLu, luSolution } from './lu.js';
import { clash } from './triangular.js';

type WithInfo = [result: Tensor, info: Tensor];

/** @internal X of `A X = B`, of equal batches, and LU's `info`. */
export const solveOp: (a: Tensor, b: Tensor, loud: string | undefined) => WithInfo = defineOp<
  [Tensor, Tensor, string | undefined],
  WithInfo
>({
  name: 'solve',
  forward(ctx, a, b, loud) {
    const [factors, pivots, info] = factorLu(a, true, loud);
    const x = luSolution(factors, pivots, b, false);
    ctx.save(a, factors, pivots, ctx.needs[0] ? x : null);
    return [x, info];
  },
  backward(ctx, grad) {
    const [a, factors, pivots, x] = ctx.saved as [Tensor, Tensor, Tensor, Tensor];
    // What is differentiated again must see A itself, not its factors.
    const back = (): Tensor =>
      isGradEnabled() ? solveOp(mT(a), grad, undefined)[0] : luSolution(factors, pivots, grad, true);
    return [() => neg(matmul(back(), mT(x))), back];
  },
});

const inverseOp: (a: Tensor, loud: string | undefined) => WithInfo = defineOp<
  [Tensor, string | undefined],
  WithInfo
>({
  name: 'inv',
  forward(ctx, a, loud) {
    const [factors, pivots, info] = factorLu(a, true, loud);
    const x = luSolution(factors, pivots, identityLike(a, rowsOf(a), rowsOf(a)), false);
    ctx.save(x);
    return [x, info];
  },
  backward(ctx, grad) {
    const x = mT(ctx.saved[0] as Tensor);
    return [() => neg(matmul(x, matmul(grad, x)))];
  },
});

/**
 * `torch.linalg.inv`: inverses of square matrices.
 *
 * @throws (at the next await) DataError for a singular one
 */
export function inv(a: Tensor): Tensor {
  checkCount('linalg.inv', arguments.length, 1);
  checkSquare('linalg.inv', a);
  return inverseOp(a, 'linalg.inv')[0];
}

/** `torch.inverse`: see {@link inv}. */
export const inverse: (a: Tensor) => Tensor = inv;

export interface ExOptions {
  /** What `info` tells is an error (at the next await) as well. */
  checkErrors?: boolean;
}

const readInvEx = optionReader('linalg.invEx', { checkErrors: false }, 'checkErrors');

/** `torch.linalg.inv_ex`: [inverses, info], info being 0 or the first zero pivot, from 1. */
export function invEx(a: Tensor, ...args: Trailing<[checkErrors: boolean], ExOptions>): WithInfo {
  const op = 'linalg.invEx';
  const { checkErrors } = readInvEx(args);
  checkSquare(op, a);
  return inverseOp(a, checkErrors ? op : undefined);
}

export interface SolveOptions {
  /** False: solve `X A = B`. Default true. */
  left?: boolean;
}

/** B counts as a batch of vectors if it is one vector, or has A's shape without its last dim. */
function isVector(a: Tensor, b: Tensor): boolean {
  return b.ndim === 1 || (b.ndim === a.ndim - 1 && sameShape(b.shape, a.shape.slice(0, -1)));
}

function solution(op: string, a: Tensor, b: Tensor, left: boolean, loud: string | undefined): WithInfo {
  checkSquare(op, a);
  const vector = isVector(a, b);
  const right = vector ? unsqueeze(b, -1) : b;
  checkMatrix(op, right);
  if (vector && !left)
    throw new Error(`${op}: left: false needs matrices on the left, got a vector for each matrix`);
  const columns = left || vector ? right : mT(right);
  if (rowsOf(columns) !== columnsOf(a)) throw clash(op, a, b, left);
  broadcastShapes(op, batchOf(a), batchOf(columns));
  const [x, y] = broadcastBatches(op, left || vector ? a : mT(a), columns);
  const [out, info] = solveOp(x, y, loud);
  return [vector ? squeeze(out, -1) : left ? out : mT(out), info];
}

const readSolve = optionReader('linalg.solve', { left: true }, 'left');

/**
 * `torch.linalg.solve`: X of `A X = B` for A [..., n, n] and B [..., n, k] or [..., n]; batches broadcast.
 *
 * @throws (at the next await) DataError for a singular matrix
 */
export const solve: (a: Tensor, b: Tensor, ...args: Trailing<[left: boolean], SolveOptions>) => Tensor =
  defineComposite(
    'linalg.solve',
    (a: Tensor, b: Tensor, ...args: unknown[]): Tensor =>
      solution('linalg.solve', a, b, readSolve(args).left, 'linalg.solve')[0],
  );

const readSolveEx = optionReader('linalg.solveEx', { left: true, checkErrors: false }, 'left', 'checkErrors');

/** `torch.linalg.solve_ex`: [X, info], info being 0 or the first zero pivot, from 1. */
export const solveEx: (a: Tensor, b: Tensor, options?: SolveOptions & ExOptions) => WithInfo =
  defineComposite('linalg.solveEx', (a: Tensor, b: Tensor, ...args: unknown[]): WithInfo => {
    const op = 'linalg.solveEx';
    const { left, checkErrors } = readSolveEx(args);
    return solution(op, a, b, left, checkErrors ? op : undefined);
  });
