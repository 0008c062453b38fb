import { checkTensors } from '../base/tensors.js';
import { defineComposite } from '../../autograd/define.js';
import { isFloatingPoint } from '../../tensor/dtype.js';
import { normalizeDim, showShape } from '../../tensor/shape.js';
import { optionReader, type Trailing } from '../../tensor/options.js';
import { isTensor, type Tensor } from '../../tensor/tensor.js';
import { scoped } from '../../tensor/tidy.js';
import { eq, ge, le, logicalAnd, logicalOr, ne } from '../pointwise/compare.js';
import { endsOf, ownersOf, withTotal } from './compact.js';
import { clone, to } from '../base/copy.js';
import { arange, tensor, zeros } from '../creation/creation.js';
import { diff } from '../reduce/differences.js';
import { gather, indexSelect, scatterAdd } from '../gather/gather.js';
import { cat, stack } from '../shape/join.js';
import { runStarts } from './order.js';
import { add, clamp, div, floor, mul, sub } from '../pointwise/pointwise.js';
import { amax, amin, any } from '../reduce/reduce.js';
import { cumsum } from '../reduce/scan.js';
import { finiteRange } from './histogram.js';
import { search } from './search.js';
import { argsort, sort } from './sort.js';
import { detach, movedim, narrow, permute, reshape, slice, transpose } from '../base/view.js';
import { where } from '../pointwise/where.js';

/*
 * Sets and counts. All is done by sorting, running sums and bisection, in parallel; results whose size
 * depends on the values are promises, which read one number and leave the rest on the GPU.
 */

export interface UniqueParts {
  /** For each element or entry of `dim` the number of its value, int32. */
  returnInverse?: boolean;
  /** How often each value was there, int32. */
  returnCounts?: boolean;
  /** Entries of this dim are compared as a whole. Default: all elements. */
  dim?: number | null;
}

export interface UniqueConsecutiveOptions extends UniqueParts {}

export interface UniqueOptions extends UniqueParts {
  /** In order; always so here. */
  sorted?: boolean;
}

/** With `returnInverse` or `returnCounts` a list: values, inverse, counts, as far as asked for. */
export interface UniqueOf<O extends UniqueParts> {
  (x: Tensor, options?: O & { returnInverse?: false; returnCounts?: false }): Promise<Tensor>;
  (x: Tensor, options: O): Promise<Tensor[]>;
}

const partDefaults = { returnInverse: false, returnCounts: false, dim: null as number | null };
const readUnique = optionReader('unique', { sorted: true, ...partDefaults });
const readConsecutive = optionReader('uniqueConsecutive', partDefaults);

/** Entries in an order where equal ones are neighbours. */
interface Grouped {
  readonly entries: Tensor;
  /** Running number of groups, from 1. */
  readonly ends: Tensor;
  /** The number, from 0, of the group of each entry as it came, if asked for. */
  readonly inverse: Tensor | null;
}

type Group = (x: Tensor, d: number, inverse: boolean) => Grouped;

/** Groups of a list of numbers. */
const groupedNumbers: Group = (x, _, inverse) => {
  const [entries, order] = sort(x);
  const ends = endsOf(runStarts(entries, 0));
  return { entries, ends, inverse: inverse ? gather(sub(ends, 1), 0, argsort(order)) : null };
};

/**
 * Groups of the entries of `d`, in the order of their elements as ATen reads them: dims 0 and `d` exchanged.
 */
const groupedEntries: Group = (x, d) => {
  const inverse = entryRanks(permute(reshape(transpose(x, 0, d), [x.shape[d] as number, -1]), [1, 0]));
  const order = argsort(inverse);
  return { entries: indexSelect(x, d, order), ends: add(gather(inverse, 0, order), 1), inverse };
};

/**
 * Ranks of columns [m, n] by their first row, where that is equal by the second, and so on: neighbouring rows
 * become one row of ranks, until one is left.
 */
function entryRanks(columns: Tensor): Tensor {
  let rows = columns;
  do {
    const m = rows.shape[0] as number;
    const odd = m % 2 === 0 ? [] : [narrow(rows, 0, m - 1, 1)];
    rows = pairRanks(slice(rows, 0, 0, m, 2), cat([slice(rows, 0, 1, m, 2), ...odd], 0));
  } while ((rows.shape[0] as number) > 1);
  return reshape(rows, [-1]);
}

