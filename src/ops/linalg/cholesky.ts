import { defineComposite, defineOp } from '../../autograd/define.js';
import { choleskyLaunch } from '../../kernels/linalg/factor.js';
import { optionReader, type Trailing } from '../../tensor/options.js';
import { Tensor } from '../../tensor/tensor.js';
import { fillInto } from '../base/copies.js';
import { tril } from '../shape/join.js';
import { matmul } from '../matmul/matmul.js';
import { add, mul, neg } from '../pointwise/pointwise.js';
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

type WithInfo = [l: Tensor, info: Tensor];

/** The lower factor, from the lower triangle. */
const choleskyOp: (a: Tensor, loud: string | undefined) => WithInfo = defineOp<
  [Tensor, string | undefined],
  WithInfo
>({
  name: 'cholesky',
  forward(ctx, a, loud) {
    const n = rowsOf(a);
    const l = working(a);
    const info = Tensor.empty(batchOf(a), 'int32', 'cholesky');
    if (l.numel() > 0) {
      const launch = choleskyLaunch(target(), { count: countOf(a), rows: n, columns: n, loud });
      runLaunches('cholesky', [launch], { a: l, info });
    } else if (info.numel() > 0) fillInto(info, 0);
    ctx.save(l);
    return [l, info];
  },
  backward(ctx, grad) {
    const l = ctx.saved[0] as Tensor;
    return [
      () => {
        const inner = tril(matmul(mT(l), grad));
        const both = mul(add(inner, mT(tril(inner, -1))), 0.5);
        const left = triangularSolution('cholesky', mT(l), both, { upper: true });
        return triangularSolution('cholesky', l, left, { upper: false, left: false });
      },
    ];
  },
});

function factor(op: string, a: Tensor, upper: boolean, loud: string | undefined): WithInfo {
  checkSquare(op, a);
  if (!upper) return choleskyOp(a, loud);
  const [l, info] = choleskyOp(mT(a), loud);
  return [mT(l), info];
}

export interface UpperOption {
  /** The upper factor, from the upper triangle. Default false. */
  upper?: boolean;
}

const readCholesky = optionReader('linalg.cholesky', { upper: false }, 'upper');

/**
 * `torch.linalg.cholesky`: L of `A = L L^T`, or with `upper` U of `A = U^T U`; one triangle of A is read.
 *
 * @throws (at the next await) DataError for a matrix that is not positive definite
 */
export function cholesky(a: Tensor, ...args: Trailing<[upper: boolean], UpperOption>): Tensor {
  return factor('linalg.cholesky', a, readCholesky(args).upper, 'linalg.cholesky')[0];
}

export interface CholeskyExOptions extends UpperOption {
  /** What `info` tells is an error (at the next await) as well. */
  checkErrors?: boolean;
}

const readCholeskyEx = optionReader(
  'linalg.choleskyEx',
  { upper: false, checkErrors: false },
  'upper',
  'checkErrors',
);

/**
 * `torch.linalg.cholesky_ex`: [L, info], info being 0 or the order of the first leading minor that is not
 * positive.
 */
export function choleskyEx(
  a: Tensor,
  ...args: Trailing<[upper: boolean, checkErrors: boolean], CholeskyExOptions>
): WithInfo {
  const op = 'linalg.choleskyEx';
  const { upper, checkErrors } = readCholeskyEx(args);
  return factor(op, a, upper, checkErrors ? op : undefined);
}

/**
 * X of `A X = B` from a factor of A, of equal batches. Its gradient is the one of a full matrix, as in
 * PyTorch: what is beside the triangle has one too.
 */
const factorSolution: (b: Tensor, l: Tensor, upper: boolean) => Tensor = defineOp<
  [Tensor, Tensor, boolean],
  Tensor,
  boolean
>({
  name: 'choleskySolve',
  forward(ctx, b, l, upper) {
    ctx.state = upper;
    const lower = upper ? mT(l) : l;
    const y = triangularSolution('choleskySolve', lower, b, { upper: false });
    const x = triangularSolution('choleskySolve', mT(lower), y, { upper: true });
    ctx.save(l, ctx.needs[1] ? x : null);
    return x;
  },
  backward(ctx, grad) {
    const [l, x] = ctx.saved as [Tensor, Tensor];
    const back = (): Tensor => factorSolution(grad, l, ctx.state);
    return [
      back,
      () => {
        const one = matmul(back(), mT(x));
        const both = add(one, mT(one));
        return neg(ctx.state ? matmul(l, both) : matmul(both, l));
      },
    ];
  },
});

const readCholeskySolve = optionReader('choleskySolve', { upper: false }, 'upper');
const readCholeskyInverse = optionReader('choleskyInverse', { upper: false }, 'upper');

/** `torch.cholesky_solve`: X of `A X = B` from A's factor `l`; batches broadcast. */
export const choleskySolve: (
  b: Tensor,
  l: Tensor,
  ...args: Trailing<[upper: boolean], UpperOption>
) => Tensor = defineComposite('choleskySolve', (b: Tensor, l: Tensor, ...args: unknown[]): Tensor => {
  const { upper } = readCholeskySolve(args);
  checkMatrix('choleskySolve', b);
  checkSquare('choleskySolve', l);
  if (rowsOf(b) !== columnsOf(l)) throw clash('choleskySolve', l, b);
  return factorSolution(...broadcastBatches('choleskySolve', b, l), upper);
});

/** `torch.cholesky_inverse`: A's inverse from its factor. */
export const choleskyInverse: (l: Tensor, ...args: Trailing<[upper: boolean], UpperOption>) => Tensor =
  defineComposite('choleskyInverse', (l: Tensor, ...args: unknown[]): Tensor => {
    const { upper } = readCholeskyInverse(args);
    checkSquare('choleskyInverse', l);
    return factorSolution(identityLike(l, rowsOf(l), rowsOf(l)), l, upper);
  });
