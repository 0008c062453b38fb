import type { ConvOptions, ConvTransposeOptions } from '../../ops/conv/shape.js';
import { padEdges, sourceIndices, type EdgeMode } from '../../ops/shape/pad-edges.js';
import { sizesOf, type Size2d, type SizeNd } from '../../ops/base/sizes.js';
import { optionReader, required, type Needed } from '../../tensor/options.js';
import { showShape } from '../../tensor/shape.js';
import type { Tensor } from '../../tensor/tensor.js';
import { resetByFanIn } from './linear.js';
import { outputSizeOf } from './output-size.js';
import { Layer } from '../base/module.js';
import { Parameter, requireCount } from '../base/parameter.js';
import { py } from '../base/repr.js';
import { noteParameters } from '../base/tree.js';

export interface ConvLayerOptions<S extends SizeNd = Size2d> extends ConvOptions<S> {
  bias?: boolean;
  /** What stands around the input. Default `'zeros'`. */
  paddingMode?: 'zeros' | EdgeMode;
}

export interface ConvTransposeLayerOptions<S extends SizeNd = Size2d> extends ConvTransposeOptions<S> {
  bias?: boolean;
}

/** All of a convolution's arguments; what must be given may come by name too. */
export type ConvArgs<S extends SizeNd> = Needed<
  Sizes<S>,
  SizeNames,
  [stride: S, padding: S | 'same' | 'valid'],
  ConvLayerOptions<S>
>;
export type ConvTransposeArgs<S extends SizeNd> = Needed<
  Sizes<S>,
  SizeNames,
  [stride: S, padding: S, outputPadding: S],
  ConvTransposeLayerOptions<S>
>;
type Sizes<S> = [inChannels: number, outChannels: number, kernelSize: S];
type SizeNames = ['inChannels', 'outChannels', 'kernelSize'];

interface NamedSizes {
  readonly inChannels: number;
  readonly outChannels: number;
  readonly kernelSize: SizeNd;
}

const sizes: NamedSizes = { inChannels: required(), outChannels: required(), kernelSize: required() };
const sizeNames = Object.keys(sizes) as (keyof NamedSizes)[];

interface Shared extends NamedSizes {
  readonly stride: SizeNd;
  readonly dilation: SizeNd;
  readonly groups: number;
  readonly bias: boolean;
}

/** What all convolutions share; `S` is a number for each dim. */
abstract class AnyConv<S extends readonly number[]> extends Layer {
  declare weight: Parameter;
  declare bias: Parameter | null;
  readonly inChannels: number;
  readonly outChannels: number;
  readonly kernelSize: S;
  readonly stride: S;
  readonly dilation: S;
  readonly groups: number;
  abstract readonly padding: S | 'same' | 'valid';
  abstract readonly outputPadding: S;
  abstract readonly paddingMode: 'zeros' | EdgeMode;

  protected constructor(
    layer: string,
    dims: number,
    { inChannels, outChannels, kernelSize, stride, dilation, groups }: Shared,
  ) {
    super();
    if (typeof kernelSize !== 'number' && !Array.isArray(kernelSize))
      throw new Error(`${layer}: kernelSize must be a number or one for each dim, got ${String(kernelSize)}`);
    requireCount(layer, 'inChannels', inChannels);
    requireCount(layer, 'outChannels', outChannels);
    requireCount(layer, 'groups', groups);
    if (inChannels % groups !== 0 || outChannels % groups !== 0) {
      throw new Error(
        `${layer}: ${inChannels} input and ${outChannels} output channels do not divide into ${groups} groups`,
      );
    }
    this.inChannels = inChannels;
    this.outChannels = outChannels;
    const each = (what: string, value: SizeNd): S =>
      sizesOf(layer, what, value, dims, 1) as readonly number[] as S;
    this.kernelSize = each('kernelSize', kernelSize);
    this.stride = each('stride', stride);
    this.dilation = each('dilation', dilation);
    this.groups = groups;
  }

  resetParameters(): void {
    resetByFanIn(this.weight, this.bias);
  }

  override extraRepr(): string {
    const { stride, padding, dilation, outputPadding, groups, paddingMode } = this;
    let text = `${this.inChannels}, ${this.outChannels}, kernel_size=${py(this.kernelSize)}, stride=${py(stride)}`;
    if (typeof padding === 'string' || padding.some((pad) => pad !== 0)) text += `, padding=${py(padding)}`;
    if (dilation.some((step) => step !== 1)) text += `, dilation=${py(dilation)}`;
    if (outputPadding.some((extra) => extra !== 0)) text += `, output_padding=${py(outputPadding)}`;
    if (groups !== 1) text += `, groups=${groups}`;
    if (this.bias === null) text += ', bias=False';
    return paddingMode === 'zeros' ? text : `${text}, padding_mode=${paddingMode}`;
  }
}

/** What Conv1d, Conv2d and Conv3d share. */
export abstract class ConvLayer<S extends readonly number[]> extends AnyConv<S> {
  readonly padding: S | 'same' | 'valid';
  readonly outputPadding: S;
  readonly paddingMode: 'zeros' | EdgeMode;

