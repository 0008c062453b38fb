/**
 * TensorFlow.js (https://github.com/tensorflow/tfjs) on its WebGPU backend, eager as its users run it: NHWC,
 * HWIO weights.
 */
import { adapterName, installWebGPU, peer, serve, versionOf } from './worker.mjs';
import * as spec from '../works.mjs';

installWebGPU();
const tf = await peer('@tensorflow/tfjs');
await peer('@tensorflow/tfjs-backend-webgpu');

/** @typedef {any} Tensor a TensorFlow.js tensor */

/**
 * A tensor with channels last from values with channels first.
 * @type {(values: Float32Array, shape: number[], order: number[]) => Tensor}
 */
const permuted = (values, shape, order) => tf.tidy(() => tf.transpose(tf.tensor(values, shape), order));
/** @type {(values: Float32Array, shape: number[]) => Tensor} */
const nhwc = (values, shape) => permuted(values, shape, [0, 2, 3, 1]);
/** @type {(values: Float32Array, shape: number[]) => Tensor} */
const hwio = (values, shape) => permuted(values, shape, [2, 3, 1, 0]);

/** @type {(seed: number, shape: number[]) => Tensor} */
const filled = (seed, shape) => tf.tensor(spec.uniform(seed, shape), shape);

/** Of a network: images or a sequence. @param {number[]} shape */
const inputOf = (shape) =>
  shape.length === 4 ? nhwc(spec.uniform(spec.seeds.input, shape), shape) : filled(spec.seeds.input, shape);

/** @param {spec.Parameter} parameter */
function weightOf(parameter) {
  const { shape } = parameter;
  const values = spec.initialValues(parameter);
  // Of all convolutions here only the depthwise ones have weights for a single channel.
  if (shape.length === 4) return shape[1] === 1 ? permuted(values, shape, [2, 3, 0, 1]) : hwio(values, shape);
  return shape.length === 2 ? permuted(values, shape, [1, 0]) : tf.tensor(values, shape);
}

/** @type {(x: Tensor, gamma: Tensor, beta: Tensor) => Tensor} */
function batchNorm(x, gamma, beta) {
  const { mean, variance } = tf.moments(x, [0, 1, 2]);
  return tf.batchNorm(x, mean, variance, beta, gamma, spec.batchNormEps);
}

/** @type {(x: Tensor) => Tensor} */
const maxPool = (x) => tf.maxPool(x, 3, 2, 1, 'floor');
/** @type {(x: Tensor, w: Tensor, stride: number, padding: number) => Tensor} */
const conv = (x, w, stride, padding) => tf.conv2d(x, w, stride, padding, 'NHWC', 1, 'floor');
/** Of [N, C]. @type {(x: Tensor, weight: Tensor, bias: Tensor) => Tensor} */
const linear = (x, weight, bias) => tf.add(tf.matMul(x, weight), bias);

/** Of [N, T, C]: a matrix has no gradient beside a batch. @type {typeof linear} */
function project(x, weight, bias) {
  const [n, length, size] = x.shape;
  return tf.reshape(linear(tf.reshape(x, [n * length, size]), weight, bias), [n, length, -1]);
}

/** @type {(x: Tensor, scale: Tensor, shift: Tensor, eps: number) => Tensor} */
function layerNorm(x, scale, shift, eps) {
  const { mean, variance } = tf.moments(x, -1, true);
  return tf.add(tf.mul(tf.mul(tf.sub(x, mean), tf.rsqrt(tf.add(variance, eps))), scale), shift);
}

/** @type {(x: Tensor) => Tensor} */
const gelu = (x) => tf.mul(tf.mul(x, 0.5), tf.add(tf.erf(tf.mul(x, Math.SQRT1_2)), 1));

/** Added to scores: 0 up to the diagonal. @type {(length: number) => Tensor} */
const futureMask = (length) => tf.mul(tf.sub(1, tf.linalg.bandPart(tf.ones([length, length]), -1, 0)), -1e9);

/**
 * @type {(x: Tensor, memory: Tensor | null, weight: Tensor, bias: Tensor, heads: number, mask: Tensor | null)
 * => Tensor}
 */
