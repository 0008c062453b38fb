import { runtime } from '../../device/index.js';
import { defineComposite, defineOp } from '../../autograd/define.js';
import { isGradEnabled } from '../../autograd/mode.js';
import {
  crossEntropyBackward,
  crossEntropyForward,
  entropyValues,
  softmaxBackward,
  softmaxForward,
  type CrossEntropyProblem,
} from '../../kernels/reduce/softmax.js';
import { labelOutOfRange } from '../../kernels/base/faults.js';
import { isFloatingPoint, promoteTypes, type DType } from '../../tensor/dtype.js';
import { type Needed, optionReader, required, type Trailing } from '../../tensor/options.js';
import { contiguousStrides, normalizeDim, numel, showShape, stridesLike } from '../../tensor/shape.js';
import { Tensor } from '../../tensor/tensor.js';
import { checkOnDevice, integersOf } from '../base/check.js';
import { eq, logicalAnd, ne } from '../pointwise/compare.js';
import { clone, contiguous, to } from '../base/copy.js';
import { copyAs, rowMajor } from '../base/copies.js';
import { arange } from '../creation/creation.js';
import { add, trueDivide as div, exp, mul, neg, sub } from '../pointwise/pointwise.js';
import { launch } from '../base/launch.js';
import { mean, sum } from './reduce.js';
import { sumDims } from '../base/sum-to.js';
import { movedim, narrow, reshape, unsqueeze } from '../base/view.js';
import { where } from '../pointwise/where.js';

const problemOf = (x: Tensor): { rows: number; classes: number; maxBinding: number } => ({
  rows: x.shape[0] as number,
  classes: x.shape[1] as number,
  maxBinding: runtime().maxBinding,
});

/** Over the rows of a row-major [rows, classes] matrix. */
const rowsOp: (x: Tensor, log: boolean) => Tensor = defineOp<[Tensor, boolean], Tensor, boolean>({
  name: 'softmax',
  forward(ctx, x, log) {
    ctx.state = log;
    const dense = rowMajor(x);
    const y = Tensor.empty(x.shape, 'float32', 'softmax');
    if (y.numel() > 0) launch(softmaxForward(runtime().target, problemOf(x), log), { x: dense, y });
    ctx.save(y);
    return y;
  },
  backward(ctx, grad) {
    const log = ctx.state;
    const y = ctx.saved[0] as Tensor;
    if (isGradEnabled()) {
      return [
        () =>
          log
            ? sub(grad, mul(exp(y), sumDims(grad, [1], true)))
            : mul(y, sub(grad, sumDims(mul(grad, y), [1], true))),
      ];
    }
    return [
      () => {
        const dx = Tensor.empty(y.shape, 'float32', 'softmaxBackward');
        if (dx.numel() > 0) {
          const launches = softmaxBackward(runtime().target, problemOf(y), log);
          launch(launches, { y, dy: rowMajor(grad), dx });
        }
        return dx;
      },
    ];
  },
});

/** Runs `fn` on `x` as a matrix whose rows run along `dim`, and restores the shape. */
function alongDim(op: string, x: Tensor, dim: number, fn: (rows: Tensor) => Tensor): Tensor {
  if (!isFloatingPoint(x.dtype))
    throw new Error(`${op}: expected a float tensor, got ${x.dtype}; convert it with .to('float32')`);
  const d = normalizeDim(op, dim, x.ndim);
  const wide = to(x, 'float32');
  if (x.ndim === 0) return to(reshape(fn(reshape(wide, [1, 1])), []), x.dtype);
  const y = fn(matrixAlong(wide, d));
  if (x.ndim === 2 && d === 1) return to(y, x.dtype);
  const moved = [...x.shape.filter((_, i) => i !== d), x.shape[d] as number];
  return to(inOrderOf(x, movedim(reshape(y, moved), -1, d)), x.dtype);
}

/** `y` row-major, as PyTorch's results are, or in the order that the engine chose for `x`. */
function inOrderOf(x: Tensor, y: Tensor): Tensor {
  const keeps = x.storage.ownOrder && x.isDense();
  const strides = keeps ? stridesLike(x.shape, x.shape, x.strides) : contiguousStrides(x.shape);
  return y.shape.every((size, i) => size === 1 || y.strides[i] === strides[i])
    ? y
    : copyAs(y, strides, x.storage.ownOrder);
}

