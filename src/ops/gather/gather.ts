import { runtime } from '../../device/index.js';
import { defineOp, entered } from '../../autograd/define.js';
import {
  planGather,
  planIndex,
  planIndexWrite,
  planScatter,
  type ScatterReduce,
} from '../../kernels/index/gather.js';
import { outOfRange } from '../../kernels/base/faults.js';
import { argumentReader, type Needed, optionReader, required } from '../../tensor/options.js';
import {
  broadcastShapes,
  contiguousStrides,
  normalizeDim,
  sameShape,
  showShape,
} from '../../tensor/shape.js';
import { isTensor, Tensor } from '../../tensor/tensor.js';
import { ne } from '../pointwise/compare.js';
import { integersOf } from '../base/check.js';
import { clone, to } from '../base/copy.js';
import { fillInto } from '../base/copies.js';
import { mul } from '../pointwise/pointwise.js';
import { placeRegion } from '../base/region.js';
import { planLimits, runPlan } from '../base/run-plan.js';
import { expand, reshape, unsqueeze } from '../base/view.js';

/*
 * Reading and writing by int32 indices. Sums go through their sources in order, so results are the same from
 * run to run. Indices that were uploaded from the host are checked there, at once; those computed on the GPU
 * by the kernel that uses them, which makes the next await throw.
 */

/**
 * Who looks something up, for its errors, and whether its kernel checks the indices: only those that nothing
 * has checked before.
 */
export interface Lookup {
  readonly name: string;
  readonly checked: boolean;
}

/** @internal In backward: the forward pass has checked the indices. */
export const again = (name: string): Lookup => ({ name, checked: false });

/**
 * @internal `index` in int32, and what is left to check.
 * @throws Error for an index out of range that the host knows
 */
export function checkIndex(op: string, index: Tensor, size: number): [index: Tensor, lookup: Lookup] {
  const integers = integersOf(op, 'indices', index);
  const values = index.hostValues();
  if (values !== null) {
    for (const value of values) {
      if (value < 0 || value >= size) throw new Error(outOfRange(op, value, size));
    }
  }
  return [integers, { name: op, checked: values === null }];
}

interface Along {
  readonly shape: readonly number[];
  readonly dim: number;
}

/** @internal */
export const gatherOp: (x: Tensor, index: Tensor, dim: number, lookup: Lookup) => Tensor = defineOp<
  [Tensor, Tensor, number, Lookup],
  Tensor,
  Along
>({
  name: 'gather',
  forward(ctx, x, index, dim, lookup) {
    ctx.state = { shape: x.shape, dim };
    ctx.save(index);
    const { name } = lookup;
    const out = Tensor.empty(index.shape, x.dtype, name);
    if (out.numel() > 0)
      runPlan(name, planGather(runtime().target, { ...lookup, x, index, out, dim, ...planLimits() }), {
        x,
        index,
        out,
      });
    return out;
  },
  backward(ctx, grad) {
    const { shape, dim } = ctx.state;
    const index = ctx.saved[0] as Tensor;
    return [() => scatterAddOp(zerosToWrite(shape, grad), index, grad, dim, again('scatterAdd'))];
  },
});

/** @internal */
export function zerosOf(shape: readonly number[], like: Tensor): Tensor {
  const out = Tensor.empty(shape, like.dtype, 'zeros');
  if (out.numel() > 0) fillInto(out, 0, false);
  return out;
}

/** Zeros that an op takes a copy of. A GPU waits for memory: there they are one zero, repeated. */
const zerosToWrite = (shape: readonly number[], like: Tensor): Tensor =>
  runtime().target.kind === 'gpu' ? expand(zerosOf([], like), shape) : zerosOf(shape, like);

/**
 * @internal The normalised dim, where `index` (and `src`, if given) fit `x`. None of them is zero-dim; an
 * empty index always fits.
 */
