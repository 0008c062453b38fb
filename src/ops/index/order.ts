import { checkTensors } from '../base/tensors.js';
import { defineComposite, defineOp } from '../../autograd/define.js';
import { isFloatingPoint } from '../../tensor/dtype.js';
import { normalizeDim, showShape } from '../../tensor/shape.js';
import { checkCount, type Needed, optionReader, required, type Trailing } from '../../tensor/options.js';
import { isTensor, type Tensor } from '../../tensor/tensor.js';
import { checkOnDevice } from '../base/check.js';
import { eq, isnan, logicalAnd, logicalNot, logicalOr, lt, ne } from '../pointwise/compare.js';
import { to } from '../base/copy.js';
import { arange, full, ones } from '../creation/creation.js';
import { gather } from '../gather/gather.js';
import { cat } from '../shape/join.js';
import { ceil, clamp, div, floor, floorDivide, lerp, mul, round, sub } from '../pointwise/pointwise.js';
import { argmax } from '../reduce/reduce.js';
import type { KeepdimOptions } from '../base/reduction.js';
import { cummax } from '../reduce/extremes.js';
import { sort, topk } from './sort.js';
import { sumDims } from '../base/sum-to.js';
import { detach, movedim, narrow, reshape, squeeze } from '../base/view.js';
import { where } from '../pointwise/where.js';

/* Single elements of a line in order: median, mode, quantiles. NaN counts as the largest value. */

type DimArgs = Trailing<[dim: number | null, keepdim: boolean], KeepdimOptions & { dim?: number | null }>;
type Chosen = [values: Tensor, indices: Tensor];

const byDim = { dim: null as number | null, keepdim: false };

/** The elements of `x` at `indices`, one per line of dim `d`, whose size is 1 there. */
function chosen(x: Tensor, d: number, indices: Tensor, keepdim: boolean): Chosen {
  const values = gather(x, d, indices);
  return keepdim ? [values, indices] : [squeeze(values, d), squeeze(indices, d)];
}

/** A zero-dim tensor as a line of one element; its results are zero-dim again. */
function lifted(x: Tensor, choose: (line: Tensor) => Chosen): Chosen {
  if (x.ndim > 0) return choose(x);
  const [values, indices] = choose(reshape(x, [1]));
  return [reshape(values, []), reshape(indices, [])];
}

function checkLine(op: string, x: Tensor, d: number): void {
  if (x.shape[d] === 0)
    throw new Error(`${op}: dim ${d} of shape ${showShape(x.shape)} is empty: there is no element to choose`);
}

type KthvalueArgs = Needed<
  [k: number],
  ['k'],
  [dim: number, keepdim: boolean],
  KeepdimOptions & { dim?: number }
>;

const readKthvalue = optionReader(
  'kthvalue',
  { k: required<number>(), dim: -1, keepdim: false },
  'k',
  'dim',
  'keepdim',
);

/** `torch.kthvalue`: the `k`-th smallest element (counted from 1) of each line of `dim`, and its index. */
export const kthvalue: (x: Tensor, ...args: KthvalueArgs) => Chosen = defineComposite(
  'kthvalue',
  (x: Tensor, ...args: KthvalueArgs): Chosen => {
    const { k, dim, keepdim } = readKthvalue(args);
    const d = normalizeDim('kthvalue', dim, x.ndim);
    if (!Number.isInteger(k) || k < 1 || k > (x.shape[d] ?? 1))
      throw new Error(`kthvalue: k = ${k} is out of range for dim ${dim} of shape ${showShape(x.shape)}`);
    return lifted(x, (line) => {
      const [, order] = topk(detach(line), k, { dim: d, largest: false });
      return chosen(line, d, narrow(order, d, k - 1, 1), keepdim);
    });
  },
);

/** Of each line of `d` the place of the median, of an even number of elements the lower one. */
function medianAt(op: string, x: Tensor, d: number, ignoreNan: boolean): Tensor {
  checkLine(op, x, d);
  const size = x.shape[d] as number;
  const [, order] = sort(x, d);
  if (!isFloatingPoint(x.dtype)) return narrow(order, d, (size - 1) >> 1, 1);
  // NaN stands at the end; it is the median, or is left out (where nothing else is, it stays).
  const numbers = sumDims(logicalNot(isnan(x)), [d], true);
  const middle = (count: Tensor): Tensor => clamp(floorDivide(sub(count, 1), 2), { min: 0 });
  return gather(order, d, ignoreNan ? middle(numbers) : where(lt(numbers, size), numbers, (size - 1) >> 1));
}