/** Line by line, dense ranks of the pairs (a, b). */
function pairRanks(a: Tensor, b: Tensor): Tensor {
  const byB = argsort(b, 1);
  const order = gather(byB, 1, argsort(gather(a, 1, byB), 1));
  const starts = logicalOr(runStarts(gather(a, 1, order), 1), runStarts(gather(b, 1, order), 1));
  return gather(sub(cumsum(starts, 1), 1), 1, argsort(order, 1));
}

/** Groups of neighbours that are equal. */
const groupedNeighbours: Group = (x, d, inverse) => {
  const n = x.shape[d] as number;
  const rows = reshape(movedim(x, d, 0), [n, -1]);
  const differ = any(ne(narrow(rows, 0, 1, n - 1), narrow(rows, 0, 0, n - 1)), 1);
  const ends = endsOf(cat([tensor([true]), differ]));
  return { entries: x, ends, inverse: inverse ? sub(ends, 1) : null };
};

async function uniqueOf(
  name: string,
  x: Tensor,
  { returnInverse, returnCounts, dim }: typeof partDefaults,
  group: Group,
): Promise<Tensor | Tensor[]> {
  const whole = dim === null || x.ndim === 0;
  const d = whole ? 0 : normalizeDim(name, dim, x.ndim);
  const source = whole ? reshape(detach(x), [-1]) : detach(x);
  const size = source.shape[d] as number;
  if (size > 0 && source.numel() === 0)
    throw new Error(
      `${name}: entries of dim ${d} of shape ${showShape(x.shape)} have no elements to compare`,
    );
  const inverseShape = dim === null ? x.shape : [size];
  const asked = (values: Tensor, inverse: Tensor | null, counts: () => Tensor): Tensor | Tensor[] => {
    if (!returnInverse && !returnCounts) return values;
    const places = returnInverse && inverse !== null ? [reshape(inverse, inverseShape)] : [];
    return [values, ...places, ...(returnCounts ? [counts()] : [])];
  };
  const none = (): Tensor => zeros([0], { dtype: 'int32' });
  if (size === 0) return asked(clone(source), none(), none);
  const { entries, ends, inverse } = scoped(name, () => group(source, d, returnInverse));
  entries.keep();
  inverse?.keep();
  try {
    return await withTotal(name, ends, [x], (count) => {
      const starts = ownersOf(ends, count);
      const counts = (): Tensor => diff(starts, { append: tensor([size], { dtype: 'int32' }) });
      return asked(indexSelect(entries, d, starts), inverse, counts);
    });
  } finally {
    entries.dispose();
    inverse?.dispose();
  }
}

/**
 * `torch.unique`: a promise of the different values in order, or of the different entries of `dim`; on demand
 * also where each element went and how often each value was there. Every NaN is a value of its own.
 *
 * @throws Error when `x` is changed in place before their number has come
 */
export const unique: UniqueOf<UniqueOptions> = ((x: Tensor, ...args: [options?: UniqueOptions]) => {
  checkTensors('unique', x);
  const options = readUnique(args);
  return uniqueOf('unique', x, options, options.dim === null ? groupedNumbers : groupedEntries);
}) as UniqueOf<UniqueOptions>;

/**
 * `torch.unique_consecutive`: a promise of the values, or the entries of `dim`, of which those that repeat
 * the one before them are left out.
 */
export const uniqueConsecutive: UniqueOf<UniqueConsecutiveOptions> = ((
  x: Tensor,
  ...args: [options?: UniqueConsecutiveOptions]
) => {
  checkTensors('uniqueConsecutive', x);
  return uniqueOf('uniqueConsecutive', x, readConsecutive(args), groupedNeighbours);
}) as UniqueOf<UniqueConsecutiveOptions>;

/** How many of `ids`, a list of integers, are 0, 1, ... up to `size` - 1; int32. */
function countsOf(ids: Tensor, size: number): Tensor {
  const [sorted] = sort(ids);
  return diff(search('bincount', sorted, arange(size + 1), false));
}

export interface BincountOptions {
  /** Added up instead of counting. */
  weights?: Tensor | null;
  /** Least number of bins. Default 0. */
  minlength?: number;
}

const readBincount = optionReader(
  'bincount',
  { weights: null as Tensor | null, minlength: 0 },
  'weights',
  'minlength',
);

type BincountArgs = Trailing<[weights: Tensor | null, minlength: number], BincountOptions>;

