/** Views, joins and lookups. */
import { isTensor, type Tensor } from '../../tensor/tensor.js';
import { sameShape } from '../../tensor/shape.js';
import { int, ints, sizesOf, text, type Sizes, type Value } from '../graph.js';
import { alongDim } from './products.js';
import { cast, inside, named, tensorAt, typed, type Builder, type Row, type RowTable } from '../row.js';

/** The value of the first operand. */
const same: Row = (t, args) => t.value(tensorAt(args, 0));

/** `data` from `start` for `length` along `dim`. */
export function slice(t: Builder, x: Tensor, dim: number, start: number, length: number, step = 1): Value {
  const value = t.value(x);
  const size = x.shape[dim] as number;
  if (start === 0 && length === size && step === 1) return value;
  // What reaches to the end does so for every size.
  const end = Math.min(size, start + length * step);
  const bound = (at: number): Sizes => ({ sizes: [at], rule: 'bound', data: value, dim });
  const steps = step === 1 ? [] : [t.list([step])];
  return t.node('Slice', [value, bound(start), bound(end), t.list([dim]), ...steps]);
}

/** A view op of reshape's kind: `(x, shape)`. */
const view: Row = (t, [x, shape]) => {
  const tensor = x as Tensor;
  const sizes = shape as readonly number[];
  const value = t.value(tensor);
  return sizes.length === tensor.ndim && sizes.every((size, d) => size === tensor.shape[d])
    ? value
    : t.reshape(value, sizes);
};

const pieces =
  (drop: boolean): Row =>
  (t, [x, cut]) => {
    const tensor = x as Tensor;
    const { dim, sizes } = cut as { dim: number; sizes: readonly number[] | null };
    const lengths = sizes ?? new Array<number>(tensor.shape[dim] as number).fill(1);
    const parts = t.several('Split', [t.value(tensor), sizesOf(lengths)], { axis: int(dim) }, lengths.length);
    if (!drop) return parts;
    const rest = tensor.shape.filter((_, d) => d !== dim);
    return parts.map((part) => {
      part.dtype = tensor.dtype;
      part.shape = tensor.shape.map((size, d) => (d === dim ? 1 : size));
      return t.reshape(part, rest);
    });
  };

const padModes: Readonly<Record<string, string>> = {
  constant: 'constant',
  reflect: 'reflect',
  replicate: 'edge',
};

/** Both the op of PyTorch's arguments and the one it is made of, which is of the same name. */
const pad: Row = (t, args) => {
  const x = tensorAt(args, 0);
  if (Array.isArray(args[2])) {
    const [, low, high, value] = args as [Tensor, number[], number[], number];
    return t.node('Pad', [t.value(x), sizesOf([...low, ...high]), t.scalar(value, x.dtype)], {
      mode: text('constant'),
    });
  }
  // Copies of the edges, by their places.
  const edges = args[1] as { dim: number; sources: readonly number[] };
  if (!Array.isArray(edges) && 'sources' in edges) {
    const at = t.constant(edges.sources, [edges.sources.length], 'int64');
    return t.node('Gather', [t.value(x), at], { axis: int(edges.dim) });
  }
  const { pad: amounts, mode } = named(
    args.slice(1),
    { pad: [] as number[], mode: 'constant' },
    'pad',
    'mode',
  );
  const name = padModes[mode];
  if (mode === 'constant' || name === undefined || amounts.some((n) => n < 0)) return inside;
  const [low, high] = [x.shape.map(() => 0), x.shape.map(() => 0)];
  for (let i = 0; i < amounts.length / 2; i++) {
    low[x.ndim - 1 - i] = amounts[2 * i] as number;
    high[x.ndim - 1 - i] = amounts[2 * i + 1] as number;
  }
  return t.node('Pad', [t.value(x), sizesOf([...low, ...high])], { mode: text(name) });
};

const where: Row = (t, [condition, a, b], result) => {
  const { dtype } = result as Tensor;
  const side = (x: unknown): Value => (isTensor(x) ? cast(t, t.value(x), dtype) : t.scalar(Number(x), dtype));
  return t.node('Where', [cast(t, t.value(condition as Tensor), 'bool'), side(a), side(b)]);
};