export function checkAlong(op: string, x: Tensor, dim: number, index: Tensor, src?: Tensor): number {
  const d = normalizeDim(op, dim, x.ndim);
  if (index.numel() === 0) return d;
  const fits = (other: Tensor, besides: number): boolean =>
    other.ndim === index.ndim &&
    index.shape.every((size, i) => i === besides || size <= (other.shape[i] as number));
  if (!fits(x, d) || (src !== undefined && !fits(src, -1))) {
    const sources = src === undefined ? '' : ` and source ${showShape(src.shape)}`;
    throw new Error(
      `${op}: index of shape ${showShape(index.shape)} does not fit tensor ${showShape(x.shape)}${sources} along dim ${dim}: the ranks must agree and no other size may be larger`,
    );
  }
  return d;
}

/** @internal Zero-dim tensors are indexed as if they had one dim of size 1. */
export const lift = (x: Tensor): Tensor => (x.ndim === 0 ? unsqueeze(x, 0) : x);

/** @internal `x` in the shape that it would have had without {@link lift}. */
export const unlift = (x: Tensor, like: Tensor): Tensor => (like.ndim === 0 ? reshape(x, []) : x);

const readGather = argumentReader<[dim: number, index: Tensor]>('gather', 'dim', 'index');

/**
 * `torch.gather`: `out[i][j] = x[index[i][j]][j]` for dim 0, and so on; the result has the shape of `index`.
 *
 * @throws Error for an index out of range that the host knows; (at the next await) DataError for one computed
 * on the GPU
 */
export function gather(x: Tensor, ...args: Needed<[dim: number, index: Tensor], ['dim', 'index']>): Tensor {
  const [dim, index] = readGather(args);
  return gatherAs('gather', x, dim, index);
}

/** @internal */
export function gatherAs(op: string, x: Tensor, dim: number, index: Tensor): Tensor {
  if (!isTensor(index)) checkIndex(op, index, 0);
  const source = lift(x);
  const d = checkAlong(op, source, dim, lift(index));
  const [at, lookup] = checkIndex(op, index, source.shape[d] as number);
  return unlift(gatherOp(source, lift(at), d, lookup), index);
}

/** @internal A copy of `x` with `src`, of the shape of `index` or larger or zero-dim, written into it. */
export function scatterInto(
  x: Tensor,
  index: Tensor,
  src: Tensor,
  dim: number,
  reduce: ScatterReduce,
  lookup: Lookup,
): Tensor {
  const out = clone(x, { memoryFormat: 'contiguous' });
  if (index.numel() > 0) {
    const plan = planScatter(runtime().target, { ...lookup, out, index, src, dim, reduce, ...planLimits() });
    runPlan(lookup.name, plan, { out, index, src });
  }
  return out;
}

/** @internal */
export const scatterAddOp: (x: Tensor, index: Tensor, src: Tensor, dim: number, lookup: Lookup) => Tensor =
  defineOp<[Tensor, Tensor, Tensor, number, Lookup], Tensor, Along>({
    name: 'scatterAdd',
    forward(ctx, x, index, src, dim, lookup) {
      ctx.state = { shape: src.shape, dim };
      ctx.save(index);
      return scatterInto(x, index, src, dim, 'add', lookup);
    },
    backward(ctx, grad) {
      const index = ctx.saved[0] as Tensor;
      const { shape, dim } = ctx.state;
      return [() => grad, null, () => padTo(gatherOp(grad, index, dim, again('gather')), shape)];
    },
  });

/** @internal The gradient of a source larger than its index is zero past the index. */
export function padTo(x: Tensor, shape: readonly number[]): Tensor {
  if (sameShape(x.shape, shape)) return x;
  const whole = { shape, strides: contiguousStrides(shape), offset: 0 };
  return placeRegion(x, whole, { ...whole, shape: x.shape });
}

const readScatterAdd = argumentReader<[dim: number, index: Tensor, src: Tensor]>(
  'scatterAdd',
  'dim',
  'index',
  'src',
);

/**
 * `torch.scatter_add`: `out = x; out[index[i][j]][j] += src[i][j]` for dim 0, and so on.
 *
 * @throws Error for an index out of range that the host knows; (at the next await) DataError for one computed
 * on the GPU
 */
