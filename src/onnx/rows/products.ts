/** Matrix products, reductions, softmax and attention. */
import { isTensor, type Tensor } from '../../tensor/tensor.js';
import { float, int, type Value } from '../graph.js';
import {
  cast,
  dimsOf,
  inside,
  named,
  optional,
  tensorAt,
  typed,
  type Builder,
  type Row,
  type RowTable,
} from '../row.js';

const linear: Row = (t, args) => {
  const [x, w] = args as [Tensor, Tensor];
  const [value, weight, bias] = [t.value(x), t.value(w), optional(t, args[2])];
  if (x.ndim === 2) return t.node('Gemm', [value, weight, bias], { transB: int(1) });
  const turned = typed(t.node('Transpose', [weight]), w.dtype);
  const product = typed(t.node('MatMul', [value, turned]), x.dtype);
  return bias === null ? product : t.node('Add', [product, bias]);
};

/** ReduceX over `dims`, which are an operand from opset 18 on (of ReduceSum always). */
export function reduce(
  t: Builder,
  op: string,
  value: Value,
  dims: readonly number[],
  rank: number,
  keepdim: boolean,
): Value {
  if (rank === 0) return t.node('Identity', [value]);
  const keepdims = int(keepdim);
  if (op === 'ReduceSum' || t.opset >= 18) return t.node(op, [value, t.list(dims)], { keepdims });
  return t.node(op, [value], { axes: { kind: 'ints', value: dims }, keepdims });
}

const reductionDefaults = { dim: null as unknown, keepdim: false, dtype: null as unknown };

/** `(x, dim, keepdim)` as PyTorch takes it, or with dims settled; the result's dtype is what is summed in. */
const reduction =
  (op: string): Row =>
  (t, args, result) => {
    const x = tensorAt(args, 0);
    const { dim, keepdim } = named(args.slice(1), reductionDefaults, 'dim', 'keepdim');
    const value = cast(t, t.value(x), (result as Tensor).dtype);
    return reduce(t, op, value, dimsOf(dim, x.ndim), x.ndim, keepdim);
  };

/** Whether any, or all, are not zero. */
const truth =
  (op: string): Row =>
  (t, args, result) => {
    const x = tensorAt(args, 0);
    const { dim, keepdim } = named(args.slice(1), reductionDefaults, 'dim', 'keepdim');
    const bits = cast(t, cast(t, t.value(x), 'bool'), 'int32');
    const found = typed(reduce(t, op, bits, dimsOf(dim, x.ndim), x.ndim, keepdim), 'int32');
    return cast(t, found, (result as Tensor).dtype);
  };

const norms: Readonly<Record<number, string>> = { 1: 'ReduceL1', 2: 'ReduceL2' };

/** The p-norm over `dims`; of order 0 how many are not zero. */
function normOf(
  t: Builder,
  p: number,
  value: Value,
  dims: readonly number[],
  rank: number,
  keepdim: boolean,
): Value {
  const { dtype } = value;
  const own = norms[p];
  if (own !== undefined) return reduce(t, own, value, dims, rank, keepdim);
  if (p === 0) {
    const isZero = typed(t.node('Equal', [value, t.scalar(0, dtype ?? 'float32')]), 'bool');
    const counted = cast(t, typed(t.node('Not', [isZero]), 'bool'), dtype ?? 'float32');
    return reduce(t, 'ReduceSum', counted, dims, rank, keepdim);
  }
  const size = typed(t.node('Abs', [value]), dtype);
  if (p === Infinity) return reduce(t, 'ReduceMax', size, dims, rank, keepdim);
  if (p === -Infinity) return reduce(t, 'ReduceMin', size, dims, rank, keepdim);
  const power = typed(t.node('Pow', [size, t.scalar(p, dtype ?? 'float32')]), dtype);
  const sum = typed(reduce(t, 'ReduceSum', power, dims, rank, keepdim), dtype);
  return t.node('Pow', [sum, t.scalar(1 / p, dtype ?? 'float32')]);
}

const norm: Row = (t, args, result) => {
  const x = tensorAt(args, 0);
  const defaults = { ...reductionDefaults, p: 2 as unknown };
  const { p, dim, keepdim } = named(args.slice(1), defaults, 'p', 'dim', 'keepdim');
  const order = p === 'fro' || p === null ? 2 : p;
  if (typeof order !== 'number') throw t.unsupported('norm', `of order ${String(p)} has no counterpart`);
  const value = cast(t, t.value(x), (result as Tensor).dtype);
  return normOf(t, order, value, dimsOf(dim, x.ndim), x.ndim, keepdim);
};

