import { checkTensors } from '../base/tensors.js';
import { defineComposite, defineOp } from '../../autograd/define.js';
import { argumentReader, type Needed, optionReader, type Trailing } from '../../tensor/options.js';
import { normalizeDim, numel, showShape } from '../../tensor/shape.js';
import { isTensor, type Tensor } from '../../tensor/tensor.js';
import { full, ones, zeros } from '../creation/creation.js';
import { gt } from '../pointwise/compare.js';
import { to } from '../base/copy.js';
import { cat } from '../shape/join.js';
import { matmul } from '../matmul/matmul.js';
import { abs, add, maximum, mul, reciprocal, square, sub } from '../pointwise/pointwise.js';
import { crossAlong } from '../matmul/products.js';
import { amax } from '../reduce/reduce.js';
import type { Operand } from '../base/row.js';
import { sumDims } from '../base/sum-to.js';
import { permute, reshape, squeeze, unsqueeze } from '../base/view.js';
import { where } from '../pointwise/where.js';
import { batchOf, checkMatrix, checkSquare, columnsOf, identityLike, mT, rowsOf, working } from './batch.js';
import { eighOp } from './eigh.js';
import { inv, solve } from './solve.js';
import { svdOp } from './svd.js';

export interface ToleranceOptions {
  /** Singular values up to this count as zero. Default 0. */
  atol?: Tensor | number | null;
  /** The same, relative to the largest. Default eps times the larger size, or 0 where atol is given. */
  rtol?: Tensor | number | null;
  /** The matrices are symmetric: by eigenvalues. */
  hermitian?: boolean;
}

const tolerances = {
  atol: null as Tensor | number | null,
  rtol: null as Tensor | number | null,
  hermitian: false,
};

const epsilon = 2 ** -23;

/** The bound below which singular values (`sizes`, the last dim) of `x` count as zero, with that dim kept. */
function bound(x: Tensor, sizes: Tensor, { atol, rtol }: ToleranceOptions): Tensor {
  const given = atol !== null && atol !== undefined && (isTensor(atol) || atol > 0);
  const relative = rtol ?? (given ? 0 : epsilon * Math.max(rowsOf(x), columnsOf(x)));
  const perMatrix = (t: Tensor | number): Operand => (isTensor(t) ? unsqueeze(to(t, 'float32'), -1) : t);
  const scaled = mul(amax(sizes, -1, true), perMatrix(relative));
  const absolute = perMatrix(atol ?? 0);
  return maximum(scaled, absolute);
}

const readRank = optionReader(
  'linalg.matrixRank',
  { ...tolerances, tol: null as Tensor | number | null },
  'atol',
  'rtol',
  'hermitian',
);

/** `torch.linalg.matrix_rank`: how many singular values are above `max(atol, rtol * largest)`. */
export const matrixRank: (
  x: Tensor,
  ...args: Trailing<
    [atol: Tensor | number | null, rtol: Tensor | number | null, hermitian: boolean],
    ToleranceOptions & { tol?: Tensor | number | null }
  >
) => Tensor = defineComposite('linalg.matrixRank', (x: Tensor, ...args: unknown[]): Tensor => {
  const op = 'linalg.matrixRank';
  // PyTorch's older form: the tolerance, then whether it is hermitian.
  const old = typeof args[1] === 'boolean' ? [{ tol: args[0], hermitian: args[1] }, ...args.slice(2)] : args;
  const { tol, ...rest } = readRank(old);
  if (rest.hermitian) checkSquare(op, x);
  else checkMatrix(op, x);
  if (x.numel() === 0) return zeros(batchOf(x), { dtype: 'int32' });
  const sizes = rest.hermitian ? abs(eighOp(x, false)[0]) : svdOp(x, false)[1];
  const limits = tol === null ? rest : { ...rest, atol: tol, rtol: 0 };
  return sumDims(to(gt(sizes, bound(x, sizes, limits)), 'int32'), [sizes.ndim - 1], false);
});

/** The inverse of what is above the bound, zero elsewhere. */
function inverseOf(values: Tensor, limit: Tensor): Tensor {
  const keep = gt(abs(values), limit);
  return where(keep, reciprocal(where(keep, values, 1)), 0);
}

/**
 * Its gradient is a formula of the result and the matrix (G. Golub, V. Pereyra, 1973), good for any rank that
 * does not change.
 */
