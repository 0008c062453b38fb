import { defineComposite } from '../../autograd/define.js';
import { noGrad } from '../../autograd/mode.js';
import { e } from '../../kernels/expr/expr.js';
import { optionReader, type Trailing } from '../../tensor/options.js';
import { sameShape, showShape } from '../../tensor/shape.js';
import type { Tensor } from '../../tensor/tensor.js';
import { checkOnDevice } from '../base/check.js';
import { to } from '../base/copy.js';
import { lossRow, reduced, type LossOptions } from './core.js';
import { add, relu, rsub } from '../pointwise/pointwise.js';
import type { Reduction } from '../reduce/softmax.js';
import { unsqueeze } from '../base/view.js';

/* Negative log likelihoods of distributions whose parameters are predicted. */

export interface PoissonNllLossOptions extends LossOptions {
  /** The input is the logarithm of the rate. Default true. */
  logInput?: boolean;
  /** Add Stirling's approximation of the constant part. */
  full?: boolean;
  /** Added to the rate before its logarithm is taken. Default 1e-8. */
  eps?: number;
}

const poissonFn = lossRow('poissonNllLoss', (x, y) => e.sub(e.exp(x), e.mul(y, x)));
const poissonRateFn = lossRow('poissonNllLoss', (x, y, eps) => e.sub(x, e.mul(y, e.log(e.add(x, eps)))));
const stirlingFn = lossRow('poissonNllLoss', (y) =>
  e.select(e.gt(y, 1), e.add(e.sub(e.mul(y, e.log(y)), y), e.mul(e.log(e.mul(y, 2 * Math.PI)), 0.5)), 0),
);

type PoissonArgs = Trailing<[logInput: boolean, full: boolean], PoissonNllLossOptions>;

const readPoisson = optionReader<Required<PoissonNllLossOptions>>(
  'poissonNllLoss',
  { logInput: true, full: false, eps: 1e-8, reduction: 'mean' },
  'logInput',
  'full',
);

/**
 * `torch.nn.functional.poisson_nll_loss`: `exp(x) - target x`, or for rates (`logInput: false`) `x - target
 * log(x + eps)`; with `full` plus `target log(target) - target + log(2 pi target) / 2` where the target is
 * above 1.
 */
export const poissonNllLoss: (x: Tensor, target: Tensor, ...args: PoissonArgs) => Tensor = defineComposite(
  'poissonNllLoss',
  (x: Tensor, target: Tensor, ...args: PoissonArgs): Tensor => {
    const { logInput, full, eps, reduction } = readPoisson(args);
    const losses = (): Tensor => {
      const loss = logInput ? poissonFn(x, target) : poissonRateFn(x, target, eps);
      return full ? add(loss, stirlingFn(target)) : loss;
    };
    return reduced('poissonNllLoss', losses, reduction);
  },
);

export interface GaussianNllLossOptions extends LossOptions {
  /** Add the constant part. */
  full?: boolean;
  /** Least variance. Default 1e-6. */
  eps?: number;
}

const gaussianFn = lossRow('gaussianNllLoss', (x, y, v, constant) => {
  const d = e.sub(x, y);
  return e.add(e.mul(e.add(e.log(v), e.div(e.mul(d, d), v)), 0.5), constant);
});

type GaussianArgs = Trailing<[full: boolean, eps: number], GaussianNllLossOptions>;

const readGaussian = optionReader<{ full: boolean; eps: number; reduction: Reduction }>(
  'gaussianNllLoss',
  { full: false, eps: 1e-6, reduction: 'mean' },
  'full',
  'eps',
);

/**
 * `torch.nn.functional.gaussian_nll_loss` (Nix & Weigend 1994): `(log(var) + (x - target)^2 / var) / 2` with
 * variances `var` of at least `eps`, one per element or one per row of the last dim; the gradient of `var` is
 * that of the variance used.
 *
 * @throws (at the next await) DataError for a negative variance
 */
export const gaussianNllLoss: (x: Tensor, target: Tensor, variance: Tensor, ...args: GaussianArgs) => Tensor =
  defineComposite(
    'gaussianNllLoss',
    (x: Tensor, target: Tensor, variance: Tensor, ...args: GaussianArgs): Tensor => {
      const { full, eps, reduction } = readGaussian(args);
      const rows = x.shape.slice(0, -1);
      let spread = variance;
      if (!sameShape(variance.shape, x.shape)) {
        if (sameShape(variance.shape, rows)) spread = unsqueeze(variance, -1);
        else if (!sameShape(variance.shape, [...rows, 1]))
          throw new Error(
            `gaussianNllLoss: variances of shape ${showShape(variance.shape)} fit neither the elements nor the rows of ${showShape(x.shape)}`,
          );
      }
      // What lies below eps is lifted outside the tape, so that the gradient goes on.
      const lift = noGrad(() => {
        checkOnDevice('gaussianNllLoss', 'notNegative', to(spread, 'float32'));
        return relu(rsub(spread, eps));
      });
      const constant = full ? 0.5 * Math.log(2 * Math.PI) : 0;
      return reduced('gaussianNllLoss', () => gaussianFn(x, target, add(spread, lift), constant), reduction);
    },
  );
