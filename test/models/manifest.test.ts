/** weights/manifest.json: well formed, and about the models that there are. */
import { readFileSync } from 'node:fs';
import { isDeepStrictEqual } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import * as k from '../../src/index.js';
import {
  getWeight,
  useManifest,
  weights,
  type Manifest,
  type WeightsRecord,
} from '../../src/models/index.js';
import { full } from '../tooling/full.js';

const read = (name: string): unknown =>
  JSON.parse(readFileSync(new URL(`../../weights/${name}`, import.meta.url), 'utf8'));
const manifest = read('manifest.json') as Manifest;
const records = manifest.weights;
const models = [...new Set(records.map(({ model }) => model))];

describe('the manifest', () => {
  it('holds every published file of the models', () => {
    expect([records.length, models.length]).toEqual([113, 78]);
    expect(new Set(records.map(({ enum: name }) => name)).size).toBe(records.length);
    expect(new Set(records.map(({ url }) => url)).size).toBe(records.length);
  });

  it('has a well-formed record for each', () => {
    const wrong = records.filter((record: WeightsRecord) => {
      const { url, sha256, transforms, accuracy, numClasses, numParams, categories } = record;
      const { crop, resize, mean, std, interpolation } = transforms;
      const name = new URL(url).pathname;
      return !(
        /^[A-Z][A-Z0-9_]*$/.test(record.name) &&
        record.enum.endsWith(`_Weights.${record.name}`) &&
        url.startsWith('https://') &&
        // The digits that PyTorch puts before a file's extension are those of its SHA-256.
        new RegExp(`-${sha256}\\.(pth|th)$`).test(name) &&
        /^[0-9a-f]{8,}$/.test(sha256) &&
        (record.fileSizeMiB ?? 1) > 0 &&
        Number.isInteger(numParams) &&
        [10, 1000].includes(numClasses) &&
        resize >= crop &&
        ['bilinear', 'bicubic'].includes(interpolation) &&
        mean.length === 3 &&
        std.length === 3 &&
        [record.license, record.source].every((link) => link.startsWith('https://')) &&
        (record.featuresOnly === true
          ? accuracy === undefined && categories === undefined
          : accuracy !== undefined && accuracy.acc1 > 50 && accuracy.acc1 < 100 && categories !== undefined)
      );
    });
    expect(wrong.map(({ enum: name }) => name)).toEqual([]);
  });

  it('has one DEFAULT per model', () => {
    const defaults = records.filter((record) => record.default).map(({ model }) => model);
    expect(defaults.sort()).toEqual([...models].sort());
  });

  it('has sizes that fit the number of parameters', () => {
    // Float32, or float16 for the first wide ResNets; the rest of a file is small, auxiliary classifiers
    // aside.
    const wrong = records.filter(({ fileSizeMiB, numParams, model }) => {
      if (fileSizeMiB === undefined || 'auxLogits' in k.models.get(model).pretrained) return false;
      const perParameter = (fileSizeMiB * 2 ** 20) / numParams;
      return !(perParameter > 1.99 && perParameter < 4.2);
    });
    expect(wrong.map(({ enum: name }) => name)).toEqual([]);
  });

  it('refers to class names that there are', () => {
    const lists = new Map(
      [...new Set(records.flatMap(({ categories }) => categories ?? []))].map((name) => [
        name,
        read(`categories/${name}.json`) as string[],
      ]),
    );
    for (const { categories, numClasses } of records)
      if (categories !== undefined) expect(lists.get(categories)).toHaveLength(numClasses);
    expect(lists.get('imagenet1k')?.[310]).toBe('ant');
  });

  it('speaks of models that there are', () => {
    const known = new Set(k.models.list());
    expect(models.filter((model) => !known.has(model))).toEqual([]);
  });

  it('has a file for the input that each model declares', () => {
    const wrong = models.filter((model) => {
      const { channels, ...input } = k.models.get(model).input;
      const inputs = records.filter((record) => record.model === model).map(({ transforms }) => transforms);
      return channels !== 3 || !inputs.some((each) => isDeepStrictEqual(each, input));
    });
    expect(wrong).toEqual([]);
  });
});