const pinvOp: (x: Tensor, options: ToleranceOptions) => Tensor = defineOp<[Tensor, ToleranceOptions], Tensor>(
  {
    name: 'pinv',
    forward(ctx, x, options) {
      let out: Tensor;
      if (x.numel() === 0) out = zeros([...batchOf(x), columnsOf(x), rowsOf(x)]);
      else if (options.hermitian) {
        const [values, vectors] = eighOp(x, false);
        const inverse = inverseOf(values, bound(x, abs(values), options));
        out = matmul(mul(vectors, unsqueeze(inverse, -2)), mT(vectors));
      } else {
        const [u, s, vh] = svdOp(x, false);
        out = matmul(mul(mT(vh), unsqueeze(inverseOf(s, bound(x, s, options)), -2)), mT(u));
      }
      ctx.save(x, out);
      return out;
    },
    backward(ctx, grad) {
      const [a, x] = ctx.saved as [Tensor, Tensor];
      return [
        () => {
          const [g, xt] = [mT(grad), mT(x)];
          if (rowsOf(a) <= columnsOf(a)) {
            const k = matmul(g, x);
            const kx = matmul(k, xt);
            const out = sub(sub(kx, mT(matmul(x, k))), matmul(matmul(a, x), kx));
            return add(out, matmul(matmul(xt, x), sub(g, matmul(k, a))));
          }
          const k = matmul(x, g);
          const xk = matmul(xt, k);
          const out = add(sub(matmul(matmul(sub(g, matmul(a, k)), x), xt), mT(matmul(k, x))), xk);
          return sub(out, matmul(matmul(xk, x), a));
        },
      ];
    },
  },
);

const readPinv = optionReader(
  'linalg.pinv',
  { ...tolerances, rcond: null as Tensor | number | null },
  'rcond',
  'hermitian',
);

/**
 * `torch.linalg.pinv`: the Moore-Penrose inverse; singular values up to `max(atol, rtol * largest)` count as
 * zero.
 */
export function pinv(
  x: Tensor,
  ...args: Trailing<
    [rcond: Tensor | number | null, hermitian: boolean],
    ToleranceOptions & { rcond?: Tensor | number | null }
  >
): Tensor {
  const { rcond, ...rest } = readPinv(args);
  if (rest.hermitian) checkSquare('linalg.pinv', x);
  else checkMatrix('linalg.pinv', x);
  return pinvOp(x, { ...rest, rtol: rest.rtol ?? rcond });
}

type PowerArgs = Needed<[n: number], ['n']>;
const readPower = argumentReader<[n: number]>('linalg.matrixPower', 'n');

/** `torch.linalg.matrix_power`: by repeated squaring; negative powers are those of the inverse. */
export const matrixPower: (x: Tensor, ...args: PowerArgs) => Tensor = defineComposite(
  'linalg.matrixPower',
  (x: Tensor, ...args: PowerArgs): Tensor => {
    const op = 'linalg.matrixPower';
    const [n] = readPower(args);
    checkSquare(op, x);
    if (!Number.isInteger(n)) throw new Error(`${op}: expected an integer power, got ${String(n)}`);
    // Of no power of x, but on its tape, as in PyTorch.
    if (n === 0) return where(full([], true), identityLike(x, rowsOf(x), rowsOf(x)), x);
    let base = n < 0 ? inv(x) : x;
    let out: Tensor | null = null;
    for (let left = Math.abs(n); ; base = matmul(base, base)) {
      if (left % 2 === 1) out = out === null ? base : matmul(out, base);
      left = Math.floor(left / 2);
      if (left === 0) break;
    }
    return out === x ? working(x) : (out as Tensor);
  },
);

/** Where to split each run of factors, by the least number of multiplications (dynamic programming). */
function bestSplits(sizes: readonly number[]): number[][] {
  const n = sizes.length - 1;
  const cost = Array.from({ length: n }, () => new Array<number>(n).fill(0));
  const at = Array.from({ length: n }, () => new Array<number>(n).fill(0));
  for (let span = 1; span < n; span++) {
    for (let i = 0; i + span < n; i++) {
      const j = i + span;
      cost[i]![j] = Infinity;
      for (let k = i; k < j; k++) {
        const here = cost[i]![k]! + cost[k + 1]![j]! + sizes[i]! * sizes[k + 1]! * sizes[j + 1]!;
        if (here < cost[i]![j]!) [cost[i]![j], at[i]![j]] = [here, k];
      }
    }
  }
  return at;
}

