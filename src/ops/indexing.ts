import { runtime } from '../device/index.js';
import { defineOp } from '../autograd/define.js';
import {
  planGather,
  planIndexWrite,
  planLookup,
  planScatter,
  type ScatterReduce,
} from '../kernels/index/gather.js';
import { outOfRange } from '../kernels/base/faults.js';
import { planOneHot } from '../kernels/index/positions.js';
import { elementOf } from '../tensor/dtype.js';
import { contiguousStrides, normalizeDim, sameShape, showShape } from '../tensor/shape.js';
import { Tensor } from '../tensor/tensor.js';
import { checkOnDevice } from './check.js';
import { ne } from './compare.js';
import { clone, to } from './copy.js';
import { fillInto } from './copies.js';
import { mul } from './pointwise.js';
import { placeRegion } from './region.js';
import { planLimits, runPlan } from './run-plan.js';
import { reshape, unsqueeze } from './view.js';

/*
 * Reading and writing by int32 indices. Sums go through their sources in order, so results are the same from
 * run to run. Indices that were uploaded from the host are checked there, at once; those computed on the GPU
 * by the kernel that uses them, which makes the next await throw.
 */

/**
 * Who looks something up, for its errors, and whether its kernel checks the indices: only those that nothing
 * has checked before.
 */
interface Lookup {
  readonly name: string;
  readonly checked: boolean;
}

/** In backward: the forward pass has checked the indices. */
const again = (name: string): Lookup => ({ name, checked: false });

/** `index` in int32, and what is left to check. @throws for an index out of range that the host knows. */
function checkIndex(op: string, index: Tensor, size: number): [index: Tensor, lookup: Lookup] {
  if (index.dtype !== 'int32' && index.dtype !== 'uint8')
    throw new Error(`${op}: indices must be int32, got ${index.dtype}; convert them with .to('int32')`);
  const values = index.hostValues();
  if (values !== null) {
    for (const value of values) {
      if (value < 0 || value >= size) throw new Error(outOfRange(op, value, size));
    }
  }
  return [to(index, 'int32'), { name: op, checked: values === null }];
}

interface Along {
  readonly shape: readonly number[];
  readonly dim: number;
}

const gatherOp: (x: Tensor, index: Tensor, dim: number, lookup: Lookup) => Tensor = defineOp<
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
    return [() => scatterAddOp(zerosOf(shape, grad), index, grad, dim, again('scatterAdd'))];
  },
});

function zerosOf(shape: readonly number[], like: Tensor): Tensor {
  const out = Tensor.empty(shape, like.dtype, 'zeros');
  if (out.numel() > 0) fillInto(out, 0, false);
  return out;
}

function checkAlong(op: string, x: Tensor, dim: number, index: Tensor, src?: Tensor): number {
  const d = normalizeDim(op, dim, x.ndim);
  const fits = (other: Tensor): boolean =>
    other.ndim === index.ndim && index.shape.every((size, i) => size <= (other.shape[i] as number));
  const skip = (other: Tensor): boolean =>
    index.ndim === x.ndim && index.shape.every((size, i) => i === d || size <= (other.shape[i] as number));
  if (!skip(x) || (src !== undefined && !fits(src))) {
    const sources = src === undefined ? '' : ` and source ${showShape(src.shape)}`;
    throw new Error(
      `${op}: index of shape ${showShape(index.shape)} does not fit tensor ${showShape(x.shape)}${sources} along dim ${dim}: the ranks must agree and no other size may be larger`,
    );
  }
  return d;
}

/** Zero-dim tensors are indexed as if they had one dim of size 1. */
const lift = (x: Tensor): Tensor => (x.ndim === 0 ? unsqueeze(x, 0) : x);

/**
 * `torch.gather`: `out[i][j] = x[index[i][j]][j]` for dim 0, and so on; the result has the shape of `index`.
 *
 * @throws Error for an index out of range that the host knows; (at the next await) DataError for one computed
 * on the GPU
 */
export function gather(x: Tensor, dim: number, index: Tensor): Tensor {
  return gatherAs('gather', x, dim, index);
}

function gatherAs(op: string, x: Tensor, dim: number, index: Tensor): Tensor {
  const d = checkAlong(op, x, dim, index);
  const [at, lookup] = checkIndex(op, index, x.shape[d] ?? 1);
  return x.ndim === 0 ? reshape(gatherOp(lift(x), lift(at), 0, lookup), []) : gatherOp(x, at, d, lookup);
}

/**
 * `torch.take_along_dim` with indices of the tensor's rank.
 *
 * @throws Error for an index out of range that the host knows; (at the next await) DataError for one computed
 * on the GPU
 */
export function takeAlongDim(x: Tensor, index: Tensor, dim: number): Tensor {
  return gatherAs('takeAlongDim', x, dim, index);
}

