/**
 * Reading and writing by index. Plans name their buffers `x`, `index` (several: `index0`, `index1` ..),
 * `src`, `out`.
 *
 * Indices are int32. With `checked` those outside [0, size) raise an error (base/faults.ts). Without, which
 * is for indices that are known to be right, negative ones count from the end, and an index outside reads NaN
 * (0 for integers) and is not written.
 *
 * Reads (`planGather`, `planIndex`) are pointwise kernels. Writes (`planScatter` and what is
 * built on it) give one thread all that lands in its column and let it go through the source in order: sums
 * are the same from run to run, and of several assignments to one element the last wins.
 */
import { dtypeInfo } from '../base/dtype.js';
import { namedPlan } from './positions.js';
import type { Limits, Plan } from '../base/plan.js';
import { input } from '../expr/expr.js';
import type { Target } from '../base/kernel.js';
import type { PointwiseInput, PointwiseOperand } from '../pointwise/plan.js';
import { planScatterLoop, type ScatterReduce } from './scatter.js';

export type { ScatterReduce } from './scatter.js';

interface Checks extends Limits {
  readonly checked?: boolean;
}

const index0 = input(0, 'i32');

function checkIndex(name: string, index: PointwiseOperand): void {
  if (index.dtype !== 'int32')
    throw new Error(`${name}: indices must be int32, not ${index.dtype}; convert them with .to('int32')`);
}

/** `t` seen without dimension `dim`: size 1, stride 0. */
export function without(t: PointwiseOperand, dims: readonly number[]): PointwiseInput {
  return {
    dtype: t.dtype,
    offset: t.offset,
    shape: t.shape.map((n, d) => (dims.includes(d) ? 1 : n)),
    strides: t.strides.map((s, d) => (dims.includes(d) ? 0 : s)),
  };
}

/** What is read, by one index tensor along `dim`. */
interface Along extends Checks {
  readonly name?: string;
  readonly x: PointwiseOperand;
  readonly index: PointwiseOperand;
  readonly out: PointwiseOperand;
  readonly dim: number;
}

/**
 * out[i][j] = x[index[i][j]][j] for dim 0: `torch.gather`. index and out have one shape, at most x's in the
 * other dims.
 */
export function planGather(target: Target, { name = 'gather', x, index, out, dim, ...limits }: Along): Plan {
  checkIndex(name, index);
  const source: PointwiseInput = {
    ...without(x, [dim]),
    shape: out.shape.map((n, d) => (d === dim ? 1 : n)),
    indirect: [{ index: index0, stride: x.strides[dim]!, size: x.shape[dim]! }],
  };
  const exprs = [input(1, dtypeInfo[x.dtype].compute)];
  return namedPlan(target, { name, exprs, inputs: [index, source], outputs: [out], ...limits }, [
    'index',
    'x',
    'out',
  ]);
}

/**
 * Advanced indexing of neighbouring dimensions: x[.., index0, index1, ..] with the indices, broadcast
 * together, in the place of the dimensions dim, dim + 1, .. With one it is `torch.index_select`,
 * `F.embedding`. (https://numpy.org/doc/stable/user/basics.indexing.html#advanced-indexing).
 */
export function planIndex(
  target: Target,
  {
    name = 'index',
    x,
    indices,
    out,
    dim,
    ...limits
  }: {
    name?: string;
    x: PointwiseOperand;
    indices: readonly PointwiseOperand[];
    out: PointwiseOperand;
    dim: number;
  } & Checks,
): Plan {
  const { looked, tables } = indexLayouts(name, x, indices, out.shape.length, dim);
  const source: PointwiseInput = {
    ...looked,
    indirect: indices.map((_, m) => ({
      index: input(m, 'i32'),
      stride: x.strides[dim + m]!,
      size: x.shape[dim + m]!,
    })),
  };
  const exprs = [input(indices.length, dtypeInfo[x.dtype].compute)];
  const names = indices.length === 1 ? ['index'] : indices.map((_, m) => `index${m}`);
  return namedPlan(target, { name, exprs, inputs: [...tables, source], outputs: [out], ...limits }, [
    ...names,
    'x',
    'out',
  ]);
}

