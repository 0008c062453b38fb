/**
 * Random programs on kindling against the reference interpreter, and with --torch against PyTorch too; see
 * differential.md.
 *
 *     npx tsx test/trust/differential.ts --programs 100000 --seed 1 [--torch]
 */
import { parseArgs } from 'node:util';
import { fileURLToPath } from 'node:url';
import { worst } from './programs/compare.js';
import type { Report } from './programs/campaign.js';
import type { Torch } from './programs/torch.js';

// Before the device is opened: the driver reads these when it is loaded. The same as in vitest.config.ts.
process.env['LP_NUM_THREADS'] ??= '8';
process.env['MESA_SHADER_CACHE_DIR'] ??= fileURLToPath(
  new URL('../../node_modules/.cache/mesa', import.meta.url),
);

const { close, init } = await import('../../src/index.js');
const { campaign, describe, engineCheck, smallest, torchCheck } = await import('./programs/campaign.js');
const { Engine } = await import('./programs/engine.js');
const { findTorch, Torch: TorchProcess } = await import('./programs/torch.js');

const { values } = parseArgs({
  options: {
    programs: { type: 'string', default: '10000' },
    seed: { type: 'string', default: '1' },
    torch: { type: 'boolean', default: false },
  },
});

const table = (counts: ReadonlyMap<string, number>): string =>
  [...counts]
    .sort((a, b) => b[1] - a[1])
    .map(([kind, n]) => `  ${String(n).padStart(7)}  ${kind}`)
    .join('\n');

const percent = (part: number, whole: number): string =>
  `${((100 * part) / Math.max(1, whole)).toFixed(1)} %`;

async function openTorch(): Promise<Torch | null> {
  if (!values.torch) return null;
  const python = findTorch();
  if (python === null) {
    console.log('PyTorch: skipped, no Python here can import torch (set KINDLING_PYTHON to one that can)');
    return null;
  }
  const torch = await TorchProcess.start(python);
  console.log(`PyTorch ${torch.version} (${python})`);
  return torch;
}

await init();
const engine = new Engine();
const torch = await openTorch();
let said = 0;
const progress = (report: Report): void => {
  if (report.seconds - said < 15) return;
  said = report.seconds;
  const rate = report.programs / report.seconds;
  console.log(
    `${report.programs} programs, ${rate.toFixed(0)} a second, kinds of mismatch: ${report.mismatches.size}`,
  );
};
const report = await campaign(engine, {
  programs: Number(values.programs),
  seed: Number(values.seed),
  torch,
  progress,
});

console.log(`
programs      ${report.programs} (${report.statements} statements) in ${report.seconds.toFixed(1)} s
refused       ${report.refused} (${percent(report.refused, report.programs)}), by the reference's rule:
${table(report.hazards)}
permitted     where PyTorch refuses and results are right:
${table(report.permitted)}
tolerance     the largest error took ${percent(worst, 1)} of it
mismatches    ${[...report.mismatches.values()].reduce((sum, { count }) => sum + count, 0)} in ${report.mismatches.size} kinds
PyTorch       ${torch === null ? 'not asked' : `${report.torchPrograms} programs, kinds of mismatch with the reference: ${report.torchMismatches.size}`}
last seeds    ${report.lastSeeds.join(' ')}`);

for (const finding of report.mismatches.values())
  console.log(`\n${describe(await smallest(finding, engineCheck(engine)))}`);
for (const finding of report.torchMismatches.values()) {
  const small = torch === null ? finding : await smallest(finding, torchCheck(torch));
  console.log(`\nPyTorch differs from the reference:\n${describe(small)}`);
}
torch?.stop();
close();
process.exitCode = report.mismatches.size + report.torchMismatches.size > 0 ? 1 : 0;
