/** What kernels do on a GPU that is not at hand (docs/hardware.md), counted and compared exactly. */
import { expect, it } from 'vitest';
import { launchFigures } from '../../bench/hardware/record.js';
import { hardware, readFigures, tableOf } from '../../bench/hardware/table.js';
import { hardwareWorks } from '../../bench/hardware/works.js';
import { readFileSync } from 'node:fs';
import * as k from '../../src/index.js';

await k.init();
/** Larger bindings need fewer launches. */
const asCounted = k.runtime().maxBinding === 2 ** 27;

it.skipIf(!asCounted).each(Object.keys(hardwareWorks))('%s', async (name) => {
  expect(await launchFigures(hardware, hardwareWorks[name]!)).toEqual(readFigures()[name]);
});

it('the table of docs/hardware.md is that of figures.json', () => {
  const page = readFileSync(new URL('../../docs/hardware.md', import.meta.url), 'utf8');
  expect(page).toContain(tableOf(readFigures()));
});
