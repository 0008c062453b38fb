/** The networks, described once for the libraries that compose them of operations. */

/**
 * @typedef {import('./work-list.mjs').NetworkWork} NetworkWork
 * @typedef {import('./work-list.mjs').SequenceWork} SequenceWork
 */

/**
 * What a library must offer to run the networks; `name` is the prefix of the parameters' names. A library
 * that counts references takes over what it is given: `share` makes a second owner. Sequences are [N, T, C].
 * @template T
 * @typedef {{
 *   conv(x: T, name: string, stride: number, padding: number): T,
 *   depthwise(x: T, name: string, stride: number): T,
 *   batchNorm(x: T, name: string): T,
 *   relu(x: T): T,
 *   relu6(x: T): T,
 *   gelu(x: T): T,
 *   add(a: T, b: T): T,
 *   maxPool(x: T): T,
 *   padShortcut(x: T, channels: number): T,
 *   averagePool(x: T): T,
 *   linear(x: T, name: string): T,
 *   project(x: T, name: string): T,
 *   layerNorm(x: T, name: string, eps: number): T,
 *   attention(x: T, memory: T | null, attention: Attention): T,
 *   patches(x: T, name: string, size: number): T,
 *   prepend(x: T, name: string): T,
 *   addParameter(x: T, name: string): T,
 *   firstStep(x: T): T,
 *   share(x: T): T,
 * }} Ops
 * `depthwise`: 3x3, padding 1; `gelu`: by the error function; `linear` of [N, C], `project` of a sequence;
 * `patches`: a convolution with a bias whose kernel is as wide as its stride, and its pixels as a sequence;
 * `prepend`: a parameter [1, 1, C] before every sequence; `firstStep`: [N, C]
 */

/**
 * From the projections of queries, keys and values, which are one matrix, to the heads side by side, which
 * are yet to be projected. Queries come of `x`, keys and values of `memory` (null: of `x` too).
 * @typedef {{ weight: string, bias: string, heads: number, causal: boolean }} Attention
 */

/** Of the encoder and the decoder. */
export const heads = 4;

/** ViT-B/16 and the smallest GPT-2. */
export const base = { width: 768, heads: 12, mlp: 3072, layers: 12, patch: 16 };

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

/** Table 2 of https://arxiv.org/abs/1801.04381: expansion, channels, repetitions, stride of the first. */
const mobilenetStages = /** @type {const} */ ([
  [1, 16, 1, 1],
  [6, 24, 2, 2],
  [6, 32, 3, 2],
  [6, 64, 4, 2],
  [6, 96, 3, 1],
  [6, 160, 3, 2],
  [6, 320, 1, 1],
]);

/**
 * An inverted residual under torchvision's names: `down` is the last convolution and `downNorm` its norm; the
 * first block has no expansion.
 * @typedef {{ expand: string | null, depthwise: string, down: string, downNorm: string, into: number,
 * hidden: number, out: number, stride: number }} MobilenetBlock
 */
export function mobilenetBlocks() {
  /** @type {MobilenetBlock[]} */
  const blocks = [];
  let into = 32;
  for (const [expansion, out, count, stride] of mobilenetStages) {
    for (let i = 0; i < count; i++) {
      const at = `features.${1 + blocks.length}.conv`;
      const first = expansion === 1 ? 0 : 1;
      blocks.push({
        expand: expansion === 1 ? null : `${at}.0`,
        depthwise: `${at}.${first}`,
        down: `${at}.${first + 1}`,
        downNorm: `${at}.${first + 2}`,
        into,
        hidden: into * expansion,
        out,
        stride: i === 0 ? stride : 1,
      });
      into = out;
    }
  }
  return blocks;
}

/**
 * torchvision's mobilenet_v2 without its dropout.
 * @template T
 * @param {Ops<T>} ops
 * @param {T} x
 */
function mobilenetV2(ops, x) {
  /** @type {(x: T, name: string) => T} */
  const activated = (x, name) => ops.relu6(ops.batchNorm(x, `${name}.1`));
  x = activated(ops.conv(x, 'features.0.0', 2, 1), 'features.0');
  for (const { expand, depthwise, down, downNorm, into, out, stride } of mobilenetBlocks()) {
    const shortcut = stride === 1 && into === out ? ops.share(x) : null;
    if (expand !== null) x = activated(ops.conv(x, `${expand}.0`, 1, 0), expand);
    x = activated(ops.depthwise(x, `${depthwise}.0`, stride), depthwise);
    x = ops.batchNorm(ops.conv(x, down, 1, 0), downNorm);
    if (shortcut !== null) x = ops.add(x, shortcut);
  }
  x = activated(ops.conv(x, 'features.18.0', 1, 0), 'features.18');
  return ops.linear(ops.averagePool(x), 'classifier.1');
}

