/**
 * The works and the numbers they start from: the same for every library, so that their losses can be
 * compared.
 */
export * from './networks.mjs';
export * from './parameters.mjs';
export * from './work-list.mjs';

/**
 * @template T
 * @typedef {import('./networks.mjs').Ops<T>} Ops
 */
/**
 * @typedef {import('./parameters.mjs').Parameter} Parameter
 * @typedef {import('./work-list.mjs').Work} Work
 * @typedef {import('./work-list.mjs').PeerWork} PeerWork
 * @typedef {import('./work-list.mjs').NetworkWork} NetworkWork
 * @typedef {import('./work-list.mjs').ImageWork} ImageWork
 * @typedef {import('./work-list.mjs').SequenceWork} SequenceWork
 */

/**
 * SGD of a training step. At 0.01 a vision transformer learns its one image by heart in a step, after which
 * its losses are 0 and would compare nothing, and MobileNetV2 overshoots so far that rounding decides its
 * second loss.
 * @param {{ network?: import('./work-list.mjs').Network }} [work]
 */
export const sgd = ({ network } = {}) => ({
  lr: network === 'vit-b16' || network === 'mobilenet-v2' ? 1e-4 : 0.01,
  momentum: 0.9,
});
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

/** @param {ArrayLike<number>} values */
export function sumOfSquares(values) {
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += /** @type {number} */ (values[i]) ** 2;
  return sum;
}
