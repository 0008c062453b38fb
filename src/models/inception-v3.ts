import { readOptions } from '../tensor/options.js';
import {
  AdaptiveAvgPool2d,
  Conv2d,
  Dropout,
  Linear,
  MaxPool2d,
  Module,
  type TensorModule,
} from '../nn/index.js';
import * as init from '../nn/base/init.js';
import { adaptiveAvgPool2d, avgPool2d, cat, flatten, maxPool2d } from '../ops/index.js';
import type { Tensor } from '../tensor/tensor.js';
import type { ModelOptions } from './declaration.js';
import { defineModel, type ModelBuilder } from './define.js';
import { BasicConv2d, renormalize } from './inception-blocks.js';
import type { WithAuxiliaryHeads } from './head.js';

/** torchvision's Inception v3 (Szegedy et al. 2016, https://arxiv.org/abs/1512.00567). */

export interface Inception3Options extends ModelOptions {
  /** An auxiliary classifier, which runs in training mode only. Default true. */
  auxLogits?: boolean;
  /**
   * Inputs are normalised as for the other models; renormalise them as this one's published weights expect.
   * Default false.
   */
  transformInput?: boolean;
  /** False leaves every layer at its own default initialisation. */
  initWeights?: boolean;
  /** Probability of the dropout before the last layer. Default 0.5. */
  dropout?: number;
}

/** What an Inception v3 with its auxiliary classifier returns in training mode: each `[N, numClasses]`. */
export interface Inception3Outputs {
  readonly logits: Tensor;
  readonly auxLogits: Tensor;
}

const conv1x1 = (into: number, out: number): BasicConv2d => new BasicConv2d(into, out, 1);
const conv3x3 = (into: number, out: number): BasicConv2d => new BasicConv2d(into, out, 3, { padding: 1 });
const conv1xN = (into: number, out: number, n: number): BasicConv2d =>
  new BasicConv2d(into, out, [1, n], { padding: [0, (n - 1) / 2] });
const convNx1 = (into: number, out: number, n: number): BasicConv2d =>
  new BasicConv2d(into, out, [n, 1], { padding: [(n - 1) / 2, 0] });
const halving = (into: number, out: number): BasicConv2d => new BasicConv2d(into, out, 3, { stride: 2 });
const averaged = (x: Tensor): Tensor => avgPool2d(x, 3, { stride: 1, padding: 1 });

/** The paper's figure 5: 35x35. */
class InceptionA extends Module {
  branch1x1: BasicConv2d;
  branch5x5_1: BasicConv2d;
  branch5x5_2: BasicConv2d;
  branch3x3dbl_1: BasicConv2d;
  branch3x3dbl_2: BasicConv2d;
  branch3x3dbl_3: BasicConv2d;
  branchPool: BasicConv2d;

  constructor(into: number, poolFeatures: number) {
    super();
    this.branch1x1 = conv1x1(into, 64);
    this.branch5x5_1 = conv1x1(into, 48);
    this.branch5x5_2 = new BasicConv2d(48, 64, 5, { padding: 2 });
    this.branch3x3dbl_1 = conv1x1(into, 64);
    this.branch3x3dbl_2 = conv3x3(64, 96);
    this.branch3x3dbl_3 = conv3x3(96, 96);
    this.branchPool = conv1x1(into, poolFeatures);
  }

  forward(x: Tensor): Tensor {
    const wide = this.branch5x5_2(this.branch5x5_1(x));
    const double = this.branch3x3dbl_3(this.branch3x3dbl_2(this.branch3x3dbl_1(x)));
    return cat([this.branch1x1(x), wide, double, this.branchPool(averaged(x))], 1);
  }
}

/** From 35x35 to 17x17 (the paper's figure 10). */
class InceptionB extends Module {
  branch3x3: BasicConv2d;
  branch3x3dbl_1: BasicConv2d;
  branch3x3dbl_2: BasicConv2d;
  branch3x3dbl_3: BasicConv2d;

  constructor(into: number) {
    super();
    this.branch3x3 = halving(into, 384);
    this.branch3x3dbl_1 = conv1x1(into, 64);
    this.branch3x3dbl_2 = conv3x3(64, 96);
    this.branch3x3dbl_3 = halving(96, 96);
  }

  forward(x: Tensor): Tensor {
    const double = this.branch3x3dbl_3(this.branch3x3dbl_2(this.branch3x3dbl_1(x)));
    return cat([this.branch3x3(x), double, maxPool2d(x, 3, { stride: 2 })], 1);
  }
}

/** The paper's figure 6 with n = 7: 17x17. */
class InceptionC extends Module {
  branch1x1: BasicConv2d;
  branch7x7_1: BasicConv2d;
  branch7x7_2: BasicConv2d;
  branch7x7_3: BasicConv2d;
  branch7x7dbl_1: BasicConv2d;
  branch7x7dbl_2: BasicConv2d;
  branch7x7dbl_3: BasicConv2d;
  branch7x7dbl_4: BasicConv2d;
  branch7x7dbl_5: BasicConv2d;
  branchPool: BasicConv2d;

