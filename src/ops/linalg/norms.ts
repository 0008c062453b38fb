import { defineComposite } from '../../autograd/define.js';
import { isFloatingPoint, type DType } from '../../tensor/dtype.js';
import { optionReader, type Trailing } from '../../tensor/options.js';
import { normalizeDim, normalizeDims, showShape } from '../../tensor/shape.js';
import type { Tensor } from '../../tensor/tensor.js';
import { to } from '../base/copy.js';
import { zeros } from '../creation/creation.js';
import { isnan, logicalOr, ne } from '../pointwise/compare.js';
import { abs, div, mul, reciprocal } from '../pointwise/pointwise.js';
import { where } from '../pointwise/where.js';
import { amax, amin, sum } from '../reduce/reduce.js';
import { norm as anyNorm } from '../reduce/statistics.js';
import { movedim, unsqueeze } from '../base/view.js';
import { batchOf, checkMatrix, checkSquare } from './batch.js';
import { invEx } from './solve.js';
import { svdvals } from './svd.js';

type Dim = number | readonly number[] | null;

interface NormRest {
  dim?: Dim;
  keepdim?: boolean;
  /** What it is computed in, and gives. */
  dtype?: DType | null;
}

export interface VectorNormOptions extends NormRest {
  /** Any number, or +-Infinity. Default 2. */
  ord?: number;
}

/** Orders of matrix norms: Frobenius, nuclear (the sum of singular values), or of the operator. */
export type MatrixOrd = 'fro' | 'nuc' | 1 | -1 | 2 | -2 | number;

const rest = { keepdim: false, dtype: null as DType | null };
const readVectorNorm = optionReader(
  'linalg.vectorNorm',
  { ord: 2, dim: null as Dim, ...rest },
  'ord',
  'dim',
  'keepdim',
);

function converted(op: string, x: Tensor, dtype: DType | null): Tensor {
  if (dtype !== null) return to(x, dtype);
  if (!isFloatingPoint(x.dtype))
    throw new Error(`${op}: expected a float tensor, got ${x.dtype}; convert it with .to('float32')`);
  return x;
}

function vectorNormOf(op: string, x: Tensor, p: number, dim: Dim, keepdim: boolean): Tensor {
  if (x.numel() === 0 && (p < 0 || p === Infinity))
    for (const d of normalizeDims(op, dim, x.ndim)) if (x.shape[d] === 0) throw nothing(op, x, p);
  return anyNorm(x, { p, dim, keepdim });
}

const nothing = (op: string, x: Tensor, ord: MatrixOrd): Error =>
  new Error(
    `${op}: of nothing there is no norm of order ${ord}, and shape ${showShape(x.shape)} is empty there`,
  );

/**
 * `torch.linalg.vector_norm`: `sum(|x|^ord)^(1/ord)` over `dim`, all dims by default.
 *
 * @throws Error for an empty dim, unless `ord` is 0 or more and finite: then the norm is 0
 */
export const vectorNorm: (
  x: Tensor,
  ...args: Trailing<[ord: number, dim: Dim, keepdim: boolean], VectorNormOptions>
) => Tensor = defineComposite('linalg.vectorNorm', (x: Tensor, ...args: unknown[]): Tensor => {
  const { ord, dim, keepdim, dtype } = readVectorNorm(args);
  const op = 'linalg.vectorNorm';
  return vectorNormOf(op, converted(op, x, dtype), ord, dim, keepdim);
});

export interface MatrixNormOptions {
  /** Default 'fro'. */
  ord?: MatrixOrd;
  /** The two dims of the matrices. Default the last two. */
  dim?: readonly number[];
  keepdim?: boolean;
  dtype?: DType | null;
}

const readMatrixNorm = optionReader(
  'linalg.matrixNorm',
  { ord: 'fro' as MatrixOrd, dim: [-2, -1] as readonly number[], ...rest },
  'ord',
  'dim',
  'keepdim',
);

function matrixNormOf(
  op: string,
  x: Tensor,
  ord: MatrixOrd,
  dims: readonly number[],
  keepdim: boolean,
): Tensor {
  if (dims.length !== 2 || x.ndim < 2)
    throw new Error(
      `${op}: a matrix norm needs two dims, got [${dims.join(', ')}] of shape ${showShape(x.shape)}`,
    );
  const [row, column] = dims.map((d) => normalizeDim(op, d, x.ndim)) as [number, number];
  if (row === column) throw new Error(`${op}: the two dims must differ, got [${dims.join(', ')}]`);
  if (ord === 'fro') return vectorNormOf(op, x, 2, [row, column], keepdim);
  let out: Tensor;
  if (ord === 'nuc' || Math.abs(ord as number) === 2) {
    if (ord !== 'nuc' && (x.shape[row] === 0 || x.shape[column] === 0)) throw nothing(op, x, ord);
    const last = movedim(x, column, -1);
    const values = svdvals(movedim(last, row < column ? row : row - 1, -2));
    out = ord === 'nuc' ? sum(values, -1) : ord === 2 ? amax(values, -1) : amin(values, -1);
  } else if (Math.abs(ord as number) === 1 || Math.abs(ord as number) === Infinity) {
    const [inner, outer] = Math.abs(ord as number) === 1 ? [row, column] : [column, row];
    if (x.shape[outer] === 0) throw nothing(op, x, ord);
    const sums = sum(abs(x), inner);
    out = ((ord as number) > 0 ? amax : amin)(sums, outer > inner ? outer - 1 : outer);
  } else
    throw new Error(
      `${op}: there is no matrix norm of order ${String(ord)}; orders are 'fro', 'nuc', 1, -1, 2, -2, Infinity, -Infinity`,
    );
  if (!keepdim) return out;
  return unsqueeze(unsqueeze(out, Math.min(row, column)), Math.max(row, column));
}

