import { defineComposite } from '../../autograd/define.js';
import { runtime } from '../../device/index.js';
import { planSearch } from '../../kernels/index/search.js';
import { isFloatingPoint, resultType } from '../../tensor/dtype.js';
import { sameShape, showShape } from '../../tensor/shape.js';
import { optionReader } from '../../tensor/options.js';
import { isTensor, Tensor } from '../../tensor/tensor.js';
import { rowMajor } from '../base/copies.js';
import { eq, logicalNot, isnan } from '../pointwise/compare.js';
import { to } from '../base/copy.js';
import { full, zeros } from '../creation/creation.js';
import { gather } from '../gather/gather.js';
import { clamp } from '../pointwise/pointwise.js';
import type { Operand } from '../base/row.js';
import { planLimits, runPlan } from '../base/run-plan.js';
import { sort } from './sort.js';
import { reshape } from '../base/view.js';
import { where } from '../pointwise/where.js';

/* Looking values up in what is sorted. */

export interface BucketizeOptions {
  /** Behind elements that are equal to the value, instead of before them. */
  right?: boolean;
  /** Indices are int32, always. */
  outInt32?: boolean;
}

export interface SearchsortedOptions extends BucketizeOptions {
  /** The same as `right`, as NumPy says it. */
  side?: 'left' | 'right' | null;
  /** Indices that sort each line of a sequence that is not in order (`argsort`). */
  sorter?: Tensor | null;
}

const bucketizeDefaults = { right: false, outInt32: true };
const readSearchsorted = optionReader('searchsorted', {
  ...bucketizeDefaults,
  side: null as 'left' | 'right' | null,
  sorter: null as Tensor | null,
});
const readBucketize = optionReader('bucketize', bucketizeDefaults);

/** A number as a tensor of the dtype it is looked up in. */
const asTensor = (x: Operand, dtype: Tensor['dtype']): Tensor =>
  isTensor(x) ? x : full([], typeof x === 'boolean' ? Number(x) : x, { dtype });

/** @internal Positions of `values` in the lines of `sorted`, one line or as many as `values` has. */
export function search(
  name: string,
  sorted: Tensor,
  values: Tensor,
  right: boolean,
  sorter: Tensor | null = null,
): Tensor {
  if (sorted.dtype !== values.dtype)
    throw new Error(
      `${name}: the sorted sequence is ${sorted.dtype} but the values are ${values.dtype}; convert one with .to()`,
    );
  const out = Tensor.empty(values.shape, 'int32', name);
  const length = sorted.shape[sorted.ndim - 1] as number;
  const count = values.numel();
  const perLine = sorted.ndim === 1 ? Math.max(1, count) : (values.shape[values.ndim - 1] as number);
  const plan = planSearch(runtime().target, {
    name,
    dtype: sorted.dtype,
    length,
    perLine,
    count,
    right,
    sorter: sorter !== null,
    ...planLimits(),
  });
  // Nothing is read of a sequence of no elements, but a binding must be there.
  const lines = length === 0 ? zeros([1], { dtype: sorted.dtype }) : rowMajor(sorted);
  runPlan(name, plan, {
    sorted: lines,
    values: rowMajor(values),
    out,
    ...(sorter && { sorter: length === 0 ? zeros([1], { dtype: 'int32' }) : rowMajor(sorter) }),
  });
  return out;
}

/**
 * `torch.searchsorted`: for each of `values` the index (int32) at which it may be inserted into the sorted
 * last dim of `sequence` so that it stays in order: before equal elements, or behind them with `right`. A
 * sequence of one dim serves all values; else both have the same leading dims.
 */
export const searchsorted: (sequence: Tensor, values: Operand, options?: SearchsortedOptions) => Tensor =
  defineComposite(
    'searchsorted',
    (sequence: Tensor, values: Operand, ...args: [options?: SearchsortedOptions]): Tensor => {
      const { right, side, sorter } = readSearchsorted(args);
      if (side !== null && side !== 'left' && side !== 'right')
        throw new Error(`searchsorted: side must be 'left' or 'right', got '${String(side)}'`);
      if (right && side === 'left')
        throw new Error("searchsorted: right is true but side is 'left'; give one of them");
      const wanted = asTensor(values, sequence.dtype);
      const lead = sequence.shape.slice(0, -1);
      if (sequence.ndim === 0 || (sequence.ndim > 1 && !sameShape(lead, wanted.shape.slice(0, -1))))
        throw new Error(
          `searchsorted: the sequence must have one dim, or all but the last of the values' ${showShape(wanted.shape)}, got ${showShape(sequence.shape)}`,
        );
      if (sorter !== null && (sorter.dtype !== 'int32' || !sameShape(sorter.shape, sequence.shape)))
        throw new Error(
          `searchsorted: sorter must be int32 of shape ${showShape(sequence.shape)}, got ${sorter.dtype} ${showShape(sorter.shape)}`,
        );
      return search('searchsorted', sequence, wanted, right || side === 'right', sorter);
    },
  );

/**
 * `torch.bucketize`: which of the intervals between sorted `boundaries` (one dim) each value lies in (int32),
 * 0 before the first; a value on a boundary is in the interval before it, with `right` in that behind it.
 */
export const bucketize: (x: Operand, boundaries: Tensor, options?: BucketizeOptions) => Tensor =
  defineComposite(
    'bucketize',
    (x: Operand, boundaries: Tensor, ...args: [options?: BucketizeOptions]): Tensor => {
      const { right } = readBucketize(args);
      if (boundaries.ndim !== 1)
        throw new Error(`bucketize: boundaries must have one dim, got shape ${showShape(boundaries.shape)}`);
      return search('bucketize', boundaries, asTensor(x, boundaries.dtype), right);
    },
  );

export interface IsinOptions {
  /** No matter here. */
  assumeUnique?: boolean;
  /** True for those that are not among the test elements. */
  invert?: boolean;
}

const readIsin = optionReader('isin', { assumeUnique: false, invert: false }, 'assumeUnique', 'invert');

/** `torch.isin`: whether each element is among `testElements`, bool; either may be a number. */
export const isin: (elements: Operand, testElements: Operand, options?: IsinOptions) => Tensor =
  defineComposite(
    'isin',
    (elements: Operand, testElements: Operand, ...args: [options?: IsinOptions]): Tensor => {
      const { invert } = readIsin(args);
      if (!isTensor(elements) && !isTensor(testElements))
        throw new Error('isin: elements or testElements must be a tensor');
      const common = resultType(elements, testElements);
      const dtype = common === 'bool' ? 'uint8' : common;
      const x = to(asTensor(elements, dtype), dtype);
      const [ordered] = sort(reshape(to(asTensor(testElements, dtype), dtype), [-1]));
      // NaN, which equals nothing, stands at the end, where a search does not expect it.
      const searched = isFloatingPoint(dtype) ? where(isnan(ordered), Infinity, ordered) : ordered;
      const size = ordered.shape[0] as number;
      if (size === 0) return full(x.shape, invert, { dtype: 'bool' });
      const at = reshape(clamp(search('isin', searched, x, false), { max: size - 1 }), [-1]);
      const found = eq(reshape(gather(ordered, 0, at), x.shape), x);
      return invert ? logicalNot(found) : found;
    },
  );