/** The median of all elements, whose gradient ties share. */
const medianOfAll = (name: 'median' | 'nanmedian'): ((x: Tensor) => Tensor) =>
  defineOp<[Tensor], Tensor>({
    name,
    forward(ctx, x) {
      // The median of no integers is no integer: those are refused.
      const isNothing = x.numel() === 0 && isFloatingPoint(x.dtype);
      const flat = isNothing ? full([1], NaN, { dtype: x.dtype }) : reshape(x, [-1]);
      const at = medianAt(name, flat, 0, name === 'nanmedian');
      const out = reshape(gather(flat, 0, at), []);
      ctx.save(x, out);
      return out;
    },
    backward(ctx, grad) {
      const [x, out] = ctx.saved as [Tensor, Tensor];
      return [
        () => {
          const hit = logicalOr(eq(x, out), logicalAnd(isnan(x), isnan(out)));
          const all = x.shape.map((_, i) => i);
          return where(hit, div(grad, sumDims(hit, all, false)), 0);
        },
      ];
    },
  });

/** What `median` and `nanmedian` may be called with. */
export interface Median {
  /** Of all elements. */
  (x: Tensor): Tensor;
  /** Of each line of `dim`, and its index. */
  (x: Tensor, dim: number, keepdim?: boolean | KeepdimOptions): Chosen;
  (x: Tensor, options: KeepdimOptions & { dim: number }): Chosen;
}

function medianOf(name: 'median' | 'nanmedian'): Median {
  const read = optionReader(name, byDim, 'dim', 'keepdim');
  const whole = medianOfAll(name);
  const along = defineComposite(name, (x: Tensor, dim: number, keepdim: boolean): Chosen => {
    const d = normalizeDim(name, dim, x.ndim);
    return lifted(x, (line) =>
      chosen(line, d, medianAt(name, detach(line), d, name === 'nanmedian'), keepdim),
    );
  });
  return ((x: Tensor, ...args: DimArgs): Tensor | Chosen => {
    const { dim, keepdim } = read(args);
    return dim === null ? whole(x) : along(x, dim, keepdim);
  }) as Median;
}

/**
 * `torch.median`: the middle value, of an even number of elements the lower of the two; NaN if there is one
 * or if there are no elements at all.
 * Along `dim` with its index (int32).
 */
export const median: Median = medianOf('median');
/** `torch.nanmedian`: the median of what is not NaN. */
export const nanmedian: Median = medianOf('nanmedian');

const readMode = optionReader('mode', { dim: -1, keepdim: false }, 'dim', 'keepdim');

type ModeArgs = Trailing<[dim: number, keepdim: boolean], KeepdimOptions & { dim?: number }>;

/** `torch.mode`: the most frequent value of each line of `dim` (the least of several), and its last index. */
export const mode: (x: Tensor, ...args: ModeArgs) => Chosen = defineComposite(
  'mode',
  (x: Tensor, ...args: ModeArgs): Chosen => {
    const { dim, keepdim } = readMode(args);
    const d = normalizeDim('mode', dim, x.ndim);
    return lifted(x, (line) => {
      checkLine('mode', line, d);
      const [values, order] = sort(detach(line), d);
      const size = line.shape[d] as number;
      const place = reshape(
        arange(size),
        line.shape.map((_, i) => (i === d ? size : 1)),
      );
      // How far each element is from the start of its run of equals: the farthest one ends the longest run.
      const starts = where(runStarts(values, d), place, 0);
      const at = argmax(sub(place, cummax(starts, d)[0]), d, true);
      return chosen(line, d, gather(order, d, at), keepdim);
    });
  },
);

/** @internal Along `d`, whether an element differs from the one before it; the first does. */
export function runStarts(x: Tensor, d: number): Tensor {
  const size = x.shape[d] as number;
  const first = ones(
    x.shape.map((n, i) => (i === d ? Math.min(1, size) : n)),
    { dtype: 'bool' },
  );
  if (size < 2) return first;
  return cat([first, ne(narrow(x, d, 1, size - 1), narrow(x, d, 0, size - 1))], d);
}

/** `torch.msort`: the elements in order along the first dim. */
export function msort(x: Tensor): Tensor {
  checkTensors('msort', x);
  checkCount('msort', arguments.length, 1);
  return sort(x, 0)[0];
}

