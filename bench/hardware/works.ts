/** What a GPU's time goes into: the rows of docs/hardware.md. */
import * as k from '../../src/index.js';

export interface HardwareWork {
  /** Tensors that stay from run to run; then what is recorded is `run`. */
  readonly prepare: () => { readonly run: () => unknown; readonly before?: () => unknown };
  /** Bytes of operands and results, each once. */
  readonly leastBytes: number;
  /** Of products and convolutions: a multiply-add is two, whatever algorithm does it. */
  readonly flops?: number;
}

const f32 = (...shapes: readonly (readonly number[])[]): number =>
  shapes.reduce((sum, shape) => sum + 4 * shape.reduce((a, b) => a * b, 1), 0);

const channelsLast = (shape: readonly number[]): k.Tensor =>
  k.zeros(shape).contiguous({ memoryFormat: 'channelsLast' });
const activation = (shape: readonly number[]): k.Tensor =>
  shape.length === 4 ? channelsLast(shape) : k.zeros(shape);

/** An op of `inputs`; its backward is a row of its own, with gradients for the inputs named in `wants`. */
interface Differentiated {
  readonly inputs: Readonly<Record<string, () => k.Tensor>>;
  readonly op: (inputs: Readonly<Record<string, k.Tensor>>) => k.Tensor;
}

const forward = ({ inputs, op }: Differentiated): HardwareWork['prepare'] => {
  return () => {
    const made = Object.fromEntries(Object.entries(inputs).map(([name, make]) => [name, make()]));
    return { run: () => op(made) };
  };
};

const backward =
  ({ inputs, op }: Differentiated, wants: readonly string[]): HardwareWork['prepare'] =>
  () => {
    const made = Object.fromEntries(Object.entries(inputs).map(([name, make]) => [name, make()]));
    const leaves = wants.map((name) => made[name]!);
    for (const leaf of leaves) leaf.requiresGrad = true;
    let result: k.Tensor;
    let seed: k.Tensor;
    return {
      before: () => {
        result = op(made).keep();
        seed = activation(result.shape);
      },
      run: () => k.autograd.grad(result, leaves, { gradOutputs: seed, retainGraph: true }),
    };
  };

const product = (m: number, n: number, depth: number, transposed = ''): HardwareWork => ({
  flops: 2 * m * n * depth,
  leastBytes: f32([m, depth], [depth, n], [m, n]),
  prepare: () => {
    const a = transposed.includes('a') ? k.zeros([depth, m]).t() : k.zeros([m, depth]);
    const b = transposed.includes('b') ? k.zeros([n, depth]).t() : k.zeros([depth, n]);
    return { run: () => k.matmul(a, b) };
  },
});

function convolution(
  [n, cIn, h, w]: readonly [number, number, number, number],
  [cOut, perGroup, kernel]: readonly [number, number, number],
  options: { padding?: number; stride?: number; groups?: number },
): Differentiated {
  return {
    inputs: {
      x: () => channelsLast([n, cIn, h, w]),
      weight: () => new k.nn.Conv2d(cIn, cOut, kernel, { ...options, bias: false }).weight.detach(),
    },
    op: ({ x, weight }) => {
      if (weight!.size(1) !== perGroup) throw new Error('convolution: groups and channels do not agree');
      return k.conv2d(x!, weight!, undefined, options);
    },
  };
}

const image = [32, 64, 56, 56] as const;
const conv3x3 = convolution(image, [64, 64, 3], { padding: 1 });
const stem = convolution([32, 3, 224, 224], [64, 3, 7], { padding: 3, stride: 2 });
const pointwise = convolution([32, 256, 56, 56], [64, 256, 1], {});
const depthwise = convolution([32, 144, 56, 56], [144, 1, 3], { padding: 1, groups: 144 });

