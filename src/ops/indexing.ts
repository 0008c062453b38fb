import { runtime } from '../device/index.js';
import { defineOp } from '../autograd/define.js';
import {
  planGather,
  planIndexWrite,
  planLookup,
  planScatter,
  type ScatterReduce,
} from '../kernels/gather.js';
import { planOneHot } from '../kernels/positions.js';
import { normalizeDim, sameShape, showShape } from '../tensor/shape.js';
import { Tensor } from '../tensor/tensor.js';
import { ne } from './compare.js';
import { clone, fillInto, to } from './copy.js';
import { pad } from './join.js';
import { mul } from './pointwise.js';
import { planLimits, runPlan } from './run-plan.js';
import { reshape, unsqueeze } from './view.js';

/*
 * Reading and writing by int32 indices. Sums go through their sources in order, so results are the same from run to run. Indices that were
 * uploaded from the host are checked there; an index computed on the GPU that is out of range reads NaN and writes nothing.
 */

function checkIndex(op: string, index: Tensor, size: number): Tensor {
  if (index.dtype !== 'int32' && index.dtype !== 'uint8')
    throw new Error(`${op}: indices must be int32, got ${index.dtype}; convert them with .to('int32')`);
  const values = index.hostValues();
  if (values !== null) {
    for (const value of values) {
      if (value < 0 || value >= size)
        throw new Error(`${op}: index ${value} is out of range for a dim of size ${size}`);
    }
  }
  return to(index, 'int32');
}

interface Along {
  readonly shape: readonly number[];
  readonly dim: number;
}

const gatherOp: (x: Tensor, index: Tensor, dim: number) => Tensor = defineOp<
  [Tensor, Tensor, number],
  Tensor,
  Along