export type Interpolation = 'linear' | 'lower' | 'higher' | 'nearest' | 'midpoint';

export interface QuantileOptions extends KeepdimOptions {
  /** All elements by default. */
  dim?: number | null;
  /** What is taken between two elements. Default 'linear'. */
  interpolation?: Interpolation;
}

const interpolations: readonly string[] = ['linear', 'lower', 'higher', 'nearest', 'midpoint'];
type QuantileArgs = Needed<
  [q: number | Tensor],
  ['q'],
  [dim: number | null, keepdim: boolean],
  QuantileOptions
>;

function checkProbabilities(op: string, q: Tensor): void {
  if (q.ndim > 1) throw new Error(`${op}: q must be a number or have one dim, got ${showShape(q.shape)}`);
  checkOnDevice(op, 'probability', q);
}

function quantileOf(name: 'quantile' | 'nanquantile'): (x: Tensor, ...args: QuantileArgs) => Tensor {
  const read = optionReader(
    name,
    { q: required<number | Tensor>(), ...byDim, interpolation: 'linear' as Interpolation },
    'q',
    'dim',
    'keepdim',
  );
  return defineComposite(name, (x: Tensor, ...args: QuantileArgs): Tensor => {
    const { q, dim, keepdim, interpolation } = read(args);
    if (!interpolations.includes(interpolation))
      throw new Error(
        `${name}: interpolation must be one of ${interpolations.join(', ')}, got '${String(interpolation)}'`,
      );
    if (!isFloatingPoint(x.dtype))
      throw new Error(`${name}: expected a float tensor, got ${x.dtype}; convert it with .to('float32')`);
    if (!isTensor(q) && !(q >= 0 && q <= 1)) throw new Error(`${name}: q must be in [0, 1], got ${q}`);
    if (isTensor(q)) checkProbabilities(name, q);
    if (x.numel() === 0) throw new Error(`${name}: the input is empty`);
    const d = dim === null ? 0 : normalizeDim(name, dim, x.ndim);
    const line = x.ndim === 0 || dim === null ? reshape(x, [-1]) : movedim(x, d, -1);
    const last = line.ndim - 1;
    const [sorted] = sort(line, last);
    // A rank per line and q, the qs along the last dim.
    const size = line.shape[last] as number;
    const numbers = sumDims(logicalNot(isnan(sorted)), [last], true);
    // Ranks are float32: float16 could not count them.
    const qs = isTensor(q) ? to(reshape(q, [-1]), 'float32') : full([1], q);
    const ranks =
      name === 'nanquantile'
        ? clamp(mul(qs, sub(numbers, 1)), { min: 0 })
        : where(lt(numbers, size), size - 1, mul(qs, size - 1));
    const values = between(sorted, ranks, interpolation);
    const kept = (shape: readonly number[]): Tensor => {
      if (isTensor(q) && q.ndim > 0) return reshape(movedim(values, -1, 0), [q.shape[0] as number, ...shape]);
      return reshape(values, shape);
    };
    if (x.ndim === 0) return kept([]);
    if (dim === null) return kept(keepdim ? x.shape.map(() => 1) : []);
    return kept(x.shape.flatMap((n, i) => (i !== d ? [n] : keepdim ? [1] : [])));
  });
}

/** The elements of sorted lines at broken ranks. */
function between(sorted: Tensor, ranks: Tensor, interpolation: Interpolation): Tensor {
  const last = sorted.ndim - 1;
  const at = (rank: Tensor): Tensor => gather(sorted, last, to(detach(rank), 'int32'));
  if (interpolation === 'lower') return at(floor(ranks));
  if (interpolation === 'higher') return at(ceil(ranks));
  if (interpolation === 'nearest') return at(round(ranks));
  const below = at(floor(ranks));
  const weight = interpolation === 'midpoint' ? 0.5 : sub(ranks, detach(floor(ranks)));
  return to(lerp(below, at(ceil(ranks)), weight), sorted.dtype);
}

/**
 * `torch.quantile`: the value at rank `q (n - 1)` of each line of `dim`, or of all elements, in order;
 * several `q` become the first dim. NaN where a line has one.
 */
export const quantile: (x: Tensor, ...args: QuantileArgs) => Tensor = quantileOf('quantile');
/** `torch.nanquantile`: quantiles of what is not NaN. */
export const nanquantile: (x: Tensor, ...args: QuantileArgs) => Tensor = quantileOf('nanquantile');
