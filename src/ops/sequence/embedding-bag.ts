import { runtime } from '../../device/index.js';
import { defineComposite } from '../../autograd/define.js';
import { noGrad } from '../../autograd/mode.js';
import { planIndexWrite, type ScatterReduce } from '../../kernels/index/gather.js';
import { isFloatingPoint } from '../../tensor/dtype.js';
import { optionReader, type Trailing } from '../../tensor/options.js';
import { sameShape, showShape } from '../../tensor/shape.js';
import { type Tensor } from '../../tensor/tensor.js';
import { eq, gt, ne } from '../pointwise/compare.js';
import { integersOf } from '../base/check.js';
import { to } from '../base/copy.js';
import { arange, full, ones, zeros } from '../creation/creation.js';
import { embedding, type LookupOptions } from './embedding.js';
import { gather, indexAdd, indexSelect, scatterAdd } from '../gather/gather.js';
import { add, clamp, div, mul, sub } from '../pointwise/pointwise.js';
import { planLimits, runPlan } from '../base/run-plan.js';
import { cumsum } from '../reduce/scan.js';
import { detach, narrow, reshape, unsqueeze } from '../base/view.js';
import { where } from '../pointwise/where.js';

export interface EmbeddingBagOptions extends LookupOptions {
  /** Where each bag starts in one-dim `ids`. */
  offsets?: Tensor | null;
  /** Default `'mean'`. */
  mode?: 'sum' | 'mean' | 'max';
  /** A factor per id, with mode `'sum'`. */
  perSampleWeights?: Tensor | null;
  /** The last offset is where the last bag ends. */
  includeLastOffset?: boolean;
  /** Ids with this value are left out, and their row gets no gradient. */
  paddingIdx?: number | null;
  /** Gradients are always dense here. */
  sparse?: false;
}

const readBag = optionReader<Required<Omit<EmbeddingBagOptions, 'sparse'>> & { sparse: boolean }>(
  'embeddingBag',
  {
    offsets: null,
    maxNorm: null,
    normType: 2,
    scaleGradByFreq: false,
    mode: 'mean',
    sparse: false,
    perSampleWeights: null,
    includeLastOffset: false,
    paddingIdx: null,
  },
  'offsets',
);

/** The bag of each of `count` ids, and how many bags there are. Empty bags share an offset with the next. */
function bagsOf(starts: Tensor, count: number): [of: Tensor, bags: number] {
  const marks = scatterAdd(
    zeros([count + 1], { dtype: 'int32' }),
    0,
    starts,
    ones(starts.shape, { dtype: 'int32' }),
  );
  return [sub(cumsum(narrow(marks, 0, 0, count), 0), 1), starts.shape[0] as number];
}

/** `values` [n, D] written into `bags` rows at `of` by `reduce`, outside the tape. */
function scattered(out: Tensor, of: Tensor, values: Tensor, reduce: ScatterReduce): Tensor {
  const op = 'embeddingBag';
  const plan = planIndexWrite(runtime().target, {
    name: op,
    out,
    indices: [of],
    src: values,
    dim: 0,
    reduce,
    ...planLimits(),
  });
  runPlan(op, plan, { out, index: of, src: values });
  return out;
}

/** The largest value of each bag, with the gradient of the first that is; 0 where there is none. */
function largest(rows: Tensor, of: Tensor, counted: Tensor | null, bags: number, counts: Tensor): Tensor {
  const [n, dim] = rows.shape as [number, number];
  const first = noGrad(() => {
    const values = counted === null ? detach(rows) : where(unsqueeze(counted, 1), rows, -Infinity);
    const most = scattered(full([bags, dim], -Infinity, { dtype: values.dtype }), of, values, 'max');
    const hit = eq(values, indexSelect(most, 0, of));
    const at = where(hit, reshape(arange(n), [n, 1]), n);
    return clamp(scattered(full([bags, dim], n - 1, { dtype: 'int32' }), of, at, 'min'), { max: n - 1 });
  });
  return where(gt(unsqueeze(counts, 1), 0), gather(rows, 0, first), 0);
}

type BagArgs = Trailing<[offsets: Tensor | null], EmbeddingBagOptions>;

/**
 * `torch.nn.functional.embedding_bag`: the sums, means or maxima of bags of rows of `weight` [V, D], giving
 * [bags, D]. A bag is a row of `ids` [bags, L], or what `ids` [n] hold from one of `offsets` [bags] to the
 * next. An empty bag gives zeros.
 *
 * @throws Error for an index out of range that the host knows; (at the next await) DataError for one computed
 * on the GPU
 */
