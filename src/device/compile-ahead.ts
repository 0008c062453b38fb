/**
 * Compiles shaders on further devices while the first is busy compiling: Mesa's software driver uses one core
 * for it.
 */

import type { Kernel } from '../kernels/base/kernel.js';
import type { OpenedDevice } from './adapter.js';
import { ErrorLog } from './errors.js';
import { UniformArena } from './params.js';
import { bufferUsage } from './pool.js';
import { ProgramCache } from './programs.js';

/** With what the driver has cached, a first step is through its new shaders sooner than this. */
const patienceMs = 300;
/** Shaders are given this to bind; none of it is read. */
const dummyBytes = 4096;

interface Main {
  /** Devices to compile on. */
  readonly helpers: number;
  /** Work is submitted that has not finished. */
  isBusy(): boolean;
  open(): Promise<OpenedDevice>;
  wait<T>(promise: Promise<T>): Promise<T>;
}

/**
 * The driver compiles a shader at its first dispatch, in the device's own thread, one after another; what it
 * compiled goes into its disk cache, where every device looks first. A training step is recorded long before
 * its first shader is ready, so its last shaders can be compiled meanwhile: this takes the newest first,
 * until it meets the first device, which started with the oldest. A dispatch of no workgroups is enough; the
 * number comes from a buffer because Dawn warns of a plain 0.
 */
export class CompileAhead {
  private waiting: Kernel[] = [];
  private running = false;
  private closed = false;

  constructor(private readonly main: Main) {}

  /** `kernel` will be dispatched for the first time. */
  note(kernel: Kernel): void {
    this.waiting.push(kernel);
    if (this.running || this.closed) return;
    this.running = true;
    // A script that is done must not wait for this.
    (setTimeout(() => void this.run(), patienceMs) as { unref?(): void }).unref?.();
  }

  close(): void {
    this.closed = true;
    this.waiting = [];
  }

  private get wanted(): boolean {
    return this.waiting.length > 0 && !this.closed && this.main.isBusy();
  }

  private async run(): Promise<void> {
    try {
      if (this.wanted) await Promise.all(Array.from({ length: this.main.helpers }, () => this.help()));
    } catch {
      // The first device compiles whatever is left, and reports what is wrong with it.
    } finally {
      this.waiting = [];
      this.running = false;
    }
  }

  private async help(): Promise<void> {
    const { device, target, immediateSize } = await this.main.open();
    device.addEventListener('uncapturederror', (event) => event.preventDefault());
    const arena = new UniformArena(device);
    const programs = new ProgramCache(device, target, immediateSize, arena, new ErrorLog());
    const usage = bufferUsage.storage | bufferUsage.uniform;
    const nothing = device.createBuffer({ size: 16, usage: 256 /* GPUBufferUsage.INDIRECT */ });
    const most = device.limits.maxStorageBuffersPerShaderStage;
    const buffers = Array.from({ length: most }, () => device.createBuffer({ size: dummyBytes, usage }));
    try {
      while (this.wanted) {
        const { layout, pipeline, params, immediates } = programs.get(this.waiting.pop()!);
        const entries = layout.bindings.map((_, binding) => ({
          binding,
          resource: { buffer: buffers[binding]! },
        }));
        const encoder = device.createCommandEncoder();
        const pass = encoder.beginComputePass();
        pass.setPipeline(pipeline.gpu);
        pass.setBindGroup(0, device.createBindGroup({ layout: layout.gpu, entries }));
        if (params && immediates) pass.setImmediates(0, params.buffer);
        else if (params) pass.setBindGroup(1, arena.group, [0]);
        pass.dispatchWorkgroupsIndirect(nothing, 0);
        pass.end();
        device.queue.submit([encoder.finish()]);
        await this.main.wait(device.queue.onSubmittedWorkDone());
      }
    } finally {
      device.destroy();
    }
  }
}
