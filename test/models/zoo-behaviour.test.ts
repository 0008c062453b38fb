import { readFileSync } from 'node:fs';
import { beforeAll, describe, expect, it } from 'vitest';
import * as k from '../../src/index.js';
import { runtime } from '../../src/device/index.js';
import { findHead, findHeads, replaceHead } from '../../src/models/index.js';
import { signalParameter, uniform } from './fill.js';
import { relativeL2 } from './goldens.js';
import { full } from '../tooling/full.js';

beforeAll(() => k.init());

/** Shapes and structure only: nothing runs on the GPU. */
const dry = <T>(fn: () => T): T => runtime().withoutWork(() => k.tidy(fn));

describe('heads of the zoo', () => {
  it.each([
    ['vgg11_bn', ['classifier.6']],
    ['mobilenet_v2', ['classifier.1']],
    ['mobilenet_v3_large', ['classifier.3']],
    ['alexnet', ['classifier.6']],
    ['squeezenet1_0', ['classifier.1']],
    ['densenet121', ['classifier']],
    ['googlenet', ['fc', 'aux1.fc2', 'aux2.fc2']],
    ['inception_v3', ['fc', 'AuxLogits.fc']],
    ['efficientnet_b0', ['classifier.1']],
    ['shufflenet_v2_x0_5', ['fc']],
    ['mnasnet0_5', ['classifier.1']],
    ['regnet_y_400mf', ['fc']],
    ['convnext_tiny', ['classifier.2']],
    ['vit_b_32', ['heads.head']],
  ])('%s: %s', (name, paths) => {
    const make = k.models.get(name);
    const { channels, crop } = make.input;
    const model = runtime().withoutWork(() => make());
    try {
      expect(findHeads(model).map(({ path, outFeatures }) => [path, outFeatures])).toEqual(
        paths.map((path) => [path, 1000]),
      );
      const { layer } = runtime().withoutWork(() => replaceHead(model, 7));
      expect(findHead(model).layer).toBe(layer);
      expect(findHeads(model).map(({ outFeatures }) => outFeatures)).toEqual(paths.map(() => 7));
      model.eval();
      expect(dry(() => k.noGrad(() => model(k.zeros(2, channels, crop, crop)).shape))).toEqual([2, 7]);
    } finally {
      model.dispose();
    }
  });

  it('of VGG is replaced by index', () => {
    const model = runtime().withoutWork(() => k.models.vgg16({ numClasses: 2 }));
    model.features.requiresGrad_(false);
    model.classifier[6] = new k.nn.Linear(4096, 10);
    const trained = model.namedParameters().filter(([, { requiresGrad }]) => requiresGrad);
    expect(trained.map(([name]) => name)).toEqual(
      [0, 3, 6].flatMap((i) => [`classifier.${i}.weight`, `classifier.${i}.bias`]),
    );
    expect(model.getParameter('classifier.6.weight').shape).toEqual([10, 4096]);
    model.dispose();
  });
});

describe('auxiliary classifiers', () => {
  const golden = JSON.parse(readFileSync(new URL('../goldens/models/zoo.json', import.meta.url), 'utf8')) as {
    models: Record<
      'googlenet' | 'inception_v3',
      {
        options: k.models.GoogLeNetOptions & k.models.Inception3Options;
        auxiliary: { size: number } & Record<'aux1' | 'aux2' | 'auxLogits', number[]>;
      }
    >;
  };

  async function outputsOf(name: 'googlenet' | 'inception_v3'): Promise<Record<string, k.Tensor>> {
    const { options, auxiliary } = golden.models[name];
    const model = runtime().withoutWork(() =>
      name === 'googlenet' ? k.models.googlenet(options) : k.models.inceptionV3(options),
    );
    const state = k.tidy(() => [...model.stateDict()].map(([key, { shape }]) => [key, shape] as const));
    await model.loadStateDict(
      new Map(
        state.map(([key, shape]) => [
          key,
          { shape, data: key.endsWith('num_batches_tracked') ? [0] : signalParameter(key, shape) },
        ]),
      ),
    );
    model.eval();
    model.training = true;
    const shape = [1, 3, auxiliary.size, auxiliary.size];
    const out = k.noGrad(() => model(k.tensor(uniform('input', shape, Math.sqrt(3)), { shape })));
    model.dispose();
    return out as unknown as Record<string, k.Tensor>;
  }

  it.skipIf(!full)("GoogLeNet's are torchvision's", { timeout: 600_000 }, async () => {
    const { aux1, aux2 } = await outputsOf('googlenet');
    const want = golden.models.googlenet.auxiliary;
    expect(relativeL2(await aux1!.data(), want.aux1)).toBeLessThan(5e-5);
    expect(relativeL2(await aux2!.data(), want.aux2)).toBeLessThan(5e-5);
  });

  it.skipIf(!full)("Inception's is torchvision's", { timeout: 600_000 }, async () => {
    const { auxLogits } = await outputsOf('inception_v3');
    expect(relativeL2(await auxLogits!.data(), golden.models.inception_v3.auxiliary.auxLogits)).toBeLessThan(
      5e-5,
    );
  });

  it('answer in training mode only', () => {
    const shapes = (out: unknown): unknown =>
      out instanceof k.Tensor
        ? out.shape
        : Object.fromEntries(
            Object.entries(out as Record<string, k.Tensor>).map(([key, { shape }]) => [key, shape]),
          );
    const googlenet = runtime().withoutWork(() => k.models.googlenet({ numClasses: 5 }));
    expect(dry(() => shapes(googlenet(k.zeros(2, 3, 64, 64))))).toEqual({
      logits: [2, 5],
      aux2: [2, 5],
      aux1: [2, 5],
    });
    googlenet.eval();
    expect(dry(() => shapes(googlenet(k.zeros(2, 3, 64, 64))))).toEqual([2, 5]);
    googlenet.dispose();
    const inception = runtime().withoutWork(() => k.models.inceptionV3({ numClasses: 5 }));
    expect(dry(() => shapes(inception(k.zeros(2, 3, 299, 299))))).toEqual({
      logits: [2, 5],
      auxLogits: [2, 5],
    });
    inception.dispose();
    const plain = runtime().withoutWork(() => k.models.inceptionV3({ auxLogits: false }));
    expect(dry(() => shapes(plain(k.zeros(2, 3, 96, 96))))).toEqual([2, 1000]);
    plain.dispose();
  });
});

