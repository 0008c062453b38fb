/**
 * What is timed. Shapes are PyTorch's: NCHW activations, OIHW weights. `peerWorks` are run by every library,
 * the others by kindling alone.
 */

/**
 * @typedef {'cifar-resnet20' | 'resnet18' | 'mobilenet-v2' | 'vit-b16' | 'gpt-block'} Network
 * @typedef {{ op: 'train' | 'forward', network: Network, input: number[] }} NetworkWork
 * @typedef {{ op: 'matmul', n: number }} MatmulWork
 * @typedef {{ op: 'conv' | 'conv-grad' | 'batch-norm-grad' | 'max-pool' | 'max-pool-grad', input: number[] }}
 * ImageWork
 * @typedef {{ op: 'cross-entropy-grad' | 'add', input: number[] }} PlainWork
 * @typedef {{ op: 'sequence', layer: 'lstm' | 'gru' | 'encoder' | 'decoder', input: number[], width: number }}
 * SequenceWork `input` [N, T, C]; `width` of the hidden state or of the feed-forward part
 * @typedef {NetworkWork | MatmulWork | ImageWork | PlainWork | SequenceWork} PeerWork
 *
 * @typedef {'forward' | 'input-grad' | 'weight-grad'} Pass one of the three alone
 * @typedef {{ op: 'linear', input: number[], out: number, pass: Pass }} LinearWork
 * @typedef {{ input: number[], out: number, kernel: number, stride: number, groups: number }} ConvShape
 * padding: kernel / 2
 * @typedef {ConvShape & { op: 'convolution', pass: Pass }} ConvolutionWork
 * @typedef {{ op: 'batch-norm' | 'batch-norm-eval' | 'avg-pool' | 'mean-hw' | 'channels-last', input:
 * number[] }} LayerWork
 * @typedef {{ op: 'sum-all' | 'sum-rows' | 'relu' | 'gelu-chain' | 'transpose', input: number[] }} SimpleWork
 * @typedef {{ op: 'optimizer', rule: 'sgd' | 'adam' | 'rmsprop', network: 'resnet18' }} OptimizerWork
 * @typedef {{ op: 'model', model: string, pass: 'forward' | 'train' | 'head', input: number[] }} ModelWork
 * `head`: a training   step of the last layer alone, the rest frozen and in evaluation mode
 * @typedef {LinearWork | ConvolutionWork | LayerWork | SimpleWork | OptimizerWork | NetworkWork | ModelWork}
 * OwnWork
 *
 * @typedef {PeerWork | OwnWork} Work
 */

/**
 * Convolutions are 3x3 with padding 1 and as many channels out as in; max pools 3x3, stride 2, padding 1.
 * `-grad` is a forward and a backward pass for all inputs and parameters. Sequences: a training step of one
 * layer towards a random target; attention has 4 heads and no dropout. The GPT block is one of the smallest
 * GPT-2's (12 heads, causal, exact GELU), trained towards a random target too; it and the vision transformer
 * have no dropout, and neither has MobileNetV2 here.
 * @type {Record<string, PeerWork>}
 */
export const peerWorks = {
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
  'cifar-resnet20-train-step': { op: 'train', network: 'cifar-resnet20', input: [32, 3, 32, 32] },
  'resnet18-forward': { op: 'forward', network: 'resnet18', input: [8, 3, 64, 64] },
  'resnet18-forward-224': { op: 'forward', network: 'resnet18', input: [1, 3, 224, 224] },
  'resnet18-train-step': { op: 'train', network: 'resnet18', input: [8, 3, 64, 64] },
  'mobilenet-v2-train-step-64': { op: 'train', network: 'mobilenet-v2', input: [8, 3, 64, 64] },
  'vit-b16-forward': { op: 'forward', network: 'vit-b16', input: [1, 3, 224, 224] },
  'vit-b16-train-step': { op: 'train', network: 'vit-b16', input: [1, 3, 224, 224] },
  'gpt-block-forward': { op: 'forward', network: 'gpt-block', input: [1, 256, 768] },
  'gpt-block-train-step': { op: 'train', network: 'gpt-block', input: [1, 256, 768] },
  'lstm-train-step': { op: 'sequence', layer: 'lstm', input: [16, 50, 64], width: 128 },
  'gru-train-step': { op: 'sequence', layer: 'gru', input: [16, 50, 64], width: 128 },
  'encoder-train-step': { op: 'sequence', layer: 'encoder', input: [8, 64, 64], width: 256 },
  'decoder-train-step': { op: 'sequence', layer: 'decoder', input: [8, 64, 64], width: 256 },
};

/**
 * @type {(input: number[], out: number, kernel: number, options?: { stride?: number, groups?: number }) =>
 * ConvShape}
 */
const conv = (input, out, kernel, { stride = 1, groups = 1 } = {}) => ({
  input,
  out,
  kernel,
  stride,
  groups,
});

/** Layers of ResNet-18 and 50, VGG-16 and MobileNetV2 for one image of 224x224. */
const convShapes = {
  'resnet-stem': conv([1, 3, 224, 224], 64, 7, { stride: 2 }),
  'resnet-3x3-128': conv([1, 128, 28, 28], 128, 3),
  'resnet-3x3-512': conv([1, 512, 7, 7], 512, 3),
  'resnet-3x3-s2': conv([1, 64, 56, 56], 128, 3, { stride: 2 }),
  'resnet-1x1-256-64': conv([1, 256, 56, 56], 64, 1),
  'resnet-1x1-256-1024': conv([1, 256, 14, 14], 1024, 1),
  'resnet-1x1-s2': conv([1, 256, 56, 56], 512, 1, { stride: 2 }),
  'vgg-3x3-64': conv([1, 64, 224, 224], 64, 3),
  'vgg-3x3-512': conv([1, 512, 28, 28], 512, 3),
  'mobilenet-expand': conv([1, 16, 112, 112], 96, 1),
  'mobilenet-project': conv([1, 144, 56, 56], 24, 1),
  'mobilenet-depthwise': conv([1, 144, 56, 56], 144, 3, { groups: 144 }),
  'mobilenet-depthwise-s2': conv([1, 96, 112, 112], 96, 3, { stride: 2, groups: 96 }),
};

