/**
 * The works and the numbers they start from: the same for every library, so that their losses can be
 * compared.
 */
export * from './work-list.mjs';

/**
 * @typedef {{ name: string, shape: number[], fill: 'uniform' | 'zeros' | 'ones', bound: number, seed: number
 * }} Parameter
 * @typedef {import('./work-list.mjs').Work} Work
 * @typedef {import('./work-list.mjs').PeerWork} PeerWork
 * @typedef {import('./work-list.mjs').NetworkWork} NetworkWork
 * @typedef {import('./work-list.mjs').ImageWork} ImageWork
 * @typedef {import('./work-list.mjs').SequenceWork} SequenceWork
 */

/** Of the encoder and the decoder. */
export const heads = 4;

/** SGD of every training step. */
export const sgd = { lr: 0.01, momentum: 0.9 };
export const batchNormEps = 1e-5;

/** Seeds of what is not a parameter; the n-th parameter of a network has seed n. */
export const seeds = { input: 1001, labels: 1002, other: 1003, grad: 1004 };

/** @param {readonly number[]} shape */
export const sizeOf = (shape) => shape.reduce((product, size) => product * size, 1);

/**
 * A counter-based hash (https://nullprogram.com/blog/2018/07/31/), simple enough to be written again in
 * numpy.
 * @param {number} x
 */
function hash(x) {
  x = Math.imul(x ^ (x >>> 16), 0x7feb352d);
  x = Math.imul(x ^ (x >>> 15), 0x846ca68b);
  return (x ^ (x >>> 16)) >>> 0;
}

/**
 * Uniform in [-bound, bound).
 * @param {number} seed
 * @param {readonly number[]} shape
 * @param {number} [bound] the default gives a variance of 1
 */
export function uniform(seed, shape, bound = Math.sqrt(3)) {
  const values = new Float32Array(sizeOf(shape));
  for (let i = 0; i < values.length; i++) {
    values[i] = ((hash(Math.imul(seed, 0x9e3779b9) + i) >>> 8) / 2 ** 23 - 1) * bound;
  }
  return values;
}

/**
 * The input of convolutions, batch norms and pools. Pools get no negative values: not every library pads with
 * minus infinity.
 * @param {{ op: string, input: number[] }} work
 */
export function imageValues({ op, input }) {
  const values = uniform(seeds.input, input);
  return op.startsWith('max-pool') ? values.map(Math.abs) : values;
}

/**
 * Class labels.
 * @param {number} count
 * @param {number} classes
 */
export function labels(count, classes) {
  return Int32Array.from(
    { length: count },
    (_, i) => hash(Math.imul(seeds.labels, 0x9e3779b9) + i) % classes,
  );
}

/** @param {Parameter} parameter */
export function initialValues({ shape, fill, bound, seed }) {
  if (fill === 'uniform') return uniform(seed, shape, bound);
  return new Float32Array(sizeOf(shape)).fill(fill === 'ones' ? 1 : 0);
}

/**
 * What a library must offer to run the networks; `name` is the prefix of the parameters' names. A library
 * that counts references takes over what it is given: `share` makes a second owner.
 * @template T
 * @typedef {{
 *   conv(x: T, name: string, stride: number, padding: number): T,
 *   batchNorm(x: T, name: string): T,
 *   relu(x: T): T,
 *   add(a: T, b: T): T,
 *   maxPool(x: T): T,
 *   padShortcut(x: T, channels: number): T,
 *   averagePool(x: T): T,
 *   linear(x: T, name: string): T,
 *   share(x: T): T,
 * }} Ops
 */

/**
 * The paper's section 4.2 with parameterless shortcuts (option A), https://arxiv.org/abs/1512.03385.
 * @template T
 * @param {Ops<T>} ops
 * @param {T} x
 */
function cifarResnet20(ops, x) {
  x = ops.relu(ops.batchNorm(ops.conv(x, 'conv1', 1, 1), 'bn1'));
  for (const [stage, channels] of [16, 32, 64].entries()) {
    for (let block = 0; block < 3; block++) {
      const at = `layer${stage + 1}.${block}`;
      const reshapes = stage > 0 && block === 0;
      const shortcut = reshapes ? ops.padShortcut(ops.share(x), channels) : ops.share(x);
      let out = ops.relu(ops.batchNorm(ops.conv(x, `${at}.conv1`, reshapes ? 2 : 1, 1), `${at}.bn1`));
      out = ops.batchNorm(ops.conv(out, `${at}.conv2`, 1, 1), `${at}.bn2`);
      x = ops.relu(ops.add(out, shortcut));
    }
  }
  return ops.linear(ops.averagePool(x), 'linear');
}

/**
 * torchvision's resnet18.
 * @template T
 * @param {Ops<T>} ops
 * @param {T} x
 */
