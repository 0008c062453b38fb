import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { close, init, runtime } from '../../src/device/index.js';
import type { Kernel } from '../../src/kernels/base/kernel.js';
import { addOne, affine } from './kernels.js';

const ones = new Float32Array(64).fill(1);

/** Uploads `values`, runs `fn` on the buffer and returns what is in it then. */
async function run(values: Float32Array, fn: (y: ReturnType<typeof upload>) => void): Promise<number[]> {
  const y = upload(values);
  fn(y);
  const result = await runtime().read(y, 0, values.byteLength);
  runtime().free(y);
  return [...new Float32Array(result)];
}

function upload(values: Float32Array) {
  const buffer = runtime().alloc(values.byteLength, 'test');
  runtime().write(buffer, 0, values);
  return buffer;
}

describe.each([{ immediates: true }, { immediates: false }])(
  'parameters, immediates $immediates',
  ({ immediates }) => {
    beforeAll(() => init(immediates ? {} : { disable: ['immediates'] }));
    afterAll(() => close());

    it('reach the kernel as u32, i32 and f32', async () => {
      const y = await run(ones, (y) => runtime().dispatch(affine, [y], [64, -3, 0.5], [1, 1, 1]));
      expect(y).toEqual(new Array(64).fill(-2.5));
    });

    it('belong to their own dispatch, over several batches', async () => {
      const y = await run(ones, (y) => {
        for (let i = 0; i < 600; i++) runtime().dispatch(affine, [y], [64, i % 7, 0.5], [1, 1, 1]);
      });
      let expected = 1;
      for (let i = 0; i < 600; i++) expected = Math.fround(expected * 0.5 + (i % 7));
      expect(y[0]).toBeCloseTo(expected, 4);
    });

    it('may take more than 64 bytes', async () => {
      const wide: Kernel = {
        name: 'wide',
        bindings: ['write'],
        params: Array.from({ length: 20 }, (_, i) => [`a${i}`, 'f32'] as const),
        wgsl: `
@group(0) @binding(0) var<storage, read_write> y: array<f32>;
@compute @workgroup_size(1) fn main() { y[0] = ${Array.from({ length: 20 }, (_, i) => `p.a${i}`).join(' + ')}; }`,
      };
      const values = Array.from({ length: 20 }, (_, i) => i);
      const y = await run(ones, (y) => runtime().dispatch(wide, [y], values, [1, 1, 1]));
      expect(y[0]).toBe(190);
    });
  },
);

