import type { DeferredImage, HostArray, RGBImage } from '../data/host.js';
import { Subset, type Dataset } from '../data/dataset.js';
import { exportedClass, type ModuleExport } from '../data/portable.js';
import type { Random } from '../data/random.js';
import { closeNames } from '../tensor/close-names.js';
import { CliError, UsageError } from './errors.js';

/** `[float32 [3, height, width], label]`; the image may be one that the device makes these numbers of. */
export type ImageSample = [HostArray<Float32Array> | DeferredImage, number];

/** Inputs of a classifier with their labels; null stands for an image that could not be read. */
export type Labelled = Dataset<ImageSample | null>;

/** What a classifier is trained or measured on: images, or the features of images. */
export interface Samples {
  readonly dataset: Labelled;
  /** The class of every sample. */
  readonly labels: Int32Array;
  /** Why sample `index` was left out, once it was tried; nothing is ever left out where this is missing. */
  readonly skipped?: (index: number) => string | undefined;
  /** Takes it from another rank that a sample could not be read; there with `skipped`. */
  readonly skip?: (index: number, reason: string) => void;
  /** Threads that make the samples; default 0. */
  readonly workers?: number;
}

/** Images with a class each, as the commands use them. */
export interface LabelledImages extends Samples {
  /** What messages call them: the path. */
  readonly name: string;
  readonly classes: readonly string[];
  /** The class of every image, as an index into `classes`. */
  readonly labels: Int32Array;
  /** What messages and reports call one image: its path, or its number in the file. */
  readonly describe: (index: number) => string;
  /** One image as it is stored, before it is resized and normalised. */
  readonly picture: (index: number) => Promise<RGBImage>;
  /** Paths below `name` that nobody meant as a class or an image, and that are left out. */
  readonly stray?: readonly string[];
}

/** New classes, each made of one or more of the data's. */
export type ClassMap = ReadonlyMap<string, readonly string[]>;

/** `bird,cat,dog`: keeps these classes, in this order. */
export function parseClasses(spec: string): ClassMap {
  return checked(
    '--classes',
    names(spec, '--classes').map((name) => [name, [name]] as const),
  );
}

/** `animal=bird,cat;vehicle=ship,truck`: new classes and what they are made of. */
export function parseMap(spec: string): ClassMap {
  const groups = spec.split(';').filter((part) => part.trim() !== '');
  return checked(
    '--map',
    groups.map((group) => {
      const [name = '', members, ...rest] = group.split('=');
      if (members === undefined || rest.length > 0 || name.trim() === '') {
        throw new UsageError(
          `--map: '${group.trim()}' is not of the form name=class,class; write --map 'animal=cat,dog;vehicle=car,ship'`,
        );
      }
      return [name.trim(), names(members, `--map ${name.trim()}`)] as const;
    }),
  );
}

function names(list: string, option: string): string[] {
  const items = list.split(',').map((name) => name.trim());
  if (items.some((name) => name === '')) {
    throw new UsageError(
      `${option}: '${list}' has an empty class name; write class names with commas between them`,
    );
  }
  return items;
}

function checked(option: string, entries: readonly (readonly [string, readonly string[]])[]): ClassMap {
  if (entries.length < 2)
    throw new UsageError(`${option}: give at least two classes, there is nothing to tell apart in one`);
  const seen = new Set<string>();
  for (const member of entries.flatMap(([, members]) => members)) {
    if (seen.has(member)) throw new UsageError(`${option}: class '${member}' is named twice`);
    seen.add(member);
  }
  const map = new Map(entries);
  if (map.size < entries.length) throw new UsageError(`${option}: two new classes have the same name`);
  return map;
}

/**
 * The images of the named classes, under the new labels; images of other classes are left out.
 *
 * @throws CliError when the data lack a named class
 */
export function applyClassMap(images: LabelledImages, map: ClassMap): LabelledImages {
  const classes = [...map.keys()];
  const newLabel = new Int32Array(images.classes.length).fill(-1);
  [...map.values()].forEach((members, label) => {
    for (const member of members) {
      const old = images.classes.indexOf(member);
      if (old < 0) {
        const close = closeNames(member, images.classes).map((name) => `'${name}'`);
        const hint = close.length > 0 ? ` (did you mean ${close.join(' or ')}?)` : '';
        throw new CliError(
          `${images.name}: there is no class '${member}'${hint}; there is ${shortList(images.classes)}`,
        );
      }
      newLabel[old] = label;
    }
  });
  return relabelled(images, newLabel, classes);
}

/**
 * Images under other labels.
 *
 * @param newLabel for each class its new label, or -1 to leave its images out
 */
export function relabelled(
  images: LabelledImages,
  newLabel: Int32Array,
  classes: readonly string[],
): LabelledImages {
  const kept: number[] = [];
  images.labels.forEach((label, i) => {
    if ((newLabel[label] ?? -1) >= 0) kept.push(i);
  });
  if (kept.length === 0) throw new CliError(`${images.name}: holds no image of the classes asked for`);
  const labels = Int32Array.from(kept, (i) => newLabel[images.labels[i] ?? 0] ?? 0);
  const chosen = selected(images, kept);
  return { ...chosen, classes, labels, dataset: new Relabelled(chosen.dataset, labels) };
}

/** Some of the images, in the given order. */
export function selected(images: LabelledImages, indices: readonly number[]): LabelledImages {
  const at = (index: number): number => indices[index] ?? 0;
  const { skipped, skip } = images;
  return {
    ...images,
    labels: Int32Array.from(indices, (i) => images.labels[i] ?? 0),
    dataset: new Subset(images.dataset, indices),
    describe: (index) => images.describe(at(index)),
    picture: (index) => images.picture(at(index)),
    ...(skipped && { skipped: (index: number) => skipped(at(index)) }),
    ...(skip && { skip: (index: number, reason: string) => skip(at(index), reason) }),
  };
}

/** The first `count` images. */
export function firstImages(images: LabelledImages, count: number): LabelledImages {
  if (count >= images.dataset.length) return images;
  return selected(
    images,
    Array.from({ length: count }, (_, i) => i),
  );
}

/** Images under other labels; worker threads make it again from its arguments. */
export class Relabelled implements Dataset<ImageSample | null> {
  readonly getBatch?: NonNullable<Labelled['getBatch']>;

  constructor(
    private readonly images: Labelled,
    private readonly labels: Int32Array,
  ) {
    const { getBatch } = images;
    if (getBatch !== undefined) {
      this.getBatch = async (indices, random) => {
        const [pixels] = await getBatch(indices, random);
        return [pixels, { data: Int32Array.from(indices, (i) => labels[i] ?? 0), shape: [indices.length] }];
      };
    }
  }

  source(): ModuleExport | undefined {
    return exportedClass(this, Relabelled, import.meta.url, 'Relabelled');
  }

  settings(): readonly unknown[] {
    return [this.images, this.labels];
  }

  get length(): number {
    return this.images.length;
  }

  async get(index: number, random?: Random): Promise<ImageSample | null> {
    const sample = await this.images.get(index, random);
    return sample === null ? null : [sample[0], this.labels[index] ?? 0];
  }
}

export function shortList(items: readonly string[], most = 12): string {
  return items.length <= most
    ? items.join(', ')
    : `${items.slice(0, most).join(', ')} and ${items.length - most} more`;
}
