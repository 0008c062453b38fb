/** Runs kernel plans on host arrays. */
import { runtime } from '../../src/device/index.js';
import type { BufferArg, DeviceBuffer } from '../../src/device/index.js';
import { planPointwise, type PointwiseProblem } from '../../src/kernels/pointwise/plan.js';
import type { Target } from '../../src/kernels/base/kernel.js';
import type { Plan } from '../../src/kernels/base/plan.js';
import { bytesPerElement, decode, encode, type DType, type TypedArray } from '../../src/tensor/dtype.js';

export interface HostTensor {
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly strides: readonly number[];
  readonly offset: number;
  /** Elements of the whole buffer. */
  readonly data: ArrayLike<number>;
}

export function contiguousStrides(shape: readonly number[]): number[] {
  const strides = new Array<number>(shape.length);
  let s = 1;
  for (let d = shape.length - 1; d >= 0; d--) {
    strides[d] = s;
    s *= shape[d]!;
  }
  return strides;
}

export function host(
  data: ArrayLike<number>,
  shape: readonly number[],
  options: { dtype?: DType; strides?: readonly number[]; offset?: number } = {},
): HostTensor {
  const { dtype = 'float32', strides = contiguousStrides(shape), offset = 0 } = options;
  return { dtype, shape, strides, offset, data };
}

export function upload(data: ArrayLike<number>, dtype: DType = 'float32'): DeviceBuffer {
  const rt = runtime();
  const bytes = encode(data, dtype);
  const padded = new Uint8Array(Math.ceil(bytes.byteLength / 16) * 16);
  padded.set(new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength));
  const buffer = rt.alloc(padded.byteLength, 'test');
  rt.write(buffer, 0, padded);
  return buffer;
}

export async function download(buffer: DeviceBuffer, dtype: DType, count: number): Promise<TypedArray> {
  const bytes = Math.ceil((count * bytesPerElement[dtype]) / 4) * 4;
  return decode(await runtime().read(buffer, 0, bytes), dtype, count);
}

/** Calls `f` with every index of `shape` in row-major order. */
export function eachIndex(shape: readonly number[], f: (index: number[], linear: number) => void): void {
  const total = shape.reduce((a, b) => a * b, 1);
  const index = new Array<number>(shape.length).fill(0);
  for (let i = 0; i < total; i++) {
    f(index, i);
    for (let d = shape.length - 1; d >= 0; d--) {
      if (++index[d]! < shape[d]!) break;
      index[d] = 0;
    }
  }
}

/** Element of `t` at `index` of a shape that it broadcasts to. */
export function at(t: HostTensor, index: readonly number[]): number {
  const lead = index.length - t.shape.length;
  let o = t.offset;
  for (let d = 0; d < t.shape.length; d++) if (t.shape[d] !== 1) o += index[lead + d]! * t.strides[d]!;
  return t.data[o]!;
}

export interface Ran {
  /** Whole buffers of the outputs afterwards. */
  readonly outputs: TypedArray[];
  readonly kernels: string[];
  readonly launches: number;
}

/** Runs a pointwise plan; outputs start with what `data` holds. */
export async function runPointwise(
  problem: Omit<PointwiseProblem, 'inputs' | 'outputs'> & { inputs: HostTensor[]; outputs: HostTensor[] },
  target: Target = runtime().target,
): Promise<Ran> {
  const rt = runtime();
  const launches = planPointwise(target, { maxBinding: rt.maxBinding, ...problem });
  const operands = [...problem.inputs, ...problem.outputs];
  const buffers = operands.map((o) => upload(o.data, o.dtype));
  for (const l of launches) {
    const args = l.buffers.map((ref): BufferArg => {
      const [name, range] = typeof ref === 'object' ? [ref.name, ref] : [ref, undefined];
      const buffer = buffers[name as number]!;
      return range === undefined ? buffer : { buffer, offset: range.offset, size: range.size };
    });
    rt.dispatch(l.kernel, args, l.params, l.grid);
  }
  const outputs: TypedArray[] = [];
  for (const [j, o] of problem.outputs.entries()) {
    outputs.push(await download(buffers[problem.inputs.length + j]!, o.dtype, o.data.length));
  }
  for (const b of buffers) rt.free(b);
  return { outputs, kernels: launches.map((l) => l.kernel.wgsl), launches: launches.length };
}

/** Runs a {@link Plan} on named buffers. */
export async function runPlan(
  plan: Plan,
  inputs: Readonly<Record<string, { data: ArrayLike<number>; dtype: DType }>>,
  outputs: Readonly<Record<string, { count: number; dtype: DType; data?: ArrayLike<number> }>>,
): Promise<Record<string, TypedArray>> {
  const rt = runtime();
  const buffers = new Map<string, DeviceBuffer>();
  for (const [name, { data, dtype }] of Object.entries(inputs)) buffers.set(name, upload(data, dtype));
  for (const [name, { count, dtype, data }] of Object.entries(outputs)) {
    if (!buffers.has(name)) buffers.set(name, upload(data ?? new Array<number>(count).fill(7), dtype));
  }
  for (const [name, bytes] of Object.entries(plan.workspaces))
    buffers.set(name, rt.alloc(bytes, 'test workspace'));
  for (const l of plan.launches) {
    const args = l.buffers.map((ref) => {
      const name = typeof ref === 'object' ? ref.name : ref;
      const buffer = buffers.get(String(name));
      if (buffer === undefined) throw new Error(`no buffer was given for '${name}'`);
      return typeof ref === 'object' ? { buffer, offset: ref.offset, size: ref.size } : buffer;
    });
    rt.dispatch(l.kernel, args, l.params, l.grid);
  }
  const result: Record<string, TypedArray> = {};
  for (const [name, { count, dtype }] of Object.entries(outputs)) {
    result[name] = await download(buffers.get(name)!, dtype, count);
  }
  for (const b of buffers.values()) rt.free(b);
  return result;
}
