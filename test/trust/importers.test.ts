import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { judge } from './judge.js';
import { formats, mutants } from './mutants.js';

const seed = Number(process.env['KINDLING_FUZZ_SEED'] ?? 20);

/**
 * A few seconds' worth; `test/full/trust-importers.test.ts` has a minute, and `fuzz-importers.ts` the long
 * run. The process is shared with other tests, so that time and memory are only watched roughly here.
 */
describe('a weight file with something wrong in it is read or refused by name', () => {
  it.each(formats)('$name', async (format) => {
    await fc.assert(
      fc.asyncProperty(mutants, async (mutant) => {
        const { finding } = await judge(format.name, format.make(mutant), mutant.base % 2 === 0);
        expect(finding.startsWith('took') ? '' : finding).toBe('');
      }),
      { seed, numRuns: 150 },
    );
  });

  it('the mutants are the same each time, and of both kinds', async () => {
    for (const format of formats) {
      const made = () => fc.sample(mutants, { seed, numRuns: 100 }).map((mutant) => format.make(mutant));
      expect(made()).toEqual(made());
      const outcomes = new Set<string>();
      for (const bytes of made()) outcomes.add((await judge(format.name, bytes, false)).outcome);
      expect([...outcomes].sort(), format.name).toEqual(['accepted', 'refused']);
    }
  });
});