function attention(x, memory, weight, bias, heads, mask) {
  const [n, length, size] = x.shape;
  const projected =
    memory === null ? tf.split(project(x, weight, bias), 3, 2) : crossProjections(x, memory, weight, bias);
  const [q, k, v] = projected.map((/** @type {Tensor} */ part) =>
    tf.transpose(tf.reshape(part, [n, -1, heads, size / heads]), [0, 2, 1, 3]),
  );
  const scores = tf.mul(tf.matMul(q, k, false, true), 1 / Math.sqrt(size / heads));
  const weights = tf.softmax(mask === null ? scores : tf.add(scores, mask));
  return tf.reshape(tf.transpose(tf.matMul(weights, v), [0, 2, 1, 3]), [n, length, size]);
}

/** @type {(x: Tensor, memory: Tensor, weight: Tensor, bias: Tensor) => Tensor[]} */
function crossProjections(x, memory, weight, bias) {
  const size = x.shape[2];
  const weights = tf.split(weight, [size, 2 * size], 1);
  const biases = tf.split(bias, [size, 2 * size]);
  const both = project(memory, weights[1], biases[1]);
  return [project(x, weights[0], biases[0]), ...tf.split(both, 2, 2)];
}

/** @type {(targets: Tensor, logits: Tensor) => Tensor} mean over the batch */
const crossEntropy = (targets, logits) => tf.losses.softmaxCrossEntropy(targets, logits);
/** @type {(count: number, classes: number) => Tensor} */
const oneHot = (count, classes) =>
  tf.tidy(() => tf.oneHot(tf.tensor1d(spec.labels(count, classes), 'int32'), classes).toFloat());

/**
 * @param {(name: string) => Tensor} parameter
 * @param {boolean} training batch norms use the batch's statistics; otherwise the running ones, which are
 * fresh: 0 and 1
 * @returns {spec.Ops<Tensor>}
 */
function opsWith(parameter, training) {
  /** @type {Tensor} */
  let mask = null;
  return {
    conv: (x, name, stride, padding) => conv(x, parameter(`${name}.weight`), stride, padding),
    batchNorm(x, name) {
      const [gamma, beta] = [parameter(`${name}.weight`), parameter(`${name}.bias`)];
      if (training) return batchNorm(x, gamma, beta);
      const [mean, variance] = [tf.zeros([x.shape[3]]), tf.ones([x.shape[3]])];
      return tf.batchNorm(x, mean, variance, beta, gamma, spec.batchNormEps);
    },
    depthwise: (x, name, stride) =>
      tf.depthwiseConv2d(x, parameter(`${name}.weight`), stride, 1, 'NHWC', 1, 'floor'),
    relu: tf.relu,
    relu6: tf.relu6,
    gelu,
    add: tf.add,
    maxPool,
    padShortcut(x, channels) {
      // A strided slice has no gradient there; this view makes it a plain one.
      const [n, h, w, c] = x.shape;
      const even = tf.slice(tf.reshape(x, [(n * h) / 2, 2, w / 2, 2 * c]), [0, 0, 0, 0], [-1, 1, -1, c]);
      const side = channels / 4;
      const flat = [[0, 0], [0, 0], [0, 0], [side, side]]; // prettier-ignore
      return tf.pad(tf.reshape(even, [n, h / 2, w / 2, c]), flat);
    },
    averagePool: (x) => tf.mean(x, [1, 2]),
    linear: (x, name) => linear(x, parameter(`${name}.weight`), parameter(`${name}.bias`)),
    project: (x, name) => project(x, parameter(`${name}.weight`), parameter(`${name}.bias`)),
    layerNorm: (x, name, eps) => layerNorm(x, parameter(`${name}.weight`), parameter(`${name}.bias`), eps),
    attention(x, memory, { weight, bias, heads, causal }) {
      if (causal) mask ??= tf.keep(futureMask(x.shape[1]));
      return attention(x, memory, parameter(weight), parameter(bias), heads, causal ? mask : null);
    },
    patches(x, name, size) {
      const pixels = tf.add(conv(x, parameter(`${name}.weight`), size, 0), parameter(`${name}.bias`));
      return tf.reshape(pixels, [x.shape[0], -1, pixels.shape[3]]);
    },
    prepend: (x, name) => tf.concat([tf.tile(parameter(name), [x.shape[0], 1, 1]), x], 1),
    addParameter: (x, name) => tf.add(x, parameter(name)),
    firstStep: (x) => tf.squeeze(tf.slice(x, [0, 0, 0], [-1, 1, -1]), [1]),
    share: (x) => x,
  };
}

