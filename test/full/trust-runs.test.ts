/** Short slices of the scripts in test/trust/runs, which say how to run them for long. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { init } from '../../src/index.js';
import { fillDisks, fullOutputs } from '../trust/runs/disk-full.js';
import { killRuns } from '../trust/runs/kill.js';
import { disturb } from '../trust/runs/signals.js';
import { loops, risen, soak, type LoopName } from '../trust/runs/soak.js';

const folder = mkdtempSync(join(tmpdir(), 'kindling-runs-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
beforeAll(() => init());

it('kills leave a run that comes to the bits of an undisturbed one', { timeout: 600_000 }, async () => {
  const { kills, equal, failures } = await killRuns({
    folder: join(folder, 'kill'),
    kills: 9,
    seed: 7,
    lanes: 2,
  });
  expect(failures).toEqual([]);
  expect(equal).toBe(kills);
  expect(kills).toBeGreaterThanOrEqual(9);
});

it('signals end a command in order', { timeout: 600_000 }, async () => {
  const { problems, rows } = await disturb({ folder: join(folder, 'signals'), rounds: 1, seed: 7, lanes: 2 });
  expect(problems).toEqual([]);
  expect(rows.some(({ ended }) => ended > 0)).toBe(true);
});

it('a full disk loses nothing', { timeout: 600_000 }, async (context) => {
  const figures = await fillDisks({ folder: join(folder, 'disk'), seed: 7, sizes: 3 });
  if (figures === null) return context.skip('neither mount (root) nor prlimit works here');
  expect(figures.rows.flatMap(({ problems }) => problems)).toEqual([]);
  expect(figures.rows.every(({ failed }) => failed > 0)).toBe(true);
});

it('standard output on a full disk is an error', { timeout: 240_000 }, async () => {
  expect(await fullOutputs(join(folder, 'outputs'))).toEqual([]);
});

it.each(Object.keys(loops) as LoopName[])(
  'steps leave nothing behind: %s',
  { timeout: 600_000 },
  async (name) => {
    const { slopes } = await soak(name, 600);
    // Too short for what the system and V8 hold; what the engine counts is exact.
    const exact = risen(slopes).filter((measure) => !/resident|heap|pooled/.test(measure));
    expect({ exact, slopes }).toMatchObject({ exact: [] });
  },
);
