/**
 * Models with weights: names, URLs, paths, other heads, other models' files. The server is on this machine.
 */
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import * as k from '../../src/index.js';
import {
  getWeight,
  hostStateDict,
  useManifest,
  type Manifest,
  type PretrainedReport,
  type WeightsRecord,
} from '../../src/models/index.js';
import { missingShared, sharedData } from '../cli/support.js';
import { FileServer } from '../hub/server.js';

const folder = mkdtempSync(join(tmpdir(), 'kindling-pretrained-'));
const path = join(folder, 'eight.safetensors');
const shipped = JSON.parse(
  readFileSync(new URL('../../weights/manifest.json', import.meta.url), 'utf8'),
) as Manifest;
const server = new FileServer(Buffer.alloc(0));
const options = { cacheDir: join(folder, 'cache'), retries: 0 };

type AnyModel = k.models.CifarResNet;
const firstWeights = async (model: k.nn.Module, key: string): Promise<number[]> =>
  [...(await model.stateDict().get(key)!.data())].slice(0, 5).map(Number);
let conv: number[] = [];
let fileSource: AnyModel;

const record = (more: Partial<WeightsRecord>): WeightsRecord => ({
  ...shipped.weights.find(({ model }) => model === 'cifar_resnet20')!,
  model: 'cifar_resnet8',
  enum: 'CifarResNet8_Weights.CIFAR10_V1',
  url: server.url('resnet8.safetensors'),
  sha256: server.sha256.slice(0, 8),
  fileSize: server.content.length,
  ...more,
});

beforeAll(async () => {
  await k.init();
  await server.listen();
  fileSource = k.models.cifarResnet8();
  await k.saveWeights(fileSource, path);
  conv = await firstWeights(fileSource, 'conv1.weight');
});
beforeEach(() => {
  server.reset();
  server.content = readFileSync(path);
  useManifest({ version: 1, weights: [...shipped.weights, record({})] });
  rmSync(options.cacheDir, { recursive: true, force: true });
});
afterAll(() => {
  useManifest(shipped);
  server.close();
  rmSync(folder, { recursive: true, force: true });
});

