/**
 * ONNX Runtime Web (https://github.com/microsoft/onnxruntime) on its WebGPU provider: it runs graphs forward
 * and cannot train.
 */
import { readFileSync } from 'node:fs';
import { OnnxGraph } from './onnx.mjs';
import { adapterName, installWebGPU, peer, serve, versionOf } from './worker.mjs';
import * as spec from '../works.mjs';

installWebGPU();
acceptSharedMemory();
const ort = await peer('onnxruntime-web/webgpu');
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

/**
 * @param {OnnxGraph} graph
 * @returns {spec.Ops<string>}
 */
const opsOf = (graph) => ({
  conv: (x, name, stride, padding) =>
    graph.node('Conv', [x, `${name}.weight`], {
      strides: [stride, stride],
      pads: [padding, padding, padding, padding],
    }),
  batchNorm: (x, name) =>
    graph.node(
      'BatchNormalization',
      ['weight', 'bias', 'mean', 'variance'].reduce((all, part) => [...all, `${name}.${part}`], [x]),
      {},
      { epsilon: spec.batchNormEps },
    ),
  relu: (x) => graph.node('Relu', [x]),
  add: (a, b) => graph.node('Add', [a, b]),
  maxPool: (x) => maxPool(graph, x),
  padShortcut() {
    throw new Error('only forward works of ImageNet networks are run here');
  },
  averagePool: (x) => graph.node('Flatten', [graph.node('GlobalAveragePool', [x])], { axis: 1 }),
  linear: (x, name) => graph.node('Gemm', [x, `${name}.weight`, `${name}.bias`], { transB: 1 }),
  share: (x) => x,
});

/** @type {(graph: OnnxGraph, x: string) => string} */
const maxPool = (graph, x) =>
  graph.node('MaxPool', [x], { kernel_shape: [3, 3], strides: [2, 2], pads: [1, 1, 1, 1] });

/**
 * The graph of a work and its inputs, or null where it needs gradients.
 * @param {spec.PeerWork} work
 * @returns {{ model: Uint8Array, inputs: Record<string, { shape: number[], values: Float32Array }> } | null}
 */
function graphOf(work) {
  const graph = new OnnxGraph();
  /** @type {Record<string, { shape: number[], values: Float32Array }>} */
  const inputs = {};
  /** @type {(name: string, shape: number[], values: Float32Array) => string} */
  const input = (name, shape, values) => {
    inputs[name] = { shape, values };
    return graph.input(name, shape);
  };
  /** @type {(result: string, shape: number[]) => { model: Uint8Array, inputs: typeof inputs }} */
  const done = (result, shape) => {
    graph.output(result, shape);
    return { model: graph.encode(), inputs };
  };
  switch (work.op) {
    case 'matmul':
    case 'add': {
      const shape = 'n' in work ? [work.n, work.n] : work.input;
      const a = input('a', shape, spec.uniform(spec.seeds.input, shape));
      const b = input('b', shape, spec.uniform(spec.seeds.other, shape));
      return done(graph.node(work.op === 'add' ? 'Add' : 'MatMul', [a, b]), shape);
    }
    case 'conv': {
      const [, channels = 0] = work.input;
      const kernel = [channels, channels, 3, 3];
      const x = input('x', work.input, spec.imageValues(work));
      graph.constant('conv.weight', kernel, spec.uniform(spec.seeds.other, kernel));
      return done(opsOf(graph).conv(x, 'conv', 1, 1), work.input);
    }
    case 'max-pool': {
      const [n = 0, c = 0, h = 0, w = 0] = work.input;
      return done(maxPool(graph, input('x', work.input, spec.imageValues(work))), [n, c, h / 2, w / 2]);
    }
    case 'forward': {
      for (const parameter of spec.parametersOf(work)) {
        const { name, shape } = parameter;
        graph.constant(name, shape, spec.initialValues(parameter));
        if (parameter.fill !== 'ones') continue;
        const norm = name.slice(0, -'.weight'.length);
        graph.constant(`${norm}.mean`, shape, new Float32Array(spec.sizeOf(shape)));
        graph.constant(`${norm}.variance`, shape, new Float32Array(spec.sizeOf(shape)).fill(1));
      }
      const x = input('x', work.input, spec.uniform(spec.seeds.input, work.input));
      return done(spec.runNetwork(work, opsOf(graph), x), [work.input[0] ?? 0, spec.classesOf(work)]);
    }
    default:
      return null;
  }
}

/** @param {spec.PeerWork} work */
async function prepare(work) {
  const parts = graphOf(work);
  if (parts === null) return null;
  const session = await ort.InferenceSession.create(parts.model, {
    executionProviders: ['webgpu'],
    preferredOutputLocation: 'gpu-buffer',
  });
  /** @type {GPUDevice} */
  const device = await ort.env.webgpu.device;
  /** @type {Record<string, any>} */
  const feeds = {};
  for (const [name, { shape, values }] of Object.entries(parts.inputs)) {
    const usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST;
    const buffer = device.createBuffer({ size: values.byteLength, usage });
    device.queue.writeBuffer(buffer, 0, values);
    feeds[name] = ort.Tensor.fromGpuBuffer(buffer, { dataType: 'float32', dims: shape });
  }
  /** @type {any} */
  let result;
  return {
    run: async () => {
      result?.dispose();
      [result] = Object.values(await session.run(feeds));
      await device.queue.onSubmittedWorkDone();
    },
    check: async () => [spec.sumOfSquares(await result.getData())],
  };
}

await serve(async () => ({
  name: 'ONNX Runtime Web',
  version: versionOf('onnxruntime-web'),
  adapter: await adapterName(),
  prepare,
}));
