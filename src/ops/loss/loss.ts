import { defineComposite } from '../../autograd/define.js';
import { e, type Expr } from '../../kernels/expr/expr.js';
import * as fn from '../../kernels/expr/functions.js';
import { optionReader, type Trailing } from '../../tensor/options.js';
import { broadcastShapes, sameShape, showShape } from '../../tensor/shape.js';
import type { Tensor } from '../../tensor/tensor.js';
import { clamp, trueDivide as div, mul, sub, add } from '../pointwise/pointwise.js';
import { checkOnDevice } from '../base/check.js';
import { to } from '../base/copy.js';
import { lossRow, reduced, type LossOptions } from './core.js';
import { sum } from '../reduce/reduce.js';
import { norm } from '../reduce/statistics.js';
import type { Operand, PointwiseFn } from '../base/row.js';
import { detach } from '../base/view.js';
import { checkReduction, type Reduction } from '../reduce/softmax.js';
import { expand } from '../base/view.js';

/*
 * Elementwise losses (https://pytorch.org/docs/stable/nn.functional.html#loss-functions): one pointwise
 * expression over input and target, then a reduction.
 */

export type { LossOptions };

type Loss<O, P extends readonly unknown[] = []> = (
  x: Tensor,
  target: Tensor,
  ...args: Trailing<P, O>
) => Tensor;

/** A loss of input and target, and perhaps of further operands that the options give. */
function pairLoss<O extends LossOptions>(
  name: string,
  fn: PointwiseFn,
  defaults: Omit<Required<O>, 'reduction'> = {} as Required<O>,
  rest: (options: Readonly<Required<O>>) => readonly Operand[] = () => [],
): Loss<O> {
  const read = optionReader<Required<O>>(name, { reduction: 'mean', ...defaults } as Required<O>);
  return defineComposite(name, (x: Tensor, target: Tensor, ...args: Trailing<[], O>): Tensor => {
    const options = read(args);
    return reduced(name, () => fn(x, target, ...rest(options)), options.reduction as Reduction);
  });
}

const needPositive = (op: string, name: string, value: number, orZero: boolean): number => {
  if (!(value > 0 || (orZero && value === 0)))
    throw new Error(`${op}: ${name} must be ${orZero ? 'at least 0' : 'positive'}, got ${value}`);
  return value;
};

const squared = (d: Expr): Expr => e.mul(d, d);

/** `torch.nn.functional.mse_loss`: `(x - target)^2`; the two broadcast. */
export const mseLoss: Loss<LossOptions> = pairLoss(
  'mseLoss',
  lossRow('mseLoss', (x, y) => squared(e.sub(x, y))),
);

/** `torch.nn.functional.l1_loss`: `|x - target|`; the gradient at equality is 0. */
export const l1Loss: Loss<LossOptions> = pairLoss(
  'l1Loss',
  lossRow('l1Loss', (x, y) => e.abs(e.sub(x, y)), { lends: 'operands' }),
);

export interface SmoothL1LossOptions extends LossOptions {
  /** Where the square turns into a line. Default 1; 0 is the L1 loss. */
  beta?: number;
}

/**
 * `torch.nn.functional.smooth_l1_loss` (Girshick 2015): `d^2 / (2 beta)` where `|d| < beta`, else `|d| - beta
 * / 2`.
 */
export const smoothL1Loss: Loss<SmoothL1LossOptions> = pairLoss(
  'smoothL1Loss',
  lossRow('smoothL1Loss', (x, y, beta) => {
    const d = e.abs(e.sub(x, y));
    return e.select(e.lt(d, beta), e.div(e.mul(squared(d), 0.5), beta), e.sub(d, e.mul(beta, 0.5)));
  }),
  { beta: 1 },
  ({ beta }) => [needPositive('smoothL1Loss', 'beta', beta, true)],
);

export interface HuberLossOptions extends LossOptions {
  /** Where the square turns into a line. Default 1. */
  delta?: number;
}

/**
 * `torch.nn.functional.huber_loss` (Huber 1964): `d^2 / 2` where `|d| < delta`, else `delta (|d| - delta /
 * 2)`.
 */
