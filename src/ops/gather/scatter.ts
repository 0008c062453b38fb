import { defineOp } from '../../autograd/define.js';
import { elementOf, isFloatingPoint, type DType } from '../../tensor/dtype.js';
import { argumentReader, type Needed, optionReader, required, requireNumber } from '../../tensor/options.js';
import { normalizeDim, numel, showShape } from '../../tensor/shape.js';
import { isTensor, Tensor } from '../../tensor/tensor.js';
import { eq, logicalAnd } from '../pointwise/compare.js';
import { to } from '../base/copy.js';
import { fullLike } from '../creation/creation.js';
import {
  again,
  checkRows,
  gatherOp,
  lift,
  padTo,
  scatterAddOp,
  scattered,
  scatterInto,
  unlift,
  zerosOf,
  type Lookup,
} from './gather.js';
import { div, maximum, mul } from '../pointwise/pointwise.js';
import { wrappedIndex } from './take.js';
import { expand, narrow, reshape } from '../base/view.js';
import { maskedFill, where } from '../pointwise/where.js';

/*
 * Writes at indices, and what they do where several land in one place: the last wins, or they are reduced in
 * the order of their source. An index along one dim (`indexCopy`) is one that repeats along the others.
 */

interface Along {
  readonly shape: readonly number[];
  readonly dim: number;
}

/** A zero-dim `src` is a number and gets no gradient. */
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
    return [
      () => scatterOp(grad, index, zerosOf([], grad), dim, again('scatter')),
      null,
      shape.length === 0 ? null : () => padTo(gatherOp(grad, index, dim, again('gather')), shape),
    ];
  },
});

const scalarOf = (op: string, value: number, dtype: DType): Tensor =>
  Tensor.fromHost([elementOf(op, value, dtype)], [], dtype);

export interface ScatterOptions {
  /** Add or multiply instead of writing. */
  reduce?: 'add' | 'multiply';
}

const dimIndex = { dim: required<number>(), index: required<Tensor>() };

const readScatter = optionReader(
  'scatter',
  { ...dimIndex, src: undefined as unknown, value: undefined as unknown, reduce: undefined as unknown },
  'dim',
  'index',
  'src',
  'reduce',
);

/**
 * `torch.scatter`: `out = x; out[index[i][j]][j] = src[i][j]` for dim 0, and so on; `src` may be a number. Of
 * several writes the last wins, unless `reduce` adds or multiplies.
 *
 * @throws Error for an index out of range that the host knows; (at the next await) DataError for one computed
 * on the GPU
 */
export function scatter(
  x: Tensor,
  ...args: Needed<
    [dim: number, index: Tensor],
    ['dim', 'index'],
    [src: Tensor | number, reduce: 'add' | 'multiply'],
    ScatterOptions & { src?: Tensor; value?: number }
  >
): Tensor {
  const { dim, index, src, value, reduce } = readScatter(args);
  const given = src ?? value;
  if (!isTensor(given) && typeof given !== 'number')
    throw new Error(`scatter: the source must be a tensor or a number, got ${String(given)}`);
  const source = isTensor(given) ? given : scalarOf('scatter', given, x.dtype);
  const whole = !isTensor(given);
  if (reduce === undefined) return scattered('scatter', scatterOp, x, dim, index, source, whole);
  if (reduce === 'add' || reduce === 'multiply') {
    const full = whole ? expand(source, index.shape) : source;
    return reduce === 'add'
      ? scattered('scatter', scatterAddOp, x, dim, index, full)
      : reduced('scatter', x, dim, index, full, 'prod', true);
  }
  throw new Error(`scatter: reduce must be 'add' or 'multiply', got '${String(reduce)}'`);
}

/** How several values in one place become one. */
export type ScatterReduction = 'sum' | 'prod' | 'mean' | 'amax' | 'amin';

const kinds = { sum: 'add', prod: 'mul', mean: 'add', amax: 'max', amin: 'min' } as const;

/** What changes nothing. */
function identityOf(reduce: ScatterReduction, dtype: DType): number {
  if (reduce === 'sum' || reduce === 'mean') return 0;
  if (reduce === 'prod') return 1;
  if (isFloatingPoint(dtype)) return reduce === 'amax' ? -Infinity : Infinity;
  if (dtype === 'int32') return reduce === 'amax' ? -(2 ** 31) : 2 ** 31 - 1;
  return reduce === 'amax' ? 0 : dtype === 'bool' ? 1 : 255;
}

interface Reduced {
  readonly dim: number;
  readonly reduce: ScatterReduction;
  readonly includeSelf: boolean;
}

/** How many values each mean is of. */
function counts(x: Tensor, index: Tensor, { dim, includeSelf }: Reduced): Tensor {
  const one = expand(scalarOf('scatterReduce', 1, x.dtype), index.shape);
  const start = fullLike(x, includeSelf ? 1 : 0);
  return maximum(scatterAddOp(start, index, one, dim, again('scatterReduce')), 1);
}

