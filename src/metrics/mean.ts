import { checkOnDevice } from '../ops/base/check.js';
import { to } from '../ops/base/copy.js';
import { expand, reshape } from '../ops/base/view.js';
import { full } from '../ops/creation/creation.js';
import { logicalOr, isnan } from '../ops/pointwise/compare.js';
import { mul } from '../ops/pointwise/pointwise.js';
import { where } from '../ops/pointwise/where.js';
import { sum } from '../ops/reduce/reduce.js';
import { stack } from '../ops/shape/join.js';
import { readOptions } from '../tensor/options.js';
import { isTensor, type Tensor } from '../tensor/tensor.js';
import { oneOf } from './inputs.js';
import { Metric } from './metric.js';
import { ExactSums } from './state.js';

export interface MeanMetricOptions {
  /**
   * What to do with a value that is NaN or has a weight that is. 'error' (the default): at once, or at the
   * next await; 'warn' (torchmetrics' default): leave it out, and `compute` says on the console how many there
   * were; 'ignore': leave it out; a number: that in its place, with weight 1; 'disable': the mean is NaN.
   */
  nanStrategy?: 'error' | 'warn' | 'ignore' | 'disable' | number;
}

/**
 * `torchmetrics.MeanMetric`: the mean of values, such as losses, by their weights.
 *
 * ```ts
 * const loss = new MeanMetric();
 * loss.update(criterion(model(x), y), x.size(0)); // nothing waits
 * console.log(await loss.compute());
 * ```
 */
export class MeanMetric extends Metric<number> {
  private readonly sums: ExactSums;
  private readonly nanStrategy: string | number;
  /** How many the console has been told of. */
  private told = 0;

  constructor(options?: MeanMetricOptions) {
    const name = 'MeanMetric';
    const { nanStrategy } = readOptions<Required<MeanMetricOptions>>(name, { nanStrategy: 'error' }, options);
    if (typeof nanStrategy !== 'number' || Number.isNaN(nanStrategy))
      oneOf(name, 'nanStrategy', nanStrategy, ['error', 'warn', 'ignore', 'disable'], ', or a number');
    // With 'warn' the third is how many were left out.
    const sums = new ExactSums(nanStrategy === 'warn' ? 3 : 2);
    super(name, { sums }, { nanStrategy });
    [this.sums, this.nanStrategy] = [sums, nanStrategy];
  }

  /**
   * @param value a number, or a tensor of any shape
   * @param weight of each value: a number, or a tensor that broadcasts to the values. Default 1
   */
  update(value: Tensor | number, weight: Tensor | number = 1): void {
    for (const [what, x] of Object.entries({ value, weight }))
      if (!isTensor(x) && typeof x !== 'number')
        throw new Error(`${this.name}.update: ${what} must be a tensor or a number, got ${String(x)}`);
    this.record(() => {
      if (isTensor(value) || isTensor(weight)) this.addTensors(value, weight);
      else this.addNumbers(value, weight);
    });
  }

  private addNumbers(value: number, weight: number): void {
    const { nanStrategy } = this;
    const counted = (...terms: readonly [number, number]): void =>
      this.sums.add(nanStrategy === 'warn' ? [...terms, 0] : terms);
    if (nanStrategy === 'disable' || !(Number.isNaN(value) || Number.isNaN(weight)))
      counted(value * weight, weight);
    else if (typeof nanStrategy === 'number') counted(nanStrategy, 1);
    else if (nanStrategy === 'warn') this.sums.add([0, 0, 1]);
    else if (nanStrategy === 'error')
      throw new Error(`${this.name}.update: got NaN; leave it out by { nanStrategy: 'ignore' }`);
  }

  private addTensors(value: Tensor | number, weight: Tensor | number): void {
    const { nanStrategy } = this;
    const op = `${this.name}.update`;
    const v = isTensor(value) ? to(value, 'float32') : full([], value, { dtype: 'float32' });
    const given = isTensor(weight) ? to(weight, 'float32') : full([], weight, { dtype: 'float32' });
    const w = expand(given, v.shape);
    if (v.numel() === 0) return;
    if (nanStrategy === 'error')
      for (const [what, x] of Object.entries({ value: v, weight: given }))
        checkOnDevice(`${op} (${what})`, 'number', x);
    const products = mul(v, w);
    const isLooked = nanStrategy !== 'error' && nanStrategy !== 'disable';
    const bad = isLooked ? logicalOr(isnan(v), isnan(w)) : null;
    const [inPlace, itsWeight] = typeof nanStrategy === 'number' ? [nanStrategy, 1] : [0, 0];
    const total = (x: Tensor, instead: number): Tensor =>
      sum(reshape(bad === null ? x : where(bad, instead, x), [-1]), 0);
    const terms = [total(products, inPlace), total(w, itsWeight)];
    if (nanStrategy === 'warn') terms.push(sum(reshape(to(bad as Tensor, 'float32'), [-1]), 0));
    this.sums.push(op, stack(terms));
  }

  override reset(): void {
    super.reset();
    this.told = 0;
  }

  /** NaN where the weights add up to 0. */
  protected async value(): Promise<number> {
    const [total, weights, left = 0] = (await this.sums.totals()) as [number, number, number?];
    if (left > this.told)
      console.warn(`${this.name}: ${left} values that are NaN, or whose weights are, were left out`);
    this.told = Math.max(left, this.told);
    return total / weights;
  }
}
