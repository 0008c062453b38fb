import { runtime } from '../../device/index.js';
import { defineComposite, defineOp, entered } from '../../autograd/define.js';
import { noGrad } from '../../autograd/mode.js';
import { planOneHot } from '../../kernels/index/positions.js';
import { optionReader, type Trailing } from '../../tensor/options.js';
import { showShape } from '../../tensor/shape.js';
import { isTensor, Tensor } from '../../tensor/tensor.js';
import { scoped } from '../../tensor/tidy.js';
import { checkOnDevice } from '../base/check.js';
import { gt, logicalAnd } from '../pointwise/compare.js';
import { copy_ } from '../base/copy.js';
import { ones, zeros } from '../creation/creation.js';
import { again, checkIndex, lookupOp, scatterAddOp } from '../gather/gather.js';
import { add, div, mul, reciprocal } from '../pointwise/pointwise.js';
import { planLimits, runPlan } from '../base/run-plan.js';
import { norm } from '../reduce/statistics.js';
import { detach, expand, reshape, unsqueeze } from '../base/view.js';
import { where } from '../pointwise/where.js';

/* Rows of a table by integer ids, and ids as rows of ones and zeros. */

/** What `embedding` and `embeddingBag` may do to the rows that are looked up. */
export interface LookupOptions {
  /** Rows that are looked up and whose norm is larger are first scaled down to it, in place. */
  maxNorm?: number | null;
  /** Which norm `maxNorm` means (default 2). */
  normType?: number;
  /** Gradients are divided by how often their row was looked up. */
  scaleGradByFreq?: boolean;
}

export interface EmbeddingOptions extends LookupOptions {
  /** Row that gets no gradient. */
  paddingIdx?: number | null;
}

const readEmbedding = optionReader(
  'embedding',
  {
    paddingIdx: null as number | null,
    maxNorm: null as number | null,
    normType: 2,
    scaleGradByFreq: false,
    sparse: false,
  },
  'paddingIdx',
  'maxNorm',
  'normType',
  'scaleGradByFreq',
  'sparse',
);

/**
 * `torch.nn.functional.embedding`: rows of `weight` [V, D] at integer `ids` [...], giving [..., D].
 *
 * @throws Error for an index out of range that the host knows; (at the next await) DataError for one computed
 * on the GPU
 */
export function embedding(
  ids: Tensor,
  weight: Tensor,
  ...args: Trailing<[paddingIdx: number | null, maxNorm: number | null], EmbeddingOptions>
): Tensor {
  const { paddingIdx, maxNorm, normType, scaleGradByFreq, sparse } = readEmbedding(args);
  if (sparse) throw new Error('embedding: there are no sparse gradients; leave sparse out');
  if (!isTensor(weight) || weight.ndim !== 2) {
    const given = isTensor(weight) ? showShape(weight.shape) : String(weight);
    throw new Error(`embedding: weight must have shape [V, D], got ${given}`);
  }
  const rows = weight.shape[0] as number;
  if (paddingIdx !== null && !(Number.isInteger(paddingIdx) && paddingIdx >= -rows && paddingIdx < rows))
    throw new Error(`embedding: paddingIdx ${paddingIdx} is out of range for ${rows} rows`);
  const [at, lookup] = checkIndex('embedding', ids, rows);
  if (maxNorm !== null) renormalize(weight, at, maxNorm, normType);
  const skip = paddingIdx === null ? undefined : paddingIdx < 0 ? paddingIdx + rows : paddingIdx;
  const out = lookupOp(weight, [at], 0, lookup, skip);
  return scaleGradByFreq ? shared(out, at, rows) : out;
}

/** How often each of `rows` is looked up. */
function countsOf(at: Tensor, rows: number): Tensor {
  const ids = reshape(at, [-1]);
  return scatterAddOp(zeros(rows), ids, expand(ones(1), ids.shape), 0, again('embedding'));
}

/** `embedding_renorm_` of ATen; a constant keeps its quotient finite. */
function renormalize(weight: Tensor, at: Tensor, maxNorm: number, p: number): void {
  const rows = weight.shape[0] as number;
  noGrad(() =>
    scoped('embedding', () => {
      const norms = norm(weight, { p, dim: 1, keepdim: true });
      const isLarge = logicalAnd(gt(norms, maxNorm), gt(unsqueeze(countsOf(at, rows), 1), 0));
      copy_(detach(weight), where(isLarge, div(mul(weight, maxNorm), add(norms, 1e-7)), weight));
    }),
  );
}

/** `x` itself; its gradient is multiplied by `factor`. */
const weighGradOp = defineOp<[Tensor, Tensor], Tensor>({
  name: 'scaleGradByFreq',
  forward(ctx, x, factor) {
    ctx.save(factor);
    return x.alias();
  },
  backward: (ctx, grad) => [() => mul(grad, ctx.saved[0] as Tensor), null],
});

/** `out` (of `ids`), whose gradient is shared out among lookups of the same row. */
const shared: (out: Tensor, ids: Tensor, rows: number) => Tensor = defineComposite(
  'embedding',
  (out: Tensor, ids: Tensor, rows: number): Tensor => {
    const counts = lookupOp(countsOf(ids, rows), [ids], 0, again('embedding'));
    return weighGradOp(out, unsqueeze(reciprocal(counts), -1));
  },
);

const readOneHot = optionReader('oneHot', { numClasses: -1 }, 'numClasses');

/**
 * `torch.nn.functional.one_hot`: int32 of shape [..., numClasses]; `numClasses` must be given for ids made on
 * the GPU.
 *
 * @throws Error for an index out of range that the host knows; (at the next await) DataError for one computed
 * on the GPU
 */
export const oneHot: (
  ids: Tensor,
  ...args: Trailing<[numClasses: number], { numClasses?: number }>
) => Tensor = entered('oneHot', (ids, ...args): Tensor => {
  const { numClasses } = readOneHot(args);
  let classes = numClasses;
  if (!Number.isInteger(classes) || classes < -1)
    throw new Error(`oneHot: numClasses must be an integer of 1 or more, or -1, got ${String(classes)}`);
  if (classes < 0) {
    const values = isTensor(ids) ? ids.hostValues() : null;
    if (values === null)
      throw new Error(
        'oneHot: give numClasses; these ids were made on the GPU, and their largest value is not known here',
      );
    classes = values.reduce((most, value) => Math.max(most, value + 1), 0);
  }
  const [index, { checked }] = checkIndex('oneHot', ids, classes);
  if (checked) checkOnDevice('oneHot', 'index', index, [classes]);
  const out = Tensor.empty([...ids.shape, classes], 'int32', 'oneHot');
  if (out.numel() > 0) {
    runPlan('oneHot', planOneHot(runtime().target, { x: index, out, ...planLimits() }), { x: index, out });
  }
  return out;
});
