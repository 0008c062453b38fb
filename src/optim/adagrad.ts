import { noMore } from '../tensor/options.js';
import { adadeltaRule, adagradRule } from '../kernels/optim/rules.js';
import { countStep, FusedOptimizer, type Step } from './fused-optimizer.js';
import { requireAtLeast, type BaseOptions, type ParamGroup, type Params } from './optimizer.js';
import type { ParamState } from './state.js';

export interface AdagradOptions extends BaseOptions {
  /** The rate of step t is lr / (1 + (t - 1) * lrDecay). */
  lrDecay: number;
  /** L2 penalty. */
  weightDecay: number;
  /** What the sum of squared gradients starts from. */
  initialAccumulatorValue: number;
  /** Added to the denominator. */
  eps: number;
  maximize: boolean;
}

/** `torch.optim.Adagrad` (Duchi, Hazan & Singer 2011, https://jmlr.org/papers/v12/duchi11a.html). */
export class Adagrad extends FusedOptimizer<AdagradOptions> {
  constructor(params: Params<AdagradOptions>, options: Partial<AdagradOptions> = {}) {
    noMore(new.target.name, arguments, 2);
    const start = { initialAccumulatorValue: 0, eps: 1e-10, maximize: false };
    super(params, { lr: 1e-2, lrDecay: 0, weightDecay: 0, ...start }, options);
  }

  protected check({ lr, lrDecay, weightDecay, initialAccumulatorValue, eps }: AdagradOptions): void {
    for (const [name, value] of Object.entries({ lr, lrDecay, weightDecay, initialAccumulatorValue, eps })) {
      requireAtLeast('Adagrad', name, value, 0);
    }
  }

  protected plan(group: ParamGroup<AdagradOptions>, state: ParamState): Step {
    const { lr, lrDecay, weightDecay, initialAccumulatorValue, eps, maximize } = group;
    const rate = lr / (1 + (countStep(state) - 1) * lrDecay);
    return {
      rule: adagradRule,
      hyper: [rate, weightDecay, maximize ? -1 : 1, eps, initialAccumulatorValue],
      state: ['sum'],
    };
  }
}

export interface AdadeltaOptions extends BaseOptions {
  /** Decay of the running averages of squared gradients and of squared changes. */
  rho: number;
  /** Added under both roots. */
  eps: number;
  /** L2 penalty. */
  weightDecay: number;
  maximize: boolean;
}

/** `torch.optim.Adadelta` (Zeiler 2012, https://arxiv.org/abs/1212.5701). */
export class Adadelta extends FusedOptimizer<AdadeltaOptions> {
  constructor(params: Params<AdadeltaOptions>, options: Partial<AdadeltaOptions> = {}) {
    noMore(new.target.name, arguments, 2);
    super(params, { lr: 1, rho: 0.9, eps: 1e-6, weightDecay: 0, maximize: false }, options);
  }

  protected check({ lr, rho, eps, weightDecay }: AdadeltaOptions): void {
    for (const [name, value] of Object.entries({ lr, rho, eps, weightDecay }))
      requireAtLeast('Adadelta', name, value, 0);
    if (!(rho <= 1)) throw new Error(`Adadelta: rho must be at most 1, got ${rho}`);
  }

  protected plan(group: ParamGroup<AdadeltaOptions>, state: ParamState): Step {
    const { lr, rho, eps, weightDecay, maximize } = group;
    // Only PyTorch reads the count, from a saved state dict.
    countStep(state);
    return {
      rule: adadeltaRule,
      hyper: [lr, weightDecay, maximize ? -1 : 1, eps, rho, 1 - rho],
      state: ['square_avg', 'acc_delta'],
    };
  }
}
