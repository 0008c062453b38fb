import { expect, it } from 'vitest';
import { runCampaign, tableOf } from '../trust/campaign.js';

/** Every run has other mutants; a finding names its seed. */
it('a minute of hostile files: none hangs, crashes, takes more memory than it may, or is refused without its name', async () => {
  const seed = Number(process.env['KINDLING_FUZZ_SEED'] ?? Math.floor(Date.now() / 86_400_000));
  const outcome = await runCampaign({ seed, mutants: 100_000_000, workers: 2, seconds: 60 });
  console.log(`seed ${seed}\n${tableOf(outcome)}`);
  expect(outcome.findings.map((finding) => ({ seed, ...finding }))).toEqual([]);
  for (const [format, { mutants }] of outcome.rows) expect(mutants, format).toBeGreaterThan(0);
});