/** `x` as a row-major matrix whose rows run along `dim`. */
function matrixAlong(x: Tensor, dim: number): Tensor {
  if (x.ndim === 2 && dim === 1) return contiguous(x);
  const moved = contiguous(movedim(x, dim, -1));
  return reshape(moved, [numel(moved.shape.slice(0, -1)), x.shape[dim] as number]);
}

/** What follows the tensor of {@link softmax}. */
export type SoftmaxArgs = Needed<[dim: number], ['dim'], [dtype: DType | null], { dtype?: DType | null }>;

/** `torch.softmax`: `exp(x) / sum(exp(x))` along `dim`, of `x` converted to `dtype` if one is given. */
export const softmax: (x: Tensor, ...args: SoftmaxArgs) => Tensor = defineComposite(
  'softmax',
  (x: Tensor, ...args: SoftmaxArgs): Tensor =>
    alongDim('softmax', ...readRows('softmax', x, args), (rows) => rowsOp(rows, false)),
);

/** `torch.log_softmax`: `log(softmax(x))` along `dim`, without overflow. */
export const logSoftmax: (x: Tensor, ...args: SoftmaxArgs) => Tensor = defineComposite(
  'logSoftmax',
  (x: Tensor, ...args: SoftmaxArgs): Tensor =>
    alongDim('logSoftmax', ...readRows('logSoftmax', x, args), (rows) => rowsOp(rows, true)),
);

function readRows(op: string, x: Tensor, args: readonly unknown[]): [x: Tensor, dim: number] {
  const defaults = { dim: required<number>(), dtype: null as DType | null };
  const { dim, dtype } = optionReader(op, defaults, 'dim', 'dtype')(args);
  return [dtype === null ? x : to(x, dtype), dim];
}

export type Reduction = 'none' | 'mean' | 'sum';

/** @internal */
export function checkReduction(op: string, reduction: string, extra: readonly string[] = []): void {
  if (!['none', 'mean', 'sum', ...extra].includes(reduction)) {
    throw new Error(
      `${op}: reduction must be 'none', 'mean' or 'sum'${extra.map((e) => ` or '${e}'`).join('')}, got '${reduction}'`,
    );
  }
}

export interface CrossEntropyOptions {
  /** A weight per class, [C]. */
  weight?: Tensor | null;
  /** Labels with this value count for nothing. Default -100. */
  ignoreIndex?: number;
  /** Share of the target spread evenly over all classes (Szegedy et al. 2016). Default 0. */
  labelSmoothing?: number;
  reduction?: Reduction;
}

type FusedOptions = Omit<CrossEntropyProblem, 'rows' | 'classes' | 'weighted'> & {
  readonly reduction: Reduction;
};

/** Logits [M, C] and labels [M], both row-major. */
const fusedOp: (x: Tensor, labels: Tensor, weight: Tensor | null, options: FusedOptions) => Tensor = defineOp<
  [Tensor, Tensor, Tensor | null, FusedOptions],
  Tensor,
  FusedOptions
>({
  name: 'crossEntropy',
  forward(ctx, input, labels, weight, options) {
    ctx.state = options;
    const x = rowMajor(input);
    const problem = { ...problemOf(x), ...options, weighted: weight !== null };
    const rows = Tensor.empty([entropyValues, problem.rows], 'float32', 'crossEntropy');
    const operands = { x, labels, weights: weight ?? undefined, rowsOut: rows };
    launch([crossEntropyForward(runtime().target, problem)], operands);
    const losses = narrow(rows, 0, 0, 1);
    const mass = options.reduction === 'mean' ? sum(narrow(rows, 0, 1, 1)) : null;
    // PyTorch keeps the log-probabilities, so that the scores may be overwritten.
    ctx.lend(x);
    ctx.save(labels, weight, rows, mass);
    if (options.reduction === 'none') return clone(reshape(losses, [problem.rows]));
    return mass === null ? sum(losses) : div(sum(losses), mass);
  },
  backward(ctx, grad) {
    const options = ctx.state;
    const [x, labels, weight, rows, mass] = ctx.saved as [
      Tensor,
      Tensor,
      Tensor | null,
      Tensor,
      Tensor | null,
    ];
    const scale = mass === null ? grad : div(grad, mass);
    if (isGradEnabled()) {
      return [
        () => {
          const target = targetOf(x, labels, weight, options);
          const perRow = options.reduction === 'none' ? unsqueeze(scale, 1) : scale;
          return mul(perRow, sub(mul(rowsOp(x, false), sumDims(target, [1], true)), target));
        },
      ];
    }
    return [
      () => {
        const dx = Tensor.empty(x.shape, 'float32', 'crossEntropyBackward');
        const problem = { ...problemOf(x), ...options, weighted: weight !== null };
        const perRow = options.reduction === 'none';
        launch([crossEntropyBackward(runtime().target, problem, perRow)], {
          x,
          labels,
          weights: weight ?? undefined,
          rowsOut: rows,
          scale: rowMajor(scale),
          dx,
        });
        return dx;
      },
    ];
  },
});

