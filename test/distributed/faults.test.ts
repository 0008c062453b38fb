/** What goes wrong between ranks is said, with the rank, and nobody waits for ever. */
import { beforeAll, describe, expect, it } from 'vitest';
import { Random } from '../../src/data/index.js';
import { killOne, launchers, run, use, wordsOnKilled } from './mpi.js';

describe.each(launchers)('two ranks on $family, where', (launcher) => {
  beforeAll(() => {
    use(launcher);
  });

  it.each([
    ['shapes', /rank 0 .* calls allReduce of 3 float32 \(sum\), call 2, rank 1 .* allReduce of 4 float32/],
    ['absent', /rank 0 has waited 1 s in allReduce of 2 float32 .*: rank 1 .* went on after barrier/],
  ])('one goes wrong (%s) say so and end', async (what, message) => {
    const { code, text } = await run(2, 'faults.mjs', what);
    expect(text).toMatch(message);
    expect(code).not.toBe(0);
  });

  it('one is killed in the midst of training end within seconds, and name it', async () => {
    const { code, text, ms, pid } = await killOne(2, 1, 1000 + new Random(7).uniform(0, 500), 'sync');
    expect(ms).toBeLessThan(15_000);
    expect(text).toMatch(wordsOnKilled(1, pid));
    expect(code).not.toBe(0);
  });
});
