/** The parameters of the works under PyTorch's names, in PyTorch's order of modules. */
import { base, gptNames, mobilenetBlocks, vitLayer, vitNames } from './networks.mjs';

/**
 * @typedef {import('./work-list.mjs').NetworkWork} NetworkWork
 * @typedef {import('./work-list.mjs').SequenceWork} SequenceWork
 * @typedef {{ name: string, shape: number[], fill: 'uniform' | 'zeros' | 'ones', bound: number, seed: number
 * }} Parameter
 */

/** A list under construction; the n-th has seed n. */
class Parameters {
  /** @type {Parameter[]} */
  list = [];

  /**
   * Uniform by fan-in, but a vector is filled with one number.
   * @param {string} name
   * @param {number[]} shape
   * @param {Parameter['fill']} [fill]
   */
  push(name, shape, fill = shape.length > 1 ? 'uniform' : 'zeros') {
    const fanIn = shape.slice(1).reduce((product, size) => product * size, 1);
    this.list.push({ name, shape, fill, bound: Math.sqrt(6 / fanIn), seed: this.list.length });
  }

  /** @type {(name: string, into: number, out: number, kernel: number) => void} */
  conv(name, into, out, kernel) {
    this.push(`${name}.weight`, [out, into, kernel, kernel]);
  }

  /** @type {(name: string, channels: number) => void} */
  norm(name, channels) {
    this.push(`${name}.weight`, [channels], 'ones');
    this.push(`${name}.bias`, [channels]);
  }

  /** `prefix` comes before `weight` and `bias`. @type {(prefix: string, from: number, to: number) => void} */
  projection(prefix, from, to) {
    this.push(`${prefix}weight`, [to, from]);
    this.push(`${prefix}bias`, [to]);
  }

  /** @type {(name: string, from: number, to: number) => void} */
  linear(name, from, to) {
    this.projection(`${name}.`, from, to);
  }
}

/** @type {(to: Parameters, large: boolean) => void} */
function resnet(to, large) {
  const widths = large ? [64, 128, 256, 512] : [16, 32, 64];
  let into = large ? 64 : 16;
  to.conv('conv1', 3, into, large ? 7 : 3);
  to.norm('bn1', into);
  for (const [stage, width] of widths.entries()) {
    for (let block = 0; block < (large ? 2 : 3); block++) {
      const at = `layer${stage + 1}.${block}`;
      to.conv(`${at}.conv1`, into, width, 3);
      to.norm(`${at}.bn1`, width);
      to.conv(`${at}.conv2`, width, width, 3);
      to.norm(`${at}.bn2`, width);
      if (large && into !== width) {
        to.conv(`${at}.downsample.0`, into, width, 1);
        to.norm(`${at}.downsample.1`, width);
      }
      into = width;
    }
  }
  to.linear(large ? 'fc' : 'linear', into, large ? 1000 : 10);
}

/** @type {(to: Parameters) => void} */
function mobilenetV2(to) {
  /** @type {(name: string, into: number, out: number, kernel: number) => void} */
  const activated = (name, into, out, kernel) => {
    to.conv(`${name}.0`, into, out, kernel);
    to.norm(`${name}.1`, out);
  };
  activated('features.0', 3, 32, 3);
  for (const { expand, depthwise, down, downNorm, into, hidden, out } of mobilenetBlocks()) {
    if (expand !== null) activated(expand, into, hidden, 1);
    activated(depthwise, 1, hidden, 3);
    to.conv(down, hidden, out, 1);
    to.norm(downNorm, out);
  }
  activated('features.18', 320, 1280, 1);
  to.linear('classifier.1', 1280, 1000);
}

/** @type {(to: Parameters, names: import('./networks.mjs').BlockNames, at?: string) => void} */
function block(to, names, at = '') {
  to.norm(`${at}ln_1`, base.width);
  to.projection(at + names.projection, base.width, 3 * base.width);
  to.linear(at + names.out, base.width, base.width);
  to.norm(`${at}ln_2`, base.width);
  to.linear(at + names.up, base.width, base.mlp);
  to.linear(at + names.down, base.mlp, base.width);
}

/** For images of 224x224. @type {(to: Parameters) => void} */
function vitB16(to) {
  const { width, patch, layers } = base;
  to.push('class_token', [1, 1, width]);
  to.conv('conv_proj', 3, width, patch);
  to.push('conv_proj.bias', [width]);
  to.push('encoder.pos_embedding', [1, (224 / patch) ** 2 + 1, width]);
  for (let layer = 0; layer < layers; layer++) block(to, vitNames, vitLayer(layer));
  to.norm('encoder.ln', width);
  to.linear('heads.head', width, 1000);
}

/** @param {Pick<NetworkWork, 'network'>} work */
export function parametersOf({ network }) {
  const to = new Parameters();
  if (network === 'mobilenet-v2') mobilenetV2(to);
  else if (network === 'vit-b16') vitB16(to);
  else if (network === 'gpt-block') block(to, gptNames);
  else resnet(to, network === 'resnet18');
  return to.list;
}

/**
 * As {@link parametersOf}, of one layer.
 * @param {SequenceWork} work
 */
export function sequenceParameters({ layer, input, width }) {
  const into = input[2] ?? 0;
  const to = new Parameters();
  if (layer === 'lstm' || layer === 'gru') {
    const rows = (layer === 'lstm' ? 4 : 3) * width;
    to.push('weight_ih_l0', [rows, into]);
    to.push('weight_hh_l0', [rows, width]);
    to.push('bias_ih_l0', [rows]);
    to.push('bias_hh_l0', [rows]);
    return to.list;
  }
  const attentions = layer === 'encoder' ? ['self_attn'] : ['self_attn', 'multihead_attn'];
  for (const name of attentions) {
    to.projection(`${name}.in_proj_`, into, 3 * into);
    to.linear(`${name}.out_proj`, into, into);
  }
  to.linear('linear1', into, width);
  to.linear('linear2', width, into);
  for (let i = 1; i <= attentions.length + 1; i++) to.norm(`norm${i}`, into);
  return to.list;
}
