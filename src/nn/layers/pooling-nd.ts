import {
  adaptiveAvgPool1d,
  adaptiveAvgPool3d,
  adaptiveMaxPool1d,
  adaptiveMaxPool3d,
  avgPool1d,
  avgPool3d,
  maxPool1d,
  maxPool3d,
} from '../../ops/index.js';
import type { AdaptiveSize1d } from '../../ops/images/pool-lines.js';
import type { AdaptiveSize3d } from '../../ops/images/pool-volumes.js';
import { sizesOf, type Size1d, type Size3d } from '../../ops/base/sizes.js';
import type { Tensor } from '../../tensor/tensor.js';
import {
  AdaptivePoolLayer,
  AvgPoolLayer,
  MaxPoolLayer,
  readAdaptive,
  type AdaptiveArgs,
  type AvgPoolLayerOptions,
  type MaxPoolLayerOptions,
  type PoolArgs,
  type Pooled,
} from './pool-layer.js';
import { py } from '../base/repr.js';

/** `torch.nn.MaxPool1d`; with `returnIndices: true` it gives `[values, indices]`. */
export class MaxPool1d<I extends boolean = false> extends MaxPoolLayer<Size1d, I> {
  constructor(...args: PoolArgs<Size1d, MaxPoolLayerOptions<Size1d, I>>) {
    super('MaxPool1d', args);
  }

  forward(x: Tensor): Pooled<I> {
    return maxPool1d(x, this.kernelSize, this.options) as Pooled<I>;
  }
}

/** `torch.nn.MaxPool3d`; with `returnIndices: true` it gives `[values, indices]`. */
export class MaxPool3d<I extends boolean = false> extends MaxPoolLayer<Size3d, I> {
  constructor(...args: PoolArgs<Size3d, MaxPoolLayerOptions<Size3d, I>>) {
    super('MaxPool3d', args);
  }

  forward(x: Tensor): Pooled<I> {
    return maxPool3d(x, this.kernelSize, this.options) as Pooled<I>;
  }
}

/** `torch.nn.AvgPool1d`. */
export class AvgPool1d extends AvgPoolLayer<Size1d> {
  constructor(...args: PoolArgs<Size1d, Omit<AvgPoolLayerOptions<Size1d>, 'divisorOverride'>>) {
    super('AvgPool1d', args);
  }

  forward(x: Tensor): Tensor {
    return avgPool1d(x, this.kernelSize, this.options);
  }

  override extraRepr(): string {
    const one = (what: 'kernelSize' | 'stride' | 'padding'): string =>
      py(sizesOf('AvgPool1d', what, this[what], 1, 0));
    return `kernel_size=${one('kernelSize')}, stride=${one('stride')}, padding=${one('padding')}`;
  }
}

/** `torch.nn.AvgPool3d`. */
export class AvgPool3d extends AvgPoolLayer<Size3d> {
  constructor(...args: PoolArgs<Size3d, AvgPoolLayerOptions<Size3d>>) {
    super('AvgPool3d', args);
  }

  forward(x: Tensor): Tensor {
    return avgPool3d(x, this.kernelSize, this.options);
  }
}

/** `torch.nn.AdaptiveAvgPool1d`: pools to a given length. */
export class AdaptiveAvgPool1d extends AdaptivePoolLayer<AdaptiveSize1d, Tensor> {
  forward(x: Tensor): Tensor {
    return adaptiveAvgPool1d(x, this.outputSize);
  }
}

/** `torch.nn.AdaptiveAvgPool3d`: pools to a given depth, height and width. */
export class AdaptiveAvgPool3d extends AdaptivePoolLayer<AdaptiveSize3d, Tensor> {
  forward(x: Tensor): Tensor {
    return adaptiveAvgPool3d(x, this.outputSize);
  }
}

/** `torch.nn.AdaptiveMaxPool1d`; with `returnIndices: true` it gives `[values, indices]`. */
export class AdaptiveMaxPool1d<I extends boolean = false> extends AdaptivePoolLayer<
  AdaptiveSize1d,
  Pooled<I>
> {
  readonly returnIndices: I;

  constructor(...args: AdaptiveArgs<AdaptiveSize1d, I>) {
    const { outputSize, returnIndices } = readAdaptive<AdaptiveSize1d, I>('AdaptiveMaxPool1d', args);
    super(outputSize);
    this.returnIndices = returnIndices;
  }

  forward(x: Tensor): Pooled<I> {
    const { returnIndices } = this;
    return adaptiveMaxPool1d(x, this.outputSize, { returnIndices }) as Pooled<I>;
  }
}

/** `torch.nn.AdaptiveMaxPool3d`; with `returnIndices: true` it gives `[values, indices]`. */
export class AdaptiveMaxPool3d<I extends boolean = false> extends AdaptivePoolLayer<
  AdaptiveSize3d,
  Pooled<I>
> {
  readonly returnIndices: I;

  constructor(...args: AdaptiveArgs<AdaptiveSize3d, I>) {
    const { outputSize, returnIndices } = readAdaptive<AdaptiveSize3d, I>('AdaptiveMaxPool3d', args);
    super(outputSize);
    this.returnIndices = returnIndices;
  }

  forward(x: Tensor): Pooled<I> {
    const { returnIndices } = this;
    return adaptiveMaxPool3d(x, this.outputSize, { returnIndices }) as Pooled<I>;
  }
}
