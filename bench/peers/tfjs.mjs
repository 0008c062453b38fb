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

/** @param {spec.Parameter} parameter */
function weightOf(parameter) {
  const { shape } = parameter;
  const values = spec.initialValues(parameter);
  if (shape.length === 4) return hwio(values, shape);
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
  return {
    conv: (x, name, stride, padding) => conv(x, parameter(`${name}.weight`), stride, padding),
    batchNorm(x, name) {
      const [gamma, beta] = [parameter(`${name}.weight`), parameter(`${name}.bias`)];
      if (training) return batchNorm(x, gamma, beta);
      const [mean, variance] = [tf.zeros([x.shape[3]]), tf.ones([x.shape[3]])];
      return tf.batchNorm(x, mean, variance, beta, gamma, spec.batchNormEps);
    },
    relu: tf.relu,
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
    linear: (x, name) => tf.add(tf.matMul(x, parameter(`${name}.weight`)), parameter(`${name}.bias`)),
    share: (x) => x,
  };
}

/** @param {spec.NetworkWork} work */
function training(work) {
  const variables = new Map(
    spec.parametersOf(work).map((p) => [p.name, tf.variable(weightOf(p), true, p.name)]),
  );
  const x = nhwc(spec.uniform(spec.seeds.input, work.input), work.input);
  const y = oneHot(x.shape[0], spec.classesOf(work));
  const optimizer = tf.train.momentum(spec.sgd.lr, spec.sgd.momentum);
  const ops = opsWith((name) => variables.get(name), true);
  return {
    run: async () => {
      const loss = tf.tidy(() => {
        const { value, grads } = tf.variableGrads(
          () => crossEntropy(y, spec.runNetwork(work, ops, x)),
          [...variables.values()],
        );
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
      const x = nhwc(spec.uniform(spec.seeds.input, work.input), work.input);
      const ops = opsWith((name) => weights.get(name), false);
      return eager(() => [spec.runNetwork(work, ops, x)]);
    }
    case 'matmul':
    case 'add': {
      const shape = 'n' in work ? [work.n, work.n] : work.input;
      const a = tf.tensor(spec.uniform(spec.seeds.input, shape), shape);
      const b = tf.tensor(spec.uniform(spec.seeds.other, shape), shape);
      return eager(() => [work.op === 'add' ? tf.add(a, b) : tf.matMul(a, b)]);
    }
    case 'cross-entropy-grad': {
      const [n = 0, classes = 0] = work.input;
      const x = tf.tensor(spec.uniform(spec.seeds.input, work.input), work.input);
      const y = oneHot(n, classes);
      /** @type {(x: Tensor) => Tensor} */
      const loss = (x) => crossEntropy(y, x);
      return withGrads(loss, [x], tf.scalar(1));
    }
    case 'sequence':
      return null;
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