/**
 * `src` has the shape of `index`. Gradients are those of PyTorch's `scatter_reduce_backward`: where several
 * are the extreme it is shared evenly, and a product's is found without the factor where that is its only
 * zero.
 */
const scatterReduceOp: (x: Tensor, index: Tensor, src: Tensor, how: Reduced, lookup: Lookup) => Tensor =
  defineOp<[Tensor, Tensor, Tensor, Reduced, Lookup], Tensor, Reduced>({
    name: 'scatterReduce',
    forward(ctx, x, index, src, how, lookup) {
      ctx.state = how;
      const { dim, reduce, includeSelf } = how;
      const self = includeSelf
        ? x
        : scatterInto(
            x,
            index,
            scalarOf(lookup.name, identityOf(reduce, x.dtype), x.dtype),
            dim,
            'assign',
            lookup,
          );
      let out = scatterInto(self, index, src, dim, kinds[reduce], lookup);
      if (reduce === 'mean')
        out = div(out, counts(x, index, how), { roundingMode: isFloatingPoint(x.dtype) ? null : 'floor' });
      const reads = reduce !== 'sum' && reduce !== 'mean';
      ctx.save(index, reads ? x : null, reads ? src : null, reads ? out : null);
      return out;
    },
    backward(ctx, grad) {
      const how = ctx.state;
      const { dim, reduce, includeSelf } = how;
      const [index, x, src, out] = ctx.saved as [Tensor, Tensor, Tensor, Tensor];
      const pick = (t: Tensor): Tensor => gatherOp(t, index, dim, again('gather'));
      const own = (t: Tensor): Tensor =>
        includeSelf ? t : scatterOp(t, index, zerosOf([], grad), dim, again('scatter'));
      const sumUp = (start: Tensor, t: Tensor): Tensor =>
        scatterAddOp(start, index, t, dim, again('scatterAdd'));
      switch (reduce) {
        case 'sum':
          return [() => own(grad), null, () => pick(grad)];
        case 'mean': {
          const shares = (): Tensor => div(grad, counts(grad, index, how));
          return [() => own(shares()), null, () => pick(shares())];
        }
        case 'prod': {
          const again_ = (self: Tensor, factors: Tensor): Tensor =>
            scatterReduceOp(self, index, factors, how, again('scatterReduce'));
          const nonzeroSelf = (): Tensor => maskedFill(x, eq(x, 0), 1);
          return [
            () => own(div(mul(grad, again_(nonzeroSelf(), src)), nonzeroSelf())),
            null,
            () => {
              const isZero = eq(src, 0);
              const zeros = pick(sumUp(zerosOf(x.shape, grad), to(isZero, grad.dtype)));
              const single = logicalAnd(isZero, eq(zeros, 1));
              const without = again_(x, maskedFill(src, single, 1));
              return where(
                single,
                pick(mul(grad, without)),
                div(pick(mul(grad, out)), maskedFill(src, isZero, 1)),
              );
            },
          ];
        }
        default: {
          const isOwn = (): Tensor => to(eq(x, out), grad.dtype);
          const isSource = (): Tensor => to(eq(src, pick(out)), grad.dtype);
          const shares = (): Tensor => div(grad, sumUp(isOwn(), isSource()));
          return [() => own(mul(isOwn(), shares())), null, () => mul(isSource(), pick(shares()))];
        }
      }
    },
  });

function reduced(
  op: string,
  x: Tensor,
  dim: number,
  index: Tensor,
  src: Tensor,
  reduce: ScatterReduction,
  includeSelf: boolean,
): Tensor {
  checkReduction(op, reduce, Object.keys(kinds));
  if (typeof includeSelf !== 'boolean')
    throw new Error(`${op}: includeSelf must be true or false, got ${String(includeSelf)}`);
  return scattered(
    op,
    (self, at, source, d, lookup) =>
      scatterReduceOp(self, at, startOf(source, at.shape), { dim: d, reduce, includeSelf }, lookup),
    x,
    dim,
    index,
    src,
  );
}

function checkReduction(op: string, reduce: unknown, known: readonly string[]): void {
  if (!known.includes(reduce as string))
    throw new Error(
      `${op}: reduce must be ${known.map((name) => `'${name}'`).join(', ')}, got '${String(reduce)}'`,
    );
}

/** The part of `x` that has indices. */
function startOf(x: Tensor, shape: readonly number[]): Tensor {
  let out = x;
  shape.forEach((size, d) => {
    if (size !== out.shape[d]) out = narrow(out, d, 0, size);
  });
  return out;
}

export interface ScatterReduceOptions {
  /** What was there before is one of the values (default). */
  includeSelf?: boolean;
}

const readReduce = optionReader(
  'scatterReduce',
  { ...dimIndex, src: required<Tensor>(), reduce: required<ScatterReduction>(), includeSelf: true },
  'dim',
  'index',
  'src',
  'reduce',
  'includeSelf',
);