function resnet18(ops, x) {
  x = ops.maxPool(ops.relu(ops.batchNorm(ops.conv(x, 'conv1', 2, 3), 'bn1')));
  for (let stage = 0; stage < 4; stage++) {
    for (let block = 0; block < 2; block++) {
      const at = `layer${stage + 1}.${block}`;
      const reshapes = stage > 0 && block === 0;
      const stride = reshapes ? 2 : 1;
      const shortcut = reshapes
        ? ops.batchNorm(ops.conv(ops.share(x), `${at}.downsample.0`, stride, 0), `${at}.downsample.1`)
        : ops.share(x);
      let out = ops.relu(ops.batchNorm(ops.conv(x, `${at}.conv1`, stride, 1), `${at}.bn1`));
      out = ops.batchNorm(ops.conv(out, `${at}.conv2`, 1, 1), `${at}.bn2`);
      x = ops.relu(ops.add(out, shortcut));
    }
  }
  return ops.linear(ops.averagePool(x), 'fc');
}

/**
 * @template T
 * @param {NetworkWork} work
 * @param {Ops<T>} ops
 * @param {T} x
 * @returns {T} logits
 */
export function runNetwork(work, ops, x) {
  return work.network === 'resnet18' ? resnet18(ops, x) : cifarResnet20(ops, x);
}

/**
 * The parameters under PyTorch's names, in PyTorch's order of modules.
 * @param {Pick<NetworkWork, 'network'>} work
 */
export function parametersOf(work) {
  /** @type {Parameter[]} */
  const list = [];
  /** @type {(name: string, shape: number[], fill: Parameter['fill'], fanIn?: number) => void} */
  const push = (name, shape, fill, fanIn = 1) =>
    void list.push({ name, shape, fill, bound: Math.sqrt(6 / fanIn), seed: list.length });
  /** @type {(name: string, into: number, out: number, kernel: number) => void} */
  const conv = (name, into, out, kernel) =>
    push(`${name}.weight`, [out, into, kernel, kernel], 'uniform', into * kernel * kernel);
  /** @type {(name: string, channels: number) => void} */
  const norm = (name, channels) => {
    push(`${name}.weight`, [channels], 'ones');
    push(`${name}.bias`, [channels], 'zeros');
  };
  const large = work.network === 'resnet18';
  const widths = large ? [64, 128, 256, 512] : [16, 32, 64];
  let into = large ? 64 : 16;
  conv('conv1', 3, into, large ? 7 : 3);
  norm('bn1', into);
  for (const [stage, width] of widths.entries()) {
    for (let block = 0; block < (large ? 2 : 3); block++) {
      const at = `layer${stage + 1}.${block}`;
      conv(`${at}.conv1`, into, width, 3);
      norm(`${at}.bn1`, width);
      conv(`${at}.conv2`, width, width, 3);
      norm(`${at}.bn2`, width);
      if (large && into !== width) {
        conv(`${at}.downsample.0`, into, width, 1);
        norm(`${at}.downsample.1`, width);
      }
      into = width;
    }
  }
  const head = large ? 'fc' : 'linear';
  push(`${head}.weight`, [classesOf(work), into], 'uniform', into);
  push(`${head}.bias`, [classesOf(work)], 'zeros');
  return list;
}

/**
 * As {@link parametersOf}, of one layer.
 * @param {SequenceWork} work
 */
export function sequenceParameters({ layer, input, width }) {
  const into = input[2] ?? 0;
  /** @type {Parameter[]} */
  const list = [];
  /** @type {(name: string, shape: number[], fill?: Parameter['fill']) => void} */
  const push = (name, shape, fill = shape.length > 1 ? 'uniform' : 'zeros') =>
    void list.push({ name, shape, fill, bound: Math.sqrt(6 / (shape[1] ?? 1)), seed: list.length });
  /** @type {(name: string, from: number, to: number) => void} */
  const linear = (name, from, to) => {
    push(`${name}.weight`, [to, from]);
    push(`${name}.bias`, [to]);
  };
  if (layer === 'lstm' || layer === 'gru') {
    const rows = (layer === 'lstm' ? 4 : 3) * width;
    push('weight_ih_l0', [rows, into]);
    push('weight_hh_l0', [rows, width]);
    push('bias_ih_l0', [rows]);
    push('bias_hh_l0', [rows]);
    return list;
  }
  const attentions = layer === 'encoder' ? ['self_attn'] : ['self_attn', 'multihead_attn'];
  for (const name of attentions) {
    push(`${name}.in_proj_weight`, [3 * into, into]);
    push(`${name}.in_proj_bias`, [3 * into]);
    linear(`${name}.out_proj`, into, into);
  }
  linear('linear1', into, width);
  linear('linear2', width, into);
  for (let i = 1; i <= attentions.length + 1; i++) {
    push(`norm${i}.weight`, [into], 'ones');
    push(`norm${i}.bias`, [into]);
  }
  return list;
}

/** Shape of a sequence's result. @param {SequenceWork} work */
export const sequenceResult = ({ layer, input: [n = 0, steps = 0, into = 0], width }) => [
  n,
  steps,
  layer === 'lstm' || layer === 'gru' ? width : into,
];

/** @param {Pick<NetworkWork, 'network'>} work */
export const classesOf = (work) => (work.network === 'resnet18' ? 1000 : 10);

/** @param {ArrayLike<number>} values */
export function sumOfSquares(values) {
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += /** @type {number} */ (values[i]) ** 2;
  return sum;
}