describe('the models', () => {
  beforeAll(() => k.init());
  const limit = full ? 9e7 : 4e6;
  const small = records.filter(({ numParams }) => numParams < limit);

  it.each(small.map((record) => [record.enum, record] as const))(
    '%s has as many parameters as ours',
    (_, { model, numClasses, numParams, options }) => {
      const make = k.models.get(model);
      const network = make({ ...make.pretrained, numClasses, ...options });
      expect(network.parameters().reduce((sum, tensor) => sum + tensor.numel(), 0)).toBe(numParams);
      network.dispose();
    },
  );
});

describe('entries', () => {
  afterAll(() => useManifest(manifest));

  it('are found by name', async () => {
    expect((await weights('resnet50')).map(({ name }) => name)).toEqual(['IMAGENET1K_V1', 'IMAGENET1K_V2']);
    expect(await weights()).toHaveLength(records.length);
    const entry = await getWeight('ResNet50_Weights.IMAGENET1K_V2');
    expect([entry.model, entry.name, entry.isDefault, `${entry.toString()}`]).toEqual([
      'resnet50',
      'IMAGENET1K_V2',
      true,
      'ResNet50_Weights.IMAGENET1K_V2',
    ]);
    for (const name of ['DEFAULT', 'IMAGENET1K_V2', 'ResNet50_Weights.DEFAULT'])
      expect((await getWeight(name, 'resnet50')).record).toBe(entry.record);
    expect((await getWeight('ViT_B_16_Weights.DEFAULT')).model).toBe('vit_b_16');
  });

  it.each([
    [
      'NO_SUCH',
      'resnet50',
      /resnet50 has no weights called 'NO_SUCH'; .* DEFAULT, IMAGENET1K_V1, IMAGENET1K_V2/,
    ],
    ['ResNet50_Weights.V9', undefined, /resnet50 has no weights called 'V9'; .* IMAGENET1K_V2/],
    [
      'ResNet18_Weights.DEFAULT',
      'resnet50',
      /is for resnet18, not for resnet50; for resnet50 there is DEFAULT/,
    ],
    ['Foo_Weights.DEFAULT', undefined, /there are no 'Foo_Weights'/],
    [
      'DEFAULT',
      'cifar_resnet8',
      /cifar_resnet8 has no weights called 'DEFAULT'; for cifar_resnet8 there are none/,
    ],
    ['DEFAULT', undefined, /'DEFAULT' of which model\?/],
  ])('%s of %s: says what there is', async (name, model, message) => {
    await expect(getWeight(name, model)).rejects.toThrow(message);
  });

  it('tell how images become inputs, and what outputs mean', async () => {
    const entry = await getWeight('ResNet50_Weights.IMAGENET1K_V2');
    expect(entry.recipe).toEqual({
      resize: 232,
      crop: 224,
      interpolation: 'bilinear',
      antialias: true,
      mean: [0.485, 0.456, 0.406],
      std: [0.229, 0.224, 0.225],
    });
    const grey = { width: 300, height: 250, data: new Uint8Array(300 * 250 * 3).fill(128) };
    const { shape, data } = entry.transforms()(grey);
    expect(shape).toEqual([3, 224, 224]);
    expect(data[0]).toBeCloseTo((128 / 255 - 0.485) / 0.229, 5);
    expect((await entry.categories())[309]).toBe('bee');
    await expect((await getWeight('VGG16_Weights.IMAGENET1K_FEATURES')).categories()).rejects.toThrow(
      /features/,
    );
  });

  it('can be given by a program that has no such file', async () => {
    const [record] = records;
    useManifest(
      { version: 1, weights: [{ ...record!, model: 'own', categories: 'two' }] },
      { two: ['a', 'b'] },
    );
    const [entry] = await weights();
    expect([entry?.model, await entry?.categories()]).toEqual(['own', ['a', 'b']]);
    expect(() => useManifest({ version: 2, weights: [] })).toThrow(/version 2 cannot be read/);
  });
});
