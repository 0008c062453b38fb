import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { close, init, runtime, ShaderError } from '../../src/device/index.js';
import type { Kernel } from '../../src/kernels/base/kernel.js';
import { addOne } from './kernels.js';

describe('GPU errors', () => {
  beforeAll(() => init());
  afterAll(() => close());

  it('quote the line of a shader that does not compile', async () => {
    const rt = runtime();
    const broken: Kernel = {
      name: 'brokenKernel',
      bindings: ['write'],
      params: [['n', 'u32']],
      wgsl: `@group(0) @binding(0) var<storage, read_write> y: array<f32>;
@compute @workgroup_size(1)
fn main() {
  y[0] = undeclared + 1.0;
}`,
    };
    const y = rt.alloc(16, 'y');
    rt.dispatch(broken, [y], [1], [1, 1, 1]);
    const error: unknown = await rt.read(y, 0, 4).catch((e: unknown) => e);
    expect(error).toBeInstanceOf(ShaderError);
    expect((error as ShaderError).op).toBe('brokenKernel');
    expect((error as ShaderError).message).toMatch(
      /brokenKernel: the shader does not compile:\n  line 4: .*undeclared.*\n {6}y\[0\] = undeclared \+ 1\.0;\n {13}\^$/,
    );
    expect(() => rt.dispatch(broken, [y], [1], [1, 1, 1])).toThrow(ShaderError);
    rt.free(y);
  });

  it('do not outlive the await that reported them', async () => {
    const rt = runtime();
    const [x, y] = [rt.alloc(256, 'x'), rt.alloc(256, 'y')];
    rt.clear(x, 0, 256);
    rt.dispatch(addOne, [x, y], [], [1, 1, 1]);
    expect(new Float32Array(await rt.read(y, 0, 4))[0]).toBe(1);
    rt.free(x);
    rt.free(y);
  });

  it('reject the next await with the op that caused them', async () => {
    const rt = runtime();
    const y = rt.alloc(256, 'y');
    const mismatched: Kernel = { ...addOne, name: 'mismatched', bindings: ['read', 'read'] };
    rt.dispatch(mismatched, [y, y], [], [1, 1, 1]);
    await expect(rt.synchronize()).rejects.toMatchObject({ op: 'mismatched' });
    rt.free(y);
  });
});

describe('before init and after close', () => {
  it('says to call init', () => {
    expect(() => runtime()).toThrow('call `await init()` first');
  });

  it('starts once for concurrent calls, and anew after close', async () => {
    await Promise.all([init(), init()]);
    const first = runtime();
    await init();
    expect(runtime()).toBe(first);
    close();
    expect(() => first.alloc(4, 'x')).toThrow('The device was closed');
    await init();
    expect(runtime()).not.toBe(first);
    close();
  });

  it('rejects a read that is under way when it is closed', async () => {
    await init();
    const read = runtime().read(runtime().alloc(16, 'x'), 0, 16);
    close();
    await expect(read).rejects.toThrow('The device was closed');
  });

  it('refuses other options while it runs', async () => {
    await init();
    await expect(init({ memoryBudget: 1 })).rejects.toThrow('call close() before init({ memoryBudget: 1 })');
    close();
  });

  it('names an adapter that is not there', async () => {
    await expect(init({ adapter: 'no such adapter' })).rejects.toThrow("'no such adapter'");
    await init();
    close();
  });
});
