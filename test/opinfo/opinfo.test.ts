/**
 * PyTorch's own op database, run through kindling. A sample that is not right must stand in known-misses.json
 * with the reason; one that has become right must leave it.
 */
import { readFileSync } from 'node:fs';
import { beforeAll, describe, expect, it } from 'vitest';
import { init } from '../../src/index.js';
import { judge, lookUp } from './judge.js';
import { keyOf, loadEntries } from './samples.js';
import { full } from '../tooling/full.js';

const known = JSON.parse(readFileSync(new URL('known-misses.json', import.meta.url), 'utf8')) as Readonly<
  Record<string, string>
>;
const given = process.env['KINDLING_OPINFO'] !== undefined;

beforeAll(() => init());

/** `npm test` takes one sample of each entry, not always the first. */
const cases = loadEntries().map((entry, index) => {
  const all = entry.samples;
  return { key: keyOf(entry), entry, samples: full || given ? all : [all[index % all.length]!] };
});

describe("PyTorch's op database", () => {
  it.each(cases)('$key', async ({ key, entry, samples }) => {
    const misses: string[] = [];
    if (lookUp(entry.name) === null) misses.push('there is no such op');
    else
      for (const sample of samples) {
        try {
          await judge(entry, sample);
        } catch (error) {
          misses.push((error as Error).message);
        }
      }
    if (!(key in known)) expect(misses).toEqual([]);
    else if (full)
      expect(misses, `it is right now, and can leave known-misses.json: ${known[key]}`).not.toEqual([]);
  });
});
