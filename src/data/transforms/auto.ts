import type { RGBImage } from '../host.js';
import type { Fill } from '../pixels/boxes.js';
import type { Interpolation } from '../pixels/warp.js';
import type { Random } from '../random.js';
import {
  applyAugmentOp,
  type AugmentOp,
  augmentationSpace,
  type Magnitudes,
  randAugmentLimits,
  type SpaceLimits,
} from './augment-ops.js';
import { Transform } from './base.js';
import { type AutoAugmentPolicy, policies } from './policies.js';
import { checkOptions, noMore } from '../../tensor/options.js';

export type { AutoAugmentPolicy } from './policies.js';

function checkBins(what: string, bins: number): number {
  if (!Number.isInteger(bins) || bins < 2) {
    throw new RangeError(`${what}: numMagnitudeBins must be an integer of at least 2, got ${bins}`);
  }
  return bins;
}

export interface AugmentOptions {
  /** `nearest` unless told. */
  readonly interpolation?: Interpolation;
  /** Colour of what warps uncover. Black unless told. */
  readonly fill?: Fill;
}

export interface RandAugmentOptions extends AugmentOptions {
  /** Operations per image. Default 2. */
  readonly numOps?: number;
  /** Their strength: a bin in 0 ... numMagnitudeBins - 1. Default 9. */
  readonly magnitude?: number;
  /** Default 31. */
  readonly numMagnitudeBins?: number;
}

/** torchvision's `RandAugment` (Cubuk et al., 2019, arXiv:1909.13719): random operations of one strength. */
export class RandAugment extends Transform<RGBImage, RGBImage> {
  readonly numOps: number;
  readonly magnitude: number;
  readonly numMagnitudeBins: number;

  constructor(readonly options: RandAugmentOptions = {}) {
    noMore(new.target.name, arguments, 1);
    super();
    checkOptions('RandAugment', options, 'numOps', 'magnitude', 'numMagnitudeBins', 'interpolation', 'fill');
    this.numOps = options.numOps ?? 2;
    this.magnitude = options.magnitude ?? 9;
    this.numMagnitudeBins = checkBins('RandAugment', options.numMagnitudeBins ?? 31);
    if (!Number.isInteger(this.numOps) || this.numOps < 0) {
      throw new RangeError(`RandAugment: numOps must be a non-negative integer, got ${this.numOps}`);
    }
    if (!Number.isInteger(this.magnitude) || this.magnitude < 0 || this.magnitude >= this.numMagnitudeBins) {
      throw new RangeError(
        `RandAugment: magnitude must be an integer from 0 to ${this.numMagnitudeBins - 1}, got ${this.magnitude}`,
      );
    }
  }

  override settings(): readonly unknown[] {
    return [this.options];
  }

  override forward(image: RGBImage, random: Random): RGBImage {
    // torchvision takes the space from the image as it comes in.
    const space = [...augmentationSpace(randAugmentLimits(image, this.numMagnitudeBins))];
    let result = image;
    for (let i = 0; i < this.numOps; i++) {
      const [op, { at, signed }] = random.pick(space);
      const size = at?.(this.magnitude) ?? 0;
      result = applyAugmentOp(result, op, signed && random.chance(0.5) ? -size : size, this.options);
    }
    return result;
  }
}

/**
 * torchvision's `TrivialAugmentWide` (Mueller and Hutter, 2021, arXiv:2103.10158): one random operation of
 * random strength.
 */
export class TrivialAugmentWide extends Transform<RGBImage, RGBImage> {
  readonly numMagnitudeBins: number;
  private readonly space: readonly (readonly [AugmentOp, Magnitudes])[];

  constructor(readonly options: AugmentOptions & { readonly numMagnitudeBins?: number } = {}) {
    noMore(new.target.name, arguments, 1);
    super();
    checkOptions('TrivialAugmentWide', options, 'numMagnitudeBins', 'interpolation', 'fill');
    this.numMagnitudeBins = checkBins('TrivialAugmentWide', options.numMagnitudeBins ?? 31);
    this.space = [...augmentationSpace(TrivialAugmentWide.limits(this.numMagnitudeBins))];
  }

  /** How far the operations go. */
  static limits(bins: number): SpaceLimits {
    return {
      bins,
      shear: 0.99,
      translateX: 32,
      translateY: 32,
      rotate: 135,
      enhance: 0.99,
      posterize: 6,
    };
  }

  override settings(): readonly unknown[] {
    return [this.options];
  }

  override forward(image: RGBImage, random: Random): RGBImage {
    const [op, { at, signed }] = random.pick(this.space);
    const size = at === null ? 0 : at(random.integer(this.numMagnitudeBins));
    return applyAugmentOp(image, op, signed && random.chance(0.5) ? -size : size, this.options);
  }
}

/**
 * torchvision's `AutoAugment` (Cubuk et al., 2018, arXiv:1805.09501): one of the policies learned for a data
 * set.
 */
export class AutoAugment extends Transform<RGBImage, RGBImage> {
  constructor(
    readonly policy: AutoAugmentPolicy = 'imagenet',
    readonly options: AugmentOptions = {},
  ) {
    noMore(new.target.name, arguments, 2);
    super();
    checkOptions('AutoAugment', options, 'interpolation', 'fill');
    if (!(policy in policies)) {
      throw new Error(
        `AutoAugment: the policy must be one of ${Object.keys(policies).join(', ')}, got ${JSON.stringify(policy)}`,
      );
    }
  }

  override settings(): readonly unknown[] {
    return [this.policy, this.options];
  }

  override forward(image: RGBImage, random: Random): RGBImage {
    const space = augmentationSpace(randAugmentLimits(image, 10));
    let result = image;
    for (const [op, p, bin] of random.pick(policies[this.policy])) {
      const apply = random.float() <= p;
      const negative = random.chance(0.5);
      if (!apply) continue;
      const { at, signed } = space.get(op) ?? { at: null, signed: false };
      const size = bin === null ? 0 : (at?.(bin) ?? 0);
      result = applyAugmentOp(result, op, signed && negative ? -size : size, this.options);
    }
    return result;
  }
}
