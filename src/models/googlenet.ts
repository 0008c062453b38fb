import { readOptions } from '../tensor/options.js';
import {
  AdaptiveAvgPool2d,
  Conv2d,
  Dropout,
  Linear,
  MaxPool2d,
  Module,
  Sequential,
  type TensorModule,
} from '../nn/index.js';
import * as init from '../nn/base/init.js';
import { adaptiveAvgPool2d, cat, flatten, relu } from '../ops/index.js';
import type { Tensor } from '../tensor/tensor.js';
import type { ModelOptions } from './declaration.js';
import { defineModel, type ModelBuilder } from './define.js';
import type { WithAuxiliaryHeads } from './head.js';
import { BasicConv2d, renormalize } from './inception-blocks.js';

/** torchvision's GoogLeNet (Szegedy et al. 2015, https://arxiv.org/abs/1409.4842), with batch norm. */

export interface GoogLeNetOptions extends ModelOptions {
  /** Auxiliary classifiers, which run in training mode only. Default true; false with pretrained weights. */
  auxLogits?: boolean;
  /**
   * Inputs are normalised as for the other models; renormalise them as this one's published weights expect.
   * Default false.
   */
  transformInput?: boolean;
  /** False leaves every layer at its own default initialisation. */
  initWeights?: boolean;
  /** Probability of the dropout before the last layer. Default 0.2. */
  dropout?: number;
  /** The same in the auxiliary classifiers. Default 0.7. */
  dropoutAux?: number;
}

/** What a GoogLeNet with auxiliary classifiers returns in training mode: each `[N, numClasses]`. */
export interface GoogLeNetOutputs {
  readonly logits: Tensor;
  /** Of the classifier after inception4d. */
  readonly aux2: Tensor;
  /** Of the classifier after inception4a. */
  readonly aux1: Tensor;
}

/**
 * 1x1, 3x3, 3x3 and pooling side by side. The third branch has 3x3 where the paper has 5x5, as torchvision's
 * weights do.
 */
class Inception extends Module {
  branch1: BasicConv2d;
  branch2: Sequential;
  branch3: Sequential;
  branch4: Sequential;

  constructor(
    into: number,
    ch1x1: number,
    [reduce3x3, ch3x3]: readonly [number, number],
    [reduce5x5, ch5x5]: readonly [number, number],
    poolProj: number,
  ) {
    super();
    this.branch1 = new BasicConv2d(into, ch1x1, 1);
    this.branch2 = new Sequential(
      new BasicConv2d(into, reduce3x3, 1),
      new BasicConv2d(reduce3x3, ch3x3, 3, { padding: 1 }),
    );
    this.branch3 = new Sequential(
      new BasicConv2d(into, reduce5x5, 1),
      new BasicConv2d(reduce5x5, ch5x5, 3, { padding: 1 }),
    );
    this.branch4 = new Sequential(
      new MaxPool2d(3, { stride: 1, padding: 1, ceilMode: true }),
      new BasicConv2d(into, poolProj, 1),
    );
  }

  forward(x: Tensor): Tensor {
    return cat([this.branch1(x), this.branch2(x), this.branch3(x), this.branch4(x)], 1);
  }
}

/** An auxiliary classifier. */
class InceptionAux extends Module {
  conv: BasicConv2d;
  fc1: Linear;
  fc2: Linear;
  dropout: Dropout;

  constructor(into: number, numClasses: number, dropout: number) {
    super();
    this.conv = new BasicConv2d(into, 128, 1);
    this.fc1 = new Linear(2048, 1024);
    this.fc2 = new Linear(1024, numClasses);
    this.dropout = new Dropout(dropout);
  }

  forward(x: Tensor): Tensor {
    const pooled = flatten(this.conv(adaptiveAvgPool2d(x, 4)), 1);
    return this.fc2(this.dropout(relu(this.fc1(pooled))));
  }
}

/** The head takes any module in its place: `model.fc = new nn.Identity()`. */
export interface GoogLeNet {
  get fc(): Linear;
  set fc(module: TensorModule);
}

/**
 * `torchvision.models.GoogLeNet`: `[N, 3, H, W]` to logits `[N, numClasses]`, or to {@link GoogLeNetOutputs}
 * in training mode with auxiliary classifiers (the paper adds 0.3 times each of their losses). Without them a
 * file's weights for them are passed over.
 */