/** All pairs of rows, `[..., P, M]` and `[..., R, M]`, in float32 as here. */
const cdist: Row = (t, args, result) => {
  const [a, b] = [tensorAt(args, 0), tensorAt(args, 1)];
  const { p } = named(args.slice(2), { p: 2 }, 'p');
  const side = (x: Tensor, dim: number): Value =>
    typed(t.node('Unsqueeze', [cast(t, t.value(x), 'float32'), t.list([dim])]), 'float32');
  const difference = typed(t.node('Sub', [side(a, -2), side(b, -3)]), 'float32');
  const { dtype, ndim } = result as Tensor;
  return cast(t, typed(normOf(t, p, difference, [ndim], ndim + 1, false), 'float32'), dtype);
};

/** What is not NaN, added up. */
const nansum: Row = (t, args) => {
  const [x, dims, keepdim] = args as [Tensor, readonly number[], boolean];
  if (!Array.isArray(dims)) return inside;
  const value = t.value(x);
  const isNan = typed(t.node('IsNaN', [value]), 'bool');
  const rest = typed(t.node('Where', [isNan, t.scalar(0, x.dtype), value]), x.dtype);
  return reduce(t, 'ReduceSum', rest, dims, x.ndim, keepdim);
};

/** The index of the largest or smallest value; int64 in ONNX. */
function position(t: Builder, op: string, x: Value, dim: number, keepdim: boolean): Value {
  return cast(t, typed(t.node(op, [x], { axis: int(dim), keepdims: int(keepdim) }), 'int64'), 'int32');
}

/** `max(x, dim)`: values and indices. */
const chosen =
  (reduceOp: string, argOp: string): Row =>
  (t, args) => {
    const [x, dim, keepdim] = args as [Tensor, number, boolean];
    if (typeof dim !== 'number' || x.ndim === 0) return inside;
    const value = t.value(x);
    return [reduce(t, reduceOp, value, [dim], x.ndim, keepdim), position(t, argOp, value, dim, keepdim)];
  };

const argExtreme =
  (op: string): Row =>
  (t, args) => {
    const x = tensorAt(args, 0);
    const { dim, keepdim } = named(args.slice(1), { dim: null as unknown, keepdim: false }, 'dim', 'keepdim');
    const value = t.value(x);
    if (dim !== null) return position(t, op, value, dimsOf(dim, x.ndim)[0] as number, keepdim);
    const flat = typed(t.reshape(value, [x.numel()]), x.dtype);
    const at = position(t, op, flat, 0, false);
    return keepdim
      ? t.reshape(
          at,
          x.shape.map(() => 1),
        )
      : at;
  };

/** Variances and standard deviations: `sum((x - mean(x))^2) / (count - correction)`, and the mean. */
const deviation: Row = (t, args) => {
  const [x, dims, keepdim, how] = args as [
    Tensor,
    readonly number[],
    boolean,
    { correction: number; root: boolean; mean: boolean },
  ];
  if (!Array.isArray(dims) || typeof how !== 'object') return inside;
  const { dtype, ndim } = x;
  const value = t.value(x);
  const count = dims.reduce((n, d) => n * (x.shape[d] as number), 1);
  const mean = typed(reduce(t, 'ReduceMean', value, dims, ndim, true), dtype);
  const centred = typed(t.node('Sub', [value, mean]), dtype);
  const square = typed(t.node('Mul', [centred, centred]), dtype);
  const average = typed(reduce(t, 'ReduceMean', square, dims, ndim, keepdim), dtype);
  const factor = count / Math.max(0, count - how.correction);
  const variance = factor === 1 ? average : typed(t.node('Mul', [average, t.scalar(factor, dtype)]), dtype);
  const spread = how.root ? t.node('Sqrt', [variance]) : variance;
  return how.mean ? [spread, reduce(t, 'ReduceMean', value, dims, ndim, keepdim)] : [spread];
};

