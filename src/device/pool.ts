/** Buffer pool: size classes, free lists, a plan for steps that repeat, a memory budget. */

import { DeviceError, formatBytes, OutOfMemoryError, type ErrorLog } from './errors.js';
import type { Gate } from './gate.js';
import { MemoryPlan, type Slot, type Ticket } from './memory-plan.js';

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

/** A place in the plan and the buffer that waits there. */
type PoolSlot = Slot<Block>;

/** One GPU buffer. It outlives the {@link DeviceBuffer}s that use it in turn. */
export class Block {
  /** Serial of the encoder that used it last. */
  lastUse = 0;
  /** Count of releases when it was put into the pool. */
  pooledAt = 0;
  /** The GPU had no memory for it: never pool it. */
  broken = false;
  /** Somebody else's: it is neither pooled nor destroyed. */
  foreign = false;
  destroyed = false;
  /** The place in the plan that it is kept for. */
  slot: PoolSlot | null = null;
  /** Belongs to so many recordings, beside who holds it now. */
  pins = 0;
  /** Stands for the recordings while nobody else holds it. */
  kept: DeviceBuffer | null = null;

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
  /** @internal */
  ticket: Ticket | null = null;

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
  /** Bytes that were asked for, of the buffers in use; `liveBytes` is what they take. */
  readonly requestedBytes: number;
  /** Highest `requestedBytes` since the start or `resetPeakMemory`. */
  readonly peakRequestedBytes: number;
  /** Everything held on the GPU: live, pooled and staging. */
  readonly reservedBytes: number;
  readonly budgetBytes: number;
  readonly liveBuffers: number;
  /** The largest live buffers, largest first (at most eight). */
  readonly largest: readonly { readonly label: string; readonly bytes: number }[];
}

/**
 * Multiples of 16 to 1 KiB, then eight steps per doubling: at most 12.5% unused. From 1 MiB on 128 steps:
 * there a part of a buffer is dear.
 */
export function sizeClass(bytes: number): number {
  if (bytes <= 16) return 16;
  if (bytes <= 1024) return Math.ceil(bytes / 16) * 16;
  const step = 2 ** (Math.floor(Math.log2(bytes - 1)) - (bytes > 1024 ** 2 ? 7 : 3));
  return Math.ceil(bytes / step) * step;
}

/** Pooled memory may grow until everything held is this many times the highest use; then the oldest goes. */
const slack = 1.5;
const slackBytes = 32 * 1024 ** 2;
/** A request may take an idle buffer of up to this many times its size. */
const stretch = 1.5;
const idleStretch = 4;
/** And a place in the plan one of up to this many times. */
const planStretch = 1.04;

export class BufferPool {
  private nextId = 1;
  private readonly free = new Map<number, Block[]>();
  private readonly live = new Set<DeviceBuffer>();
  /** Blocks that the open encoder uses; destroyed after its submit. */
  private doomed: Block[] = [];
  private liveBytes = 0;
  private pooledBytes = 0;
  private peakBytes = 0;
  private requestedBytes = 0;
  private peakRequestedBytes = 0;
  private highWater = 0;
  private readonly plan: MemoryPlan<Block>;
  private releases = 0;
  /** `releases` at the last end of a step. */
  private stepBegan = 0;

  constructor(
    private readonly device: GPUDevice,
    readonly budget: number,
    private readonly maxBinding: number,
    private readonly errors: ErrorLog,
    private readonly gate: Gate,
    private readonly stream: { readonly serial: number },
    private readonly staging: { readonly bytes: number; trim(): void },
    private readonly onDestroy: (block: Block) => void,
  ) {
    this.plan = new MemoryPlan((bytes, size) => this.fits(bytes, size));
  }

  /** @param besides blocks that will not do although nobody holds them */
  alloc(bytes: number, label: string, besides?: ReadonlySet<Block>): DeviceBuffer {
    const buffer = this.take(bytes, label);
    if (besides?.has(buffer.block) !== true) return buffer;
    try {
      return this.alloc(bytes, label, besides);
    } finally {
      this.release(buffer);
    }
  }

  private take(bytes: number, label: string): DeviceBuffer {
    if (!(bytes >= 0 && Number.isSafeInteger(bytes))) {
      throw new DeviceError(
        `${label}: cannot allocate ${bytes} bytes; a size is a non-negative integer.`,
        label,
      );
    }
    const slot = this.plan.next(bytes);
    const block =
      (slot === null ? null : this.fromPlan(slot, bytes, label)) ??
      this.takeIdle(bytes, label) ??
      this.create(this.capacityFor(bytes, label), bytes, label);
    const { capacity } = block;
    const buffer = new DeviceBuffer(block, bytes, label);
    buffer.ticket = this.plan.record(bytes);
    this.live.add(buffer);
    this.liveBytes += capacity;
    this.requestedBytes += bytes;
    if (this.liveBytes > this.peakBytes) this.peakBytes = this.liveBytes;
    if (this.requestedBytes > this.peakRequestedBytes) this.peakRequestedBytes = this.requestedBytes;
    if (this.liveBytes > this.highWater) this.highWater = this.liveBytes;
    return buffer;
  }

