import { runtime } from '../../device/index.js';
import type { Launch } from '../../kernels/base/plan.js';
import type { Tensor } from '../../tensor/tensor.js';
import { broadcastShapes, numel, sameShape, showShape } from '../../tensor/shape.js';
import { clone } from '../base/copy.js';
import { eye } from '../creation/creation.js';
import { eq, logicalAnd, ne } from '../pointwise/compare.js';
import { gather } from '../gather/gather.js';
import { div } from '../pointwise/pointwise.js';
import { planLimits, runPlan } from '../base/run-plan.js';
import { expand, reshape, transpose, unsqueeze } from '../base/view.js';
import { where } from '../pointwise/where.js';
import { checkTensors } from '../base/tensors.js';

/** What an op on `op`'s matrices takes: float32, at least two dims. @throws for anything else */
export function checkMatrix(op: string, x: Tensor, square = false): void {
  checkTensors(op, x);
  if (x.dtype !== 'float32')
    throw new Error(`${op}: expected a float32 tensor, got ${x.dtype}; convert it with .to('float32')`);
  if (x.ndim < 2)
    throw new Error(`${op}: expected a matrix or a batch of them, got shape ${showShape(x.shape)}`);
  if (square && rowsOf(x) !== columnsOf(x))
    throw new Error(`${op}: expected square matrices, got shape ${showShape(x.shape)}`);
}

export const checkSquare = (op: string, x: Tensor): void => checkMatrix(op, x, true);

export const rowsOf = (x: Tensor): number => x.shape[x.ndim - 2] as number;
export const columnsOf = (x: Tensor): number => x.shape[x.ndim - 1] as number;
export const batchOf = (x: Tensor): readonly number[] => x.shape.slice(0, -2);
export const countOf = (x: Tensor): number => numel(batchOf(x));

/** Rows and columns exchanged. */
export const mT = (x: Tensor): Tensor => transpose(x, -2, -1);

/** A dense copy, for a kernel to work in. */
export const working = (x: Tensor): Tensor => clone(x, { memoryFormat: 'contiguous' });

/** Runs launches over buffers by name; there must be something to do. */
export function runLaunches(
  op: string,
  launches: readonly Launch[],
  operands: Readonly<Record<string, Tensor>>,
  workspaces: Readonly<Record<string, number>> = {},
): void {
  const most = planLimits().maxBinding;
  for (const x of Object.values(operands)) {
    if (x.numel() * 4 > most)
      throw new Error(
        `${op}: a batch of ${showShape(x.shape)} takes ${x.numel() * 4} bytes, the adapter binds at most ${most}; split it`,
      );
  }
  runPlan(op, { launches, workspaces }, operands);
}

export const target = () => runtime().target;

/** Both with the batch dims that they broadcast to. */
export function broadcastBatches(op: string, a: Tensor, b: Tensor): [Tensor, Tensor] {
  const batch = broadcastShapes(op, batchOf(a), batchOf(b));
  const grown = (x: Tensor): Tensor =>
    sameShape(batchOf(x), batch) ? x : expand(x, [...batch, rowsOf(x), columnsOf(x)]);
  return [grown(a), grown(b)];
}

/** Vectors (the last dim) as diagonal matrices; what is beside the diagonal is zero whatever they hold. */
export function diagonalMatrix(d: Tensor): Tensor {
  const n = d.shape[d.ndim - 1] as number;
  return where(ne(eye(n), 0), unsqueeze(d, -2), 0);
}

/** Identity matrices for the batch of `x`, of `rows` by `columns`. */
export const identityLike = (x: Tensor, rows: number, columns: number): Tensor =>
  expand(eye(rows, columns), [...batchOf(x), rows, columns]);

/** All of a batch's matrices along one dim. */
export const flattened = (x: Tensor): Tensor => reshape(x, [countOf(x), rowsOf(x), columnsOf(x)]);

/** Up to this many rows a matrix is one invocation's; larger ones are worked on in parallel. */
export const smallSize = 32;

/** Rows of `x` [..., n, m] by `order` [..., n]. */
export const rowsInOrder = (x: Tensor, order: Tensor): Tensor =>
  gather(x, -2, expand(unsqueeze(order, -1), x.shape));

/**
 * `x / y`, and 0 where both are: no gradient passes through equal eigenvalues or zero singular values if
 * nothing asked for what is undefined there.
 */
export const quotient = (x: Tensor, y: Tensor): Tensor => div(x, where(logicalAnd(eq(y, 0), eq(x, 0)), 1, y));
