import { Random } from '../data/random.js';
import { selected, shortList, type LabelledImages } from './classes.js';
import { CliError } from './errors.js';

/**
 * `--limit`: some of the images, every class in proportion and at least one of each, in their order. The same
 * seed takes the same ones, and what is taken of a class for a smaller limit is taken for a larger one too.
 *
 * @throws CliError when some class would have no image left
 */
export function limited(images: LabelledImages, count: number | null, seed: number): LabelledImages {
  if (count === null || count >= images.dataset.length) return images;
  const members = new Map<number, number[]>();
  images.labels.forEach((label, i) => {
    const own = members.get(label);
    if (own === undefined) members.set(label, [i]);
    else own.push(i);
  });
  const labels = [...members.keys()].sort((a, b) => a - b);
  if (count < labels.length) {
    const names = labels.map((label) => images.classes[label] ?? `class ${label}`);
    throw new CliError(
      `--limit ${count}: ${images.name} has images of ${labels.length} classes (${shortList(names)}), and some would have none left; ` +
        `give at least ${labels.length}, or name fewer with --classes`,
    );
  }
  const quotas = shares(
    labels.map((label) => members.get(label)?.length ?? 0),
    count,
  );
  const kept = labels.flatMap((label, at) => {
    const own = members.get(label) ?? [];
    const order = Array.from(new Random(seed, label).permutation(own.length));
    return order.slice(0, quotas[at]).map((place) => own[place] ?? 0);
  });
  return selected(
    images,
    kept.sort((a, b) => a - b),
  );
}

/**
 * Whole numbers in proportion to `sizes` with the sum `count`, at least 1 each: every class its share rounded
 * down, and one more to those that lost most by that.
 */
function shares(sizes: readonly number[], count: number): number[] {
  const whole = sizes.reduce((sum, size) => sum + size, 0);
  const exact = sizes.map((size) => (count * size) / whole);
  const quotas = exact.map((share) => Math.max(1, Math.floor(share)));
  const taken = (): number => quotas.reduce((sum, quota) => sum + quota, 0);
  /** The class that is furthest below its share, or above it. */
  const furthest = (sign: 1 | -1, may: (at: number) => boolean): number =>
    sizes
      .map((_, at) => at)
      .filter(may)
      .reduce((best, at) => {
        const lack = (i: number): number => sign * ((exact[i] ?? 0) - (quotas[i] ?? 0));
        return best < 0 || lack(at) > lack(best) ? at : best;
      }, -1);
  while (taken() < count) {
    const at = furthest(1, (i) => (quotas[i] ?? 0) < (sizes[i] ?? 0));
    quotas[at] = (quotas[at] ?? 0) + 1;
  }
  while (taken() > count) {
    const at = furthest(-1, (i) => (quotas[i] ?? 0) > 1);
    quotas[at] = (quotas[at] ?? 0) - 1;
  }
  return quotas;
}
