/** Lookups by several indices, and writes at indices. */
import { isTensor, type Tensor } from '../../tensor/tensor.js';
import { sameShape, type Shape } from '../../tensor/shape.js';
import { int, ints, sizesOf, text, type Attributes, type Value } from '../graph.js';
import { cast, inside, typed, type Builder, type Row, type RowTable } from '../row.js';

const expanded = (t: Builder, value: Value, shape: Shape, dtype: Value['dtype']): Value =>
  typed(t.node('Expand', [value, sizesOf(shape)]), dtype);

/** `src` cut, or repeated, to the shape of `index`. */
function updatesOf(t: Builder, src: Tensor, index: Tensor): Value {
  const value = t.value(src);
  if (sameShape(src.shape, index.shape)) return value;
  if (src.ndim === 0) return expanded(t, value, index.shape, src.dtype);
  const axes = index.shape.map((_, d) => d);
  const cut = [value, t.list(axes.map(() => 0)), sizesOf(index.shape), t.list(axes)];
  return typed(t.node('Slice', cut), src.dtype);
}

type Reduction = 'none' | 'add' | 'mul' | 'max' | 'min';

function scatterElements(
  t: Builder,
  into: Value,
  index: Value,
  updates: Value,
  dim: number,
  reduction: Reduction,
): Value {
  const attributes = { axis: int(dim), ...(reduction !== 'none' && { reduction: text(reduction) }) };
  return typed(t.node('ScatterElements', [into, index, updates], attributes), into.dtype);
}

/** `(x, index, src, dim, lookup)`; what PyTorch's arguments go by the same name is made of it. */
const scatter =
  (reduction: Reduction): Row =>
  (t, [x, index, src, dim]) =>
    isTensor(index) && isTensor(src) && typeof dim === 'number'
      ? scatterElements(t, t.value(x as Tensor), t.value(index), updatesOf(t, src, index), dim, reduction)
      : inside;

const reductions: Readonly<Record<string, Reduction>> = {
  sum: 'add',
  mean: 'add',
  prod: 'mul',
  amax: 'max',
  amin: 'min',
};
/** What changes nothing, of floats. */
const neutral: Readonly<Record<string, number>> = {
  sum: 0,
  mean: 0,
  prod: 1,
  amax: -Infinity,
  amin: Infinity,
};

const scatterReduce: Row = (t, [x, index, src, how]) => {
  if (!isTensor(index) || !isTensor(src) || typeof how !== 'object') return inside;
  const { dim, reduce, includeSelf } = how as { dim: number; reduce: string; includeSelf: boolean };
  const self = x as Tensor;
  const reduction = reductions[reduce] as Reduction;
  if ((reduction === 'max' || reduction === 'min') && t.opset < 18)
    throw t.unsupported('scatterReduce', `needs opsetVersion 18 or later for '${reduce}'`);
  if (!self.isFloatingPoint() && (!includeSelf || reduce === 'mean'))
    throw t.unsupported(
      'scatterReduce',
      "takes means of integers, or leaves them out; convert with .to('float32')",
    );
  const at = t.value(index);
  const repeat = (number: number): Value =>
    expanded(t, t.scalar(number, self.dtype), index.shape, self.dtype);
  const start = includeSelf
    ? t.value(self)
    : scatterElements(t, t.value(self), at, repeat(neutral[reduce] as number), dim, 'none');
  const sum = scatterElements(t, start, at, updatesOf(t, src, index), dim, reduction);
  if (reduce !== 'mean') return sum;
  const own = expanded(t, t.scalar(Number(includeSelf), self.dtype), self.shape, self.dtype);
  const counts = scatterElements(t, own, at, repeat(1), dim, 'add');
  const divisor = typed(t.node('Max', [counts, t.scalar(1, self.dtype)]), self.dtype);
  return t.node('Div', [sum, divisor]);
};

/** Indices that are looked up together, as one list of places [..., count]. */
function placesOf(t: Builder, indices: readonly Tensor[], looked: Shape): Value {
  const columns = indices.map((index) => {
    const whole = sameShape(index.shape, looked)
      ? t.value(index)
      : expanded(t, t.value(index), looked, index.dtype);
    return typed(t.node('Unsqueeze', [cast(t, whole, 'int64'), t.list([-1])]), 'int64');
  });
  return typed(
    columns.length === 1 ? (columns[0] as Value) : t.node('Concat', columns, { axis: int(-1) }),
    'int64',
  );
}

/** With `count` dims from `from` on moved to `to`. */
function moved(t: Builder, value: Value, rank: number, from: number, count: number, to: number): Value {
  if (from === to || count === 0) return value;
  const all = Array.from({ length: rank }, (_, d) => d);
  const block = all.slice(from, from + count);
  const rest = all.filter((d) => !block.includes(d));
  const perm = [...rest.slice(0, to), ...block, ...rest.slice(to)];
  return typed(t.node('Transpose', [value], { perm: ints(perm) }), value.dtype);
}

const broadcast = (indices: readonly Tensor[]): number => Math.max(...indices.map(({ ndim }) => ndim));

/** Entries of `x`, by index tensors of neighbouring dims from `dim` on. */
const indexSelect: Row = (t, args, result) => {
  const [x, indices, dim] = args as [Tensor, readonly Tensor[], number];
  if (!Array.isArray(indices) || !indices.every(isTensor) || typeof dim !== 'number') return inside;
  const [index] = indices as [Tensor];
  if (indices.length === 1) return t.node('Gather', [t.value(x), t.value(index)], { axis: int(dim) });
  const { shape, ndim } = result as Tensor;
  const rank = broadcast(indices);
  const front = moved(t, t.value(x), x.ndim, dim, indices.length, 0);
  const found = typed(
    t.node('GatherND', [front, placesOf(t, indices, shape.slice(dim, dim + rank))]),
    x.dtype,
  );
  return moved(t, found, ndim, 0, rank, dim);
};

/** `x` with `src` added or written where {@link indexSelect} would read. */
const indexAdd: Row = (t, args) => {
  const [x, indices, src, dim, how] = args as [
    Tensor,
    readonly Tensor[],
    Tensor,
    number,
    { reduce: 'add' | 'assign'; alpha?: number; skip?: number },
  ];
  if (!Array.isArray(indices) || !indices.every(isTensor) || !isTensor(src)) return inside;
  const { reduce, alpha = 1, skip } = how;
  if (skip !== undefined) throw t.unsupported('indexAdd', 'leaves rows out');
  const { dtype } = x;
  const rank = broadcast(indices);
  const front = moved(t, t.value(x), x.ndim, dim, indices.length, 0);
  const given = moved(t, t.value(src), src.ndim, dim, rank, 0);
  const scaled = alpha === 1 ? given : typed(t.node('Mul', [given, t.scalar(alpha, dtype)]), dtype);
  const attributes: Attributes = reduce === 'add' ? { reduction: text('add') } : {};
  const places = placesOf(t, indices, src.shape.slice(dim, dim + rank));
  const made = typed(t.node('ScatterND', [front, places, scaled], attributes), dtype);
  return moved(t, made, x.ndim, 0, indices.length, dim);
};

export const scatterRows: RowTable = {
  scatter: scatter('none'),
  scatterAdd: scatter('add'),
  scatterReduce,
  indexSelect,
  indexAdd,
};
