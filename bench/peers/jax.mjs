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

/** @type {(x: NDArray, w: NDArray, stride: number, padding: number, groups?: number) => NDArray} */
const conv = (x, w, stride, padding, groups = 1) => {
  const pads = [[padding, padding], [padding, padding]]; // prettier-ignore
  return lax.convGeneralDilated(x, w, [stride, stride], pads, { featureGroupCount: groups });
};

/** @type {(x: NDArray, weight: NDArray, bias: NDArray) => NDArray} */
const linear = (x, weight, bias) => np.matmul(x, np.transpose(weight)).add(bias);

/** @type {(x: NDArray, scale: NDArray, shift: NDArray, eps: number) => NDArray} */
function layerNorm(x, scale, shift, eps) {
  const centered = x.ref.sub(np.mean(x, [-1], { keepdims: true }));
  const variance = np.mean(np.square(centered.ref), [-1], { keepdims: true });
  return centered
    .div(np.sqrt(variance.add(eps)))
    .mul(scale)
    .add(shift);
}

/**
 * Written out: its own `dotProductAttention` needs iterator helpers, which Node 20 has not.
 * @type {(x: NDArray, memory: NDArray | null, weight: NDArray, bias: NDArray, heads: number, causal: boolean)
 * => NDArray}
 */
function attention(x, memory, weight, bias, heads, causal) {
  const [n, length, size] = x.shape;
  const projected =
    memory === null
      ? np.split(linear(x, weight, bias), 3, -1)
      : [
          linear(x, weight.ref.slice([0, size]), bias.ref.slice([0, size])),
          ...np.split(linear(memory, weight.slice([size, 3 * size]), bias.slice([size, 3 * size])), 2, -1),
        ];
  const [q, k, v] = projected.map((/** @type {NDArray} */ part, /** @type {number} */ index) =>
    np.transpose(part.reshape([n, -1, heads, size / heads]), index === 1 ? [0, 2, 3, 1] : [0, 2, 1, 3]),
  );
  let scores = np.matmul(q, k).mul(1 / Math.sqrt(size / heads));
  if (causal) scores = np.where(np.tri(length, length, 0, { dtype: 'bool' }), scores, -Infinity);
  const attended = np.matmul(nn.softmax(scores, -1), v);
  return np.transpose(attended, [0, 2, 1, 3]).reshape([n, length, size]);
}

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
  depthwise: (x, name, stride) => conv(x, parameter(`${name}.weight`), stride, 1, x.shape[1]),
  batchNorm(x, name) {
    const [gamma, beta] = [parameter(`${name}.weight`), parameter(`${name}.bias`)];
    if (training) return batchNorm(x, gamma, beta);
    const scale = gamma.div(Math.sqrt(1 + spec.batchNormEps));
    return x.mul(scale.reshape([1, -1, 1, 1])).add(beta.reshape([1, -1, 1, 1]));
  },
  relu: (x) => nn.relu(x),
  relu6: (x) => nn.relu6(x),
  gelu: (x) => nn.gelu(x, { approximate: false }),
  add: (a, b) => a.add(b),
  maxPool,
  padShortcut(x, channels) {
    const [n, c, h, w] = x.shape;
    const side = channels / 4;
    const even = x.reshape([n, c, h / 2, 2, w / 2, 2]).slice([], [], [], 0, [], 0);
    return np.pad(even, { 1: [side, side] });
  },
  averagePool: (x) => np.mean(x, [2, 3]),
  linear: (x, name) => linear(x, parameter(`${name}.weight`), parameter(`${name}.bias`)),
  project: (x, name) => linear(x, parameter(`${name}.weight`), parameter(`${name}.bias`)),
  layerNorm: (x, name, eps) => layerNorm(x, parameter(`${name}.weight`), parameter(`${name}.bias`), eps),
  attention: (x, memory, { weight, bias, heads, causal }) =>
    attention(x, memory, parameter(weight), parameter(bias), heads, causal),
  patches(x, name, size) {
    const pixels = conv(x, parameter(`${name}.weight`), size, 0);
    const [n, c] = pixels.shape;
    return np.transpose(pixels.reshape([n, c, -1]), [0, 2, 1]).add(parameter(`${name}.bias`));
  },
  prepend(x, name) {
    const [n, , c] = x.shape;
    return np.concatenate([np.broadcastTo(parameter(name), [n, 1, c]), x], 1);
  },
  addParameter: (x, name) => x.add(parameter(name)),
  firstStep: (x) => x.slice([], 0),
  share: (x) => x.ref,
});

/** @type {(list: spec.Parameter[], arrays: NDArray[]) => (name: string) => NDArray} */
function named(list, arrays) {
  const byName = new Map(list.map(({ name }, i) => [name, arrays[i]]));
  return (name) => byName.get(name);
}

/** @type {(work: spec.NetworkWork, parameters: NDArray[], x: NDArray, training: boolean) => NDArray} */
const network = (work, parameters, x, training) =>
  spec.runNetwork(work, opsWith(named(spec.parametersOf(work), parameters), training), x);

/** @type {(list: spec.Parameter[]) => NDArray[]} */
const initial = (list) => list.map((parameter) => array(spec.initialValues(parameter), parameter.shape));

/** Mean squared error. @type {(x: NDArray, y: NDArray) => NDArray} */
const distance = (x, y) => np.mean(np.square(x.sub(y)));

/** @param {spec.NetworkWork} work */
function training(work) {
  const x = filled(spec.seeds.input, work.input);
  const classes = spec.classesOf(work);
  const y = classes === null ? filled(spec.seeds.labels, work.input) : oneHot(x.shape[0], classes);
  const criterion = classes === null ? distance : crossEntropy;
  return steps(spec.sgd(work), initial(spec.parametersOf(work)), [x, y], (parameters, x, y) =>
    criterion(network(work, parameters, x, true), y),
  );
}

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

/** @param {spec.SequenceWork} work */
function sequence(work) {
  const isRecurrent = work.layer === 'lstm' || work.layer === 'gru';
  const list = spec.sequenceParameters(work);
  const x = filled(spec.seeds.input, work.input);
  const memory = filled(spec.seeds.other, work.input);
  const y = filled(spec.seeds.labels, spec.sequenceResult(work));
  return steps(spec.sgd(), initial(list), [x, memory, y], (parameters, x, memory, y) => {
    const result = isRecurrent
      ? recurrent(work, parameters, x)
      : spec.runTransformerLayer(work, opsWith(named(list, parameters), true), x, memory);
    return distance(result, y);
  });
}

/**
 * Steps of SGD.
 * @param {ReturnType<typeof spec.sgd>} sgd
 * @param {NDArray[]} initial parameters
 * @param {NDArray[]} inputs
 * @param {(parameters: NDArray[], ...inputs: NDArray[]) => NDArray} lossOf
 */
function steps({ lr, momentum }, initial, inputs, lossOf) {
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
      const next = momenta.map((m, i) => m.mul(momentum).add(grads[i]));
      const updated = parameters.map((p, i) => p.sub(next[i].ref.mul(lr)));
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
      const parameters = initial(spec.parametersOf(work));
      return jitted(
        (x, ...parameters) => [network(work, parameters, x, false)],
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
