import { defineOp } from '../../autograd/define.js';
import { planCounts } from '../../kernels/random/counts.js';
import { isFloatingPoint } from '../../tensor/dtype.js';
import { checkCount } from '../../tensor/options.js';
import { broadcastShapes } from '../../tensor/shape.js';
import { Tensor } from '../../tensor/tensor.js';
import { checkOnDevice } from '../base/check.js';
import { rowMajor } from '../base/copies.js';
import { to } from '../base/copy.js';
import { planLimits, runPlan } from '../base/run-plan.js';
import { expand } from '../base/view.js';
import { nextKey } from './state.js';
import { checkTensors } from '../base/tensors.js';

/* Numbers of events. As the other draws they have no gradient. */

function requireFloat(op: string, x: Tensor): void {
  checkTensors(op, x);
  if (!isFloatingPoint(x.dtype))
    throw new Error(`${op}: expected float tensors, got ${x.dtype}; convert it with .to('float32')`);
}

/**
 * `torch.poisson`: per element a draw from Poisson's distribution of the rate that `x` holds there, in the
 * dtype of `x`.
 *
 * @throws (at the next await) DataError for a rate that is negative, infinite or NaN
 */
export const poisson: (x: Tensor) => Tensor = defineOp<[Tensor], Tensor>({
  name: 'poisson',
  forward(_, ...args) {
    checkCount('poisson', args.length, 1);
    const [x] = args;
    requireFloat('poisson', x);
    const a = rowMajor(to(x, 'float32'));
    checkOnDevice('poisson', 'parameter', a);
    const y = Tensor.empty(x.shape, 'float32', 'poisson');
    const key = nextKey();
    if (y.numel() > 0) runPlan('poisson', planCounts(planLimits(), 'poisson', y.numel(), key), { a, y });
    return to(y, x.dtype);
  },
});

/**
 * `torch.binomial`: per element how many of `count` tries succeed with probability `prob`; both are float
 * tensors of one dtype and broadcast.
 *
 * @throws (at the next await) DataError for a count that is negative, infinite or NaN, and for a `prob` that
 * is no probability
 */
export const binomial: (count: Tensor, prob: Tensor) => Tensor = defineOp<[Tensor, Tensor], Tensor>({
  name: 'binomial',
  forward(_, ...args) {
    checkCount('binomial', args.length, 2);
    const [count, prob] = args;
    requireFloat('binomial', count);
    requireFloat('binomial', prob);
    if (count.dtype !== prob.dtype)
      throw new Error(`binomial: count is ${count.dtype} but prob is ${prob.dtype}; convert one with .to()`);
    const shape = broadcastShapes('binomial', count.shape, prob.shape);
    const [a, b] = [count, prob].map((x) => rowMajor(expand(to(x, 'float32'), shape))) as [Tensor, Tensor];
    checkOnDevice('binomial', 'parameter', a);
    checkOnDevice('binomial', 'probability', b);
    const y = Tensor.empty(shape, 'float32', 'binomial');
    const key = nextKey();
    if (y.numel() > 0) runPlan('binomial', planCounts(planLimits(), 'binomial', y.numel(), key), { a, b, y });
    return to(y, count.dtype);
  },
});
