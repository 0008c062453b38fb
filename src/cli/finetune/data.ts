import { createHash, type Hash } from 'node:crypto';
import { relative } from 'node:path';
import { stratifiedSplit } from '../../data/index.js';
import {
  applyClassMap,
  firstImages,
  relabelled,
  selected,
  shortList,
  type LabelledImages,
} from '../classes.js';
import type { Context } from '../context.js';
import { CliError } from '../errors.js';
import { openImages } from '../images.js';
import { limited } from '../limit.js';
import type { Plan } from './plan.js';

export interface TrainingData {
  readonly train: LabelledImages;
  readonly validation: LabelledImages | null;
}

/**
 * Opens what a plan trains on and is validated with.
 *
 * @param asBefore takes the images that a run began with before `--limit` chose by class and stray files were
 * left out
 * @throws CliError for data that cannot be used: missing, of one class only, with an empty class, or with
 * classes in the validation data that the training data do not have
 */
export async function openData(
  context: Context,
  plan: Plan,
  workers: number,
  { asBefore = false }: { readonly asBefore?: boolean } = {},
): Promise<TrainingData> {
  const { onBadImage, augment, limit, valSplit } = plan;
  const told = new Set<string>();
  const open = async (path: string, random: boolean): Promise<LabelledImages> => {
    const images = await openImages(path, plan.input, {
      augment: random ? augment : 'none',
      onBadImage,
      workers,
      keepStray: asBefore,
    });
    warnOfStray(context, images, told);
    return plan.classMap === null ? images : applyClassMap(images, new Map(plan.classMap));
  };
  const all = await open(plan.train, true);
  const cut = (images: LabelledImages): LabelledImages =>
    asBefore && limit !== null ? firstImages(images, limit) : limited(images, limit, plan.seed);
  if (valSplit !== null) {
    // The same images twice, as validation is never augmented.
    const plain = augment === 'none' ? all : await open(plan.train, false);
    const { train, val } = split(all, valSplit, plan.seed);
    return { train: cut(selected(all, train)), validation: selected(plain, val) };
  }
  const train = cut(all);
  warnOfUnseen(context, train);
  const validation = plan.val === null ? null : await open(plan.val, false);
  return { train, validation: validation === null ? null : underSameLabels(context, validation, train) };
}

/** Names what nobody meant as a class or an image, once for a folder. */
export function warnOfStray(
  { output }: Context,
  { name, stray = [] }: LabelledImages,
  told = new Set<string>(),
): void {
  if (stray.length === 0 || told.has(name)) return;
  told.add(name);
  output.warn(`${name}: left out, as no class or image: ${shortList(stray)}`);
}

/** Classes of a file of which it has no image. */
function warnOfUnseen({ output }: Context, train: LabelledImages): void {
  const seen = new Set(train.labels);
  const unseen = train.classes.filter((_, label) => !seen.has(label));
  if (unseen.length === 0) return;
  output.warn(
    `${train.name} has no image of ${shortList(unseen)}; these are never learned. Name the others with --classes`,
  );
}

function split(images: LabelledImages, fraction: number, seed: number): { train: number[]; val: number[] } {
  try {
    return stratifiedSplit(images.labels, fraction, seed);
  } catch (cause) {
    const counts = new Map<number, number>();
    for (const label of images.labels) counts.set(label, (counts.get(label) ?? 0) + 1);
    const single = images.classes.find((_, label) => (counts.get(label) ?? 0) < 2);
    if (single === undefined) throw cause;
    throw new CliError(
      `--val-split: class '${single}' of ${images.name} has a single image, which cannot be in both halves; add images or leave the class out with --classes`,
      { cause },
    );
  }
}

/** Validation images under the training data's labels, which go by name. */
function underSameLabels(
  context: Context,
  validation: LabelledImages,
  train: LabelledImages,
): LabelledImages {
  const unknown = validation.classes.filter((name) => !train.classes.includes(name));
  if (unknown.length > 0) {
    throw new CliError(
      `${validation.name}: has classes that ${train.name} lacks: ${shortList(unknown)} (it has ${shortList(train.classes)})`,
    );
  }
  const missing = train.classes.filter((name) => !validation.classes.includes(name));
  if (missing.length > 0)
    context.output.warn(`${validation.name}: no images of ${shortList(missing)}, so these are not validated`);
  const labels = Int32Array.from(validation.classes, (name) => train.classes.indexOf(name));
  const same = validation.classes.every((_, i) => labels[i] === i);
  return same ? { ...validation, classes: train.classes } : relabelled(validation, labels, train.classes);
}

/**
 * Changes when images are added, removed, renamed or sorted into other classes; their contents are not read.
 */
export function digestOf(plan: Plan, { train, validation }: TrainingData): string {
  const hash = createHash('sha256');
  addTo(hash, train, plan.train);
  if (validation !== null) addTo(hash, validation, plan.val ?? plan.train);
  return hash.digest('hex').slice(0, 16);
}

/** The same of one set of images. */
export function digestOfImages(images: LabelledImages, root: string): string {
  const hash = createHash('sha256');
  addTo(hash, images, root);
  return hash.digest('hex').slice(0, 16);
}

function addTo(hash: Hash, images: LabelledImages, root: string): void {
  images.labels.forEach((label, i) =>
    hash.update(`${relative(root, images.describe(i))}\0${images.classes[label]}\n`),
  );
  hash.update('\n');
}

/** Why images were left out so far, one reason for each. */
export function skippedImages(sets: readonly (LabelledImages | null)[]): string[] {
  const reasons = new Set<string>();
  for (const images of sets) {
    if (images?.skipped === undefined) continue;
    for (let i = 0; i < images.labels.length; i++) {
      const reason = images.skipped(i);
      if (reason !== undefined) reasons.add(reason);
    }
  }
  return [...reasons];
}

/** Says how many images were left out, and then which. */
export function warnSkipped({ output }: Context, reasons: readonly string[]): void {
  if (reasons.length === 0) return;
  output.warn(`${reasons.length} image${reasons.length === 1 ? ' was' : 's were'} left out:`);
  for (const reason of reasons) output.warn(`  ${reason}`);
}