  /** As {@link alloc}, of memory that is there; it counts to nobody's budget. */
  adopt(gpu: GPUBuffer, bytes: number, label: string): DeviceBuffer {
    const block = new Block(this.nextId++, gpu, gpu.size);
    block.foreign = true;
    return new DeviceBuffer(block, bytes, label);
  }

  release(buffer: DeviceBuffer): void {
    if (!buffer.live) throw new DeviceError(`free: buffer '${buffer.label}' was freed before.`, buffer.label);
    buffer.live = false;
    if (buffer.block.foreign) {
      this.onDestroy(buffer.block);
      return;
    }
    this.live.delete(buffer);
    const { block } = buffer;
    this.liveBytes -= block.capacity;
    this.requestedBytes -= buffer.bytes;
    if (buffer.ticket !== null) this.plan.freed(buffer.ticket);
    if (block.pins > 0) {
      this.keep(block);
      return;
    }
    if (block.broken) {
      if (block.slot !== null) this.forget(block);
      this.destroy(block);
      return;
    }
    block.pooledAt = ++this.releases;
    this.pooledBytes += block.capacity;
    if (block.slot !== null) block.slot.idle = true;
    else this.putIdle(block);
  }

  /** Takes `block` out of use by others, for a recording. */
  pin(block: Block): void {
    if (block.pins++ > 0) return;
    if (block.slot !== null && !block.slot.idle) {
      block.slot.block = null;
      block.slot = null;
      return;
    }
    const idle = block.slot?.idle ?? this.free.get(block.capacity)?.includes(block) ?? false;
    if (!idle) return;
    this.forget(block);
    this.pooledBytes -= block.capacity;
    this.keep(block);
  }

  /** A recording is gone. */
  unpin(block: Block): void {
    if (--block.pins > 0 || block.kept === null) return;
    const { kept } = block;
    block.kept = null;
    this.release(kept);
  }

  /** `block`, which nobody else holds, counts as in use. */
  private keep(block: Block): void {
    if (block.slot !== null) this.forget(block);
    const kept = new DeviceBuffer(block, block.capacity, 'compile (memory)');
    block.kept = kept;
    this.live.add(kept);
    this.liveBytes += block.capacity;
    this.requestedBytes += block.capacity;
    this.peakBytes = Math.max(this.peakBytes, this.liveBytes);
    this.peakRequestedBytes = Math.max(this.peakRequestedBytes, this.requestedBytes);
  }

  private putIdle(block: Block): void {
    const list = this.free.get(block.capacity);
    if (list) list.push(block);
    else this.free.set(block.capacity, [block]);
  }

  /**
   * A step of training has been recorded. When steps ask for the same in the same order, the third one on
   * gets its memory by plan; idle memory that it did not use then goes.
   */
  endStep(): void {
    const before = this.plan.slots;
    const what = this.plan.endStep();
    if (what === 'made') {
      for (const slot of this.plan.slots) {
        const block = this.takeFree(slot.bytes, slot.bytes * planStretch);
        if (block === null) continue;
        Object.assign(slot, { block, idle: true });
        block.slot = slot;
        this.pooledBytes += block.capacity;
      }
    }
    if (what === 'followed') this.trim(Infinity, this.stepBegan + 1, false);
    if (what === 'dropped') {
      for (const { block, idle } of before) {
        if (block === null) continue;
        block.slot = null;
        if (idle) this.putIdle(block);
      }
      this.plan.slots = [];
    }
    this.stepBegan = this.releases;
  }

  /** May a buffer of this capacity hold a request of so many bytes? */
  private fits(bytes: number, capacity: number): boolean {
    // What the request can bind whole must stay so.
    return capacity >= bytes && (bytes > this.maxBinding || capacity <= this.maxBinding);
  }

  private fromPlan(slot: PoolSlot, bytes: number, label: string): Block | null {
    if (slot.block === null) {
      // In place of idle memory that the plan does not know.
      this.trim(slot.bytes, Infinity, false);
      const block = this.create(slot.bytes, bytes, label);
      slot.block = block;
      block.slot = slot;
      return block;
    }
    if (!slot.idle || !this.fits(bytes, slot.block.capacity)) return null;
    return this.takeSlot(slot);
  }

  private takeSlot(slot: PoolSlot): Block {
    const block = slot.block as Block;
    slot.idle = false;
    this.pooledBytes -= block.capacity;
    return block;
  }

