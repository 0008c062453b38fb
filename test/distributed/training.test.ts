/** Several ranks train as one process does with all of the batch. */
import { beforeAll, describe, expect, it } from 'vitest';
import { farthest, hasMpi, run, train, type TrainingResult } from './mpi.js';

const steps = '20';

describe.skipIf(!hasMpi)('two ranks', () => {
  const alone = new Map<string, TrainingResult>();
  beforeAll(async () => {
    for (const norm of ['group', 'sync']) alone.set(norm, (await train(1, steps, norm))[0] as TrainingResult);
  });

  it.each([
    ['group', 'even'],
    ['group', 'accumulate'],
    ['sync', 'uneven'],
  ])('with %s norm and %s parts have the losses of one process, and the same weights', async (norm, how) => {
    const [first, second] = (await train(2, steps, norm, how)) as [TrainingResult, TrainingResult];
    expect(farthest(first, alone.get(norm) as TrainingResult)).toBeLessThan(1e-5);
    expect(second.bits).toBe(first.bits);
    expect(second.losses).toEqual(first.losses);
  });

  it('have every collective', async () => {
    const { code, text } = await run(2, 'collectives.mjs');
    expect(text).toContain('rank 0 of 2 is done');
    expect(text).toContain('rank 1 of 2 is done');
    expect(code).toBe(0);
  });
});
