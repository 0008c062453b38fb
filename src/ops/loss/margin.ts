import { defineComposite } from '../../autograd/define.js';
import { e, type Expr } from '../../kernels/expr/expr.js';
import * as fn from '../../kernels/expr/functions.js';
import { toFloatType } from '../../tensor/dtype.js';
import { optionReader, type Trailing } from '../../tensor/options.js';
import { sameShape, showShape } from '../../tensor/shape.js';
import type { Tensor } from '../../tensor/tensor.js';
import { ge, gt, ne } from '../pointwise/compare.js';
import { checkOnDevice, integersOf } from '../base/check.js';
import { to } from '../base/copy.js';
import { arange, zeros } from '../creation/creation.js';
import { gather, indexSelect, scatterAdd } from '../gather/gather.js';
import { lossRow, reduced, type LossOptions } from './core.js';
import { pairwiseDistance } from './loss.js';
import { clamp, minimum, mul } from '../pointwise/pointwise.js';
import { mean, sum } from '../reduce/reduce.js';
import { cumprod } from '../reduce/scan.js';
import type { Reduction } from '../reduce/softmax.js';
import { reshape, unsqueeze } from '../base/view.js';

/*
 * Losses that ask for a margin (https://pytorch.org/docs/stable/nn.functional.html#loss-functions).
 */

/** `max(x, 0)`, with the gradient of PyTorch's `clamp_min`: 1 at 0. */
const hinge = (x: Expr): Expr => e.select(e.ge(x, 0), x, 0);

/** The same with a gradient of 0 at 0, as PyTorch's losses of several classes have it. */
const above = (x: Expr): Expr => e.select(e.gt(x, 0), x, 0);

export interface MarginOptions extends LossOptions {
  margin?: number;
}

/** What follows the tensors: options, of which the margin may stand by position. */
type MarginArgs = Trailing<[margin: number], MarginOptions>;

const marginReader = (op: string, margin: number) =>
  optionReader<{ margin: number; reduction: Reduction }>(op, { margin, reduction: 'mean' }, 'margin');

const hingeFn = lossRow('hingeEmbeddingLoss', (x, y, margin) =>
  e.add(e.select(e.ne(y, 1), hinge(e.sub(margin, x)), 0), e.select(e.ne(y, -1), x, 0)),
);
const readHinge = marginReader('hingeEmbeddingLoss', 1);

/**
 * `torch.nn.functional.hinge_embedding_loss`: `x` where the target is 1, `max(0, margin - x)` where it is -1.
 */
export const hingeEmbeddingLoss: (x: Tensor, target: Tensor, ...args: MarginArgs) => Tensor = defineComposite(
  'hingeEmbeddingLoss',
  (x: Tensor, target: Tensor, ...args: MarginArgs): Tensor => {
    const { margin, reduction } = readHinge(args);
    return reduced('hingeEmbeddingLoss', () => hingeFn(x, target, margin), reduction);
  },
);

const rankingFn = lossRow('marginRankingLoss', (a, b, y, margin) =>
  hinge(e.add(e.mul(e.neg(y), e.sub(a, b)), margin)),
);
const readRanking = marginReader('marginRankingLoss', 0);

/**
 * `torch.nn.functional.margin_ranking_loss`: `max(0, -target (x1 - x2) + margin)`; a target of 1 ranks `x1`
 * higher, -1 lower.
 */
export const marginRankingLoss: (x1: Tensor, x2: Tensor, target: Tensor, ...args: MarginArgs) => Tensor =
  defineComposite(
    'marginRankingLoss',
    (x1: Tensor, x2: Tensor, target: Tensor, ...args: MarginArgs): Tensor => {
      const { margin, reduction } = readRanking(args);
      if (x1.ndim !== x2.ndim || x1.ndim !== target.ndim) {
        const shapes = [x1, x2, target].map((t) => showShape(t.shape)).join(', ');
        throw new Error(`marginRankingLoss: both inputs and the target must have one rank, got ${shapes}`);
      }
      return reduced('marginRankingLoss', () => rankingFn(x1, x2, target, margin), reduction);
    },
  );

