/**
 * What kernels find wrong with the values they are given: an index outside its dim, an integer result outside
 * int32. A GPU cannot throw, so such a kernel leaves a record in a buffer of the runtime, and the next await
 * throws what it says.
 *
 * The buffer is copied (and cleared) behind a read only if a kernel that may raise was dispatched since the
 * last copy: other reads and other kernels cost nothing.
 */

import type { Fault, FaultWords, Kernel, ParamField } from '../kernels/base/kernel.js';
import { DataError } from './errors.js';
import { Block, bufferUsage, DeviceBuffer } from './pool.js';

/**
 * Bytes of a record: how many kernels' threads raised (about), the site of the first, four words that it
 * gave.
 */
const faultBytes = 24;

/** The launch parameter, filled in by the device, that says which kernel raised. */
const siteField: ParamField = ['faultSite', 'u32'];

/** A kernel's parameters as they are declared and packed. */
export const paramFields = (kernel: Kernel): readonly ParamField[] =>
  kernel.fault ? [...kernel.params, siteField] : kernel.params;

/**
 * WGSL of `raiseFault(words)`, for the header of a kernel that may raise. The first to count up writes the
 * record, which stays until it is read; the rest leave it alone.
 */
export function declareFaults(kernel: Kernel): string {
  if (!kernel.fault) return '';
  return `struct Faults { count: atomic<u32>, site: u32, words: array<u32, 4>, }
@group(0) @binding(${kernel.bindings.length}) var<storage, read_write> faults: Faults;
fn raiseFault(words: vec4<u32>) {
  if (atomicLoad(&faults.count) != 0u || atomicAdd(&faults.count, 1u) != 0u) { return; }
  faults.site = p.faultSite;
  for (var i = 0; i < 4; i++) { faults.words[i] = words[i]; }
}
`;
}

/** Numbers the kernels that may raise, from 1. */
export class FaultSites {
  private readonly sites: Fault[] = [];

  add(fault: Fault): number {
    return this.sites.push(fault);
  }

  /** What a record says; undefined when nothing was raised. */
  errorOf(record: ArrayBuffer): DataError | undefined {
    const [count, site, ...words] = new Uint32Array(record) as unknown as [number, number, ...FaultWords];
    const fault = this.sites[site - 1];
    return count === 0 || fault === undefined ? undefined : new DataError(fault.text(words), fault.op);
  }
}

/** The record on the GPU. */
export class FaultBuffer {
  /** Bound last by kernels that may raise. */
  readonly buffer: DeviceBuffer;
  /** A kernel that may raise was dispatched since the last snapshot. */
  armed = false;

  constructor(device: GPUDevice) {
    const capacity = 32;
    const { storage, copySrc, copyDst } = bufferUsage;
    const gpu = device.createBuffer({ label: 'faults', size: capacity, usage: storage | copySrc | copyDst });
    this.buffer = new DeviceBuffer(new Block(0, gpu, capacity), faultBytes, 'faults');
  }

  /** Bytes that a read has to leave for the record. */
  get pendingBytes(): number {
    return this.armed ? faultBytes : 0;
  }

  /** Copies what was raised so far to `target` and starts anew. */
  snapshot(encoder: GPUCommandEncoder, target: GPUBuffer, offset: number): void {
    encoder.copyBufferToBuffer(this.buffer.gpu, 0, target, offset, faultBytes);
    this.clear(encoder);
  }

  clear(encoder: GPUCommandEncoder): void {
    encoder.clearBuffer(this.buffer.gpu);
    this.armed = false;
  }
}
