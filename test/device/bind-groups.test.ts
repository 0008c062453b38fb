/** Bind groups that are no longer kept wait for the garbage collector: there must not be too many. */
import { afterEach, expect, it } from 'vitest';
import * as k from '../../src/index.js';
import { runtime } from '../../src/device/index.js';
import { GroupGarbage } from '../../src/device/group-garbage.js';

afterEach(() => k.close());

const layout = {};
const make = (garbage: GroupGarbage, count: number): object[] =>
  Array.from({ length: count }, () => {
    const group = {};
    garbage.admit(layout, 'add');
    garbage.made(group, layout);
    return group;
  });

it('more than a software driver can take are refused, with what to do', () => {
  const garbage = new GroupGarbage();
  garbage.collect = () => undefined;
  const groups = make(garbage, 109 * 512);
  expect(() => make(garbage, 1)).toThrow(/add: 55808 bind groups.*Wait for the GPU in the loop/);
  expect(groups.length).toBe(109 * 512);
});

it('are not counted where there is no such driver, or no way to collect them', () => {
  const garbage = new GroupGarbage();
  expect(() => make(garbage, 60_000)).not.toThrow();
  expect(garbage.isDue).toBe(false);
});

it('are freed by a wait once thousands were given up', async (context) => {
  await k.init();
  const { garbage } = runtime();
  if (garbage.collect === null) return context.skip('only the software driver has the limit');
  make(garbage, 17_000);
  expect(garbage.isDue).toBe(true);
  await k.ones(2).sum().item();
  expect(garbage.isDue).toBe(false);
});

it('are freed while the script waits for something else', async (context) => {
  await k.init();
  const { garbage } = runtime();
  if (garbage.collect === null) return context.skip('only the software driver has the limit');
  for (let i = 0; i < 60; i++) {
    make(garbage, 1_000);
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  expect(garbage.isDue).toBe(false);
});

it('many reads at once ask for one collection', async (context) => {
  await k.init();
  const { garbage } = runtime();
  if (garbage.collect === null) return context.skip('only the software driver has the limit');
  let collections = 0;
  const { collect } = garbage;
  garbage.collect = () => {
    collections++;
    collect();
  };
  make(garbage, 17_000);
  const x = k.ones(2);
  await Promise.all(Array.from({ length: 200 }, () => x.data()));
  expect(collections).toBe(1);
});
