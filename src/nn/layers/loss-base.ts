import type { Tensor } from '../../tensor/tensor.js';
import { Layer } from '../base/module.js';

/** How a loss becomes one number: the mean (default) or sum over all elements, or not at all. */
export type Reduction = 'mean' | 'sum' | 'none';

export interface LossOptions {
  reduction?: Reduction;
}

export abstract class Loss<R extends string = Reduction> extends Layer {
  readonly reduction: R;

  constructor(reduction: R, allowed: readonly string[] = ['mean', 'sum', 'none']) {
    super();
    if (!allowed.includes(reduction)) {
      throw new Error(
        `${this.constructor.name}: reduction must be one of ${allowed.join(', ')}, got '${String(reduction)}'`,
      );
    }
    this.reduction = reduction;
  }

  abstract override forward(...inputs: never[]): Tensor;
}