const bins = defineComposite('bincount', (ids: Tensor, weights: Tensor | null, size: number): Tensor => {
  if (weights === null) return countsOf(ids, size);
  return scatterAdd(zeros([size]), 0, ids, weights);
});

const extremes = defineComposite('bincount', (ids: Tensor): Tensor => stack([amin(ids), amax(ids)]));

/**
 * `torch.bincount`: a promise of how often each integer from 0 to the largest one is in `x` (one dim), int32;
 * with `weights` of the sums of their weights, float32.
 *
 * @throws (the promise) Error for a negative integer
 */
export async function bincount(x: Tensor, ...args: BincountArgs): Promise<Tensor> {
  checkTensors('bincount', x);
  const { weights, minlength } = readBincount(args);
  if (x.ndim !== 1 || isFloatingPoint(x.dtype) || x.dtype === 'bool')
    throw new Error(`bincount: expected integers in one dim, got ${x.dtype} of shape ${showShape(x.shape)}`);
  if (!Number.isInteger(minlength) || minlength < 0)
    throw new Error(`bincount: minlength must be an integer of 0 or more, got ${minlength}`);
  if (weights !== null && (weights.ndim !== 1 || weights.shape[0] !== x.shape[0]))
    throw new Error(
      `bincount: weights must have shape ${showShape(x.shape)}, got ${showShape(weights.shape)}`,
    );
  if (x.numel() === 0) return zeros([minlength], { dtype: weights === null ? 'int32' : 'float32' });
  const ids = to(detach(x), { dtype: 'int32', copy: true }).keep();
  const kept = weights && to(detach(weights), { dtype: 'float32', copy: true }).keep();
  const pair = extremes(ids).keep();
  try {
    const [least, most] = (await pair.data()) as ArrayLike<number> as [number, number];
    if (least < 0) throw new Error(`bincount: the integers must not be negative, got ${least}`);
    return bins(ids, kept, Math.max(most + 1, minlength));
  } finally {
    for (const t of [ids, kept, pair]) t?.dispose();
  }
}

export interface HistcOptions {
  /** Number of bins. Default 100. */
  bins?: number;
  /** Ends of the range; where they are equal the least and the largest element. Default 0. */
  min?: number;
  max?: number;
}

const readHistc = optionReader('histc', { bins: 100, min: 0, max: 0 }, 'bins', 'min', 'max');

type HistcArgs = Trailing<[bins: number, min: number, max: number], HistcOptions>;

/**
 * `torch.histc`: how many elements lie in each of `bins` equal parts of the range from `min` to `max`, whose
 * end belongs to the last; those outside, and NaN, are left out. Of the dtype of `x`. Without a range the
 * elements must be finite, or the next await throws.
 */
export const histc: (x: Tensor, ...args: HistcArgs) => Tensor = defineComposite(
  'histc',
  (x: Tensor, ...args: HistcArgs): Tensor => {
    const options = readHistc(args);
    const { min, max } = options;
    if (!isFloatingPoint(x.dtype))
      throw new Error(`histc: expected a float tensor, got ${x.dtype}; convert it with .to('float32')`);
    if (!Number.isInteger(options.bins) || options.bins < 1)
      throw new Error(`histc: bins must be a positive integer, got ${options.bins}`);
    if (!Number.isFinite(min) || !Number.isFinite(max) || min > max)
      throw new Error(`histc: min must not be larger than max, both finite; got ${min} and ${max}`);
    if (x.numel() === 0) return zeros([options.bins], { dtype: x.dtype });
    const flat = reshape(detach(x), [-1]);
    const [low, high] = min < max ? [min, max] : rangeOf(flat);
    const width = isTensor(high) ? sub(high, low) : high - (low as number);
    const place = to(floor(mul(div(sub(flat, low), width), options.bins)), 'int32');
    const inside = logicalAnd(ge(flat, low), le(flat, high));
    const ids = where(inside, clamp(place, { max: options.bins - 1 }), options.bins);
    return to(countsOf(ids, options.bins), x.dtype);
  },
);

/** The least and the largest element, or 1 to either side of the only one. */
function rangeOf(x: Tensor): [Tensor, Tensor] {
  const [low, high] = finiteRange('histc', x);
  const more = to(eq(low, high), x.dtype);
  return [sub(low, more), add(high, more)];
}
