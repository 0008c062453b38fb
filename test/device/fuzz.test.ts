import { afterAll, beforeAll, expect, it } from 'vitest';
import { close, init, runtime, type DeviceBuffer } from '../../src/device/index.js';
import { addOne, affine } from './kernels.js';

beforeAll(() => init({ memoryBudget: 6 * 1024 ** 2 }));
afterAll(() => close());

/** Small, seeded, good enough to pick commands. */
function random(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

interface Pair {
  gpu: DeviceBuffer;
  host: Float32Array;
}

async function same({ gpu, host }: Pair): Promise<void> {
  const bytes = await runtime().read(gpu, 0, host.byteLength);
  expect(Buffer.compare(Buffer.from(bytes), Buffer.from(host.buffer))).toBe(0);
}

it.each([1, 2, 3])(
  'random commands leave what the same commands leave on the host (seed %i)',
  async (seed) => {
    const rt = runtime();
    const pick = random(seed);
    const live: Pair[] = [];
    const fill = (host: Float32Array) => host.fill(pick(100));
    const add = () => {
      // Sizes up to 1 MiB under a budget of 6 make the pool destroy buffers that the open batch uses.
      const host = fill(new Float32Array(64 << pick(13)));
      const gpu = rt.alloc(host.byteLength, 'fuzz');
      rt.write(gpu, 0, host);
      live.push({ gpu, host });
    };
    add();
    add();
    for (let i = 0; i < 600; i++) {
      const at = pick(live.length);
      const a = live[at]!;
      const b = live[(at + 1) % live.length]!;
      switch (pick(7)) {
        case 0:
          if (live.length < 5) add();
          break;
        case 1:
          if (live.length > 2) rt.free(live.splice(at, 1)[0]!.gpu);
          break;
        case 2:
          rt.dispatch(addOne, [a.gpu, b.gpu], [], [1, 1, 1]);
          for (let k = 0; k < 64; k++) b.host[k] = a.host[k]! + 1;
          break;
        case 3:
          rt.dispatch(affine, [a.gpu], [64, 3, 0.5], [1, 1, 1]);
          for (let k = 0; k < 64; k++) a.host[k] = a.host[k]! * 0.5 + 3;
          break;
        case 4:
          rt.copy(a.gpu, 0, b.gpu, 128, 128);
          b.host.set(a.host.subarray(0, 32), 32);
          break;
        case 5:
          rt.write(a.gpu, 0, fill(a.host.subarray(0, 32)));
          break;
        case 6:
          rt.clear(a.gpu, 64, 64);
          a.host.fill(0, 16, 32);
          break;
      }
      if (i % 97 === 0) await same(live[0]!);
    }
    for (const { gpu, host } of live) {
      expect(new Float32Array(await rt.read(gpu, 0, host.byteLength))).toEqual(host);
      rt.free(gpu);
    }
    expect(rt.memoryStats().liveBuffers).toBe(0);
    expect(rt.memoryStats().reservedBytes).toBeLessThanOrEqual(6 * 1024 ** 2);
  },
);
