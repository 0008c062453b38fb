import { checkTensors } from '../base/tensors.js';
import { defineOp } from '../../autograd/define.js';
import { normalizeDim, showShape, type Shape } from '../../tensor/shape.js';
import { checkCount, optionReader, type Trailing } from '../../tensor/options.js';
import type { Tensor } from '../../tensor/tensor.js';
import { copyAs, copyInto } from '../base/copies.js';
import { zeros } from '../creation/creation.js';

/* Diagonals of matrices, and matrices of diagonals: each is the gradient of the other. */

const diagonalOp: (x: Tensor, offset: number, a: number, b: number) => Tensor = defineOp<
  [Tensor, number, number, number],
  Tensor,
  { shape: readonly number[]; at: [number, number, number] }
>({
  name: 'diagonal',
  forward(ctx, x, offset, a, b) {
    ctx.state = { shape: x.shape, at: [offset, a, b] };
    const rows = x.shape[a] as number;
    const columns = x.shape[b] as number;
    const length = Math.max(
      0,
      offset >= 0 ? Math.min(rows, columns - offset) : Math.min(rows + offset, columns),
    );
    const start = offset >= 0 ? offset * (x.strides[b] as number) : -offset * (x.strides[a] as number);
    const rest = x.shape.map((_, i) => i).filter((i) => i !== a && i !== b);
    return x.alias(
      [...rest.map((i) => x.shape[i] as number), length],
      [...rest.map((i) => x.strides[i] as number), (x.strides[a] as number) + (x.strides[b] as number)],
      x.offset + (length > 0 ? start : 0),
    );
  },
  backward: (ctx, grad) => [() => embedOp(grad, ctx.state.shape, ...ctx.state.at)],
});

/** Zeros of `shape` with `x` on the diagonal of dims `a` and `b`. */
const embedOp: (x: Tensor, shape: Shape, offset: number, a: number, b: number) => Tensor = defineOp<
  [Tensor, Shape, number, number, number],
  Tensor,
  readonly [number, number, number]
>({
  name: 'diagEmbed',
  forward(ctx, x, shape, ...at) {
    ctx.state = at;
    const out = zeros(shape, { dtype: x.dtype });
    if (x.numel() > 0) copyInto(diagonalOp(out, ...at), x);
    return out;
  },
  backward: (ctx, grad) => [() => diagonalOp(grad, ...ctx.state)],
});

export interface DiagonalOptions {
  /** 0 is the main diagonal, positive ones lie above it. Default 0. */
  offset?: number;
  dim1?: number;
  dim2?: number;
}

const readDiagonal = optionReader('diagonal', { offset: 0, dim1: 0, dim2: 1 }, 'offset', 'dim1', 'dim2');

/** `torch.diagonal`: the diagonal of two dims (default 0 and 1) as a new last dim; a view. */
export function diagonal(
  x: Tensor,
  ...args: Trailing<[offset: number, dim1: number, dim2: number], DiagonalOptions>
): Tensor {
  checkTensors('diagonal', x);
  const { offset, dim1, dim2 } = readDiagonal(args);
  if (!Number.isInteger(offset)) throw new Error(`diagonal: offset must be an integer, got ${offset}`);
  const a = normalizeDim('diagonal', dim1, x.ndim);
  const b = normalizeDim('diagonal', dim2, x.ndim);
  if (a === b || x.ndim < 2)
    throw new Error(`diagonal: needs two different dims of shape ${showShape(x.shape)}`);
  return diagonalOp(x, offset, a, b);
}

export interface DiagEmbedOptions {
  /** 0 is the main diagonal, positive ones lie above it. Default 0. */
  offset?: number;
  /** Default -2. */
  dim1?: number;
  /** Default -1. */
  dim2?: number;
}

const readEmbed = optionReader('diagEmbed', { offset: 0, dim1: -2, dim2: -1 }, 'offset', 'dim1', 'dim2');

/** `torch.diag_embed`: the last dim as a diagonal of two new dims, zeros elsewhere. */
export function diagEmbed(
  x: Tensor,
  ...args: Trailing<[offset: number, dim1: number, dim2: number], DiagEmbedOptions>
): Tensor {
  checkTensors('diagEmbed', x);
  const { offset, dim1, dim2 } = readEmbed(args);
  if (!Number.isInteger(offset)) throw new Error(`diagEmbed: offset must be an integer, got ${offset}`);
  if (x.ndim === 0) throw new Error('diagEmbed: expected at least one dim, got a zero-dim tensor');
  const [a, b] = [dim1, dim2].map((d) => normalizeDim('diagEmbed', d, x.ndim + 1)) as [number, number];
  if (a === b) throw new Error(`diagEmbed: dim1 and dim2 must differ, got ${dim1} and ${dim2}`);
  const shape = [...x.shape.slice(0, -1)];
  const size = (x.shape[x.ndim - 1] as number) + Math.abs(offset);
  for (const d of [Math.min(a, b), Math.max(a, b)]) shape.splice(d, 0, size);
  return embedOp(x, shape, offset, a, b);
}

const readDiag = optionReader('diag', { diagonal: 0 }, 'diagonal');

/** `torch.diag`: the diagonal of a matrix as a copy, or a matrix with the vector `x` as its diagonal. */
export function diag(x: Tensor, diagonalOrOptions?: number | { diagonal?: number }): Tensor {
  checkTensors('diag', x);
  checkCount('diag', arguments.length, 2);
  const { diagonal: offset } = readDiag([diagonalOrOptions]);
  if (x.ndim === 1) return diagEmbed(x, offset);
  if (x.ndim === 2) return copyAs(diagonal(x, offset), [1], false);
  throw new Error(`diag: expected a vector or a matrix, got shape ${showShape(x.shape)}`);
}