  constructor(
    layer: string,
    dims: number,
    args: readonly unknown[],
    strides?: (shape: readonly number[], groups: number) => readonly number[],
  ) {
    const read = optionReader<Required<ConvLayerOptions<SizeNd>> & NamedSizes>(
      layer,
      { ...sizes, stride: 1, padding: 0, dilation: 1, groups: 1, bias: true, paddingMode: 'zeros' },
      ...sizeNames,
      'stride',
      'padding',
    )(args);
    const { inChannels, outChannels, padding, paddingMode } = read;
    super(layer, dims, read);
    if (typeof padding === 'string' && padding !== 'same' && padding !== 'valid') {
      throw new Error(
        `${layer}: padding must be a number, one for each dim, 'same' or 'valid', got '${String(padding)}'`,
      );
    }
    if (padding === 'same' && this.stride.some((stride) => stride !== 1))
      throw new Error(`${layer}: padding 'same' needs stride 1; give the padding as numbers`);
    if (!['zeros', 'reflect', 'replicate', 'circular'].includes(paddingMode)) {
      throw new Error(
        `${layer}: paddingMode must be 'zeros', 'reflect', 'replicate' or 'circular', got '${String(paddingMode)}'`,
      );
    }
    this.padding =
      typeof padding === 'string'
        ? padding
        : (sizesOf(layer, 'padding', padding, dims, 0) as readonly number[] as S);
    this.outputPadding = this.stride.map(() => 0) as readonly number[] as S;
    this.paddingMode = paddingMode;
    const shape = [outChannels, inChannels / this.groups, ...this.kernelSize];
    this.weight = Parameter.blank(shape, `${layer}.weight`, strides?.(shape, this.groups));
    this.bias = read.bias ? Parameter.blank([outChannels], `${layer}.bias`) : null;
    noteParameters(this);
    this.resetParameters();
  }

  /** @internal The input with its padding, where that is not of zeros. */
  protected padded(x: Tensor): Tensor {
    const { padding, paddingMode, kernelSize, dilation } = this;
    if (paddingMode === 'zeros' || padding === 'valid') return x;
    return kernelSize.reduce((out, kernel, i) => {
      const dim = x.ndim - kernelSize.length + i;
      const size = x.shape[dim] as number;
      const both = padding === 'same' ? (dilation[i] as number) * (kernel - 1) : 2 * (padding[i] as number);
      if (both === 0) return out;
      const low = Math.floor(both / 2);
      const most = paddingMode === 'reflect' ? size - 1 : paddingMode === 'circular' ? size : Infinity;
      if (both - low > most || size === 0) {
        throw new Error(
          `${this.constructor.name}: paddingMode '${paddingMode}' cannot pad dim ${dim} of shape ${showShape(x.shape)} by ${both - low}`,
        );
      }
      return padEdges(out, { dim, size, sources: sourceIndices(paddingMode, size, low, both - low) });
    }, x);
  }

  /** @internal What is left for the convolution of {@link padded}. */
  protected get rest(): ConvOptions<S> {
    const { stride, padding, dilation, groups, paddingMode } = this;
    return { stride, padding: paddingMode === 'zeros' ? padding : 'valid', dilation, groups };
  }
}

/** What ConvTranspose1d, 2d and 3d share. */
export abstract class ConvTransposeLayer<S extends readonly number[]> extends AnyConv<S> {
  readonly padding: S;
  readonly outputPadding: S;
  readonly paddingMode = 'zeros';

  constructor(layer: string, dims: number, args: readonly unknown[]) {
    const read = optionReader<Required<ConvTransposeLayerOptions<SizeNd>> & NamedSizes>(
      layer,
      { ...sizes, stride: 1, padding: 0, outputPadding: 0, groups: 1, bias: true, dilation: 1 },
      ...sizeNames,
      'stride',
      'padding',
      'outputPadding',
    )(args);
    const { inChannels, outChannels } = read;
    super(layer, dims, read);
    const each = (what: 'padding' | 'outputPadding'): S =>
      sizesOf(layer, what, read[what], dims, 0) as readonly number[] as S;
    this.padding = each('padding');
    this.outputPadding = each('outputPadding');
    const shape = [inChannels, outChannels / this.groups, ...this.kernelSize];
    this.weight = Parameter.blank(shape, `${layer}.weight`);
    this.bias = read.bias ? Parameter.blank([outChannels], `${layer}.bias`) : null;
    noteParameters(this);
    this.resetParameters();
  }

  /** @internal The options of the op, for a result of the size that is in `args` if one is given. */
  protected optionsFor(x: Tensor, args: readonly unknown[]): ConvTransposeOptions<S> {
    const { kernelSize, stride, padding, dilation, groups } = this;
    let { outputPadding } = this;
    const dims = kernelSize.length;
    const wanted = outputSizeOf(this.constructor.name, dims, x, args);
    if (wanted !== null) {
      outputPadding = kernelSize.map((kernel, i) => {
        const [step, pad, far] = [stride[i], padding[i], dilation[i]] as [number, number, number];
        const least = ((x.shape[x.ndim - dims + i] as number) - 1) * step - 2 * pad + far * (kernel - 1) + 1;
        const extra = (wanted[i] as number) - least;
        if (!(extra >= 0 && extra < step)) {
          throw new Error(
            `${this.constructor.name}: for input ${showShape(x.shape)} size ${i} of outputSize must be from ${least} to ${least + step - 1}, got [${wanted.join(', ')}]`,
          );
        }
        return extra;
      }) as readonly number[] as S;
    }
    return { stride, padding, outputPadding, dilation, groups };
  }
}
