import { defineComposite, defineOp } from '../../autograd/define.js';
import { planCtc, planCtcGrad, type CtcProblem } from '../../kernels/reduce/ctc.js';
import { optionReader, type Trailing } from '../../tensor/options.js';
import { showShape } from '../../tensor/shape.js';
import { isTensor, Tensor } from '../../tensor/tensor.js';
import { checkOnDevice, integersOf } from '../base/check.js';
import { rowMajor } from '../base/copies.js';
import { to } from '../base/copy.js';
import { arange, full } from '../creation/creation.js';
import { cat } from '../shape/join.js';
import { isinf, lt } from '../pointwise/compare.js';
import { reduced, type LossOptions } from './core.js';
import { clamp, div, sub } from '../pointwise/pointwise.js';
import { mean } from '../reduce/reduce.js';
import { runPlan } from '../base/run-plan.js';
import { cumsum } from '../reduce/scan.js';
import { reshape, unsqueeze } from '../base/view.js';
import { where } from '../pointwise/where.js';

/** Per sample of `lp` [T, N, C], minus the log-probability of its target. All operands are row-major. */
const ctcOp: (lp: Tensor, targets: Tensor, spans: Tensor, problem: CtcProblem) => Tensor = defineOp<
  [Tensor, Tensor, Tensor, CtcProblem],
  Tensor,
  CtcProblem
>({
  name: 'ctcLoss',
  forward(ctx, lp, targets, spans, problem) {
    ctx.state = problem;
    const { batch, steps, states } = problem;
    const nll = Tensor.empty([batch], 'float32', 'ctcLoss');
    const alpha = Tensor.empty([batch, steps, states], 'float32', 'ctcLoss (alignments)');
    if (batch > 0) runPlan('ctcLoss', planCtc(problem), { lp, targets, spans, alpha, nll });
    ctx.save(lp, targets, spans, alpha, nll);
    return nll;
  },
  backward(ctx, grad) {
    const [lp, targets, spans, alpha, nll] = ctx.saved as [Tensor, Tensor, Tensor, Tensor, Tensor];
    return [() => ctcGradOp(grad, lp, targets, spans, alpha, nll, ctx.state)];
  },
});

const once = (): Tensor => {
  throw new Error('ctcLoss: its gradient cannot be differentiated again');
};

const ctcGradOp: (
  grad: Tensor,
  lp: Tensor,
  targets: Tensor,
  spans: Tensor,
  alpha: Tensor,
  nll: Tensor,
  problem: CtcProblem,
) => Tensor = defineOp<[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, CtcProblem], Tensor>({
  name: 'ctcLossBackward',
  forward(_, grad, lp, targets, spans, alpha, nll, problem) {
    const dlp = Tensor.empty(lp.shape, 'float32', 'ctcLossBackward');
    if (dlp.numel() > 0) {
      const operands = { lp, targets, spans, alpha, nll, dnll: rowMajor(grad), dlp };
      runPlan('ctcLossBackward', planCtcGrad(problem), operands);
    }
    return dlp;
  },
  backward: () => [once, once],
});

/** How long each sample is: numbers, or int32 [N]. */
export type Lengths = number | readonly number[] | Tensor;

/** Lengths as an int32 vector of the batch, and on the host if they are known there. */
function lengthsOf(
  what: string,
  given: Lengths,
  batch: number,
  most: number,
): { on: Tensor; known: readonly number[] | null } {
  const listed = typeof given === 'number' ? [given] : given;
  const count = isTensor(listed) ? listed.numel() : listed.length;
  if (count !== batch) throw new Error(`ctcLoss: expected ${batch} ${what}, one per sample, got ${count}`);
  const host = isTensor(listed) ? listed.hostValues() : listed;
  const bad = host?.find((length) => !(Number.isInteger(length) && length >= 0 && length <= most));
  if (bad !== undefined) throw new Error(`ctcLoss: ${what} must be integers from 0 to ${most}, got ${bad}`);
  const on = isTensor(listed)
    ? reshape(integersOf('ctcLoss', what, listed), [batch])
    : Tensor.fromHost(listed, [batch], 'int32');
  if (host === null) checkOnDevice('ctcLoss', 'upTo', on, [most]);
  return { on, known: host && Array.from(host) };
}