export const scatterAdd: (
  x: Tensor,
  ...args: Needed<[dim: number, index: Tensor, src: Tensor], ['dim', 'index', 'src']>
) => Tensor = entered(
  'scatterAdd',
  (
    x: Tensor,
    ...args: Needed<[dim: number, index: Tensor, src: Tensor], ['dim', 'index', 'src']>
  ): Tensor => {
    const [dim, index, src] = readScatterAdd(args);
    return scattered('scatterAdd', scatterAddOp, x, dim, index, src);
  },
);

/** @internal A scatter of `src`, whatever the ranks: checks, and calls `write` with tensors of one rank. */
export function scattered(
  op: string,
  write: (x: Tensor, index: Tensor, src: Tensor, dim: number, lookup: Lookup) => Tensor,
  x: Tensor,
  dim: number,
  index: Tensor,
  src: Tensor,
  whole = false,
): Tensor {
  const target = lift(x);
  if (!isTensor(index)) checkIndex(op, index, 0);
  checkSameDtype(op, x, src);
  const source = whole ? src : lift(src);
  const d = checkAlong(op, target, dim, lift(index), whole ? undefined : source);
  const [at, lookup] = checkIndex(op, index, target.shape[d] as number);
  return unlift(write(target, lift(at), source, d, lookup), x);
}

/** @internal */
export function checkSameDtype(op: string, x: Tensor, src: Tensor): void {
  if (!isTensor(src)) throw new Error(`${op}: the source must be a tensor, got ${String(src)}`);
  if (x.dtype !== src.dtype)
    throw new Error(`${op}: the tensor is ${x.dtype} but the source is ${src.dtype}; convert one with .to()`);
}

/**
 * @internal `x` with neighbouring dims from `dim` on replaced by those of `indices`, one for each, broadcast
 * together.
 */
export const lookupOp: (
  x: Tensor,
  indices: readonly Tensor[],
  dim: number,
  lookup: Lookup,
  skip?: number,
) => Tensor = defineOp<
  [Tensor, readonly Tensor[], number, Lookup, number?],
  Tensor,
  Along & { skip: number | undefined }
>({
  name: 'indexSelect',
  forward(ctx, x, indices, dim, lookup, skip) {
    ctx.state = { shape: x.shape, dim, skip };
    ctx.save(...indices);
    const { name } = lookup;
    const looked = broadcastShapes(name, ...indices.map((index) => index.shape));
    const out = Tensor.empty(
      [...x.shape.slice(0, dim), ...looked, ...x.shape.slice(dim + indices.length)],
      x.dtype,
      name,
    );
    if (out.numel() > 0) {
      const plan = planIndex(runtime().target, { ...lookup, x, indices, out, dim, ...planLimits() });
      runPlan(name, plan, { x, ...byName(indices), out });
    }
    return out;
  },
  backward(ctx, grad) {
    const { shape, dim, skip } = ctx.state;
    const indices = ctx.saved as readonly Tensor[];
    const how: PutRows = {
      name: 'indexAdd',
      reduce: 'add',
      checked: false,
      ...(skip !== undefined && { skip }),
    };
    return [() => putRowsOp(zerosToWrite(shape, grad), indices, grad, dim, how)];
  },
});

const byName = (indices: readonly Tensor[]): Record<string, Tensor> =>
  indices.length === 1
    ? { index: indices[0] as Tensor }
    : Object.fromEntries(indices.map((index, m) => [`index${m}`, index]));

interface PutRows extends Lookup {
  readonly reduce: 'add' | 'assign';
  readonly alpha?: number;
  /** Rows whose (first) index is this are left out. */
  readonly skip?: number;
}

/**
 * @internal `x` with `src` added or written where {@link lookupOp} would read; `src` has the shape of what
 * that gives.
 */
export const putRowsOp: (
  x: Tensor,
  indices: readonly Tensor[],
  src: Tensor,
  dim: number,
  how: PutRows,
) => Tensor = defineOp<
  [Tensor, readonly Tensor[], Tensor, number, PutRows],
  Tensor,
  { readonly dim: number; readonly how: PutRows; readonly shape: readonly number[] }
