import { checkTensors } from '../base/tensors.js';
import { defineComposite, defineOp } from '../../autograd/define.js';
import { luLaunch, swapRowsLaunch } from '../../kernels/linalg/factor.js';
import { optionReader, type Trailing } from '../../tensor/options.js';
import { showShape } from '../../tensor/shape.js';
import { Tensor } from '../../tensor/tensor.js';
import { zeros } from '../creation/creation.js';
import { fillInto } from '../base/copies.js';
import { cat, tril, triu } from '../shape/join.js';
import { matmul } from '../matmul/matmul.js';
import { add, sub } from '../pointwise/pointwise.js';
import { expand, narrow } from '../base/view.js';
import {
  batchOf,
  broadcastBatches,
  checkMatrix,
  checkSquare,
  columnsOf,
  countOf,
  identityLike,
  mT,
  rowsOf,
  runLaunches,
  target,
  working,
} from './batch.js';
import { clash, triangularSolution } from './triangular.js';

/** L and U in one matrix, the row swaps (int32, from 1), and per matrix 0 or the first zero pivot, from 1. */
export type Factored = [lu: Tensor, pivots: Tensor, info: Tensor];

/** @internal LU outside the tape. `loud`: the op whose error a zero pivot is. */
export function factorLu(a: Tensor, pivot: boolean, loud?: string): Factored {
  const [rows, columns] = [rowsOf(a), columnsOf(a)];
  const lu = working(a);
  const pivots = Tensor.empty([...batchOf(a), Math.min(rows, columns)], 'int32', 'lu');
  const info = Tensor.empty(batchOf(a), 'int32', 'lu');
  if (lu.numel() > 0)
    runLaunches('lu', [luLaunch(target(), { count: countOf(a), rows, columns, pivot, loud })], {
      a: lu,
      pivots,
      info,
    });
  else if (info.numel() > 0) fillInto(info, 0);
  return [lu, pivots, info];
}

/** @internal The row swaps of `pivots` done to `b` [..., rows, width], or undone. */
export const swapRows: (b: Tensor, pivots: Tensor, undo: boolean) => Tensor = defineOp<
  [Tensor, Tensor, boolean],
  Tensor,
  boolean
>({
  name: 'swapRows',
  forward(ctx, b, pivots, undo) {
    ctx.state = undo;
    ctx.save(pivots);
    const out = working(b);
    if (out.numel() > 0 && pivots.numel() > 0) {
      const spec = { count: countOf(b), rows: rowsOf(b), width: columnsOf(b), undo };
      const swaps = pivots.shape[pivots.ndim - 1] as number;
      runLaunches('swapRows', [swapRowsLaunch(target(), { ...spec, swaps })], {
        pivots: working(pivots),
        b: out,
      });
    }
    return out;
  },
  backward(ctx, grad) {
    return [() => swapRows(grad, ctx.saved[0] as Tensor, !ctx.state)];
  },
});

/** The unit lower and the upper factor that lie in one matrix. */
function split(lu: Tensor): [lower: Tensor, upper: Tensor] {
  const [m, n] = [rowsOf(lu), columnsOf(lu)];
  const k = Math.min(m, n);
  const lower = add(tril(narrow(lu, -1, 0, k), -1), identityLike(lu, m, k));
  return [lower, triu(narrow(lu, -2, 0, k))];
}

/**
 * The gradient of A from those of L and U, where A = P L U: from `dA = P (dL U + L dU)` and the shapes of dL
 * and dU. The part of the larger factor beyond the square one is solved by itself.
 */