/**
 * `torch.linalg.multi_dot`: the product of matrices (the first and the last may be vectors), in the cheapest
 * order.
 */
export const multiDot: (tensors: readonly Tensor[]) => Tensor = defineComposite(
  'linalg.multiDot',
  (tensors: readonly Tensor[]): Tensor => {
    const op = 'linalg.multiDot';
    const [first, last] = [tensors[0], tensors[tensors.length - 1]];
    if (first === undefined || last === undefined || tensors.length < 2)
      throw new Error(`${op}: expected at least two tensors`);
    tensors.forEach((x, i) => {
      const edge = i === 0 || i === tensors.length - 1;
      if (x.ndim !== 2 && !(edge && x.ndim === 1))
        throw new Error(
          `${op}: tensor ${i} has shape ${showShape(x.shape)}, expected a matrix${edge ? ' or a vector' : ''}`,
        );
    });
    const all = tensors.map((x, i) => (x.ndim === 2 ? x : unsqueeze(x, i === 0 ? 0 : 1)));
    const sizes = [rowsOf(all[0] as Tensor), ...all.map(columnsOf)];
    const at = bestSplits(sizes);
    const product = (i: number, j: number): Tensor =>
      i === j ? (all[i] as Tensor) : matmul(product(i, at[i]![j]!), product(at[i]![j]! + 1, j));
    let out = product(0, all.length - 1);
    if (last.ndim === 1) out = squeeze(out, -1);
    return first.ndim === 1 ? squeeze(out, 0) : out;
  },
  1,
);

const readDim = optionReader('linalg.vecdot', { dim: -1 }, 'dim');

/** `torch.linalg.vecdot`: dot products along `dim` (default the last); the rest broadcasts. */
export const vecdot: (x: Tensor, y: Tensor, ...args: Trailing<[dim: number], { dim?: number }>) => Tensor =
  defineComposite('linalg.vecdot', (x: Tensor, y: Tensor, ...args: unknown[]): Tensor => {
    const { dim } = readDim(args);
    const product = mul(x, y);
    return sumDims(product, [normalizeDim('linalg.vecdot', dim, product.ndim)], false);
  });

const readVander = optionReader('linalg.vander', { N: null as number | null }, 'N');

/**
 * `torch.linalg.vander`: powers 0 to N - 1 of each element, in a new last dim; N is the last size by
 * default.
 */
export const vander: (x: Tensor, ...args: Trailing<[N: number | null], { N?: number | null }>) => Tensor =
  defineComposite('linalg.vander', (given: Tensor, ...args: unknown[]): Tensor => {
    const { N } = readVander(args);
    const x = given.ndim === 0 ? unsqueeze(given, 0) : given;
    const n = N ?? (x.shape[x.ndim - 1] as number);
    if (!Number.isInteger(n) || n < 2)
      throw new Error(`linalg.vander: N must be an integer above 1, got ${String(N)}`);
    const base = unsqueeze(x, -1);
    const powers = [ones(base.shape, { dtype: x.dtype }), base];
    while (powers.length < n) powers.push(mul(powers[powers.length - 1] as Tensor, base));
    return cat(powers, -1);
  });

const readTensorinv = optionReader('linalg.tensorinv', { ind: 2 }, 'ind');

/** `torch.linalg.tensorinv`: the inverse for tensordot over the dims from `ind` on. */
export const tensorinv: (x: Tensor, ...args: Trailing<[ind: number], { ind?: number }>) => Tensor =
  defineComposite('linalg.tensorinv', (x: Tensor, ...args: unknown[]): Tensor => {
    const { ind } = readTensorinv(args);
    const op = 'linalg.tensorinv';
    if (!Number.isInteger(ind) || ind < 1)
      throw new Error(`${op}: ind must be a positive integer, got ${String(ind)}`);
    const [head, tail] = [x.shape.slice(0, ind), x.shape.slice(ind)];
    const n = numel(head);
    if (n !== numel(tail))
      throw new Error(
        `${op}: sizes up to ind (${n}) and after it (${numel(tail)}) must have the same product, got shape ${showShape(x.shape)}`,
      );
    return reshape(inv(reshape(x, [n, n])), [...tail, ...head]);
  });

