/** What `eval` and the report of `finetune` say of each class. */
import { beforeAll, expect, it } from 'vitest';
import { scoresOf } from '../../src/cli/finetune/scores.js';
import * as k from '../../src/index.js';

beforeAll(() => k.init());

it('has the shares of each class, and none of what there is no image of', async () => {
  // Of d there is neither an image nor a prediction; the last image was left out.
  const { matrix, perClass } = await scoresOf(['a', 'b', 'c', 'd'], [0, 0, 0, 1, 1, 1], [0, 0, 1, 2, 1, -1]);
  expect(matrix).toEqual([
    [2, 1, 0, 0],
    [0, 1, 1, 0],
    [0, 0, 0, 0],
    [0, 0, 0, 0],
  ]);
  expect(perClass).toEqual([
    { name: 'a', images: 3, precision: 1, recall: 2 / 3, f1: 4 / 5 },
    { name: 'b', images: 2, precision: 1 / 2, recall: 1 / 2, f1: 1 / 2 },
    { name: 'c', images: 0, precision: 0, recall: null, f1: null },
    { name: 'd', images: 0, precision: null, recall: null, f1: null },
  ]);
});

it('leaves no memory behind', async () => {
  const live = (): number => k.memoryStats().requestedBytes;
  const before = live();
  await scoresOf(['a', 'b'], [0, 1], [0, 0]);
  expect(live()).toBe(before);
});
