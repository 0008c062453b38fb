/** Many reads at once share staging buffers: drivers have only so many, and crash without a word past them. */
import { afterEach, describe, expect, it, vi } from 'vitest';
import * as k from '../../src/index.js';
import { runtime } from '../../src/device/index.js';
import { FaultyDevice, type FaultKind } from '../trust/faulty-device.js';

afterEach(() => k.close());

/** More than are ever on their way by themselves. */
const many = 100;

describe('many reads at once', () => {
  it('are all answered, where one staging buffer for each would crash the driver', async () => {
    await k.init();
    const count = 70_000;
    const x = k.arange(count);
    const reads = Array.from({ length: count }, (_, i) => x.narrow(0, i, 1).data());
    const values = await Promise.all(reads);
    expect(values.findIndex(([value], i) => value !== i)).toBe(-1);
  }, 60_000);

  it('share a few staging buffers', async () => {
    let made = 0;
    await k.init({
      wrapDevice: (device) => {
        const create = device.createBuffer.bind(device);
        vi.spyOn(device, 'createBuffer').mockImplementation((descriptor) => {
          if (descriptor.label === 'read') made++;
          return create(descriptor);
        });
        return device;
      },
    });
    const x = k.arange(5_000);
    await Promise.all(Array.from({ length: 5_000 }, (_, i) => x.narrow(0, i, 1).data()));
    expect(made).toBeGreaterThan(0);
    expect(made).toBeLessThan(40);
  });

  it('see what was there when each was asked for', async () => {
    await k.init();
    const x = k.zeros(3);
    const reads: Promise<unknown>[] = [];
    for (let i = 0; i < many; i++) {
      reads.push(x.toArray());
      k.noGrad(() => x.add_(1));
    }
    expect(await Promise.all(reads)).toEqual(Array.from({ length: many }, (_, i) => [i, i, i]));
  });

  it('of any size and offset bring the right elements', async () => {
    await k.init();
    const x = k.arange(300_000);
    const sizes = Array.from({ length: many }, (_, i) => (i % 7 === 0 ? 20_000 + i : 1 + i * 3));
    const values = await Promise.all(sizes.map((size, i) => x.narrow(0, i * 11, size).data()));
    expect(values.map((value) => [value.length, value[0], value.at(-1)])).toEqual(
      sizes.map((size, i) => [size, i * 11, i * 11 + size - 1]),
    );
  });

  it('bring what is wrong with a value to the first that waits for it', async () => {
    await k.init();
    const x = k.arange(10);
    const before = Array.from({ length: many }, () => x.data());
    const far = k.tensor([98], { dtype: 'int32' }).add(1);
    const wrong = x.indexSelect(0, far).data();
    const after = Array.from({ length: many }, () => x.data());
    await expect(wrong).rejects.toThrow(/index/);
    expect(
      (await Promise.allSettled([...before, ...after])).filter(({ status }) => status === 'rejected'),
    ).toEqual([]);
  });

  it.each<[FaultKind, number]>([
    ['map', 17],
    ['map throws', 17],
    ['readback', 17],
    ['submit', 17],
    ['allocation', 20],
    ['allocation throws', 20],
    ['lost at map', 17],
  ])('that fail (%s, call %i) all say so or are right, and the engine goes on', async (kind, at) => {
    const device = new FaultyDevice(kind, at);
    await k.init({ wrapDevice: device.wrap });
    const x = k.arange(many);
    const reads = Array.from({ length: many }, (_, i) => x.narrow(0, i, 1).item());
    const outcomes = await Promise.allSettled(reads);
    expect(device.fired).toBe(true);
    expect(outcomes.some(({ status }) => status === 'rejected')).toBe(true);
    for (const [i, outcome] of outcomes.entries()) {
      if (outcome.status === 'fulfilled') expect(outcome.value).toBe(i);
      else expect(outcome.reason).toBeInstanceOf(Error);
    }
    if (kind === 'lost at map') await k.init();
    expect(await Promise.all(Array.from({ length: many }, () => k.ones(4).sum().item()))).toEqual(
      Array.from({ length: many }, () => 4),
    );
  });
});

it('reads that wait for others are not given up with a commit that fails', async () => {
  await k.init();
  const x = k.arange(many);
  const parameter = k.ones(4).requiresGrad_();
  const optimizer = new k.optim.SGD([parameter], { lr: 0.1 });
  parameter.square().sum().backward();
  const reads = Array.from({ length: many }, (_, i) => x.narrow(0, i, 1).item());
  const dispatch = vi.spyOn(runtime(), 'dispatch').mockImplementation(() => {
    throw new Error('in the middle of it');
  });
  expect(() => optimizer.step()).toThrow('in the middle of it');
  dispatch.mockRestore();
  expect(await Promise.all(reads)).toEqual(Array.from({ length: many }, (_, i) => i));
});

it('a small memory budget leaves no room for staging buffers that are larger than what is read', async () => {
  await k.init({ memoryBudget: 300 * 1024 });
  const x = k.arange(many);
  const reads = Array.from({ length: many }, (_, i) => x.narrow(0, i, 1).item());
  expect(await k.ones(12_000).sum().item()).toBe(12_000);
  expect(await Promise.all(reads)).toEqual(Array.from({ length: many }, (_, i) => i));
});

it('when the device is closed, all that are pending say so', async () => {
  await k.init();
  const x = k.arange(many);
  const reads = Array.from({ length: many }, (_, i) => x.narrow(0, i, 1).item());
  k.close();
  const outcomes = await Promise.allSettled(reads);
  const messages = outcomes.map((outcome) => (outcome.status === 'rejected' ? String(outcome.reason) : ''));
  expect(new Set(messages.filter((message) => !message.includes('The device was closed')))).toEqual(
    new Set(),
  );
});
