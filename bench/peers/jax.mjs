/**
 * jax-js (https://github.com/ekzhang/jax-js): every work is one jitted function. It takes over each array it
 * is given: `.ref` keeps one.
 */
import { adapterName, installWebGPU, peer, serve, versionOf } from './worker.mjs';
import * as spec from '../works.mjs';

installWebGPU();
const jax = await peer('@jax-js/jax');
const { numpy: np, lax, nn, jit, valueAndGrad, vjp } = jax;

/** @typedef {any} NDArray a jax-js array */

/** @type {(values: Float32Array | Int32Array, shape: number[]) => NDArray} */
const array = (values, shape) => np.array(values).reshape(shape);
/** @type {(seed: number, shape: number[]) => NDArray} */
const filled = (seed, shape) => array(spec.uniform(seed, shape), shape);

/** @type {(x: NDArray, gamma: NDArray, beta: NDArray) => NDArray} */
function batchNorm(x, gamma, beta) {
  const mean = np.mean(x.ref, [0, 2, 3], { keepdims: true });
  const centered = x.sub(mean);
  const variance = np.mean(np.square(centered.ref), [0, 2, 3], { keepdims: true });
  const scale = gamma.reshape([1, -1, 1, 1]).div(np.sqrt(variance.add(spec.batchNormEps)));
  return centered.mul(scale).add(beta.reshape([1, -1, 1, 1]));
}

/** @type {(x: NDArray) => NDArray} */
const maxPool = (x) =>
  lax.reduceWindow(np.pad(x, [[0, 0], [0, 0], [1, 1], [1, 1]]), np.max, [3, 3], [2, 2]); // prettier-ignore

/** @type {(x: NDArray, w: NDArray, stride: number, padding: number) => NDArray} */
const conv = (x, w, stride, padding) =>
  lax.convGeneralDilated(x, w, [stride, stride], [[padding, padding], [padding, padding]]); // prettier-ignore

/** Mean over the batch, from one-hot labels. @type {(logits: NDArray, targets: NDArray) => NDArray} */
const crossEntropy = (logits, targets) => {
  const count = logits.shape[0];
  return np.sum(nn.logSoftmax(logits, -1).mul(targets)).mul(-1 / count);
};

/** @type {(count: number, classes: number) => NDArray} */
const oneHot = (count, classes) =>
  nn.oneHot(np.array(spec.labels(count, classes), { dtype: np.int32 }), classes);

/**
 * @param {(name: string) => NDArray} parameter
 * @param {boolean} training batch norms use the batch's statistics; otherwise the running ones, which are
 * fresh: 0 and 1
 * @returns {spec.Ops<NDArray>}
 */
const opsWith = (parameter, training) => ({
  conv: (x, name, stride, padding) => conv(x, parameter(`${name}.weight`), stride, padding),
  batchNorm(x, name) {
    const [gamma, beta] = [parameter(`${name}.weight`), parameter(`${name}.bias`)];
    if (training) return batchNorm(x, gamma, beta);
    const scale = gamma.div(Math.sqrt(1 + spec.batchNormEps));
    return x.mul(scale.reshape([1, -1, 1, 1])).add(beta.reshape([1, -1, 1, 1]));
  },
  relu: (x) => nn.relu(x),
  add: (a, b) => a.add(b),
  maxPool,
  padShortcut(x, channels) {
    const [n, c, h, w] = x.shape;
    const side = channels / 4;
    const even = x.reshape([n, c, h / 2, 2, w / 2, 2]).slice([], [], [], 0, [], 0);
    return np.pad(even, { 1: [side, side] });
  },
  averagePool: (x) => np.mean(x, [2, 3]),
  linear: (x, name) => np.matmul(x, np.transpose(parameter(`${name}.weight`))).add(parameter(`${name}.bias`)),
  share: (x) => x.ref,
});

/**
 * @param {spec.NetworkWork} work
 * @param {NDArray[]} parameters
 * @param {NDArray} x
 * @param {boolean} training
 */
function logits(work, parameters, x, training) {
  const byName = new Map(spec.parametersOf(work).map(({ name }, i) => [name, parameters[i]]));
  return spec.runNetwork(
    work,
    opsWith((name) => byName.get(name), training),
    x,
  );
}

/** @type {(work: spec.NetworkWork) => NDArray[]} */
const initial = (work) =>
  spec.parametersOf(work).map((parameter) => array(spec.initialValues(parameter), parameter.shape));

/** @param {spec.NetworkWork} work */
function training(work) {
  const x = filled(spec.seeds.input, work.input);
  const y = oneHot(x.shape[0], spec.classesOf(work));
  return steps(initial(work), [x, y], (parameters, x, y) =>
    crossEntropy(logits(work, parameters, x, true), y),
  );
}