const cumsum: Row = (t, args, result) => {
  const x = tensorAt(args, 0);
  if (x.ndim === 0) return inside;
  const { dim, reverse } = named(args.slice(1), { dim: 0, reverse: false }, 'dim', 'reverse');
  const axis = t.constant([dim], [], 'int64');
  return t.node('CumSum', [cast(t, t.value(x), (result as Tensor).dtype), axis], { reverse: int(reverse) });
};

/** A sparse map along one dim (resampling, neighbouring channels) as a matrix. */
const linearMap: Row = (t, args) => {
  const [x, dim, { from, to, rows, weights }] = args as [
    Tensor,
    number,
    { from: number; to: number; rows: Int32Array; weights: Float32Array },
  ];
  const dense = new Float32Array(to * from);
  for (let i = 0; i < to; i++) {
    const [low, count, first] = rows.subarray(3 * i, 3 * i + 3) as unknown as [number, number, number];
    dense.set(weights.subarray(first, first + count), i * from + low);
  }
  return alongDim(t, t.value(x), x, dim, dense, to);
};

/** `matrix` [to, from], row-major, times the lines of `value` along `dim`. */
export function alongDim(
  t: Builder,
  value: Value,
  { dtype, ndim }: Pick<Tensor, 'dtype' | 'ndim'>,
  dim: number,
  matrix: Float32Array,
  to: number,
): Value {
  const from = matrix.length / to;
  if (dim === ndim - 2) return typed(t.node('MatMul', [t.constant(matrix, [to, from], dtype), value]), dtype);
  const turned = matrix.map((_, i) => matrix[(i % to) * from + Math.floor(i / to)] as number);
  const right = t.constant(turned, [from, to], dtype);
  if (dim === ndim - 1) return typed(t.node('MatMul', [value, right]), dtype);
  const perm = Array.from({ length: ndim }, (_, d) => (d === dim ? ndim - 1 : d === ndim - 1 ? dim : d));
  const swap = (v: Value): Value =>
    typed(t.node('Transpose', [v], { perm: { kind: 'ints', value: perm } }), dtype);
  return swap(typed(t.node('MatMul', [swap(value), right]), dtype));
}

const softmax =
  (op: string): Row =>
  (t, args, result) => {
    const x = tensorAt(args, 0);
    // The op of rows that it is made of.
    if (typeof args[1] === 'boolean') return inside;
    const { dim } = named(args.slice(1), { dim: 0 }, 'dim', 'dtype');
    const { dtype } = result as Tensor;
    return t.node(op, [cast(t, t.value(x), dtype)], { axis: int(dim < 0 ? dim + x.ndim : dim) });
  };

interface Looking {
  mask: Tensor | null;
  shown: boolean;
  causal: boolean;
  scale: number | undefined;
}

/** `softmax(q k^T * scale + mask) v` of operands with as many heads each. */
function attend(t: Builder, q: Tensor, k: Tensor, v: Tensor, { mask, shown, causal, scale }: Looking): Value {
  const { dtype } = q;
  const rank = k.ndim;
  const perm = [...Array.from({ length: rank - 2 }, (_, d) => d), rank - 1, rank - 2];
  const turned = typed(t.node('Transpose', [t.value(k)], { perm: { kind: 'ints', value: perm } }), dtype);
  const factor = t.scalar(scale ?? 1 / Math.sqrt(q.shape.at(-1) as number), dtype);
  let scores = typed(t.node('MatMul', [typed(t.node('Mul', [t.value(q), factor]), dtype), turned]), dtype);
  const hide = (hidden: Value): void => {
    scores = typed(t.node('Where', [hidden, t.scalar(-Infinity, dtype), scores]), dtype);
  };
  if (causal) {
    const [rows, columns] = [q.shape.at(-2), k.shape.at(-2)] as [number, number];
    const later = new Uint8Array(rows * columns).map((_, i) => Number(i % columns > Math.floor(i / columns)));
    hide(t.constant(later, [rows, columns], 'bool'));
  }
  if (mask !== null) {
    const value = t.value(mask);
    if (mask.dtype !== 'bool') scores = typed(t.node('Add', [scores, cast(t, value, dtype)]), dtype);
    else hide(shown ? typed(t.node('Not', [value]), 'bool') : value);
  }
  const weights = typed(t.node('Softmax', [scores], { axis: int(-1) }), dtype);
  return t.node('MatMul', [weights, t.value(v)]);
}

