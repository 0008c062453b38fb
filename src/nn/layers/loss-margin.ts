import { readOptions, noMore } from '../../tensor/options.js';
import * as ops from '../../ops/index.js';
import type { Tensor } from '../../tensor/tensor.js';
import { Loss, type LossOptions } from './loss-base.js';
import { Layer } from '../base/module.js';

/** `torch.nn.SoftMarginLoss`: log(1 + exp(-target * input)) for targets of 1 and -1. */
export class SoftMarginLoss extends Loss {
  constructor(options: LossOptions = {}) {
    noMore(new.target.name, arguments, 1);
    const { reduction } = readOptions<Required<LossOptions>>(
      'SoftMarginLoss',
      { reduction: 'mean' },
      options,
    );
    super(reduction);
  }

  forward(input: Tensor, target: Tensor): Tensor {
    return ops.softMarginLoss(input, target, { reduction: this.reduction });
  }
}

export interface MarginLossOptions extends LossOptions {
  margin?: number;
}

/** `torch.nn.HingeEmbeddingLoss`: input where the target is 1, max(0, margin - input) where it is -1. */
export class HingeEmbeddingLoss extends Loss {
  readonly margin: number;

  constructor(options: MarginLossOptions = {}) {
    noMore(new.target.name, arguments, 1);
    const { margin, reduction } = readOptions<Required<MarginLossOptions>>(
      'HingeEmbeddingLoss',
      { margin: 1, reduction: 'mean' },
      options,
    );
    super(reduction);
    this.margin = margin;
  }

  forward(input: Tensor, target: Tensor): Tensor {
    return ops.hingeEmbeddingLoss(input, target, { margin: this.margin, reduction: this.reduction });
  }
}

/** `torch.nn.MarginRankingLoss`: max(0, -target * (input1 - input2) + margin). */
export class MarginRankingLoss extends Loss {
  readonly margin: number;

  constructor(options: MarginLossOptions = {}) {
    noMore(new.target.name, arguments, 1);
    const { margin, reduction } = readOptions<Required<MarginLossOptions>>(
      'MarginRankingLoss',
      { margin: 0, reduction: 'mean' },
      options,
    );
    super(reduction);
    this.margin = margin;
  }

  forward(input1: Tensor, input2: Tensor, target: Tensor): Tensor {
    return ops.marginRankingLoss(input1, input2, target, { margin: this.margin, reduction: this.reduction });
  }
}

/** `torch.nn.CosineEmbeddingLoss`: 1 - cos for targets of 1, max(0, cos - margin) for those of -1. */
export class CosineEmbeddingLoss extends Loss {
  readonly margin: number;

  constructor(options: MarginLossOptions = {}) {
    noMore(new.target.name, arguments, 1);
    const { margin, reduction } = readOptions<Required<MarginLossOptions>>(
      'CosineEmbeddingLoss',
      { margin: 0, reduction: 'mean' },
      options,
    );
    super(reduction);
    this.margin = margin;
  }

  forward(input1: Tensor, input2: Tensor, target: Tensor): Tensor {
    return ops.cosineEmbeddingLoss(input1, input2, target, {
      margin: this.margin,
      reduction: this.reduction,
    });
  }
}

/** `torch.nn.MultiMarginLoss`: max(0, margin - input[label] + input[i])^p, averaged over the classes. */
export class MultiMarginLoss extends Loss {
  declare weight: Tensor | null;
  readonly p: number;
  readonly margin: number;

  constructor(options: MarginLossOptions & { p?: number; weight?: Tensor | null } = {}) {
    noMore(new.target.name, arguments, 1);
    const { p, margin, weight, reduction } = readOptions<
      Required<MarginLossOptions & { p?: number; weight?: Tensor | null }>
    >('MultiMarginLoss', { p: 1, margin: 1, weight: null, reduction: 'mean' }, options);
    super(reduction);
    this.registerBuffer('weight', weight);
    this.p = p;
    this.margin = margin;
  }

  forward(input: Tensor, target: Tensor): Tensor {
    const { p, margin, weight, reduction } = this;
    return ops.multiMarginLoss(input, target, { p, margin, weight, reduction });
  }
}

