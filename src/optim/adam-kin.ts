import { noMore } from '../tensor/options.js';
import { adamaxRule, nadamRule, radamRule } from '../kernels/optim/rules.js';
import type { Shape } from '../tensor/shape.js';
import type { Tensor } from '../tensor/tensor.js';
import { countStep, FusedOptimizer, type Step } from './fused-optimizer.js';
import { requireAtLeast, requireBetas, type BaseOptions, type ParamGroup, type Params } from './optimizer.js';
import type { ParamState } from './state.js';

export interface AdamKinOptions extends BaseOptions {
  /** Decay of the running averages of the gradient and of its size. */
  betas: readonly [number, number];
  /** Added to the denominator. */
  eps: number;
  /** L2 penalty. */
  weightDecay: number;
  maximize: boolean;
}

/** What Adamax, NAdam and RAdam share with Adam: their options. */
abstract class AdamKin<O extends AdamKinOptions> extends FusedOptimizer<O> {
  protected check({ lr, betas, eps, weightDecay }: O): void {
    const name = this.constructor.name;
    for (const [option, value] of Object.entries({ lr, eps, weightDecay }))
      requireAtLeast(name, option, value, 0);
    requireBetas(name, betas);
  }
}

const adamKin = (lr: number): AdamKinOptions => ({
  lr,
  betas: [0.9, 0.999],
  eps: 1e-8,
  weightDecay: 0,
  maximize: false,
});

/**
 * `torch.optim.Adamax` (Kingma & Ba 2015, section 7.1, https://arxiv.org/abs/1412.6980): Adam with the
 * infinity norm.
 */
export class Adamax extends AdamKin<AdamKinOptions> {
  constructor(params: Params<AdamKinOptions>, options: Partial<AdamKinOptions> = {}) {
    noMore(new.target.name, arguments, 2);
    super(params, adamKin(2e-3), options);
  }

  protected plan(group: ParamGroup<AdamKinOptions>, state: ParamState): Step {
    const { lr, betas, eps, weightDecay, maximize } = group;
    const [beta1, beta2] = betas;
    const count = countStep(state);
    return {
      rule: adamaxRule,
      hyper: [lr / (1 - beta1 ** count), weightDecay, maximize ? -1 : 1, eps, beta1, 1 - beta1, beta2],
      state: ['exp_avg', 'exp_inf'],
    };
  }
}

export interface NAdamOptions extends AdamKinOptions {
  /** How fast the momentum warms up. */
  momentumDecay: number;
}

/**
 * `torch.optim.NAdam` (Dozat 2016, https://openreview.net/forum?id=OM0jvwB8jIp57ZJjtNEZ): Adam with Nesterov
 * momentum.
 */
export class NAdam extends AdamKin<NAdamOptions> {
  constructor(params: Params<NAdamOptions>, options: Partial<NAdamOptions> = {}) {
    noMore(new.target.name, arguments, 2);
    super(params, { ...adamKin(2e-3), momentumDecay: 4e-3 }, options);
  }

  protected override check(options: NAdamOptions): void {
    super.check(options);
    requireAtLeast('NAdam', 'momentumDecay', options.momentumDecay, 0);
  }

  protected override shapeOf(name: string, parameter: Tensor): Shape | null {
    return name === 'mu_product' ? null : super.shapeOf(name, parameter);
  }

  protected plan(group: ParamGroup<NAdamOptions>, state: ParamState): Step {
    const { lr, betas, eps, weightDecay, maximize, momentumDecay } = group;
    const [beta1, beta2] = betas;
    const count = countStep(state);
    const mu = (step: number): number => beta1 * (1 - 0.5 * 0.96 ** (step * momentumDecay));
    const product = ((state['mu_product'] as number | undefined) ?? 1) * mu(count);
    state['mu_product'] = product;
    const next = mu(count + 1);
    return {
      rule: nadamRule,
      hyper: [
        (lr * (1 - mu(count))) / (1 - product),
        (lr * next) / (1 - product * next),
        Math.sqrt(1 - beta2 ** count),
        weightDecay,
        maximize ? -1 : 1,
        eps,
        beta1,
        1 - beta1,
        beta2,
        1 - beta2,
      ],
      state: ['exp_avg', 'exp_avg_sq'],
    };
  }
}

/**
 * `torch.optim.RAdam` (Liu et al. 2020, https://arxiv.org/abs/1908.03265): Adam with a warm-up of its own.
 */
export class RAdam extends AdamKin<AdamKinOptions> {
  constructor(params: Params<AdamKinOptions>, options: Partial<AdamKinOptions> = {}) {
    noMore(new.target.name, arguments, 2);
    super(params, adamKin(1e-3), options);
  }

  protected plan(group: ParamGroup<AdamKinOptions>, state: ParamState): Step {
    const { lr, betas, eps, weightDecay, maximize } = group;
    const [beta1, beta2] = betas;
    const count = countStep(state);
    const correction = 1 - beta2 ** count;
    // Degrees of freedom of the running variance, and what they tend to.
    const most = 2 / (1 - beta2) - 1;
    const freedom = most - (2 * count * beta2 ** count) / correction;
    const rectified =
      freedom > 5
        ? Math.sqrt(((freedom - 4) * (freedom - 2) * most) / ((most - 4) * (most - 2) * freedom))
        : 0;
    return {
      rule: radamRule,
      hyper: [
        lr / (1 - beta1 ** count),
        rectified * Math.sqrt(correction),
        weightDecay,
        maximize ? -1 : 1,
        eps,
        beta1,
        1 - beta1,
        beta2,
        1 - beta2,
      ],
      state: ['exp_avg', 'exp_avg_sq'],
    };
  }
}