/** PyTorch's op, and the one in one launch that it may be made of, which is of the same name. */
const attention: Row = (t, args) => {
  const [q, k, v] = args as [Tensor, Tensor, Tensor];
  const state = args[4];
  if (args.length === 5 && typeof state === 'object' && state !== null && 'causal' in state) {
    if (q.shape[1] !== k.shape[1])
      throw t.unsupported('scaledDotProductAttention', 'shares heads (enableGqa)');
    return attend(t, q, k, v, { ...(state as Omit<Looking, 'mask'>), mask: args[3] as Tensor | null });
  }
  const read = named(
    args.slice(3),
    {
      attnMask: null as Tensor | null,
      dropoutP: 0,
      isCausal: false,
      scale: undefined as number | undefined,
      enableGqa: false,
    },
    'attnMask',
    'dropoutP',
    'isCausal',
  );
  if (read.enableGqa) return inside;
  if (read.dropoutP > 0)
    throw t.unsupported('scaledDotProductAttention', 'drops weights: give dropoutP: 0 in evaluation');
  return attend(t, q, k, v, { mask: read.attnMask, shown: true, causal: read.isCausal, scale: read.scale });
};

/** `x * weight + bias` over the last dims. */
const layerNorm: Row = (t, args) => {
  const x = tensorAt(args, 0);
  const read = named(
    args.slice(1),
    { normalizedShape: 1 as unknown, weight: null as unknown, bias: null as unknown, eps: 1e-5 },
    'normalizedShape',
    'weight',
    'bias',
    'eps',
  );
  const shape = [read.normalizedShape].flat() as number[];
  const count = shape.reduce((a, b) => a * b, 1);
  const scale = optional(t, read.weight) ?? t.constant(new Float32Array(count).fill(1), shape, x.dtype);
  return t.node('LayerNormalization', [t.value(x), scale, optional(t, read.bias)], {
    axis: int(-shape.length),
    epsilon: float(read.eps),
  });
};

/** The norm of rows that RMSNorm is made of, where its operands allow it. */
const rowNorm: Row = (t, args) => {
  const [x, weight, , { dims, rms, eps }] = args as [
    Tensor,
    Tensor | null,
    Tensor | null,
    { dims: number; rms: boolean; eps: number },
  ];
  if (!rms) return inside;
  const { dtype, ndim } = x;
  const value = t.value(x);
  const last = Array.from({ length: dims }, (_, i) => ndim - dims + i);
  const square = typed(t.node('Mul', [value, value]), dtype);
  const mean = typed(reduce(t, 'ReduceMean', square, last, ndim, true), dtype);
  const root = typed(t.node('Sqrt', [typed(t.node('Add', [mean, t.scalar(eps, dtype)]), dtype)]), dtype);
  const normal = typed(t.node('Div', [value, root]), dtype);
  return weight === null ? normal : t.node('Mul', [normal, t.value(weight)]);
};

/** By the batch's own statistics: a layer that tracks none. */
export const batchNormOfBatch: Row = (t, args) => {
  const [x, residual, weight, bias, mean, variance, , how] = args as [
    Tensor,
    Tensor | null,
    Tensor | null,
    Tensor | null,
    Tensor | null,
    Tensor | null,
    Tensor | null,
    { eps: number; activation: string },
  ];
  if (residual !== null || mean !== null || variance !== null || how.activation !== 'none') return inside;
  const { dtype, ndim } = x;
  const value = t.value(x);
  const dims = x.shape.map((_, d) => d).filter((d) => d !== 1);
  const average = (v: Value): Value => typed(reduce(t, 'ReduceMean', v, dims, ndim, true), dtype);
  const centred = typed(t.node('Sub', [value, average(value)]), dtype);
  const spread = average(typed(t.node('Mul', [centred, centred]), dtype));
  const root = t.node('Sqrt', [typed(t.node('Add', [spread, t.scalar(how.eps, dtype)]), dtype)]);
  const normal = typed(t.node('Div', [centred, typed(root, dtype)]), dtype);
  return affine(t, normal, optional(t, weight), optional(t, bias), ndim);
};

/** [C] as [C, 1, ...], to broadcast over [N, C, ...]. */
const overChannels = (t: Builder, value: Value, rank: number): Value =>
  typed(t.reshape(value, [-1, ...new Array<number>(rank - 2).fill(1)]), value.dtype);

