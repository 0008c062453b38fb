import { readOptions } from '../tensor/options.js';
import {
  Conv2d,
  Dropout,
  GELU,
  LayerNorm,
  Linear,
  Module,
  MultiheadAttention,
  Parameter,
  Sequential,
  Tanh,
  type TensorModule,
} from '../nn/index.js';
import * as init from '../nn/base/init.js';
import { add, cat, empty, expand, permute, reshape, select, zeros } from '../ops/index.js';
import { showShape } from '../tensor/shape.js';
import type { Tensor } from '../tensor/tensor.js';
import { MLP, type ActivationLayer } from './blocks.js';
import type { ModelInput, ModelOptions } from './declaration.js';
import { defineModel, type ModelBuilder } from './define.js';

/** torchvision's Vision Transformers (Dosovitskiy et al. 2020, https://arxiv.org/abs/2010.11929). */

export interface VisionTransformerOptions extends ModelOptions {
  /** Height and width of the images; a multiple of the patch size. Default 224. */
  imageSize?: number;
  /** After the position embedding, the attention and in the MLPs. Default 0. */
  dropout?: number;
  /** Of the attention weights. Default 0. */
  attentionDropout?: number;
  /** Width of a hidden layer with tanh before the head. Default none. */
  representationSize?: number | null;
}

interface Shape {
  readonly patchSize: number;
  readonly numLayers: number;
  readonly numHeads: number;
  readonly hiddenDim: number;
  readonly mlpDim: number;
}

const norm = (width: number): LayerNorm => new LayerNorm(width, { eps: 1e-6 });

/** Normal of standard deviation sqrt(1 / fanIn), and no bias. */
function initByFanIn({ weight, bias }: Conv2d | Linear): void {
  init.truncNormal_(weight, 0, Math.sqrt(1 / init.fans(weight).fanIn));
  if (bias !== null) init.zeros_(bias);
}

class MLPBlock extends MLP {
  constructor(width: number, mlpDim: number, dropout: number) {
    // Without `inplace` it is made without options, and GELU knows no others of them.
    super(width, [mlpDim, width], {
      activationLayer: GELU as unknown as ActivationLayer,
      inplace: null,
      dropout,
    });
    for (const module of this.modules()) {
      if (!(module instanceof Linear)) continue;
      init.xavierUniform_(module.weight);
      if (module.bias !== null) init.normal_(module.bias, 0, 1e-6);
    }
  }
}

/** Attention and an MLP, each behind its norm and beside a shortcut: [N, L, hiddenDim] to the same. */
class EncoderBlock extends Module {
  ln_1: LayerNorm;
  selfAttention: MultiheadAttention;
  dropout: Dropout;
  ln_2: LayerNorm;
  mlp: MLPBlock;

  constructor({ hiddenDim, numHeads, mlpDim }: Shape, dropout: number, attentionDropout: number) {
    super();
    this.ln_1 = norm(hiddenDim);
    this.selfAttention = new MultiheadAttention(hiddenDim, numHeads, {
      dropout: attentionDropout,
      batchFirst: true,
    });
    this.dropout = new Dropout(dropout);
    this.ln_2 = norm(hiddenDim);
    this.mlp = new MLPBlock(hiddenDim, mlpDim, dropout);
  }

  forward(x: Tensor): Tensor {
    const y = this.ln_1(x);
    const [attended] = this.selfAttention(y, y, y, { needWeights: false });
    const z = add(this.dropout(attended), x);
    return add(z, this.mlp(this.ln_2(z)));
  }
}

class Encoder extends Module {
  posEmbedding: Parameter;
  dropout: Dropout;
  layers: Sequential;
  ln: LayerNorm;

  constructor(shape: Shape, length: number, dropout: number, attentionDropout: number) {
    super();
    this.posEmbedding = new Parameter(init.normal_(empty(1, length, shape.hiddenDim), 0, 0.02));
    this.dropout = new Dropout(dropout);
    this.layers = new Sequential(
      Object.fromEntries(
        Array.from({ length: shape.numLayers }, (_, i) => [
          `encoder_layer_${i}`,
          new EncoderBlock(shape, dropout, attentionDropout),
        ]),
      ),
    );
    this.ln = norm(shape.hiddenDim);
  }

  forward(x: Tensor): Tensor {
    return this.ln(this.layers(this.dropout(add(x, this.posEmbedding))));
  }
}