/** Mean squared error. @type {(targets: Tensor, result: Tensor) => Tensor} */
const distance = (targets, result) => tf.mean(tf.squaredDifference(result, targets));

/** @param {spec.NetworkWork} work */
function training(work) {
  const x = inputOf(work.input);
  const classes = spec.classesOf(work);
  const y = classes === null ? filled(spec.seeds.labels, work.input) : oneHot(x.shape[0], classes);
  const criterion = classes === null ? distance : crossEntropy;
  return steps(spec.sgd(work), spec.parametersOf(work), (parameter) => {
    const ops = opsWith(parameter, true);
    return () => criterion(y, spec.runNetwork(work, ops, x));
  });
}

/**
 * The recurrence written out: TensorFlow.js's own layers have one bias where PyTorch has two, and its GRU
 * resets the state before the product.
 * @param {spec.SequenceWork} work
 * @param {(name: string) => Tensor} parameter
 * @param {Tensor} x
 */
function recurrent({ layer, input: [n = 0], width }, parameter, x) {
  const fromInput = tf.unstack(project(x, parameter('weight_ih_l0'), parameter('bias_ih_l0')), 1);
  const gateCount = layer === 'lstm' ? 4 : 3;
  let h = tf.zeros([n, width]);
  let c = tf.zeros([n, width]);
  const outputs = [];
  for (const ofInput of fromInput) {
    const fromState = linear(h, parameter('weight_hh_l0'), parameter('bias_hh_l0'));
    if (layer === 'lstm') {
      const [i, f, g, o] = tf.split(tf.add(ofInput, fromState), gateCount, 1);
      c = tf.add(tf.mul(tf.sigmoid(f), c), tf.mul(tf.sigmoid(i), tf.tanh(g)));
      h = tf.mul(tf.sigmoid(o), tf.tanh(c));
    } else {
      const [rIn, zIn, freshIn] = tf.split(ofInput, gateCount, 1);
      const [rState, zState, freshState] = tf.split(fromState, gateCount, 1);
      const [r, z] = [tf.sigmoid(tf.add(rIn, rState)), tf.sigmoid(tf.add(zIn, zState))];
      const fresh = tf.tanh(tf.add(freshIn, tf.mul(r, freshState)));
      h = tf.add(fresh, tf.mul(z, tf.sub(h, fresh)));
    }
    outputs.push(h);
  }
  return tf.stack(outputs, 1);
}

/** @param {spec.SequenceWork} work */
function sequence(work) {
  const isRecurrent = work.layer === 'lstm' || work.layer === 'gru';
  const x = filled(spec.seeds.input, work.input);
  const memory = filled(spec.seeds.other, work.input);
  const y = filled(spec.seeds.labels, spec.sequenceResult(work));
  return steps(spec.sgd(), spec.sequenceParameters(work), (parameter) => {
    const ops = opsWith(parameter, true);
    return () =>
      distance(
        y,
        isRecurrent ? recurrent(work, parameter, x) : spec.runTransformerLayer(work, ops, x, memory),
      );
  });
}

/**
 * @param {ReturnType<typeof spec.sgd>} sgd
 * @param {spec.Parameter[]} parameters
 * @param {(parameter: (name: string) => Tensor) => () => Tensor} lossWith gives the loss's function
 */
