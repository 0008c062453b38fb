import { to } from '../ops/base/copy.js';
import { reshape } from '../ops/base/view.js';
import { cat } from '../ops/shape/join.js';
import { abs, mul, sub } from '../ops/pointwise/pointwise.js';
import { mean, sum } from '../ops/reduce/reduce.js';
import { readOptions, requireBoolean, noMore } from '../tensor/options.js';
import { sameShape, showShape } from '../tensor/shape.js';
import type { Tensor } from '../tensor/tensor.js';
import { checkTensors, oneOf } from './inputs.js';
import { Metric } from './metric.js';
import { ExactSums } from './state.js';

export interface RegressionOptions {
  /** Values per sample, each with a result of its own; default 1: all values are alike. */
  numOutputs?: number;
}

export interface MeanSquaredErrorOptions extends RegressionOptions {
  /** false: its root. Default true. */
  squared?: boolean;
}

function outputsOf(name: string, numOutputs: unknown): number {
  if (typeof numOutputs !== 'number' || !Number.isInteger(numOutputs) || numOutputs < 1)
    throw new Error(`${name}: numOutputs must be an integer of 1 or more, got ${String(numOutputs)}`);
  return numOutputs;
}

/** Both as float32 [n, outputs]. */
function rowsOf(name: string, preds: Tensor, target: Tensor, outputs: number): readonly [Tensor, Tensor] {
  checkTensors(name, preds, target);
  if (!sameShape(preds.shape, target.shape))
    throw new Error(
      `${name}.update: preds ${showShape(preds.shape)} and target ${showShape(target.shape)} must have the same shape`,
    );
  if (outputs > 1 && (preds.ndim !== 2 || preds.shape[1] !== outputs))
    throw new Error(
      `${name}.update: numOutputs ${outputs} needs shape [N, ${outputs}], got ${showShape(preds.shape)}`,
    );
  const rows = (x: Tensor): Tensor => reshape(to(x, 'float32'), [-1, outputs]);
  return [rows(preds), rows(target)];
}

/** A mean of something that is computed of each error; a list of them where there are several outputs. */
abstract class MeanError extends Metric<number | number[]> {
  private readonly sums: ExactSums;
  private readonly outputs: number;

  protected constructor(name: string, { numOutputs, ...others }: MeanSquaredErrorOptions) {
    const outputs = outputsOf(name, numOutputs);
    const sums = new ExactSums(outputs + 1, (computed, count) => [...computed, count]);
    super(name, { sums }, { numOutputs: outputs, ...others });
    [this.sums, this.outputs] = [sums, outputs];
  }

  /**
   * @param preds any shape; with several outputs [N, outputs] @param target the same
   * @throws Error for other shapes
   */
  update(preds: Tensor, target: Tensor): void {
    this.record(() => {
      const { name, outputs } = this;
      const [p, t] = rowsOf(name, preds, target, outputs);
      if (p.numel() > 0) this.sums.push(`${name}.update`, sum(this.of(sub(p, t)), 0), p.shape[0] as number);
    });
  }

  protected async value(): Promise<number | number[]> {
    const totals = await this.sums.totals();
    const count = totals.at(-1) as number;
    const means = totals.slice(0, -1).map((total) => this.finish(total / count));
    return this.outputs === 1 ? (means[0] as number) : means;
  }

  /** Element by element. */
  protected abstract of(error: Tensor): Tensor;

  protected finish(value: number): number {
    return value;
  }
}

/** `torchmetrics.MeanSquaredError`. NaN where no value has come yet, but empty batches. */
export class MeanSquaredError extends MeanError {
  private readonly squared: boolean;

  constructor(options?: MeanSquaredErrorOptions) {
    noMore(new.target.name, arguments, 1);
    const name = 'MeanSquaredError';
    const read = readOptions<Required<MeanSquaredErrorOptions>>(
      name,
      { numOutputs: 1, squared: true },
      options,
    );
    requireBoolean(`${name}: squared`, read.squared);
    super(name, read);
    this.squared = read.squared;
  }

  protected of(error: Tensor): Tensor {
    return mul(error, error);
  }

  protected override finish(value: number): number {
    return this.squared ? value : Math.sqrt(value);
  }
}

/** `torchmetrics.MeanAbsoluteError`. NaN where no value has come yet, but empty batches. */
export class MeanAbsoluteError extends MeanError {
  constructor(options?: RegressionOptions) {
    noMore(new.target.name, arguments, 1);
    const name = 'MeanAbsoluteError';
    super(name, readOptions<Required<RegressionOptions>>(name, { numOutputs: 1 }, options));
  }

