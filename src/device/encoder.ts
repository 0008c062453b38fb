/** Puts commands into the stream. */

import type { BindGroupEntry } from './bindgroups.js';
import type { FaultBuffer } from './faults.js';
import type { Gate } from './gate.js';
import type { UniformArena } from './params.js';
import type { Block, DeviceBuffer } from './pool.js';
import { TimestampProfiler, WallClockProfiler } from './profiler.js';
import type { Program } from './programs.js';
import type { CommandStream } from './stream.js';

export class Encoder {
  profiler: TimestampProfiler | WallClockProfiler | undefined;
  private readonly uniformOffset = [0];

  constructor(
    private readonly gate: Gate,
    private readonly stream: CommandStream,
    private readonly arena: UniformArena,
    private readonly faults: FaultBuffer,
  ) {}

  /** Submits what is there already where a dispatch's parameters would not fit beside it. */
  makeRoom({ params, immediates }: Program): void {
    if (params && !immediates && !this.arena.hasRoom()) this.stream.flush();
  }

  /** @param params packed; undefined for a kernel without */
  dispatch(
    program: Program,
    entry: BindGroupEntry,
    params: ArrayBuffer | undefined,
    x: number,
    y: number,
    z: number,
  ): void {
    const { stream } = this;
    const { name, pipeline } = program;
    if (program.faultSite > 0) this.faults.armed = true;
    const pass = this.profiler ? this.profiledPass(name) : (stream.pass ?? stream.beginPass());
    if (stream.pipeline !== pipeline.gpu) pass.setPipeline((stream.pipeline = pipeline.gpu));
    if (stream.group !== entry.group) pass.setBindGroup(0, (stream.group = entry.group));
    if (params) {
      if (program.immediates) {
        pass.setImmediates(0, params);
      } else {
        this.uniformOffset[0] = this.arena.push(new Uint32Array(params));
        pass.setBindGroup(1, this.arena.group, this.uniformOffset);
      }
    }
    pass.dispatchWorkgroups(x, y, z);
    program.counter.count++;
    if (stream.count(name, entry.bytes)) stream.flush();
    if (this.profiler instanceof WallClockProfiler) {
      stream.flush();
      this.profiler.submitted(name);
    }
  }

  private profiledPass(name: string): GPUComputePassEncoder {
    const { profiler } = this;
    if (profiler instanceof TimestampProfiler) return this.stream.beginPass(profiler.writes(name));
    return this.stream.beginPass();
  }

  /** Between two buffers. */
  copy(src: DeviceBuffer, srcOffset: number, dst: DeviceBuffer, dstOffset: number, bytes: number): void {
    const { stream } = this;
    stream.commands().copyBufferToBuffer(src.gpu, srcOffset, dst.gpu, dstOffset, bytes);
    this.used(src.block, dst.block);
    if (stream.count('copy', 2 * bytes)) stream.flush();
  }

  clear(buffer: DeviceBuffer, offset: number, bytes: number): void {
    const { stream } = this;
    stream.commands().clearBuffer(buffer.gpu, offset, bytes);
    this.used(buffer.block);
    if (stream.count('clear', bytes)) stream.flush();
  }

  /** Uploads `data`, after all that is recorded; a last word that it does not fill ends in zeros. */
  write(buffer: DeviceBuffer, offset: number, data: ArrayBufferView): void {
    // The queue runs a write before the open encoder.
    if (buffer.block.lastUse === this.stream.serial) this.stream.flush();
    upload(this.gate, buffer, offset, data);
  }

  private used(...blocks: Block[]): void {
    for (const block of blocks) block.lastUse = this.stream.serial;
  }
}

/** Uploads `data` in its turn of `queue`; a last word that it does not fill ends in zeros. */
export function upload(
  queue: Pick<Gate, 'writeBuffer'>,
  buffer: DeviceBuffer,
  offset: number,
  data: ArrayBufferView,
): void {
  const bytes = data.byteLength;
  const tail = bytes % 4;
  let source: ArrayBufferLike = data.buffer;
  let start = data.byteOffset;
  if (!(source instanceof ArrayBuffer)) {
    source = new Uint8Array(source, start, bytes).slice().buffer;
    start = 0;
  }
  const whole = bytes - tail;
  if (whole > 0) queue.writeBuffer(buffer.gpu, offset, source as ArrayBuffer, start, whole);
  if (tail > 0) {
    const word = new Uint8Array(4);
    word.set(new Uint8Array(source, start + whole, tail));
    queue.writeBuffer(buffer.gpu, offset + whole, word.buffer);
  }
}