function steps({ lr, momentum }, parameters, lossWith) {
  const variables = new Map(parameters.map((p) => [p.name, tf.variable(weightOf(p), true, p.name)]));
  const optimizer = tf.train.momentum(lr, momentum);
  const lossOf = lossWith((name) => variables.get(name));
  return {
    run: async () => {
      const loss = tf.tidy(() => {
        const { value, grads } = tf.variableGrads(lossOf, [...variables.values()]);
        optimizer.applyGradients(grads);
        return value;
      });
      const [value] = await loss.data();
      loss.dispose();
      return /** @type {number} */ (value);
    },
  };
}

/** @param {() => Tensor[]} fn gives the result, then the gradients */
function eager(fn) {
  /** @type {Tensor[]} */
  let results = [];
  const backend = tf.backend();
  return {
    run: async () => {
      tf.dispose(results);
      results = tf.tidy(fn);
      backend.endComputePassEncoder();
      if (backend.commandEncoder) backend.submitQueue();
      await backend.device.queue.onSubmittedWorkDone();
    },
    check: async () => {
      const sums = [];
      for (const result of results) sums.push(spec.sumOfSquares(await result.data()));
      return sums;
    },
  };
}

/**
 * @type {(fn: (...inputs: Tensor[]) => Tensor, inputs: Tensor[], seed: Tensor) =>
 * import('./worker.mjs').Prepared}
 */
const withGrads = (fn, inputs, seed) =>
  eager(() => {
    const { value, grads } = tf.valueAndGrads(fn)(inputs, seed);
    return [value, ...grads];
  });

/** @param {spec.ImageWork} work */
function image(work) {
  const x = nhwc(spec.imageValues(work), work.input);
  const [n = 0, channels = 0, h = 0, w = 0] = work.input;
  const kernel = [channels, channels, 3, 3];
  /** @param {number[]} shape */
  const seed = (shape) => nhwc(spec.uniform(spec.seeds.grad, shape), shape);
  /** @type {(x: Tensor, w: Tensor) => Tensor} */
  const conv3 = (x, w) => conv(x, w, 1, 1);
  switch (work.op) {
    case 'conv':
    case 'conv-grad': {
      const weight = hwio(spec.uniform(spec.seeds.other, kernel), kernel);
      return work.op === 'conv'
        ? eager(() => [conv3(x, weight)])
        : withGrads(conv3, [x, weight], seed(work.input));
    }
    case 'batch-norm-grad':
      return withGrads(batchNorm, [x, tf.ones([channels]), tf.zeros([channels])], seed(work.input));
    case 'max-pool':
      return eager(() => [maxPool(x)]);
    case 'max-pool-grad':
      return withGrads(maxPool, [x], seed([n, channels, h / 2, w / 2]));
  }
}

/** @param {spec.PeerWork} work */
function prepare(work) {
  switch (work.op) {
    case 'train':
      return training(work);
    case 'forward': {
      const weights = new Map(
        spec.parametersOf(work).map((parameter) => [parameter.name, weightOf(parameter)]),
      );
      const x = inputOf(work.input);
      const ops = opsWith((name) => weights.get(name), false);
      return eager(() => [spec.runNetwork(work, ops, x)]);
    }
    case 'matmul':
    case 'add': {
      const shape = 'n' in work ? [work.n, work.n] : work.input;
      const [a, b] = [filled(spec.seeds.input, shape), filled(spec.seeds.other, shape)];
      return eager(() => [work.op === 'add' ? tf.add(a, b) : tf.matMul(a, b)]);
    }
    case 'cross-entropy-grad': {
      const [n = 0, classes = 0] = work.input;
      const x = filled(spec.seeds.input, work.input);
      const y = oneHot(n, classes);
      /** @type {(x: Tensor) => Tensor} */
      const loss = (x) => crossEntropy(y, x);
      return withGrads(loss, [x], tf.scalar(1));
    }
    case 'sequence':
      return sequence(work);
    default:
      return image(work);
  }
}

await serve(async () => {
  await tf.setBackend('webgpu');
  await tf.ready();
  return {
    name: 'tfjs',
    version: versionOf('@tensorflow/tfjs'),
    adapter: await adapterName(),
    prepare: async (work) => prepare(work),
  };
});
