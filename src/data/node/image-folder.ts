import { readdirSync, statSync } from 'node:fs';
import { join, relative } from 'node:path';
import { checkIndex, type Dataset } from '../dataset.js';
import type { RGBImage } from '../host.js';
import { exportedClass, type ModuleExport } from '../portable.js';
import { Random } from '../random.js';
import type { TransformFunction } from '../transforms.js';
import { type ImageOptions, readImage } from './image.js';
import { checkOptions, noMore } from '../../tensor/options.js';

/** File name endings that count as images, torchvision's `IMG_EXTENSIONS`; upper and lower case are alike. */
export const imageExtensions: readonly string[] = [
  '.jpg',
  '.jpeg',
  '.png',
  '.ppm',
  '.bmp',
  '.pgm',
  '.tif',
  '.tiff',
  '.webp',
];

export interface ImageFolderOptions<Sample> extends ImageOptions {
  /**
   * Makes a sample of an image, e.g. `new Compose([new Resize(256), new CenterCrop(224), new ToTensor()])`.
   * Default: the image itself.
   */
  readonly transform?: TransformFunction<RGBImage, Sample>;
  /**
   * What a file that cannot be decoded does: `throw` (default), or `skip`: the sample is `null`, `DataLoader`
   * leaves it out of its batch, and `skipped` says why.
   */
  readonly onError?: 'throw' | 'skip';
  /** Accepts class folders without images: they keep their label. Default false, as in torchvision. */
  readonly allowEmpty?: boolean;
  /**
   * Leaves out what no person meant as a class or an image: names that begin with a dot
   * (`.ipynb_checkpoints`, `._1.jpg`), what systems leave behind (`__MACOSX`, `Thumbs.db`), and class folders
   * without images. `stray` names them. Default false, as in torchvision.
   */
  readonly skipStray?: boolean;
}

/** Names, without the dot files, that systems and tools leave beside images. */
const leftBehind = new Set(['__macosx', 'thumbs.db', 'desktop.ini', '$recycle.bin', '@eadir', '__pycache__']);

/** Whether no person meant a file or folder of this name as an image or a class. */
export const isStray = (name: string): boolean => name.startsWith('.') || leftBehind.has(name.toLowerCase());

/** What an `ImageFolder` found on disk. */
export interface ImageListing {
  readonly classes: readonly string[];
  readonly samples: readonly (readonly [path: string, label: number])[];
  readonly stray?: readonly string[];
}

/** Python's string order (by code point), which JavaScript's differs from outside the basic plane. */
function byCodePoint(a: string, b: string): number {
  const left = Array.from(a, (character) => character.codePointAt(0)!);
  const right = Array.from(b, (character) => character.codePointAt(0)!);
  for (let i = 0; i < Math.min(left.length, right.length); i++) {
    if (left[i] !== right[i]) return left[i]! - right[i]!;
  }
  return left.length - right.length;
}

const isImageName = (name: string): boolean =>
  imageExtensions.some((extension) => name.toLowerCase().endsWith(extension));

interface Listing {
  readonly folders: readonly string[];
  readonly files: readonly string[];
}

/**
 * Names in a folder, sorted, links followed. Entries that vanish or are broken links are left out.
 *
 * @param stray gets what is left out as such; nothing is without it
 */
function list(folder: string, stray?: Set<string>): Listing {
  const folders: string[] = [];
  const files: string[] = [];
  for (const name of readdirSync(folder).sort(byCodePoint)) {
    if (stray !== undefined && isStray(name)) {
      stray.add(join(folder, name));
      continue;
    }
    const entry = statSync(join(folder, name), { throwIfNoEntry: false });
    if (entry?.isDirectory()) folders.push(name);
    else if (entry?.isFile()) files.push(name);
  }
  return { folders, files };
}

/** All folders below and including `root`; `depth` ends a loop of links. */
function foldersBelow(root: string, stray: Set<string> | undefined, depth = 0): string[] {
  if (depth > 32) throw new Error(`ImageFolder: ${root}: folders are nested too deep (a link to itself?)`);
  const { folders } = list(root, stray);
  return [root, ...folders.flatMap((name) => foldersBelow(join(root, name), stray, depth + 1))];
}

/**
 * Images in one folder per class (torchvision's `ImageFolder`): `root/ants/1.jpg`, `root/bees/2.png`, ....
 * Classes are the sorted folder names; images are found at any depth, in torchvision's order. A sample is
 * `[transform(image), label]`.
 *
 * @throws Error when the folder is missing, holds fewer than two classes, or a class holds no images (unless
 * `allowEmpty`)
 */
