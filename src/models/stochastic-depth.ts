import type { Fusion } from '../nn/base/fuse.js';
import { Module } from '../nn/index.js';
import { pyFloat } from '../nn/base/repr.js';
import { bernoulli_, empty, mul } from '../ops/index.js';
import type { Tensor } from '../tensor/tensor.js';

/**
 * `torchvision.ops.StochasticDepth` (Huang et al. 2016, https://arxiv.org/abs/1603.09382): in training the
 * residual branch [N, ...] is dropped with probability `p` and the rest scaled by 1 / (1 - p); nothing in
 * evaluation.
 */
export class StochasticDepth extends Module {
  /** @internal */
  static readonly fusion: Fusion<StochasticDepth> = { layers: (layer) => (layer.dropsNothing ? [] : null) };

  /**
   * @param p probability of a drop, 0 to 1
   * @param mode 'row' decides for each sample, 'batch' for all at once
   */
  constructor(
    readonly p: number,
    readonly mode: 'row' | 'batch',
  ) {
    super();
    if (!(p >= 0 && p <= 1)) throw new Error(`StochasticDepth: p must be between 0 and 1, got ${String(p)}`);
    if (mode !== 'row' && mode !== 'batch')
      throw new Error(`StochasticDepth: mode must be 'row' or 'batch', got '${String(mode)}'`);
  }

  /** What it is given is what it returns. */
  get dropsNothing(): boolean {
    return !this.training || this.p === 0;
  }

  forward(x: Tensor): Tensor {
    if (this.dropsNothing) return x;
    const survival = 1 - this.p;
    const shape = x.shape.map((size, dim) => (dim === 0 && this.mode === 'row' ? size : 1));
    const kept = bernoulli_(empty(shape, { dtype: x.dtype }), survival);
    return mul(x, survival > 0 ? mul(kept, 1 / survival) : kept);
  }

  override extraRepr(): string {
    return `p=${pyFloat(this.p)}, mode=${this.mode}`;
  }
}