/**
 * `torch.linalg.matrix_norm`: 'fro', 'nuc', or the operator norm of order 1, 2 or Infinity (negative: the
 * least sum or singular value instead of the largest).
 *
 * @throws Error where there is no sum or singular value to choose, in empty matrices
 */
export const matrixNorm: (
  x: Tensor,
  ...args: Trailing<[ord: MatrixOrd, dim: readonly number[], keepdim: boolean], MatrixNormOptions>
) => Tensor = defineComposite('linalg.matrixNorm', (x: Tensor, ...args: unknown[]): Tensor => {
  const { ord, dim, keepdim, dtype } = readMatrixNorm(args);
  return matrixNormOf('linalg.matrixNorm', converted('linalg.matrixNorm', x, dtype), ord, dim, keepdim);
});

export interface NormOptions extends NormRest {
  ord?: MatrixOrd | null;
}

const readNorm = optionReader(
  'linalg.norm',
  { ord: null as MatrixOrd | null, dim: null as Dim, ...rest },
  'ord',
  'dim',
  'keepdim',
);

/**
 * `torch.linalg.norm`: a vector norm over one dim (or, without `ord`, over any), a matrix norm over two.
 * Without `dim`, a tensor of one or two dims counts as what it is, and without `ord` everything as one
 * vector.
 */
export const norm: (
  x: Tensor,
  ...args: Trailing<[ord: MatrixOrd | null, dim: Dim, keepdim: boolean], NormOptions>
) => Tensor = defineComposite('linalg.norm', (given: Tensor, ...args: unknown[]): Tensor => {
  const op = 'linalg.norm';
  const { ord, dim, keepdim, dtype } = readNorm(args);
  const x = converted(op, given, dtype);
  if (ord === null) return vectorNormOf(op, x, 2, dim, keepdim);
  const dims = dim === null ? x.shape.map((_, d) => d) : typeof dim === 'number' ? [dim] : dim;
  if (dim === null && dims.length > 2)
    throw new Error(
      `${op}: with an order and without dim expected one or two dims, got shape ${showShape(x.shape)}`,
    );
  if (dims.length === 2) return matrixNormOf(op, x, ord, dims, keepdim);
  if (typeof ord !== 'number') throw new Error(`${op}: '${ord}' is a norm of matrices; give two dims`);
  return vectorNormOf(op, x, ord, dims, keepdim);
});

const readCond = optionReader('linalg.cond', { p: null as MatrixOrd | null }, 'p');

/**
 * `torch.linalg.cond`: the norm of a matrix times that of its inverse, infinite where LU finds it singular;
 * for p 2 (default), -2 and 'nuc' by singular values. Of empty matrices it is 0.
 */
export const cond: (x: Tensor, ...args: Trailing<[p: MatrixOrd | null], { p?: MatrixOrd | null }>) => Tensor =
  defineComposite('linalg.cond', (x: Tensor, ...args: unknown[]): Tensor => {
    const op = 'linalg.cond';
    const { p } = readCond(args);
    checkMatrix(op, x);
    if (x.numel() === 0 && typeof p !== 'string') return zeros(batchOf(x));
    if (p === null || p === 2 || p === -2) {
      const values = svdvals(x);
      const [large, small] = [amax(values, -1), amin(values, -1)];
      return p === -2 ? div(small, large) : div(large, small);
    }
    checkSquare(op, x);
    if (p === 'nuc') {
      const values = svdvals(x);
      return mul(sum(values, -1), sum(reciprocal(values), -1));
    }
    const of = (y: Tensor): Tensor => matrixNormOf(op, y, p, [-2, -1], false);
    const [inverse, info] = invEx(x);
    const number = mul(of(x), of(inverse));
    // Of a matrix with NaN too, as PyTorch has it.
    return where(logicalOr(ne(info, 0), isnan(number)), Infinity, number);
  });

export interface TorchNormOptions extends NormRest {
  /** A number, 'fro' (2), or 'nuc', the sum of a matrix's singular values. Default 'fro'. */
  p?: number | 'fro' | 'nuc' | null;
}

const readTorchNorm = optionReader(
  'norm',
  { p: 'fro' as number | 'fro' | 'nuc' | null, dim: null as Dim, ...rest },
  'p',
  'dim',
  'keepdim',
);

/**
 * `torch.norm`: `sum(|x|^p)^(1/p)` over `dim` (all dims by default), or for 'nuc' the nuclear norm of
 * matrices.
 */
export const torchNorm: (
  x: Tensor,
  ...args: Trailing<[p: number | 'fro' | 'nuc' | null, dim: Dim, keepdim: boolean], TorchNormOptions>
) => Tensor = defineComposite('norm', (given: Tensor, ...args: unknown[]): Tensor => {
  const { p, dim, keepdim, dtype } = readTorchNorm(args);
  const x = converted('norm', given, dtype);
  // Of nothing PyTorch's `norm` is 0, whatever the order.
  const order = p === 'fro' || p === null || x.numel() === 0 ? 2 : p;
  if (p !== 'nuc') return vectorNormOf('norm', x, order as number, dim, keepdim);
  const dims = dim === null ? x.shape.map((_, d) => d) : typeof dim === 'number' ? [dim] : dim;
  return matrixNormOf('norm', x, p, dims, keepdim);
});