/** `torch.nn.MultiLabelMarginLoss`: targets are each sample's labels followed by -1. */
export class MultiLabelMarginLoss extends Loss {
  constructor(options: LossOptions = {}) {
    noMore(new.target.name, arguments, 1);
    const { reduction } = readOptions<Required<LossOptions>>(
      'MultiLabelMarginLoss',
      { reduction: 'mean' },
      options,
    );
    super(reduction);
  }

  forward(input: Tensor, target: Tensor): Tensor {
    return ops.multilabelMarginLoss(input, target, { reduction: this.reduction });
  }
}

/** `torch.nn.MultiLabelSoftMarginLoss`: binary cross entropy of sigmoid(input), averaged over the classes. */
export class MultiLabelSoftMarginLoss extends Loss {
  declare weight: Tensor | null;

  constructor(options: LossOptions & { weight?: Tensor | null } = {}) {
    noMore(new.target.name, arguments, 1);
    const { weight, reduction } = readOptions<Required<LossOptions & { weight?: Tensor | null }>>(
      'MultiLabelSoftMarginLoss',
      { weight: null, reduction: 'mean' },
      options,
    );
    super(reduction);
    this.registerBuffer('weight', weight);
  }

  forward(input: Tensor, target: Tensor): Tensor {
    return ops.multilabelSoftMarginLoss(input, target, { weight: this.weight, reduction: this.reduction });
  }
}

export interface TripletMarginOptions extends MarginLossOptions {
  /** Order of the norm. Default 2. */
  p?: number;
  /** Added to differences. Default 1e-6. */
  eps?: number;
  /** Take the positive's distance to the negative where that is less than the anchor's. */
  swap?: boolean;
}

/** `torch.nn.TripletMarginLoss`: max(0, d(anchor, positive) - d(anchor, negative) + margin). */
export class TripletMarginLoss extends Loss {
  readonly margin: number;
  readonly p: number;
  readonly eps: number;
  readonly swap: boolean;

  constructor(options: TripletMarginOptions = {}) {
    noMore(new.target.name, arguments, 1);
    const { margin, p, eps, swap, reduction } = readOptions<Required<TripletMarginOptions>>(
      'TripletMarginLoss',
      { margin: 1, p: 2, eps: 1e-6, swap: false, reduction: 'mean' },
      options,
    );
    super(reduction);
    this.margin = margin;
    this.p = p;
    this.eps = eps;
    this.swap = swap;
  }

  forward(anchor: Tensor, positive: Tensor, negative: Tensor): Tensor {
    const { margin, p, eps, swap, reduction } = this;
    return ops.tripletMarginLoss(anchor, positive, negative, { margin, p, eps, swap, reduction });
  }
}

/** `torch.nn.TripletMarginWithDistanceLoss`: {@link TripletMarginLoss} with a distance of your own. */
export class TripletMarginWithDistanceLoss extends Loss {
  /** A function, or a module, which is a child then. */
  readonly distanceFunction: (a: Tensor, b: Tensor) => Tensor;
  readonly margin: number;
  readonly swap: boolean;

  constructor(options: ops.TripletMarginWithDistanceLossOptions = {}) {
    noMore(new.target.name, arguments, 1);
    const { distanceFunction, margin, swap, reduction } = readOptions<
      Required<ops.TripletMarginWithDistanceLossOptions>
    >(
      'TripletMarginWithDistanceLoss',
      { distanceFunction: null, margin: 1, swap: false, reduction: 'mean' },
      options,
    );
    super(reduction);
    this.distanceFunction =
      distanceFunction ?? (new PairwiseDistance() as unknown as (a: Tensor, b: Tensor) => Tensor);
    this.margin = margin;
    this.swap = swap;
  }

  forward(anchor: Tensor, positive: Tensor, negative: Tensor): Tensor {
    const { distanceFunction, margin, swap, reduction } = this;
    const options = { distanceFunction, margin, swap, reduction };
    return ops.tripletMarginWithDistanceLoss(anchor, positive, negative, options);
  }
}

