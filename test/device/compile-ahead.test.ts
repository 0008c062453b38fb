import { afterEach, describe, expect, it } from 'vitest';
import { openDevice, type OpenedDevice } from '../../src/device/adapter.js';
import { CompileAhead } from '../../src/device/compile-ahead.js';
import type { Kernel } from '../../src/kernels/base/kernel.js';

const kernel = (name: string): Kernel => ({
  name,
  wgsl: `@group(0) @binding(0) var<storage, read_write> y: array<f32>;
@compute @workgroup_size(1) fn main() { y[0] = y[0] + p.step; } // ${name}`,
  bindings: ['write'],
  params: [['step', 'f32']],
});

const pause = (ms: number): Promise<void> => new Promise((done) => setTimeout(done, ms));

async function until(condition: () => boolean): Promise<void> {
  for (let i = 0; i < 500 && !condition(); i++) await pause(10);
}

/** A first device that is busy for as long as the test says; notes what is compiled on the second. */
function setUp(): {
  ahead: CompileAhead;
  compiled: string[];
  opened: OpenedDevice[];
  main: { busy: boolean };
} {
  const compiled: string[] = [];
  const opened: OpenedDevice[] = [];
  const main = { busy: true };
  const ahead = new CompileAhead({
    helpers: 1,
    isBusy: () => main.busy,
    open: async () => {
      const device = await openDevice({});
      opened.push(device);
      const make = device.device.createComputePipeline.bind(device.device);
      device.device.createComputePipeline = (descriptor) => {
        compiled.push(String(descriptor.label));
        return make(descriptor);
      };
      return device;
    },
    wait: (promise) => promise,
  });
  return { ahead, compiled, opened, main };
}

describe('Shaders of a step that has just been recorded', () => {
  const open: CompileAhead[] = [];
  afterEach(() => open.splice(0).forEach((ahead) => ahead.close()));

  it('are compiled on a second device, the newest first, and the device is given up', async () => {
    const { ahead, compiled, opened } = setUp();
    open.push(ahead);
    for (const name of ['first', 'second', 'third']) ahead.note(kernel(name));
    await until(() => compiled.length === 3);
    expect(compiled).toEqual(['third', 'second', 'first']);
    const lost = await opened[0]?.device.lost;
    expect(lost?.reason).toBe('destroyed');
  });

  it('are left to the first device when it is through with them soon', async () => {
    const { ahead, opened, main } = setUp();
    open.push(ahead);
    ahead.note(kernel('quick'));
    main.busy = false;
    await pause(400);
    expect(opened).toEqual([]);
  });

  it('that do not compile disturb nobody', async () => {
    const { ahead, compiled } = setUp();
    open.push(ahead);
    ahead.note(kernel('good'));
    ahead.note({ ...kernel('bad'), wgsl: 'fn main() { no }' });
    await until(() => compiled.length === 2);
    expect(compiled).toEqual(['bad', 'good']);
  });
});
