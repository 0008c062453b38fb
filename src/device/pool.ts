/** Buffer pool: size classes, exact-class free lists, a memory budget. */

import { DeviceError, formatBytes, OutOfMemoryError, type ErrorLog } from './errors.js';
import type { BindGroupEntry } from './bindgroups.js';

/** WebGPU's own numbers; Node has no `GPUBufferUsage` global. */
export const bufferUsage = {
  mapRead: 1,
  copySrc: 4,
  copyDst: 8,
  uniform: 64,
  storage: 128,
  queryResolve: 512,
};

const storageUsage = bufferUsage.storage | bufferUsage.copySrc | bufferUsage.copyDst;

/** One GPU buffer. It outlives the {@link DeviceBuffer}s that use it in turn. */
export class Block {
  /** Serial of the encoder that used it last. */
  lastUse = 0;
  /** Submit count when it was put into the pool. */
  pooledAt = 0;
  /** The GPU had no memory for it: never pool it. */
  broken = false;
  destroyed = false;
  /** Cached bind groups over it, dropped when it is destroyed. */
  groups: Set<BindGroupEntry> | undefined;

  constructor(
    readonly id: number,
    readonly gpu: GPUBuffer,
    readonly capacity: number,
  ) {}
}

/** Memory on the GPU, from `alloc` to `free`. */
export class DeviceBuffer {
  /** Stable per GPU buffer: two allocations that used the same memory in turn share it. */
  readonly id: number;
  readonly gpu: GPUBuffer;
  /** Size class: at least `bytes`, a multiple of 16. */
  readonly capacity: number;
  /** @internal */
  readonly block: Block;
  /** @internal */
  live = true;

  constructor(
    block: Block,
    /** Size asked for. */
    readonly bytes: number,
    /** Shown in memory statistics and errors. */
    public label: string,
  ) {
    this.id = block.id;
    this.gpu = block.gpu;
    this.capacity = block.capacity;
    this.block = block;
  }
}

export interface MemoryStats {
  /** Bytes (capacities) of the buffers in use. */
  readonly liveBytes: number;
  /** Bytes kept for reuse. */
  readonly pooledBytes: number;
  /** Highest `liveBytes` since the start or `resetPeakMemory`. */
  readonly peakBytes: number;
  /** Everything held on the GPU: live, pooled and staging. */
  readonly reservedBytes: number;
  readonly budgetBytes: number;
  readonly liveBuffers: number;
  /** The largest live buffers, largest first (at most eight). */
  readonly largest: readonly { readonly label: string; readonly bytes: number }[];
}

/**
 * Multiples of 16 to 1 KiB, then eight steps per doubling: at most 12.5% unused. From 64 MiB on 128 steps: there a part of
 * a buffer is dear, and buffers of nearly one size are few.
 */
export function sizeClass(bytes: number): number {
  if (bytes <= 16) return 16;
  if (bytes <= 1024) return Math.ceil(bytes / 16) * 16;
  const step = 2 ** (Math.floor(Math.log2(bytes - 1)) - (bytes > 64 * 1024 ** 2 ? 7 : 3));
  return Math.ceil(bytes / step) * step;
}

/** Pooled memory may grow until everything held is this many times the highest use; then the oldest goes. */
const slack = 2;
const slackBytes = 64 * 1024 ** 2;

export class BufferPool {
  private nextId = 1;
  private readonly free = new Map<number, Block[]>();
  private readonly live = new Set<DeviceBuffer>();
  /** Blocks that the open encoder uses; destroyed after its submit. */
  private doomed: Block[] = [];
  private liveBytes = 0;
  private pooledBytes = 0;
  private peakBytes = 0;
  private highWater = 0;

  constructor(
    private readonly device: GPUDevice,
    readonly budget: number,
    private readonly maxBinding: number,
    private readonly errors: ErrorLog,
    private readonly stream: { readonly serial: number },
    private readonly staging: { readonly bytes: number; trim(): void },
    private readonly onDestroy: (block: Block) => void,
  ) {}

  alloc(bytes: number, label: string): DeviceBuffer {
    if (!(bytes >= 0 && Number.isSafeInteger(bytes))) {
      throw new DeviceError(
        `${label}: cannot allocate ${bytes} bytes; a size is a non-negative integer.`,
        label,
      );
    }
    const capacity = this.capacityFor(bytes, label);
    const block = this.free.get(capacity)?.pop();
    if (block !== undefined) this.pooledBytes -= capacity;
    const buffer = new DeviceBuffer(block ?? this.create(capacity, bytes, label), bytes, label);
    this.live.add(buffer);
    this.liveBytes += capacity;
    if (this.liveBytes > this.peakBytes) this.peakBytes = this.liveBytes;
    if (this.liveBytes > this.highWater) this.highWater = this.liveBytes;
    return buffer;
  }