const readTensorsolve = optionReader(
  'linalg.tensorsolve',
  { dims: null as readonly number[] | null },
  'dims',
);

/** `torch.linalg.tensorsolve`: X of `tensordot(a, X, X.ndim) = b`; `dims` of `a` go to the end first. */
export const tensorsolve: (
  a: Tensor,
  b: Tensor,
  ...args: Trailing<[dims: readonly number[] | null], { dims?: readonly number[] | null }>
) => Tensor = defineComposite(
  'linalg.tensorsolve',
  (given: Tensor, b: Tensor, ...args: unknown[]): Tensor => {
    const op = 'linalg.tensorsolve';
    const { dims } = readTensorsolve(args);
    checkTensors(op, given, b);
    const moved = (dims ?? []).map((d) => normalizeDim(op, d, given.ndim));
    const kept = given.shape.map((_, d) => d).filter((d) => !moved.includes(d));
    const a = permute(given, [...kept, ...moved]);
    const tail = a.shape.slice(b.ndim);
    if (numel(tail) !== b.numel() || a.numel() !== b.numel() ** 2)
      throw new Error(
        `${op}: ${showShape(a.shape)} is no square system for right sides ${showShape(b.shape)}`,
      );
    return reshape(solve(reshape(a, [b.numel(), b.numel()]), reshape(b, [b.numel()])), tail);
  },
);

const readCross = optionReader('linalg.cross', { dim: -1 }, 'dim');

/** `torch.linalg.cross`: cross products along `dim` (default the last), of size 3; the rest broadcasts. */
export function cross(x: Tensor, y: Tensor, ...args: Trailing<[dim: number], { dim?: number }>): Tensor {
  checkTensors('linalg.cross', x, y);
  if (x.ndim !== y.ndim)
    throw new Error(
      `linalg.cross: expected tensors of one rank, got shapes ${showShape(x.shape)} and ${showShape(y.shape)}`,
    );
  return crossAlong(x, y, readCross(args).dim);
}

export interface LstsqOptions {
  /** Singular values up to this times the largest count as zero. Default eps times the larger size. */
  rcond?: number | null;
  /** LAPACK's routine in PyTorch, default 'gelsy'. Here it decides only which other results there are. */
  driver?: 'gels' | 'gelsy' | 'gelsd' | 'gelss' | null;
}

const readLstsq = optionReader(
  'linalg.lstsq',
  { rcond: null as number | null, driver: 'gelsy' as LstsqOptions['driver'] },
  'rcond',
  'driver',
);

/**
 * `torch.linalg.lstsq`: [X, residuals, rank, singular values] with X the shortest of those that make `|A X -
 * B|` least. As in PyTorch some results are empty: residuals (the squares of what is left for each column)
 * unless A has more rows than columns, and with 'gelsy'; the rank with 'gels'; singular values with both.
 * Residuals are there for matrices of any rank: PyTorch leaves out all where one of them has less than full
 * rank, but the rank is known to the GPU only.
 */
export const lstsq: (
  a: Tensor,
  b: Tensor,
  ...args: Trailing<[rcond: number | null], LstsqOptions>
) => [solution: Tensor, residuals: Tensor, rank: Tensor, singularValues: Tensor] = defineComposite(
  'linalg.lstsq',
  (a: Tensor, b: Tensor, ...args: unknown[]): [Tensor, Tensor, Tensor, Tensor] => {
    const op = 'linalg.lstsq';
    const { rcond, driver } = readLstsq(args);
    checkMatrix(op, a);
    checkMatrix(op, b);
    if (rowsOf(a) !== rowsOf(b))
      throw new Error(`${op}: matrices ${showShape(a.shape)} do not fit right sides ${showShape(b.shape)}`);
    const x = matmul(pinvOp(a, { rtol: rcond }), b);
    const nothing = zeros([0]);
    const over = rowsOf(a) > columnsOf(a) && driver !== 'gelsy' && driver !== null;
    const residuals = over ? sumDims(square(sub(matmul(a, x), b)), [x.ndim - 2], false) : nothing;
    const rank = driver === 'gels' ? zeros([0], { dtype: 'int32' }) : matrixRank(a, { rtol: rcond });
    return [x, residuals, rank, driver === 'gelsd' || driver === 'gelss' ? svdOp(a, false)[1] : nothing];
  },
);