/** bool [M, C]: true at each row's label. */
const oneHotMask = (labels: Tensor, classes: number): Tensor => eq(unsqueeze(labels, 1), arange(classes));

/** The smoothed, weighted target distribution [M, C] that the fused kernel works with. */
function targetOf(
  x: Tensor,
  labels: Tensor,
  weight: Tensor | null,
  { smoothing, ignoreIndex }: FusedOptions,
): Tensor {
  const classes = x.shape[1] as number;
  const hot = to(oneHotMask(labels, classes), 'float32');
  let target = smoothing === 0 ? hot : add(mul(hot, 1 - smoothing), smoothing / classes);
  if (weight !== null) target = mul(target, weight);
  return mul(target, to(ne(unsqueeze(labels, 1), ignoreIndex), 'float32'));
}

/**
 * Labels that were uploaded from the host a moment ago are checked there, at no cost to the GPU; true when
 * they were.
 */
function checkLabels(op: string, labels: Tensor, classes: number, ignoreIndex: number): boolean {
  const values = labels.hostValues();
  if (values === null) return false;
  for (let i = 0; i < values.length; i++) {
    const label = values[i] as number;
    if (label !== ignoreIndex && !(label >= 0 && label < classes)) {
      throw new Error(labelOutOfRange(op, label, i, classes, ignoreIndex));
    }
  }
  return true;
}

function checkWeight(op: string, weight: Tensor | null, classes: number): void {
  if (weight !== null && (weight.ndim !== 1 || weight.shape[0] !== classes)) {
    throw new Error(
      `${op}: weight must have shape [${classes}], one per class, got ${showShape(weight.shape)}`,
    );
  }
}

/** [N, C, d...] with labels [N, d...] as a matrix [M, C] and a vector [M]. */
function asRows(
  op: string,
  x: Tensor,
  target: Tensor,
): { rows: Tensor; labels: Tensor; shape: readonly number[]; classes: number } {
  const classDim = x.ndim === 1 ? 0 : 1;
  if (x.ndim === 0)
    throw new Error(`${op}: expected scores of shape [N, C, ...] or [C], got a zero-dim tensor`);
  const classes = x.shape[classDim] as number;
  const shape = x.shape.filter((_, i) => i !== classDim);
  if (target.ndim !== shape.length || shape.some((size, i) => target.shape[i] !== size)) {
    throw new Error(
      `${op}: scores of shape ${showShape(x.shape)} need labels of shape ${showShape(shape)}, got ${showShape(target.shape)}`,
    );
  }
  const rows = matrixAlong(x, classDim);
  return {
    rows,
    labels: rowMajor(reshape(integersOf(op, 'labels', target), [numel(shape)])),
    shape,
    classes,
  };
}

type CrossEntropyArgs = Trailing<[weight: Tensor | null], CrossEntropyOptions>;
const readCrossEntropy = optionReader<Required<CrossEntropyOptions>>(
  'crossEntropy',
  { weight: null, ignoreIndex: -100, labelSmoothing: 0, reduction: 'mean' },
  'weight',
);

/**
 * `torch.nn.functional.cross_entropy` of scores `x` [N, C, ...] (or [C]) with integer labels [N, ...] or with
 * probabilities of `x`'s shape. `mean` divides by the sum of the labels' weights (labels), or by the number
 * of samples (probabilities).
 *
 * @throws Error for a label out of range that the host knows; (at the next await) DataError for one computed
 * on the GPU
 */