describe('weights', () => {
  it.each(['CIFAR10_V1', 'DEFAULT', 'CifarResNet8_Weights.CIFAR10_V1'])(
    '%s: downloads once, and knows the classes',
    async (weights) => {
      const reports: PretrainedReport[] = [];
      const onLoad = (report: PretrainedReport): number => reports.push(report);
      const model = await k.models.cifarResnet8({ weights, ...options, onLoad });
      expect(await firstWeights(model, 'conv1.weight')).toEqual(conv);
      await k.models.cifarResnet8({ weights, ...options });
      expect(server.requests).toHaveLength(1);
      const [report] = reports;
      expect(report?.entry?.name).toBe('CIFAR10_V1');
      expect([report?.missingKeys, report?.unexpectedKeys, report?.misshapenKeys]).toEqual([[], [], []]);
    },
  );

  it('may be an entry, a URL, a path, bytes, a Blob or a checkpoint', async () => {
    const bytes = readFileSync(path);
    const sources = [
      await getWeight('CifarResNet8_Weights.DEFAULT'),
      new URL(server.url('a.safetensors')),
      server.url('b.safetensors'),
      path,
      new Uint8Array(bytes),
      new Blob([bytes]),
      await k.loadCheckpoint(path),
    ];
    for (const weights of sources) {
      const model = await k.models.cifarResnet8({ weights, ...options });
      expect(await firstWeights(model, 'conv1.weight')).toEqual(conv);
      model.dispose();
    }
    expect(server.requests.map((request) => request.path)).toEqual([
      '/files/resnet8.safetensors',
      '/files/a.safetensors',
      '/files/b.safetensors',
    ]);
  });

  it.skipIf(missingShared('cifar_resnet/resnet20-12fca82f.th').length > 0)(
    'of the manifest are the published file, to the byte: its hash, size and keys',
    async () => {
      const bytes = readFileSync(join(sharedData, 'cifar_resnet/resnet20-12fca82f.th'));
      let asked = '';
      const fetch = (url: RequestInfo | URL): Promise<Response> => {
        asked = String(url);
        return Promise.resolve(new Response(bytes, { headers: { 'content-length': String(bytes.length) } }));
      };
      const model = await k.models.cifarResnet20({ weights: 'DEFAULT', ...options, fetch });
      expect(asked).toMatch(/^https:.*resnet20-12fca82f\.th$/);
      expect((await model.stateDict().get('linear.bias')!.data())[0]).not.toBe(0);
    },
  );

  it('null makes a fresh model, at once', () => {
    expect(k.models.cifarResnet8({ weights: null })).toBeInstanceOf(k.models.CifarResNet);
  });

  it('of a wrong hash are never read', async () => {
    useManifest({ version: 1, weights: [record({ sha256: '00000000' })] });
    const made = k.models.cifarResnet8({ weights: 'DEFAULT', ...options });
    await expect(made).rejects.toThrow(/has SHA-256 [0-9a-f]{64}, expected 00000000/);
    expect(existsSync(join(options.cacheDir, 'hub/checkpoints/resnet8.safetensors'))).toBe(false);
    const byUrl = k.models.cifarResnet8({ weights: server.url(), sha256Prefix: '00000000', ...options });
    await expect(byUrl).rejects.toThrow(/expected 00000000/);
  });

  it('report progress', async () => {
    let last = 0;
    await k.models.cifarResnet8({
      weights: 'DEFAULT',
      ...options,
      onProgress: ({ received }) => (last = received),
    });
    expect(last).toBe(server.content.length);
  });

  it.each([
    ['IMAGENET1K_V7', /cifar_resnet8 has no weights called 'IMAGENET1K_V7'; .* there is DEFAULT, CIFAR10_V1/],
    ['ResNet18_Weights.DEFAULT', /is for resnet18, not for cifar_resnet8/],
    ['nowhere/model.pth', /nowhere\/model\.pth: no such file/],
  ])('%s: says what is wrong', async (weights, message) => {
    await expect(k.models.cifarResnet8({ weights, ...options })).rejects.toThrow(message);
  });

  it('leave no memory behind when they do not fit', async () => {
    const before = k.memoryStats().liveBytes;
    await expect(k.models.cifarResnet8({ weights: path, numClasses: 3 })).rejects.toThrow();
    expect(k.memoryStats().liveBytes).toBe(before);
  });
});

describe('another number of classes', () => {
  it('is an error that names the head and both ways out', async () => {
    await expect(k.models.cifarResnet8({ weights: path, numClasses: 3 })).rejects.toThrow(
      /eight\.safetensors: its linear\.weight is \[10, 64\], for 10 classes, but the model has 3; pass strict: false to leave the head 'linear' at its initial values, or leave out numClasses and call replaceHead\(model, 3\)/,
    );
    const three = join(folder, 'three.safetensors');
    await k.saveWeights(k.models.cifarResnet8({ numClasses: 3 }), three);
    await expect(k.models.cifarResnet8({ weights: three })).rejects.toThrow(
      /for 3 classes, but the model has 10, as numClasses was not given; pass numClasses: 3 to take the head 'linear'/,
    );
    const model = await k.models.cifarResnet8({ weights: three, numClasses: 3 });
    expect(model.linear.outFeatures).toBe(3);
  });

  it('leaves the head at its initial values when asked, and tells', async () => {
    const reports: PretrainedReport[] = [];
    const model = await k.models.cifarResnet8({
      weights: 'DEFAULT',
      numClasses: 3,
      strict: false,
      ...options,
      onLoad: (report) => reports.push(report),
    });
    expect(await firstWeights(model, 'conv1.weight')).toEqual(conv);
    expect([...model.linear.weight.shape]).toEqual([3, 64]);
    const [report] = reports;
    expect(report?.misshapenKeys).toEqual(['linear.weight', 'linear.bias']);
    expect([report?.missingKeys, report?.unexpectedKeys]).toEqual([[], []]);
  });

  it('of the head in SqueezeNet, a convolution, likewise', async () => {
    const file = join(folder, 'squeezenet.safetensors');
    await k.saveWeights(k.models.get('squeezenet1_1')({ numClasses: 4 }), file);
    const make = k.models.get('squeezenet1_1');
    await expect(make({ weights: file, numClasses: 2 })).rejects.toThrow(
      /its classifier\.1\.weight is \[4, 512, 1, 1\], for 4 classes, but the model has 2/,
    );
    let misshapen: readonly string[] = [];
    await make({
      weights: file,
      numClasses: 2,
      strict: false,
      onLoad: ({ misshapenKeys }) => (misshapen = misshapenKeys),
    });
    expect(misshapen).toEqual(['classifier.1.weight', 'classifier.1.bias']);
  });
});