/** Refuses labels that are no classes; of rows, what lies behind their lengths counts for nothing. */
function checkLabels(lengths: Tensor | null, targets: Tensor, classes: number, blank: number): void {
  let used = targets;
  if (lengths !== null) {
    const inside = lt(arange(targets.shape[1] as number), unsqueeze(lengths, 1));
    used = where(inside, used, full([], blank, { dtype: 'int32' }));
  }
  checkOnDevice('ctcLoss', 'index', used, [classes]);
}

export interface CtcLossOptions extends LossOptions {
  /** The class that stands for no label. Default 0. */
  blank?: number;
  /** Samples without an alignment (too short inputs) cost 0, and have no gradient, instead of infinity. */
  zeroInfinity?: boolean;
}

type CtcArgs = Trailing<[blank: number], CtcLossOptions>;

const readOptions = optionReader<Required<CtcLossOptions>>(
  'ctcLoss',
  { blank: 0, reduction: 'mean', zeroInfinity: false },
  'blank',
);

/**
 * `torch.nn.functional.ctc_loss` (Graves et al. 2006) of log-probabilities [T, N, C] (or [T, C]) with labels
 * [N, S], or all labels one after another in one dim. `mean` divides each sample's loss by its target's
 * length (at least 1) first. As in PyTorch, the gradient is that of the scores whose log-softmax `logProbs`
 * is; it cannot be differentiated again.
 *
 * @throws Error for lengths out of range that the host knows; (at the next await) DataError for those
 * computed on the GPU, and for labels that are no classes
 */
export const ctcLoss: (
  logProbs: Tensor,
  targets: Tensor,
  inputLengths: Lengths,
  targetLengths: Lengths,
  ...args: CtcArgs
) => Tensor = defineComposite(
  'ctcLoss',
  (
    logProbs: Tensor,
    targets: Tensor,
    inputLengths: Lengths,
    targetLengths: Lengths,
    ...args: CtcArgs
  ): Tensor => {
    const { blank, reduction, zeroInfinity } = readOptions(args);
    const single = logProbs.ndim === 2;
    const batched = single ? unsqueeze(logProbs, 1) : logProbs;
    if (batched.ndim !== 3 || (targets.ndim !== 1 && targets.ndim !== 2)) {
      throw new Error(
        `ctcLoss: expected log-probabilities [T, N, C] or [T, C] with labels [N, S] or one after another, got ${showShape(logProbs.shape)} and ${showShape(targets.shape)}`,
      );
    }
    const [steps, batch, classes] = batched.shape as [number, number, number];
    if (!Number.isInteger(blank) || blank < 0 || blank >= classes)
      throw new Error(`ctcLoss: blank must be a class from 0 to ${classes - 1}, got ${String(blank)}`);
    if (targets.ndim === 2 && targets.shape[0] !== batch)
      throw new Error(`ctcLoss: labels ${showShape(targets.shape)} do not fit a batch of ${batch} samples`);
    const width = targets.shape.at(-1) as number;
    const inputs = lengthsOf('inputLengths', inputLengths, batch, steps);
    const labels = lengthsOf('targetLengths', targetLengths, batch, width);
    const longest = labels.known === null ? width : Math.max(0, ...labels.known);
    const starts =
      targets.ndim === 2
        ? Tensor.fromHost(
            Array.from({ length: batch }, (_, i) => i * width),
            [batch],
            'int32',
          )
        : sub(cumsum(labels.on, 0), labels.on);
    // A shader cannot bind nothing.
    const listed = integersOf('ctcLoss', 'labels', targets);
    const flat = reshape(listed, [targets.numel()]);
    checkLabels(targets.ndim === 2 ? labels.on : null, listed, classes, blank);
    const classesOf = flat.numel() === 0 ? full([1], blank, { dtype: 'int32' }) : rowMajor(flat);
    const problem = { steps, batch, classes, states: 2 * longest + 1, blank };
    let nll = ctcOp(
      rowMajor(to(batched, 'float32')),
      classesOf,
      cat([inputs.on, labels.on, starts]),
      problem,
    );
    if (zeroInfinity) nll = where(isinf(nll), 0, nll);
    if (reduction === 'mean') return mean(div(nll, clamp(labels.on, { min: 1 })));
    return reduced('ctcLoss', () => (single ? reshape(nll, []) : nll), reduction);
  },
);