/** @type {(x: NDArray, weight: NDArray, bias: NDArray) => NDArray} */
const linear = (x, weight, bias) => np.matmul(x, np.transpose(weight)).add(bias);

/** Unrolled. @type {(work: spec.SequenceWork, parameters: NDArray[], x: NDArray) => NDArray} */
function recurrent({ layer, input: [n = 0, length = 0], width }, [wIh, wHh, bIh, bHh], x) {
  const fromInput = linear(x, wIh, bIh);
  const recur = np.transpose(wHh);
  /** @type {(gates: NDArray, index: number) => NDArray} */
  const part = (gates, index) => gates.ref.slice([], [index * width, (index + 1) * width]);
  let h = np.zeros([n, width]);
  let c = np.zeros([n, width]);
  const outputs = [];
  for (let t = 0; t < length; t++) {
    const fromState = np.matmul(h.ref, recur.ref).add(bHh.ref);
    const ofInput = fromInput.ref.slice([], t);
    if (layer === 'lstm') {
      const gates = ofInput.add(fromState);
      const [i, f, o] = [0, 1, 3].map((index) => nn.sigmoid(part(gates, index)));
      c = f.mul(c).add(i.mul(np.tanh(part(gates, 2))));
      h = o.mul(np.tanh(c.ref));
    } else {
      const [r, z] = [0, 1].map((index) => nn.sigmoid(part(ofInput, index).add(part(fromState, index))));
      const fresh = np.tanh(part(ofInput, 2).add(r.mul(part(fromState, 2))));
      h = fresh.ref.add(z.mul(h.sub(fresh)));
    }
    outputs.push(h.ref);
  }
  return np.stack(outputs, 1);
}

/** @type {(x: NDArray, scale: NDArray, shift: NDArray) => NDArray} */
function layerNorm(x, scale, shift) {
  const centered = x.ref.sub(np.mean(x, [-1], { keepdims: true }));
  const variance = np.mean(np.square(centered.ref), [-1], { keepdims: true });
  return centered
    .div(np.sqrt(variance.add(1e-5)))
    .mul(scale)
    .add(shift);
}

/** @type {(work: spec.SequenceWork, parameters: NDArray[], x: NDArray, memory: NDArray) => NDArray} */
function transformerLayer(work, parameters, x, memory) {
  const [n, , size = 0] = work.input;
  const byName = new Map(spec.sequenceParameters(work).map(({ name }, i) => [name, parameters[i]]));
  /** @type {(name: string) => [NDArray, NDArray]} */
  const both = (name) => [byName.get(`${name}.weight`), byName.get(`${name}.bias`)];
  /** @type {(x: NDArray, keys: NDArray, name: string) => NDArray} */
  const attend = (x, keys, name) => {
    const weight = byName.get(`${name}.in_proj_weight`);
    const bias = byName.get(`${name}.in_proj_bias`);
    const [q, k, v] = [x, keys.ref, keys].map((from, index) => {
      const rows = [index * size, (index + 1) * size];
      const projected = linear(from, weight.ref.slice(rows), bias.ref.slice(rows));
      const split = projected.reshape([n, -1, spec.heads, size / spec.heads]);
      return np.transpose(split, index === 1 ? [0, 2, 3, 1] : [0, 2, 1, 3]);
    });
    const scores = np.matmul(q, k).mul(1 / Math.sqrt(size / spec.heads));
    const heads = np.matmul(nn.softmax(scores, -1), v);
    return linear(np.transpose(heads, [0, 2, 1, 3]).reshape(work.input), ...both(`${name}.out_proj`));
  };
  x = layerNorm(x.ref.add(attend(x.ref, x, 'self_attn')), ...both('norm1'));
  if (work.layer === 'decoder')
    x = layerNorm(x.ref.add(attend(x, memory, 'multihead_attn')), ...both('norm2'));
  const wide = nn.relu(linear(x.ref, ...both('linear1')));
  return layerNorm(
    x.add(linear(wide, ...both('linear2'))),
    ...both(work.layer === 'decoder' ? 'norm3' : 'norm2'),
  );
}

/** @param {spec.SequenceWork} work */
function sequence(work) {
  const isRecurrent = work.layer === 'lstm' || work.layer === 'gru';
  const parameters = spec.sequenceParameters(work).map((p) => array(spec.initialValues(p), p.shape));
  const x = filled(spec.seeds.input, work.input);
  const memory = filled(spec.seeds.other, work.input);
  const y = filled(spec.seeds.labels, spec.sequenceResult(work));
  return steps(parameters, [x, memory, y], (parameters, x, memory, y) => {
    const result = isRecurrent
      ? recurrent(work, parameters, x)
      : transformerLayer(work, parameters, x, memory);
    return np.mean(np.square(result.sub(y)));
  });
}

