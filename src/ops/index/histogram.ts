import { defineComposite } from '../../autograd/define.js';
import { isFloatingPoint } from '../../tensor/dtype.js';
import { optionReader, required, type Needed } from '../../tensor/options.js';
import { sameShape, showShape } from '../../tensor/shape.js';
import { isTensor, type Tensor } from '../../tensor/tensor.js';
import { checkOnDevice } from '../base/check.js';
import { clone, to } from '../base/copy.js';
import { narrow, reshape, detach } from '../base/view.js';
import { arange, linspace, ones, zeros } from '../creation/creation.js';
import { scatterAdd } from '../gather/gather.js';
import { eq, ge, le, logicalAnd } from '../pointwise/compare.js';
import { add, clamp, div, mul, rsub, sub } from '../pointwise/pointwise.js';
import { where } from '../pointwise/where.js';
import { amax, amin, sum } from '../reduce/reduce.js';
import { search } from './search.js';

export interface HistogramOptions {
  /** Where the first of a number of bins begins and the last ends. Default: at the extreme elements. */
  range?: readonly [low: number, high: number] | null;
  /** What each element counts for, of the shape of `x`. Default 1. */
  weight?: Tensor | null;
  /** Divide by the total and by the widths, so that the integral is 1. Default false. */
  density?: boolean;
}

type HistogramArgs = Needed<[bins: number | Tensor], ['bins'], [], HistogramOptions>;

const readHistogram = optionReader(
  'histogram',
  {
    bins: required<number | Tensor>(),
    range: null as readonly [number, number] | null,
    weight: null as Tensor | null,
    density: false,
  },
  'bins',
);

/** @internal The least and the largest element; the next await throws unless both are finite. */
export function finiteRange(op: string, x: Tensor): [low: Tensor, high: Tensor] {
  const ends: [Tensor, Tensor] = [amin(x), amax(x)];
  for (const end of ends) checkOnDevice(op, 'finite', to(end, 'float32'));
  return ends;
}

/** The edges of `bins` equal bins between the extreme elements; 0.5 to either side of the only one. */
function edgesOf(x: Tensor, bins: number): Tensor {
  const { dtype } = x;
  if (x.numel() === 0) return linspace(0, 1, bins + 1, { dtype });
  const [least, most] = finiteRange('histogram', x);
  const more = mul(to(eq(least, most), dtype), 0.5);
  const [low, high] = [sub(least, more), add(most, more)];
  const step = div(sub(high, low), bins);
  const place = arange(bins + 1, { dtype });
  // From either end, so that the last edge is the largest element.
  const [up, down] = [add(low, mul(place, step)), sub(high, mul(rsub(place, bins), step))];
  return where(le(place, (bins - 1) / 2), up, down);
}

function edgesIn(x: Tensor, bins: unknown, range: unknown): Tensor {
  if (isTensor(bins)) {
    if (range !== null)
      throw new Error('histogram: the edges of the bins are given, so that range has no meaning');
    if (bins.ndim !== 1 || bins.numel() < 2 || bins.dtype !== x.dtype)
      throw new Error(
        `histogram: edges must be a vector of two or more in the dtype of the input (${x.dtype}), got shape ${showShape(bins.shape)} (${bins.dtype})`,
      );
    return clone(detach(bins));
  }
  if (typeof bins !== 'number' || !Number.isInteger(bins) || bins < 1)
    throw new Error(`histogram: bins must be a positive integer or a vector of edges, got ${String(bins)}`);
  if (range === null) return edgesOf(x, bins);
  const [low, high] = Array.isArray(range) && range.length === 2 ? (range as [unknown, unknown]) : [];
  if (!Number.isFinite(low) || !Number.isFinite(high) || (low as number) > (high as number))
    throw new Error(`histogram: range must be two finite numbers in order, got ${JSON.stringify(range)}`);
  const more = low === high ? 0.5 : 0;
  return linspace((low as number) - more, (high as number) + more, bins + 1, { dtype: x.dtype });
}

/**
 * `torch.histogram`: how many elements of a float tensor lie in each bin, and the edges of the bins, both of
 * the dtype of `x`. A bin has its lower edge and not its upper one, the last has both; elements outside, and
 * NaN, are left out. `bins` is a number of equal bins or a vector of rising edges. Where the range is that
 * of the elements, they must be finite, or the next await throws.
 */
export const histogram: (x: Tensor, ...args: HistogramArgs) => [hist: Tensor, binEdges: Tensor] =
  defineComposite('histogram', (x: Tensor, ...args: HistogramArgs): [Tensor, Tensor] => {
    const { bins, range, weight, density } = readHistogram(args);
    if (!isFloatingPoint(x.dtype))
      throw new Error(`histogram: expected a float tensor, got ${x.dtype}; convert it with .to('float32')`);
    if (
      weight !== null &&
      !(isTensor(weight) && sameShape(weight.shape, x.shape) && weight.dtype === x.dtype)
    )
      throw new Error(
        `histogram: weight must have the shape and dtype of the input, ${showShape(x.shape)} (${x.dtype})`,
      );
    const flat = reshape(detach(x), [-1]);
    const edges = edgesIn(flat, bins, range);
    const count = edges.numel() - 1;
    const inside = logicalAnd(ge(flat, narrow(edges, 0, 0, 1)), le(flat, narrow(edges, 0, count, 1)));
    const at = clamp(sub(search('histogram', edges, flat, true), 1), { max: count - 1 });
    const value =
      weight === null ? ones(flat.shape, { dtype: 'float32' }) : to(reshape(detach(weight), [-1]), 'float32');
    // What lies outside goes to a bin of its own.
    const all = scatterAdd(zeros([count + 1]), 0, where(inside, at, count), value);
    const hist = narrow(all, 0, 0, count);
    if (!density) return [to(hist, x.dtype), edges];
    const widths = sub(narrow(edges, 0, 1, count), narrow(edges, 0, 0, count));
    return [to(div(hist, mul(sum(hist), widths)), x.dtype), edges];
  });
