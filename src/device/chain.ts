/** Whether all batches before have run, as the GPU itself knows it. */

import type { Gate } from './gate.js';
import { Block, bufferUsage, DeviceBuffer } from './pool.js';

const bytes = 16;

/**
 * A submission runs as a whole or, when something in it is invalid (the GPU had no memory for a buffer, the
 * driver made no pipeline), not at all; JavaScript learns of it later, when others have been submitted that
 * build on it. So each batch hands a word on to the next: it copies the word of the batch before and clears
 * the one after. A batch that did not run breaks the chain: all later ones find zero, until it is armed
 * again. Kernels that bind the word as a `guard` (optimizer steps) do nothing then.
 *
 * Two copies of four bytes a batch; the buffers are three because one is read, one written and one cleared.
 */
export class Chain {
  private readonly queue: GPUQueue;
  private readonly links: readonly DeviceBuffer[];

  constructor(
    device: GPUDevice,
    private readonly gate: Gate,
  ) {
    this.queue = device.queue;
    const usage = bufferUsage.uniform | bufferUsage.copySrc | bufferUsage.copyDst;
    this.links = [0, 1, 2].map((i) => {
      const gpu = device.createBuffer({ label: 'guard', size: bytes, usage });
      // Numbers that the pool gives to no buffer.
      return new DeviceBuffer(new Block(-1 - i, gpu, bytes), bytes, 'guard');
    });
    this.arm(1);
  }

  /** The word of batch `serial`: zero if it or one before it did not run. */
  link(serial: number): DeviceBuffer {
    return this.links[serial % 3] as DeviceBuffer;
  }

  /** The first commands of batch `serial`. */
  handOn(encoder: GPUCommandEncoder, serial: number): void {
    encoder.copyBufferToBuffer(this.link(serial - 1).gpu, 0, this.link(serial).gpu, 0, 4);
    encoder.clearBuffer(this.link(serial + 1).gpu, 0, 4);
  }

  /** From batch `serial` on, which is not submitted yet, all is well again. */
  arm(serial: number): void {
    this.gate.writeBuffer(this.link(serial - 1).gpu, 0, new Uint32Array([1]).buffer);
  }

  /** However many batches are left out here, those after them find zero. */
  sever(): void {
    for (const { gpu } of this.links) this.queue.writeBuffer(gpu, 0, new Uint32Array(1));
  }
}