const normed: Differentiated = {
  inputs: { x: () => channelsLast(image), weight: () => k.ones([64]), bias: () => k.zeros([64]) },
  op: ({ x, weight, bias }) =>
    k.nn.functional.batchNorm(x!, null, null, { weight: weight!, bias: bias!, training: true }),
};
const rows = [6304, 768] as const;
const layerNormed: Differentiated = {
  inputs: { x: () => k.zeros(rows), weight: () => k.ones([768]), bias: () => k.zeros([768]) },
  op: ({ x, weight, bias }) => k.nn.functional.layerNorm(x!, [768], { weight: weight!, bias: bias! }),
};
const heads = [8, 12, 197, 64] as const;
const attention: Differentiated = {
  inputs: { q: () => k.zeros(heads), k: () => k.zeros(heads), v: () => k.zeros(heads) },
  op: (t) => k.nn.functional.scaledDotProductAttention(t.q!, t.k!, t.v!),
};
const softmax: Differentiated = {
  inputs: { x: () => k.zeros([256, 1000]) },
  op: ({ x }) => k.nn.functional.softmax(x!, 1),
};
const crossEntropy: Differentiated = {
  inputs: { x: () => k.zeros([256, 1000]) },
  op: ({ x }) => k.nn.functional.crossEntropy(x!, k.zeros([256], { dtype: 'int32' })),
};
const pooled: Differentiated = {
  inputs: { x: () => channelsLast([32, 64, 112, 112]) },
  op: ({ x }) => k.nn.functional.maxPool2d(x!, 3, { stride: 2, padding: 1 }),
};
const embedded: Differentiated = {
  inputs: { weight: () => k.zeros([30000, 768]) },
  op: ({ weight }) => k.nn.functional.embedding(k.zeros([8, 197], { dtype: 'int32' }), weight!),
};

/** An op of one tensor of `shape`. */
const unary = (
  shape: readonly number[],
  result: readonly number[],
  op: (x: k.Tensor) => unknown,
): HardwareWork => ({
  leastBytes: f32(shape, result),
  prepare: () => {
    const x = k.zeros(shape);
    return { run: () => op(x) };
  },
});

const scattered = (into: readonly number[], from: readonly number[]): HardwareWork => ({
  leastBytes: f32(from, from, into),
  prepare: () => {
    const [x, source] = [k.zeros(into), k.zeros(from)];
    const index = k.zeros(from, { dtype: 'int32' });
    return { run: () => x.scatterAdd(0, index, source) };
  },
});

const optimizer = (make: (parameters: k.Tensor[]) => k.optim.Optimizer): HardwareWork => ({
  leastBytes: 0,
  prepare: () => {
    const parameters = Array.from({ length: 12 }, () => {
      const p = k.zeros([1 << 20]).requiresGrad_();
      p.grad = k.zeros([1 << 20]);
      return p;
    });
    const made = make(parameters);
    return { before: () => void made.step(), run: () => void made.step() };
  },
});

const weight = [64, 64, 3, 3] as const;
const flops3x3 = 2 * 32 * 56 * 56 * 64 * 64 * 9;
const out1x1 = [32, 64, 56, 56] as const;
const deep = [32, 144, 56, 56] as const;
const half = [32, 64, 56, 56] as const;
const scores = [256, 1000] as const;
const parameterBytes = 12 * f32([1 << 20]);

