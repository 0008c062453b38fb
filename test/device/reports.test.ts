/** A GPU error is reported once, where it is awaited, and what it spoiled is not used. */
import { afterEach, describe, expect, it, vi } from 'vitest';
import * as k from '../../src/index.js';
import { runtime } from '../../src/device/index.js';
import type { Kernel } from '../../src/kernels/base/kernel.js';
import { FaultyDevice, type FaultKind } from '../trust/faulty-device.js';

afterEach(() => k.close());

const faulty = async (kind: FaultKind, at: number): Promise<void> =>
  k.init({ wrapDevice: new FaultyDevice(kind, at).wrap });
const later = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 20));

describe('an error', () => {
  it.each<[FaultKind, number]>([
    ['allocation', 6],
    ['pipeline', 1],
    ['bind group', 2],
    ['submit', 1],
    ['map', 1],
  ])('of kind %s is reported by one await', async (kind, at) => {
    await faulty(kind, at);
    const work = (): Promise<number> => k.ones(4).sum().item();
    await expect(work()).rejects.toThrow();
    await later();
    await k.synchronize();
    expect(await work()).toBe(4);
  });

  it('of a shader that dispatch throws is not reported by the next await too', async () => {
    await k.init();
    const rt = runtime();
    const wgsl =
      '@group(0) @binding(0) var<storage, read_write> y: array<f32>; @compute @workgroup_size(1) fn main() { no }';
    const broken: Kernel = { name: 'broken', bindings: ['write'], params: [], wgsl };
    const y = rt.alloc(16, 'y');
    rt.dispatch(broken, [y], [], [1, 1, 1]);
    const again = (): void => rt.dispatch(broken, [y], [], [1, 1, 1]);
    // What is wrong with it is known a while after, on a busy machine a long one.
    await vi.waitFor(() => expect(again).toThrow(k.ShaderError), { timeout: 10_000 });
    // The first dispatch was in a batch that cannot run, which is another matter than the shader.
    await rt.synchronize().catch(() => undefined);
    await rt.synchronize();
  });

  it('rejects every read of work that was lost, not only the first', async () => {
    await faulty('submit', 1);
    const x = k.ones(4).mul(2);
    const results = await Promise.allSettled([x.data(), x.sum().item()]);
    expect(results.map(({ status }) => status)).toEqual(['rejected', 'rejected']);
  });

  it('does not leave packed weights behind that were never packed', async () => {
    await k.init();
    const want = await run();
    k.close();
    for (let at = 2; at <= 3; at++) {
      await faulty('submit', at);
      let got: unknown = null;
      for (let tries = 0; got === null && tries < 3; tries++) got = await run().catch(() => null);
      expect(got).toEqual(want);
      k.close();
    }
    async function run(): Promise<unknown> {
      k.manualSeed(1);
      const conv = new k.nn.Conv2d(2, 4, 3);
      const x = k.ones(1, 2, 6, 6);
      await k.synchronize();
      const once = (): Promise<unknown> => k.noGrad(() => conv(x)).toArray();
      await once().catch(() => undefined);
      return once();
    }
  });
});

describe('the advice of the out-of-memory error', () => {
  const budget = 8 * 1024 ** 2;
  const loop = async (rounds: number, wait: boolean): Promise<void> => {
    for (let i = 0; i < rounds; i++) {
      const y = k.ones(64 * 1024).mul(i);
      if (wait) await y.sum().item();
    }
  };

  it('is to await, where a loop does not', async () => {
    await k.init({ memoryBudget: budget });
    await expect(loop(200, false)).rejects.toThrow(
      /out of GPU memory.*await something in the loop.*await loss\.item\(\)/s,
    );
  });

  it('and it is true: the same loop runs when it awaits', async () => {
    await k.init({ memoryBudget: budget });
    await loop(200, true);
  });
});
