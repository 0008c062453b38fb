import { checkOnDevice } from '../ops/base/check.js';
import { to } from '../ops/base/copy.js';
import { expand, reshape } from '../ops/base/view.js';
import { full } from '../ops/creation/creation.js';
import { logicalOr, isnan } from '../ops/pointwise/compare.js';
import { mul } from '../ops/pointwise/pointwise.js';
import { where } from '../ops/pointwise/where.js';
import { sum } from '../ops/reduce/reduce.js';
import { stack } from '../ops/shape/join.js';
import { readOptions, noMore } from '../tensor/options.js';
import { isTensor, type Tensor } from '../tensor/tensor.js';
import { oneOf } from './inputs.js';
import { Metric } from './metric.js';
import { ExactSums } from './state.js';

export interface MeanMetricOptions {
  /**
   * What to do with a value that is NaN or has a weight that is. 'error' (the default): at once, or at the
   * next await; 'ignore': leave it out; a number: that in its place, with weight 1; 'disable': the mean is
   * NaN. torchmetrics' default, 'warn', is refused: nothing here is only told to the console.
   */
  nanStrategy?: 'error' | 'ignore' | 'disable' | number;
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

  constructor(options?: MeanMetricOptions) {
    noMore(new.target.name, arguments, 1);
    const name = 'MeanMetric';
    const { nanStrategy } = readOptions<Required<MeanMetricOptions>>(name, { nanStrategy: 'error' }, options);
    if ((nanStrategy as unknown) === 'warn')
      throw new Error(
        `${name}: nanStrategy 'warn' is not supported; say 'error' to be told of NaN, or 'ignore' to leave it out`,
      );
    if (typeof nanStrategy !== 'number' || Number.isNaN(nanStrategy))
      oneOf(name, 'nanStrategy', nanStrategy, ['error', 'ignore', 'disable'], ', or a number');
    const sums = new ExactSums(2);
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
    if (nanStrategy === 'disable' || !(Number.isNaN(value) || Number.isNaN(weight)))
      this.sums.add([value * weight, weight]);
    else if (typeof nanStrategy === 'number') this.sums.add([nanStrategy, 1]);
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
    const isReplaced = nanStrategy === 'ignore' || typeof nanStrategy === 'number';
    const bad = isReplaced ? logicalOr(isnan(v), isnan(w)) : null;
    const [inPlace, itsWeight] = typeof nanStrategy === 'number' ? [nanStrategy, 1] : [0, 0];
    const total = (x: Tensor, instead: number): Tensor =>
      sum(reshape(bad === null ? x : where(bad, instead, x), [-1]), 0);
    this.sums.push(op, stack([total(products, inPlace), total(w, itsWeight)]));
  }

  /** NaN where the weights add up to 0. */
  protected async value(): Promise<number> {
    const [total, weights] = (await this.sums.totals()) as [number, number];
    return total / weights;
  }
}
