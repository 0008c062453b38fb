/** Staging buffers for reads, kept for reuse. */

import type { DeviceError, ErrorLog } from './errors.js';
import { bufferUsage, sizeClass } from './pool.js';

/** Idle staging memory beyond this is destroyed. */
const keepBytes = 64 * 1024 ** 2;

export class StagingPool {
  private readonly free: GPUBuffer[] = [];
  /** Bytes held, in use or idle. */
  bytes = 0;
  private idleBytes = 0;

  constructor(
    private readonly device: GPUDevice,
    private readonly errors: ErrorLog,
    /** Called before a buffer is made. */
    private readonly makeRoom: (bytes: number) => void,
    private readonly outOfMemory: (bytes: number, reason: string) => DeviceError,
  ) {}

  acquire(bytes: number): GPUBuffer {
    const size = sizeClass(bytes);
    const index = this.free.findLastIndex((b) => b.size === size);
    if (index >= 0) {
      this.idleBytes -= size;
      return this.free.splice(index, 1)[0]!;
    }
    this.makeRoom(size);
    this.device.pushErrorScope('out-of-memory');
    try {
      const usage = bufferUsage.mapRead | bufferUsage.copyDst;
      const buffer = this.device.createBuffer({ label: 'read', size, usage });
      this.bytes += size;
      return buffer;
    } catch (cause) {
      throw this.outOfMemory(size, cause instanceof Error ? cause.message : String(cause));
    } finally {
      this.errors.track(
        this.device.popErrorScope().then((error) => {
          if (error !== null) this.errors.record(this.outOfMemory(size, error.message));
        }),
      );
    }
  }

  /** Takes back an unmapped buffer. */
  release(buffer: GPUBuffer): void {
    this.free.push(buffer);
    this.idleBytes += buffer.size;
    this.trim(keepBytes);
  }

  /** Destroys idle buffers, oldest first, until `keep` bytes are left. */
  trim(keep = 0): void {
    while (this.idleBytes > keep) this.idleBytes -= this.discard(this.free.shift()!);
  }

  /** Destroys a buffer in use. Returns its size. */
  discard(buffer: GPUBuffer): number {
    this.bytes -= buffer.size;
    buffer.destroy();
    return buffer.size;
  }
}
