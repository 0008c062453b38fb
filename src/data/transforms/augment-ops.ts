import type { RGBImage } from '../host.js';
import { roundHalfEven } from '../pixels/boxes.js';
import {
  adjustBrightness,
  adjustContrast,
  adjustSaturation,
  adjustSharpness,
  autocontrast,
  equalize,
  invert,
  posterize,
  solarize,
} from '../pixels/colour.js';
import { affine, rotate, type WarpOptions } from '../pixels/warp.js';

const { fround } = Math;

export type AugmentOp =
  | 'Identity'
  | 'ShearX'
  | 'ShearY'
  | 'TranslateX'
  | 'TranslateY'
  | 'Rotate'
  | 'Brightness'
  | 'Color'
  | 'Contrast'
  | 'Sharpness'
  | 'Posterize'
  | 'Solarize'
  | 'AutoContrast'
  | 'Equalize'
  | 'Invert';

const degrees = (radians: number): number => radians * (180 / Math.PI);

/**
 * torchvision's `_apply_op`. Angles are in degrees, shifts in pixels, enhancements are added to a factor of
 * 1.
 */
export function applyAugmentOp(
  image: RGBImage,
  op: AugmentOp,
  magnitude: number,
  options: WarpOptions,
): RGBImage {
  const slope = degrees(Math.atan(magnitude));
  const shift = Math.trunc(magnitude);
  switch (op) {
    case 'Identity':
      return image;
    case 'ShearX':
      return affine(image, { shear: [slope, 0] }, { ...options, center: [0, 0] });
    case 'ShearY':
      return affine(image, { shear: [0, slope] }, { ...options, center: [0, 0] });
    case 'TranslateX':
      return affine(image, { translate: [shift, 0] }, options);
    case 'TranslateY':
      return affine(image, { translate: [0, shift] }, options);
    case 'Rotate':
      return rotate(image, magnitude, options);
    case 'Brightness':
      return adjustBrightness(image, 1 + magnitude);
    case 'Color':
      return adjustSaturation(image, 1 + magnitude);
    case 'Contrast':
      return adjustContrast(image, 1 + magnitude);
    case 'Sharpness':
      return adjustSharpness(image, 1 + magnitude);
    case 'Posterize':
      return posterize(image, shift);
    case 'Solarize':
      return solarize(image, magnitude);
    case 'AutoContrast':
      return autocontrast(image);
    case 'Equalize':
      return equalize(image);
    case 'Invert':
      return invert(image);
  }
}

export interface Magnitudes {
  /** The magnitude in bin `i`; null where the op has none. */
  readonly at: ((bin: number) => number) | null;
  /** Whether a coin decides its sign. */
  readonly signed: boolean;
}

/**
 * `torch.linspace(from, to, bins)` in float32, within a unit in the last place (PyTorch's depends on its
 * vector width).
 */
const linear = (from: number, to: number, bins: number): ((bin: number) => number) => {
  const step = fround((fround(to) - from) / (bins - 1));
  return (bin) => fround(bin < bins / 2 ? from + step * bin : fround(to) - step * (bins - 1 - bin));
};

/** The strongest magnitudes and how many steps lead there. */
export interface SpaceLimits {
  readonly bins: number;
  readonly shear: number;
  readonly translateX: number;
  readonly translateY: number;
  readonly rotate: number;
  readonly enhance: number;
  /** How many of 8 bits posterizing takes at most. */
  readonly posterize: number;
}

/** The operations with their magnitudes, in torchvision's order. */
export function augmentationSpace(limits: SpaceLimits): Map<AugmentOp, Magnitudes> {
  const { bins } = limits;
  const upTo = (limit: number): Magnitudes => ({ at: linear(0, limit, bins), signed: true });
  const none: Magnitudes = { at: null, signed: false };
  return new Map<AugmentOp, Magnitudes>([
    ['Identity', none],
    ['ShearX', upTo(limits.shear)],
    ['ShearY', upTo(limits.shear)],
    ['TranslateX', upTo(limits.translateX)],
    ['TranslateY', upTo(limits.translateY)],
    ['Rotate', upTo(limits.rotate)],
    ['Brightness', upTo(limits.enhance)],
    ['Color', upTo(limits.enhance)],
    ['Contrast', upTo(limits.enhance)],
    ['Sharpness', upTo(limits.enhance)],
    [
      'Posterize',
      {
        at: (bin) => 8 - roundHalfEven(fround(bin / fround((bins - 1) / limits.posterize))),
        signed: false,
      },
    ],
    ['Solarize', { at: linear(255, 0, bins), signed: false }],
    ['AutoContrast', none],
    ['Equalize', none],
  ]);
}

/** The limits that RandAugment and AutoAugment share; shifts grow with the image. */
export const randAugmentLimits = (
  image: { readonly width: number; readonly height: number },
  bins: number,
): SpaceLimits => ({
  bins,
  shear: 0.3,
  translateX: (150 / 331) * image.width,
  translateY: (150 / 331) * image.height,
  rotate: 30,
  enhance: 0.9,
  posterize: 4,
});
