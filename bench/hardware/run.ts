/**
 * `npx tsx bench/hardware/run.ts [--only PATTERN] [--write]`: what kindling's kernels for GPUs do, counted on
 * whatever adapter is here; `--write` makes figures.json and the table of docs/hardware.md anew.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import * as k from '../../src/index.js';
import { launchFigures, type LaunchFigures } from './record.js';
import { figuresFile, figuresText, hardware, tableOf } from './table.js';
import { hardwareWorks } from './works.js';

const { values } = parseArgs({
  options: { only: { type: 'string', default: '' }, write: { type: 'boolean', default: false } },
});
if (values.write && values.only !== '') throw new Error('--write takes all works; leave --only out');

await k.init();
const figures: Record<string, LaunchFigures[]> = {};
for (const [name, work] of Object.entries(hardwareWorks)) {
  if (new RegExp(values.only).test(name)) figures[name] = await launchFigures(hardware, work);
}
k.close();

const table = tableOf(figures);
if (!values.write) {
  console.log(`${figuresText(figures)}\n${table}`);
} else {
  writeFileSync(figuresFile, figuresText(figures));
  const page = fileURLToPath(new URL('../../docs/hardware.md', import.meta.url));
  const text = readFileSync(page, 'utf8');
  const made = text.replace(/\| work \| launches[\s\S]*?\n(?!\|)/, `${table}\n`);
  if (!made.includes(table)) throw new Error('docs/hardware.md has no table to replace');
  writeFileSync(page, made);
}
