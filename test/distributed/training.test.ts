/** Several ranks train as one process does with all of the batch. */
import { beforeAll, describe, expect, it } from 'vitest';
import { farthest, launchers, run, train, use, type TrainingResult } from './mpi.js';

const steps = '20';

describe.each(launchers)('two ranks on $family', (launcher) => {
  const alone = new Map<string, TrainingResult>();
  beforeAll(async () => {
    use(launcher);
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

  it('leave gradients alone of what none of them used, take static graphs, and halve bytes by hooks', async () => {
    const { code, text } = await run(2, 'data-parallel.mjs', 'unused', 'early', 'hooks', 'join', 'static');
    for (const rank of [0, 1]) expect(text).toContain(`rank ${rank} of 2 is done`);
    expect(code).toBe(0);
  });

  it('have every collective', async () => {
    const { code, text } = await run(2, 'collectives.mjs');
    expect(text).toContain('rank 0 of 2 is done');
    expect(text).toContain('rank 1 of 2 is done');
    expect(code).toBe(0);
  });
});