function luGrad(lu: Tensor, pivots: Tensor, grad: Tensor): Tensor {
  const [m, n] = [rowsOf(lu), columnsOf(lu)];
  const k = Math.min(m, n);
  const [lower, upper] = split(lu);
  const gLower = tril(narrow(grad, -1, 0, k), -1);
  const gUpper = triu(narrow(grad, -2, 0, k));
  const [l1, u1] = [narrow(lower, -2, 0, k), narrow(upper, -1, 0, k)];
  let below = matmul(mT(l1), narrow(gLower, -2, 0, k));
  let above = matmul(narrow(gUpper, -1, 0, k), mT(u1));
  const solveL = (x: Tensor): Tensor => triangularSolution('lu', mT(l1), x, { upper: true, unit: true });
  const solveU = (x: Tensor): Tensor => triangularSolution('lu', mT(u1), x, { upper: false, left: false });
  let out: Tensor;
  if (m < n) {
    const rest = narrow(gUpper, -1, k, n - k);
    below = sub(below, matmul(rest, mT(narrow(upper, -1, k, n - k))));
    out = cat([solveL(solveU(add(tril(below, -1), triu(above)))), solveL(rest)], -1);
  } else if (m > n) {
    const rest = narrow(gLower, -2, k, m - k);
    above = sub(above, matmul(mT(narrow(lower, -2, k, m - k)), rest));
    out = solveU(cat([solveL(add(tril(below, -1), triu(above))), rest], -2));
  } else out = solveL(solveU(add(tril(below, -1), triu(above))));
  return swapRows(out, pivots, true);
}

/** @internal LU on the tape. */
export const luOp: (a: Tensor, pivot: boolean, loud: string | undefined) => Factored = defineOp<
  [Tensor, boolean, string | undefined],
  Factored
>({
  name: 'luFactor',
  forward(ctx, a, pivot, loud) {
    const factored = factorLu(a, pivot, loud);
    ctx.save(factored[0], factored[1]);
    return factored;
  },
  backward(ctx, grad) {
    const [lu, pivots] = ctx.saved as [Tensor, Tensor];
    return [() => luGrad(lu, pivots, grad)];
  },
});

interface PivotOption {
  /** False: no rows are exchanged, and a zero on the diagonal ends it. Default true. */
  pivot?: boolean;
}

export interface FactorExOptions extends PivotOption {
  /** A zero pivot is an error (at the next await) as well. */
  checkErrors?: boolean;
}

const readLuFactor = optionReader('linalg.luFactor', { pivot: true }, 'pivot');
const readLuFactorEx = optionReader(
  'linalg.luFactorEx',
  { pivot: true, checkErrors: false },
  'pivot',
  'checkErrors',
);
const readLu = optionReader('linalg.lu', { pivot: true }, 'pivot');

/**
 * `torch.linalg.lu_factor`: [L and U in one matrix, pivots] of matrices [..., m, n]. Singular matrices are no
 * error: U has a zero on its diagonal then.
 */
export function luFactor(
  a: Tensor,
  ...args: Trailing<[pivot: boolean], PivotOption>
): [lu: Tensor, pivots: Tensor] {
  const { pivot } = readLuFactor(args);
  checkMatrix('linalg.luFactor', a);
  const [lu, pivots] = luOp(a, pivot, undefined);
  return [lu, pivots];
}

/** `torch.linalg.lu_factor_ex`: luFactor's results and `info`, 0 or the first zero pivot, from 1. */
export function luFactorEx(
  a: Tensor,
  ...args: Trailing<[pivot: boolean, checkErrors: boolean], FactorExOptions>
): Factored {
  const op = 'linalg.luFactorEx';
  const { pivot, checkErrors } = readLuFactorEx(args);
  checkMatrix(op, a);
  return luOp(a, pivot, checkErrors ? op : undefined);
}

/** `torch.linalg.lu`: [P, L, U] with `A = P L U`; L is [..., m, k] and U [..., k, n], k the smaller size. */
export const lu: (
  a: Tensor,
  ...args: Trailing<[pivot: boolean], PivotOption>
) => [p: Tensor, l: Tensor, u: Tensor] = defineComposite(
  'linalg.lu',
  (a: Tensor, ...args: unknown[]): [Tensor, Tensor, Tensor] => {
    const { pivot } = readLu(args);
    checkMatrix('linalg.lu', a);
    const [both, pivots] = luOp(a, pivot, undefined);
    return [permutation(both, pivots), ...split(both)];
  },
);

