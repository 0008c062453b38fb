import { defineComposite, defineOp } from '../../autograd/define.js';
import { triangularLaunch } from '../../kernels/linalg/factor.js';
import { optionReader, type Trailing } from '../../tensor/options.js';
import { showShape } from '../../tensor/shape.js';
import type { Tensor } from '../../tensor/tensor.js';
import { tril, triu } from '../shape/join.js';
import { matmul } from '../matmul/matmul.js';
import { neg } from '../pointwise/pointwise.js';
import {
  broadcastBatches,
  checkMatrix,
  checkSquare,
  columnsOf,
  countOf,
  flattened,
  mT,
  rowsOf,
  runLaunches,
  target,
  working,
} from './batch.js';

interface Triangle {
  readonly upper: boolean;
  readonly unit: boolean;
}

/** @internal The part of `x` that a solve with this triangle reads. */
const partOf = (x: Tensor, { upper, unit }: Triangle): Tensor =>
  upper ? triu(x, unit ? 1 : 0) : tril(x, unit ? -1 : 0);

/** @internal `inverse(a) @ b` for a triangle of `a`, of equal batches. Only that triangle is read. */
export const triangularOp: (a: Tensor, b: Tensor, upper: boolean, unit: boolean) => Tensor = defineOp<
  [Tensor, Tensor, boolean, boolean],
  Tensor,
  Triangle
>({
  name: 'solveTriangular',
  forward(ctx, a, b, upper, unit) {
    ctx.state = { upper, unit };
    const x = working(b);
    if (x.numel() > 0) {
      const flat = flattened(a);
      const [batch, row, column] = flat.strides as [number, number, number];
      const launch = triangularLaunch(target(), {
        count: countOf(b),
        n: rowsOf(b),
        width: columnsOf(b),
        upper,
        unit,
        strides: [batch, row, column, flat.offset],
      });
      runLaunches('solveTriangular', [launch], { a: flat, b: x });
    }
    ctx.save(a, ctx.needs[0] ? x : null);
    return x;
  },
  backward(ctx, grad) {
    const { upper, unit } = ctx.state;
    const [a, x] = ctx.saved as [Tensor, Tensor];
    const back = (): Tensor => triangularOp(mT(a), grad, !upper, unit);
    return [() => partOf(neg(matmul(back(), mT(x))), ctx.state), back];
  },
});

/** @internal `inverse(a) @ b`, or with `left` false `b @ inverse(a)`; batches broadcast. */
export function triangularSolution(
  op: string,
  a: Tensor,
  b: Tensor,
  { upper, unit = false, left = true }: { upper: boolean; unit?: boolean; left?: boolean },
): Tensor {
  const [x, y] = broadcastBatches(op, a, b);
  return left ? triangularOp(x, y, upper, unit) : mT(triangularOp(mT(x), mT(y), !upper, unit));
}

export interface SolveTriangularOptions {
  /** Which triangle of the matrix is read; must be given. */
  upper: boolean;
  /** False: solve `X A = B`. Default true. */
  left?: boolean;
  /** The diagonal counts as ones and is not read. */
  unitriangular?: boolean;
}

const readSolveTriangular = optionReader(
  'linalg.solveTriangular',
  { upper: null as boolean | null, left: true, unitriangular: false },
  'upper',
  'left',
  'unitriangular',
);

/**
 * `torch.linalg.solve_triangular`: X of `A X = B` for A [..., n, n] of which one triangle is read, B [..., n,
 * k]; batches broadcast.
 */
export const solveTriangular: (
  a: Tensor,
  b: Tensor,
  ...args: Trailing<[upper: boolean, left: boolean, unitriangular: boolean], SolveTriangularOptions>
) => Tensor = defineComposite(
  'linalg.solveTriangular',
  (a: Tensor, b: Tensor, ...args: unknown[]): Tensor => {
    const op = 'linalg.solveTriangular';
    const { upper, left, unitriangular } = readSolveTriangular(args);
    if (typeof upper !== 'boolean') throw new Error(`${op}: 'upper' must be given, true or false`);
    checkSquare(op, a);
    checkMatrix(op, b);
    if ((left ? rowsOf(b) : columnsOf(b)) !== rowsOf(a)) throw clash(op, a, b, left);
    return triangularSolution(op, a, b, { upper, left, unit: unitriangular });
  },
);

/** @internal */
export function clash(op: string, a: Tensor, b: Tensor, left = true): Error {
  return new Error(
    `${op}: matrices ${showShape(a.shape)} do not fit right sides ${showShape(b.shape)}: these need ${rowsOf(a)} ${left ? 'rows' : 'columns'}`,
  );
}