describe('dispatch', () => {
  beforeAll(() => init());
  afterAll(() => close());

  it('sees writes in the order of the calls', async () => {
    const rt = runtime();
    const [x, y] = [upload(ones), upload(ones)];
    rt.dispatch(addOne, [x, y], [], [1, 1, 1]);
    rt.write(x, 0, new Float32Array(64).fill(10));
    const first = rt.read(y, 0, 4);
    rt.dispatch(addOne, [x, y], [], [1, 1, 1]);
    const second = rt.read(y, 0, 4);
    expect(new Float32Array(await first)[0]).toBe(2);
    expect(new Float32Array(await second)[0]).toBe(11);
    rt.free(x);
    rt.free(y);
  });

  it('binds ranges', async () => {
    const rt = runtime();
    const x = upload(Float32Array.from({ length: 128 }, (_, i) => i));
    const y = upload(ones);
    rt.dispatch(addOne, [{ buffer: x, offset: 256, size: 256 }, y], [], [1, 1, 1]);
    expect(new Float32Array(await rt.read(y, 0, 256))[63]).toBe(128);
    rt.free(x);
    rt.free(y);
  });

  it('does nothing for an empty grid', async () => {
    const y = await run(ones, (y) => runtime().dispatch(affine, [y], [64, 1, 1], [0, 1, 1]));
    expect(y[0]).toBe(1);
  });

  it('counts by kernel name', async () => {
    const rt = runtime();
    rt.resetOpCounts();
    await run(ones, (y) => {
      rt.dispatch(affine, [y], [64, 1, 1], [1, 1, 1]);
      rt.dispatch(affine, [y], [64, 1, 1], [1, 1, 1]);
    });
    expect([...rt.opCounts()]).toEqual([['affine', 2]]);
  });

  it('counts a pipeline once, however often and under whatever name its shader runs', async () => {
    const rt = runtime();
    await run(ones, (y) => rt.dispatch(affine, [y], [64, 1, 1], [1, 1, 1]));
    const before = rt.pipelineCount();
    const [again, other] = [
      { ...affine, name: 'affineAgain' },
      { ...affine, wgsl: `${affine.wgsl}\n// another text` },
    ];
    await run(ones, (y) => rt.dispatch(again, [y], [64, 1, 1], [1, 1, 1]));
    expect(rt.pipelineCount()).toBe(before);
    await run(ones, (y) => rt.dispatch(other, [y], [64, 1, 1], [1, 1, 1]));
    expect(rt.pipelineCount()).toBe(before + 1);
  });

  it('refuses wrong calls, naming the kernel', () => {
    const rt = runtime();
    const [x, y] = [upload(ones), upload(ones)];
    const go = (...args: Parameters<typeof rt.dispatch>) => expect(() => rt.dispatch(...args));
    go(addOne, [x], [], [1, 1, 1]).toThrow('addOne: 1 buffers given, the kernel binds 2');
    go(affine, [y], [64], [1, 1, 1]).toThrow('affine: 1 params given, the kernel takes 3 (n, add, scale)');
    go(affine, [y], [-1, 0, 0], [1, 1, 1]).toThrow("affine: param 'n' is -1, which is no u32");
    go(addOne, [x, y], [], [70000, 1, 1]).toThrow('addOne: grid [70000, 1, 1] is invalid');
    go(addOne, [x, x], [], [1, 1, 1]).toThrow("addOne: buffer 'test' is bound twice (bindings 0 and 1)");
    go(addOne, [{ buffer: x, offset: 4, size: 64 }, y], [], [1, 1, 1]).toThrow(
      'offset 4 is not a multiple of',
    );
    rt.free(x);
    go(addOne, [x, y], [], [1, 1, 1]).toThrow("addOne: binding 0 ('test') is a freed buffer");
    rt.free(y);
  });
});

describe('a buffer larger than a binding', () => {
  beforeAll(() => init());
  afterAll(() => close());

  it('must be bound by ranges', async () => {
    const rt = runtime();
    if (rt.limits.maxBufferSize <= rt.maxBinding) return;
    const big = rt.alloc(rt.maxBinding + 16, 'fc.weight');
    const y = upload(ones);
    expect(() => rt.dispatch(addOne, [big, y], [], [1, 1, 1])).toThrow(
      /addOne: binding 0 \('fc\.weight', .*\) binds .*: bind ranges of it and loop/,
    );
    rt.dispatch(addOne, [{ buffer: big, offset: 0, size: 256 }, y], [], [1, 1, 1]);
    await rt.synchronize();
    rt.free(big);
    rt.free(y);
  });
});

describe('bytes', () => {
  beforeAll(() => init());
  afterAll(() => close());

  it('need not fill whole words', async () => {
    const rt = runtime();
    const buffer = rt.alloc(7, 'bytes');
    rt.write(buffer, 0, Uint8Array.of(1, 2, 3, 4, 5, 6, 7));
    expect([...new Uint8Array(await rt.read(buffer, 0, 7))]).toEqual([1, 2, 3, 4, 5, 6, 7]);
    expect([...new Uint8Array(await rt.read(buffer, 3, 2))]).toEqual([4, 5]);
    rt.free(buffer);
  });

  it('copy within and between buffers, and clear', async () => {
    const rt = runtime();
    const a = upload(Float32Array.of(1, 2, 3, 4));
    const b = upload(Float32Array.of(9, 9, 9, 9));
    rt.copy(a, 0, a, 8, 8);
    rt.copy(a, 4, b, 0, 12);
    rt.clear(b, 12, 4);
    expect([...new Float32Array(await rt.read(b, 0, 16))]).toEqual([2, 1, 2, 0]);
    rt.free(a);
    rt.free(b);
  });

  it('are read in parallel', async () => {
    const rt = runtime();
    const buffers = [1, 2, 3].map((v) => upload(new Float32Array(64).fill(v)));
    const reads = await Promise.all(buffers.map((b) => rt.read(b, 0, 256)));
    expect(reads.map((r) => new Float32Array(r)[5])).toEqual([1, 2, 3]);
    buffers.forEach((b) => rt.free(b));
  });
});
