import type { AvgPoolOptions, MaxPoolOptions } from '../../ops/images/pool-core.js';
import type { Size2d, SizeNd } from '../../ops/base/sizes.js';
import { type Needed, optionReader, required } from '../../tensor/options.js';
import type { Tensor } from '../../tensor/tensor.js';
import { Layer } from '../base/module.js';
import { py } from '../base/repr.js';

/** What a layer gives that may return indices: `I` says whether it does. */
export type Pooled<I extends boolean> = I extends true ? [values: Tensor, indices: Tensor] : Tensor;

export interface MaxPoolLayerOptions<S extends SizeNd = Size2d, I extends boolean = boolean> {
  /** Default: the kernel size. */
  stride?: S | null;
  padding?: S;
  dilation?: S;
  /** Also return where the maxima were, for a MaxUnpool. */
  returnIndices?: I;
  /** Let windows that start inside the padded input end outside it. */
  ceilMode?: boolean;
}

/** A pool's kernel size and what follows it. */
export type PoolArgs<S extends SizeNd, O> = Needed<
  [kernelSize: S],
  ['kernelSize'],
  [stride: S | null, padding: S],
  O
>;

/** What MaxPool1d, 2d and 3d share. */
export abstract class MaxPoolLayer<S extends SizeNd, I extends boolean> extends Layer {
  readonly kernelSize: S;
  readonly stride: S;
  readonly padding: S;
  readonly dilation: S;
  readonly returnIndices: I;
  readonly ceilMode: boolean;

  constructor(layer: string, args: readonly unknown[]) {
    super();
    const read = optionReader<Required<MaxPoolLayerOptions<SizeNd>> & { kernelSize: SizeNd }>(
      layer,
      {
        kernelSize: required(),
        stride: null,
        padding: 0,
        dilation: 1,
        returnIndices: false,
        ceilMode: false,
      },
      'kernelSize',
      'stride',
      'padding',
    )(args);
    this.kernelSize = read.kernelSize as S;
    this.stride = (read.stride ?? read.kernelSize) as S;
    this.padding = read.padding as S;
    this.dilation = read.dilation as S;
    this.returnIndices = read.returnIndices as I;
    this.ceilMode = read.ceilMode;
  }

  abstract override forward(x: Tensor): Pooled<I>;

  /** @internal */
  protected get options(): MaxPoolOptions<S> {
    const { stride, padding, dilation, ceilMode, returnIndices } = this;
    return { stride, padding, dilation, ceilMode, returnIndices };
  }

  override extraRepr(): string {
    return (
      `kernel_size=${py(this.kernelSize)}, stride=${py(this.stride)}, padding=${py(this.padding)}, ` +
      `dilation=${py(this.dilation)}, ceil_mode=${py(this.ceilMode)}`
    );
  }
}

export interface AvgPoolLayerOptions<S extends SizeNd = Size2d> {
  /** Default: the kernel size. */
  stride?: S | null;
  padding?: S;
  ceilMode?: boolean;
  /** Count the padding's zeros in the average. Default true. */
  countIncludePad?: boolean;
  /** Divide by this instead of the window's size. */
  divisorOverride?: number | null;
}

/** What AvgPool1d, 2d and 3d share. */
export abstract class AvgPoolLayer<S extends SizeNd> extends Layer {
  readonly kernelSize: S;
  readonly stride: S;
  readonly padding: S;
  readonly ceilMode: boolean;
  readonly countIncludePad: boolean;
  readonly divisorOverride: number | null;

  constructor(layer: string, args: readonly unknown[]) {
    super();
    const read = optionReader<Required<AvgPoolLayerOptions<SizeNd>> & { kernelSize: SizeNd }>(
      layer,
      {
        kernelSize: required(),
        stride: null,
        padding: 0,
        ceilMode: false,
        countIncludePad: true,
        divisorOverride: null,
      },
      'kernelSize',
      'stride',
      'padding',
    )(args);
    this.kernelSize = read.kernelSize as S;
    this.stride = (read.stride ?? read.kernelSize) as S;
    this.padding = read.padding as S;
    this.ceilMode = read.ceilMode;
    this.countIncludePad = read.countIncludePad;
    this.divisorOverride = read.divisorOverride;
  }

  abstract override forward(x: Tensor): Tensor;

  /** @internal */
  protected get options(): AvgPoolOptions<S> {
    const { stride, padding, ceilMode, countIncludePad, divisorOverride } = this;
    return { stride, padding, ceilMode, countIncludePad, divisorOverride };
  }

  override extraRepr(): string {
    return `kernel_size=${py(this.kernelSize)}, stride=${py(this.stride)}, padding=${py(this.padding)}`;
  }
}

type AnySize = number | null | readonly (number | null)[];

/** What follows `outputSize` of a max pool that may give indices too. */
export type AdaptiveArgs<S extends AnySize, I extends boolean> = Needed<
  [outputSize: S],
  ['outputSize'],
  [returnIndices: I],
  { returnIndices?: I }
>;

/** @internal */
export const readAdaptive = <S extends AnySize, I extends boolean>(
  layer: string,
  args: readonly unknown[],
): { readonly outputSize: S; readonly returnIndices: I } =>
  optionReader(
    layer,
    { outputSize: required<S>(), returnIndices: false as I },
    'outputSize',
    'returnIndices',
  )(args);

/** What pools to a given size share. */
export abstract class AdaptivePoolLayer<S extends AnySize, R> extends Layer {
  readonly outputSize: S;

  constructor(...args: Needed<[outputSize: S], ['outputSize']>) {
    super();
    this.outputSize = optionReader(
      this.constructor.name,
      { outputSize: required<S>() },
      'outputSize',
    )(args).outputSize;
  }

  abstract override forward(x: Tensor): R;

  override extraRepr(): string {
    return `output_size=${py(this.outputSize)}`;
  }
}
