import { currentRecording, runtime } from '../../device/index.js';
import { Storage } from '../../tensor/storage.js';
import { bytesPerElement, type DType } from '../../tensor/dtype.js';
import { numel, showShape, type Shape } from '../../tensor/shape.js';
import { optionReader, requireBoolean, required } from '../../tensor/options.js';
import { isTensor, Tensor } from '../../tensor/tensor.js';

export interface GPUBufferOptions {
  readonly shape: Shape;
  /**
   * How its bytes are read. Default float32. float16 takes two bytes, everything else four: `uint8` and
   * `bool` are words of 32 bits here.
   */
  readonly dtype?: DType;
}

const readBuffer = optionReader('fromGPUBuffer', {
  shape: required<Shape>(),
  dtype: 'float32' as DType,
});

/** WebGPU's `STORAGE`, `COPY_SRC` and `COPY_DST`. */
const neededUsage = 128 | 4 | 8;

/**
 * A tensor in a buffer of the program's own, row-major from its first byte, without a copy. The buffer must
 * belong to kindling's device (`init({ device })`, or made on `gpuDevice()`), with the usages STORAGE,
 * COPY_SRC and COPY_DST and a multiple of 16 bytes. Its owner destroys it, after the tensor and what was
 * computed of it. What others submitted to the queue before is seen; in-place ops write into the buffer.
 *
 * @throws Error for a buffer that does not fit
 */
export function fromGPUBuffer(buffer: GPUBuffer, ...args: [options: GPUBufferOptions]): Tensor {
  const { size, usage, label } = (buffer as Partial<GPUBuffer> | undefined) ?? {};
  if (typeof size !== 'number' || typeof usage !== 'number')
    throw new TypeError(`fromGPUBuffer: expected a GPUBuffer, got ${String(buffer)}`);
  const { shape, dtype } = readBuffer(args);
  if (!Array.isArray(shape) || !shape.every((size) => Number.isInteger(size) && size >= 0))
    throw new Error(
      `fromGPUBuffer: shape must be a list of sizes, integers from 0 on, got ${JSON.stringify(shape) ?? 'nothing'}`,
    );
  if (!(dtype in bytesPerElement)) throw new Error(`fromGPUBuffer: '${String(dtype)}' is not a dtype`);
  const bytes = numel(shape) * bytesPerElement[dtype];
  if (bytes > size)
    throw new Error(
      `fromGPUBuffer: ${showShape(shape)} of ${dtype} takes ${bytes} bytes, but the buffer has ${size}`,
    );
  if (size % 16 !== 0 || size === 0)
    throw new Error(
      `fromGPUBuffer: a buffer must have a multiple of 16 bytes, as kernels read four words at once; it has ${size}`,
    );
  if ((usage & neededUsage) !== neededUsage)
    throw new Error('fromGPUBuffer: the buffer needs the usages STORAGE | COPY_SRC | COPY_DST');
  currentRecording()?.refuse('it takes a buffer that is not kindling’s own');
  const name = label || 'fromGPUBuffer';
  const memory = new Storage(bytes, name, runtime().adopt(buffer, bytes, name));
  return new Tensor(memory, [...shape], dtype);
}

/** Where a tensor lies. */
export interface GPURange {
  readonly buffer: GPUBuffer;
  /** In bytes. */
  readonly offset: number;
  readonly size: number;
}

const readWrite = optionReader('gpuBuffer', { write: false });

/**
 * The memory of a contiguous tensor, for other code on the same device: all that was recorded so far is
 * submitted, so that what is submitted next sees it. The tensor must live (`keep()`) until that has been
 * submitted: its memory is used again afterwards.
 *
 * @param args `write`: the other code writes into it, so that whatever was derived from the old values is
 * made anew. Default false.
 * @throws Error for a view that is not contiguous
 */
export function gpuBuffer(x: Tensor, ...args: [options?: { readonly write?: boolean }]): GPURange {
  if (!isTensor(x)) throw new TypeError(`gpuBuffer: expected a tensor, got ${String(x)}`);
  const { write } = readWrite(args);
  requireBoolean('gpuBuffer: write', write);
  if (!x.isContiguous())
    throw new Error(
      `gpuBuffer: this tensor of shape ${showShape(x.shape)} is not contiguous; use contiguous() first`,
    );
  currentRecording()?.refuse('it hands a buffer out');
  if (write) x.storage.beginWrite('gpuBuffer');
  const { gpu } = x.storage.deviceBuffer;
  runtime().flush();
  const width = bytesPerElement[x.dtype];
  return { buffer: gpu, offset: x.offset * width, size: x.numel() * width };
}

/** kindling's device, for other code that works on the same one. */
export const gpuDevice = (): GPUDevice => runtime().device;
