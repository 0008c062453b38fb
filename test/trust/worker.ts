/**
 * Reads mutants in a process of its own: `worker.ts SEED WORKER WORKERS MUTANTS NOTE`. Before each mutant its
 * number goes to the file NOTE, so that the parent knows which one a dead process was at; what was found goes
 * out as lines of JSON.
 */

import fc from 'fast-check';
import { openSync, writeSync } from 'node:fs';
import { countAllocations, judge } from './judge.js';
import { formats, mutants } from './mutants.js';

/** Mutants that one seed of the generator gives. */
export const batchSize = 500;

export interface Tally {
  mutants: number;
  accepted: number;
  refused: number;
  worstMs: number;
  worstBytes: number;
}

export interface Finding {
  readonly format: string;
  readonly batch: number;
  readonly index: number;
  readonly problem: string;
}

export type Report =
  | { readonly kind: 'batch'; readonly batch: number; readonly format: string; readonly tally: Tally }
  | { readonly kind: 'finding'; readonly finding: Finding };

/** The mutants of a batch. Batches of one format follow each other at a distance of the number of formats. */
export const batchOf = (seed: number, batch: number) =>
  fc.sample(mutants, { seed: (Math.imul(seed, 1_000_003) + batch) | 0, numRuns: batchSize });

export const formatOf = (batch: number) => formats[batch % formats.length]!;

async function main([seed, from, step, to, note, start = '0']: readonly string[]): Promise<void> {
  const file = openSync(note!, 'w');
  const place = Buffer.alloc(8);
  countAllocations();
  const say = (report: Report) => process.stdout.write(`${JSON.stringify(report)}\n`);
  for (let batch = Number(from); batch < Number(to); batch += Number(step)) {
    const format = formatOf(batch);
    const tally: Tally = { mutants: 0, accepted: 0, refused: 0, worstMs: 0, worstBytes: 0 };
    const first = batch === Number(from) ? Number(start) : 0;
    for (const [index, mutant] of batchOf(Number(seed), batch).entries()) {
      if (index < first) continue;
      place.writeUInt32LE(batch, 0);
      place.writeUInt32LE(index, 4);
      writeSync(file, place, 0, 8, 0);
      const verdict = await judge(format.name, format.make(mutant), mutant.base % 2 === 0);
      tally.mutants++;
      tally[verdict.outcome]++;
      // The first mutants compile the code.
      if (batch > Number(from)) tally.worstMs = Math.max(tally.worstMs, verdict.cpuMs);
      tally.worstBytes = Math.max(tally.worstBytes, verdict.memory);
      if (verdict.finding !== '')
        say({ kind: 'finding', finding: { format: format.name, batch, index, problem: verdict.finding } });
    }
    say({ kind: 'batch', batch, format: format.name, tally });
  }
}

if (process.argv[1]?.endsWith('worker.ts')) await main(process.argv.slice(2));
