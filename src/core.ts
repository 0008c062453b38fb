/**
 * Tensors and ops as functions, in Node and in browsers: `kindling/core`. A bundle of it holds what the
 * program calls.
 */
import { noMore } from './tensor/options.js';
import { init as initDevice, runtime, type InitOptions, type MemoryStats } from './device/index.js';
import { installLifetime } from './tensor/lifetime.js';

/**
 * Finds a GPU and makes it ready. Await it once, before any tensor is made.
 *
 * @throws DeviceError when no adapter answers; the message says what to install.
 */
export async function init(options?: InitOptions): Promise<void> {
  await initDevice(options);
  await installLifetime();
}

/** Live, pooled and peak bytes of GPU memory, with the largest holders. */
export function memoryStats(): MemoryStats {
  noMore('memoryStats', arguments, 0);
  return runtime().memoryStats();
}

/** Resolves when everything recorded so far has run; rejects with the errors it met. */
export function synchronize(): Promise<void> {
  noMore('synchronize', arguments, 0);
  return runtime().synchronize();
}

export {
  close,
  runtime,
  DataError,
  DeviceError,
  DeviceLostError,
  OutOfMemoryError,
  ShaderError,
} from './device/index.js';
export type {
  DeviceProfile,
  HostSpan,
  InitOptions,
  MemoryStats,
  ProfiledDispatch,
  ProfileRow,
} from './device/index.js';
export { Tensor, type HookHandle, type NestedArray, type TensorHook } from './tensor/tensor.js';
export type { DType, DTypeName, TypedArray } from './tensor/dtype.js';
export { format, type PrintOptions } from './tensor/format.js';
export { tidy } from './tensor/tidy.js';
export {
  backward,
  enableGrad,
  grad,
  gradcheck,
  inferenceMode,
  isGradEnabled,
  noGrad,
  setGradEnabled,
} from './ops/autograd/autograd.js';
export * from './ops/index.js';
