import { readOptions, noMore } from '../../tensor/options.js';
import * as ops from '../../ops/index.js';
import type { Tensor } from '../../tensor/tensor.js';
import { Loss, type LossOptions, type Reduction } from './loss-base.js';

export type { LossOptions, Reduction };

export interface ClassLossOptions extends LossOptions {
  /** A factor per class, `[C]`. */
  weight?: Tensor | null;
  /** Targets with this class count for nothing. Default -100. */
  ignoreIndex?: number;
}

/**
 * `torch.nn.CrossEntropyLoss`: logits `[N, C]` or `[N, C, ...]` against int32 classes or class probabilities.
 */
export class CrossEntropyLoss extends Loss {
  declare weight: Tensor | null;
  readonly ignoreIndex: number;
  readonly labelSmoothing: number;

  constructor(options: ClassLossOptions & { labelSmoothing?: number } = {}) {
    noMore(new.target.name, arguments, 1);
    const { weight, ignoreIndex, labelSmoothing, reduction } = readOptions<Required<typeof options>>(
      'CrossEntropyLoss',
      { weight: null, ignoreIndex: -100, labelSmoothing: 0, reduction: 'mean' },
      options,
    );
    super(reduction);
    this.registerBuffer('weight', weight);
    this.ignoreIndex = ignoreIndex;
    this.labelSmoothing = labelSmoothing;
  }

  forward(input: Tensor, target: Tensor): Tensor {
    const { weight, ignoreIndex, labelSmoothing, reduction } = this;
    return ops.crossEntropy(input, target, { weight, ignoreIndex, labelSmoothing, reduction });
  }
}

/** `torch.nn.NLLLoss`: log probabilities `[N, C]` against int32 classes. */
export class NLLLoss extends Loss {
  declare weight: Tensor | null;
  readonly ignoreIndex: number;

  constructor(options: ClassLossOptions = {}) {
    noMore(new.target.name, arguments, 1);
    const { weight, ignoreIndex, reduction } = readOptions<Required<ClassLossOptions>>(
      'NLLLoss',
      { weight: null, ignoreIndex: -100, reduction: 'mean' },
      options,
    );
    super(reduction);
    this.registerBuffer('weight', weight);
    this.ignoreIndex = ignoreIndex;
  }

  forward(input: Tensor, target: Tensor): Tensor {
    const { weight, ignoreIndex, reduction } = this;
    return ops.nllLoss(input, target, { weight, ignoreIndex, reduction });
  }
}

/** `torch.nn.MSELoss`: (input - target)^2. */
export class MSELoss extends Loss {
  constructor(options: LossOptions = {}) {
    noMore(new.target.name, arguments, 1);
    const { reduction } = readOptions<Required<LossOptions>>('MSELoss', { reduction: 'mean' }, options);
    super(reduction);
  }

  forward(input: Tensor, target: Tensor): Tensor {
    return ops.mseLoss(input, target, { reduction: this.reduction });
  }
}

/** `torch.nn.L1Loss`: |input - target|. */
export class L1Loss extends Loss {
  constructor(options: LossOptions = {}) {
    noMore(new.target.name, arguments, 1);
    const { reduction } = readOptions<Required<LossOptions>>('L1Loss', { reduction: 'mean' }, options);
    super(reduction);
  }

  forward(input: Tensor, target: Tensor): Tensor {
    return ops.l1Loss(input, target, { reduction: this.reduction });
  }
}

/** `torch.nn.SmoothL1Loss`: d^2 / (2 beta) where d = |input - target| is below beta, else d - beta / 2. */
export class SmoothL1Loss extends Loss {
  readonly beta: number;

  constructor(options: LossOptions & { beta?: number } = {}) {
    noMore(new.target.name, arguments, 1);
    const { beta, reduction } = readOptions<Required<LossOptions & { beta?: number }>>(
      'SmoothL1Loss',
      { beta: 1, reduction: 'mean' },
      options,
    );
    super(reduction);
    this.beta = beta;
  }

  forward(input: Tensor, target: Tensor): Tensor {
    return ops.smoothL1Loss(input, target, { beta: this.beta, reduction: this.reduction });
  }
}

/** `torch.nn.HuberLoss`: d^2 / 2 where d = |input - target| is below delta, else delta * (d - delta / 2). */
export class HuberLoss extends Loss {
  readonly delta: number;

  constructor(options: LossOptions & { delta?: number } = {}) {
    noMore(new.target.name, arguments, 1);
    const { delta, reduction } = readOptions<Required<LossOptions & { delta?: number }>>(
      'HuberLoss',
      { delta: 1, reduction: 'mean' },
      options,
    );
    super(reduction);
    this.delta = delta;
  }

  forward(input: Tensor, target: Tensor): Tensor {
    return ops.huberLoss(input, target, { delta: this.delta, reduction: this.reduction });
  }
}

/** `torch.nn.BCELoss`: binary cross entropy of probabilities. */
export class BCELoss extends Loss {
  declare weight: Tensor | null;

  constructor(options: LossOptions & { weight?: Tensor | null } = {}) {
    noMore(new.target.name, arguments, 1);
    const { weight, reduction } = readOptions<Required<LossOptions & { weight?: Tensor | null }>>(
      'BCELoss',
      { weight: null, reduction: 'mean' },
      options,
    );
    super(reduction);
    this.registerBuffer('weight', weight);
  }

  forward(input: Tensor, target: Tensor): Tensor {
    return ops.binaryCrossEntropy(input, target, { weight: this.weight, reduction: this.reduction });
  }
}

/** `torch.nn.BCEWithLogitsLoss`: binary cross entropy of sigmoid(input), computed without overflow. */
export class BCEWithLogitsLoss extends Loss {
  declare weight: Tensor | null;
  declare posWeight: Tensor | null;

  constructor(options: LossOptions & { weight?: Tensor | null; posWeight?: Tensor | null } = {}) {
    noMore(new.target.name, arguments, 1);
    const { weight, posWeight, reduction } = readOptions<
      Required<LossOptions & { weight?: Tensor | null; posWeight?: Tensor | null }>
    >('BCEWithLogitsLoss', { weight: null, posWeight: null, reduction: 'mean' }, options);
    super(reduction);
    this.registerBuffer('weight', weight);
    this.registerBuffer('posWeight', posWeight);
  }

  forward(input: Tensor, target: Tensor): Tensor {
    const { weight, posWeight, reduction } = this;
    return ops.binaryCrossEntropyWithLogits(input, target, { weight, posWeight, reduction });
  }
}

/**
 * `torch.nn.KLDivLoss`: target * (log target - input), with input (and with `logTarget` the target) in log
 * space.
 */
export class KLDivLoss extends Loss<Reduction | 'batchmean'> {
  readonly logTarget: boolean;

  constructor(options: { logTarget?: boolean; reduction?: Reduction | 'batchmean' } = {}) {
    noMore(new.target.name, arguments, 1);
    const { logTarget, reduction } = readOptions<Required<typeof options>>(
      'KLDivLoss',
      { logTarget: false, reduction: 'mean' },
      options,
    );
    super(reduction, ['mean', 'sum', 'none', 'batchmean']);
    this.logTarget = logTarget;
  }

  forward(input: Tensor, target: Tensor): Tensor {
    return ops.klDiv(input, target, { logTarget: this.logTarget, reduction: this.reduction });
  }
}