const maskedFill: Row = (t, args, result) => {
  const { mask, value } = named(args.slice(1), { mask: null, value: 0 as unknown }, 'mask', 'value');
  return where(t, [mask, value, args[0]], result);
};

/** Windows along one dim, which become the last one. `im2col`, made of these, has the name too. */
const unfold: Row = (t, args, result) => {
  const [x, dim, size, step, dilation] = args as [Tensor, number, number, number, number];
  const { shape, ndim } = result as Tensor;
  if (ndim !== x.ndim + 1 || args.length !== 5) return inside;
  const count = shape[dim] as number;
  const places = Array.from(
    { length: count * size },
    (_, i) => Math.floor(i / size) * step + (i % size) * dilation,
  );
  const windows = t.node('Gather', [t.value(x), t.constant(places, [count, size], 'int64')], {
    axis: int(dim),
  });
  if (dim === x.ndim - 1) return windows;
  const order = Array.from({ length: ndim }, (_, d) => d).filter((d) => d !== dim + 1);
  return t.node('Transpose', [windows], { perm: ints([...order, dim + 1]) });
};

/** The transpose of {@link unfold}: what lands in one place is added up, as by a matrix of ones and zeros. */
const unfoldBackward: Row = (t, args) => {
  const [windows, { shape, dim, size, step, dilation }] = args as [
    Tensor,
    { shape: readonly number[]; dim: number; size: number; step: number; dilation: number },
  ];
  const { dtype, ndim } = windows;
  if (ndim < 2) return inside;
  const [count, length] = [windows.shape[dim], shape[dim]] as [number, number];
  const order = Array.from({ length: ndim - 1 }, (_, d) => d);
  const perm = [...order.slice(0, dim + 1), ndim - 1, ...order.slice(dim + 1)];
  const beside = typed(t.node('Transpose', [t.value(windows)], { perm: ints(perm) }), dtype);
  beside.shape = perm.map((d) => windows.shape[d] as number);
  const lines = t.reshape(
    beside,
    shape.map((n, d) => (d === dim ? count * size : n)),
  );
  const matrix = new Float32Array(length * count * size);
  for (let i = 0; i < count * size; i++)
    matrix[(Math.floor(i / size) * step + (i % size) * dilation) * count * size + i] = 1;
  return alongDim(t, typed(lines, dtype), { dtype, ndim: ndim - 1 }, dim, matrix, length);
};

/** The dims `a` and `b` of a matrix each, at the end and as one. */
const diagonal: Row = (t, args) => {
  const [x, offset, a, b] = args as [Tensor, number, number, number];
  if (args.length !== 4 || typeof b !== 'number') return inside;
  const rest = x.shape.map((_, d) => d).filter((d) => d !== a && d !== b);
  const [rows, columns] = [x.shape[a], x.shape[b]] as [number, number];
  const perm = [...rest, a, b];
  const last = typed(t.node('Transpose', [t.value(x)], { perm: ints(perm) }), x.dtype);
  last.shape = perm.map((d) => x.shape[d] as number);
  const flat = t.reshape(last, [...rest.map((d) => x.shape[d] as number), rows * columns]);
  const [down, right] = [Math.max(0, -offset), Math.max(0, offset)];
  const length = Math.max(0, Math.min(rows - down, columns - right));
  const places = Array.from({ length }, (_, i) => (i + down) * columns + i + right);
  return t.node('Gather', [flat, t.constant(places, [length], 'int64')], { axis: int(rest.length) });
};

/**
 * Zeros of `shape` with the last dim of `x` on the diagonal of dims `a` and `b`: a lookup, with a zero behind
 * the numbers.
 */