/** Classifiers: tall and skinny matrix products. */
const linearShapes = {
  'linear-32x2048x1000': { input: [32, 2048], out: 1000 },
  'linear-1x4096x4096': { input: [1, 4096], out: 4096 },
};

/** @type {Pass[]} */
const passes = ['forward', 'input-grad', 'weight-grad'];

/**
 * Every shape in every pass.
 * @template {object} S
 * @template R
 * @param {Record<string, S>} shapes
 * @param {(shape: S, pass: Pass) => R} work
 * @returns {Record<string, R>}
 */
const inEveryPass = (shapes, work) =>
  Object.fromEntries(
    Object.entries(shapes).flatMap(([name, shape]) =>
      passes.map((pass) => [`${name}-${pass}`, work(shape, pass)]),
    ),
  );

const image = [1, 3, 224, 224];

/** @type {Record<string, OwnWork>} */
const ownWorks = {
  ...inEveryPass(linearShapes, (shape, pass) => ({ op: 'linear', ...shape, pass })),
  ...inEveryPass(convShapes, (shape, pass) => ({ op: 'convolution', ...shape, pass })),
  'batch-norm': { op: 'batch-norm', input: [8, 64, 56, 56] },
  'batch-norm-eval': { op: 'batch-norm-eval', input: [8, 64, 56, 56] },
  'avg-pool': { op: 'avg-pool', input: [8, 64, 112, 112] },
  'sum-all': { op: 'sum-all', input: [1 << 22] },
  'sum-rows': { op: 'sum-rows', input: [4096, 1024] },
  'mean-hw': { op: 'mean-hw', input: [8, 512, 28, 28] },
  'relu-1m': { op: 'relu', input: [1 << 20] },
  'gelu-chain-1m': { op: 'gelu-chain', input: [1 << 20] },
  'copy-channels-last': { op: 'channels-last', input: [8, 64, 112, 112] },
  'copy-transpose': { op: 'transpose', input: [2048, 2048] },
  'sgd-step': { op: 'optimizer', rule: 'sgd', network: 'resnet18' },
  'adam-step': { op: 'optimizer', rule: 'adam', network: 'resnet18' },
  'rmsprop-step': { op: 'optimizer', rule: 'rmsprop', network: 'resnet18' },
  'cifar-resnet20-forward': { op: 'forward', network: 'cifar-resnet20', input: [32, 3, 32, 32] },
  'resnet18-train-step-224': { op: 'train', network: 'resnet18', input: image },
  'resnet50-forward': { op: 'model', model: 'resnet50', pass: 'forward', input: image },
  'resnet50-train-step': { op: 'model', model: 'resnet50', pass: 'train', input: image },
  'resnet50-head-step-b8': { op: 'model', model: 'resnet50', pass: 'head', input: [8, 3, 224, 224] },
  'vgg16-forward': { op: 'model', model: 'vgg16', pass: 'forward', input: image },
  'vgg16-train-step': { op: 'model', model: 'vgg16', pass: 'train', input: image },
  'mobilenet_v2-forward': { op: 'model', model: 'mobilenet_v2', pass: 'forward', input: image },
  'mobilenet_v2-train-step': { op: 'model', model: 'mobilenet_v2', pass: 'train', input: image },
};

/** @type {(work: Work) => boolean} */
const isNetwork = ({ op }) => ['forward', 'train', 'model', 'sequence'].includes(op);

/** @param {Record<string, Work>} all @param {boolean} networks */
const part = (all, networks) => Object.entries(all).filter(([, work]) => isNetwork(work) === networks);

const everything = { ...peerWorks, ...ownWorks };

/** Names of the works by suite, in the order of the report. */
export const suites = {
  kernels: part(everything, false).map(([name]) => name),
  models: part(everything, true).map(([name]) => name),
};

/** @type {Record<string, Work>} */
export const works = Object.fromEntries([...part(everything, false), ...part(everything, true)]);

/**
 * The entries whose names match any of the comma-separated regular expressions.
 * @param {readonly string[]} names
 * @param {string | undefined} only all when undefined
 */
export function chosenNames(names, only) {
  const patterns = only?.split(',').map((pattern) => new RegExp(pattern, 'i'));
  const chosen = names.filter((name) => patterns?.some((pattern) => pattern.test(name)) ?? true);
  if (chosen.length === 0) throw new Error(`--only ${only}: nothing matches among ${names.join(', ')}`);
  return chosen;
}

/**
 * @template T
 * @param {Record<string, T>} all
 * @param {string} name
 * @returns {T}
 */
function named(all, name) {
  const work = all[name];
  if (work === undefined)
    throw new Error(`--work: there is no '${name}'; there is ${Object.keys(all).join(', ')}`);
  return work;
}

/** @param {string} name */
export const workNamed = (name) => named(works, name);
/** @param {string} name */
export const peerWorkNamed = (name) => named(peerWorks, name);
