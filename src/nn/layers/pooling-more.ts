import {
  fractionalMaxPool2d,
  fractionalMaxPool3d,
  lpPool1d,
  lpPool2d,
  maxUnpool1d,
  maxUnpool2d,
  maxUnpool3d,
} from '../../ops/index.js';
import type { FractionalMaxPoolOptions } from '../../ops/images/pool-fractional.js';
import type { LpPoolOptions } from '../../ops/images/pool-power.js';
import { sizesOf, type Size1d, type Size2d, type Size3d, type SizeNd } from '../../ops/base/sizes.js';
import { type Needed, optionReader, required, noMore } from '../../tensor/options.js';
import type { Tensor } from '../../tensor/tensor.js';
import { Layer } from '../base/module.js';
import { outputSizeOf, type OutputSizeArgs } from './output-size.js';
import type { PoolArgs, Pooled } from './pool-layer.js';
import { py } from '../base/repr.js';

export interface MaxUnpoolLayerOptions<S extends SizeNd = Size2d> {
  /** Default: the kernel size. */
  stride?: S | null;
  padding?: S;
}

type UnpoolArgs<S extends SizeNd> = PoolArgs<S, MaxUnpoolLayerOptions<S>>;

/** What MaxUnpool1d, 2d and 3d share. */
abstract class MaxUnpoolLayer<S extends readonly number[]> extends Layer {
  readonly kernelSize: S;
  readonly stride: S;
  readonly padding: S;

  constructor(layer: string, dims: number, args: readonly unknown[]) {
    super();
    const { kernelSize, stride, padding } = optionReader<
      Required<MaxUnpoolLayerOptions<SizeNd>> & { kernelSize: SizeNd }
    >(
      layer,
      { kernelSize: required(), stride: null, padding: 0 },
      'kernelSize',
      'stride',
      'padding',
    )(args);
    const sizes = (what: string, value: SizeNd, least: number): S =>
      sizesOf(layer, what, value, dims, least) as readonly number[] as S;
    this.kernelSize = sizes('kernelSize', kernelSize, 1);
    this.stride = sizes('stride', stride ?? kernelSize, 1);
    this.padding = sizes('padding', padding, 0);
  }

  abstract override forward(x: Tensor, indices: Tensor, ...args: OutputSizeArgs): Tensor;

  /** @internal The options of the op. */
  protected optionsFor(x: Tensor, args: readonly unknown[]) {
    const { stride, padding, kernelSize } = this;
    return { stride, padding, outputSize: outputSizeOf(this.constructor.name, kernelSize.length, x, args) };
  }

  override extraRepr(): string {
    return `kernel_size=${py(this.kernelSize)}, stride=${py(this.stride)}, padding=${py(this.padding)}`;
  }
}

/** `torch.nn.MaxUnpool1d`: puts the values of a MaxPool1d back where its `indices` say, among zeros. */
export class MaxUnpool1d extends MaxUnpoolLayer<readonly [number]> {
  constructor(...args: UnpoolArgs<Size1d>) {
    super('MaxUnpool1d', 1, args);
  }

  forward(x: Tensor, indices: Tensor, ...args: OutputSizeArgs): Tensor {
    return maxUnpool1d(x, indices, this.kernelSize, this.optionsFor(x, args));
  }
}

/** `torch.nn.MaxUnpool2d`: puts the values of a MaxPool2d back where its `indices` say, among zeros. */
export class MaxUnpool2d extends MaxUnpoolLayer<readonly [number, number]> {
  constructor(...args: UnpoolArgs<Size2d>) {
    super('MaxUnpool2d', 2, args);
  }

  forward(x: Tensor, indices: Tensor, ...args: OutputSizeArgs): Tensor {
    return maxUnpool2d(x, indices, this.kernelSize, this.optionsFor(x, args));
  }
}

/** `torch.nn.MaxUnpool3d`: puts the values of a MaxPool3d back where its `indices` say, among zeros. */
export class MaxUnpool3d extends MaxUnpoolLayer<readonly [number, number, number]> {
  constructor(...args: UnpoolArgs<Size3d>) {
    super('MaxUnpool3d', 3, args);
  }

  forward(x: Tensor, indices: Tensor, ...args: OutputSizeArgs): Tensor {
    return maxUnpool3d(x, indices, this.kernelSize, this.optionsFor(x, args));
  }
}

type LpPoolArgs<S extends SizeNd> = Needed<
  [normType: number, kernelSize: S],
  ['normType', 'kernelSize'],
  [stride: S | null],
  LpPoolOptions<S>
>;