/**
 * Names of a block's parameters; `projection` is the part before `weight` and `bias`.
 * @typedef {{ projection: string, out: string, up: string, down: string }} BlockNames
 */

/** A block of GPT-2; PyTorch has none, the names are nanoGPT's. @type {BlockNames} */
export const gptNames = {
  projection: 'attn.c_attn.',
  out: 'attn.c_proj',
  up: 'mlp.c_fc',
  down: 'mlp.c_proj',
};

/** torchvision's of a vision transformer. @type {BlockNames} */
export const vitNames = {
  projection: 'self_attention.in_proj_',
  out: 'self_attention.out_proj',
  up: 'mlp.0',
  down: 'mlp.3',
};

/** @param {number} layer */
export const vitLayer = (layer) => `encoder.layers.encoder_layer_${layer}.`;

/**
 * Attention and an MLP, each behind its norm and beside a shortcut.
 * @template T
 * @param {Ops<T>} ops
 * @param {T} x
 * @param {BlockNames} names
 * @param {{ at: string, eps: number, causal: boolean }} options `at` comes before all names
 */
function block(ops, x, names, { at, eps, causal }) {
  const projection = at + names.projection;
  const attended = ops.attention(ops.layerNorm(ops.share(x), `${at}ln_1`, eps), null, {
    weight: `${projection}weight`,
    bias: `${projection}bias`,
    heads: base.heads,
    causal,
  });
  x = ops.add(ops.project(attended, at + names.out), x);
  const wide = ops.gelu(ops.project(ops.layerNorm(ops.share(x), `${at}ln_2`, eps), at + names.up));
  return ops.add(x, ops.project(wide, at + names.down));
}

/**
 * torchvision's vit_b_16.
 * @template T
 * @param {Ops<T>} ops
 * @param {T} x
 */
function vitB16(ops, x) {
  const eps = 1e-6;
  const sequence = ops.prepend(ops.patches(x, 'conv_proj', base.patch), 'class_token');
  x = ops.addParameter(sequence, 'encoder.pos_embedding');
  for (let layer = 0; layer < base.layers; layer++)
    x = block(ops, x, vitNames, { at: vitLayer(layer), eps, causal: false });
  return ops.linear(ops.firstStep(ops.layerNorm(x, 'encoder.ln', eps)), 'heads.head');
}

/**
 * @template T
 * @param {NetworkWork} work
 * @param {Ops<T>} ops
 * @param {T} x
 * @returns {T} logits, of the GPT block a sequence
 */
export function runNetwork(work, ops, x) {
  switch (work.network) {
    case 'cifar-resnet20':
      return cifarResnet20(ops, x);
    case 'resnet18':
      return resnet18(ops, x);
    case 'mobilenet-v2':
      return mobilenetV2(ops, x);
    case 'vit-b16':
      return vitB16(ops, x);
    case 'gpt-block':
      return block(ops, x, gptNames, { at: '', eps: 1e-5, causal: true });
  }
}

/**
 * PyTorch's encoder or decoder layer.
 * @template T
 * @param {SequenceWork} work
 * @param {Ops<T>} ops
 * @param {T} x
 * @param {T} memory what the decoder attends to
 */
export function runTransformerLayer({ layer }, ops, x, memory) {
  const decodes = layer === 'decoder';
  /** @type {(x: T, memory: T | null, name: string) => T} */
  const attend = (x, memory, name) => {
    const [weight, bias] = [`${name}.in_proj_weight`, `${name}.in_proj_bias`];
    return ops.project(ops.attention(x, memory, { weight, bias, heads, causal: false }), `${name}.out_proj`);
  };
  /** @type {(x: T, change: T, name: string) => T} */
  const normed = (x, change, name) => ops.layerNorm(ops.add(x, change), name, 1e-5);
  x = normed(ops.share(x), attend(x, null, 'self_attn'), 'norm1');
  if (decodes) x = normed(ops.share(x), attend(x, memory, 'multihead_attn'), 'norm2');
  const wide = ops.relu(ops.project(ops.share(x), 'linear1'));
  return normed(x, ops.project(wide, 'linear2'), decodes ? 'norm3' : 'norm2');
}

/**
 * Logits of a network, or null of one that gives a sequence; it is trained towards random numbers.
 * @param {Pick<NetworkWork, 'network'>} work
 */
export const classesOf = ({ network }) =>
  network === 'gpt-block' ? null : network === 'cifar-resnet20' ? 10 : 1000;

/** @param {NetworkWork} work */
export const resultShape = (work) => {
  const classes = classesOf(work);
  return classes === null ? work.input : [work.input[0] ?? 0, classes];
};

/** Shape of a sequence's result. @param {SequenceWork} work */
export const sequenceResult = ({ layer, input: [n = 0, steps = 0, into = 0], width }) => [
  n,
  steps,
  layer === 'lstm' || layer === 'gru' ? width : into,
];
