/**
 * ONNX Runtime Web (https://github.com/microsoft/onnxruntime) on its WebGPU provider: it runs graphs forward
 * and cannot train.
 */
import { OnnxGraph } from './onnx.mjs';
import { ort } from './ort-runtime.mjs';
import { adapterName, serve, versionOf } from './worker.mjs';
import * as spec from '../works.mjs';

/**
 * @param {OnnxGraph} graph
 * @param {{ steps: number, transposed: boolean }} [options] `steps` of a causal sequence; `transposed`: the
 * matrices of linear layers are stored [in, out], as a product takes them
 * @returns {spec.Ops<string>}
 */
const opsOf = (graph, { steps, transposed } = { steps: 0, transposed: false }) => ({
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
  depthwise() {
    throw new Error(onlyForward);
  },
  relu: (x) => graph.node('Relu', [x]),
  relu6() {
    throw new Error(onlyForward);
  },
  gelu: (x) => gelu(graph, x),
  add: (a, b) => graph.node('Add', [a, b]),
  maxPool: (x) => maxPool(graph, x),
  padShortcut() {
    throw new Error(onlyForward);
  },
  averagePool: (x) => graph.node('Flatten', [graph.node('GlobalAveragePool', [x])], { axis: 1 }),
  linear: (x, name) =>
    graph.node('Gemm', [x, `${name}.weight`, `${name}.bias`], { transB: transposed ? 0 : 1 }),
  // As exporters write it.
  project: (x, name) => project(graph, x, `${name}.weight`, `${name}.bias`),
  layerNorm: (x, name, epsilon) =>
    graph.node('LayerNormalization', [x, `${name}.weight`, `${name}.bias`], {}, { epsilon }),
  attention(x, memory, options) {
    if (memory !== null) throw new Error(onlyForward);
    return selfAttention(graph, x, options, steps);
  },
  patches(x, name, size) {
    const strides = [size, size];
    const pixels = graph.node('Conv', [x, `${name}.weight`, `${name}.bias`], { strides });
    return graph.node('Transpose', [reshape(graph, pixels, [0, 0, -1])], { perm: [0, 2, 1] });
  },
  // All works have a batch of one.
  prepend: (x, name) => graph.node('Concat', [name, x], { axis: 1 }),
  addParameter: (x, name) => graph.node('Add', [x, name]),
  firstStep: (x) =>
    graph.node('Squeeze', [graph.node('Gather', [x, graph.integers([0])], { axis: 1 }), graph.integers([1])]),
  share: (x) => x,
});

const onlyForward = 'this is part of training works alone, which are not run here';

/** A size of 0 is the input's. @type {(graph: OnnxGraph, x: string, shape: number[]) => string} */
const reshape = (graph, x, shape) => graph.node('Reshape', [x, graph.integers(shape)]);

/** @type {(graph: OnnxGraph, x: string, weight: string, bias: string) => string} */
const project = (graph, x, weight, bias) => graph.node('Add', [graph.node('MatMul', [x, weight]), bias]);

/** Of a matrix. @type {(values: Float32Array, shape: number[]) => Float32Array} */
const transpose = (values, [rows = 0, columns = 0]) =>
  values.map((_, i) => values[(i % rows) * columns + Math.floor(i / rows)] ?? 0);

/** x / 2 * (1 + erf(x / sqrt(2))). @type {(graph: OnnxGraph, x: string) => string} */
function gelu(graph, x) {
  const erf = graph.node('Erf', [graph.node('Div', [x, graph.scalar(Math.SQRT2)])]);
  const doubled = graph.node('Mul', [x, graph.node('Add', [erf, graph.scalar(1)])]);
  return graph.node('Mul', [doubled, graph.scalar(0.5)]);
}

/**
 * @type {(graph: OnnxGraph, x: string, attention: import('../networks.mjs').Attention, steps: number) =>
 * string}
 */
function selfAttention(graph, x, { weight, bias, heads, causal }, steps) {
  const [q = '', k = '', v = ''] = graph
    .split(project(graph, x, weight, bias), 3, 2)
    .map((part) => reshape(graph, part, [0, 0, heads, -1]))
    // The keys' transposed, for the product.
    .map((part, i) => graph.node('Transpose', [part], { perm: i === 1 ? [0, 2, 3, 1] : [0, 2, 1, 3] }));
  const scale = graph.scalar(Math.sqrt(spec.base.heads / spec.base.width));
  let scores = graph.node('Mul', [graph.node('MatMul', [q, k]), scale]);
  if (causal) scores = graph.node('Add', [scores, futureMask(graph, steps)]);
  const attended = graph.node('MatMul', [graph.node('Softmax', [scores], { axis: 3 }), v]);
  return reshape(graph, graph.node('Transpose', [attended], { perm: [0, 2, 1, 3] }), [0, 0, -1]);
}

/** Added to scores: 0 up to the diagonal. @type {(graph: OnnxGraph, steps: number) => string} */
function futureMask(graph, steps) {
  const values = Float32Array.from({ length: steps ** 2 }, (_, i) =>
    i % steps > Math.floor(i / steps) ? -1e9 : 0,
  );
  return graph.constant('future', [steps, steps], values);
}

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
      // The others are transformers.
      const isConvolutional = work.network === 'resnet18';
      for (const parameter of spec.parametersOf(work)) {
        const { name, shape } = parameter;
        const values = spec.initialValues(parameter);
        if (shape.length === 2 && !isConvolutional)
          graph.constant(name, shape.toReversed(), transpose(values, shape));
        else graph.constant(name, shape, values);
        if (parameter.fill !== 'ones' || !isConvolutional) continue;
        const norm = name.slice(0, -'.weight'.length);
        graph.constant(`${norm}.mean`, shape, new Float32Array(spec.sizeOf(shape)));
        graph.constant(`${norm}.variance`, shape, new Float32Array(spec.sizeOf(shape)).fill(1));
      }
      const x = input('x', work.input, spec.uniform(spec.seeds.input, work.input));
      const ops = opsOf(graph, { steps: work.input[1] ?? 0, transposed: !isConvolutional });
      return done(spec.runNetwork(work, ops, x), spec.resultShape(work));
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