const affine = (t: Builder, value: Value, weight: Value | null, bias: Value | null, rank: number): Value => {
  const scaled =
    weight === null ? value : typed(t.node('Mul', [value, overChannels(t, weight, rank)]), value.dtype);
  return bias === null ? scaled : t.node('Add', [scaled, overChannels(t, bias, rank)]);
};

const filled = (t: Builder, count: number, number: number, x: Tensor): Value =>
  t.constant(new Float32Array(count).fill(number), [count], x.dtype);

/** By way of InstanceNormalization, as each group is a channel of its own. */
const groupNorm: Row = (t, args) => {
  const x = tensorAt(args, 0);
  const read = named(
    args.slice(1),
    { numGroups: 1, weight: null as unknown, bias: null as unknown, eps: 1e-5 },
    'numGroups',
    'weight',
    'bias',
    'eps',
  );
  const groups = read.numGroups;
  const grouped = [x.shape[0] as number, groups, x.numel() / ((x.shape[0] as number) * groups)];
  const seen = typed(t.reshape(t.value(x), grouped), x.dtype);
  const operands = [seen, filled(t, groups, 1, x), filled(t, groups, 0, x)];
  const normal = typed(t.node('InstanceNormalization', operands, { epsilon: float(read.eps) }), x.dtype);
  normal.shape = grouped;
  const back = typed(t.reshape(normal, x.shape), x.dtype);
  return affine(t, back, optional(t, read.weight), optional(t, read.bias), x.ndim);
};

const instanceNorm: Row = (t, args) => {
  const x = tensorAt(args, 0);
  const read = named(
    args.slice(1),
    { weight: null as unknown, bias: null as unknown, useInputStats: true, eps: 1e-5 },
    ...([] as never[]),
  );
  const places = [args[3], args[4], args[5], args[7]];
  const [weight, bias] = [read.weight ?? places[0], read.bias ?? places[1]];
  const byInput = typeof places[2] === 'boolean' ? places[2] : read.useInputStats;
  if (!byInput) return inside;
  const eps = typeof places[3] === 'number' ? places[3] : read.eps;
  const channels = x.shape[1] as number;
  return t.node(
    'InstanceNormalization',
    [
      t.value(x),
      optional(t, weight) ?? filled(t, channels, 1, x),
      optional(t, bias) ?? filled(t, channels, 0, x),
    ],
    { epsilon: float(eps) },
  );
};

const localResponseNorm: Row = (t, args) => {
  const read = named(args.slice(1), { size: 1, alpha: 1e-4, beta: 0.75, k: 1 }, 'size', 'alpha', 'beta', 'k');
  // Even windows lean to the other side in ONNX; and the pointwise op that it is made of has this name too.
  if (isTensor(args[1]) || read.size % 2 === 0) return inside;
  return t.node('LRN', [t.value(tensorAt(args, 0))], {
    size: int(read.size),
    alpha: float(read.alpha),
    beta: float(read.beta),
    bias: float(read.k),
  });
};

const matmul: Row = (t, [a, b], result) =>
  (result as Tensor).isFloatingPoint() && isTensor(a) && isTensor(b)
    ? t.node('MatMul', [t.value(a), t.value(b)])
    : t.node('MatMul', [cast(t, t.value(a as Tensor), 'int32'), cast(t, t.value(b as Tensor), 'int32')]);

export const productRows: RowTable = {
  linear,
  matmul,
  dot: matmul,
  sum: reduction('ReduceSum'),
  mean: reduction('ReduceMean'),
  prod: reduction('ReduceProd'),
  amax: reduction('ReduceMax'),
  amin: reduction('ReduceMin'),
  logsumexp: reduction('ReduceLogSumExp'),
  any: truth('ReduceMax'),
  all: truth('ReduceMin'),
  max: chosen('ReduceMax', 'ArgMax'),
  min: chosen('ReduceMin', 'ArgMin'),
  argmax: argExtreme('ArgMax'),
  argmin: argExtreme('ArgMin'),
  norm,
  cdist,
  nansum,
  det: (t, [x]) => t.node('Det', [t.value(x as Tensor)]),
  var: deviation,
  cumsum,
  linearMap,
  softmax: softmax('Softmax'),
  logSoftmax: softmax('LogSoftmax'),
  scaledDotProductAttention: attention,
  layerNorm,
  rowNorm,
  groupNorm,
  instanceNorm,
  localResponseNorm,
};