describe('older and fuller files', () => {
  it("DenseNet takes keys such as 'norm.1'", async () => {
    const options = { growthRate: 4, blockConfig: [2, 1], numInitFeatures: 4, numClasses: 3 };
    const [from, into] = [k.models.densenet121(options), k.models.densenet121(options)];
    const old = new Map(
      [...from.stateDict()].map(([key, tensor]) => [
        key.replace(/(denselayer\d+\.(?:norm|conv))([12])/, '$1.$2'),
        tensor,
      ]),
    );
    expect([...old.keys()]).toContain('features.denseblock1.denselayer1.norm.1.running_mean');
    into.loadStateDict(old);
    const key = 'features.denseblock1.denselayer2.conv2.weight';
    expect(await into.getParameter(key).data()).toEqual(await from.getParameter(key).data());
  });

  it("vision transformers take keys such as 'mlp.linear_1'", async () => {
    const shape = { patchSize: 4, numLayers: 1, numHeads: 1, hiddenDim: 4, mlpDim: 8 };
    const [from, into] = [0, 1].map(() => new k.models.VisionTransformer(shape, { imageSize: 8 }));
    const old = new Map(
      [...from!.stateDict()].map(([key, tensor]) => [
        key.replace('mlp.0', 'mlp.linear_1').replace('mlp.3', 'mlp.linear_2'),
        tensor,
      ]),
    );
    const key = 'encoder.layers.encoder_layer_0.mlp';
    expect([...old.keys()]).toContain(`${key}.linear_1.weight`);
    into!.loadStateDict(old);
    expect(await into!.getParameter(`${key}.3.weight`).data()).toEqual(
      await from!.getParameter(`${key}.3.weight`).data(),
    );
  });

  it('GoogLeNet and Inception without auxiliary classifiers pass over their weights', () => {
    for (const make of [k.models.googlenet, k.models.inceptionV3]) {
      const [from, into] = runtime().withoutWork(() => [make({}), make({ auxLogits: false })]);
      const keys = runtime().withoutWork(() => k.tidy(() => into.loadStateDict(from.stateDict())));
      expect(keys).toEqual({ missingKeys: [], unexpectedKeys: [] });
      from.dispose();
      into.dispose();
    }
  });
});

describe('options', () => {
  it('MobileNetV2 is scaled and restructured', () => {
    const narrow = k.models.mobilenetV2({ widthMult: 0.35, numClasses: 2 });
    expect(narrow.getParameter('features.0.0.weight').shape).toEqual([16, 3, 3, 3]);
    expect(narrow.lastChannel).toBe(1280);
    const short = k.models.mobilenetV2({ invertedResidualSetting: [[1, 16, 1, 1]], roundNearest: 1 });
    expect(short.features.length).toBe(3);
    expect(() => k.models.mobilenetV2({ invertedResidualSetting: [] })).toThrow(/rows of four numbers/);
    narrow.dispose();
    short.dispose();
  });

  it('dropout and its siblings reach their layers', () => {
    const p = (model: k.nn.Module, path: string): number => model.getSubmodule(path, k.nn.Dropout).p;
    const [vgg, v3] = runtime().withoutWork(() => [
      k.models.vgg11({ dropout: 0.3 }),
      k.models.mobilenetV3Small({ dropout: 0.4, reducedTail: true }),
    ]);
    expect([p(vgg, 'classifier.2'), p(vgg, 'classifier.5'), p(v3, 'classifier.2')]).toEqual([0.3, 0.3, 0.4]);
    expect(v3.getParameter('classifier.0.weight').shape).toEqual([512, 288]);
    vgg.dispose();
    v3.dispose();
  });
});