/**
 * `torch.scatter_reduce`: `x` with the values of `src` that `index` sends to one place (as in
 * {@link scatter}) reduced to their sum, product, mean, largest or smallest.
 *
 * @throws Error for an index out of range that the host knows; (at the next await) DataError for one computed
 * on the GPU
 */
export function scatterReduce(
  x: Tensor,
  ...args: Needed<
    [dim: number, index: Tensor, src: Tensor, reduce: ScatterReduction],
    ['dim', 'index', 'src', 'reduce'],
    [includeSelf: boolean],
    ScatterReduceOptions
  >
): Tensor {
  const { dim, index, src, reduce, includeSelf } = readReduce(args);
  return reduced('scatterReduce', x, dim, index, src, reduce, includeSelf);
}

/** The indices of `dim` as they are for every entry of the other dims of `x`. */
function alongIndex(index: Tensor, dim: number, shape: readonly number[]): Tensor {
  const n = numel(index.shape);
  return expand(
    reshape(
      index,
      shape.map((_, i) => (i === dim ? n : 1)),
    ),
    shape.map((size, i) => (i === dim ? n : size)),
  );
}

const readIndexCopy = argumentReader<[dim: number, index: Tensor, source: Tensor]>(
  'indexCopy',
  'dim',
  'index',
  'source',
);

/**
 * `torch.index_copy`: `x` with `source[i]` at entry `index[i]` of `dim`; of several for one entry the last
 * wins.
 *
 * @throws Error for an index out of range that the host knows; (at the next await) DataError for one computed
 * on the GPU
 */
export function indexCopy(
  x: Tensor,
  ...args: Needed<[dim: number, index: Tensor, source: Tensor], ['dim', 'index', 'source']>
): Tensor {
  const [dim, index, source] = readIndexCopy(args);
  const [d, [at, lookup]] = checkRows('indexCopy', x, dim, index, source);
  const target = lift(x);
  return unlift(scatterOp(target, alongIndex(at, d, target.shape), lift(source), d, lookup), x);
}

type FillValue = number | boolean | Tensor;

const readIndexFill = argumentReader<[dim: number, index: Tensor, value: FillValue]>(
  'indexFill',
  'dim',
  'index',
  'value',
);

/**
 * `torch.index_fill`: `x` with `value`, a number or a zero-dim tensor, in the entries `index` of `dim`
 * (int32; negative ones count from the end, which no other op along a dim takes).
 *
 * @throws Error for an index out of range that the host knows; (at the next await) DataError for one computed
 * on the GPU
 */
export function indexFill(
  x: Tensor,
  ...args: Needed<[dim: number, index: Tensor, value: FillValue], ['dim', 'index', 'value']>
): Tensor {
  const [dim, index, value] = readIndexFill(args);
  const source = isTensor(value)
    ? to(value, x.dtype)
    : scalarOf('indexFill', requireNumber('indexFill', value), x.dtype);
  if (source.ndim !== 0)
    throw new Error(`indexFill: value must be a number or a zero-dim tensor, got ${source.toString()}`);
  const target = lift(x);
  const d = normalizeDim('indexFill', dim, target.ndim);
  const [at, lookup] = wrappedIndex('indexFill', index, target.shape[d] as number);
  if (at.ndim > 1) throw new Error(`indexFill: index must have one dim, got shape ${showShape(at.shape)}`);
  const places = alongIndex(at, d, target.shape);
  const filling = isTensor(value) ? expand(source, places.shape) : source;
  return unlift(scatterOp(target, places, filling, d, lookup), x);
}

type IndexReduction = Exclude<ScatterReduction, 'sum'>;

const readIndexReduce = optionReader(
  'indexReduce',
  { ...dimIndex, source: required<Tensor>(), reduce: required<IndexReduction>(), includeSelf: true },
  'dim',
  'index',
  'source',
  'reduce',
  'includeSelf',
);

/**
 * `torch.index_reduce`: `x` with the entries of `source` that `index` sends to one entry of `dim` reduced to
 * their product, mean, largest or smallest.
 *
 * @throws Error for an index out of range that the host knows; (at the next await) DataError for one computed
 * on the GPU
 */
export function indexReduce(
  x: Tensor,
  ...args: Needed<
    [dim: number, index: Tensor, source: Tensor, reduce: IndexReduction],
    ['dim', 'index', 'source', 'reduce'],
    [includeSelf: boolean],
    ScatterReduceOptions
  >
): Tensor {
  const { dim, index, source, reduce, includeSelf } = readIndexReduce(args);
  checkReduction('indexReduce', reduce, ['prod', 'mean', 'amax', 'amin']);
  const [d, [at, lookup]] = checkRows('indexReduce', x, dim, index, source);
  const target = lift(x);
  const how = { dim: d, reduce, includeSelf };
  return unlift(scatterReduceOp(target, alongIndex(at, d, target.shape), lift(source), how, lookup), x);
}
