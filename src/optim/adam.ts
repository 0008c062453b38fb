import { noMore } from '../tensor/options.js';
import { adamRule } from '../kernels/optim/rules.js';
import { countStep, FusedOptimizer, type Step } from './fused-optimizer.js';
import { requireAtLeast, requireBetas, type BaseOptions, type ParamGroup, type Params } from './optimizer.js';
import type { ParamState } from './state.js';

export interface AdamOptions extends BaseOptions {
  /** Decay of the running averages of the gradient and of its square. */
  betas: readonly [number, number];
  /** Added to the denominator. */
  eps: number;
  weightDecay: number;
  /** Divide by the largest average so far (Reddi et al. 2018). */
  amsgrad: boolean;
  maximize: boolean;
}

abstract class AdamBase extends FusedOptimizer<AdamOptions> {
  protected abstract readonly decoupled: boolean;

  constructor(params: Params<AdamOptions>, options: Partial<AdamOptions>, decay: number) {
    const rest = { weightDecay: decay, amsgrad: false, maximize: false };
    super(params, { lr: 1e-3, betas: [0.9, 0.999], eps: 1e-8, ...rest }, options);
  }

  protected check({ lr, betas, eps, weightDecay }: AdamOptions): void {
    const name = this.constructor.name;
    requireAtLeast(name, 'lr', lr, 0);
    requireAtLeast(name, 'eps', eps, 0);
    requireAtLeast(name, 'weightDecay', weightDecay, 0);
    requireBetas(name, betas);
  }

  protected plan(group: ParamGroup<AdamOptions>, state: ParamState): Step {
    const { lr, betas, eps, weightDecay, amsgrad, maximize } = group;
    const [beta1, beta2] = betas;
    const count = countStep(state);
    return {
      rule: adamRule({ decoupled: this.decoupled, amsgrad }),
      hyper: [
        lr / (1 - beta1 ** count),
        Math.sqrt(1 - beta2 ** count),
        eps,
        beta1,
        1 - beta1,
        beta2,
        1 - beta2,
        this.decoupled ? lr * weightDecay : weightDecay,
        maximize ? -1 : 1,
      ],
      state: amsgrad ? ['exp_avg', 'exp_avg_sq', 'max_exp_avg_sq'] : ['exp_avg', 'exp_avg_sq'],
    };
  }
}

/** `torch.optim.Adam` (Kingma & Ba 2015, https://arxiv.org/abs/1412.6980); weight decay is an L2 penalty. */
export class Adam extends AdamBase {
  protected get decoupled(): boolean {
    return false;
  }

  constructor(params: Params<AdamOptions>, options: Partial<AdamOptions> = {}) {
    noMore(new.target.name, arguments, 2);
    super(params, options, 0);
  }
}

/**
 * `torch.optim.AdamW` (Loshchilov & Hutter 2019, https://arxiv.org/abs/1711.05101); weight decay 0.01 by
 * default.
 */
export class AdamW extends AdamBase {
  protected get decoupled(): boolean {
    return true;
  }

  constructor(params: Params<AdamOptions>, options: Partial<AdamOptions> = {}) {
    noMore(new.target.name, arguments, 2);
    super(params, options, 1e-2);
  }
}
