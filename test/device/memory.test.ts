import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { close, init, OutOfMemoryError, runtime } from '../../src/device/index.js';
import { sizeClass } from '../../src/device/pool.js';
import { addOne } from './kernels.js';

const mebibyte = 1024 ** 2;

describe('size classes', () => {
  it('waste at most an eighth and are multiples of 16', () => {
    for (let bytes = 1; bytes < 1e9; bytes = Math.ceil(bytes * 1.01) + 1) {
      const size = sizeClass(bytes);
      expect(size).toBeGreaterThanOrEqual(bytes);
      expect(size % 16).toBe(0);
      expect(size - bytes).toBeLessThan(Math.max(16, bytes / 8));
      expect(sizeClass(size)).toBe(size);
    }
  });
});

describe('the pool', () => {
  beforeAll(() => init({ memoryBudget: 4 * mebibyte }));
  afterAll(() => close());

  it('hands a freed buffer to the next request of its class', () => {
    const rt = runtime();
    const a = rt.alloc(1000, 'a');
    rt.free(a);
    const b = rt.alloc(1001, 'b');
    expect(b.gpu).toBe(a.gpu);
    rt.free(b);
    expect(() => rt.free(b)).toThrow("'b' was freed before");
  });

  it('counts live, pooled and peak bytes', () => {
    const rt = runtime();
    const before = rt.memoryStats();
    rt.resetPeakMemory();
    const a = rt.alloc(mebibyte, 'big');
    const during = rt.memoryStats();
    expect(during.liveBytes).toBe(before.liveBytes + mebibyte);
    expect(during.largest[0]).toEqual({ label: 'big', bytes: mebibyte });
    rt.free(a);
    const after = rt.memoryStats();
    expect(after.liveBuffers).toBe(before.liveBuffers);
    expect(after.pooledBytes).toBe(before.pooledBytes + mebibyte);
    expect(after.peakBytes).toBe(during.liveBytes);
  });

  it('drops pooled buffers before it refuses', () => {
    const rt = runtime();
    rt.free(rt.alloc(2 * mebibyte, 'a'));
    rt.free(rt.alloc(3 * mebibyte, 'b'));
    expect(rt.memoryStats().reservedBytes).toBeLessThanOrEqual(4 * mebibyte);
  });

  it('names op, size and holders when out of memory, and goes on', async () => {
    const rt = runtime();
    const weights = rt.alloc(3 * mebibyte, 'fc.weight');
    const fail = () => rt.alloc(2 * mebibyte, 'conv2d');
    expect(fail).toThrow(OutOfMemoryError);
    expect(fail).toThrow(/conv2d: out of GPU memory: 2.0 MiB asked for.*fc\.weight 3.0 MiB/);
    rt.free(weights);
    const x = rt.alloc(256, 'x');
    const y = fail();
    rt.clear(x, 0, 256);
    rt.dispatch(addOne, [x, y], [], [1, 1, 1]);
    expect(new Float32Array(await rt.read(y, 0, 4))[0]).toBe(1);
    rt.free(x);
    rt.free(y);
  });

  it('destroys a buffer of the open batch only after its submit', async () => {
    const rt = runtime();
    const [x, y] = [rt.alloc(256, 'x'), rt.alloc(2 * mebibyte, 'y')];
    rt.clear(x, 0, 256);
    rt.dispatch(addOne, [x, y], [], [1, 1, 1]);
    rt.dispatch(addOne, [{ buffer: y, offset: 0, size: 256 }, x], [], [1, 1, 1]);
    rt.free(y);
    const z = rt.alloc(3 * mebibyte, 'z');
    expect(new Float32Array(await rt.read(x, 0, 4))[0]).toBe(2);
    rt.free(x);
    rt.free(z);
  });

  it('stays flat over a loop', async () => {
    const rt = runtime();
    const step = async () => {
      const [x, y] = [rt.alloc(4096, 'x'), rt.alloc(4096, 'y')];
      rt.clear(x, 0, 4096);
      rt.dispatch(addOne, [x, y], [], [1, 1, 1]);
      rt.free(x);
      await rt.read(y, 0, 4);
      rt.free(y);
    };
    await step();
    const before = rt.memoryStats();
    for (let i = 0; i < 10; i++) await step();
    expect(rt.memoryStats()).toEqual(before);
  });
});
