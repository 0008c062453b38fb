/** What goes wrong between ranks is said, with the rank, and nobody waits for ever. */
import { describe, expect, it } from 'vitest';
import { Random } from '../../src/data/index.js';
import { hasMpi, killOne, run } from './mpi.js';

describe.skipIf(!hasMpi)('two ranks, where', () => {
  it.each([
    ['shapes', /rank 0 .* calls allReduce of 3 float32 \(sum\), call 2, rank 1 .* allReduce of 4 float32/],
    ['absent', /rank 0 has waited 1 s in allReduce of 2 float32 .*: rank 1 .* went on after barrier/],
    ['killed', /rank 1 .* has ended, or its host cannot be reached any more; rank 0 cannot go on/],
  ])('one goes wrong (%s) say so and end', async (what, message) => {
    const { code, text } = await run(2, 'faults.mjs', what);
    expect(text).toMatch(message);
    expect(code).not.toBe(0);
  });

  it('one is killed in the midst of training end within seconds, and name it', async () => {
    const { code, text, ms, pid } = await killOne(2, 1, 1000 + new Random(7).uniform(0, 500), 'sync');
    expect(ms).toBeLessThan(15_000);
    expect(text).toMatch(new RegExp(`rank 1 \\(.*, process ${pid}\\) has ended`));
    expect(code).not.toBe(0);
  });
});
