/** Whose file it is: by names and shapes alone. */
import { describe, expect, it } from 'vitest';
import { HostTensor } from '../../src/formats/index.js';
import { whyForeign } from '../../src/models/fit.js';

const tensors = (shapes: Record<string, readonly number[]>): Map<string, HostTensor> =>
  new Map(
    Object.entries(shapes).map(([name, shape]) => {
      const values = new Float32Array(shape.reduce((a, b) => a * b, 1));
      return [name, HostTensor.from('float32', shape, values, { name })];
    }),
  );

describe("another model's file", () => {
  const model = new Map<string, readonly number[]>([
    ['conv.weight', [4, 3]],
    ['conv.num_batches_tracked', []],
    ['fc.weight', [10, 4]],
    ['fc.bias', [10]],
  ]);
  const head = new Set(['fc.weight', 'fc.bias']);

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

  it.each([
    ['a VGG', ['features.0.weight', 'classifier.6.weight']],
    ['a DenseNet', ['features.conv0.weight']],
    ['a vision transformer', ['encoder.pos_embedding']],
    ['resnet18', [1, 2, 3, 4].flatMap((i) => [`layer${i}.0.conv1.weight`, `layer${i}.1.conv1.weight`])],
    ['a ResNet of 1 blocks', ['layer1.0.conv1.weight']],
  ])('looks like %s', async (name, keys) => {
    const file = tensors(Object.fromEntries(keys.map((key) => [key, [1]])));
    const why = await whyForeign('mine', file, model, head);
    expect(why).toMatch(/it has 0 of the model's 3 tensors, e\.g\. not 'conv\.weight', and \d others/);
    expect(why?.endsWith(`; it looks like ${name}`)).toBe(true);
  });
});
