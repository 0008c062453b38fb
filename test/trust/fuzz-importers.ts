/**
 * The long run: `npx tsx test/trust/fuzz-importers.ts --mutants 2000000 --seed 1 --workers 2`. Prints a table
 * and exits with 1 if anything was found. `--show BATCH:INDEX` reads one mutant again, as small as it can be
 * made, and prints it.
 */

import fc from 'fast-check';
import { parseArgs } from 'node:util';
import { runCampaign, tableOf } from './campaign.js';
import { judge } from './judge.js';
import { batchOf, formatOf } from './worker.js';

const { values } = parseArgs({
  options: {
    mutants: { type: 'string', default: '2000000' },
    seed: { type: 'string', default: '1' },
    workers: { type: 'string', default: '2' },
    show: { type: 'string' },
  },
});
const seed = Number(values.seed);

if (values.show !== undefined) {
  const [batch = 0, index = 0] = values.show.split(':').map(Number);
  const format = formatOf(batch);
  const mutant = batchOf(seed, batch)[index]!;
  const findingOf = async (edits: typeof mutant.edits) =>
    (await judge(format.name, format.make({ ...mutant, edits }), mutant.base % 2 === 0)).finding;
  let { edits } = mutant;
  for (let i = 0; i < edits.length && edits.length > 1;) {
    const fewer = edits.filter((_, j) => j !== i);
    if ((await findingOf(fewer)) !== '') edits = fewer;
    else i++;
  }
  const bytes = format.make({ ...mutant, edits });
  console.log(`${format.name}: ${(await findingOf(edits)) || 'nothing wrong'}`);
  console.log(`base ${mutant.base}, edits ${fc.stringify(edits)}`);
  console.log(JSON.stringify(Buffer.from(bytes).toString('latin1')));
} else {
  let told = performance.now();
  const outcome = await runCampaign({
    seed,
    mutants: Number(values.mutants),
    workers: Number(values.workers),
    onProgress(done) {
      if (performance.now() - told < 30_000) return;
      told = performance.now();
      console.error(`${done} mutants`);
    },
  });
  console.log(tableOf(outcome));
  for (const { format, batch, index, problem } of outcome.findings.slice(0, 50))
    console.log(`${format}: --seed ${seed} --show ${batch}:${index}: ${problem}`);
  if (outcome.findings.length > 0) {
    console.log(`${outcome.findings.length} findings`);
    process.exitCode = 1;
  } else console.log('nothing found');
}
