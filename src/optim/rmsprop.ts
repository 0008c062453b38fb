import { noMore } from '../tensor/options.js';
import { rmspropRule } from '../kernels/optim/rules.js';
import { countStep, FusedOptimizer, type Step } from './fused-optimizer.js';
import { requireAtLeast, type BaseOptions, type ParamGroup, type Params } from './optimizer.js';
import type { ParamState } from './state.js';

export interface RMSpropOptions extends BaseOptions {
  /** Decay of the running average of the squared gradient. */
  alpha: number;
  /** Added to the denominator. */
  eps: number;
  /** L2 penalty. */
  weightDecay: number;
  momentum: number;
  /** Divide by the standard deviation instead of the root mean square. */
  centered: boolean;
  maximize: boolean;
}

/** `torch.optim.RMSprop` (https://pytorch.org/docs/stable/generated/torch.optim.RMSprop.html). */
export class RMSprop extends FusedOptimizer<RMSpropOptions> {
  constructor(params: Params<RMSpropOptions>, options: Partial<RMSpropOptions> = {}) {
    noMore(new.target.name, arguments, 2);
    const rest = { momentum: 0, centered: false, maximize: false };
    super(params, { lr: 1e-2, alpha: 0.99, eps: 1e-8, weightDecay: 0, ...rest }, options);
  }

  protected check({ lr, alpha, eps, weightDecay, momentum }: RMSpropOptions): void {
    for (const [name, value] of Object.entries({ lr, alpha, eps, weightDecay, momentum })) {
      requireAtLeast('RMSprop', name, value, 0);
    }
  }

  protected plan(group: ParamGroup<RMSpropOptions>, state: ParamState): Step {
    const { lr, alpha, eps, weightDecay, momentum, centered, maximize } = group;
    // Only PyTorch reads the count, from a saved state dict.
    countStep(state);
    return {
      rule: rmspropRule({ centered, momentum: momentum > 0 }),
      hyper: [lr, weightDecay, maximize ? -1 : 1, eps, alpha, 1 - alpha, momentum],
      state: ['square_avg', ...(momentum > 0 ? ['momentum_buffer'] : []), ...(centered ? ['grad_avg'] : [])],
    };
  }
}
