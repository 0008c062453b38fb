/** Launch parameters: packing, and the uniform arena for adapters without immediates. */

import type { Kernel, ParamField } from '../kernels/base/kernel.js';
import { DeviceError } from './errors.js';
import { paramFields } from './faults.js';
import type { Gate } from './gate.js';
import { bufferUsage } from './pool.js';

/** Packs a kernel's parameters into `buffer`, four bytes each, in the order of its fields. */
export class ParamPacker {
  /** Handed to the GPU as it is: an ArrayBuffer crosses into Dawn four times faster than a typed array. */
  readonly buffer: ArrayBuffer;
  readonly words: Uint32Array;
  private readonly ints: Int32Array;
  private readonly floats: Float32Array;
  private readonly kinds: Uint8Array;

  /** @param last values of words behind the fields, the same for every launch */
  constructor(
    private readonly fields: readonly ParamField[],
    private readonly op: string,
    last: readonly number[] = [],
  ) {
    this.buffer = new ArrayBuffer(4 * (fields.length + last.length));
    this.words = new Uint32Array(this.buffer);
    this.ints = new Int32Array(this.buffer);
    this.floats = new Float32Array(this.buffer);
    this.kinds = Uint8Array.from(fields, ([, type]) => ['u32', 'i32', 'f32'].indexOf(type));
    this.words.set(last, fields.length);
  }

  /** @throws DeviceError where an integer field is given a number that its type cannot hold. */
  pack(values: readonly number[]): void {
    const { kinds, words, ints, floats } = this;
    if (values.length !== kinds.length) {
      throw new DeviceError(
        `${this.op}: ${values.length} params given, the kernel takes ${kinds.length} ` +
          `(${this.fields.map(([name]) => name).join(', ')}).`,
        this.op,
      );
    }
    for (let i = 0; i < kinds.length; i++) {
      const value = values[i]!;
      const kind = kinds[i];
      if (kind === 0) {
        if (value >>> 0 !== value) this.reject(i, value);
        words[i] = value;
      } else if (kind === 1) {
        if ((value | 0) !== value) this.reject(i, value);
        ints[i] = value;
      } else {
        floats[i] = value;
      }
    }
  }

  private reject(index: number, value: number): never {
    const [name, type] = this.fields[index]!;
    throw new DeviceError(`${this.op}: param '${name}' is ${value}, which is no ${type}.`, this.op);
  }
}

/** WGSL that declares `p`, for the header of a shader. */
export function declareParams(kernel: Kernel, immediates: boolean): string {
  if (paramFields(kernel).length === 0) return '';
  const fields = paramFields(kernel)
    .map(([name, type]) => `${name}: ${type},`)
    .join(' ');
  const variable = immediates ? 'var<immediate> p: Params;' : '@group(1) @binding(0) var<uniform> p: Params;';
  return `struct Params { ${fields} }\n${variable}\n`;
}

/** Bytes of uniform visible to one dispatch. */
const window = 1024;
const arenaBytes = 256 * 1024;

/**
 * Slots of one uniform buffer, bound with a dynamic offset. The host copy is uploaded once per submit, right
 * before it; the queue runs in order, so the next batch may reuse the slots at once.
 */
export class UniformArena {
  readonly layout: GPUBindGroupLayout;
  readonly group: GPUBindGroup;
  private readonly gpu: GPUBuffer;
  private readonly host = new Uint32Array(arenaBytes / 4);
  private readonly alignment: number;
  private used = 0;

  constructor(
    device: GPUDevice,
    private readonly gate: Pick<Gate, 'writeBuffer'> = device.queue,
  ) {
    this.alignment = device.limits.minUniformBufferOffsetAlignment;
    this.layout = device.createBindGroupLayout({
      label: 'params',
      entries: [
        {
          binding: 0,
          visibility: 4 /* GPUShaderStage.COMPUTE */,
          buffer: { type: 'uniform', hasDynamicOffset: true },
        },
      ],
    });
    this.gpu = device.createBuffer({
      label: 'params',
      size: arenaBytes + window,
      usage: bufferUsage.uniform | bufferUsage.copyDst,
    });
    this.group = device.createBindGroup({
      label: 'params',
      layout: this.layout,
      entries: [{ binding: 0, resource: { buffer: this.gpu, size: window } }],
    });
  }

  static check(kernel: Kernel): void {
    if (4 * paramFields(kernel).length > window) {
      throw new DeviceError(
        `${kernel.name}: ${paramFields(kernel).length} params; a kernel may have ${window / 4} at most.`,
        kernel.name,
      );
    }
  }

  /** For so many dispatches more. */
  hasRoom(dispatches = 1): boolean {
    return this.used + dispatches * window <= arenaBytes;
  }

  /** Stores one dispatch's parameters and returns their offset in bytes. */
  push(words: Uint32Array): number {
    const offset = this.used;
    this.host.set(words, offset / 4);
    this.used = Math.ceil((offset + words.byteLength) / this.alignment) * this.alignment;
    return offset;
  }

  upload(): void {
    if (this.used === 0) return;
    this.gate.writeBuffer(this.gpu, 0, this.host.buffer, 0, this.used);
    this.used = 0;
  }
}
