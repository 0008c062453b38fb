import { stat } from 'node:fs/promises';
import { loadCIFAR10, ImageFolder } from '../data/node/index.js';
import { transforms, type HostArray, type RGBImage, type TransformFunction } from '../data/index.js';
import type { ImageSample, LabelledImages } from './classes.js';
import { CliError } from './errors.js';
import type { InputRecipe } from './model.js';

const {
  CenterCrop,
  Compose,
  Normalize,
  RandomCrop,
  RandomHorizontalFlip,
  RandomResizedCrop,
  Resize,
  ToTensor,
} = transforms;

export interface ImageOptions {
  /** Random crops and mirror images, other ones in each epoch. */
  readonly augment?: boolean;
}

/**
 * Opens images by path: a file in CIFAR-10's binary format, or a folder with a folder of images for each class. They come
 * out resized, cropped and normalised as the model wants them.
 */
export async function openImages(
  path: string,
  recipe: InputRecipe,
  options: ImageOptions = {},
): Promise<LabelledImages> {
  const entry = await stat(path).catch((cause: NodeJS.ErrnoException) => {
    throw new CliError(`${path}: ${cause.code === 'ENOENT' ? 'no such file or folder' : cause.message}`, {
      cause,
    });
  });
  const augment = options.augment ?? false;
  if (entry.isDirectory()) return openFolder(path, recipe, augment);
  if (!entry.isFile()) throw new CliError(`${path}: is neither a file nor a folder`);
  return openCifar(path, recipe, augment);
}

async function openCifar(path: string, recipe: InputRecipe, augment: boolean): Promise<LabelledImages> {
  if (!path.toLowerCase().endsWith('.bin')) {
    throw new CliError(
      `${path}: is not a data file that is known here; give a .bin file in CIFAR-10's binary format, or a folder with one folder of images per class`,
    );
  }
  const { mean, std } = recipe;
  const data =
    recipe.size === 32
      ? await loadCIFAR10(path, {
          normalize: { mean, std },
          ...(augment ? { augment: { flip: true, padding: 4 } } : {}),
        })
      : await loadCIFAR10(path, { transform: pipeline(recipe, augment) });
  const labels = Int32Array.from({ length: data.length }, (_, i) => data.label(i));
  return { name: path, dataset: data, classes: data.classes, labels };
}

function openFolder(path: string, recipe: InputRecipe, augment: boolean): LabelledImages {
  const folder = new ImageFolder(path, { transform: pipeline(recipe, augment) });
  const { classes, samples, length } = folder;
  return {
    name: path,
    dataset: {
      length,
      get: async (index, random) => {
        try {
          // Without `onError: 'skip'` no sample is null.
          return (await folder.get(index, random)) as ImageSample;
        } catch (error) {
          if (!(
            error instanceof Error &&
            error.message.startsWith('ImageFolder:') &&
            error.cause instanceof Error
          ))
            throw error;
          // The cause names the file; what is around it speaks to programmers.
          throw new CliError(`${error.cause.message}; replace or delete it`, { cause: error });
        }
      },
    },
    classes,
    labels: Int32Array.from(samples, ([, label]) => label),
  };
}

function pipeline(
  { resize, size, mean, std }: InputRecipe,
  augment: boolean,
): TransformFunction<RGBImage, HostArray<Float32Array>> {
  const finish = [new ToTensor(), new Normalize(mean, std)] as const;
  if (!augment) return new Compose([new Resize(resize), new CenterCrop(size), ...finish]);
  // Small images lose too much in a crop of a tenth of their area.
  return size <= 64
    ? new Compose([
        new Resize(resize),
        new CenterCrop(size),
        new RandomCrop(size, { padding: size / 8 }),
        new RandomHorizontalFlip(),
        ...finish,
      ])
    : new Compose([new RandomResizedCrop(size), new RandomHorizontalFlip(), ...finish]);
}