  protected of(error: Tensor): Tensor {
    return abs(error);
  }
}

export interface R2ScoreOptions extends RegressionOptions {
  /** How many regressors the score is adjusted for. Default 0: it is not. */
  adjusted?: number;
  /** How the scores of outputs become one. Default 'uniform_average', their mean; 'raw_values': a list. */
  multioutput?: 'raw_values' | 'uniform_average' | 'variance_weighted';
}

/**
 * `torchmetrics.R2Score`: 1 - (sum of squared errors) / (sum of squared deviations of the targets from their
 * mean), the coefficient of determination.
 *
 * Where the targets are all alike, to float32's precision, it is 1 if all errors are 0 and else 0, as in
 * scikit-learn; torchmetrics takes every sum below 1e-4 for 0, whatever the scale of the targets.
 */
export class R2Score extends Metric<number | number[]> {
  private readonly sums: ExactSums;
  private readonly settings: Readonly<Required<R2ScoreOptions>>;

  constructor(options?: R2ScoreOptions) {
    noMore(new.target.name, arguments, 1);
    const name = 'R2Score';
    const settings = readOptions<Required<R2ScoreOptions>>(
      name,
      { numOutputs: 1, adjusted: 0, multioutput: 'uniform_average' },
      options,
    );
    const n = outputsOf(name, settings.numOutputs);
    oneOf(name, 'multioutput', settings.multioutput, ['raw_values', 'uniform_average', 'variance_weighted']);
    if (!Number.isInteger(settings.adjusted) || settings.adjusted < 0)
      throw new Error(`${name}: adjusted must be an integer of 0 or more, got ${String(settings.adjusted)}`);
    // Deviations are taken from each batch's own mean: sums of squares would lose them around a large mean.
    const sums = new ExactSums(3 * n + 1, (computed, count) => {
      const means = computed.slice(0, n);
      const sumsOf = means.map((m) => m * count);
      const squares = means.map((m, i) => m * m * count + (computed[n + i] as number));
      return [...sumsOf, ...squares, ...computed.slice(2 * n), count];
    });
    super(name, { sums }, { ...settings });
    [this.sums, this.settings] = [sums, settings];
  }

  /**
   * @param preds [N], or [N, outputs] @param target the same
   * @throws Error for other shapes
   */
  update(preds: Tensor, target: Tensor): void {
    this.record(() => {
      const { name } = this;
      const n = this.settings.numOutputs;
      const [p, t] = rowsOf(name, preds, target, n);
      if (p.numel() === 0) return;
      const mu = mean(t, 0, { keepdim: true });
      const squares = (x: Tensor): Tensor => sum(mul(x, x), 0);
      const computed = cat([reshape(mu, [-1]), squares(sub(t, mu)), squares(sub(t, p))]);
      this.sums.push(`${name}.update`, computed, p.shape[0] as number);
    });
  }

  /** @throws Error (a rejection) for fewer than two samples */
  protected async value(): Promise<number | number[]> {
    const { numOutputs: n, multioutput, adjusted } = this.settings;
    const totals = await this.sums.totals();
    const count = totals.at(-1) as number;
    if (count < 2) throw new Error(`R2Score.compute: needs two samples or more, got ${count}`);
    const outputs = totals.slice(0, n).map((total, i) => {
      const squares = totals[n + i] as number;
      const deviations = squares - (total * total) / count;
      const errors = totals[2 * n + i] as number;
      const alike = deviations <= 1e-12 * squares;
      const score = alike ? (errors === 0 ? 1 : 0) : 1 - errors / deviations;
      return { score, deviations: alike ? 0 : deviations };
    });
    const scores = outputs.map(({ score }) => score);
    const adjust = (score: number): number =>
      adjusted === 0 ? score : 1 - ((1 - score) * (count - 1)) / (count - adjusted - 1);
    if (adjusted >= count - 1 && adjusted > 0)
      throw new Error(
        `R2Score.compute: adjusted ${adjusted} needs more than ${adjusted + 1} samples, got ${count}`,
      );
    if (multioutput === 'raw_values') return scores.map(adjust);
    const weight = outputs.map(({ deviations }) => (multioutput === 'uniform_average' ? 1 : deviations));
    const whole = weight.reduce((a, b) => a + b, 0);
    // Outputs that are all constant count alike, as in scikit-learn.
    const weights = whole === 0 ? weight.map(() => 1 / n) : weight.map((w) => w / whole);
    return adjust(scores.reduce((a, score, i) => a + score * (weights[i] as number), 0));
  }
}