export class ImageFolder<Sample = RGBImage> implements Dataset<[Sample, number] | null> {
  /** Class names, sorted; the label is the position. */
  readonly classes: readonly string[];
  /** Path and label of every image. */
  readonly samples: readonly (readonly [path: string, label: number])[];
  /** Files that could not be decoded so far, with the reason (only with `onError: 'skip'`). */
  readonly skipped = new Map<string, string>();
  /** Paths below `root` that were left out as nobody's class or image (only with `skipStray`). */
  readonly stray: readonly string[];
  private readonly transform: TransformFunction<RGBImage, Sample> | undefined;

  /**
   * @param listing what an earlier look at the folder found, to be taken as it is; worker threads get it, so
   * that all see the same files
   */
  constructor(
    readonly root: string,
    private readonly options: ImageFolderOptions<Sample> = {},
    listing?: ImageListing,
  ) {
    noMore(new.target.name, arguments, 3);
    checkOptions(
      'ImageFolder',
      options,
      'transform',
      'onError',
      'allowEmpty',
      'skipStray',
      'exifOrientation',
      'maxPixels',
    );
    this.transform = options.transform;
    if (listing !== undefined) {
      this.classes = listing.classes;
      this.samples = listing.samples;
      this.stray = listing.stray ?? [];
      return;
    }
    const stray = options.skipStray === true ? new Set<string>() : undefined;
    const imagesOf = (name: string): string[] =>
      foldersBelow(join(root, name), stray)
        .sort(byCodePoint)
        .flatMap((folder) => list(folder, stray).files.map((file) => join(folder, file)))
        .filter(isImageName);
    let found = findClasses(root, stray).map((name) => [name, imagesOf(name)] as const);
    if (
      stray !== undefined &&
      options.allowEmpty !== true &&
      found.filter(([, own]) => own.length > 0).length > 1
    ) {
      for (const [name, own] of found) if (own.length === 0) stray.add(join(root, name));
      found = found.filter(([, own]) => own.length > 0);
    }
    this.stray = [...(stray ?? [])].map((path) => relative(root, path)).sort(byCodePoint);
    this.classes = found.map(([name]) => name);
    this.samples = found.flatMap(([, own], label) => own.map((path) => [path, label] as const));
    const empty = found.filter(([, own]) => own.length === 0).map(([name]) => name);
    if (empty.length > 0 && (options.allowEmpty !== true || this.samples.length === 0)) {
      throw new Error(
        `ImageFolder: ${root}: no images for ${empty.length === 1 ? 'class' : 'classes'} ${empty.join(', ')}; ` +
          `put images there (${imageExtensions.join(' ')}), remove the folder, or pass { allowEmpty: true }`,
      );
    }
  }

  get length(): number {
    return this.samples.length;
  }

  source(): ModuleExport | undefined {
    return exportedClass(this, ImageFolder, import.meta.url, 'ImageFolder');
  }

  settings(): readonly unknown[] {
    return [this.root, this.options, { classes: this.classes, samples: this.samples, stray: this.stray }];
  }

  async get(index: number, random: Random = new Random(0, index)): Promise<[Sample, number] | null> {
    checkIndex('ImageFolder', index, this.length);
    const [path, label] = this.samples[index]!;
    let image: RGBImage;
    try {
      image = await readImage(path, this.options);
    } catch (cause) {
      const reason = cause instanceof Error ? cause.message : String(cause);
      // A missing decoder is no fault of the image.
      if (reason.includes('npm install sharp')) throw cause;
      if (this.options.onError !== 'skip') {
        throw new Error(`ImageFolder: ${reason}; replace or delete it, or pass { onError: 'skip' }`, {
          cause,
        });
      }
      this.skipped.set(path, reason);
      return null;
    }
    // Without a transform, Sample is RGBImage.
    const sample = this.transform === undefined ? (image as Sample) : this.transform(image, random);
    return [sample, label];
  }
}

function findClasses(root: string, stray: Set<string> | undefined): readonly string[] {
  const entry = statSync(root, { throwIfNoEntry: false });
  if (entry === undefined) throw new Error(`ImageFolder: ${root}: no such folder`);
  if (!entry.isDirectory())
    throw new Error(`ImageFolder: ${root} is a file; give the folder of class folders`);
  const { folders, files } = list(root, stray);
  const images = files.filter(isImageName).length;
  const loose = images > 0 ? ` (${images} images lie directly in it; sort them into class folders)` : '';
  const layout = `expected one folder per class, such as ${join(root, 'cats')} and ${join(root, 'dogs')}`;
  if (folders.length === 0) throw new Error(`ImageFolder: ${root} has no class folders${loose}; ${layout}`);
  if (folders.length === 1) {
    throw new Error(
      `ImageFolder: ${root} has only one class folder, ${folders[0]}${loose}; a classifier needs at least two: ${layout}` +
        `. If ${folders[0]} holds the class folders, give that folder`,
    );
  }
  return folders;
}