export class GoogLeNet extends Module implements WithAuxiliaryHeads {
  conv1: BasicConv2d;
  maxpool1: MaxPool2d;
  conv2: BasicConv2d;
  conv3: BasicConv2d;
  maxpool2: MaxPool2d;
  inception3a: Inception;
  inception3b: Inception;
  maxpool3: MaxPool2d;
  inception4a: Inception;
  inception4b: Inception;
  inception4c: Inception;
  inception4d: Inception;
  inception4e: Inception;
  maxpool4: MaxPool2d;
  inception5a: Inception;
  inception5b: Inception;
  aux1: InceptionAux | null;
  aux2: InceptionAux | null;
  avgpool: AdaptiveAvgPool2d;
  dropout: Dropout;
  readonly transformInput: boolean;

  constructor(options: GoogLeNetOptions = {}) {
    const { numClasses, auxLogits, transformInput, initWeights, dropout, dropoutAux } = readOptions<
      Required<GoogLeNetOptions>
    >(
      'GoogLeNet',
      {
        numClasses: 1000,
        auxLogits: true,
        transformInput: false,
        initWeights: true,
        dropout: 0.2,
        dropoutAux: 0.7,
      },
      options,
    );
    super();
    const pool = (size: number): MaxPool2d => new MaxPool2d(size, { stride: 2, ceilMode: true });
    this.conv1 = new BasicConv2d(3, 64, 7, { stride: 2, padding: 3 });
    this.maxpool1 = pool(3);
    this.conv2 = new BasicConv2d(64, 64, 1);
    this.conv3 = new BasicConv2d(64, 192, 3, { padding: 1 });
    this.maxpool2 = pool(3);
    this.inception3a = new Inception(192, 64, [96, 128], [16, 32], 32);
    this.inception3b = new Inception(256, 128, [128, 192], [32, 96], 64);
    this.maxpool3 = pool(3);
    this.inception4a = new Inception(480, 192, [96, 208], [16, 48], 64);
    this.inception4b = new Inception(512, 160, [112, 224], [24, 64], 64);
    this.inception4c = new Inception(512, 128, [128, 256], [24, 64], 64);
    this.inception4d = new Inception(512, 112, [144, 288], [32, 64], 64);
    this.inception4e = new Inception(528, 256, [160, 320], [32, 128], 128);
    this.maxpool4 = pool(2);
    this.inception5a = new Inception(832, 256, [160, 320], [32, 128], 128);
    this.inception5b = new Inception(832, 384, [192, 384], [48, 128], 128);
    this.aux1 = auxLogits ? new InceptionAux(512, numClasses, dropoutAux) : null;
    this.aux2 = auxLogits ? new InceptionAux(528, numClasses, dropoutAux) : null;
    this.avgpool = new AdaptiveAvgPool2d([1, 1]);
    this.dropout = new Dropout(dropout);
    this.fc = new Linear(1024, numClasses);
    this.transformInput = transformInput;
    if (!initWeights) return;
    for (const module of this.modules())
      if (module instanceof Conv2d || module instanceof Linear) init.truncNormal_(module.weight, 0, 0.01);
  }

  auxiliaryHeads(): readonly string[] {
    return this.aux1 !== null && this.aux2 !== null ? ['aux1.fc2', 'aux2.fc2'] : [];
  }

  protected override loadKey(key: string): string | null {
    return this.aux1 === null && this.aux2 === null && /^aux[12]\./.test(key) ? null : key;
  }

  forward(x: Tensor): Tensor | GoogLeNetOutputs {
    if (this.transformInput) x = renormalize(x);
    x = this.maxpool1(this.conv1(x));
    x = this.maxpool2(this.conv3(this.conv2(x)));
    x = this.maxpool3(this.inception3b(this.inception3a(x)));
    x = this.inception4a(x);
    const aux1 = this.training && this.aux1 !== null ? this.aux1(x) : null;
    x = this.inception4d(this.inception4c(this.inception4b(x)));
    const aux2 = this.training && this.aux2 !== null ? this.aux2(x) : null;
    x = this.maxpool4(this.inception4e(x));
    x = this.inception5b(this.inception5a(x));
    const logits = this.fc(this.dropout(flatten(this.avgpool(x), 1)));
    // torchvision hands out the two auxiliary outputs under each other's names; here each is its own.
    return aux1 !== null && aux2 !== null ? { logits, aux2, aux1 } : logits;
  }
}

/**
 * torchvision's published weights are of the original network: its inputs are normalised otherwise, its
 * auxiliary heads untrained.
 */
export const googlenet: ModelBuilder<GoogLeNet, GoogLeNetOptions> = defineModel<GoogLeNet, GoogLeNetOptions>({
  name: 'googlenet',
  construct: (options) => new GoogLeNet(options),
  telltales: [{ name: 'GoogLeNet', has: ['inception3a.branch1.conv.weight'] }],
  pretrained: { transformInput: true, auxLogits: false, initWeights: false },
});