const diagEmbed: Row = (t, args) => {
  const [x, shape, offset, a, b] = args as [Tensor, readonly number[], number, number, number];
  if (args.length !== 5 || !Array.isArray(shape)) return inside;
  const length = x.shape.at(-1) as number;
  const [rows, columns] = [shape[a], shape[b]] as [number, number];
  const places = new Array<number>(rows * columns).fill(length);
  const [down, right] = [Math.max(0, -offset), Math.max(0, offset)];
  for (let i = 0; i < length; i++) places[(i + down) * columns + i + right] = i;
  const lead = x.ndim - 1;
  const ends = [...new Array<number>(2 * lead + 1).fill(0), 1];
  const padded = typed(t.node('Pad', [t.value(x), t.list(ends), t.scalar(0, x.dtype)]), x.dtype);
  const at = t.constant(places, [rows, columns], 'int64');
  const made = typed(t.node('Gather', [padded, at], { axis: int(lead) }), x.dtype);
  const perm: number[] = [];
  for (let d = 0, next = 0; d < shape.length; d++) perm.push(d === a ? lead : d === b ? lead + 1 : next++);
  return t.node('Transpose', [made], { perm: ints(perm) });
};

const oneHot: Row = (t, args, result) => {
  const classes = (result as Tensor).shape.at(-1) as number;
  const ids = cast(t, t.value(tensorAt(args, 0)), 'int32');
  const all = t.constant(
    Array.from({ length: classes }, (_, i) => i),
    [classes],
    'int32',
  );
  const column = typed(t.node('Unsqueeze', [ids, t.list([-1])]), 'int32');
  return cast(t, typed(t.node('Equal', [column, all]), 'bool'), 'int32');
};

/** Of writes: what stands in the place that is written. */
const written = (t: Builder, value: Value, self: Tensor): Value => {
  const source = cast(t, value, self.dtype);
  if (source.shape !== null && sameShape(source.shape, self.shape)) return source;
  return t.node('Expand', [source, sizesOf(self.shape)]);
};

export const shapeRows: RowTable = {
  copy_: (t, [, source], self) => written(t, t.value(source as Tensor), self as Tensor),
  fill_: (t, [, value], self) => written(t, t.scalar(Number(value), (self as Tensor).dtype), self as Tensor),
  view,
  alias: same,
  clone: (t, args) => cast(t, t.value(tensorAt(args, 0)), args[1] as Tensor['dtype']),
  permute: (t, [x, dims]) => {
    const order = dims as readonly number[];
    const value = t.value(x as Tensor);
    return order.every((d, i) => d === i) ? value : t.node('Transpose', [value], { perm: ints(order) });
  },
  expand: (t, [x, shape]) => {
    const data = t.value(x as Tensor);
    return t.node('Expand', [data, { sizes: shape as readonly number[], rule: 'expand', data }]);
  },
  slice: (t, args) => slice(t, ...(args as [Tensor, number, number, number, number])),
  split: pieces(false),
  unbind: pieces(true),
  cat: (t, args, result) => {
    const list = args[0] as readonly Tensor[];
    const { dim } = named(args.slice(1), { dim: 0 }, 'dim');
    const { dtype, ndim } = result as Tensor;
    // PyTorch lets empty vectors stand beside anything.
    const values = list.filter((x) => x.ndim === ndim).map((x) => cast(t, t.value(x), dtype));
    return t.node('Concat', values, { axis: int(dim < 0 ? dim + ndim : dim) });
  },
  pad,
  gather: (t, [x, index, dim]) =>
    isTensor(index) && typeof dim === 'number'
      ? t.node('GatherElements', [t.value(x as Tensor), t.value(index)], { axis: int(dim) })
      : inside,
  oneHot,
  unfold,
  unfoldBackward,
  diagonal,
  diagEmbed,
  where,
  maskedFill,
  triangle: (t, [x, upper, diagonal]) =>
    t.node('Trilu', [t.value(x as Tensor), t.constant([diagonal as number], [], 'int64')], {
      upper: int(upper as boolean),
    }),
  sort: (t, [x, k, dim, descending], result) => {
    const [values, indices] = t.several(
      'TopK',
      [t.value(x as Tensor), sizesOf([k as number])],
      { axis: int(dim as number), largest: int(descending as boolean), sorted: int(1) },
      2,
    ) as [Value, Value];
    const [, at] = result as [Tensor, Tensor];
    return [values, cast(t, typed(indices, 'int64'), at.dtype)];
  },
};