export const huberLoss: Loss<HuberLossOptions> = pairLoss(
  'huberLoss',
  lossRow('huberLoss', (x, y, delta) => {
    const d = e.abs(e.sub(x, y));
    return e.select(e.lt(d, delta), e.mul(squared(d), 0.5), e.mul(delta, e.sub(d, e.mul(delta, 0.5))));
  }),
  { delta: 1 },
  ({ delta }) => [needPositive('huberLoss', 'delta', delta, false)],
);

/** `torch.nn.functional.soft_margin_loss`: `log(1 + exp(-target x))` for targets of 1 and -1. */
export const softMarginLoss: Loss<LossOptions> = pairLoss(
  'softMarginLoss',
  lossRow('softMarginLoss', (x, y) => fn.softplus(e.neg(e.mul(y, x)))),
);

function checkSameShape(op: string, x: Tensor, target: Tensor): void {
  if (!sameShape(x.shape, target.shape)) {
    throw new Error(
      `${op}: input ${showShape(x.shape)} and target ${showShape(target.shape)} must have the same shape`,
    );
  }
}

export interface BinaryCrossEntropyOptions extends LossOptions {
  /** A weight per element; broadcasts. */
  weight?: Tensor | null;
}

/**
 * Logarithms are bounded at -100, as in PyTorch, so that a certain and wrong answer costs 100 and not
 * infinity.
 */
const boundedLog = (log: Expr): Expr => e.maximum(log, -100);

const binaryCrossEntropyFn = lossRow(
  'binaryCrossEntropy',
  (x, y, w) =>
    e.mul(
      e.neg(e.add(e.mul(y, boundedLog(e.log(x))), e.mul(e.sub(1, y), boundedLog(fn.log1p(e.neg(x)))))),
      w,
    ),
  {
    grad: (g, _, x, y, w) => [
      e.mul(e.mul(g, w), e.div(e.sub(x, y), e.maximum(e.mul(e.sub(1, x), x), 1e-12))),
      e.mul(e.mul(g, w), e.sub(boundedLog(fn.log1p(e.neg(x))), boundedLog(e.log(x)))),
      null,
    ],
  },
);

const readBce = optionReader<Required<BinaryCrossEntropyOptions>>('binaryCrossEntropy', {
  weight: null,
  reduction: 'mean',
});

/**
 * `torch.nn.functional.binary_cross_entropy`: `-(target log(x) + (1 - target) log(1 - x))` for probabilities
 * `x` in [0, 1]; logarithms are at least -100.
 *
 * @throws (at the next await) DataError for an `x` outside
 */
export const binaryCrossEntropy: Loss<BinaryCrossEntropyOptions> = defineComposite(
  'binaryCrossEntropy',
  (x: Tensor, target: Tensor, ...args: [BinaryCrossEntropyOptions?]): Tensor => {
    const { weight, reduction } = readBce(args);
    checkSameShape('binaryCrossEntropy', x, target);
    checkOnDevice('binaryCrossEntropy', 'probability', to(detach(x), 'float32'));
    return reduced('binaryCrossEntropy', () => binaryCrossEntropyFn(x, target, weight ?? 1), reduction);
  },
);

export interface BinaryCrossEntropyWithLogitsOptions extends BinaryCrossEntropyOptions {
  /** Weight of the positive answers, per class; broadcasts. */
  posWeight?: Tensor | null;
}

const logitsFn = lossRow('binaryCrossEntropyWithLogits', (x, y, w, positive) => {
  const scale = e.add(e.mul(e.sub(positive, 1), y), 1);
  return e.mul(e.add(e.mul(e.sub(1, y), x), e.mul(scale, fn.softplus(e.neg(x)))), w);
});

const readLogits = optionReader<Required<BinaryCrossEntropyWithLogitsOptions>>(
  'binaryCrossEntropyWithLogits',
  { weight: null, posWeight: null, reduction: 'mean' },
);

/**
 * `torch.nn.functional.binary_cross_entropy_with_logits`: {@link binaryCrossEntropy} of `sigmoid(x)`, as
 * `(1 - target) x + (1 + (posWeight - 1) target) softplus(-x)`, which does not overflow.
 */
