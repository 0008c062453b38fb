import { readFileSync, statSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { loadCheckpoint, loadValue } from '../../src/formats/index.js';
import type { HostTensor, PlainValue } from '../../src/formats/index.js';
import { expected, fixture, fixturePath, hex, sharedFile, tensorsOf } from './support.js';

describe('files written by PyTorch', () => {
  for (const [file, tensors] of Object.entries(expected)) {
    it(`${file}: every tensor has PyTorch's dtype, shape and bytes`, async () => {
      const found = tensorsOf(await loadValue(fixturePath(file)));
      for (const [path, want] of Object.entries(tensors)) {
        const tensor = found.get(path);
        expect(tensor, path).toBeDefined();
        expect(
          { dtype: tensor!.dtype, shape: tensor!.shape, requiresGrad: tensor!.requiresGrad },
          path,
        ).toEqual({
          dtype: want.dtype,
          shape: want.shape,
          requiresGrad: want.requiresGrad,
        });
        expect(hex(await tensor!.bytes()), path).toBe(want.hex);
      }
    });
  }

  it.each(['path', 'ArrayBuffer', 'Uint8Array at an odd address', 'Blob'])(
    'load alike from a %s',
    async (kind) => {
      for (const file of ['layouts.zip.pth', 'layouts.legacy.pth']) {
        const bytes = fixture(file);
        const odd = new Uint8Array(bytes.length + 1).subarray(1);
        odd.set(bytes);
        const sources: Record<string, Parameters<typeof loadCheckpoint>[0]> = {
          path: fixturePath(file),
          ArrayBuffer: bytes.slice().buffer,
          'Uint8Array at an odd address': odd,
          Blob: new Blob([bytes.slice()]),
        };
        const { tensors } = await loadCheckpoint(sources[kind]!);
        expect([...tensors.keys()]).toEqual(Object.keys(expected[file]!));
        for (const [key, tensor] of tensors) {
          expect(hex(await tensor.bytes()), key).toBe(expected[file]![key]!.hex);
          await tensor.toFloat32Array().catch((error: Error) => expect(error.message).toContain('complex'));
        }
      }
    },
  );
});

describe.each(['zip', 'legacy'])('a nested training checkpoint (%s)', (container) => {
  const path = fixturePath(`checkpoint.${container}.pth`);

  it('finds the state dict, takes `module.` off and says so', async () => {
    const checkpoint = await loadCheckpoint(path);
    expect(checkpoint.container).toBe(`torch-${container}`);
    expect(checkpoint.key).toEqual(['state_dict']);
    expect(checkpoint.strippedPrefix).toBe('module.');
    expect([...checkpoint.tensors.keys()]).toEqual(
      [
        '0.weight',
        '0.bias',
        '1.weight',
        '1.bias',
        '1.running_mean',
        '1.running_var',
        '1.num_batches_tracked',
      ].concat('2.weight', '2.bias'),
    );
    expect(checkpoint.tensors.get('1.num_batches_tracked')).toMatchObject({ dtype: 'int64', shape: [] });
    expect([...(await checkpoint.tensors.get('1.num_batches_tracked')!.toInt32Array())]).toEqual([1]);
  });

  it('keeps the prefix when asked, and takes off a given one', async () => {
    const kept = await loadCheckpoint(path, { stripPrefix: false });
    expect(kept.strippedPrefix).toBeNull();
    expect(kept.tensors.has('module.0.weight')).toBe(true);
    const given = await loadCheckpoint(path, { stripPrefix: 'module.0.' });
    expect([...given.tensors.keys()].slice(0, 3)).toEqual(['weight', 'bias', 'module.1.weight']);
    await expect(loadCheckpoint(path, { stripPrefix: 'backbone.' })).rejects.toThrow(
      /no key starts with the prefix 'backbone\.'; the keys are 'module\.0\.weight'/,
    );
  });

  it('gives everything else as plain values', async () => {
    const { extra } = await loadCheckpoint(path);
    const plain: Record<string, PlainValue> = {
      epoch: 3,
      best_prec1: 91.25,
      arch: 'tiny',
      args: new Map<PlainValue, PlainValue>([
        ['lr', 0.125],
        ['milestones', [100, 150]],
        ['evaluate', false],
      ]),
      big: 2n ** 70n,
      negative: -(2n ** 63n),
      by_number: new Map([
        [0, 'a'],
        [1, 'b'],
      ]),
      options: new Map<PlainValue, PlainValue>([
        ['size', [2, 3]],
        ['dtype', 'torch.float16'],
        ['device', 'cuda:1'],
        ['none', null],
      ]),
      labels: new Set(['cat', 'dog']),
      counts: new Map([
        ['a', 2],
        ['b', 1],
        ['c', 1],
      ]),
    };
    for (const [key, value] of Object.entries(plain)) expect(extra.get(key), key).toEqual(value);
    const history = extra.get('history') as HostTensor;
    expect(history.shape).toEqual([3, 2]);
    expect([...(await history.toFloat32Array())]).toEqual([0, 3, 1, 4, 2, 5]);
    const optimizer = extra.get('optimizer') as Map<PlainValue, PlainValue>;
    const first = (optimizer.get('state') as Map<PlainValue, PlainValue>).get(0) as Map<
      PlainValue,
      PlainValue
    >;
    expect((first.get('exp_avg') as HostTensor).shape).toEqual([4, 3, 3, 3]);
  });

  it('follows a given key and explains a wrong one', async () => {
    const { tensors, extra } = await loadCheckpoint(path, { key: ['optimizer', 'state'] }).catch(
      (error: Error) => {
        expect(error.message).toMatch(/entry 'optimizer.state' holds no tensors, only '0', '1'/);
        return { tensors: undefined, extra: undefined };
      },
    );
    expect([tensors, extra]).toEqual([undefined, undefined]);
    await expect(loadCheckpoint(path, { key: 'stat_dict' })).rejects.toThrow(
      /the file has no entry 'stat_dict'; it holds 'epoch', 'best_prec1'/,
    );
    await expect(loadCheckpoint(path, { key: 'epoch' })).rejects.toThrow(
      /a number at 'epoch', not a state dict/,
    );
  });
});

describe('files that are more than weights', () => {
  it.each(['module.zip.pth', 'module.legacy.pth'])(
    '%s: a whole module is refused, with the remedy',
    async (file) => {
      const loading = loadCheckpoint(fixturePath(file));
      await expect(loading).rejects.toThrow(/torch\.nn\.modules\.linear\.Linear.*torch\.save\(model\)/);
      await expect(loading).rejects.toThrow(/nothing was executed.*torch\.load\(path\)\.state_dict\(\)/);
    },
  );

  it.each(['evil.zip.pth', 'evil.legacy.pth'])(
    '%s: a function that runs commands is refused by name',
    async (file) => {
      await expect(loadCheckpoint(fixturePath(file))).rejects.toThrow(
        /"posix\.system".*nothing was executed/,
      );
    },
  );

  it('TorchScript is refused, with the remedy', async () => {
    await expect(loadCheckpoint(fixturePath('script.pt'))).rejects.toThrow(/TorchScript.*torch\.jit\.load/);
  });

  it('a pickle that torch.save did not write is refused', async () => {
    await expect(loadCheckpoint(fixturePath('plain.pkl'))).rejects.toThrow(/not one that torch\.save wrote/);
  });
});

describe('published weights', () => {
  const resnet20 = sharedFile('cifar_resnet/resnet20-12fca82f.th');
  it.skipIf(!resnet20)('CIFAR ResNet-20 (legacy, nested, `module.` prefix)', async () => {
    const { tensors, extra, container, key, strippedPrefix } = await loadCheckpoint(resnet20!);
    expect({ container, key, strippedPrefix, count: tensors.size }).toEqual({
      container: 'torch-legacy',
      key: ['state_dict'],
      strippedPrefix: 'module.',
      count: 97,
    });
    expect(extra.get('best_prec1')).toBeCloseTo(91.78, 4);
    expect(tensors.get('conv1.weight')!.shape).toEqual([16, 3, 3, 3]);
    expect((await tensors.get('linear.bias')!.toFloat32Array()).every(Number.isFinite)).toBe(true);
  });

  const resnet50 = sharedFile('imagenet_resnet50/resnet50.pth');
  it.skipIf(!resnet50)('ResNet-50 (zip): opening reads the description, not the weights', async () => {
    const { tensors, container } = await loadCheckpoint(resnet50!);
    expect(container).toBe('torch-zip');
    expect(tensors.size).toBe(320);
    expect(tensors.get('fc.weight')!.shape).toEqual([1000, 2048]);
    // The same bytes in memory: what is handed out is a view on them, so nothing was copied at load time.
    const file = new Uint8Array(readFileSync(resnet50!));
    expect(file.length).toBe(statSync(resnet50!).size);
    const inMemory = await loadCheckpoint(file);
    const weight = await inMemory.tensors.get('fc.weight')!.toFloat32Array();
    expect(weight.buffer).toBe(file.buffer);
    expect(hex(new Uint8Array(weight.buffer, weight.byteOffset, 4096))).toBe(
      hex((await tensors.get('fc.weight')!.bytes()).subarray(0, 4096)),
    );
  });
});
