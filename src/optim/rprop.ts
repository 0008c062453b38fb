import { noMore } from '../tensor/options.js';
import { asgdRule, rpropRule } from '../kernels/optim/rules.js';
import type { Shape } from '../tensor/shape.js';
import type { Tensor } from '../tensor/tensor.js';
import { countStep, FusedOptimizer, type Step } from './fused-optimizer.js';
import { requireAtLeast, type BaseOptions, type ParamGroup, type Params } from './optimizer.js';
import type { ParamState } from './state.js';

export interface RpropOptions extends BaseOptions {
  /** Factors of a step size when the gradient's sign has changed, and when it has not. */
  etas: readonly [minus: number, plus: number];
  /** The smallest and the largest step. */
  stepSizes: readonly [least: number, most: number];
  maximize: boolean;
}

/** `torch.optim.Rprop` (Riedmiller & Braun 1993), for full batches; `lr` is the first step size. */
export class Rprop extends FusedOptimizer<RpropOptions> {
  constructor(params: Params<RpropOptions>, options: Partial<RpropOptions> = {}) {
    noMore(new.target.name, arguments, 2);
    super(params, { lr: 1e-2, etas: [0.5, 1.2], stepSizes: [1e-6, 50], maximize: false }, options);
  }

  protected check({ lr, etas: [minus, plus] }: RpropOptions): void {
    requireAtLeast('Rprop', 'lr', lr, 0);
    if (!(minus > 0 && minus < 1 && plus > 1))
      throw new Error(`Rprop: etas must be one between 0 and 1 and one above 1, got ${minus} and ${plus}`);
  }

  protected plan({ lr, etas, stepSizes, maximize }: ParamGroup<RpropOptions>, state: ParamState): Step {
    // Only PyTorch reads the count, from a saved state dict.
    countStep(state);
    return {
      rule: rpropRule,
      hyper: [lr, maximize ? -1 : 1, ...etas, ...stepSizes],
      state: ['prev', 'step_size'],
    };
  }
}

export interface ASGDOptions extends BaseOptions {
  /** Decay term of the weights. */
  lambd: number;
  /** Power of the rate's decay. */
  alpha: number;
  /** The step at which averaging starts. */
  t0: number;
  /** L2 penalty. */
  weightDecay: number;
  maximize: boolean;
}

/** `torch.optim.ASGD` (Polyak & Juditsky 1992): SGD whose averaged weights are in the state under `ax`. */
export class ASGD extends FusedOptimizer<ASGDOptions> {
  constructor(params: Params<ASGDOptions>, options: Partial<ASGDOptions> = {}) {
    noMore(new.target.name, arguments, 2);
    const defaults = { lr: 1e-2, lambd: 1e-4, alpha: 0.75, t0: 1e6, weightDecay: 0, maximize: false };
    super(params, defaults, options);
  }

  protected check({ lr, weightDecay }: ASGDOptions): void {
    requireAtLeast('ASGD', 'lr', lr, 0);
    requireAtLeast('ASGD', 'weightDecay', weightDecay, 0);
  }

  protected override shapeOf(name: string, parameter: Tensor): Shape | null {
    return name === 'eta' || name === 'mu' ? null : super.shapeOf(name, parameter);
  }

  protected plan(group: ParamGroup<ASGDOptions>, state: ParamState): Step {
    const { lr, lambd, alpha, t0, weightDecay, maximize } = group;
    const count = countStep(state);
    const { eta = lr, mu = 1 } = state as { eta?: number; mu?: number };
    state['eta'] = lr / (1 + lambd * lr * count) ** alpha;
    state['mu'] = 1 / Math.max(1, count - t0);
    return {
      rule: asgdRule,
      hyper: [eta, 1 - lambd * eta, mu, weightDecay, maximize ? -1 : 1],
      state: ['ax'],
    };
  }
}
