import { argumentReader, optionReader, type Needed, type Trailing } from '../../tensor/options.js';
import {
  channelShuffle,
  interpolate,
  pixelShuffle,
  pixelUnshuffle,
  type InterpolateMode,
  type PerDim,
} from '../../ops/index.js';
import type { Tensor } from '../../tensor/tensor.js';
import { Layer } from '../base/module.js';
import { requireCount } from '../base/parameter.js';
import { py, pyFloat } from '../base/repr.js';

export interface UpsampleOptions {
  /** The new spatial sizes; or else `scaleFactor`. */
  size?: PerDim | null;
  scaleFactor?: PerDim | null;
  /** Default `'nearest'`. */
  mode?: InterpolateMode;
  /** Linear and cubic modes: let the corner pixels' centres coincide. Default false. */
  alignCorners?: boolean | null;
  /** Scale by the ratio of the sizes, even where the factor gave another one before rounding. */
  recomputeScaleFactor?: boolean | null;
}

type SizeOptions = Pick<UpsampleOptions, 'size' | 'scaleFactor'>;
type SizeArgs = Trailing<[size: PerDim | null, scaleFactor: PerDim | null], SizeOptions>;

const sizes: Required<SizeOptions> = { size: null, scaleFactor: null };
const upsampling: Required<UpsampleOptions> = {
  ...sizes,
  mode: 'nearest',
  alignCorners: null,
  recomputeScaleFactor: null,
};
const readSizes = (layer: string, args: SizeArgs): Required<SizeOptions> =>
  optionReader(layer, sizes, 'size', 'scaleFactor')(args);

/** `torch.nn.Upsample` of `[N, C, ...]` with 1 to 3 spatial dims, to a size or by a factor. */
export class Upsample extends Layer {
  readonly size: PerDim | null;
  readonly scaleFactor: PerDim | null;
  readonly mode: InterpolateMode;
  readonly alignCorners: boolean | null;
  readonly recomputeScaleFactor: boolean | null;

  constructor(
    ...args: Trailing<
      [size: PerDim | null, scaleFactor: PerDim | null, mode: InterpolateMode],
      UpsampleOptions
    >
  ) {
    const { size, scaleFactor, mode, alignCorners, recomputeScaleFactor } = optionReader(
      new.target.name,
      upsampling,
      'size',
      'scaleFactor',
      'mode',
    )(args);
    super();
    if ((size === null) === (scaleFactor === null))
      throw new Error(`${this.constructor.name}: give either size or scaleFactor`);
    this.size = size;
    this.scaleFactor = scaleFactor;
    this.mode = mode;
    this.alignCorners = alignCorners;
    this.recomputeScaleFactor = recomputeScaleFactor;
  }

  forward(x: Tensor): Tensor {
    const { size, scaleFactor, mode, recomputeScaleFactor } = this;
    const filters = mode !== 'nearest' && mode !== 'nearest-exact' && mode !== 'area';
    const alignCorners = filters ? this.alignCorners : null;
    return interpolate(x, { size, scaleFactor, mode, alignCorners, recomputeScaleFactor });
  }

  override extraRepr(): string {
    const { size, scaleFactor, mode } = this;
    if (scaleFactor === null) return `size=${py(size)}, mode=${mode}`;
    const factor = typeof scaleFactor === 'number' ? [scaleFactor] : scaleFactor;
    const text = factor.map(pyFloat).join(', ');
    return `scale_factor=${typeof scaleFactor === 'number' ? text : `(${text}${factor.length === 1 ? ',' : ''})`}, mode=${mode}`;
  }
}

/** `torch.nn.UpsamplingNearest2d`. */
export class UpsamplingNearest2d extends Upsample {
  constructor(...args: SizeArgs) {
    super({ ...readSizes(new.target.name, args), mode: 'nearest' });
  }
}

/** `torch.nn.UpsamplingBilinear2d`: with aligned corners. */
export class UpsamplingBilinear2d extends Upsample {
  constructor(...args: SizeArgs) {
    super({ ...readSizes(new.target.name, args), mode: 'bilinear', alignCorners: true });
  }
}

/** `torch.nn.PixelShuffle`: `[N, C r^2, H, W]` to `[N, C, H r, W r]`. */
export class PixelShuffle extends Layer {
  readonly upscaleFactor: number;

  constructor(...args: Needed<[upscaleFactor: number], ['upscaleFactor']>) {
    super();
    [this.upscaleFactor] = argumentReader<[number]>('PixelShuffle', 'upscaleFactor')(args);
    requireCount('PixelShuffle', 'upscaleFactor', this.upscaleFactor);
  }

  forward(x: Tensor): Tensor {
    return pixelShuffle(x, this.upscaleFactor);
  }

  override extraRepr(): string {
    return `upscale_factor=${this.upscaleFactor}`;
  }
}

/** `torch.nn.PixelUnshuffle`: the inverse of {@link PixelShuffle}. */
export class PixelUnshuffle extends Layer {
  readonly downscaleFactor: number;

  constructor(...args: Needed<[downscaleFactor: number], ['downscaleFactor']>) {
    super();
    [this.downscaleFactor] = argumentReader<[number]>('PixelUnshuffle', 'downscaleFactor')(args);
    requireCount('PixelUnshuffle', 'downscaleFactor', this.downscaleFactor);
  }

  forward(x: Tensor): Tensor {
    return pixelUnshuffle(x, this.downscaleFactor);
  }

  override extraRepr(): string {
    return `downscale_factor=${this.downscaleFactor}`;
  }
}

/** `torch.nn.ChannelShuffle`: the channels of all groups in turn. */
export class ChannelShuffle extends Layer {
  readonly groups: number;

  constructor(...args: Needed<[groups: number], ['groups']>) {
    super();
    [this.groups] = argumentReader<[number]>('ChannelShuffle', 'groups')(args);
    requireCount('ChannelShuffle', 'groups', this.groups);
  }

  forward(x: Tensor): Tensor {
    return channelShuffle(x, this.groups);
  }

  override extraRepr(): string {
    return `groups=${this.groups}`;
  }
}
