import { Tensor } from '../../tensor/tensor.js';
import { showShape, type Shape } from '../../tensor/shape.js';
import { internals } from '../base/call.js';
import { Conv2d, ConvTranspose2d } from './conv.js';
import type {
  ConvArgs,
  ConvLayerOptions,
  ConvTransposeArgs,
  ConvTransposeLayerOptions,
} from './conv-layer.js';
import { Conv1d, Conv3d, ConvTranspose1d, ConvTranspose3d } from './conv-nd.js';
import { Linear } from './linear.js';
import type { OutputSizeArgs } from './output-size.js';
import { fieldsOf, Layer, type Module } from '../base/module.js';
import { BatchNorm1d, BatchNorm2d, BatchNorm3d, type BatchNormOptions } from './norm.js';
import { InstanceNorm1d, InstanceNorm2d, InstanceNorm3d, type InstanceNormOptions } from './norm-more.js';
import { Parameter, UninitializedParameter } from '../base/parameter.js';
import { noteParameters } from '../base/tree.js';
import type { Size1d, Size2d, Size3d, SizeNd } from '../../ops/base/sizes.js';
import { isPlainObject, type Needed, noMore, readOptions } from '../../tensor/options.js';
import { checkTensors } from '../../ops/base/tensors.js';

/** How a lazy layer learns its size. */
interface Laziness {
  /** The layer for a size. */
  readonly make: (size: number) => Module & { forward(x: Tensor): Tensor };
  /** A size that fits the other arguments, for a pattern of the layer. */
  readonly unit?: number;
  /** Where the size stands in an input's shape: from the end, or for norms from the start. */
  readonly axis: number;
  /** The size, from the shape of a weight or a running mean in a state dict. */
  readonly sizeOf: (shape: Shape) => number | undefined;
}

/**
 * A layer that learns the size of its input from the first one, or from a state dict, and then is the layer
 * that it stands for (its class changes too). Until then its parameters are uninitialized.
 */
abstract class LazyModule extends Layer {
  /** @internal What it will be, and how that is printed. */
  readonly laziness: Laziness & { readonly printed: string };

  protected constructor(laziness: Laziness) {
    const pattern = patternOf(new.target.name, laziness);
    super();
    const printed = pattern.extraRepr().replace(/\d+/, '0');
    this.laziness = { ...laziness, printed };
    for (const [property, value] of Object.entries(pattern)) {
      const persistent = pattern[internals].buffers.get(property);
      if (value instanceof Parameter) fieldsOf(this)[property] = new UninitializedParameter();
      else if (persistent !== undefined)
        this.registerBuffer(
          property,
          value && Tensor.empty([0], 'float32', 'UninitializedBuffer'),
          persistent,
        );
    }
    noteParameters(this);
    pattern.dispose();
  }

  /** @internal */
  override beforeLoad(shapeOf: (key: string) => Shape | undefined): void {
    const shape = shapeOf('weight') ?? shapeOf('running_mean');
    const size = shape && this.laziness.sizeOf(shape);
    if (size !== undefined) become(this, size);
  }

  /** `args` are for the transposed convolutions. */
  forward(x: Tensor, ...args: OutputSizeArgs): Tensor {
    const { name } = this.constructor;
    checkTensors(name, x);
    const size = x.shape.at(this.laziness.axis);
    if (size === undefined)
      throw new Error(`${name}: an input of shape ${showShape(x.shape)} has too few dims`);
    become(this, size);
    return this.forward(x, ...args);
  }

  override extraRepr(): string {
    return this.laziness.printed;
  }
}

/** The layer that `lazy` stands for, of some size; errors about its arguments bear the lazy name. */
function patternOf(lazy: string, { make, unit = 1 }: Laziness): ReturnType<Laziness['make']> {
  try {
    return make(unit);
  } catch (error) {
    if (error instanceof Error) error.message = error.message.replace(lazy.replace('Lazy', ''), lazy);
    throw error;
  }
}