export const hardwareWorks: Readonly<Record<string, HardwareWork>> = {
  'matmul 4096': product(4096, 4096, 4096),
  'matmul 1024': product(1024, 1024, 1024),
  'matmul 1024, B transposed': product(1024, 1024, 1024, 'b'),
  'matmul 1 x 4096 x 4096': product(1, 4096, 4096),
  'matmul 1 x 4096 x 4096, B transposed': product(1, 4096, 4096, 'b'),
  'matmul 4 x 4096 x 4096, B transposed': product(4, 4096, 4096, 'b'),
  'matmul 32 x 1000 x 2048': product(32, 1000, 2048),
  'conv 3x3, 64 channels, 32 x 56 x 56': {
    leastBytes: f32(image, weight, image),
    flops: flops3x3,
    prepare: forward(conv3x3),
  },
  'its input gradient': {
    leastBytes: f32(image, weight, image),
    flops: flops3x3,
    prepare: backward(conv3x3, ['x']),
  },
  'its weight gradient': {
    leastBytes: f32(image, weight, image),
    flops: flops3x3,
    prepare: backward(conv3x3, ['weight']),
  },
  'conv 7x7 stride 2, 3 to 64 channels, 32 x 224 x 224': {
    leastBytes: f32([32, 3, 224, 224], [64, 3, 7, 7], [32, 64, 112, 112]),
    flops: 2 * 32 * 112 * 112 * 64 * 3 * 49,
    prepare: forward(stem),
  },
  'conv 1x1, 256 to 64 channels, 32 x 56 x 56': {
    leastBytes: f32([32, 256, 56, 56], [64, 256], out1x1),
    flops: 2 * 32 * 56 * 56 * 256 * 64,
    prepare: forward(pointwise),
  },
  'depthwise 3x3, 144 channels, 32 x 56 x 56': {
    leastBytes: f32(deep, [144, 9], deep),
    prepare: forward(depthwise),
  },
  'depthwise, its weight gradient': {
    leastBytes: f32(deep, [144, 9], deep),
    prepare: backward(depthwise, ['weight']),
  },
  'batch norm in training, 64 channels, 32 x 56 x 56': {
    leastBytes: f32(image, image),
    prepare: forward(normed),
  },
  'batch norm, backward': {
    leastBytes: f32(image, image, image),
    prepare: backward(normed, ['x', 'weight', 'bias']),
  },
  'layer norm 6304 x 768': { leastBytes: f32(rows, rows), prepare: forward(layerNormed) },
  'layer norm, backward': {
    leastBytes: f32(rows, rows, rows),
    prepare: backward(layerNormed, ['x', 'weight', 'bias']),
  },
  'softmax 256 x 1000': { leastBytes: f32(scores, scores), prepare: forward(softmax) },
  'softmax, backward': { leastBytes: f32(scores, scores, scores), prepare: backward(softmax, ['x']) },
  'cross-entropy 256 x 1000': { leastBytes: f32(scores, [256]), prepare: forward(crossEntropy) },
  'cross-entropy, backward': { leastBytes: f32(scores, scores), prepare: backward(crossEntropy, ['x']) },
  'attention 8 x 12 x 197 x 64': {
    leastBytes: f32(heads, heads, heads, heads),
    flops: 4 * 96 * 197 * 197 * 64,
    prepare: forward(attention),
  },
  'attention, backward': {
    leastBytes: f32(heads, heads, heads, heads, heads, heads, heads, heads),
    flops: 8 * 96 * 197 * 197 * 64,
    prepare: backward(attention, ['q', 'k', 'v']),
  },
  'max pool 3x3 stride 2, 32 x 64 x 112 x 112': {
    leastBytes: f32([32, 64, 112, 112], half, half),
    prepare: forward(pooled),
  },
  'max pool, backward': {
    leastBytes: f32([32, 64, 112, 112], half, half),
    prepare: backward(pooled, ['x']),
  },
  'images from bytes, 32 x 224 x 224 x 3': {
    leastBytes: f32([32, 224, 224, 3]) * 1.25,
    prepare: () => {
      const images = { data: new Uint8Array(32 * 224 * 224 * 3), shape: [32, 224, 224, 3] };
      const horizontalFlips = Array.from({ length: 32 }, (_, i) => i % 2 === 0);
      return { run: () => k.data.imagesToTensor(images, { horizontalFlips }) };
    },
  },
  'embedding 1576 of 30000 x 768, backward': {
    leastBytes: f32([1576, 768], [30000, 768]),
    prepare: backward(embedded, ['weight']),
  },
  'sum of 4 Mi': unary([1 << 22], [], (x) => x.sum()),
  'sum over rows, 6304 x 768': unary(rows, [6304], (x) => x.sum(1)),
  'sum over columns, 6304 x 768': unary(rows, [768], (x) => x.sum(0)),
  'sum over rows, 8 x 200000': unary([8, 200000], [8], (x) => x.sum(1)),
  'cumsum of 1 Mi': unary([1 << 20], [1 << 20], (x) => x.cumsum(0)),
  'cummax over rows, 4096 x 300': unary([4096, 300], [2, 4096, 300], (x) => k.cummax(x, 1)),
  'cumsum over columns, 6304 x 768': unary(rows, rows, (x) => x.cumsum(0)),
  'sort of 64 Ki': unary([1 << 16], [2 << 16], (x) => x.sort()),
  'sort over rows, 4096 x 300': unary([4096, 300], [2, 4096, 300], (x) => x.sort()),
  'topk 8 of 1 Mi': unary([1 << 20], [2, 8], (x) => x.topk(8)),
  'scatterAdd of 1 Mi into 1 Ki': scattered([1 << 10], [1 << 20]),
  'scatterAdd of 1 Mi into 1 Mi': scattered([1 << 20], [1 << 20]),
  'indexAdd of 6304 x 768 into 1000 x 768': {
    leastBytes: f32([6304, 768], [6304], [1000, 768], [1000, 768]),
    prepare: () => {
      const [x, source] = [k.zeros([1000, 768]), k.zeros(rows)];
      const index = k.zeros([6304], { dtype: 'int32' });
      return { run: () => x.indexAdd(0, index, source) };
    },
  },
  'SGD with momentum, 12 x 1 Mi': {
    ...optimizer((parameters) => new k.optim.SGD(parameters, { lr: 0.1, momentum: 0.9 })),
    leastBytes: 5 * parameterBytes,
  },
  'AdamW, 12 x 1 Mi': {
    ...optimizer((parameters) => new k.optim.AdamW(parameters, { lr: 0.1 })),
    leastBytes: 7 * parameterBytes,
  },
};
