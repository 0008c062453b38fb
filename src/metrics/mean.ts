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
   * What to do with a value or weight that is NaN. 'error' (the default; torchmetrics warns and leaves it
   * out): at once, or at the next await; 'ignore': leave it out; 'disable': the mean is NaN.
   */
  nanStrategy?: 'error' | 'ignore' | 'disable';
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
  private readonly nanStrategy: string;

  constructor(options?: MeanMetricOptions) {
    noMore(new.target.name, arguments, 1);
    const name = 'MeanMetric';
    const { nanStrategy } = readOptions<Required<MeanMetricOptions>>(name, { nanStrategy: 'error' }, options);
    oneOf(name, 'nanStrategy', nanStrategy, ['error', 'ignore', 'disable']);
    const sums = new ExactSums(2);
    super(name, { sums });
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
    if (this.nanStrategy !== 'disable' && (Number.isNaN(value) || Number.isNaN(weight))) {
      if (this.nanStrategy === 'ignore') return;
      throw new Error(`${this.name}.update: got NaN; leave it out by { nanStrategy: 'ignore' }`);
    }
    this.sums.add([value * weight, weight]);
  }

  private addTensors(value: Tensor | number, weight: Tensor | number): void {
    const op = `${this.name}.update`;
    const v = isTensor(value) ? to(value, 'float32') : full([], value, { dtype: 'float32' });
    const given = isTensor(weight) ? to(weight, 'float32') : full([], weight, { dtype: 'float32' });
    const w = expand(given, v.shape);
    if (v.numel() === 0) return;
    if (this.nanStrategy === 'error')
      for (const [what, x] of Object.entries({ value: v, weight: given }))
        checkOnDevice(`${op} (${what})`, 'number', x);
    const products = mul(v, w);
    const left = this.nanStrategy === 'ignore' ? logicalOr(isnan(v), isnan(w)) : null;
    const total = (x: Tensor): Tensor => sum(reshape(left === null ? x : where(left, 0, x), [-1]), 0);
    this.sums.push(op, stack([total(products), total(w)]));
  }

  /** NaN where the weights add up to 0. */
  protected async value(): Promise<number> {
    const [total, weights] = (await this.sums.totals()) as [number, number];
    return total / weights;
  }
}
