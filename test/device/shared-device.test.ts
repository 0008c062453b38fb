import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { create } from 'webgpu';
import * as k from '../../src/index.js';

/** Another user of the device: doubles a buffer's numbers by a shader of its own. */
function doubled(device: GPUDevice, buffer: GPUBuffer, offset: number, size: number): void {
  const module = device.createShaderModule({
    code: `@group(0) @binding(0) var<storage, read_write> x: array<f32>;
      @compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) {
        if (id.x < arrayLength(&x)) { x[id.x] *= 2; } }`,
  });
  const pipeline = device.createComputePipeline({ layout: 'auto', compute: { module } });
  const group = device.createBindGroup({
    layout: pipeline.getBindGroupLayout(0),
    entries: [{ binding: 0, resource: { buffer, offset, size } }],
  });
  const encoder = device.createCommandEncoder();
  const pass = encoder.beginComputePass();
  pass.setPipeline(pipeline);
  pass.setBindGroup(0, group);
  pass.dispatchWorkgroups(Math.ceil(size / 256));
  pass.end();
  device.queue.submit([encoder.finish()]);
}

const usage = 128 | 4 | 8;

function bufferOf(device: GPUDevice, values: readonly number[], extra = 0): GPUBuffer {
  const buffer = device.createBuffer({ label: 'mine', size: 4 * values.length, usage: usage | extra });
  device.queue.writeBuffer(buffer, 0, Float32Array.from(values));
  return buffer;
}

/** Dawn crashes when this is collected while a device of its own still works. */
const gpu = create([]);
let device: GPUDevice;
beforeAll(async () => {
  const adapter = await gpu.requestAdapter();
  device = await (adapter as GPUAdapter).requestDevice();
});
afterEach(() => {
  k.close();
});

describe("a program's own device", () => {
  it('is the one that kindling works on, within the limits it was requested with', async () => {
    await k.init({ device });
    expect(k.gpuDevice()).toBe(device);
    expect(k.runtime().limits.maxStorageBuffersPerShaderStage).toBe(
      device.limits.maxStorageBuffersPerShaderStage,
    );
    const x = k.tensor([
      [1, 2],
      [3, 4],
    ]);
    expect(await x.matmul(x).toArray()).toEqual([
      [7, 10],
      [15, 22],
    ]);
  });

  it('takes part in training, and is left in order by close()', async () => {
    await k.init({ device });
    const layer = new k.nn.Linear(4, 2);
    const optimizer = new k.optim.SGD(layer.parameters(), { lr: 0.1 });
    layer(k.ones(3, 4)).sum().backward();
    optimizer.step();
    await k.synchronize();
    k.close();
    const buffer = bufferOf(device, [1, 2, 3, 4]);
    device.pushErrorScope('validation');
    doubled(device, buffer, 0, 16);
    expect(await device.popErrorScope()).toBeNull();
    await device.queue.onSubmittedWorkDone();
    await k.init({ device });
    expect(await k.fromGPUBuffer(buffer, { shape: [4] }).toArray()).toEqual([2, 4, 6, 8]);
  });

  it('excludes the options that choose one', async () => {
    await expect(k.init({ device, adapter: 'software' })).rejects.toThrow(
      'leave adapter and powerPreference out',
    );
    await expect(k.init({ device: {} as GPUDevice })).rejects.toThrow('must be a GPUDevice');
  });

  it('cannot be changed for another while it runs', async () => {
    await k.init({ device });
    const other = await ((await gpu.requestAdapter()) as GPUAdapter).requestDevice();
    await expect(k.init({ device: other })).rejects.toThrow('the device runs already with device');
    other.destroy();
  });
});

describe('fromGPUBuffer', () => {
  it('reads what others have written, without a copy', async () => {
    await k.init({ device });
    const before = k.memoryStats().liveBytes;
    const buffer = bufferOf(
      device,
      Array.from({ length: 1024 }, (_, i) => i),
    );
    const x = k.fromGPUBuffer(buffer, { shape: [32, 32] });
    expect(k.memoryStats().liveBytes).toBe(before);
    expect(await x.sum().item()).toBe((1023 * 1024) / 2);
    doubled(device, buffer, 0, 4096);
    expect(await x.sum().item()).toBe(1023 * 1024);
  });

  it('is written by in-place ops, and trained on', async () => {
    await k.init({ device });
    const buffer = bufferOf(device, [1, 2, 3, 4]);
    const x = k.fromGPUBuffer(buffer, { shape: [4] });
    x.mul_(3);
    const again = k.fromGPUBuffer(buffer, { shape: [2, 2] });
    expect(await again.toArray()).toEqual([
      [3, 6],
      [9, 12],
    ]);
    const w = k.ones(2, 2).requiresGrad_();
    again.matmul(w).sum().backward();
    expect(await w.grad?.toArray()).toEqual([
      [12, 12],
      [18, 18],
    ]);
  });

  it('is not destroyed or reused when its tensors go', async () => {
    await k.init({ device });
    const buffer = bufferOf(device, [5, 6, 7, 8]);
    k.tidy(() => void k.fromGPUBuffer(buffer, { shape: [4] }).add(1));
    for (let i = 0; i < 20; i++) await k.full([4], i).add(1).data();
    expect(await k.fromGPUBuffer(buffer, { shape: [4] }).toArray()).toEqual([5, 6, 7, 8]);
  });

  it('names what does not fit', async () => {
    await k.init({ device });
    const buffer = bufferOf(device, [1, 2, 3, 4]);
    expect(() => k.fromGPUBuffer(buffer, { shape: [5] })).toThrow('takes 20 bytes, but the buffer has 16');
    for (const shape of [[-1, 4], [1.5], ['4'], 4, undefined])
      expect(() => k.fromGPUBuffer(buffer, { shape } as never)).toThrow(/fromGPUBuffer: .*shape/);
    const odd = device.createBuffer({ size: 20, usage });
    expect(() => k.fromGPUBuffer(odd, { shape: [5] })).toThrow('a multiple of 16 bytes');
    const poor = device.createBuffer({ size: 16, usage: 128 });
    expect(() => k.fromGPUBuffer(poor, { shape: [4] })).toThrow('STORAGE | COPY_SRC | COPY_DST');
    expect(() => k.fromGPUBuffer({} as GPUBuffer, { shape: [4] })).toThrow('expected a GPUBuffer');
  });
});

describe('gpuBuffer', () => {
  it('hands a tensor over to other code on the device, and takes back what that wrote', async () => {
    await k.init({ device });
    const x = k.arange(8).float().mul(0.5).keep();
    const { buffer, offset, size } = k.gpuBuffer(x, { write: true });
    doubled(k.gpuDevice(), buffer, offset, size);
    expect(await x.toArray()).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
  });

  it('tells autograd that the values have changed', async () => {
    await k.init({ device });
    const x = k.ones(4);
    const w = k.ones(4).requiresGrad_();
    const loss = w.mul(x).sum();
    k.gpuBuffer(x, { write: true });
    expect(() => {
      loss.backward();
    }).toThrow(/modified|changed/);
  });

  it('refuses views that are not contiguous', async () => {
    await k.init({ device });
    expect(() => k.gpuBuffer(k.ones(2, 3).t())).toThrow('use contiguous() first');
  });
});