/** From the product of two vectors and their squared lengths. */
const cosineFn = lossRow('cosineEmbeddingLoss', (product, a, b, y, margin) => {
  const cos = e.div(product, e.sqrt(e.mul(e.add(a, 1e-12), e.add(b, 1e-12))));
  return e.add(e.select(e.eq(y, 1), e.sub(1, cos), 0), e.select(e.eq(y, -1), hinge(e.sub(cos, margin)), 0));
});
const readCosine = marginReader('cosineEmbeddingLoss', 0);

/**
 * `torch.nn.functional.cosine_embedding_loss` of `x1`, `x2` [N, D] with targets [N] (or [D] and a zero-dim
 * target): `1 - cos(x1, x2)` where the target is 1, `max(0, cos(x1, x2) - margin)` where it is -1.
 */
export const cosineEmbeddingLoss: (x1: Tensor, x2: Tensor, target: Tensor, ...args: MarginArgs) => Tensor =
  defineComposite(
    'cosineEmbeddingLoss',
    (x1: Tensor, x2: Tensor, target: Tensor, ...args: MarginArgs): Tensor => {
      const { margin, reduction } = readCosine(args);
      const dim = target.ndim;
      if (dim > 1 || x1.ndim !== dim + 1 || x2.ndim !== dim + 1) {
        const shapes = [x1, x2, target].map((t) => showShape(t.shape)).join(', ');
        throw new Error(
          `cosineEmbeddingLoss: expected inputs [N, D] with targets [N], or [D] with [], got ${shapes}`,
        );
      }
      const dot = (a: Tensor, b: Tensor): Tensor => sum(mul(a, b), dim);
      const losses = (): Tensor => cosineFn(dot(x1, x2), dot(x1, x1), dot(x2, x2), target, margin);
      return reduced('cosineEmbeddingLoss', losses, reduction);
    },
  );

/** [N, C] and labels of either; zero-dim and one-dim inputs are a batch of one. */
function asBatch(x: Tensor): Tensor {
  return x.ndim < 2 ? reshape(x, [1, Math.max(x.numel(), 1)]) : x;
}

export interface MultiMarginLossOptions extends MarginOptions {
  /** 1 (default) or 2: the exponent. */
  p?: number;
  /** A weight per class, [C]. */
  weight?: Tensor | null;
}

type MultiMarginArgs = Trailing<[p: number, margin: number, weight: Tensor | null], MultiMarginLossOptions>;

/** Of the score `x` of a class, that of the right class `right`, and its weight. */
const multiMarginFn = lossRow(
  'multiMarginLoss',
  (x, right, other, margin, p, w) => {
    const short = above(e.add(e.sub(margin, right), x));
    return e.select(e.ne(other, 0), e.mul(w, e.select(e.eq(p, 1), short, e.mul(short, short))), 0);
  },
  { bakes: (position) => position === 4 },
);
const readMulti = optionReader<Required<MultiMarginLossOptions>>(
  'multiMarginLoss',
  { p: 1, margin: 1, weight: null, reduction: 'mean' },
  'p',
  'margin',
  'weight',
);

/**
 * `torch.nn.functional.multi_margin_loss` of scores [N, C] (or [C]) and labels: the mean over all classes of
 * `weight[label] max(0, margin - x[label] + x[i])^p`, without `i = label`.
 *
 * @throws Error for a label out of range that the host knows; (at the next await) DataError for one computed
 * on the GPU
 */
