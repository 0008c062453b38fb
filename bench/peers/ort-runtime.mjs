/** ONNX Runtime Web, ready to run on Dawn in Node. */
import { readFileSync } from 'node:fs';
import { installWebGPU, peer } from './worker.mjs';

installWebGPU();
acceptSharedMemory();
export const ort = await peer('onnxruntime-web/webgpu');
const wasm = new URL(
  './node_modules/onnxruntime-web/dist/ort-wasm-simd-threaded.asyncify.wasm',
  import.meta.url,
);
ort.env.wasm.wasmBinary = readFileSync(wasm);
ort.env.wasm.numThreads = 1;
ort.env.logLevel = 'error';

/** Its heap is shared memory, which browsers take in writeBuffer and Dawn for Node does not. */
function acceptSharedMemory() {
  const { writeBuffer } = GPUQueue.prototype;
  /**
   * @this {GPUQueue}
   * @param {GPUBuffer} buffer
   * @param {number} offset
   * @param {GPUAllowSharedBufferSource} data
   * @param {number} [start]
   * @param {number} [size]
   */
  GPUQueue.prototype.writeBuffer = function (buffer, offset, data, start = 0, size) {
    const memory = ArrayBuffer.isView(data) ? data.buffer : data;
    if (memory instanceof ArrayBuffer) return writeBuffer.call(this, buffer, offset, data, start, size);
    const view = ArrayBuffer.isView(data)
      ? new Uint8Array(data.buffer, data.byteOffset, data.byteLength)
      : new Uint8Array(memory);
    const unit = ArrayBuffer.isView(data) && 'BYTES_PER_ELEMENT' in data ? Number(data.BYTES_PER_ELEMENT) : 1;
    const from = start * unit;
    const copy = view.slice(from, size === undefined ? undefined : from + size * unit);
    return writeBuffer.call(this, buffer, offset, copy);
  };
}