/** What LPPool1d and LPPool2d share. */
abstract class LPPoolLayer<S extends SizeNd> extends Layer {
  readonly normType: number;
  readonly kernelSize: S;
  readonly stride: S | null;
  readonly ceilMode: boolean;

  constructor(layer: string, args: readonly unknown[]) {
    super();
    const { normType, kernelSize, stride, ceilMode } = optionReader(
      layer,
      { normType: required<number>(), kernelSize: required<S>(), stride: null as S | null, ceilMode: false },
      'normType',
      'kernelSize',
      'stride',
    )(args);
    this.normType = normType;
    this.kernelSize = kernelSize;
    this.stride = stride;
    this.ceilMode = ceilMode;
  }

  abstract override forward(x: Tensor): Tensor;

  override extraRepr(): string {
    return `norm_type=${this.normType}, kernel_size=${py(this.kernelSize)}, stride=${py(this.stride)}, ceil_mode=${py(this.ceilMode)}`;
  }
}

/** `torch.nn.LPPool1d`: the `normType`-th root of each window's sum of powers. */
export class LPPool1d extends LPPoolLayer<Size1d> {
  constructor(...args: LpPoolArgs<Size1d>) {
    super('LPPool1d', args);
  }

  forward(x: Tensor): Tensor {
    const { stride, ceilMode } = this;
    return lpPool1d(x, this.normType, this.kernelSize, { stride, ceilMode });
  }
}

/** `torch.nn.LPPool2d`: the `normType`-th root of each window's sum of powers. */
export class LPPool2d extends LPPoolLayer<Size2d> {
  constructor(...args: LpPoolArgs<Size2d>) {
    super('LPPool2d', args);
  }

  forward(x: Tensor): Tensor {
    const { stride, ceilMode } = this;
    return lpPool2d(x, this.normType, this.kernelSize, { stride, ceilMode });
  }
}

export type FractionalMaxPoolLayerOptions<
  S extends SizeNd = Size2d,
  I extends boolean = boolean,
> = FractionalMaxPoolOptions<S> & { returnIndices?: I };

/** What FractionalMaxPool2d and 3d share. */
abstract class FractionalMaxPoolLayer<S extends SizeNd, I extends boolean> extends Layer {
  readonly outputSize: S | null;
  readonly outputRatio: S | null;
  readonly returnIndices: I;
  declare randomSamples: Tensor | null;

  constructor(
    layer: string,
    readonly kernelSize: S,
    args: readonly unknown[],
  ) {
    super();
    const read = optionReader<Required<FractionalMaxPoolOptions<S>>>(layer, {
      outputSize: null,
      outputRatio: null,
      returnIndices: false,
      randomSamples: null,
    })(args);
    if ((read.outputSize === null) === (read.outputRatio === null))
      throw new Error(`${layer}: give either outputSize or outputRatio`);
    this.outputSize = read.outputSize;
    this.outputRatio = read.outputRatio;
    this.returnIndices = read.returnIndices as I;
    this.registerBuffer('randomSamples', read.randomSamples);
  }

  protected override stateKey(property: string): string {
    return property === 'randomSamples' ? '_random_samples' : super.stateKey(property);
  }

  abstract override forward(x: Tensor): Pooled<I>;

  /** @internal */
  protected get options(): FractionalMaxPoolOptions<S> {
    const { outputSize, outputRatio, returnIndices, randomSamples } = this;
    return { outputSize, outputRatio, returnIndices, randomSamples };
  }
}

/** `torch.nn.FractionalMaxPool2d`: max pools at pseudo-random steps, to a size or by a ratio. */
export class FractionalMaxPool2d<I extends boolean = false> extends FractionalMaxPoolLayer<Size2d, I> {
  constructor(kernelSize: Size2d, options: FractionalMaxPoolLayerOptions<Size2d, I>) {
    noMore(new.target.name, arguments, 2);
    super('FractionalMaxPool2d', kernelSize, [options]);
  }

  forward(x: Tensor): Pooled<I> {
    return fractionalMaxPool2d(x, this.kernelSize, this.options) as Pooled<I>;
  }
}

/** `torch.nn.FractionalMaxPool3d`: max pools at pseudo-random steps, to a size or by a ratio. */
export class FractionalMaxPool3d<I extends boolean = false> extends FractionalMaxPoolLayer<Size3d, I> {
  constructor(kernelSize: Size3d, options: FractionalMaxPoolLayerOptions<Size3d, I>) {
    noMore(new.target.name, arguments, 2);
    super('FractionalMaxPool3d', kernelSize, [options]);
  }

  forward(x: Tensor): Pooled<I> {
    return fractionalMaxPool3d(x, this.kernelSize, this.options) as Pooled<I>;
  }
}