  constructor(into: number, width: number) {
    super();
    this.branch1x1 = conv1x1(into, 192);
    this.branch7x7_1 = conv1x1(into, width);
    this.branch7x7_2 = conv1xN(width, width, 7);
    this.branch7x7_3 = convNx1(width, 192, 7);
    this.branch7x7dbl_1 = conv1x1(into, width);
    this.branch7x7dbl_2 = convNx1(width, width, 7);
    this.branch7x7dbl_3 = conv1xN(width, width, 7);
    this.branch7x7dbl_4 = convNx1(width, width, 7);
    this.branch7x7dbl_5 = conv1xN(width, 192, 7);
    this.branchPool = conv1x1(into, 192);
  }

  forward(x: Tensor): Tensor {
    const single = this.branch7x7_3(this.branch7x7_2(this.branch7x7_1(x)));
    const first = this.branch7x7dbl_3(this.branch7x7dbl_2(this.branch7x7dbl_1(x)));
    const double = this.branch7x7dbl_5(this.branch7x7dbl_4(first));
    return cat([this.branch1x1(x), single, double, this.branchPool(averaged(x))], 1);
  }
}

/** From 17x17 to 8x8. */
class InceptionD extends Module {
  branch3x3_1: BasicConv2d;
  branch3x3_2: BasicConv2d;
  branch7x7x3_1: BasicConv2d;
  branch7x7x3_2: BasicConv2d;
  branch7x7x3_3: BasicConv2d;
  branch7x7x3_4: BasicConv2d;

  constructor(into: number) {
    super();
    this.branch3x3_1 = conv1x1(into, 192);
    this.branch3x3_2 = halving(192, 320);
    this.branch7x7x3_1 = conv1x1(into, 192);
    this.branch7x7x3_2 = conv1xN(192, 192, 7);
    this.branch7x7x3_3 = convNx1(192, 192, 7);
    this.branch7x7x3_4 = halving(192, 192);
  }

  forward(x: Tensor): Tensor {
    const small = this.branch3x3_2(this.branch3x3_1(x));
    const wide = this.branch7x7x3_3(this.branch7x7x3_2(this.branch7x7x3_1(x)));
    return cat([small, this.branch7x7x3_4(wide), maxPool2d(x, 3, { stride: 2 })], 1);
  }
}

/** The paper's figure 7: 8x8, where branches fork once more. */
class InceptionE extends Module {
  branch1x1: BasicConv2d;
  branch3x3_1: BasicConv2d;
  branch3x3_2a: BasicConv2d;
  branch3x3_2b: BasicConv2d;
  branch3x3dbl_1: BasicConv2d;
  branch3x3dbl_2: BasicConv2d;
  branch3x3dbl_3a: BasicConv2d;
  branch3x3dbl_3b: BasicConv2d;
  branchPool: BasicConv2d;

  constructor(into: number) {
    super();
    this.branch1x1 = conv1x1(into, 320);
    this.branch3x3_1 = conv1x1(into, 384);
    this.branch3x3_2a = conv1xN(384, 384, 3);
    this.branch3x3_2b = convNx1(384, 384, 3);
    this.branch3x3dbl_1 = conv1x1(into, 448);
    this.branch3x3dbl_2 = conv3x3(448, 384);
    this.branch3x3dbl_3a = conv1xN(384, 384, 3);
    this.branch3x3dbl_3b = convNx1(384, 384, 3);
    this.branchPool = conv1x1(into, 192);
  }

  forward(x: Tensor): Tensor {
    const single = this.branch3x3_1(x);
    const double = this.branch3x3dbl_2(this.branch3x3dbl_1(x));
    return cat(
      [
        this.branch1x1(x),
        this.branch3x3_2a(single),
        this.branch3x3_2b(single),
        this.branch3x3dbl_3a(double),
        this.branch3x3dbl_3b(double),
        this.branchPool(averaged(x)),
      ],
      1,
    );
  }
}

/** The auxiliary classifier, on 17x17. */
class InceptionAux extends Module {
  conv0: BasicConv2d;
  conv1: BasicConv2d;
  fc: Linear;

  constructor(into: number, numClasses: number) {
    super();
    this.conv0 = conv1x1(into, 128);
    this.conv1 = new BasicConv2d(128, 768, 5);
    this.fc = new Linear(768, numClasses);
  }

  forward(x: Tensor): Tensor {
    const features = this.conv1(this.conv0(avgPool2d(x, 5, { stride: 3 })));
    return this.fc(flatten(adaptiveAvgPool2d(features, 1), 1));
  }
}

/** The head takes any module in its place: `model.fc = new nn.Identity()`. */
export interface Inception3 {
  get fc(): Linear;
  set fc(module: TensorModule);
}

/**
 * `torchvision.models.Inception3`: `[N, 3, H, W]`, made for 299x299 and at least 75x75, to logits
 * `[N, numClasses]`, or to {@link Inception3Outputs} in training mode with the auxiliary classifier (commonly
 * 0.4 times its loss is added). Without it a file's weights for it are passed over.
 */
