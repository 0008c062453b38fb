/** Weight files into models and out of them, and a new head. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import * as k from '../../src/index.js';
import { findHead, hostStateDict, replaceHead } from '../../src/models/index.js';

const folder = mkdtempSync(join(tmpdir(), 'kindling-weights-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
beforeAll(() => k.init());

describe('saveWeights and loadWeights', () => {
  it('bring every value back, under PyTorch keys and dtypes', async () => {
    const path = join(folder, 'model.safetensors');
    const model = k.models.cifarResnet8();
    model.train();
    k.noGrad(() => model(k.randn(4, 3, 32, 32))).dispose();
    await k.saveWeights(model, path, { metadata: { note: 'hello' } });

    const other = k.models.cifarResnet8();
    const { checkpoint, missingKeys, unexpectedKeys } = await k.loadWeights(other, path);
    expect({ missingKeys, unexpectedKeys }).toEqual({ missingKeys: [], unexpectedKeys: [] });
    expect(Object.fromEntries(checkpoint.extra)).toEqual({ format: 'pt', note: 'hello' });
    const counter = checkpoint.tensors.get('bn1.num_batches_tracked');
    expect([counter?.dtype, counter?.shape, await counter?.toInt32Array()]).toEqual([
      'int64',
      [],
      Int32Array.of(1),
    ]);
    const [saved, loaded] = [await hostStateDict(model), await hostStateDict(other)];
    for (const [key, tensor] of saved)
      expect(await loaded.get(key)?.bytes(), key).toEqual(await tensor.bytes());
  });

  it('may store halves', async () => {
    const path = join(folder, 'half.safetensors');
    const model = new k.nn.Linear(3, 2);
    await k.saveWeights(model, path, { dtype: 'float16' });
    const { checkpoint } = await k.loadWeights(new k.nn.Linear(3, 2), path);
    expect(checkpoint.tensors.get('weight')?.dtype).toBe('float16');
  });

  it('name the file when the keys do not fit, or return them', async () => {
    const path = join(folder, 'linear.safetensors');
    await k.saveWeights(new k.nn.Linear(3, 2), path);
    const bare = new k.nn.Linear(3, 2, { bias: false });
    await expect(k.loadWeights(bare, path)).rejects.toThrow(/linear\.safetensors: .*\n.*unexpected.*: bias/);
    const { unexpectedKeys } = await k.loadWeights(bare, path, { strict: false });
    expect(unexpectedKeys).toEqual(['bias']);
  });
});

describe('heads', () => {
  it.each([
    ['cifar_resnet20', 'linear', 64],
    ['resnet18', 'fc', 512],
  ] as const)('%s has one at %s', (name, path, width) => {
    const model = k.models.get(name)();
    const trunk = model.getParameter('conv1.weight');
    expect(findHead(model).path).toBe(path);
    model.eval();
    const { layer, inFeatures, outFeatures } = replaceHead(model, 3);
    expect([inFeatures, outFeatures, layer.training]).toEqual([width, 3, false]);
    expect(findHead(model).layer).toBe(layer);
    expect(model.getParameter('conv1.weight')).toBe(trunk);
    expect([...model.stateDict().get(`${path}.weight`)!.shape]).toEqual([3, width]);
    model.dispose();
  });

  it('are found in a Sequential by their number', () => {
    const model = new k.nn.Sequential(new k.nn.Linear(4, 5), new k.nn.ReLU(), new k.nn.Linear(5, 6));
    replaceHead(model, 2);
    expect(findHead(model).path).toBe('2');
    expect(model(k.zeros(1, 4)).shape).toEqual([1, 2]);
  });

  it('must be Linear layers or 1x1 convolutions', () => {
    const model = new k.nn.Sequential(new k.nn.Linear(4, 5), new k.nn.Conv2d(3, 4, 3));
    expect(() => findHead(model)).toThrow(/last layer '1' is a Conv2d of more than one pixel/);
    expect(() => findHead(new k.nn.Sequential())).toThrow(/it has no weights/);
    expect(() => replaceHead(new k.nn.Linear(2, 2), 3)).toThrow(/single layer/);
  });
});