/** `torch.nn.PoissonNLLLoss`: exp(input) - target * input, with the logarithm of the rate as input. */
export class PoissonNLLLoss extends Loss {
  readonly logInput: boolean;
  readonly full: boolean;
  readonly eps: number;

  constructor(options: ops.PoissonNllLossOptions = {}) {
    noMore(new.target.name, arguments, 1);
    const { logInput, full, eps, reduction } = readOptions<Required<ops.PoissonNllLossOptions>>(
      'PoissonNLLLoss',
      { logInput: true, full: false, eps: 1e-8, reduction: 'mean' },
      options,
    );
    super(reduction);
    this.logInput = logInput;
    this.full = full;
    this.eps = eps;
  }

  forward(input: Tensor, target: Tensor): Tensor {
    const { logInput, full, eps, reduction } = this;
    return ops.poissonNllLoss(input, target, { logInput, full, eps, reduction });
  }
}

/** `torch.nn.GaussianNLLLoss`: (log(variance) + (input - target)^2 / variance) / 2. */
export class GaussianNLLLoss extends Loss {
  readonly full: boolean;
  readonly eps: number;

  constructor(options: ops.GaussianNllLossOptions = {}) {
    noMore(new.target.name, arguments, 1);
    const { full, eps, reduction } = readOptions<Required<ops.GaussianNllLossOptions>>(
      'GaussianNLLLoss',
      { full: false, eps: 1e-6, reduction: 'mean' },
      options,
    );
    super(reduction);
    this.full = full;
    this.eps = eps;
  }

  forward(input: Tensor, target: Tensor, variance: Tensor): Tensor {
    const { full, eps, reduction } = this;
    return ops.gaussianNllLoss(input, target, variance, { full, eps, reduction });
  }
}

/** `torch.nn.CTCLoss` (Graves et al. 2006): of log-probabilities `[T, N, C]` with labels. */
export class CTCLoss extends Loss {
  readonly blank: number;
  readonly zeroInfinity: boolean;

  constructor(options: ops.CtcLossOptions = {}) {
    noMore(new.target.name, arguments, 1);
    const { blank, reduction, zeroInfinity } = readOptions<Required<ops.CtcLossOptions>>(
      'CTCLoss',
      { blank: 0, reduction: 'mean', zeroInfinity: false },
      options,
    );
    super(reduction);
    this.blank = blank;
    this.zeroInfinity = zeroInfinity;
  }

  forward(logProbs: Tensor, targets: Tensor, inputLengths: ops.Lengths, targetLengths: ops.Lengths): Tensor {
    const { blank, reduction, zeroInfinity } = this;
    return ops.ctcLoss(logProbs, targets, inputLengths, targetLengths, { blank, reduction, zeroInfinity });
  }
}

/** `torch.nn.CosineSimilarity` along `dim`. */
export class CosineSimilarity extends Layer {
  readonly dim: number;
  readonly eps: number;

  constructor(options: { dim?: number; eps?: number } = {}) {
    noMore(new.target.name, arguments, 1);
    const { dim, eps } = readOptions('CosineSimilarity', { dim: 1, eps: 1e-8 }, options);
    super();
    this.dim = dim;
    this.eps = eps;
  }

  forward(x1: Tensor, x2: Tensor): Tensor {
    return ops.cosineSimilarity(x1, x2, { dim: this.dim, eps: this.eps });
  }
}

/** `torch.nn.PairwiseDistance`: the p norm of the difference along the last dim. */
export class PairwiseDistance extends Layer {
  readonly p: number;
  readonly eps: number;
  readonly keepdim: boolean;

  constructor(options: { p?: number; eps?: number; keepdim?: boolean } = {}) {
    noMore(new.target.name, arguments, 1);
    const { p, eps, keepdim } = readOptions('PairwiseDistance', { p: 2, eps: 1e-6, keepdim: false }, options);
    super();
    this.p = p;
    this.eps = eps;
    this.keepdim = keepdim;
  }

  forward(x1: Tensor, x2: Tensor): Tensor {
    return ops.pairwiseDistance(x1, x2, { p: this.p, eps: this.eps, keepdim: this.keepdim });
  }
}
