/** Whether all batches before have run, as the GPU itself knows it. */

import type { Gate } from './gate.js';
import { Block, bufferUsage, DeviceBuffer } from './pool.js';

const bytes = 16;
const places = 4096;

/**
 * A submission runs as a whole or, when something in it is invalid (the GPU had no memory for a buffer, the
 * driver made no pipeline), not at all; JavaScript learns of it later, when others have been submitted that
 * build on it. So each batch hands a word on to the next: it takes the word from the place of the batch
 * before, which it clears, and puts it into its own. A batch that did not run breaks the chain: all later
 * ones find zero, until it is armed again. Kernels that bind the word as a `guard` (optimizer steps) do
 * nothing then.
 *
 * Three commands of four bytes a batch. There are more places than batches can be refused in a row before
 * JavaScript hears of the first: where places come round sooner, a word of long ago is found.
 */
export class Chain {
  /** Zero in a batch after one that did not run. */
  readonly guard: DeviceBuffer;
  private readonly words: GPUBuffer;

  constructor(
    device: GPUDevice,
    private readonly gate: Gate,
  ) {
    const { uniform, copySrc, copyDst } = bufferUsage;
    const gpu = device.createBuffer({ label: 'guard', size: bytes, usage: uniform | copySrc | copyDst });
    // A number that the pool gives to no buffer.
    this.guard = new DeviceBuffer(new Block(-1, gpu, bytes), bytes, 'guard');
    this.words = device.createBuffer({ label: 'guard', size: 4 * places, usage: copySrc | copyDst });
    this.arm(1);
  }

  /** The first commands of batch `serial`. */
  handOn(encoder: GPUCommandEncoder, serial: number): void {
    const { words, guard } = this;
    const before = placeOf(serial - 1);
    encoder.copyBufferToBuffer(words, before, guard.gpu, 0, 4);
    encoder.clearBuffer(words, before, 4);
    encoder.copyBufferToBuffer(guard.gpu, 0, words, placeOf(serial), 4);
  }

  /** From batch `serial` on, which is not submitted yet, all is well again. */
  arm(serial: number): void {
    const words = new Uint32Array(places);
    words[placeOf(serial - 1) / 4] = 1;
    this.gate.writeBuffer(this.words, 0, words.buffer);
  }
}

/** In bytes. */
const placeOf = (serial: number): number => 4 * (serial % places);
