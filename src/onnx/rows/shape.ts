/** Views, joins and lookups. */
import { isTensor, type Tensor } from '../../tensor/tensor.js';
import { int, ints, sizesOf, text, type Sizes, type Value } from '../graph.js';
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

const isTensorList = (list: unknown): list is readonly Tensor[] =>
  Array.isArray(list) && list.every(isTensor);

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

/** Rows of `x`, by one index tensor. */
const indexSelect: Row = (t, args) => {
  const [x, indices, dim] = args as [Tensor, readonly Tensor[], number];
  if (!isTensorList(indices) || indices.length !== 1 || typeof dim !== 'number') return inside;
  return t.node('Gather', [t.value(x), t.value(indices[0] as Tensor)], { axis: int(dim) });
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

export const shapeRows: RowTable = {
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
  indexSelect,
  gather: (t, [x, index, dim]) =>
    isTensor(index) && typeof dim === 'number'
      ? t.node('GatherElements', [t.value(x as Tensor), t.value(index)], { axis: int(dim) })
      : inside,
  oneHot,
  unfold,
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