export const embeddingBag: (ids: Tensor, weight: Tensor, ...args: BagArgs) => Tensor = defineComposite(
  'embeddingBag',
  (ids: Tensor, weight: Tensor, ...args: BagArgs): Tensor => {
    const op = 'embeddingBag';
    // PyTorch's older order of the two, which it still takes.
    if (isFloatingPoint(ids.dtype) && !isFloatingPoint(weight.dtype))
      return embeddingBag(weight, ids, ...args);
    const options = readBag(args);
    const { offsets, mode, perSampleWeights, includeLastOffset, paddingIdx } = options;
    const { maxNorm, normType, scaleGradByFreq } = options;
    if (mode !== 'sum' && mode !== 'mean' && mode !== 'max')
      throw new Error(`${op}: mode must be 'sum', 'mean' or 'max', got '${String(mode)}'`);
    if (options.sparse) throw new Error(`${op}: there are no sparse gradients; leave out sparse`);
    if (ids.ndim !== 1 && ids.ndim !== 2)
      throw new Error(`${op}: ids must have one or two dims, got shape ${showShape(ids.shape)}`);
    if ((ids.ndim === 2) !== (offsets === null))
      throw new Error(`${op}: one-dim ids need offsets, and two-dim ids are bags already`);
    if (offsets !== null && offsets.ndim !== 1)
      throw new Error(`${op}: offsets must have one dim, got shape ${showShape(offsets.shape)}`);
    if (weight.ndim !== 2)
      throw new Error(`${op}: weight must have shape [V, D], got ${showShape(weight.shape)}`);
    if (perSampleWeights !== null) {
      if (mode !== 'sum') throw new Error(`${op}: perSampleWeights go with mode 'sum', not '${mode}'`);
      if (!sameShape(perSampleWeights.shape, ids.shape))
        throw new Error(
          `${op}: perSampleWeights must have the shape of ids ${showShape(ids.shape)}, got ${showShape(perSampleWeights.shape)}`,
        );
    }
    if (includeLastOffset) {
      // What lies behind the last offset is a bag that nobody gets.
      if (offsets === null) throw new Error(`${op}: includeLastOffset needs offsets`);
      const all = embeddingBag(ids, weight, { ...options, sparse: false, includeLastOffset: false });
      return narrow(all, 0, 0, (all.shape[0] as number) - 1);
    }
    if (scaleGradByFreq && mode === 'max') throw new Error(`${op}: mode 'max' does not scale gradients`);
    const n = ids.numel();
    const table = weight.shape[0] as number;
    const flat = reshape(integersOf(op, 'ids', ids), [n]);
    const [of, bags] =
      offsets === null
        ? [
            reshape(
              noGrad(() => bagIndex(ids.shape as readonly [number, number])),
              [n],
            ),
            ids.shape[0] as number,
          ]
        : bagsOf(integersOf(op, 'offsets', offsets), n);
    const padding = paddingIdx === null || paddingIdx >= 0 ? paddingIdx : paddingIdx + table;
    const rows = embedding(flat, weight, { maxNorm, normType, scaleGradByFreq, paddingIdx: padding });
    const counted = padding === null ? null : ne(flat, padding);
    const ofEach = counted === null ? ones(n) : to(counted, 'float32');
    const counts = indexAdd(zeros(bags), 0, of, ofEach);
    if (mode === 'max' && n > 0) return largest(rows, of, counted, bags, counts);
    let terms = rows;
    if (perSampleWeights !== null) terms = mul(terms, reshape(perSampleWeights, [n, 1]));
    if (counted !== null) terms = mul(terms, unsqueeze(to(ofEach, terms.dtype), 1));
    const none = zeros([bags, weight.shape[1] as number], { dtype: terms.dtype });
    const sums = indexAdd(none, 0, of, terms);
    return mode !== 'mean' ? sums : to(div(sums, unsqueeze(clamp(counts, { min: 1 }), 1)), sums.dtype);
  },
);

/** int32 [bags, length]: each element's row. */
const bagIndex = ([bags, length]: readonly [number, number]): Tensor =>
  add(reshape(arange(bags), [bags, 1]), zeros([1, length], { dtype: 'int32' }));