  release(buffer: DeviceBuffer): void {
    if (!buffer.live) throw new DeviceError(`free: buffer '${buffer.label}' was freed before.`, buffer.label);
    buffer.live = false;
    this.live.delete(buffer);
    const { block } = buffer;
    this.liveBytes -= block.capacity;
    if (block.broken) {
      this.destroy(block);
      return;
    }
    block.pooledAt = this.stream.serial;
    const list = this.free.get(block.capacity);
    if (list) list.push(block);
    else this.free.set(block.capacity, [block]);
    this.pooledBytes += block.capacity;
  }

  private capacityFor(bytes: number, label: string): number {
    const { maxBufferSize } = this.device.limits;
    const capacity = sizeClass(bytes);
    // Rounding up must not push a buffer past a limit that the request itself keeps.
    for (const limit of [floor16(this.maxBinding), floor16(maxBufferSize)]) {
      if (capacity > limit && bytes <= limit) return limit;
    }
    if (capacity > maxBufferSize) {
      throw new OutOfMemoryError(
        `${label}: ${formatBytes(bytes)} is more than this adapter's largest buffer (${formatBytes(maxBufferSize)}).`,
        label,
        bytes,
      );
    }
    return capacity;
  }

  private create(capacity: number, bytes: number, label: string): Block {
    const highWater = Math.max(this.highWater, this.liveBytes + capacity);
    this.makeRoom(capacity, Math.min(this.budget, highWater * slack + slackBytes));
    if (this.reserved + capacity > this.budget) {
      throw new OutOfMemoryError(this.outOfMemory(bytes, label), label, bytes);
    }
    this.device.pushErrorScope('out-of-memory');
    const gpu = this.device.createBuffer({ label, size: capacity, usage: storageUsage });
    const block = new Block(this.nextId++, gpu, capacity);
    this.errors.track(
      this.device.popErrorScope().then((error) => {
        if (error === null) return;
        block.broken = true;
        this.trim(Infinity);
        this.errors.record(
          new OutOfMemoryError(`${this.outOfMemory(bytes, label)}\n${error.message}`, label, bytes),
        );
      }),
    );
    return block;
  }

  private get reserved(): number {
    return this.liveBytes + this.pooledBytes + this.staging.bytes;
  }

  /** Gives up idle memory, as far as there is any, so that `bytes` more fit into `allowed`. */
  makeRoom(bytes: number, allowed = this.budget): void {
    if (this.reserved + bytes <= allowed) return;
    this.trim(this.reserved + bytes - allowed);
    if (this.reserved + bytes > allowed) this.staging.trim();
  }

  private outOfMemory(bytes: number, label: string): string {
    const holders = this.largest(5).map((h) => `${h.label} ${formatBytes(h.bytes)}`);
    return (
      `${label}: out of GPU memory: ${formatBytes(bytes)} asked for, ${formatBytes(this.liveBytes)} in ` +
      `${this.live.size} live buffers` +
      (this.budget === Infinity ? '.' : ` of a budget of ${formatBytes(this.budget)}.`) +
      (holders.length > 0 ? ` Largest: ${holders.join(', ')}.` : '') +
      ' Free tensors (`tidy`, `dispose`), use a smaller batch, or raise `init({ memoryBudget })`.'
    );
  }

  /** Destroys pooled blocks, oldest first, until `bytes` are freed. */
  private trim(bytes: number): void {
    const blocks = [...this.free.values()].flat().sort((a, b) => a.pooledAt - b.pooledAt);
    let freed = 0;
    for (const block of blocks) {
      if (freed >= bytes) break;
      const list = this.free.get(block.capacity)!;
      list.splice(list.indexOf(block), 1);
      if (list.length === 0) this.free.delete(block.capacity);
      this.pooledBytes -= block.capacity;
      freed += block.capacity;
      this.destroy(block);
    }
  }

  private destroy(block: Block): void {
    block.destroyed = true;
    this.onDestroy(block);
    if (block.lastUse === this.stream.serial) this.doomed.push(block);
    else block.gpu.destroy();
  }

  /** Called after each submit: work that is queued keeps its memory by itself. */
  afterSubmit(): void {
    if (this.doomed.length === 0) return;
    for (const block of this.doomed) block.gpu.destroy();
    this.doomed = [];
  }

  private largest(count: number): { label: string; bytes: number }[] {
    return [...this.live]
      .sort((a, b) => b.capacity - a.capacity)
      .slice(0, count)
      .map((b) => ({ label: b.label, bytes: b.capacity }));
  }

  stats(): MemoryStats {
    return {
      liveBytes: this.liveBytes,
      pooledBytes: this.pooledBytes,
      peakBytes: this.peakBytes,
      reservedBytes: this.reserved,
      budgetBytes: this.budget,
      liveBuffers: this.live.size,
      largest: this.largest(8),
    };
  }

  resetPeak(): void {
    this.peakBytes = this.liveBytes;
  }
}

function floor16(bytes: number): number {
  return Math.floor(bytes / 16) * 16;
}
