import { adaptiveAvgPool2d, adaptiveMaxPool2d, avgPool2d, maxPool2d } from '../../ops/index.js';
import type { AdaptiveSize } from '../../ops/images/pool.js';
import type { Size2d } from '../../ops/base/sizes.js';
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

export type MaxPool2dOptions = MaxPoolLayerOptions;
export type AvgPool2dOptions = AvgPoolLayerOptions;

/** `torch.nn.MaxPool2d`; with `returnIndices: true` it gives `[values, indices]`. */
export class MaxPool2d<I extends boolean = false> extends MaxPoolLayer<Size2d, I> {
  constructor(...args: PoolArgs<Size2d, MaxPoolLayerOptions<Size2d, I>>) {
    super('MaxPool2d', args);
  }

  forward(x: Tensor): Pooled<I> {
    return maxPool2d(x, this.kernelSize, this.options) as Pooled<I>;
  }
}

/** `torch.nn.AvgPool2d`. */
export class AvgPool2d extends AvgPoolLayer<Size2d> {
  constructor(...args: PoolArgs<Size2d, AvgPoolLayerOptions>) {
    super('AvgPool2d', args);
  }

  forward(x: Tensor): Tensor {
    return avgPool2d(x, this.kernelSize, this.options);
  }
}

/** `torch.nn.AdaptiveAvgPool2d`: pools to a given height and width. */
export class AdaptiveAvgPool2d extends AdaptivePoolLayer<AdaptiveSize, Tensor> {
  forward(x: Tensor): Tensor {
    return adaptiveAvgPool2d(x, this.outputSize);
  }
}

/** `torch.nn.AdaptiveMaxPool2d`; with `returnIndices: true` it gives `[values, indices]`. */
export class AdaptiveMaxPool2d<I extends boolean = false> extends AdaptivePoolLayer<AdaptiveSize, Pooled<I>> {
  readonly returnIndices: I;

  constructor(...args: AdaptiveArgs<AdaptiveSize, I>) {
    const { outputSize, returnIndices } = readAdaptive<AdaptiveSize, I>('AdaptiveMaxPool2d', args);
    super(outputSize);
    this.returnIndices = returnIndices;
  }

  forward(x: Tensor): Pooled<I> {
    const { returnIndices } = this;
    return adaptiveMaxPool2d(x, this.outputSize, { returnIndices }) as Pooled<I>;
  }
}
