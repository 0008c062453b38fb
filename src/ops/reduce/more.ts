import { checkTensors } from '../base/tensors.js';
import { defineComposite, defineOp } from '../../autograd/define.js';
import { e } from '../../kernels/expr/expr.js';
import { isFloatingPoint } from '../../tensor/dtype.js';
import { expandsTo, normalizeDim, normalizeDims, showShape } from '../../tensor/shape.js';
import {
  argumentReader,
  checkCount,
  type Needed,
  optionReader,
  type Trailing,
} from '../../tensor/options.js';
import { isTensor, type Tensor } from '../../tensor/tensor.js';
import { eq, gt, isclose, isnan, logicalNot, type CloseArgs } from '../pointwise/compare.js';
import { to } from '../base/copy.js';
import { overwrite } from '../base/overwrite.js';
import { add, div, mul, reciprocal, sub } from '../pointwise/pointwise.js';
import { all, amax, amin } from './reduce.js';
import {
  loaded,
  overDimsAs,
  runReduce,
  spread,
  type DimArgs,
  type DtypeOptions,
  type KeepdimOptions,
  type OverDims,
  type Span,
} from '../base/reduction.js';
import type { Operand } from '../base/row.js';
import { norm } from './statistics.js';
import { sumDims, sumTo } from '../base/sum-to.js';
import { diagonal } from '../shape/diagonal.js';
import { listOf, type Sizes } from '../base/sizes.js';
import { reshape } from '../base/view.js';
import { maskedFill, where } from '../pointwise/where.js';

/* Reductions that programs need more seldom, and what is made of reductions. */

const nansumOp: OverDims = defineOp<[Tensor, readonly number[], boolean], Tensor, Span>({
  name: 'nansum',
  forward(ctx, x, dims, keepdim) {
    ctx.state = { shape: x.shape, dims };
    ctx.save(x);
    const value = loaded(x.dtype);
    return runReduce({
      name: 'nansum',
      recipe: { op: 'sum', map: e.select(e.isNan(value), 0, value) },
      inputs: [x],
      dims,
      keepdim,
      dtypes: [x.dtype],
    })[0] as Tensor;
  },
  backward: (ctx, grad) => [() => maskedFill(spread(grad, ctx.state), isnan(ctx.saved[0] as Tensor), 0)],
});

const readNansum = optionReader('nansum', overDimsAs, 'dim', 'keepdim');
const readNanmean = optionReader('nanmean', overDimsAs, 'dim', 'keepdim');

/** `torch.nansum`: the sum of what is not NaN. Bool and integers give int32, as `sum` does. */
export function nansum(x: Tensor, ...args: DimArgs<DtypeOptions>): Tensor {
  checkTensors('nansum', x);
  const { dim, keepdim, dtype } = readNansum(args);
  const source = dtype === null ? x : to(x, dtype);
  const dims = normalizeDims('nansum', dim, x.ndim);
  return isFloatingPoint(source.dtype) ? nansumOp(source, dims, keepdim) : sumDims(source, dims, keepdim);
}

/** `torch.nanmean` of a float tensor: the mean of what is not NaN, NaN where nothing else is. */
export const nanmean: (x: Tensor, ...args: DimArgs<DtypeOptions>) => Tensor = defineComposite(
  'nanmean',
  (x: Tensor, ...args: DimArgs<DtypeOptions>): Tensor => {
    const { dim, keepdim, dtype } = readNanmean(args);
    const source = dtype === null ? x : to(x, dtype);
    if (!isFloatingPoint(source.dtype))
      throw new Error(`nanmean: expected a float tensor, got ${x.dtype}; convert it with .to('float32')`);
    const dims = normalizeDims('nanmean', dim, x.ndim);
    return div(nansumOp(source, dims, keepdim), sumDims(logicalNot(isnan(source)), dims, keepdim));
  },
);

const readAminmax = optionReader('aminmax', { dim: null as number | null, keepdim: false }, 'dim', 'keepdim');

/** `torch.aminmax`: the smallest and the largest value, along `dim` or of all; ties share the gradient. */
export function aminmax(
  x: Tensor,
  ...args: Trailing<[dim: number | null, keepdim: boolean], KeepdimOptions & { dim?: number | null }>
): [min: Tensor, max: Tensor] {
  checkTensors('aminmax', x);
  const { dim, keepdim } = readAminmax(args);
  const pair: [Tensor, Tensor] = [amin(x, dim, keepdim), amax(x, dim, keepdim)];
  // PyTorch gives a zero-dim tensor a dim where it is reduced along one.
  return x.ndim === 0 && dim !== null && keepdim ? [reshape(pair[0], [1]), reshape(pair[1], [1])] : pair;
}