describe("another model's file", () => {
  it.each([false, true])('is told by its keys and said what it is (strict: %s)', async (strict) => {
    const twenty = join(folder, 'twenty.safetensors');
    if (!existsSync(twenty)) await k.saveWeights(k.models.cifarResnet20({ numClasses: 7 }), twenty);
    await expect(k.models.cifarResnet8({ weights: twenty, strict })).rejects.toThrow(
      /twenty\.safetensors: these are not the weights of cifar_resnet8: it has \d+ of the model's \d+ tensors.*; it looks like cifar_resnet20$/,
    );
    await expect(k.models.get('squeezenet1_1')({ weights: twenty, strict })).rejects.toThrow(
      /not the weights of squeezenet1_1: .* e\.g\. not 'features\.0\.weight', and \d+ others; it looks like cifar_resnet20/,
    );
  });

  it('is told by its shapes, and by the number of its parameters', async () => {
    const file = join(folder, 'half.safetensors');
    await k.saveWeights(k.models.get('shufflenet_v2_x0_5')(), file);
    await expect(k.models.get('shufflenet_v2_x1_0')({ weights: file, strict: false })).rejects.toThrow(
      /not the weights of shufflenet_v2_x1_0: \d+ of \d+ tensors have another shape, e\.g\. .* in the model; it looks like shufflenet_v2_x0_5/,
    );
  });
});

describe('files of older releases', () => {
  const rewritten = async (
    model: k.nn.Module,
    rename: (key: string) => string | null,
  ): Promise<Uint8Array> => {
    const state = [...(await hostStateDict(model))].flatMap(([key, tensor]) => {
      const old = rename(key);
      return old === null ? [] : [[old, tensor] as const];
    });
    return k.formats.encodeSafetensors(new Map(state));
  };

  it('DenseNet: the layers had dots in their names', async () => {
    const make = k.models.get('densenet121');
    const model = make({ numClasses: 2 });
    const bytes = await rewritten(model, (key) =>
      key.endsWith('num_batches_tracked')
        ? null
        : key.replace(/(denselayer\d+\.(?:norm|conv))([12])/, '$1.$2'),
    );
    const other = await make({ weights: bytes, numClasses: 2 });
    const key = 'features.denseblock1.denselayer1.conv2.weight';
    expect(await firstWeights(other, key)).toEqual(await firstWeights(model, key));
    expect((await k.loadWeights(other, bytes)).unexpectedKeys).toEqual([]);
    model.dispose();
    other.dispose();
  });

  it('GoogLeNet: auxiliary classifiers that the model has not are left out', async () => {
    const make = k.models.googlenet;
    const model = make({ numClasses: 2, initWeights: false });
    const bytes = await rewritten(model, (key) => key);
    let report: PretrainedReport | undefined;
    const other = await make({ weights: bytes, numClasses: 2, onLoad: (given) => (report = given) });
    expect(report?.unexpectedKeys.every((key) => key.startsWith('aux'))).toBe(true);
    expect(report?.unexpectedKeys.length).toBeGreaterThan(10);
    expect(report?.missingKeys).toEqual([]);
    model.dispose();
    other.dispose();
  });
});
