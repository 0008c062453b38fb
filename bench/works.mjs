/**
 * What is timed, and the numbers it starts from: the same for every library, so that their losses can be
 * compared. Shapes are PyTorch's: NCHW activations, OIHW weights.
 */

/**
 * @typedef {{ name: string, shape: number[], fill: 'uniform' | 'zeros' | 'ones', bound: number, seed: number }} Parameter
 * @typedef {{ op: 'train' | 'forward', network: 'cifar-resnet20' | 'resnet18', input: number[] }} NetworkWork
 * @typedef {{ op: 'matmul', n: number }} MatmulWork
 * @typedef {{ op: 'conv' | 'conv-grad' | 'batch-norm-grad' | 'max-pool' | 'max-pool-grad', input: number[] }} ImageWork
 * @typedef {{ op: 'cross-entropy-grad' | 'add', input: number[] }} PlainWork
 * @typedef {{ op: 'sgd', network: 'resnet18' }} OptimizerWork
 * @typedef {NetworkWork | MatmulWork | ImageWork | PlainWork | OptimizerWork} Work
 */

/**
 * Convolutions are 3x3 with padding 1 and as many channels out as in; max pools 3x3, stride 2, padding 1. `-grad` is a forward and a
 * backward pass for all inputs and parameters.
 * @type {Record<string, Work>}
 */
export const works = {
  'matmul-512': { op: 'matmul', n: 512 },
  'matmul-1024': { op: 'matmul', n: 1024 },
  'conv-b1': { op: 'conv', input: [1, 64, 56, 56] },
  'conv-b1-grad': { op: 'conv-grad', input: [1, 64, 56, 56] },
  'conv-b8': { op: 'conv', input: [8, 64, 56, 56] },
  'conv-b8-grad': { op: 'conv-grad', input: [8, 64, 56, 56] },
  'batch-norm-grad': { op: 'batch-norm-grad', input: [8, 64, 56, 56] },
  'max-pool': { op: 'max-pool', input: [8, 64, 112, 112] },
  'max-pool-grad': { op: 'max-pool-grad', input: [8, 64, 112, 112] },
  'cross-entropy-grad': { op: 'cross-entropy-grad', input: [256, 1000] },
  'add-1m': { op: 'add', input: [1 << 20] },
  'sgd-step': { op: 'sgd', network: 'resnet18' },
  'cifar-resnet20-train-step': { op: 'train', network: 'cifar-resnet20', input: [32, 3, 32, 32] },
  'resnet18-forward': { op: 'forward', network: 'resnet18', input: [8, 3, 64, 64] },
  'resnet18-forward-224': { op: 'forward', network: 'resnet18', input: [1, 3, 224, 224] },
  'resnet18-train-step': { op: 'train', network: 'resnet18', input: [8, 3, 64, 64] },
};

/** @param {string} name */
export function workNamed(name) {
  const work = works[name];
  if (work === undefined)
    throw new Error(`--work: there is no '${name}'; there is ${Object.keys(works).join(', ')}`);
  return work;
}

/** SGD of every training step. */
export const sgd = { lr: 0.01, momentum: 0.9 };
export const batchNormEps = 1e-5;

/** Seeds of what is not a parameter; the n-th parameter of a network has seed n. */
export const seeds = { input: 1001, labels: 1002, other: 1003, grad: 1004 };

/** @param {readonly number[]} shape */
export const sizeOf = (shape) => shape.reduce((product, size) => product * size, 1);

/**
 * A counter-based hash (https://nullprogram.com/blog/2018/07/31/), simple enough to be written again in numpy.
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
 * The input of convolutions, batch norms and pools. Pools get no negative values: not every library pads with minus infinity.
 * @param {ImageWork} work
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
 * What a library must offer to run the networks; `name` is the prefix of the parameters' names. A library that counts
 * references takes over what it is given: `share` makes a second owner.
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

/** @param {Pick<NetworkWork, 'network'>} work */
export const classesOf = (work) => (work.network === 'resnet18' ? 1000 : 10);

/** @param {ArrayLike<number>} values */
export function sumOfSquares(values) {
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += /** @type {number} */ (values[i]) ** 2;
  return sum;
}

/**
 * Arithmetic of a work in floating point operations, counting a multiply-add of a convolution or matrix product as two and
 * a backward pass as two forward ones; or 0 where memory is the limit.
 * @param {Work} work
 */
export function flopsOf(work) {
  switch (work.op) {
    case 'matmul':
      return 2 * work.n ** 3;
    case 'conv':
    case 'conv-grad': {
      const [, channels = 0] = work.input;
      return 2 * sizeOf(work.input) * channels * 9 * (work.op === 'conv' ? 1 : 3);
    }
    case 'forward':
    case 'train':
      return networkFlops(work) * (work.op === 'train' ? 3 : 1);
    default:
      return 0;
  }
}

/**
 * Bytes of a work's operands, results and gradients, each counted once; 0 where arithmetic is the limit.
 * @param {Work} work
 */
export function bytesOf(work) {
  switch (work.op) {
    case 'add':
      return 4 * 3 * sizeOf(work.input);
    case 'cross-entropy-grad':
      return 4 * 2 * sizeOf(work.input);
    case 'batch-norm-grad':
      return 4 * 4 * sizeOf(work.input);
    case 'max-pool':
      return 4 * 1.25 * sizeOf(work.input);
    case 'max-pool-grad':
      return 4 * 2.5 * sizeOf(work.input);
    case 'sgd':
      return 4 * 5 * parametersOf(work).reduce((sum, { shape }) => sum + sizeOf(shape), 0);
    default:
      return 0;
  }
}

/**
 * One forward pass: the network run on shapes.
 * @param {NetworkWork} work
 */
function networkFlops(work) {
  const shapes = new Map(parametersOf(work).map(({ name, shape }) => [name, shape]));
  let flops = 0;
  /** @type {(x: number[], size: (side: number) => number, channels?: number) => number[]} */
  const resized = ([n = 0, c = 0, h = 0, w = 0], size, channels = c) => [n, channels, size(h), size(w)];
  /** @type {Ops<number[]>} */
  const ops = {
    conv(x, name, stride, padding) {
      const [out = 0, into = 0, kernel = 0] = shapes.get(`${name}.weight`) ?? [];
      const y = resized(x, (side) => Math.floor((side + 2 * padding - kernel) / stride) + 1, out);
      flops += 2 * sizeOf(y) * into * kernel * kernel;
      return y;
    },
    linear(x, name) {
      const [out = 0, into = 0] = shapes.get(`${name}.weight`) ?? [];
      flops += 2 * (x[0] ?? 0) * into * out;
      return [x[0] ?? 0, out];
    },
    batchNorm: (x) => x,
    relu: (x) => x,
    add: (a) => a,
    share: (x) => x,
    maxPool: (x) => resized(x, (side) => Math.floor((side - 1) / 2) + 1),
    padShortcut: (x, channels) => resized(x, (side) => side / 2, channels),
    averagePool: (x) => x.slice(0, 2),
  };
  runNetwork(work, ops, work.input);
  return flops;
}
