import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { deflateRawSync } from 'node:zlib';
import { afterAll, describe, expect, it } from 'vitest';
import {
  CheckpointError,
  encodeNpz,
  HostTensor,
  loadCheckpoint,
  loadValue,
  saveNpz,
} from '../../src/formats/index.js';
import { pythonWithTorch } from './python.js';
import { hex, randomNumbers } from './support.js';

const folder = mkdtempSync(join(tmpdir(), 'kindling-numpy-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** An .npy file with this header text and data. */
function npy(header: string, data: Uint8Array, major = 1): Uint8Array<ArrayBuffer> {
  const start = major === 1 ? 10 : 12;
  const bytes = new Uint8Array(start + header.length + data.length);
  const view = new DataView(bytes.buffer);
  bytes.set([0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59, major, 0]);
  if (major === 1) view.setUint16(8, header.length, true);
  else view.setUint32(8, header.length, true);
  bytes.set(new TextEncoder().encode(header), start);
  bytes.set(data, start + header.length);
  return bytes;
}

const header = (descr: string, shape: string, fortran = 'False') =>
  `{'descr': '${descr}', 'fortran_order': ${fortran}, 'shape': (${shape}), }\n`;

/** A ZIP archive of one deflated entry, whatever its size. */
function deflated(name: string, content: Uint8Array): Uint8Array<ArrayBuffer> {
  const data = deflateRawSync(content, { level: 1 });
  const label = Buffer.from(name);
  const common = Buffer.alloc(26);
  common.writeUInt16LE(20, 0);
  common.writeUInt16LE(8, 4);
  common.writeUInt32LE(data.length, 14);
  common.writeUInt32LE(content.length, 18);
  common.writeUInt16LE(label.length, 22);
  const local = Buffer.concat([Buffer.from('PK\x03\x04'), common, label, data]);
  const central = Buffer.concat([Buffer.from('PK\x01\x02\x14\0'), common, Buffer.alloc(14), label]);
  const end = Buffer.alloc(22);
  end.write('PK\x05\x06');
  end.writeUInt16LE(1, 8);
  end.writeUInt16LE(1, 10);
  end.writeUInt32LE(central.length, 12);
  end.writeUInt32LE(local.length, 16);
  return new Uint8Array(Buffer.concat([local, central, end]));
}

const one = async (bytes: Uint8Array) => (await loadValue(bytes, { name: 'a.npy' })) as HostTensor;

describe('.npy', () => {
  const data = new Uint8Array(Float32Array.of(1, 2, 3, 4, 5, 6).buffer);

  it.each([1, 2, 3])('version %i', async (major) => {
    const tensor = await one(npy(header('<f4', '2, 3'), data, major));
    expect([tensor.dtype, tensor.shape]).toEqual(['float32', [2, 3]]);
    expect([...(await tensor.toFloat32Array())]).toEqual([1, 2, 3, 4, 5, 6]);
  });

  it('Fortran order, big endian, scalars, one dim and empty arrays', async () => {
    const fortran = await one(npy(header('<f4', '2, 3', 'True'), data));
    expect([...(await fortran.toFloat32Array())]).toEqual([1, 3, 5, 2, 4, 6]);
    const big = await one(npy(header('>i2', '3,'), Uint8Array.of(0, 1, 255, 254, 1, 0)));
    expect([big.dtype, ...(await big.toInt32Array())]).toEqual(['int16', 1, -2, 256]);
    expect((await one(npy(header('|b1', ''), Uint8Array.of(1)))).shape).toEqual([]);
    expect((await one(npy(header('<f8', '0, 4'), new Uint8Array(0)))).shape).toEqual([0, 4]);
  });

  it('is one tensor under the name of its file', async () => {
    const path = join(folder, 'conv1.weight.npy');
    writeFileSync(path, npy(header('<f4', '6,'), data));
    const { container, tensors } = await loadCheckpoint(path);
    expect([container, ...tensors.keys()]).toEqual(['npy', 'conv1.weight']);
  });

  it('is named with control characters spelled out', async () => {
    const { tensors } = await loadCheckpoint(npy(header('<f4', '6,'), data), { name: 'in/a\x1b[31mred.npy' });
    expect([...tensors.keys()]).toEqual(['a\\x1b[31mred']);
  });

  it.each([
    ['a hole in its data', npy(header('<f4', '7,'), data), /truncated.*28 bytes.*24/],
    ['data to spare', npy(header('<f4', '5,'), data), /20 bytes.*24/],
    ['a huge shape', npy(header('<f4', '99999999999, 99999999999'), data), /truncated|shape/],
    ['objects', npy(header('|O', '1,'), data), /Python objects/],
    ['records', npy(`{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (6,), }`, data), /record/],
    ['an unknown dtype', npy(header('<M8[ns]', '3,'), data), /M8\[ns\]/],
    ['a bad header', npy('import os', data), /bad \.npy header/],
    ['an unknown version', npy(header('<f4', '6,'), data, 9), /version 9/],
    ['a header past its end', npy(header('<f4', '6,'), data).slice(0, 40), /truncated in its header/],
    ['a header of gigabytes', Uint8Array.of(0x93, 78, 85, 77, 80, 89, 2, 0, 0, 0, 0, 64), /at most 65536/],
    ['too many dims', npy(header('<f4', '1,'.repeat(65)), data), /shape/],
  ])('refuses %s', async (_, bytes, message) => {
    await expect(one(bytes)).rejects.toThrow(message);
    await expect(one(bytes)).rejects.toBeInstanceOf(CheckpointError);
  });
});

describe('.npz', () => {
  const tensors = () =>
    new Map([
      ['conv.weight', HostTensor.from('float32', [2, 1, 3], [1, 2, 3, 4, 5, 6])],
      ['count', HostTensor.from('int64', [], [2n ** 53n])],
      ['mask', HostTensor.from('bool', [3], [1, 0, 1])],
      ['half', HostTensor.from('float16', [1], [0.5])],
      ['none', HostTensor.from('uint8', [0], [])],
      ['z', HostTensor.fromBytes('complex128', [1], new Uint8Array(16).fill(63))],
    ]);

  it('is written and read', async () => {
    const path = join(folder, 'w.npz');
    await saveNpz(path, tensors());
    const read = await loadCheckpoint(path);
    expect(read.container).toBe('npz');
    expect([...read.tensors.keys()]).toEqual([...tensors().keys()]);
    for (const [key, tensor] of tensors()) {
      const other = read.tensors.get(key)!;
      expect([other.dtype, other.shape], key).toEqual([tensor.dtype, tensor.shape]);
      expect(hex(await other.bytes()), key).toBe(hex(await tensor.bytes()));
    }
    await expect(encodeNpz(new Map([['b', HostTensor.from('bfloat16', [1], [1])]]))).rejects.toThrow(/numpy/);
  });

  it('inflates large entries piece by piece', async () => {
    const next = randomNumbers(3);
    const values = new Float32Array(5 * 1024 ** 2).map(() => Math.floor(4 * next()));
    const file = npy(header('<f4', `${values.length},`), new Uint8Array(values.buffer));
    const archive = deflated('big.npy', file);
    const { tensors: read } = await loadCheckpoint(archive);
    const tensor = read.get('big')!;
    let at = 0;
    for await (const chunk of tensor.float32Chunks(1 << 20)) {
      expect(Buffer.compare(Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength),
        Buffer.from(values.buffer, 4 * at, 4 * chunk.length))).toBe(0); // prettier-ignore
      at += chunk.length;
    }
    expect(at).toBe(values.length);
    // Back to the start, two at once.
    const [first, later] = await Promise.all([tensor.range(0, 2), tensor.range(values.length - 2, 2)]);
    expect([hex(first), hex(later)]).toEqual([
      hex(new Uint8Array(values.buffer, 0, 8)),
      hex(new Uint8Array(values.buffer, values.byteLength - 8)),
    ]);
    const damaged = archive.slice();
    damaged.fill(0x55, 1000, 3000);
    await expect(
      loadCheckpoint(damaged, { name: 'd' }).then((c) => c.tensors.get('big')!.bytes()),
    ).rejects.toBeInstanceOf(CheckpointError);
  });

  it('refuses entries that are no arrays', async () => {
    const first = npy(header('<f4', ''), new Uint8Array(4));
    await expect(loadValue(deflated('x.npy', first.subarray(0, 20)))).rejects.toThrow(/x\.npy.*truncated/);
  });

  const python = pythonWithTorch();
  it.skipIf(python === undefined)('agrees with numpy', async () => {
    const ours = join(folder, 'ours.npz');
    await saveNpz(ours, tensors());
    const script = `
import numpy as np, sys
folder, ours = sys.argv[1:]
a = np.load(ours)
assert a.files == ['conv.weight', 'count', 'mask', 'half', 'none', 'z'], a.files
assert a['conv.weight'].tolist() == [[[1, 2, 3]], [[4, 5, 6]]] and a['conv.weight'].dtype == '<f4'
assert a['count'] == 2**53 and a['mask'].tolist() == [True, False, True] and a['z'].dtype == '<c16' and a['none'].shape == (0,)
x = np.arange(24).reshape(2, 3, 4)
arrays = {d: np.asfortranarray(x.astype(d)) if i % 2 else x.astype(d) for i, d in enumerate(
    ['<f8', '>f8', '<f4', '>f4', '<f2', '>f2', '<i8', '>i8', '>i4', '<i2', '|i1', '>u8', '<u4', '>u2', '|u1', '|b1', '>c8', '<c16'])}
np.savez(folder + '/plain.npz', **arrays)
np.savez_compressed(folder + '/packed.npz', **arrays)
`;
    execFileSync(python!, ['-c', script, folder, ours]);
    for (const file of ['plain.npz', 'packed.npz']) {
      const { tensors: read, container } = await loadCheckpoint(join(folder, file));
      expect([container, read.size]).toEqual(['npz', 18]);
      for (const [key, tensor] of read) {
        if (tensor.dtype.startsWith('complex')) continue;
        const wanted = Array.from({ length: 24 }, (_, i) => (key === '|b1' ? Number(i > 0) : i));
        expect([tensor.shape, [...(await tensor.toFloat32Array())]], key).toEqual([[2, 3, 4], wanted]);
      }
    }
  });
});