/** The head takes any module in its place: `model.heads = new nn.Identity()`. */
export interface VisionTransformer {
  get heads(): Sequential;
  set heads(module: TensorModule);
}

/** `torchvision.models.VisionTransformer`: `[N, 3, imageSize, imageSize]` to logits `[N, numClasses]`. */
export class VisionTransformer extends Module {
  classToken: Parameter;
  convProj: Conv2d;
  encoder: Encoder;
  readonly imageSize: number;
  readonly hiddenDim: number;

  constructor(shape: Shape, options: VisionTransformerOptions = {}) {
    super();
    const { numClasses, imageSize, dropout, attentionDropout, representationSize } = readOptions<
      Required<VisionTransformerOptions>
    >(
      'VisionTransformer',
      { numClasses: 1000, imageSize: 224, dropout: 0, attentionDropout: 0, representationSize: null },
      options,
    );
    const { patchSize, hiddenDim } = shape;
    if (!Number.isInteger(imageSize / patchSize) || imageSize < patchSize)
      throw new Error(
        `VisionTransformer: imageSize ${imageSize} is not a multiple of the patch size ${patchSize}`,
      );
    this.imageSize = imageSize;
    this.hiddenDim = hiddenDim;
    this.convProj = new Conv2d(3, hiddenDim, patchSize, { stride: patchSize });
    this.classToken = new Parameter(zeros(1, 1, hiddenDim));
    this.encoder = new Encoder(shape, (imageSize / patchSize) ** 2 + 1, dropout, attentionDropout);
    this.heads = new Sequential(
      representationSize === null
        ? { head: new Linear(hiddenDim, numClasses) }
        : {
            pre_logits: new Linear(hiddenDim, representationSize),
            act: new Tanh(),
            head: new Linear(representationSize, numClasses),
          },
    );
    initByFanIn(this.convProj);
    if (representationSize !== null) initByFanIn(this.heads.getSubmodule('pre_logits', Linear));
    const head = this.heads.getSubmodule('head', Linear);
    init.zeros_(head.weight);
    if (head.bias !== null) init.zeros_(head.bias);
  }

  forward(x: Tensor): Tensor {
    const { imageSize, hiddenDim } = this;
    if (x.ndim !== 4 || x.shape[2] !== imageSize || x.shape[3] !== imageSize)
      throw new Error(
        `VisionTransformer: expected images [N, 3, ${imageSize}, ${imageSize}], got ${showShape(x.shape)}; ` +
          'the option imageSize makes a model for another size',
      );
    const patches = permute(this.convProj(x), 0, 2, 3, 1);
    const n = patches.shape[0] as number;
    const tokens = reshape(patches, n, -1, hiddenDim);
    const sequence = cat([expand(this.classToken, n, 1, hiddenDim), tokens], 1);
    return this.heads(select(this.encoder(sequence), 1, 0));
  }

  /**
   * torchvision before 0.13, and so its published files, called the layers of the MLPs `linear_1` and
   * `linear_2`.
   */
  protected override loadKey(key: string): string {
    return key.replace('.mlp.linear_1.', '.mlp.0.').replace('.mlp.linear_2.', '.mlp.3.');
  }
}

const build = (
  name: string,
  patchSize: number,
  numLayers: number,
  numHeads: number,
  hiddenDim: number,
  mlpDim: number,
  input: Partial<ModelInput> = {},
): ModelBuilder<VisionTransformer, VisionTransformerOptions> =>
  defineModel<VisionTransformer, VisionTransformerOptions>({
    name,
    construct: (options) =>
      new VisionTransformer({ patchSize, numLayers, numHeads, hiddenDim, mlpDim }, options),
    input,
    telltales: [{ name: 'a vision transformer', has: ['encoder.pos_embedding'] }],
  });

export const vitB16 = build('vit_b_16', 16, 12, 12, 768, 3072);
export const vitB32 = build('vit_b_32', 32, 12, 12, 768, 3072);
export const vitL16 = build('vit_l_16', 16, 24, 16, 1024, 4096, { resize: 242 });
export const vitL32 = build('vit_l_32', 32, 24, 16, 1024, 4096);
export const vitH14 = build('vit_h_14', 14, 32, 16, 1280, 5120, {
  resize: 224,
  interpolation: 'bicubic',
});