export const binaryCrossEntropyWithLogits: Loss<BinaryCrossEntropyWithLogitsOptions> = defineComposite(
  'binaryCrossEntropyWithLogits',
  (x: Tensor, target: Tensor, ...args: [BinaryCrossEntropyWithLogitsOptions?]): Tensor => {
    const { weight, posWeight, reduction } = readLogits(args);
    checkSameShape('binaryCrossEntropyWithLogits', x, target);
    return reduced(
      'binaryCrossEntropyWithLogits',
      () => logitsFn(x, target, weight ?? 1, posWeight ?? 1),
      reduction,
    );
  },
);

export interface KlDivOptions {
  /**
   * `'batchmean'` divides the sum by the size of dim 0, which is the mathematical definition per sample.
   * Default `'mean'`.
   */
  reduction?: Reduction | 'batchmean';
  /** The target is given as logarithms too. */
  logTarget?: boolean;
}

const klDivFn = lossRow('klDiv', (x, y) => e.sub(e.select(e.eq(y, 0), 0, e.mul(y, e.log(y))), e.mul(y, x)));
const klDivLogFn = lossRow('klDiv', (x, y) => e.mul(e.exp(y), e.sub(y, x)));

const readKl = optionReader<Required<KlDivOptions>>('klDiv', { reduction: 'mean', logTarget: false });

/**
 * `torch.nn.functional.kl_div` (Kullback & Leibler 1951): `target (log(target) - x)` for log-probabilities
 * `x`.
 */
export const klDiv: Loss<KlDivOptions> = defineComposite(
  'klDiv',
  (x: Tensor, target: Tensor, ...args: [KlDivOptions?]): Tensor => {
    const { reduction, logTarget } = readKl(args);
    checkReduction('klDiv', reduction, ['batchmean']);
    const losses = (): Tensor => (logTarget ? klDivLogFn : klDivFn)(x, target);
    if (reduction !== 'batchmean') return reduced('klDiv', losses, reduction);
    if (x.ndim === 0) throw new Error("klDiv: reduction 'batchmean' needs a batch dim, got a zero-dim input");
    return mul(sum(losses()), 1 / (x.shape[0] as number));
  },
);

export interface CosineSimilarityOptions {
  /** Default 1. */
  dim?: number;
  /** Least norm that is divided by. Default 1e-8. */
  eps?: number;
}

const readCosine = optionReader('cosineSimilarity', { dim: 1, eps: 1e-8 }, 'dim', 'eps');

/**
 * `torch.nn.functional.cosine_similarity`: `x . y / (max(|x|, eps) max(|y|, eps))` along `dim`, which
 * disappears; the two broadcast.
 */
export const cosineSimilarity: Loss<CosineSimilarityOptions, [dim: number, eps: number]> = defineComposite(
  'cosineSimilarity',
  (x: Tensor, y: Tensor, ...args: Trailing<[dim: number, eps: number], CosineSimilarityOptions>): Tensor => {
    const { dim, eps } = readCosine(args);
    // `dim` is one of the broadcast shape.
    const shape = broadcastShapes('cosineSimilarity', x.shape, y.shape);
    const unit = (t: Tensor): Tensor => {
      const whole = expand(t, shape);
      return div(whole, clamp(norm(whole, { dim, keepdim: true }), { min: eps }));
    };
    return sum(mul(unit(x), unit(y)), dim);
  },
);

export interface PairwiseDistanceOptions {
  /** Order of the norm. Default 2. */
  p?: number;
  /** Added to the difference, so that the gradient at equality is finite. Default 1e-6. */
  eps?: number;
  keepdim?: boolean;
}

type PairwisePosition = [p: number, eps: number, keepdim: boolean];

const readPairwise = optionReader(
  'pairwiseDistance',
  { p: 2, eps: 1e-6, keepdim: false },
  'p',
  'eps',
  'keepdim',
);

/** `torch.nn.functional.pairwise_distance`: the `p` norm of `x - y + eps` along the last dim. */
export const pairwiseDistance: Loss<PairwiseDistanceOptions, PairwisePosition> = defineComposite(
  'pairwiseDistance',
  (x: Tensor, y: Tensor, ...args: Trailing<PairwisePosition, PairwiseDistanceOptions>): Tensor => {
    const { p, eps, keepdim } = readPairwise(args);
    return norm(add(sub(x, y), eps), { p, dim: -1, keepdim });
  },
);