  /** An idle buffer of the request's size or a little more; the plan's own last. */
  private takeIdle(bytes: number, label: string): Block | null {
    const capacity = this.capacityFor(bytes, label);
    const found = this.takeFree(capacity, capacity * stretch);
    if (found !== null) return found;
    // In a step that is not the planned one nobody else will ask for them.
    const most = capacity * (this.plan.isFollowed ? stretch : idleStretch);
    let best: PoolSlot | null = null;
    for (const slot of this.plan.slots) {
      if (!slot.idle || slot.block === null) continue;
      const size = slot.block.capacity;
      if (!this.fits(bytes, size) || size > most) continue;
      if (best === null || size < (best.block as Block).capacity) best = slot;
    }
    return best === null ? null : this.takeSlot(best);
  }

  private takeFree(capacity: number, most: number): Block | null {
    let size = capacity;
    if (!this.free.has(size)) {
      size = Infinity;
      for (const each of this.free.keys()) {
        if (each >= capacity && each <= most && each < size && this.fits(capacity, each)) size = each;
      }
      if (size === Infinity) return null;
    }
    const list = this.free.get(size) as Block[];
    const block = list.pop() as Block;
    if (list.length === 0) this.free.delete(size);
    this.pooledBytes -= size;
    return block;
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
    let block: Block | undefined;
    this.device.pushErrorScope('out-of-memory');
    try {
      const gpu = this.device.createBuffer({ label, size: capacity, usage: storageUsage });
      return (block = new Block(this.nextId++, gpu, capacity));
    } catch (cause) {
      throw this.refused(bytes, label, cause instanceof Error ? cause.message : String(cause));
    } finally {
      this.errors.track(
        this.device.popErrorScope().then((error) => {
          if (error === null) return;
          if (block !== undefined) block.broken = true;
          this.trim(Infinity);
          this.errors.record(this.refused(bytes, label, error.message));
        }),
      );
    }
  }

  /** The GPU itself had no memory. */
  refused(bytes: number, label: string, reason: string): OutOfMemoryError {
    return new OutOfMemoryError(`${this.outOfMemory(bytes, label)}\n${reason}`, label, bytes);
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
      ' Free tensors (`tidy`, `dispose`), await something in the loop (`await loss.item()`, `await synchronize()`: tensors ' +
      'that nothing refers to are collected then, which cannot happen while it never waits), use a smaller batch, or raise ' +
      '`init({ memoryBudget })`.'
    );
  }

  /**
   * Destroys idle blocks, those outside the plan and the oldest first, until `bytes` are freed: of those that
   * were put back before release `before`, and of the plan only if `planned`.
   */
  private trim(bytes: number, before = Infinity, planned = before === Infinity): void {
    const blocks = [...this.free.values()].flat().filter(({ pooledAt }) => pooledAt < before);
    blocks.sort((a, b) => a.pooledAt - b.pooledAt);
    if (planned)
      for (const { block, idle } of this.plan.slots) if (block !== null && idle) blocks.push(block);
    let freed = 0;
    for (const block of blocks) {
      if (freed >= bytes) break;
      this.forget(block);
      this.pooledBytes -= block.capacity;
      freed += block.capacity;
      this.destroy(block);
    }
  }

  /** Takes an idle block out of where it waits. */
  private forget(block: Block): void {
    if (block.slot !== null) {
      block.slot.block = null;
      block.slot.idle = false;
      block.slot = null;
      return;
    }
    const list = this.free.get(block.capacity) as Block[];
    list.splice(list.indexOf(block), 1);
    if (list.length === 0) this.free.delete(block.capacity);
  }

  private destroy(block: Block): void {
    block.destroyed = true;
    this.onDestroy(block);
    if (block.lastUse === this.stream.serial) this.doomed.push(block);
    else this.gate.destroy(block.gpu);
  }

  /** Called after each submit: work that is queued keeps its memory by itself. */
  afterSubmit(): void {
    if (this.doomed.length === 0) return;
    for (const block of this.doomed) this.gate.destroy(block.gpu);
    this.doomed = [];
  }

  /** The device goes on without us. */
  destroyAll(): void {
    this.trim(Infinity);
    this.staging.trim();
    for (const { block } of this.live) this.destroy(block);
    this.afterSubmit();
  }

  private largest(count: number): { label: string; bytes: number }[] {
    return [...this.live]
      .sort((a, b) => b.capacity - a.capacity)
      .slice(0, count)
      .map((b) => ({ label: b.label, bytes: b.capacity }));
  }

  /** Bytes of the budget that live buffers do not take. */
  get left(): number {
    return this.budget - this.liveBytes;
  }

  stats(): MemoryStats {
    return {
      liveBytes: this.liveBytes,
      pooledBytes: this.pooledBytes,
      peakBytes: this.peakBytes,
      requestedBytes: this.requestedBytes,
      peakRequestedBytes: this.peakRequestedBytes,
      reservedBytes: this.reserved,
      budgetBytes: this.budget,
      liveBuffers: this.live.size,
      largest: this.largest(8),
    };
  }

  resetPeak(): void {
    this.peakBytes = this.liveBytes;
    this.peakRequestedBytes = this.requestedBytes;
  }
}

function floor16(bytes: number): number {
  return Math.floor(bytes / 16) * 16;
}