export const multiMarginLoss: (x: Tensor, target: Tensor, ...args: MultiMarginArgs) => Tensor =
  defineComposite('multiMarginLoss', (x: Tensor, target: Tensor, ...args: MultiMarginArgs): Tensor => {
    const { p, margin, weight, reduction } = readMulti(args);
    const op = 'multiMarginLoss';
    if (p !== 1 && p !== 2) throw new Error(`${op}: p must be 1 or 2, got ${String(p)}`);
    const scores = asBatch(x);
    const [n, classes] = scores.shape as [number, number];
    if (x.ndim > 2 || target.ndim > 1 || target.numel() !== n) {
      throw new Error(
        `${op}: scores of shape [N, C] need labels [N], got ${showShape(x.shape)} and ${showShape(target.shape)}`,
      );
    }
    if (weight !== null && !sameShape(weight.shape, [classes]))
      throw new Error(`${op}: weight must have shape [${classes}], got ${showShape(weight.shape)}`);
    const labels = reshape(integersOf(op, 'labels', target), [n, 1]);
    const right = gather(scores, 1, labels);
    const others = to(ne(labels, arange(classes)), toFloatType(x.dtype));
    const factor = weight === null ? 1 : unsqueeze(indexSelect(weight, 0, reshape(labels, [n])), 1);
    const losses = mean(multiMarginFn(scores, right, others, margin, p, factor), 1);
    return reduced(op, () => (x.ndim < 2 ? reshape(losses, target.shape) : losses), reduction);
  });

/** 1 minus what the right class `right` has before the class of score `x`, where both count. */
const multilabelFn = lossRow('multilabelMarginLoss', (x, right, counted, other) =>
  e.select(e.and(e.ne(counted, 0), e.eq(other, 0)), above(e.add(e.sub(1, right), x)), 0),
);
const readPlain = (op: string) => optionReader<{ reduction: Reduction }>(op, { reduction: 'mean' });
const readMultilabel = readPlain('multilabelMarginLoss');

/**
 * `torch.nn.functional.multilabel_margin_loss` of scores [N, C] (or [C]) and, of the same shape, each
 * sample's labels followed by -1: the sum of `max(0, 1 - x[label] + x[i]) / C` over its labels and all other
 * classes `i`.
 *
 * @throws (at the next await) DataError for a label out of range
 */
export const multilabelMarginLoss: (x: Tensor, target: Tensor, options?: LossOptions) => Tensor =
  defineComposite('multilabelMarginLoss', (x: Tensor, target: Tensor, ...args: [LossOptions?]): Tensor => {
    const { reduction } = readMultilabel(args);
    if (x.ndim > 2 || !sameShape(x.shape, target.shape)) {
      throw new Error(
        `multilabelMarginLoss: expected scores and labels of one shape [N, C] or [C], got ${showShape(x.shape)} and ${showShape(target.shape)}`,
      );
    }
    const scores = asBatch(x);
    const classes = scores.shape[1] as number;
    const dtype = toFloatType(x.dtype);
    const labels = asBatch(integersOf('multilabelMarginLoss', 'labels', target));
    checkOnDevice('multilabelMarginLoss', 'label', labels, [classes, -1]);
    const counted = to(cumprod(to(ge(labels, 0), 'int32'), 1), dtype);
    const at = clamp(labels, { min: 0 });
    const isLabel = to(gt(scatterAdd(zeros(scores.shape, { dtype }), 1, at, counted), 0), dtype);
    const pairs = multilabelFn(
      unsqueeze(scores, 1),
      unsqueeze(gather(scores, 1, at), 2),
      unsqueeze(counted, 2),
      unsqueeze(isLabel, 1),
    );
    const losses = mul(sum(pairs, [1, 2]), 1 / classes);
    return reduced('multilabelMarginLoss', () => (x.ndim < 2 ? reshape(losses, []) : losses), reduction);
  });

export interface MultilabelSoftMarginLossOptions extends LossOptions {
  /** A weight per class; broadcasts. */
  weight?: Tensor | null;
}

const multilabelSoftFn = lossRow('multilabelSoftMarginLoss', (x, y, w) =>
  e.mul(e.add(e.mul(y, fn.softplus(e.neg(x))), e.mul(e.sub(1, y), fn.softplus(x))), w),
);
const readSoft = optionReader<Required<MultilabelSoftMarginLossOptions>>(
  'multilabelSoftMarginLoss',
  { weight: null, reduction: 'mean' },
  'weight',
);

type SoftArgs = Trailing<[weight: Tensor | null], MultilabelSoftMarginLossOptions>;

/**
 * `torch.nn.functional.multilabel_soft_margin_loss`: binary cross entropy of `sigmoid(x)`, averaged over the
 * last dim.
 */