/** `torch.trace`: the sum of the diagonal of a matrix. */
export const trace: (x: Tensor) => Tensor = defineComposite(
  'trace',
  (x: Tensor): Tensor => {
    if (x.ndim !== 2) throw new Error(`trace: expected a matrix, got shape ${showShape(x.shape)}`);
    return sumDims(diagonal(x), [0], false);
  },
  1,
);

/** `torch.Tensor.sum_to_size`: sums over the dims that broadcasting `size` to this shape repeats. */
export function sumToSize(x: Tensor, ...size: Sizes<'size'>): Tensor {
  checkTensors('sumToSize', x);
  const shape = listOf('sumToSize', size);
  if (!expandsTo(shape, x.shape))
    throw new Error(`sumToSize: size ${showShape(shape)} does not broadcast to shape ${showShape(x.shape)}`);
  return sumTo(x, shape);
}

const readDist = optionReader('dist', { p: 2 }, 'p');

/** `torch.dist`: the `p`-norm of `x - other`, which broadcast. */
export const dist: (x: Tensor, other: Tensor, ...args: Trailing<[p: number], { p?: number }>) => Tensor =
  defineComposite(
    'dist',
    (x: Tensor, other: Tensor, ...args: Trailing<[p: number], { p?: number }>): Tensor =>
      norm(sub(x, other), readDist(args).p),
  );

type RenormArgs = Needed<[p: number, dim: number, maxnorm: number], ['p', 'dim', 'maxnorm']>;

const readRenorm = argumentReader<[p: number, dim: number, maxnorm: number]>('renorm', 'p', 'dim', 'maxnorm');

/**
 * `torch.renorm`: entries of `dim` whose `p`-norm over all other dims is larger than `maxnorm` are scaled
 * down to it.
 */
export const renorm: (x: Tensor, ...args: RenormArgs) => Tensor = defineComposite(
  'renorm',
  (x: Tensor, ...args: RenormArgs): Tensor => {
    const [p, dim, maxnorm] = readRenorm(args);
    const d = normalizeDim('renorm', dim, x.ndim);
    if (x.ndim < 2)
      throw new Error(`renorm: expected a tensor of two dims or more, got shape ${showShape(x.shape)}`);
    if (!(p > 0)) throw new Error(`renorm: p must be larger than 0, got ${p}`);
    if (!(maxnorm >= 0)) throw new Error(`renorm: maxnorm must be 0 or more, got ${maxnorm}`);
    const others = x.shape.map((_, i) => i).filter((i) => i !== d);
    const length = norm(x, p, others, true);
    // The 1e-7 is ATen's.
    return mul(x, where(gt(length, maxnorm), mul(reciprocal(add(length, 1e-7)), maxnorm), 1));
  },
);

/** `torch.Tensor.renorm_`. */
export function renorm_(x: Tensor, ...args: RenormArgs): Tensor {
  return overwrite('renorm_', x, () => renorm(x, ...args));
}

const allTrue: (x: Tensor) => Tensor = all;

/** `torch.equal`: a promise of whether shapes and all values are the same; NaN equals nothing. */
export async function equal(x: Tensor, other: Tensor): Promise<boolean> {
  checkCount('equal', arguments.length, 2);
  if (!isTensor(other)) throw new Error(`equal: expected a tensor to compare with, got ${typeof other}`);
  if (x.ndim !== other.ndim || x.shape.some((size, i) => size !== other.shape[i])) return false;
  return isTrue(equalAll(x, other));
}

const equalAll = defineComposite('equal', (x: Tensor, other: Tensor): Tensor => allTrue(eq(x, other)));

/** `torch.allclose`: a promise of whether `isclose` holds for all elements; the shapes broadcast. */
export async function allclose(x: Tensor, other: Operand, ...args: CloseArgs): Promise<boolean> {
  checkTensors('allclose', x);
  return isTrue(closeAll(x, other, ...args));
}

const closeAll = defineComposite('allclose', (x: Tensor, other: Operand, ...args: CloseArgs): Tensor =>
  allTrue(isclose(x, other, ...args)),
);

async function isTrue(x: Tensor): Promise<boolean> {
  x.keep();
  try {
    return Boolean(await x.item());
  } finally {
    x.dispose();
  }
}