const permutation = (both: Tensor, pivots: Tensor): Tensor =>
  swapRows(identityLike(both, rowsOf(both), rowsOf(both)), pivots, true);

export interface LuUnpackOptions {
  /** False: L and U are empty. */
  unpackData?: boolean;
  /** False: P is empty. */
  unpackPivots?: boolean;
}

const readLuUnpack = optionReader(
  'luUnpack',
  { unpackData: true, unpackPivots: true },
  'unpackData',
  'unpackPivots',
);

/** `torch.lu_unpack`: [P, L, U] from what {@link luFactor} gives. */
export const luUnpack: (
  data: Tensor,
  pivots: Tensor,
  ...args: Trailing<[unpackData: boolean, unpackPivots: boolean], LuUnpackOptions>
) => [p: Tensor, l: Tensor, u: Tensor] = defineComposite(
  'luUnpack',
  (data: Tensor, pivots: Tensor, ...args: unknown[]): [Tensor, Tensor, Tensor] => {
    const { unpackData, unpackPivots } = readLuUnpack(args);
    checkMatrix('luUnpack', data);
    checkPivots('luUnpack', data, pivots);
    const nothing = (): Tensor => zeros([0]);
    const [l, u] = unpackData ? split(data) : [nothing(), nothing()];
    return [unpackPivots ? permutation(data, pivots) : nothing(), l, u];
  },
);

function checkPivots(op: string, data: Tensor, pivots: Tensor): void {
  checkTensors(op, pivots);
  const want = [...batchOf(data), Math.min(rowsOf(data), columnsOf(data))];
  if (pivots.dtype !== 'int32' || showShape(pivots.shape) !== showShape(want))
    throw new Error(
      `${op}: expected int32 pivots of shape ${showShape(want)}, got ${pivots.dtype} of ${showShape(pivots.shape)}`,
    );
}

/** @internal X of `A X = B`, or `A^T X = B`, from A's factors; `b` has the batch of the factors. */
export function luSolution(factors: Tensor, pivots: Tensor, b: Tensor, transposed: boolean): Tensor {
  if (!transposed) {
    const y = triangularSolution('luSolve', factors, swapRows(b, pivots, false), {
      upper: false,
      unit: true,
    });
    return triangularSolution('luSolve', factors, y, { upper: true });
  }
  const y = triangularSolution('luSolve', mT(factors), b, { upper: false });
  return swapRows(triangularSolution('luSolve', mT(factors), y, { upper: true, unit: true }), pivots, true);
}

export interface LuSolveOptions {
  /** False: solve `X A = B`. Default true. */
  left?: boolean;
  /** Solve with the transposed matrix. */
  adjoint?: boolean;
}

const readLuSolve = optionReader('linalg.luSolve', { left: true, adjoint: false }, 'left', 'adjoint');

/** `torch.linalg.lu_solve`: X of `A X = B` from {@link luFactor}'s results; batches broadcast. */
export const luSolve: (factors: Tensor, pivots: Tensor, b: Tensor, options?: LuSolveOptions) => Tensor =
  defineComposite(
    'linalg.luSolve',
    (factors: Tensor, pivots: Tensor, b: Tensor, ...args: unknown[]): Tensor => {
      const op = 'linalg.luSolve';
      const { left, adjoint } = readLuSolve(args);
      checkSquare(op, factors);
      checkPivots(op, factors, pivots);
      checkMatrix(op, b);
      if ((left ? rowsOf(b) : columnsOf(b)) !== rowsOf(factors)) throw clash(op, factors, b, left);
      const [f, right] = broadcastBatches(op, factors, left ? b : mT(b));
      const swaps = expand(pivots, [...batchOf(f), rowsOf(f)]);
      const x = luSolution(f, swaps, right, adjoint === left);
      return left ? x : mT(x);
    },
  );
