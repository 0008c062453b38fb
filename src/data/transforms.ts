/**
 * torchvision's image transforms on the host, pixel for pixel as it treats PIL images. A transform is an
 * object that can be called: `new Resize(256)(image)`. `Random...` transforms take their numbers from the
 * second argument, which `DataLoader` passes through the dataset.
 */
export { Normalize, RandomErasing, type RandomErasingOptions, ToTensor } from './transforms/arrays.js';
export {
  AutoAugment,
  type AutoAugmentPolicy,
  RandAugment,
  type RandAugmentOptions,
  TrivialAugmentWide,
} from './transforms/auto.js';
export { type Size, Transform, type TransformFunction } from './transforms/base.js';
export {
  ColorJitter,
  type ColorJitterOptions,
  GaussianBlur,
  Grayscale,
  RandomAdjustSharpness,
  RandomAutocontrast,
  RandomEqualize,
  RandomGrayscale,
  RandomInvert,
  RandomPosterize,
  RandomSolarize,
} from './transforms/colour.js';
export { Compose, Lambda, RandomApply, RandomChoice, RandomOrder } from './transforms/compose.js';
export {
  CenterCrop,
  Pad,
  type Padding,
  type PadOptions,
  RandomAffine,
  type RandomAffineOptions,
  RandomCrop,
  type RandomCropOptions,
  RandomHorizontalFlip,
  RandomResizedCrop,
  RandomRotation,
  RandomVerticalFlip,
  Resize,
  type WarpSettings,
} from './transforms/geometry.js';
export { OnDevice, type OnDeviceOptions, type OnDeviceTransform } from './transforms/on-device.js';
export {
  type Borders,
  centerCrop,
  crop,
  type Fill,
  horizontalFlip,
  pad,
  type PaddingMode,
  quarterTurns,
  verticalFlip,
} from './pixels/boxes.js';
export { gaussianBlur } from './pixels/blur.js';
export {
  adjustBrightness,
  adjustContrast,
  adjustHue,
  adjustSaturation,
  adjustSharpness,
  autocontrast,
  equalize,
  grayscale,
  invert,
  posterize,
  solarize,
} from './pixels/colour.js';
export { resizeImage, type ResizeFilter } from './pixels/resize.js';
export {
  affine,
  type AffineParameters,
  type Interpolation,
  rotate,
  type WarpOptions,
} from './pixels/warp.js';