function become(layer: LazyModule, size: number): void {
  const real = layer.laziness.make(size);
  const { training } = layer;
  const frozen: string[] = [];
  for (const property of Object.keys(layer)) {
    const value = fieldsOf(layer)[property];
    if (value instanceof Parameter && !value.requiresGrad) frozen.push(property);
    if (value instanceof Tensor) value.dispose();
    Reflect.deleteProperty(layer, property);
  }
  layer[internals].buffers.clear();
  Object.setPrototypeOf(layer, Object.getPrototypeOf(real) as object);
  for (const [property, persistent] of real[internals].buffers)
    layer[internals].buffers.set(property, persistent);
  for (const [property, value] of Object.entries(real)) fieldsOf(layer)[property] = value;
  for (const property of frozen) (fieldsOf(layer)[property] as Parameter).requiresGrad = false;
  layer.training = training;
}

/** `torch.nn.LazyLinear`: a Linear whose `inFeatures` come from the first input. */
export class LazyLinear extends LazyModule {
  constructor(...args: Needed<[outFeatures: number], ['outFeatures'], [bias: boolean], { bias?: boolean }>) {
    super({
      make: (size) => new Linear(...withSize<ConstructorParameters<typeof Linear>>(size, args)),
      axis: -1,
      sizeOf: (shape) => shape[1],
    });
  }
}

type LazySizes<S> = [outChannels: number, kernelSize: S];
type LazySizeNames = ['outChannels', 'kernelSize'];
/** The arguments of a convolution without its `inChannels`. */
type LazyConvArgs<S extends SizeNd> = Needed<
  LazySizes<S>,
  LazySizeNames,
  [stride: S, padding: S | 'same' | 'valid'],
  ConvLayerOptions<S>
>;
type LazyConvTransposeArgs<S extends SizeNd> = Needed<
  LazySizes<S>,
  LazySizeNames,
  [stride: S, padding: S, outputPadding: S],
  ConvTransposeLayerOptions<S>
>;

/** The layer's arguments: the size that was learnt stands before those that were given. */
const withSize = <A extends readonly unknown[]>(size: number, args: readonly unknown[]): A =>
  [size, ...args] as unknown as A;

/** `sizeAt` is where the weight's shape has the input channels; groups are an option, at the end. */
function convolution(
  make: Laziness['make'],
  dims: number,
  args: readonly unknown[],
  sizeAt: 0 | 1 = 1,
): Laziness {
  const given: unknown = args.at(-1);
  const groups = (isPlainObject(given) ? (given['groups'] as number | undefined) : undefined) ?? 1;
  const sizeOf = (shape: Shape): number | undefined =>
    sizeAt === 0 ? shape[0] : shape[1] && shape[1] * groups;
  return { make, unit: Number.isInteger(groups) && groups > 0 ? groups : 1, axis: -1 - dims, sizeOf };
}

/** `torch.nn.LazyConv1d`: a Conv1d whose `inChannels` come from the first input. */
export class LazyConv1d extends LazyModule {
  constructor(...args: LazyConvArgs<Size1d>) {
    super(convolution((size) => new Conv1d(...withSize<ConvArgs<Size1d>>(size, args)), 1, args));
  }
}

/** `torch.nn.LazyConvTranspose1d`: a ConvTranspose1d whose `inChannels` come from the first input. */
export class LazyConvTranspose1d extends LazyModule {
  constructor(...args: LazyConvTransposeArgs<Size1d>) {
    super(
      convolution(
        (size) => new ConvTranspose1d(...withSize<ConvTransposeArgs<Size1d>>(size, args)),
        1,
        args,
        0,
      ),
    );
  }
}

/** `torch.nn.LazyConv2d`: a Conv2d whose `inChannels` come from the first input. */
export class LazyConv2d extends LazyModule {
  constructor(...args: LazyConvArgs<Size2d>) {
    super(convolution((size) => new Conv2d(...withSize<ConvArgs<Size2d>>(size, args)), 2, args));
  }
}