/**
 * Layouts over x.shape[..dim] + (the indices' broadcast shape) + x.shape[dim + count ..], of `rank`
 * dimensions.
 */
function indexLayouts(
  name: string,
  x: PointwiseOperand,
  indices: readonly PointwiseOperand[],
  rank: number,
  dim: number,
): { looked: PointwiseInput; tables: PointwiseInput[] } {
  indices.forEach((index) => checkIndex(name, index));
  const after = x.shape.length - dim - indices.length;
  const span = rank - dim - after;
  const ones = new Array<number>(span).fill(1);
  const zeros = new Array<number>(span).fill(0);
  const end = dim + indices.length;
  return {
    looked: {
      dtype: x.dtype,
      offset: x.offset,
      shape: [...x.shape.slice(0, dim), ...ones, ...x.shape.slice(end)],
      strides: [...x.strides.slice(0, dim), ...zeros, ...x.strides.slice(end)],
    },
    tables: indices.map((t) => ({
      dtype: t.dtype,
      offset: t.offset,
      shape: [...t.shape, ...new Array<number>(after).fill(1)],
      strides: [...t.strides, ...new Array<number>(after).fill(0)],
    })),
  };
}

/**
 * out[index[i][j]][j] op= src[i][j] for dim 0, in place on `out`: `torch.scatter`, `scatter_add`,
 * `scatter_reduce`. index has at most src's shape; src may be a broadcast scalar.
 */
export function planScatter(
  target: Target,
  {
    name = 'scatter',
    out,
    index,
    src,
    dim,
    reduce,
    ...limits
  }: {
    name?: string;
    out: PointwiseOperand;
    index: PointwiseOperand;
    src: PointwiseOperand;
    dim: number;
    reduce: ScatterReduce;
  } & Checks,
): Plan {
  checkIndex(name, index);
  const scalar = src.shape.length === 0;
  return planScatterLoop(target, {
    name,
    shape: index.shape,
    loopDims: [dim],
    indices: [{ operand: index, stride: out.strides[dim]!, size: out.shape[dim]! }],
    src: scalar ? src : { ...src, shape: index.shape },
    out: { ...without(out, [dim]), shape: index.shape.map((n, d) => (d === dim ? 1 : n)) },
    reduce,
    ...limits,
  });
}

/**
 * out[.., index0, index1, ..] op= alpha * src, in place on `out`, with the indices in the place of dimensions
 * dim, dim + 1, ..: `torch.index_add`, `index_copy`, `index_put_`, and the gradients of indexSelect,
 * embedding and advanced indexing. src.shape is out.shape with the indices' broadcast shape in that place.
 * Rows whose (first) index is `skip` are left out, as the gradient of an embedding's padding row.
 */
export function planIndexWrite(
  target: Target,
  {
    name = 'indexAdd',
    out,
    indices,
    src,
    dim,
    reduce,
    alpha,
    skip,
    ...limits
  }: {
    name?: string;
    out: PointwiseOperand;
    indices: readonly PointwiseOperand[];
    src: PointwiseOperand;
    dim: number;
    reduce: ScatterReduce;
    alpha?: number;
    skip?: number;
  } & Checks,
): Plan {
  const { looked, tables } = indexLayouts(name, out, indices, src.shape.length, dim);
  const after = out.shape.length - dim - indices.length;
  const span = src.shape.length - dim - after;
  return planScatterLoop(target, {
    name,
    shape: src.shape,
    loopDims: Array.from({ length: span }, (_, i) => dim + i),
    indices: tables.map((operand, m) => ({
      operand,
      stride: out.strides[dim + m]!,
      size: out.shape[dim + m]!,
    })),
    src,
    out: looked,
    reduce,
    ...(alpha !== undefined && { alpha }),
    ...(skip !== undefined && { skip }),
    ...limits,
  });
}
