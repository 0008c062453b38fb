/** Whose file it is: by names and shapes alone. */
import { beforeAll, describe, expect, it } from 'vitest';
import * as k from '../../src/index.js';
import { runtime } from '../../src/device/index.js';
import type { HostTensor } from '../../src/formats/index.js';
import { declared } from '../../src/models/declaration.js';
import { stateShapes, whyForeign } from '../../src/models/file-match.js';

/** Tensors of which nobody reads the values. */
const tensors = (shapes: Record<string, readonly number[]>): Map<string, HostTensor> =>
  new Map(
    Object.entries(shapes).map(([name, shape]) => {
      const size = shape.reduce((a, b) => a * b, 1);
      return [name, { shape, size } as unknown as HostTensor];
    }),
  );

const model = new Map<string, readonly number[]>([
  ['conv.weight', [4, 3]],
  ['conv.num_batches_tracked', []],
  ['fc.weight', [10, 4]],
  ['fc.bias', [10]],
]);
const head = new Set(['fc.weight', 'fc.bias']);

describe("another model's file", () => {
  it('is none for another head, or a missing counter', async () => {
    const file = tensors({ 'conv.weight': [4, 3], 'fc.weight': [2, 4], 'fc.bias': [2] });
    expect(await whyForeign('mine', file, model, head)).toBe(null);
  });

  it('is told by one shape', async () => {
    const file = tensors({ 'conv.weight': [8, 3], 'fc.weight': [10, 4], 'fc.bias': [10] });
    expect(await whyForeign('mine', file, model, head)).toBe(
      'these are not the weights of mine: 1 of 3 tensors have another shape, e.g. conv.weight is [8, 3] in the file and ' +
        '[4, 3] in the model',
    );
  });

  const blocksOf = (stages: number, blocks: number): string[] =>
    Array.from(
      { length: stages * blocks },
      (_, i) => `layer${1 + (i % stages)}.${Math.floor(i / stages)}.conv1.weight`,
    );

  it.each<[string, string[], Record<string, readonly number[]>?]>([
    ['a VGG', ['features.0.weight', 'classifier.6.weight']],
    ['a VGG with batch norm', ['features.0.weight', 'classifier.6.weight', 'features.1.running_mean']],
    ['AlexNet', [0, 3, 6, 10].map((i) => `features.${i}.weight`).concat('classifier.6.weight')],
    ['a DenseNet', ['features.conv0.weight']],
    ['a vision transformer', ['encoder.pos_embedding']],
    ['resnet18', blocksOf(4, 2)],
    ['cifar_resnet8', blocksOf(3, 1)],
    ['cifar_resnet110', blocksOf(3, 18)],
    ['a ResNet of 1 blocks', ['layer1.0.conv1.weight']],
    ['a ResNet of 1, 1, 1, 1 blocks', blocksOf(4, 1)],
    ['a ResNet of timm with another stem', ['conv1.0.weight', ...blocksOf(4, 2)]],
    ['a ResNeXt', blocksOf(4, 2), { 'layer1.0.conv2.weight': [128, 4, 3, 3], 'layer1.0.conv3.weight': [1] }],
  ])('looks like %s', async (name, keys, shapes = {}) => {
    const file = tensors({ ...Object.fromEntries(keys.map((key) => [key, [1]])), ...shapes });
    const why = await whyForeign('mine', file, model, head);
    expect(why).toMatch(/it has 0 of the model's 3 tensors, e\.g\. not 'conv\.weight', and \d+ others/);
    expect(why?.endsWith(`; it looks like ${name}`)).toBe(true);
  });
});

describe('the models', () => {
  beforeAll(() => k.init());
  const small = ['cifar_resnet20', 'resnet18', 'resnet50', 'resnext50_32x4d', 'wide_resnet50_2'];
  const families = [
    'mobilenet_v2',
    'mobilenet_v3_small',
    'squeezenet1_0',
    'densenet121',
    'efficientnet_b0',
    'mnasnet0_5',
  ];
  const others = [
    'googlenet',
    'inception_v3',
    'shufflenet_v2_x0_5',
    'regnet_x_400mf',
    'convnext_tiny',
    'vit_b_32',
  ];
  const large = ['alexnet', 'vgg11', 'vgg11_bn'];

  it.each([...small, ...families, ...others, ...large])(
    'declare by what files of %s are told',
    async (name) => {
      const network = runtime().withoutWork(() => k.models.get(name)({ numClasses: 7 }));
      const file = tensors(Object.fromEntries([...stateShapes(network)].map(([key, shape]) => [key, shape])));
      network.dispose();
      const why = await whyForeign('mine', file, model, head);
      const { telltales = [] } = declared.find((each) => each.name === name)!;
      expect(why).toMatch(new RegExp(`; it looks like ${telltales[0]?.name ?? name}$`));
    },
  );
});
