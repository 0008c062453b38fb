import { createHash } from 'node:crypto';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import * as k from '../../src/index.js';
import { crc32, portableCrc32 } from '../../src/formats/crc32.js';
import {
  encodeTorch,
  HostTensor,
  loadCheckpoint,
  loadValue,
  memorySource,
  saveSafetensors,
  saveTorch,
  type TorchValue,
} from '../../src/formats/index.js';
import { collect } from '../../src/formats/layout.js';
import { layoutZip } from '../../src/formats/zip-writer.js';
import { readZipDirectory, zipEntryRange } from '../../src/formats/zip.js';
import { saveWeights } from '../../src/models/index.js';
import { pythonWithTorch, torchLoad, torchResave, type PythonDict, type PythonTensor } from './python.js';
import { fixturePath, hex, tensorsOf } from './support.js';

const folder = mkdtempSync(join(tmpdir(), 'kindling-torch-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Every dtype that every PyTorch has, scalars, empty tensors, tied weights and a strided view. */
function stateDict(): Map<string, HostTensor> {
  const tied = HostTensor.from('float32', [2, 3], [0, -0, 1.5, NaN, Infinity, 1e-45]);
  const storage = memorySource(new Uint8Array(new Float32Array([1, 2, 3, 4, 5, 6]).buffer));
  const view = (shape: number[], strides: number[], offset: number) =>
    new HostTensor({ dtype: 'float32', shape, strides, offset, storage });
  return new Map([
    ['embed.weight', tied],
    ['head.weight', tied.renamed('head.weight')],
    ['transposed', view([3, 2], [1, 3], 0)],
    ['row', view([3], [1], 3)],
    ['double', HostTensor.from('float64', [2], [0.1, -1e300])],
    ['half', HostTensor.from('float16', [3], [0.1, 65504, 6e-8])],
    ['bfloat', HostTensor.from('bfloat16', [2], [3.14, -1e38])],
    ['steps', HostTensor.from('int64', [], [2n ** 62n])],
    ['int', HostTensor.from('int32', [2], [-1, 7])],
    ['short', HostTensor.from('int16', [1], [-300])],
    ['char', HostTensor.from('int8', [3], [-128, 0, 127])],
    ['byte', HostTensor.from('uint8', [1, 1, 2, 1, 2], [0, 1, 254, 255])],
    ['bool', HostTensor.from('bool', [3], [1, 0, 1])],
    ['empty', HostTensor.from('float32', [0, 4], [])],
    ['complex', HostTensor.fromBytes('complex64', [1], new Uint8Array(8).fill(63))],
  ]);
}

const checkpoint = (): Record<string, unknown> => ({
  model: stateDict(),
  optimizer: {
    state: { 0: { step: 3, exp_avg: HostTensor.from('float32', [2], [0.5, 0.25]) } },
    param_groups: [{ lr: 0.001, betas: [0.9, 0.999], amsgrad: false, maximize: null, params: [0] }],
  },
  epoch: 12,
  seed: 2 ** 40,
  negative: -70000,
  huge: -(2n ** 63n),
  best: Infinity,
  zero: -0,
  note: 'Grüße, "weights"',
  classes: ['ant', 'bee'],
  absent: undefined,
  bytes: new Uint8Array([0, 127, 128, 255]),
});

async function expectEqual(
  found: ReadonlyMap<string, HostTensor>,
  wanted: ReadonlyMap<string, HostTensor>,
): Promise<void> {
  expect([...found.keys()]).toEqual([...wanted.keys()]);
  for (const [key, tensor] of wanted) {
    const other = found.get(key)!;
    expect([other.dtype, other.shape], key).toEqual([tensor.dtype, tensor.shape]);
    expect(hex(await other.bytes()), key).toBe(hex(await tensor.bytes()));
  }
}

describe('zip .pth files', () => {
  it('give back what was written', async () => {
    const path = join(folder, 'state.pth');
    await saveTorch(path, stateDict());
    const read = await loadCheckpoint(path);
    expect(read.container).toBe('torch-zip');
    await expectEqual(read.tensors, stateDict());
    expect(readdirSync(folder)).toEqual(['state.pth']);
  });

  it('hold whole training checkpoints', async () => {
    const value = (await loadValue(await encodeTorch(checkpoint()))) as Map<string, unknown>;
    await expectEqual(value.get('model') as Map<string, HostTensor>, stateDict());
    const optimizer = value.get('optimizer') as Map<string, unknown>;
    expect([...(optimizer.get('state') as Map<number, unknown>).keys()]).toEqual([0]);
    expect(optimizer.get('param_groups')).toEqual([
      new Map<string, unknown>([
        ['lr', 0.001],
        ['betas', [0.9, 0.999]],
        ['amsgrad', false],
        ['maximize', null],
        ['params', [0]],
      ]),
    ]);
    for (const name of ['epoch', 'seed', 'negative', 'huge', 'best', 'note', 'classes', 'bytes'])
      expect(value.get(name), name).toEqual(checkpoint()[name]);
    expect(Object.is(value.get('zero'), -0)).toBe(true);
    expect(value.has('absent')).toBe(false);
  });

  it('store shared memory once, aligned, and say the same thing each time', async () => {
    const bytes = await encodeTorch(stateDict());
    const source = memorySource(bytes);
    const entries = await readZipDirectory(source);
    expect([...entries.keys()].slice(0, 3)).toEqual([
      'archive/data.pkl',
      'archive/byteorder',
      'archive/data/0',
    ]);
    const data = [...entries.values()].filter(({ name }) => name.includes('/data/'));
    // Two tied weights and two views of one storage: 15 tensors in 13 storages.
    expect(data.map(({ size }) => size)).toEqual([24, 24, 16, 6, 4, 8, 8, 2, 3, 4, 3, 0, 8]);
    const view = new DataView(bytes.buffer);
    for (const { name, headerOffset, compressed } of entries.values()) {
      const start =
        headerOffset + 30 + view.getUint16(headerOffset + 26, true) + view.getUint16(headerOffset + 28, true);
      expect([name, start % 64, compressed]).toEqual([name, 0, false]);
    }
    expect(hex(await encodeTorch(stateDict()))).toBe(hex(bytes));
    // PyTorch 1.13 and its restricted reader accept the file of this hash (see the tests with Python below).
    expect(createHash('sha256').update(bytes).digest('hex')).toBe(
      '9bfab60649e48213bc04dd9584a586ac90aa812a274bf45f9d2e6d54ceb19d2e',
    );
  });

  it('keep identity: one tensor twice is one tensor, and cycles survive', async () => {
    const weight = HostTensor.from('float32', [1], [1]);
    const list: TorchValue[] = [weight, weight];
    list.push(list);
    const read = (await loadValue(await encodeTorch(list))) as unknown[];
    expect(read[0]).toBe(read[1]);
    expect(read[2]).toBe(read);
  });

  it('convert floating point values only, and keep the sharing', async () => {
    const bytes = await encodeTorch(stateDict(), { dtype: 'float16' });
    const { tensors } = await loadCheckpoint(bytes);
    expect([...tensors.values()].map(({ dtype }) => dtype)).toEqual([
      ...Array<string>(7).fill('float16'),
      ...['int64', 'int32', 'int16', 'int8', 'uint8', 'bool', 'float16', 'complex64'],
    ]);
    expect(tensors.get('embed.weight')!.storage).toBe(tensors.get('head.weight')!.storage);
    expect([...(await tensors.get('embed.weight')!.toFloat32Array())]).toEqual([
      0,
      -0,
      1.5,
      NaN,
      Infinity,
      0,
    ]);
    expect([...(await tensors.get('transposed')!.toFloat32Array())]).toEqual([1, 4, 2, 5, 3, 6]);
  });

  it('write dtypes of later PyTorch versions in untyped storages', async () => {
    const wanted = new Map([
      ['f8', HostTensor.fromBytes('float8_e4m3fn', [3], new Uint8Array([1, 2, 3]))],
      ['u16', HostTensor.from('uint16', [2], [1, 65535])],
    ]);
    await expectEqual((await loadCheckpoint(await encodeTorch(wanted))).tensors, wanted);
  });

  it('use 64-bit fields where sizes or offsets need them', async () => {
    const wanted = stateDict();
    for (const zip64From of [0, 8, 400]) {
      const bytes = await encodeTorch(wanted, { zip64From });
      await expectEqual((await loadCheckpoint(bytes)).tensors, wanted);
    }
  });

  it.each([
    ['a function', { a: { b: () => 1 } }, /a\.b.*function/],
    ['a typed array', { a: [new Float32Array(2)] }, /a\[0\].*Float32Array/],
    ['a class', { when: new Date(0) }, /when.*Date/],
  ])('refuse %s by its place', async (_, value, message) => {
    await expect(encodeTorch(value as TorchValue)).rejects.toThrow(message);
  });

  it('a failing tensor leaves the old file', async () => {
    const path = join(folder, 'kept.pth');
    await saveTorch(path, { a: 1 });
    const broken = new HostTensor({
      dtype: 'float32',
      shape: [2],
      storage: { size: 8, read: () => Promise.reject(new Error('gone')) },
    });
    await expect(saveTorch(path, { broken })).rejects.toThrow(/kept\.pth: cannot be written: gone/);
    expect(await loadValue(path)).toEqual(new Map([['a', 1]]));
  });
});

describe('zip archives', () => {
  it('checksums agree with the platform and with the standard', () => {
    expect(portableCrc32(new TextEncoder().encode('123456789'), 0)).toBe(0xcbf43926);
    const bytes = Uint8Array.from({ length: 1003 }, (_, i) => (i * 37) & 255);
    expect(portableCrc32(bytes.subarray(9), portableCrc32(bytes.subarray(0, 9), 0))).toBe(crc32(bytes));
  });

  it('refuse two entries of one name and entries of a wrong length', async () => {
    const part = (name: string, size: number) => ({ name, size, chunks: () => [new Uint8Array(3)] });
    expect(() => layoutZip([part('a', 3), part('a', 3)])).toThrow(/two entries/);
    await expect(collect(layoutZip([part('a', 4)]), 'zip')).rejects.toThrow(/3 bytes, not 4/);
    const source = memorySource(await collect(layoutZip([part('ü', 3)]), 'zip'));
    const entry = (await readZipDirectory(source)).get('ü')!;
    expect(await zipEntryRange(source, entry).read(0, 3)).toEqual(new Uint8Array(3));
  });
});

describe('models', () => {
  beforeAll(() => k.init());

  const model = () => {
    const net = new k.nn.Sequential(new k.nn.Conv2d(3, 4, 3), new k.nn.BatchNorm2d(4), new k.nn.Linear(4, 2));
    k.noGrad(() => net.parameters().forEach((p) => p.normal_()));
    return net;
  };

  it.each(['pth', 'pt', 'safetensors'])('are saved by ending: .%s', async (ending) => {
    const [from, to] = [model(), model()];
    const path = join(folder, `model.${ending}`);
    await saveWeights(from, path);
    const { container, tensors } = await loadCheckpoint(path);
    expect(container).toBe(ending === 'safetensors' ? 'safetensors' : 'torch-zip');
    expect(tensors.get('1.num_batches_tracked')!.dtype).toBe('int64');
    await k.loadWeights(to, path);
    expect(await to.parameters()[0]!.data()).toEqual(await from.parameters()[0]!.data());
  });

  it('name the endings when there is another one', async () => {
    await expect(saveWeights(model(), 'model.bin')).rejects.toThrow(/\.safetensors, \.pth or \.pt/);
    const path = join(folder, 'x.pth');
    await expect(saveWeights(model(), path, { metadata: { a: 'b' } })).rejects.toThrow(/metadata/);
  });

  it('train on from a checkpoint as if they had not stopped', async () => {
    const start = () => {
      const net = new k.nn.Linear(4, 3);
      const optimizer = new k.optim.Adam(net.parameters(), { lr: 0.01 });
      const step = () => {
        optimizer.zeroGrad();
        net
          .forward(k.ones([2, 4]))
          .square()
          .sum()
          .backward();
        optimizer.step();
      };
      return { net, optimizer, step };
    };
    const one = start();
    one.step();
    const path = join(folder, 'resume.pth');
    await saveTorch(path, { model: one.net.stateDict(), optimizer: one.optimizer.stateDict(), epoch: 1 });
    one.step();
    const saved = (await loadValue(path)) as Map<string, unknown>;
    const two = start();
    await two.net.loadStateDict(saved.get('model') as Map<string, HostTensor>);
    await two.optimizer.loadStateDict(saved.get('optimizer'));
    two.step();
    expect(await two.net.weight.data()).toEqual(await one.net.weight.data());
  });

  it('are refused when training goes on while they are written', async () => {
    const net = model();
    const saving = saveWeights(net, join(folder, 'late.pth'));
    k.noGrad(() => net.parameters()[4]!.add_(1));
    await expect(saving).rejects.toThrow(/2\.weight.*changed by add_/);
  });
});

const python = pythonWithTorch();

describe.skipIf(python === undefined)('PyTorch', () => {
  const flat = (dict: PythonDict) => new Map(dict.items.map(([key, value]) => [key.slice(1, -1), value]));

  async function expectInTorch(dict: PythonDict, wanted: ReadonlyMap<string, HostTensor>): Promise<void> {
    const found = flat(dict) as Map<string, PythonTensor>;
    expect([...found.keys()]).toEqual([...wanted.keys()]);
    for (const [key, { dtype, shape, hex: bits }] of found) {
      const tensor = wanted.get(key)!;
      expect([key, dtype, shape, bits]).toEqual([key, tensor.dtype, tensor.shape, hex(await tensor.bytes())]);
    }
  }

  it('reads state dicts bit for bit, the restricted reader too, and shares what was shared', async () => {
    const path = join(folder, 'torch.pth');
    await saveTorch(path, stateDict());
    for (const weightsOnly of [false, true]) {
      const dict = torchLoad(python!, path, weightsOnly);
      expect(dict.kind).toBe('OrderedDict');
      await expectInTorch(dict, stateDict());
      const at = (key: string) => (flat(dict).get(key) as PythonTensor).storage;
      expect(at('embed.weight')).toBe(at('head.weight'));
      expect(at('transposed')).toBe(at('row'));
    }
  });

  it('reads archives with 64-bit fields', async () => {
    const path = join(folder, 'torch-wide.pth');
    writeFileSync(path, await encodeTorch(stateDict(), { zip64From: 0 }));
    await expectInTorch(torchLoad(python!, path, true), stateDict());
  });

  it('reads training checkpoints', async () => {
    const path = join(folder, 'training.pth');
    await saveTorch(path, checkpoint());
    const dict = torchLoad(python!, path);
    expect(dict.kind).toBe('dict');
    await expectInTorch(flat(dict).get('model') as PythonDict, stateDict());
    const plain = (name: string) => (flat(dict).get(name) as { python: string }).python;
    expect(['epoch', 'seed', 'negative', 'huge', 'best', 'zero', 'note', 'bytes'].map(plain)).toEqual([
      ...['12', '1099511627776', '-70000', '-9223372036854775808', 'inf', '-0.0'],
      `'Grüße, "weights"'`,
      String.raw`b'\x00\x7f\x80\xff'`,
    ]);
    const optimizer = flat(flat(dict).get('optimizer') as PythonDict);
    expect((optimizer.get('state') as PythonDict).items[0]![0]).toBe('0');
  });

  it.each(['pth', 'legacy.pth'])('writes back what it read (%s), bit for bit', async (ending) => {
    const [from, to] = [join(folder, 'there.pth'), join(folder, `back.${ending}`)];
    await saveTorch(from, stateDict());
    torchResave(python!, from, to);
    await expectEqual((await loadCheckpoint(to)).tensors, stateDict());
    // And once more through this package: PyTorch -> kindling -> PyTorch.
    const again = join(folder, `again.${ending}`);
    await saveTorch(again, (await loadCheckpoint(to)).tensors);
    await expectInTorch(torchLoad(python!, again, true), stateDict());
  });

  it('gets the same bits through safetensors', async () => {
    for (const file of ['dtypes.zip.pth', 'layouts.legacy.pth']) {
      const { tensors } = await loadCheckpoint(fixturePath(file), { key: [] });
      for (const [key, { dtype }] of tensors) if (dtype === 'complex128') tensors.delete(key);
      const path = join(folder, `${file}.safetensors`);
      await saveSafetensors(path, tensors);
      await expectInTorch(torchLoad(python!, path), tensors);
      torchResave(python!, path, join(folder, file));
      await expectEqual(tensorsOf(await loadValue(join(folder, file))), tensors);
    }
  });
});
