/** A training on several ranks of which one is killed (kill -9) is said to be so by the others, and goes on. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Bundle } from '../../bench/process.js';
import { KillCampaign } from '../../bench/scaling/kill.js';
import { hasOpenMpi } from '../../bench/scaling/launch.js';
import { names } from '../../bench/scaling/tables.js';

describe.skipIf(!hasOpenMpi)('of two ranks', () => {
  let program: Bundle;
  let campaign: KillCampaign;
  beforeAll(async () => {
    program = await Bundle.of('scaling/resumable.ts');
    campaign = new KillCampaign({ program: program.file, ranks: 2, steps: 12, every: 4, limit: 15_000 });
  });
  afterAll(() => {
    campaign[Symbol.dispose]();
    program[Symbol.dispose]();
  });

  it.each([
    ['the first in the first checkpoint', { rank: 0, steps: 4, wait: 0 }, [0, 4]],
    ['the second between two', { rank: 1, steps: 6, wait: 20 }, [4, 8]],
  ])('%s: the other ends and names it, and the run goes on to the same bits', async (_, moment, from) => {
    const { pid, survivors, resumedFrom, same } = await campaign.killAt(moment);
    expect(survivors).toHaveLength(1);
    for (const { ms, said } of survivors) {
      expect(ms).toBeLessThan(15_000);
      expect(said.map((line) => names(line, moment.rank, pid))).toEqual([true]);
    }
    expect(from).toContain(resumedFrom);
    expect(same).toBe(true);
  });
});