>({
  name: 'gather',
  forward(ctx, x, index, dim) {
    ctx.state = { shape: x.shape, dim };
    ctx.save(index);
    const out = Tensor.empty(index.shape, x.dtype, 'gather');
    if (out.numel() > 0)
      runPlan('gather', planGather(runtime().target, { x, index, out, dim, ...planLimits() }), {
        x,
        index,
        out,
      });
    return out;
  },
  backward(ctx, grad) {
    const { shape, dim } = ctx.state;
    const index = ctx.saved[0] as Tensor;
    return [() => scatterAddOp(zerosOf(shape, grad), index, grad, dim)];
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

/** `torch.gather`: `out[i][j] = x[index[i][j]][j]` for dim 0, and so on; the result has the shape of `index`. */
export function gather(x: Tensor, dim: number, index: Tensor): Tensor {
  const d = checkAlong('gather', x, dim, index);
  if (x.ndim === 0) return clone(x);
  return gatherOp(x, checkIndex('gather', index, x.shape[d] as number), d);
}

/** `torch.take_along_dim` with indices of the tensor's rank. */
export function takeAlongDim(x: Tensor, index: Tensor, dim: number): Tensor {
  return gather(x, dim, index);
}

function scatterInto(
  op: string,
  x: Tensor,
  index: Tensor,
  src: Tensor,
  dim: number,
  reduce: ScatterReduce,
): Tensor {
  const out = clone(x, { memoryFormat: 'contiguous' });
  if (index.numel() > 0) {
    runPlan(op, planScatter(runtime().target, { name: op, out, index, src, dim, reduce, ...planLimits() }), {
      out,
      index,
      src,
    });
  }
  return out;
}

const scatterAddOp: (x: Tensor, index: Tensor, src: Tensor, dim: number) => Tensor = defineOp<
  [Tensor, Tensor, Tensor, number],
  Tensor,
  Along
>({
  name: 'scatterAdd',
  forward(ctx, x, index, src, dim) {
    ctx.state = { shape: src.shape, dim };
    ctx.save(index);
    return scatterInto('scatterAdd', x, index, src, dim, 'add');
  },
  backward(ctx, grad) {
    const index = ctx.saved[0] as Tensor;
    const { shape, dim } = ctx.state;
    return [() => grad, null, () => padTo(gatherOp(grad, index, dim), shape)];
  },
});

/** The gradient of a source larger than its index is zero past the index. */
function padTo(x: Tensor, shape: readonly number[]): Tensor {
  if (sameShape(x.shape, shape)) return x;
  // `pad` counts dims from the last.
  const missing = shape.map((size, i) => [0, size - (x.shape[i] as number)]);
  return pad(x, missing.reverse().flat());
}

/** `torch.scatter_add`: `out = x; out[index[i][j]][j] += src[i][j]` for dim 0, and so on. */
export function scatterAdd(x: Tensor, dim: number, index: Tensor, src: Tensor): Tensor {
  const d = checkAlong('scatterAdd', x, dim, index, src);
  checkSameDtype('scatterAdd', x, src);
  return scatterAddOp(x, checkIndex('scatterAdd', index, x.shape[d] ?? 1), src, d);
}

const scatterOp: (x: Tensor, index: Tensor, src: Tensor, dim: number) => Tensor = defineOp<
  [Tensor, Tensor, Tensor, number],
  Tensor,
  Along
>({
  name: 'scatter',
  forward(ctx, x, index, src, dim) {
    ctx.state = { shape: src.shape, dim };
    ctx.save(index);
    return scatterInto('scatter', x, index, src, dim, 'assign');
  },
  backward(ctx, grad) {
    const index = ctx.saved[0] as Tensor;
    const { shape, dim } = ctx.state;
    const zero = (): Tensor => zerosOf([], grad);
    return [
      () => scatterOp(grad, index, zero(), dim),
      null,
      shape.length === 0 ? null : () => padTo(gatherOp(grad, index, dim), shape),
    ];
  },
});

/** `torch.scatter`: `out = x; out[index[i][j]][j] = src[i][j]` for dim 0, and so on; `src` may be a number. Of several writes the last wins. */
export function scatter(x: Tensor, dim: number, index: Tensor, src: Tensor | number): Tensor {
  const source = typeof src === 'number' ? Tensor.fromHost([src], [], x.dtype) : src;
  const d = checkAlong('scatter', x, dim, index, typeof src === 'number' ? undefined : src);
  checkSameDtype('scatter', x, source);
  return scatterOp(x, checkIndex('scatter', index, x.shape[d] ?? 1), source, d);
}

function checkSameDtype(op: string, x: Tensor, src: Tensor): void {
  if (x.dtype !== src.dtype)
    throw new Error(`${op}: the tensor is ${x.dtype} but the source is ${src.dtype}; convert one with .to()`);
}

const lookupOp: (x: Tensor, index: Tensor, dim: number, name: string, skip: number) => Tensor = defineOp<
  [Tensor, Tensor, number, string, number],
  Tensor,
  Along & { skip: number }
>({
  name: 'indexSelect',
  forward(ctx, x, index, dim, name, skip) {
    ctx.state = { shape: x.shape, dim, skip };
    ctx.save(index);
    const out = Tensor.empty(
      [...x.shape.slice(0, dim), ...index.shape, ...x.shape.slice(dim + 1)],
      x.dtype,
      name,
    );
    if (out.numel() > 0)
      runPlan(name, planLookup(runtime().target, { name, x, index, out, dim, ...planLimits() }), {
        x,
        index,
        out,
      });
    return out;
  },
  backward(ctx, grad) {
    const { shape, dim, skip } = ctx.state;
    return [() => addRowsOp(zerosOf(shape, grad), ctx.saved[0] as Tensor, grad, dim, 1, skip)];
  },
});

/** Adds rows of `src` at `index` of `dim`; rows whose index is `skip` (-1: none) are left out. */
const addRowsOp: (x: Tensor, index: Tensor, src: Tensor, dim: number, alpha: number, skip: number) => Tensor =
  defineOp<
    [Tensor, Tensor, Tensor, number, number, number],
    Tensor,
    { dim: number; alpha: number; skip: number }
  >({
    name: 'indexAdd',
    forward(ctx, x, index, src, dim, alpha, skip) {
      ctx.state = { dim, alpha, skip };
      ctx.save(index);
      const out = clone(x, { memoryFormat: 'contiguous' });
      if (src.numel() > 0) {
        const plan = planIndexWrite(runtime().target, {
          out,
          indices: [index],
          src,
          dim,
          reduce: 'add',
          ...(alpha !== 1 && { alpha }),
          ...(skip >= 0 && { skip }),
          ...planLimits(),
        });
        runPlan('indexAdd', plan, { out, index, src });
      }
      return out;
    },
    backward(ctx, grad) {
      const { dim, alpha, skip } = ctx.state;
      const index = ctx.saved[0] as Tensor;
      const rows = (): Tensor => {
        const picked = mul(lookupOp(grad, index, dim, 'indexSelect', -1), alpha);
        if (skip < 0) return picked;
        const counted = to(ne(index, skip), 'float32');
        return mul(
          picked,
          reshape(counted, [...index.shape, ...grad.shape.slice(dim + index.ndim).map(() => 1)]),
        );
      };
      return [() => grad, null, rows];
    },
  });

/** `torch.index_select`: the entries `index` (one dim) of `dim`. */
export function indexSelect(x: Tensor, dim: number, index: Tensor): Tensor {
  const d = normalizeDim('indexSelect', dim, x.ndim);
  if (index.ndim > 1)
    throw new Error(`indexSelect: index must have one dim, got shape ${showShape(index.shape)}`);
  const source = lift(x);
  const out = lookupOp(
    source,
    checkIndex('indexSelect', lift(index), source.shape[d] as number),
    d,
    'indexSelect',
    -1,
  );
  return x.ndim === 0 ? reshape(out, []) : out;
}

/** `torch.index_add`: `x` with `alpha * src[i]` added at entry `index[i]` of `dim`. */
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
  return addRowsOp(x, checkIndex('indexAdd', lift(index), x.shape[d] as number), src, d, alpha, -1);
}

export interface EmbeddingOptions {
  /** Row that gets no gradient. */
  paddingIdx?: number | null;
}

/** `torch.nn.functional.embedding`: rows of `weight` [V, D] at integer `ids` [...], giving [..., D]. */
export function embedding(ids: Tensor, weight: Tensor, { paddingIdx = null }: EmbeddingOptions = {}): Tensor {
  if (weight.ndim !== 2)
    throw new Error(`embedding: weight must have shape [V, D], got ${showShape(weight.shape)}`);
  const rows = weight.shape[0] as number;
  const skip = paddingIdx === null ? -1 : paddingIdx < 0 ? paddingIdx + rows : paddingIdx;
  return lookupOp(weight, checkIndex('embedding', ids, rows), 0, 'embedding', skip);
}

/** `torch.nn.functional.one_hot`: int32 of shape [..., numClasses]; `numClasses` must be given for ids made on the GPU. */
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
  const index = checkIndex('oneHot', ids, classes);
  const out = Tensor.empty([...ids.shape, classes], 'int32', 'oneHot');
  if (out.numel() > 0) {
    runPlan('oneHot', planOneHot(runtime().target, { x: index, out, ...planLimits() }), { x: index, out });
  }
  return out;
}
