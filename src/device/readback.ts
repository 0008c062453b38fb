/** Staging buffers for reads, kept for reuse. */

import { bufferUsage, sizeClass } from './pool.js';

/** Idle staging memory beyond this is destroyed. */
const keepBytes = 64 * 1024 ** 2;

export class StagingPool {
  private readonly free: GPUBuffer[] = [];
  /** Bytes held, in use or idle. */
  bytes = 0;
  private idleBytes = 0;

  constructor(private readonly device: GPUDevice) {}

  acquire(bytes: number): GPUBuffer {
    const size = sizeClass(bytes);
    const index = this.free.findLastIndex((b) => b.size === size);
    if (index >= 0) {
      this.idleBytes -= size;
      return this.free.splice(index, 1)[0]!;
    }
    this.bytes += size;
    return this.device.createBuffer({
      label: 'read',
      size,
      usage: bufferUsage.mapRead | bufferUsage.copyDst,
    });
  }

  /** Takes back an unmapped buffer. */
  release(buffer: GPUBuffer): void {
    this.free.push(buffer);
    this.idleBytes += buffer.size;
    while (this.idleBytes > keepBytes) this.idleBytes -= this.discard(this.free.shift()!);
  }

  /** Destroys a buffer in use. Returns its size. */
  discard(buffer: GPUBuffer): number {
    this.bytes -= buffer.size;
    buffer.destroy();
    return buffer.size;
  }
}