export class Inception3 extends Module implements WithAuxiliaryHeads {
  Conv2d_1a_3x3: BasicConv2d;
  Conv2d_2a_3x3: BasicConv2d;
  Conv2d_2b_3x3: BasicConv2d;
  maxpool1: MaxPool2d;
  Conv2d_3b_1x1: BasicConv2d;
  Conv2d_4a_3x3: BasicConv2d;
  maxpool2: MaxPool2d;
  Mixed_5b: InceptionA;
  Mixed_5c: InceptionA;
  Mixed_5d: InceptionA;
  Mixed_6a: InceptionB;
  Mixed_6b: InceptionC;
  Mixed_6c: InceptionC;
  Mixed_6d: InceptionC;
  Mixed_6e: InceptionC;
  AuxLogits: InceptionAux | null;
  Mixed_7a: InceptionD;
  Mixed_7b: InceptionE;
  Mixed_7c: InceptionE;
  avgpool: AdaptiveAvgPool2d;
  dropout: Dropout;
  readonly transformInput: boolean;

  constructor(options: Inception3Options = {}) {
    const { numClasses, auxLogits, transformInput, initWeights, dropout } = readOptions<
      Required<Inception3Options>
    >(
      'Inception3',
      { numClasses: 1000, auxLogits: true, transformInput: false, initWeights: true, dropout: 0.5 },
      options,
    );
    super();
    this.Conv2d_1a_3x3 = halving(3, 32);
    this.Conv2d_2a_3x3 = new BasicConv2d(32, 32, 3);
    this.Conv2d_2b_3x3 = conv3x3(32, 64);
    this.maxpool1 = new MaxPool2d(3, { stride: 2 });
    this.Conv2d_3b_1x1 = conv1x1(64, 80);
    this.Conv2d_4a_3x3 = new BasicConv2d(80, 192, 3);
    this.maxpool2 = new MaxPool2d(3, { stride: 2 });
    this.Mixed_5b = new InceptionA(192, 32);
    this.Mixed_5c = new InceptionA(256, 64);
    this.Mixed_5d = new InceptionA(288, 64);
    this.Mixed_6a = new InceptionB(288);
    this.Mixed_6b = new InceptionC(768, 128);
    this.Mixed_6c = new InceptionC(768, 160);
    this.Mixed_6d = new InceptionC(768, 160);
    this.Mixed_6e = new InceptionC(768, 192);
    this.AuxLogits = auxLogits ? new InceptionAux(768, numClasses) : null;
    this.Mixed_7a = new InceptionD(768);
    this.Mixed_7b = new InceptionE(1280);
    this.Mixed_7c = new InceptionE(2048);
    this.avgpool = new AdaptiveAvgPool2d([1, 1]);
    this.dropout = new Dropout(dropout);
    this.fc = new Linear(2048, numClasses);
    this.transformInput = transformInput;
    if (initWeights) this.initWeights();
  }

  /** Truncated normal, standard deviation 0.1; less for the auxiliary `fc`, as in torchvision. */
  private initWeights(): void {
    for (const module of this.modules()) {
      if (!(module instanceof Conv2d || module instanceof Linear)) continue;
      init.truncNormal_(module.weight, 0, module === this.AuxLogits?.fc ? 0.001 : 0.1);
    }
  }

  auxiliaryHeads(): readonly string[] {
    return this.AuxLogits === null ? [] : ['AuxLogits.fc'];
  }

  protected override loadKey(key: string): string | null {
    return this.AuxLogits === null && key.startsWith('AuxLogits.') ? null : key;
  }

  forward(x: Tensor): Tensor | Inception3Outputs {
    if (this.transformInput) x = renormalize(x);
    x = this.maxpool1(this.Conv2d_2b_3x3(this.Conv2d_2a_3x3(this.Conv2d_1a_3x3(x))));
    x = this.maxpool2(this.Conv2d_4a_3x3(this.Conv2d_3b_1x1(x)));
    x = this.Mixed_5d(this.Mixed_5c(this.Mixed_5b(x)));
    x = this.Mixed_6a(x);
    x = this.Mixed_6e(this.Mixed_6d(this.Mixed_6c(this.Mixed_6b(x))));
    const auxLogits = this.training && this.AuxLogits !== null ? this.AuxLogits(x) : null;
    x = this.Mixed_7c(this.Mixed_7b(this.Mixed_7a(x)));
    const logits = this.fc(flatten(this.dropout(this.avgpool(x)), 1));
    return auxLogits === null ? logits : { logits, auxLogits };
  }
}

/** torchvision's published weights are of the original network, whose inputs are normalised otherwise. */
export const inceptionV3: ModelBuilder<Inception3, Inception3Options> = defineModel<
  Inception3,
  Inception3Options
>({
  name: 'inception_v3',
  construct: (options) => new Inception3(options),
  input: { resize: 342, crop: 299 },
  telltales: [{ name: 'Inception v3', has: ['Mixed_5b.branch1x1.conv.weight'] }],
  pretrained: { transformInput: true, initWeights: false },
});
