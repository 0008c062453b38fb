import { stat } from 'node:fs/promises';
import { loadCIFAR10, ImageFolder, readImage } from '../data/node/index.js';
import {
  Random,
  transforms,
  type DeferredImage,
  type HostArray,
  type RGBImage,
  type TransformFunction,
} from '../data/index.js';
import type { LabelledImages } from './classes.js';
import { CliError } from './errors.js';
import type { CardInput } from './model-card.js';

const {
  CenterCrop,
  ColorJitter,
  Compose,
  Normalize,
  OnDevice,
  RandAugment,
  RandomCrop,
  RandomHorizontalFlip,
  RandomResizedCrop,
  Resize,
  ToTensor,
  TrivialAugmentWide,
} = transforms;

/** What is done to training images at random, other than in each epoch before. */
export const augmentations = ['none', 'flip-crop', 'color', 'randaugment', 'trivialaugment'] as const;
export type Augmentation = (typeof augmentations)[number];

export interface ImageOptions {
  /** Default `none`. */
  readonly augment?: Augmentation;
  /** What an image file that cannot be read does: ends the command (default), or is left out. */
  readonly onBadImage?: 'fail' | 'skip';
  /** Threads that read images. Default 0: this one. */
  readonly workers?: number;
  /** Takes dot files and what systems leave behind as classes and images, as kindling once did. */
  readonly keepStray?: boolean;
}

/**
 * Opens images by path: a file in CIFAR-10's binary format, or a folder with a folder of images for each
 * class. They come out resized, cropped and normalised as the model wants them.
 */
export async function openImages(
  path: string,
  recipe: CardInput,
  options: ImageOptions = {},
): Promise<LabelledImages> {
  const entry = await stat(path).catch((cause: NodeJS.ErrnoException) => {
    throw new CliError(`${path}: ${cause.code === 'ENOENT' ? 'no such file or folder' : cause.message}`, {
      cause,
    });
  });
  const { augment = 'none', workers = 0 } = options;
  if (entry.isDirectory()) return openFolder(path, recipe, options);
  if (!entry.isFile()) throw new CliError(`${path}: is neither a file nor a folder`);
  return { ...(await openCifar(path, recipe, augment)), workers };
}

async function openCifar(path: string, recipe: CardInput, augment: Augmentation): Promise<LabelledImages> {
  if (!path.toLowerCase().endsWith('.bin')) {
    throw new CliError(
      `${path}: is not a data file that is known here; give a .bin file in CIFAR-10's binary format, or a folder with one folder of images per class`,
    );
  }
  const { before, tail } = steps(recipe, augment);
  // A model for such images takes them as they are, whatever size it wants others resized to.
  const asTheyAre = recipe.size === 32 && (augment === 'none' || augment === 'flip-crop');
  const transform = deferred(asTheyAre ? [] : before, tail);
  const data = await loadCIFAR10(path, { transform });
  const labels = Int32Array.from({ length: data.length }, (_, i) => data.label(i));
  return {
    name: path,
    dataset: data,
    classes: data.classes,
    labels,
    describe: (index) => `${path}, image ${index}`,
    picture: (index) => Promise.resolve(data.image(index)),
  };
}

function openFolder(
  path: string,
  recipe: CardInput,
  { augment = 'none', onBadImage = 'fail', workers = 0, keepStray = false }: ImageOptions,
): LabelledImages {
  const { before, tail } = steps(recipe, augment);
  const folder = new ImageFolder(path, {
    transform: deferred(before, tail),
    onError: onBadImage === 'skip' ? 'skip' : 'throw',
    skipStray: !keepStray,
  });
  const { classes, samples } = folder;
  const pathOf = (index: number): string => samples[index]?.[0] ?? '';
  return {
    name: path,
    dataset: folder,
    workers,
    classes,
    labels: Int32Array.from(samples, ([, label]) => label),
    describe: pathOf,
    picture: (index) => readImage(pathOf(index)),
    stray: folder.stray,
    ...(onBadImage === 'skip' && {
      skipped: (index: number) => folder.skipped.get(pathOf(index)),
      skip: (index: number, reason: string) => void folder.skipped.set(pathOf(index), reason),
    }),
  };
}

/** What turns a picture into a model's input, without anything random. */
export function imageTransform(recipe: CardInput): (image: RGBImage) => HostArray<Float32Array> {
  const { before, tail } = steps(recipe, 'none');
  const transform = new Compose([...before, ...tail] as unknown as [
    Step,
    TransformFunction<RGBImage, HostArray<Float32Array>>,
  ]);
  return (image) => transform(image, new Random(0));
}

/** What comes after crop and mirror. */
const changes: Readonly<
  Record<Exclude<Augmentation, 'none'>, () => TransformFunction<RGBImage, RGBImage> | null>
> = {
  'flip-crop': () => null,
  color: () => new ColorJitter({ brightness: 0.4, contrast: 0.4, saturation: 0.4, hue: 0.1 }),
  randaugment: () => new RandAugment(),
  trivialaugment: () => new TrivialAugmentWide(),
};

type Step = TransformFunction<RGBImage, RGBImage>;

/** What is done to the pixels of a picture, and the end that the device can do for a batch at once. */
function steps(
  { resize, size, mean, std, interpolation }: CardInput,
  augment: Augmentation,
): { readonly before: readonly Step[]; readonly tail: readonly transforms.OnDeviceTransform[] } {
  const finish = [new ToTensor(), new Normalize(mean, std)] as const;
  const fit = new Resize(resize, interpolation);
  if (augment === 'none') return { before: [fit], tail: [new CenterCrop(size), ...finish] };
  const change = changes[augment]();
  // Small images lose too much in a crop of a tenth of their area.
  const crop =
    size <= 64
      ? { before: [fit], moves: [new CenterCrop(size), new RandomCrop(size, { padding: size / 8 })] }
      : { before: [new RandomResizedCrop(size)], moves: [] };
  const moves = [...crop.moves, new RandomHorizontalFlip()];
  return change === null
    ? { before: crop.before, tail: [...moves, ...finish] }
    : { before: [...crop.before, ...moves, change], tail: finish };
}

/** Leaves to the device what it does as the host would, bit for bit. */
function deferred(
  before: readonly Step[],
  tail: readonly transforms.OnDeviceTransform[],
): TransformFunction<RGBImage, DeferredImage> {
  return new Compose([...before, new OnDevice(tail)] as unknown as [
    Step,
    TransformFunction<RGBImage, DeferredImage>,
  ]);
}