export const multilabelSoftMarginLoss: (x: Tensor, target: Tensor, ...args: SoftArgs) => Tensor =
  defineComposite('multilabelSoftMarginLoss', (x: Tensor, target: Tensor, ...args: SoftArgs): Tensor => {
    const { weight, reduction } = readSoft(args);
    const losses = (): Tensor => mean(multilabelSoftFn(x, target, weight ?? 1), -1);
    return reduced('multilabelSoftMarginLoss', losses, reduction);
  });

export interface TripletMarginLossOptions extends MarginOptions {
  /** Order of the norm. Default 2. */
  p?: number;
  /** Added to differences. Default 1e-6. */
  eps?: number;
  /** Take the positive's distance to the negative where that is less than the anchor's. */
  swap?: boolean;
}

type TripletArgs = Trailing<
  [margin: number, p: number, eps: number, swap: boolean],
  TripletMarginLossOptions
>;

const tripletFn = lossRow('tripletMarginLoss', (near, far, margin) => hinge(e.sub(e.add(margin, near), far)));

type Distance = (a: Tensor, b: Tensor) => Tensor;

function triplets(
  anchor: Tensor,
  positive: Tensor,
  negative: Tensor,
  distance: Distance,
  margin: number,
  swap: boolean,
): Tensor {
  const near = distance(anchor, positive);
  const far = distance(anchor, negative);
  return tripletFn(near, swap ? minimum(far, distance(positive, negative)) : far, margin);
}

const readTriplet = optionReader<Required<TripletMarginLossOptions>>(
  'tripletMarginLoss',
  { margin: 1, p: 2, eps: 1e-6, swap: false, reduction: 'mean' },
  'margin',
  'p',
  'eps',
  'swap',
);

type Triplet<A extends readonly unknown[]> = (
  anchor: Tensor,
  positive: Tensor,
  negative: Tensor,
  ...args: A
) => Tensor;

/**
 * `torch.nn.functional.triplet_margin_loss` (Balntas et al. 2016): `max(0, d(anchor, positive) - d(anchor,
 * negative) + margin)` with the distance of `pairwiseDistance`, over the last dim.
 */
export const tripletMarginLoss: Triplet<TripletArgs> = defineComposite(
  'tripletMarginLoss',
  (anchor: Tensor, positive: Tensor, negative: Tensor, ...args: TripletArgs): Tensor => {
    const { margin, p, eps, swap, reduction } = readTriplet(args);
    const distance: Distance = (a, b) => pairwiseDistance(a, b, { p, eps });
    return reduced(
      'tripletMarginLoss',
      () => triplets(anchor, positive, negative, distance, margin, swap),
      reduction,
    );
  },
);

export interface TripletMarginWithDistanceLossOptions extends MarginOptions {
  /** Default: {@link pairwiseDistance}. */
  distanceFunction?: Distance | null;
  swap?: boolean;
}

const readTripletWith = optionReader<Required<TripletMarginWithDistanceLossOptions>>(
  'tripletMarginWithDistanceLoss',
  { distanceFunction: null, margin: 1, swap: false, reduction: 'mean' },
);

/**
 * `torch.nn.functional.triplet_margin_with_distance_loss`: {@link tripletMarginLoss} with a distance of your
 * own.
 */
export const tripletMarginWithDistanceLoss: Triplet<[options?: TripletMarginWithDistanceLossOptions]> =
  defineComposite(
    'tripletMarginWithDistanceLoss',
    (
      anchor: Tensor,
      positive: Tensor,
      negative: Tensor,
      ...args: [TripletMarginWithDistanceLossOptions?]
    ): Tensor => {
      const { distanceFunction, margin, swap, reduction } = readTripletWith(args);
      const distance = distanceFunction ?? ((a: Tensor, b: Tensor): Tensor => pairwiseDistance(a, b));
      return reduced(
        'tripletMarginWithDistanceLoss',
        () => triplets(anchor, positive, negative, distance, margin, swap),
        reduction,
      );
    },
  );