/** `torch.nn.LazyConvTranspose2d`: a ConvTranspose2d whose `inChannels` come from the first input. */
export class LazyConvTranspose2d extends LazyModule {
  constructor(...args: LazyConvTransposeArgs<Size2d>) {
    super(
      convolution(
        (size) => new ConvTranspose2d(...withSize<ConvTransposeArgs<Size2d>>(size, args)),
        2,
        args,
        0,
      ),
    );
  }
}

/** `torch.nn.LazyConv3d`: a Conv3d whose `inChannels` come from the first input. */
export class LazyConv3d extends LazyModule {
  constructor(...args: LazyConvArgs<Size3d>) {
    super(convolution((size) => new Conv3d(...withSize<ConvArgs<Size3d>>(size, args)), 3, args));
  }
}

/** `torch.nn.LazyConvTranspose3d`: a ConvTranspose3d whose `inChannels` come from the first input. */
export class LazyConvTranspose3d extends LazyModule {
  constructor(...args: LazyConvTransposeArgs<Size3d>) {
    super(
      convolution(
        (size) => new ConvTranspose3d(...withSize<ConvTransposeArgs<Size3d>>(size, args)),
        3,
        args,
        0,
      ),
    );
  }
}

const norm = (make: Laziness['make'], axis = 1): Laziness => ({
  make,
  axis,
  sizeOf: (shape) => shape[0],
});

/** `torch.nn.LazyBatchNorm1d`: a BatchNorm1d whose `numFeatures` come from the first input. */
export class LazyBatchNorm1d extends LazyModule {
  constructor(options: BatchNormOptions = {}) {
    noMore(new.target.name, arguments, 1);
    super(norm((size) => new BatchNorm1d(size, options)));
  }
}

/** `torch.nn.LazyBatchNorm2d`: a BatchNorm2d whose `numFeatures` come from the first input. */
export class LazyBatchNorm2d extends LazyModule {
  constructor(options: BatchNormOptions = {}) {
    noMore(new.target.name, arguments, 1);
    super(norm((size) => new BatchNorm2d(size, options)));
  }
}

/** `torch.nn.LazyBatchNorm3d`: a BatchNorm3d whose `numFeatures` come from the first input. */
export class LazyBatchNorm3d extends LazyModule {
  constructor(options: BatchNormOptions = {}) {
    noMore(new.target.name, arguments, 1);
    super(norm((size) => new BatchNorm3d(size, options)));
  }
}

/**
 * In PyTorch the lazy ones, unlike the others, are affine and keep running statistics unless told otherwise.
 */
const lazyNorm = (layer: string, options: InstanceNormOptions): InstanceNormOptions =>
  readOptions<Required<InstanceNormOptions>>(
    layer,
    { eps: 1e-5, momentum: 0.1, affine: true, trackRunningStats: true },
    options,
  );

/** `torch.nn.LazyInstanceNorm1d`: an InstanceNorm1d whose `numFeatures` come from the first input. */
export class LazyInstanceNorm1d extends LazyModule {
  constructor(options: InstanceNormOptions = {}) {
    noMore(new.target.name, arguments, 1);
    const all = lazyNorm(new.target.name, options);
    super(norm((size) => new InstanceNorm1d(size, all), -2));
  }
}

/** `torch.nn.LazyInstanceNorm2d`: an InstanceNorm2d whose `numFeatures` come from the first input. */
export class LazyInstanceNorm2d extends LazyModule {
  constructor(options: InstanceNormOptions = {}) {
    noMore(new.target.name, arguments, 1);
    const all = lazyNorm(new.target.name, options);
    super(norm((size) => new InstanceNorm2d(size, all), -3));
  }
}

/** `torch.nn.LazyInstanceNorm3d`: an InstanceNorm3d whose `numFeatures` come from the first input. */
export class LazyInstanceNorm3d extends LazyModule {
  constructor(options: InstanceNormOptions = {}) {
    noMore(new.target.name, arguments, 1);
    const all = lazyNorm(new.target.name, options);
    super(norm((size) => new InstanceNorm3d(size, all), -4));
  }
}
