/** Bind groups, reused by layout and bound ranges. Creating one costs more than the rest of a dispatch. */

import type { Access } from '../kernels/base/kernel.js';
import { DeviceError, formatBytes } from './errors.js';
import type { GroupGarbage } from './group-garbage.js';
import { DeviceBuffer, type Block } from './pool.js';

/** A whole buffer (its capacity), or a range in bytes. */
export type BufferArg =
  DeviceBuffer | { readonly buffer: DeviceBuffer; readonly offset: number; readonly size: number };

/** Bind group layout of one access pattern. */
export interface BindingLayout {
  readonly id: number;
  readonly bindings: readonly Access[];
  readonly gpu: GPUBindGroupLayout;
}

export interface BindGroupEntry {
  readonly hash: number;
  readonly layout: BindingLayout;
  readonly blocks: readonly Block[];
  /** Offset and size of each binding, in pairs. */
  readonly ranges: readonly number[];
  readonly group: GPUBindGroup;
  /** Bytes bound. */
  readonly bytes: number;
  /** Next entry of the same hash. */
  next: BindGroupEntry | undefined;
  newer: BindGroupEntry | undefined;
  older: BindGroupEntry | undefined;
}

const capacity = 8192;

export class BindGroupCache {
  private readonly table = new Map<number, BindGroupEntry>();
  /** The bind groups over each buffer, which go with it. */
  private readonly byBlock = new Map<Block, Set<BindGroupEntry>>();
  private newest: BindGroupEntry | undefined;
  private oldest: BindGroupEntry | undefined;
  private count = 0;
  private made: BindGroupEntry[] = [];

  constructor(
    private readonly device: GPUDevice,
    private readonly maxBinding: number,
    private readonly garbage: GroupGarbage,
  ) {}

  get size(): number {
    return this.count;
  }

  /** Marks every buffer as used by encoder `serial` and returns the bind group for `args`. */
  get(layout: BindingLayout, args: readonly BufferArg[], serial: number, op: string): BindGroupEntry {
    let hash = layout.id;
    for (let i = 0; i < args.length; i++) {
      const arg = args[i]!;
      let buffer: DeviceBuffer;
      if (arg instanceof DeviceBuffer) {
        buffer = arg;
        hash = Math.imul(hash ^ buffer.id, 0x9e3779b1);
      } else {
        buffer = arg.buffer;
        hash = Math.imul(hash ^ buffer.id, 0x9e3779b1);
        hash = Math.imul(hash ^ arg.offset, 0x85ebca6b) ^ arg.size;
      }
      hash ^= hash >>> 15;
      if (!buffer.live)
        throw new DeviceError(`${op}: binding ${i} ('${buffer.label}') is a freed buffer.`, op);
      buffer.block.lastUse = serial;
    }
    for (let entry = this.table.get(hash); entry !== undefined; entry = entry.next) {
      if (entry.layout === layout && sameArgs(entry, args)) {
        if (entry !== this.newest) {
          this.unlink(entry);
          this.link(entry);
        }
        return entry;
      }
    }
    return this.create(hash, layout, args, op);
  }

  private create(
    hash: number,
    layout: BindingLayout,
    args: readonly BufferArg[],
    op: string,
  ): BindGroupEntry {
    const blocks: Block[] = [];
    const ranges: number[] = [];
    const entries: GPUBindGroupEntry[] = [];
    let bytes = 0;
    for (let i = 0; i < args.length; i++) {
      const arg = args[i]!;
      const whole = arg instanceof DeviceBuffer;
      const buffer = whole ? arg : arg.buffer;
      const offset = whole ? 0 : arg.offset;
      const size = whole ? buffer.capacity : arg.size;
      this.checkRange(buffer, offset, size, i, op);
      blocks.push(buffer.block);
      ranges.push(offset, size);
      bytes += size;
      // Bindings are sized in whole words; the capacity leaves room for the last one.
      entries.push({ binding: i, resource: { buffer: buffer.gpu, offset, size: Math.ceil(size / 4) * 4 } });
    }
    checkAliases(layout.bindings, args, blocks, ranges, op);
    this.garbage.admit(layout, op);
    const group = this.device.createBindGroup({ label: op, layout: layout.gpu, entries });
    this.garbage.made(group, layout);
    const entry: BindGroupEntry = {
      hash,
      layout,
      blocks,
      ranges,
      group,
      bytes,
      next: this.table.get(hash),
      newer: undefined,
      older: undefined,
    };
    this.table.set(hash, entry);
    for (const block of blocks) {
      const groups = this.byBlock.get(block);
      if (groups) groups.add(entry);
      else this.byBlock.set(block, new Set([entry]));
    }
    this.link(entry);
    this.made.push(entry);
    if (++this.count > capacity) this.remove(this.oldest!);
    return entry;
  }