>({
  name: 'indexAdd',
  forward(ctx, x, indices, src, dim, how) {
    ctx.state = { dim, how, shape: src.shape };
    ctx.save(...indices);
    const out = clone(x, { memoryFormat: 'contiguous' });
    if (src.numel() > 0) {
      const plan = planIndexWrite(runtime().target, { ...how, out, indices, src, dim, ...planLimits() });
      runPlan(how.name, plan, { out, ...byName(indices), src });
    }
    return out;
  },
  backward(ctx, grad) {
    const { dim, how, shape } = ctx.state;
    const indices = ctx.saved as readonly Tensor[];
    const rows = (): Tensor => {
      const picked = lookupOp(grad, indices, dim, again('indexSelect'));
      const { alpha = 1, skip } = how;
      const scaled = alpha === 1 ? picked : mul(picked, alpha);
      if (skip === undefined) return scaled;
      const [index] = indices as [Tensor];
      const counted = to(ne(index, skip), grad.dtype);
      const after = grad.shape.slice(dim + 1).map(() => 1);
      return mul(scaled, reshape(counted, [...index.shape, ...after]));
    };
    const cleared = (): Tensor =>
      putRowsOp(grad, indices, expand(zerosOf([], grad), shape), dim, { ...how, checked: false });
    return [how.reduce === 'add' ? () => grad : cleared, ...indices.map(() => null), rows];
  },
});

const readIndexSelect = argumentReader<[dim: number, index: Tensor]>('indexSelect', 'dim', 'index');

/**
 * `torch.index_select`: the entries `index` (one dim) of `dim`.
 *
 * @throws Error for an index out of range that the host knows; (at the next await) DataError for one computed
 * on the GPU
 */
export function indexSelect(
  x: Tensor,
  ...args: Needed<[dim: number, index: Tensor], ['dim', 'index']>
): Tensor {
  const [dim, index] = readIndexSelect(args);
  const d = normalizeDim('indexSelect', dim, x.ndim);
  const source = lift(x);
  const [at, lookup] = checkIndex('indexSelect', index, source.shape[d] as number);
  if (index.ndim > 1)
    throw new Error(`indexSelect: index must have one dim, got shape ${showShape(index.shape)}`);
  return unlift(lookupOp(source, [lift(at)], d, lookup), x);
}

const readIndexAdd = optionReader(
  'indexAdd',
  { dim: required<number>(), index: required<Tensor>(), source: required<Tensor>(), alpha: 1 },
  'dim',
  'index',
  'source',
  'alpha',
);

/**
 * `torch.index_add`: `x` with `alpha * source[i]` added at entry `index[i]` of `dim`.
 *
 * @throws Error for an index out of range that the host knows; (at the next await) DataError for one computed
 * on the GPU
 */
export function indexAdd(
  x: Tensor,
  ...args: Needed<
    [dim: number, index: Tensor, source: Tensor],
    ['dim', 'index', 'source'],
    [alpha: number],
    { alpha?: number }
  >
): Tensor {
  const { dim, index, source: src, alpha } = readIndexAdd(args);
  const [d, [at, lookup]] = checkRows('indexAdd', x, dim, index, src);
  return unlift(putRowsOp(lift(x), [lift(at)], lift(src), d, { ...lookup, reduce: 'add', alpha }), x);
}

/** @internal The normalised dim, and the checked index, of ops that write `src` at entries of `dim`. */
export function checkRows(
  op: string,
  x: Tensor,
  dim: number,
  index: Tensor,
  src: Tensor,
): [dim: number, checked: ReturnType<typeof checkIndex>] {
  const d = normalizeDim(op, dim, x.ndim);
  const checked = checkIndex(op, index, x.shape[d] ?? 1);
  checkSameDtype(op, x, src);
  const count = index.numel();
  const expected = lift(x).shape.map((size, i) => (i === d ? count : size));
  if (index.ndim > 1 || !sameShape(lift(src).shape, expected)) {
    throw new Error(
      `${op}: with ${showShape(index.shape)} indices along dim ${dim} of ${showShape(x.shape)} the source must have shape ${showShape(expected)}, got ${showShape(src.shape)}`,
    );
  }
  return [d, checked];
}