export const crossEntropy: (x: Tensor, target: Tensor, ...args: CrossEntropyArgs) => Tensor = defineComposite(
  'crossEntropy',
  (x: Tensor, target: Tensor, ...args: CrossEntropyArgs): Tensor => {
    const { weight, ignoreIndex, labelSmoothing, reduction } = readCrossEntropy(args);
    checkReduction('crossEntropy', reduction);
    if (!(labelSmoothing >= 0 && labelSmoothing <= 1))
      throw new Error(`crossEntropy: labelSmoothing must be between 0 and 1, got ${labelSmoothing}`);
    if (!isFloatingPoint(x.dtype)) throw new Error(`crossEntropy: scores must be floats, got ${x.dtype}`);
    const scores = to(x, 'float32');
    if (isFloatingPoint(target.dtype)) {
      const loss = probabilityLoss(scores, target, weight, labelSmoothing, reduction);
      return to(loss, promoteTypes(x.dtype, target.dtype));
    }
    const { rows, labels, shape, classes } = asRows('crossEntropy', scores, target);
    checkWeight('crossEntropy', weight, classes);
    const checked = !checkLabels('crossEntropy', target, classes, ignoreIndex);
    const loss = fusedOp(rows, labels, weight === null ? null : rowMajor(to(weight, 'float32')), {
      smoothing: labelSmoothing,
      ignoreIndex,
      checked,
      reduction,
    });
    return to(reduction === 'none' ? reshape(loss, shape) : loss, x.dtype);
  },
);

function probabilityLoss(
  x: Tensor,
  target: Tensor,
  weight: Tensor | null,
  smoothing: number,
  reduction: Reduction,
): Tensor {
  if (showShape(target.shape) !== showShape(x.shape)) {
    throw new Error(
      `crossEntropy: a float target holds probabilities and must have the scores' shape ${showShape(x.shape)}, got ` +
        `${showShape(target.shape)}. Labels are integers: make them with { dtype: 'int32' } or convert with .to('int32')`,
    );
  }
  const dim = x.ndim === 1 ? 0 : 1;
  const classes = x.shape[dim] as number;
  checkWeight('crossEntropy', weight, classes);
  let goal = smoothing === 0 ? target : add(mul(target, 1 - smoothing), smoothing / classes);
  if (weight !== null) goal = mul(goal, reshape(weight, [classes, ...x.shape.slice(dim + 1).map(() => 1)]));
  const losses = neg(sumDims(mul(goal, logSoftmax(x, dim)), [dim], false));
  return reduction === 'none' ? losses : reduction === 'sum' ? sum(losses) : mean(losses);
}

export type NllLossOptions = Omit<CrossEntropyOptions, 'labelSmoothing'>;
type NllLossArgs = Trailing<[weight: Tensor | null], NllLossOptions>;
const readNllLoss = optionReader<Required<NllLossOptions>>(
  'nllLoss',
  { weight: null, ignoreIndex: -100, reduction: 'mean' },
  'weight',
);

/**
 * `torch.nn.functional.nll_loss`: minus the log-probability of each label; `x` [N, C, ...] holds
 * log-probabilities.
 *
 * @throws Error for a label out of range that the host knows; (at the next await) DataError for one computed
 * on the GPU
 */
export const nllLoss: (x: Tensor, target: Tensor, ...args: NllLossArgs) => Tensor = defineComposite(
  'nllLoss',
  (x: Tensor, target: Tensor, ...args: NllLossArgs): Tensor => {
    const { weight, ignoreIndex, reduction } = readNllLoss(args);
    checkReduction('nllLoss', reduction);
    const { rows, labels, shape, classes } = asRows('nllLoss', x, target);
    checkWeight('nllLoss', weight, classes);
    if (!checkLabels('nllLoss', target, classes, ignoreIndex))
      checkOnDevice('nllLoss', 'label', labels, [classes, ignoreIndex]);
    const counted = logicalAnd(oneHotMask(labels, classes), ne(unsqueeze(labels, 1), ignoreIndex));
    // Sums are float32: float16 could not hold those of many samples.
    const weights = weight === null ? to(counted, 'float32') : where(counted, to(weight, 'float32'), 0);
    const losses = sumDims(where(counted, neg(mul(rows, weights)), 0), [1], false);
    if (reduction === 'none') return to(reshape(losses, shape), x.dtype);
    return to(reduction === 'sum' ? sum(losses) : div(sum(losses), sum(weights)), x.dtype);
  },
);
