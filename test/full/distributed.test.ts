/** More of test/distributed: four ranks, and more that goes wrong. */
import { beforeAll, describe, expect, it } from 'vitest';
import { Random } from '../../src/data/index.js';
import {
  farthest,
  killOne,
  launchers,
  run,
  train,
  use,
  wordsOnKilled,
  type TrainingResult,
} from '../distributed/mpi.js';

const steps = '20';

/** The other family runs test/distributed. */
const [first] = launchers;
const one = first === undefined ? [] : [first];

describe.each(one)('more ranks on $family', (launcher) => {
  const alone = new Map<string, TrainingResult>();
  beforeAll(async () => {
    use(launcher);
    for (const norm of ['group', 'sync']) alone.set(norm, (await train(1, steps, norm))[0] as TrainingResult);
  });

  it.each([
    [2, 'group', 'uneven'],
    [2, 'sync', 'even'],
    [4, 'group', 'even'],
    [4, 'group', 'uneven'],
    [4, 'sync', 'even'],
    [4, 'sync', 'uneven'],
  ])('%i with %s norm and %s parts have the losses of one process', async (ranks, norm, how) => {
    const all = await train(ranks, steps, norm, how);
    expect(all.length).toBe(ranks);
    for (const one of all) {
      expect(farthest(one, alone.get(norm) as TrainingResult)).toBeLessThan(1e-5);
      expect(one.bits).toBe(all[0]?.bits);
    }
  });

  it('may leave out a part of the network on one of them', async () => {
    const [only] = await train(1, steps, 'group', 'unused');
    const [first, second] = (await train(2, steps, 'group', 'unused')) as [TrainingResult, TrainingResult];
    expect(farthest(first, only as TrainingResult)).toBeLessThan(1e-5);
    expect(second.bits).toBe(first.bits);
  });

  it('with statistics of their own keep the same parameters', async () => {
    const [first, second] = (await train(2, steps, 'batch')) as [TrainingResult, TrainingResult];
    expect(second.bits).toBe(first.bits);
    expect(farthest(first, alone.get('sync') as TrainingResult)).toBeGreaterThan(1e-5);
  });

  it.each([2, 4])('%i have the weights of the plain optimizer with its state in shares', async (ranks) => {
    const { code, text } = await run(ranks, 'zero.mjs');
    for (let rank = 0; rank < ranks; rank++) expect(text).toContain(`rank ${rank} of ${ranks} is done`);
    expect(code).toBe(0);
  });

  it.each([2, 3])('%i have second derivatives through SyncBatchNorm', async (ranks) => {
    const { code, text } = await run(ranks, 'second-derivatives.mjs');
    for (let rank = 0; rank < ranks; rank++) expect(text).toContain(`rank ${rank} of ${ranks} is done`);
    expect(code).toBe(0);
  });

  it('4 have all that DistributedDataParallel offers', async () => {
    const { code, text } = await run(4, 'data-parallel.mjs', 'unused', 'early', 'hooks', 'join', 'static');
    for (let rank = 0; rank < 4; rank++) expect(text).toContain(`rank ${rank} of 4 is done`);
    expect(code).toBe(0);
  });

  it('have every collective', async () => {
    const { code, text } = await run(4, 'collectives.mjs');
    for (let rank = 0; rank < 4; rank++) expect(text).toContain(`rank ${rank} of 4 is done`);
    expect(code).toBe(0);
  });
});

describe.each(one)('two ranks on $family, where', (launcher) => {
  beforeAll(() => {
    use(launcher);
  });

  it.each([
    ['order', /rank 0 .* calls barrier, call 2, rank 1 .* allReduce of 2 float32 \(sum\), call 2/],
    ['leaves', /rank 1 .* has ended its part; rank 0 cannot go on/],
    ['throws', /rank 1: Error: a bad image/],
    ['unused', /gave no gradient to 'right\.weight', 'right\.bias'; freeze what is not used/],
    ['own', /rank 1 had nothing to give|rank 1: .*GPU validation error/],
  ])('one goes wrong (%s) say so and end', async (what, message) => {
    const { code, text } = await run(2, 'faults.mjs', what);
    expect(text).toMatch(message);
    expect(code).not.toBe(0);
  });

  it('any is killed at any time end within seconds, and name it', { timeout: 300_000 }, async () => {
    const random = new Random(11);
    for (let i = 0; i < 6; i++) {
      const ranks = i < 4 ? 2 : 4;
      const rank = random.integer(ranks);
      const norm = i % 2 === 0 ? 'group' : 'sync';
      const { code, text, ms, pid } = await killOne(ranks, rank, random.uniform(0, 3000), norm);
      expect(ms).toBeLessThan(20_000);
      expect(text).toMatch(wordsOnKilled(rank, pid));
      expect(code).not.toBe(0);
    }
  });
});
