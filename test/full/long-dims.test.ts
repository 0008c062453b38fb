/**
 * What one invocation does at most along a long dim on a GPU: where a loop grows with the dim, watchdogs end
 * it. Counted as for docs/hardware.md.
 */
import { beforeAll, describe, expect, it } from 'vitest';
import { launchFigures, type LaunchFigures } from '../../bench/hardware/record.js';
import { hardware } from '../../bench/hardware/table.js';
import { hardwareWorks } from '../../bench/hardware/works.js';
import * as k from '../../src/index.js';

beforeAll(() => k.init());

/** The launches that move at least a twentieth of what the work does. */
const heavy = (launches: readonly LaunchFigures[]): LaunchFigures[] => {
  const all = launches.reduce((sum, { storageBytes }) => sum + storageBytes, 0);
  return launches.filter(({ storageBytes }) => storageBytes >= all / 20);
};

/** [work, launches, serial steps of any of them, invocations of the heavy ones] */
it.each([
  ['cumsum of 1 Mi', 3, 64, 65_536],
  ['cummax over rows, 4096 x 300', 1, 64, 65_536],
  ['sort of 64 Ki', 8, 64, 16_384],
  ['scatterAdd of 1 Mi into 1 Ki', 5, 64, 32_768],
  ['scatterAdd of 1 Mi into 1 Mi', 14, 64, 65_536],
  ['embedding 1576 of 30000 x 768, backward', 6, 64, 65_536],
])('%s: at most %i launches, %i steps, with %i invocations', async (work, count, steps, invocations) => {
  const launches = await launchFigures(hardware, hardwareWorks[work]!);
  expect(launches.length).toBeLessThanOrEqual(count);
  for (const launch of launches) expect(launch.steps, launch.kernel).toBeLessThanOrEqual(steps);
  for (const launch of launches) expect(launch.workgroupBytes).toBeLessThanOrEqual(16384);
  for (const { kernel, workgroups, threads } of heavy(launches))
    expect(workgroups * threads, kernel).toBeGreaterThanOrEqual(invocations);
});

describe('one dim of four million', () => {
  const count = 1 << 22;
  const zeros = (dtype: 'float32' | 'int32' = 'float32'): k.Tensor => k.zeros([count], { dtype });
  const works: [string, () => () => unknown][] = [
    [
      'cumsum',
      () =>
        (
          (x) => () =>
            x.cumsum(0)
        )(zeros()),
    ],
    [
      'sort',
      () =>
        (
          (x) => () =>
            x.sort()
        )(zeros()),
    ],
    [
      'topk',
      () =>
        (
          (x) => () =>
            x.topk(8)
        )(zeros()),
    ],
    [
      'scatter',
      () =>
        (
          (x, i) => () =>
            x.scatter(0, i, x)
        )(zeros(), zeros('int32')),
    ],
    [
      'scatterAdd',
      () =>
        (
          (x, i) => () =>
            k.zeros([9]).scatterAdd(0, i, x)
        )(zeros(), zeros('int32')),
    ],
  ];
  it.each(works)('%s takes a few hundred steps of an invocation', async (_, prepare) => {
    const launches = await launchFigures(hardware, { leastBytes: 0, prepare: () => ({ run: prepare() }) });
    for (const launch of launches) expect(launch.steps, launch.kernel).toBeLessThanOrEqual(256);
    for (const { workgroupBytes } of launches) expect(workgroupBytes).toBeLessThanOrEqual(16384);
  });
});