function scatterInto(
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

const scatterAddOp: (x: Tensor, index: Tensor, src: Tensor, dim: number, lookup: Lookup) => Tensor = defineOp<
  [Tensor, Tensor, Tensor, number, Lookup],
  Tensor,
  Along
>({
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

/** The gradient of a source larger than its index is zero past the index. */
function padTo(x: Tensor, shape: readonly number[]): Tensor {
  if (sameShape(x.shape, shape)) return x;
  const whole = { shape, strides: contiguousStrides(shape), offset: 0 };
  return placeRegion(x, whole, { ...whole, shape: x.shape });
}

/**
 * `torch.scatter_add`: `out = x; out[index[i][j]][j] += src[i][j]` for dim 0, and so on.
 *
 * @throws Error for an index out of range that the host knows; (at the next await) DataError for one computed
 * on the GPU
 */
export function scatterAdd(x: Tensor, dim: number, index: Tensor, src: Tensor): Tensor {
  const d = checkAlong('scatterAdd', x, dim, index, src);
  checkSameDtype('scatterAdd', x, src);
  const [at, lookup] = checkIndex('scatterAdd', index, x.shape[d] ?? 1);
  return scatterAddOp(x, at, src, d, lookup);
}

const scatterOp: (x: Tensor, index: Tensor, src: Tensor, dim: number, lookup: Lookup) => Tensor = defineOp<
  [Tensor, Tensor, Tensor, number, Lookup],
  Tensor,
  Along
>({
  name: 'scatter',
  forward(ctx, x, index, src, dim, lookup) {
    ctx.state = { shape: src.shape, dim };
    ctx.save(index);
    return scatterInto(x, index, src, dim, 'assign', lookup);
  },
  backward(ctx, grad) {
    const index = ctx.saved[0] as Tensor;
    const { shape, dim } = ctx.state;
    const zero = (): Tensor => zerosOf([], grad);
    return [
      () => scatterOp(grad, index, zero(), dim, again('scatter')),
      null,
      shape.length === 0 ? null : () => padTo(gatherOp(grad, index, dim, again('gather')), shape),
    ];
  },
});

/**
 * `torch.scatter`: `out = x; out[index[i][j]][j] = src[i][j]` for dim 0, and so on; `src` may be a number. Of
 * several writes the last wins.
 *
 * @throws Error for an index out of range that the host knows; (at the next await) DataError for one computed
 * on the GPU
 */
export function scatter(x: Tensor, dim: number, index: Tensor, src: Tensor | number): Tensor {
  const source =
    typeof src === 'number' ? Tensor.fromHost([elementOf('scatter', src, x.dtype)], [], x.dtype) : src;
  const d = checkAlong('scatter', x, dim, index, typeof src === 'number' ? undefined : src);
  checkSameDtype('scatter', x, source);
  const [at, lookup] = checkIndex('scatter', index, x.shape[d] ?? 1);
  return scatterOp(x, at, source, d, lookup);
}

function checkSameDtype(op: string, x: Tensor, src: Tensor): void {
  if (x.dtype !== src.dtype)
    throw new Error(`${op}: the tensor is ${x.dtype} but the source is ${src.dtype}; convert one with .to()`);
}

const lookupOp: (x: Tensor, index: Tensor, dim: number, lookup: Lookup, skip: number) => Tensor = defineOp<
  [Tensor, Tensor, number, Lookup, number],
  Tensor,
  Along & { skip: number }
>({
  name: 'indexSelect',
  forward(ctx, x, index, dim, lookup, skip) {
    ctx.state = { shape: x.shape, dim, skip };
    ctx.save(index);
    const { name } = lookup;
    const out = Tensor.empty(
      [...x.shape.slice(0, dim), ...index.shape, ...x.shape.slice(dim + 1)],
      x.dtype,
      name,
    );
    if (out.numel() > 0)
      runPlan(name, planLookup(runtime().target, { ...lookup, x, index, out, dim, ...planLimits() }), {
        x,
        index,
        out,
      });
    return out;
  },
  backward(ctx, grad) {
    const { shape, dim, skip } = ctx.state;
    const index = ctx.saved[0] as Tensor;
    return [() => addRowsOp(zerosOf(shape, grad), index, grad, dim, { alpha: 1, skip, checked: false })];
  },
});

interface AddRows {
  readonly alpha: number;
  /** Rows with this index are left out; -1: none. */
  readonly skip: number;
  readonly checked: boolean;
}

/** Adds rows of `src` at `index` of `dim`. */
const addRowsOp: (x: Tensor, index: Tensor, src: Tensor, dim: number, how: AddRows) => Tensor = defineOp<
  [Tensor, Tensor, Tensor, number, AddRows],
  Tensor,
  { readonly dim: number; readonly how: AddRows }
>({
  name: 'indexAdd',
  forward(ctx, x, index, src, dim, how) {
    ctx.state = { dim, how };
    ctx.save(index);
    const { alpha, skip, checked } = how;
    const out = clone(x, { memoryFormat: 'contiguous' });
    if (src.numel() > 0) {
      const plan = planIndexWrite(runtime().target, {
        out,
        indices: [index],
        src,
        dim,
        reduce: 'add',
        checked,
        ...(alpha !== 1 && { alpha }),
        ...(skip >= 0 && { skip }),
        ...planLimits(),
      });
      runPlan('indexAdd', plan, { out, index, src });
    }
    return out;
  },
  backward(ctx, grad) {
    const { dim, how } = ctx.state;
    const index = ctx.saved[0] as Tensor;
    const rows = (): Tensor => {
      const picked = mul(lookupOp(grad, index, dim, again('indexSelect'), -1), how.alpha);
      if (how.skip < 0) return picked;
      const counted = to(ne(index, how.skip), 'float32');
      return mul(
        picked,
        reshape(counted, [...index.shape, ...grad.shape.slice(dim + index.ndim).map(() => 1)]),
      );
    };
    return [() => grad, null, rows];
  },
});

/**
 * `torch.index_select`: the entries `index` (one dim) of `dim`.
 *
 * @throws Error for an index out of range that the host knows; (at the next await) DataError for one computed
 * on the GPU
 */
export function indexSelect(x: Tensor, dim: number, index: Tensor): Tensor {
  const d = normalizeDim('indexSelect', dim, x.ndim);
  if (index.ndim > 1)
    throw new Error(`indexSelect: index must have one dim, got shape ${showShape(index.shape)}`);
  const source = lift(x);
  const [at, lookup] = checkIndex('indexSelect', index, source.shape[d] as number);
  const out = lookupOp(source, lift(at), d, lookup, -1);
  return x.ndim === 0 ? reshape(out, []) : out;
}

/**
 * `torch.index_add`: `x` with `alpha * src[i]` added at entry `index[i]` of `dim`.
 *
 * @throws Error for an index out of range that the host knows; (at the next await) DataError for one computed
 * on the GPU
 */
export function indexAdd(
  x: Tensor,
  dim: number,
  index: Tensor,
  src: Tensor,
  { alpha = 1 }: { alpha?: number } = {},
): Tensor {
  const d = normalizeDim('indexAdd', dim, x.ndim);
  checkSameDtype('indexAdd', x, src);
  const expected = x.shape.map((size, i) => (i === d ? index.numel() : size));
  if (index.ndim > 1 || !sameShape(src.shape, expected)) {
    throw new Error(
      `indexAdd: with ${showShape(index.shape)} indices along dim ${dim} of ${showShape(x.shape)} the source must have shape ${showShape(expected)}, got ${showShape(src.shape)}`,
    );
  }
  const [at, { checked }] = checkIndex('indexAdd', index, x.shape[d] ?? 1);
  return addRowsOp(x, lift(at), src, d, { alpha, skip: -1, checked });
}

export interface EmbeddingOptions {
  /** Row that gets no gradient. */
  paddingIdx?: number | null;
}

/**
 * `torch.nn.functional.embedding`: rows of `weight` [V, D] at integer `ids` [...], giving [..., D].
 *
 * @throws Error for an index out of range that the host knows; (at the next await) DataError for one computed
 * on the GPU
 */
export function embedding(ids: Tensor, weight: Tensor, { paddingIdx = null }: EmbeddingOptions = {}): Tensor {
  if (weight.ndim !== 2)
    throw new Error(`embedding: weight must have shape [V, D], got ${showShape(weight.shape)}`);
  const rows = weight.shape[0] as number;
  const skip = paddingIdx === null ? -1 : paddingIdx < 0 ? paddingIdx + rows : paddingIdx;
  const [at, lookup] = checkIndex('embedding', ids, rows);
  return lookupOp(weight, at, 0, lookup, skip);
}

/**
 * `torch.nn.functional.one_hot`: int32 of shape [..., numClasses]; `numClasses` must be given for ids made on
 * the GPU.
 *
 * @throws Error for an index out of range that the host knows; (at the next await) DataError for one computed
 * on the GPU
 */
export function oneHot(ids: Tensor, numClasses = -1): Tensor {
  let classes = numClasses;
  if (classes < 0) {
    const values = ids.hostValues();
    if (values === null)
      throw new Error(
        'oneHot: give numClasses; these ids were made on the GPU, and their largest value is not known here',
      );
    classes = values.reduce((most, value) => Math.max(most, value + 1), 0);
  }
  const [index, { checked }] = checkIndex('oneHot', ids, classes);
  if (checked) checkOnDevice('oneHot', 'index', index, [classes]);
  const out = Tensor.empty([...ids.shape, classes], 'int32', 'oneHot');
  if (out.numel() > 0) {
    runPlan('oneHot', planOneHot(runtime().target, { x: index, out, ...planLimits() }), { x: index, out });
  }
  return out;
}
