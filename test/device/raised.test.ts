import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { close, DataError, init, runtime } from '../../src/device/index.js';
import type { DeviceBuffer } from '../../src/device/index.js';
import type { Kernel } from '../../src/kernels/base/kernel.js';
import { addOne } from './kernels.js';

/** Raises where x[i] is negative; thread i, as `op`. */
const refuseNegative = (op: string): Kernel => ({
  name: `${op}Kernel`,
  bindings: ['read'],
  params: [['n', 'u32']],
  fault: { op, text: ([value, at]) => `${op}: ${value | 0} at ${at}` },
  wgsl: `
@group(0) @binding(0) var<storage, read> x: array<i32>;
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  if (id.x < p.n && x[id.x] < 0) { raiseFault(vec4<u32>(u32(x[id.x]), id.x, 0u, 0u)); }
}`,
});
const first = refuseNegative('first');
const second = refuseNegative('second');

let x: DeviceBuffer;
const put = (...values: number[]): void => runtime().write(x, 0, Int32Array.from(values));
const check = (kernel: Kernel): void => runtime().dispatch(kernel, [x], [64], [1, 1, 1]);
const read = async (): Promise<number> => new Int32Array(await runtime().read(x, 0, 4))[0]!;

describe.each([{ disable: [] }, { disable: ['immediates' as const] }])(
  'what kernels raise, without $disable',
  ({ disable }) => {
    beforeAll(() => init({ disable }));
    afterAll(() => close());
    beforeEach(() => {
      x = runtime().alloc(256, 'x');
      runtime().clear(x, 0, 256);
    });

    it('rejects the next read with the text of the kernel', async () => {
      put(0, 0, -7);
      check(first);
      const error: unknown = await read().catch((e: unknown) => e);
      expect(error).toBeInstanceOf(DataError);
      expect(error).toMatchObject({ message: 'first: -7 at 2', op: 'first' });
    });

    it('rejects synchronize too', async () => {
      put(-1);
      check(first);
      await expect(runtime().synchronize()).rejects.toThrow('first: -1 at 0');
      await runtime().synchronize();
    });

    it('is reported once, and the engine goes on', async () => {
      put(-1);
      check(first);
      await expect(read()).rejects.toThrow('first: -1 at 0');
      expect(await read()).toBe(-1);
      put(5);
      check(first);
      expect(await read()).toBe(5);
      put(-2);
      check(second);
      await expect(read()).rejects.toThrow('second: -2 at 0');
    });

    it('is that of the first kernel, however many raise', async () => {
      put(...new Array<number>(64).fill(-3));
      check(first);
      check(second);
      await expect(read()).rejects.toThrow(/^first: -3 at \d+$/);
      expect(await read()).toBe(-3);
    });

    it('survives until a read comes, over many batches', async () => {
      const [a, b] = [runtime().alloc(256, 'a'), runtime().alloc(256, 'b')];
      put(-1);
      check(first);
      put(0);
      for (let i = 0; i < 300; i++) runtime().dispatch(addOne, [a, b], [], [1, 1, 1]);
      check(second);
      await expect(read()).rejects.toThrow('first: -1 at 0');
      runtime().free(a);
      runtime().free(b);
    });

    it('belongs to the read that was asked for first', async () => {
      put(-1);
      check(first);
      const early = read();
      const late = read();
      await expect(early).rejects.toThrow('first');
      expect(await late).toBe(-1);
    });

    it('gives way to an error of the GPU: one report', async () => {
      put(-1);
      check(first);
      runtime().dispatch(
        { ...addOne, name: 'mismatched', bindings: ['read', 'read'] },
        [x, x],
        [],
        [1, 1, 1],
      );
      await expect(read()).rejects.toMatchObject({ op: 'mismatched' });
      expect(await read()).toBe(-1);
    });

    it('ends a profile', async () => {
      put(-1);
      await expect(runtime().profile(() => check(first))).rejects.toThrow('first: -1 at 0');
      expect(await read()).toBe(-1);
    });

    it('is nothing where no work is done', async () => {
      put(-1);
      runtime().withoutWork(() => check(first));
      expect(await read()).toBe(-1);
    });
  },
);

describe('a new device', () => {
  it('knows nothing of what was raised on the one before', async () => {
    await init();
    x = runtime().alloc(256, 'x');
    runtime().clear(x, 0, 256);
    put(-1);
    check(first);
    runtime().flush();
    close();
    await init();
    x = runtime().alloc(256, 'x');
    put(4);
    check(second);
    expect(await read()).toBe(4);
    put(-4);
    check(second);
    await expect(read()).rejects.toThrow('second: -4 at 0');
    close();
  });
});

describe('the price', () => {
  beforeAll(() => init());
  afterAll(() => close());

  /** Names of the GPU commands behind `fn`, as the encoder and the buffers are asked for them. */
  async function commands(fn: () => Promise<unknown>): Promise<string[]> {
    const seen: string[] = [];
    const restore: (() => void)[] = [];
    const probe = (name: string, prototype: Record<string, (...args: unknown[]) => unknown>): void => {
      const original = prototype[name]!;
      prototype[name] = function (this: unknown, ...args: unknown[]) {
        seen.push(name);
        return original.apply(this, args);
      };
      restore.push(() => (prototype[name] = original));
    };
    const { device } = runtime() as unknown as { device: GPUDevice };
    const prototypeOf = (o: object) => Object.getPrototypeOf(o) as Record<string, () => unknown>;
    const encoder = prototypeOf(device.createCommandEncoder());
    for (const name of ['copyBufferToBuffer', 'clearBuffer']) probe(name, encoder);
    probe('mapAsync', prototypeOf(x.gpu));
    try {
      await fn();
    } finally {
      restore.forEach((undo) => undo());
    }
    return seen;
  }

  it('of a read is nothing unless a kernel that may raise has run since the last', async () => {
    x = runtime().alloc(256, 'x');
    put(1);
    await read();
    // A batch begins by handing on its guard (chain.ts).
    const handedOn = ['copyBufferToBuffer', 'clearBuffer', 'copyBufferToBuffer'];
    const plain = [...handedOn, 'copyBufferToBuffer', 'mapAsync'];
    expect(await commands(read)).toEqual(plain);
    check(first);
    // The record comes with the values: no second map.
    expect(await commands(read)).toEqual([
      'copyBufferToBuffer',
      'copyBufferToBuffer',
      'clearBuffer',
      'mapAsync',
    ]);
    expect(await commands(read)).toEqual(plain);
  });

  it('takes nothing of the memory budget', () => {
    const before = runtime().memoryStats();
    check(first);
    expect(runtime().memoryStats()).toEqual(before);
  });
});
