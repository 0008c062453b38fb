import { type Box, type ByteMeaning, intersection } from '../../kernels/images/packed.js';
import { byteMeaning } from '../../ops/images/byte-table.js';
import { checkOptions, noMore } from '../../tensor/options.js';
import { type DeferredImage, isRGBImage, type RGBImage } from '../host.js';
import { type Cut, fillColor } from '../pixels/boxes.js';
import type { Random } from '../random.js';
import { Normalize, ToTensor } from './arrays.js';
import { Transform } from './base.js';
import { CenterCrop, RandomCrop, RandomHorizontalFlip, RandomVerticalFlip } from './geometry.js';

/** What {@link OnDevice} can do. */
export type OnDeviceTransform =
  CenterCrop | RandomCrop | RandomHorizontalFlip | RandomVerticalFlip | ToTensor | Normalize;

export interface OnDeviceOptions {
  /** Of the batch. Default: float32. */
  readonly dtype?: 'float32' | 'float16';
}

const geometric: readonly unknown[] = [CenterCrop, RandomCrop, RandomHorizontalFlip, RandomVerticalFlip];

/** An image in the making: what is seen of it, and how. */
interface View {
  readonly window: Box;
  readonly box: Box;
  readonly mirrored: boolean;
  readonly upsideDown: boolean;
}

/** A cut out of a view; beyond the view as it was there is nothing of the image to see. */
function cutView({ window, box, mirrored, upsideDown }: View, by: Cut): View {
  const before = (side: 0 | 1): number => by.borders.reduce((sum, border) => sum + border[side], 0);
  const top = by.top - before(1);
  const left = by.left - before(0);
  const { height, width } = by;
  return {
    window: intersection(window, box),
    box: {
      top: box.top + (upsideDown ? box.height - top - height : top),
      left: box.left + (mirrored ? box.width - left - width : left),
      height,
      width,
    },
    mirrored,
    upsideDown,
  };
}

/**
 * The end of a pipeline, left to the device: images stay bytes until their batch is whole; then the batch is
 * uploaded, a quarter of the bytes, and one launch crops, mirrors and normalises all of it.
 *
 * ```ts
 * const tail = [new RandomCrop(224), new RandomHorizontalFlip(), new ToTensor(), new Normalize(mean, std)];
 * new Compose([new Resize(256), new OnDevice(tail)]);
 * ```
 *
 * Batches are those of `Compose([new Resize(256), ...tail])` bit for bit, with the same random numbers,
 * except that they are stored channels-last, as convolutions want them (`view` may need `reshape`). A sample
 * itself is a `DeferredImage`, not an array: put transforms that work on arrays before, or on the batch.
 *
 * @throws Error unless the transforms are CenterCrop, RandomCrop, RandomHorizontalFlip and RandomVerticalFlip
 * as often as you like, then ToTensor, then perhaps Normalize; unless borders are of one colour
 */
export class OnDevice extends Transform<RGBImage, DeferredImage> {
  private readonly moves: readonly OnDeviceTransform[];
  private readonly meaning: ByteMeaning;
  private readonly fill: readonly number[];

  constructor(
    readonly transforms: readonly OnDeviceTransform[],
    readonly options: OnDeviceOptions = {},
  ) {
    noMore(new.target.name, arguments, 2);
    super();
    checkOptions('OnDevice', options, 'dtype');
    const kindOf = (value: unknown): unknown => (value instanceof Transform ? value.constructor : value);
    const kinds = Array.isArray(transforms) ? transforms.map(kindOf) : [];
    const count = kinds.findIndex((kind) => !geometric.includes(kind));
    const [last, normalize, ...rest] = kinds.slice(count);
    const fits = last === ToTensor && rest.length === 0;
    if (count < 0 || !fits || (normalize !== undefined && normalize !== Normalize)) {
      const nameOf = (kind: unknown): string => (typeof kind === 'function' ? kind.name : String(kind));
      const got = Array.isArray(transforms)
        ? `[${kinds.map(nameOf).join(', ')}]`
        : nameOf(kindOf(transforms));
      throw new Error(
        `OnDevice: takes a list of crops and flips, then ToTensor, then perhaps Normalize, got ${got}; put other transforms before it`,
      );
    }
    this.moves = transforms.slice(0, count);
    const { mean, std } = (transforms[count + 1] as Normalize | undefined) ?? {
      mean: [0, 0, 0],
      std: [1, 1, 1],
    };
    this.meaning = byteMeaning('OnDevice', 3, mean, std, options.dtype ?? 'float32');
    this.fill = this.borderColor();
  }

  /** @internal */
  override get isDeferred(): boolean {
    return true;
  }

  override settings(): readonly unknown[] {
    return [this.transforms, this.options];
  }

  override forward(image: RGBImage, random: Random): DeferredImage {
    if (!isRGBImage(image))
      throw new TypeError('OnDevice: takes images; leave ToTensor and what follows to it');
    const { width, height, data } = image;
    const whole: Box = { top: 0, left: 0, height, width };
    let view: View = { window: whole, box: whole, mirrored: false, upsideDown: false };
    for (const move of this.moves) {
      if (move instanceof CenterCrop) view = cutView(view, move.cut(view.box));
      else if (move instanceof RandomCrop) view = cutView(view, move.cut(view.box, random));
      else if (!random.chance((move as RandomHorizontalFlip).p)) continue;
      else if (move instanceof RandomHorizontalFlip) view = { ...view, mirrored: !view.mirrored };
      else view = { ...view, upsideDown: !view.upsideDown };
    }
    return { placed: { data, width, fill: this.fill, ...view }, meaning: this.meaning };
  }

  private borderColor(): readonly number[] {
    const colors = this.moves.flatMap((move): (readonly number[])[] => {
      if (move instanceof CenterCrop) return [[0, 0, 0]];
      if (!(move instanceof RandomCrop)) return [];
      if (move.paddingMode !== 'constant')
        throw new Error(
          `OnDevice: RandomCrop's borders must be of one colour, not '${move.paddingMode}'; put it before OnDevice`,
        );
      return [fillColor('RandomCrop', move.fill)];
    });
    const [first = [0, 0, 0]] = colors;
    if (colors.some((color) => color.some((byte, channel) => byte !== first[channel])))
      throw new Error(
        `OnDevice: borders must be of one colour, got ${JSON.stringify(colors)} (CenterCrop's are black); put the first crop before OnDevice`,
      );
    return first;
  }
}