  private checkRange(buffer: DeviceBuffer, offset: number, size: number, index: number, op: string): void {
    const max = this.maxBinding;
    const { minStorageBufferOffsetAlignment: alignment } = this.device.limits;
    const name = `${op}: binding ${index} ('${buffer.label}', ${formatBytes(buffer.bytes)})`;
    if (size > max) {
      throw new DeviceError(
        `${name} binds ${formatBytes(size)}, more than this adapter's limit of ${formatBytes(max)}: ` +
          'bind ranges of it and loop.',
        op,
      );
    }
    if (!(offset >= 0 && size > 0 && offset + size <= buffer.capacity)) {
      throw new DeviceError(
        `${name}: the range at byte ${offset} of ${size} bytes lies outside the buffer.`,
        op,
      );
    }
    if (offset % alignment !== 0) {
      throw new DeviceError(
        `${name}: offset ${offset} is not a multiple of ${alignment}, which this adapter asks for.`,
        op,
      );
    }
  }

  /** Forgets every bind group over a block that is about to be destroyed. */
  evict(block: Block): void {
    const groups = this.byBlock.get(block);
    if (!groups) return;
    this.byBlock.delete(block);
    for (const entry of groups) this.remove(entry);
  }

  /** Returns what forgets the bind groups that were made since the last call: one of them was refused. */
  madeSince(): () => void {
    const { made } = this;
    if (made.length === 0) return nothing;
    this.made = [];
    return () => {
      for (const entry of made) if (this.byBlock.get(entry.blocks[0]!)?.has(entry)) this.remove(entry);
    };
  }

  private remove(entry: BindGroupEntry): void {
    const first = this.table.get(entry.hash);
    if (first === entry) {
      if (entry.next) this.table.set(entry.hash, entry.next);
      else this.table.delete(entry.hash);
    } else {
      let before = first;
      while (before && before.next !== entry) before = before.next;
      if (before) before.next = entry.next;
    }
    for (const block of entry.blocks) this.byBlock.get(block)?.delete(entry);
    this.unlink(entry);
    this.count--;
  }

  private link(entry: BindGroupEntry): void {
    entry.older = this.newest;
    entry.newer = undefined;
    if (this.newest) this.newest.newer = entry;
    this.newest = entry;
    this.oldest ??= entry;
  }

  private unlink(entry: BindGroupEntry): void {
    if (entry.newer) entry.newer.older = entry.older;
    else this.newest = entry.older;
    if (entry.older) entry.older.newer = entry.newer;
    else this.oldest = entry.newer;
  }
}

const nothing = (): void => undefined;

function sameArgs(entry: BindGroupEntry, args: readonly BufferArg[]): boolean {
  const { blocks, ranges } = entry;
  for (let i = 0; i < args.length; i++) {
    const arg = args[i]!;
    const block = blocks[i]!;
    if (arg instanceof DeviceBuffer) {
      if (arg.block !== block || ranges[2 * i] !== 0 || ranges[2 * i + 1] !== block.capacity) return false;
    } else if (arg.buffer.block !== block || ranges[2 * i] !== arg.offset || ranges[2 * i + 1] !== arg.size) {
      return false;
    }
  }
  return true;
}

/** WebGPU's rules: no buffer both read and written by one dispatch, no two writable ranges that overlap. */
function checkAliases(
  bindings: readonly Access[],
  args: readonly BufferArg[],
  blocks: readonly Block[],
  ranges: readonly number[],
  op: string,
): void {
  for (let i = 0; i < blocks.length; i++) {
    if (bindings[i] !== 'write') continue;
    for (let j = 0; j < blocks.length; j++) {
      if (i === j || blocks[i] !== blocks[j]) continue;
      const disjoint =
        ranges[2 * i]! + ranges[2 * i + 1]! <= ranges[2 * j]! ||
        ranges[2 * j]! + ranges[2 * j + 1]! <= ranges[2 * i]!;
      if (bindings[j] === 'write' && disjoint) continue;
      const arg = args[i]!;
      const label = arg instanceof DeviceBuffer ? arg.label : arg.buffer.label;
      throw new DeviceError(
        `${op}: buffer '${label}' is bound twice (bindings ${Math.min(i, j)} and ${Math.max(i, j)}) and written: ` +
          'copy one of the operands first.',
        op,
      );
    }
  }
}
