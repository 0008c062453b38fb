import { beforeAll, describe, it } from 'vitest';
import * as k from '../../src/index.js';
import { upload } from '../rows.js';
import { evaluate, loadFamilies, type Case, type Golden } from './cases.js';

beforeAll(() => k.init());

/** Finite differences take two forward runs per element. */
const elementLimit = 40;

const cost = ({ row, golden }: { row: Case; golden: Golden }): number =>
  (row.grad ?? []).reduce((sum, name) => sum + golden.inputs.get(name)!.data.length, 0);

/** The largest case of an op that is small enough; undefined where there is nothing to differentiate. */
function choose(cases: readonly { row: Case; golden: Golden }[]): { row: Case; golden: Golden } | undefined {
  const candidates = cases
    .filter(
      ({ row, golden }) => row.grad !== undefined && !row.kink && golden.cotangents.some((c) => c !== null),
    )
    .sort((a, b) => cost(b) - cost(a));
  return candidates.find((candidate) => cost(candidate) <= elementLimit) ?? candidates[candidates.length - 1];
}

for (const family of loadFamilies()) {
  const chosenCases = [...family.ops].map(([op, cases]) => ({ op, chosen: choose(cases) }));
  if (chosenCases.every(({ chosen }) => chosen === undefined)) continue;
  describe(`${family.name}: tape against finite differences`, () => {
    for (const { op, chosen } of chosenCases) {
      if (chosen === undefined) continue;
      it(`${op} | ${chosen.row.name}`, async () => {
        const { row, golden } = chosen;
        const inputs = [...golden.inputs].map(([name, host]) => {
          const input = upload(host);
          return row.grad?.includes(name) ? input.requiresGrad_() : input;
        });
        const names = [...golden.inputs.keys()];
        await k.autograd.gradcheck((...args) => {
          const all = evaluate(row, Object.fromEntries(names.map((name, i) => [name, args[i]!])));
          return all.filter((_, i) => golden.cotangents[i]);
        }, inputs);
      });
    }
  });
}