/**
 * Steps of SGD.
 * @param {NDArray[]} initial parameters
 * @param {NDArray[]} inputs
 * @param {(parameters: NDArray[], ...inputs: NDArray[]) => NDArray} lossOf
 */
function steps(initial, inputs, lossOf) {
  const step = jit(
    (
      /** @type {NDArray[]} */ parameters,
      /** @type {NDArray[]} */ momenta,
      /** @type {NDArray[]} */ ...inputs
    ) => {
      const [loss, grads] = valueAndGrad(lossOf)(
        parameters.map((p) => p.ref),
        ...inputs,
      );
      const next = momenta.map((m, i) => m.mul(spec.sgd.momentum).add(grads[i]));
      const updated = parameters.map((p, i) => p.sub(next[i].ref.mul(spec.sgd.lr)));
      return [loss, updated, next];
    },
  );
  let parameters = initial;
  let momenta = parameters.map((p) => np.zeros(p.shape));
  return {
    run: async () => {
      const result = step(parameters, momenta, ...inputs.map((x) => x.ref));
      [, parameters, momenta] = result;
      return /** @type {number} */ ((await result[0].data())[0]);
    },
  };
}

/**
 * @param {(...inputs: NDArray[]) => NDArray[]} fn gives the result, then the gradients
 * @param {NDArray[]} inputs
 */
function jitted(fn, inputs) {
  const compiled = jit(fn);
  /** @type {NDArray[]} */
  let results = [];
  return {
    run: async () => {
      for (const old of results) old.dispose();
      results = compiled(...inputs.map((x) => x.ref));
      await jax.blockUntilReady(results);
    },
    check: async () => {
      const sums = [];
      for (const result of results) sums.push(spec.sumOfSquares(await result.ref.data()));
      return sums;
    },
  };
}

/**
 * Result and gradients of `fn` for a fixed gradient of the result.
 * @param {(...inputs: NDArray[]) => NDArray} fn
 * @param {NDArray[]} inputs
 * @param {number[]} shape the result's
 */
function withGrads(fn, inputs, shape) {
  return jitted(
    (seed, ...xs) => {
      const [result, backward] = vjp(fn, xs);
      const grads = backward(seed);
      backward.dispose();
      return [result, ...grads];
    },
    [filled(spec.seeds.grad, shape), ...inputs],
  );
}

/** @param {spec.ImageWork} work */
function image(work) {
  const x = array(spec.imageValues(work), work.input);
  const [n = 0, channels = 0, h = 0, w = 0] = work.input;
  const weight = () => filled(spec.seeds.other, [channels, channels, 3, 3]);
  const pooled = [n, channels, h / 2, w / 2];
  /** @type {(x: NDArray, w: NDArray) => NDArray} */
  const conv3 = (x, w) => conv(x, w, 1, 1);
  switch (work.op) {
    case 'conv':
      return jitted((x, w) => [conv3(x, w)], [x, weight()]);
    case 'conv-grad':
      return withGrads(conv3, [x, weight()], work.input);
    case 'batch-norm-grad':
      return withGrads(batchNorm, [x, np.ones([channels]), np.zeros([channels])], work.input);
    case 'max-pool':
      return jitted((x) => [maxPool(x)], [x]);
    case 'max-pool-grad':
      return withGrads(maxPool, [x], pooled);
  }
}

/** @param {spec.PeerWork} work */
function prepare(work) {
  switch (work.op) {
    case 'train':
      return training(work);
    case 'sequence':
      return sequence(work);
    case 'forward': {
      const parameters = initial(work);
      return jitted(
        (x, ...parameters) => [logits(work, parameters, x, false)],
        [filled(spec.seeds.input, work.input), ...parameters],
      );
    }
    case 'matmul': {
      const shape = [work.n, work.n];
      return jitted(
        (a, b) => [np.matmul(a, b)],
        [filled(spec.seeds.input, shape), filled(spec.seeds.other, shape)],
      );
    }
    case 'add':
      return jitted(
        (a, b) => [a.add(b)],
        [filled(spec.seeds.input, work.input), filled(spec.seeds.other, work.input)],
      );
    case 'cross-entropy-grad': {
      const [n = 0, classes = 0] = work.input;
      return jitted(
        (x, y) => valueAndGrad(crossEntropy)(x, y),
        [filled(spec.seeds.input, work.input), oneHot(n, classes)],
      );
    }
    default:
      return image(work);
  }
}

await serve(async () => {
  await jax.init('webgpu');
  jax.defaultDevice('webgpu');
  return {
    name: 'jax-js',
    version: versionOf('@jax-js/jax'),
    adapter: await adapterName(),
    prepare: async (work) => prepare(work),
  };
});
