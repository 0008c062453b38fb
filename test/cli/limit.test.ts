/** `--limit`: every class in proportion. */
import { expect, it } from 'vitest';
import type { LabelledImages } from '../../src/cli/classes.js';
import { limited } from '../../src/cli/limit.js';

/** Images of classes a, b, ... with so many of each, in the order of folders. */
function images(...sizes: number[]): LabelledImages {
  const labels = Int32Array.from(sizes.flatMap((size, label) => new Array<number>(size).fill(label)));
  return {
    name: 'photos',
    classes: [...'abcdef'].slice(0, sizes.length),
    labels,
    dataset: { length: labels.length, get: () => Promise.resolve(null) },
    describe: String,
    picture: () => Promise.reject(new Error('none')),
  };
}

const counts = ({ labels, classes }: LabelledImages): number[] =>
  classes.map((_, label) => labels.filter((each) => each === label).length);
const names = ({ labels, describe }: LabelledImages): string[] => Array.from(labels, (_, i) => describe(i));

it.each([
  [[50, 30, 20], 10, [5, 3, 2]],
  [[98, 1, 1], 10, [8, 1, 1]],
  [[5, 5], 7, [4, 3]],
  [[7, 2, 2], 3, [1, 1, 1]],
  [[4, 0, 4], 2, [1, 0, 1]],
  [[3, 4], 7, [3, 4]],
  [[3, 4], 100, [3, 4]],
])('of %j images, --limit %i takes %j', (sizes, count, expected) => {
  expect(counts(limited(images(...sizes), count, 0))).toEqual(expected);
});

it('takes the same for the same seed, others for another, and keeps the order', () => {
  const [first, again, other] = [1, 1, 2].map((seed) => names(limited(images(40, 40), 12, seed)));
  expect(again).toEqual(first);
  expect(other).not.toEqual(first);
  expect(first!.map(Number)).toEqual(first!.map(Number).sort((a, b) => a - b));
});

it('takes of a class what a smaller limit takes, and more', () => {
  const [small, large] = [10, 20].map((count) => names(limited(images(40, 40), count, 3)));
  expect(large).toEqual(expect.arrayContaining(small!));
});

it('refuses to let a class vanish', () => {
  expect(() => limited(images(9, 9, 9), 2, 0)).toThrow(
    '--limit 2: photos has images of 3 classes (a, b, c), and some would have none left; give at least 3, or name fewer with --classes',
  );
});
