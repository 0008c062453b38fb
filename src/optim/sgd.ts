import { noMore } from '../tensor/options.js';
import { sgdRule } from '../kernels/optim/rules.js';
import type { Tensor } from '../tensor/tensor.js';
import { FusedOptimizer, type Step } from './fused-optimizer.js';
import { requireAtLeast, type BaseOptions, type ParamGroup, type Params } from './optimizer.js';

export interface SGDOptions extends BaseOptions {
  momentum: number;
  dampening: number;
  /** L2 penalty. */
  weightDecay: number;
  nesterov: boolean;
  maximize: boolean;
}

/** `torch.optim.SGD` (https://pytorch.org/docs/stable/generated/torch.optim.SGD.html). */
export class SGD extends FusedOptimizer<SGDOptions> {
  /** @throws Error where `lr` is missing, unless every group has its own */
  constructor(
    params: Iterable<{ params: Tensor | Iterable<Tensor> } & BaseOptions & Partial<SGDOptions>>,
    options?: Partial<SGDOptions>,
  );
  constructor(params: Params<SGDOptions>, options: BaseOptions & Partial<SGDOptions>);
  constructor(params: Params<SGDOptions>, options: Partial<SGDOptions> = {}) {
    noMore(new.target.name, arguments, 2);
    const rest = { momentum: 0, dampening: 0, weightDecay: 0, nesterov: false, maximize: false };
    // Without a default, as in PyTorch: what neither the options nor a group gives is missed.
    super(params, { lr: undefined as unknown as number, ...rest }, options);
  }

  protected check({ lr, momentum, dampening, weightDecay, nesterov }: SGDOptions): void {
    requireAtLeast('SGD', 'lr', lr, 0);
    requireAtLeast('SGD', 'momentum', momentum, 0);
    requireAtLeast('SGD', 'weightDecay', weightDecay, 0);
    if (nesterov && (momentum <= 0 || dampening !== 0)) {
      throw new Error('SGD: nesterov needs a momentum above 0 and dampening 0');
    }
  }

  protected plan({ lr, momentum, dampening, weightDecay, nesterov, maximize }: ParamGroup<SGDOptions>): Step {
    const hyper = [lr, weightDecay, maximize ? -1 : 1];
    if (momentum === 0) return { rule: sgdRule({ momentum: false, nesterov: false }), hyper, state: [] };
    return {
      rule: sgdRule({ momentum: true, nesterov }),
      hyper: [...hyper, momentum, 1 - dampening],
      state: ['momentum_buffer'],
    };
  }
}
