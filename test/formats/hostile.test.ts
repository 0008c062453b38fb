import { describe, expect, it } from 'vitest';
import { encodeSafetensors, HostTensor, loadCheckpoint, loadValue } from '../../src/formats/index.js';
import { unpickle } from '../../src/formats/pickle.js';
import { findGlobal, storageOfId } from '../../src/formats/torch-globals.js';
import { toPlainValue } from '../../src/formats/torch-values.js';
import { fixture, randomNumbers, tryToLoad } from './support.js';

const safetensors = await encodeSafetensors(
  new Map([
    ['weight', HostTensor.from('float32', [2, 3], [1, 2, 3, 4, 5, 6])],
    ['steps', HostTensor.from('int64', [], [7])],
  ]),
  { metadata: { format: 'pt' } },
);

const files: [string, Uint8Array][] = [
  ...['dtypes', 'layouts', 'checkpoint'].flatMap((name) =>
    ['zip', 'legacy'].map((kind): [string, Uint8Array] => [
      `${name}.${kind}.pth`,
      fixture(`${name}.${kind}.pth`),
    ]),
  ),
  ['deflated.zip.pth', fixture('deflated.zip.pth')],
  ['protocol1.legacy.pth', fixture('protocol1.legacy.pth')],
  ['small.safetensors', safetensors],
];

describe('a truncated file', () => {
  it.each(files)('%s: cut anywhere, it is refused with an error that names it', async (name, whole) => {
    const step = Math.max(1, Math.floor(whole.length / 400));
    for (let length = 0; length < whole.length; length += length < 600 ? 1 : step) {
      const error = await tryToLoad(whole.subarray(0, length), name);
      expect(error, `cut to ${length} of ${whole.length} bytes`).toBeDefined();
      expect(error!.message.startsWith(name), error!.message).toBe(true);
    }
    expect(await tryToLoad(whole.subarray(0, whole.length - 1), name)).toBeDefined();
  });

  it('says what is missing', async () => {
    const cut = (name: string, share: number) => {
      const bytes = fixture(name);
      return loadCheckpoint(bytes.subarray(0, Math.floor(bytes.length * share)), { name });
    };
    await expect(cut('layouts.zip.pth', 0.7)).rejects.toThrow(
      /layouts\.zip\.pth: truncated: .*directory, at its end, is missing/,
    );
    await expect(cut('layouts.legacy.pth', 0.95)).rejects.toThrow(
      /storage "\d+" \(\d+ of \d+\).*the file ends at byte/,
    );
    await expect(cut('layouts.legacy.pth', 0.3)).rejects.toThrow(/the object: the pickle is truncated/);
    await expect(loadCheckpoint(safetensors.subarray(0, 60), { name: 'a' })).rejects.toThrow(
      /safetensors header needs bytes/,
    );
    await expect(
      loadCheckpoint(safetensors.subarray(0, safetensors.length - 4), { name: 'a' }),
    ).rejects.toThrow(/tensor "weight" needs bytes.*4 bytes missing/);
  });
});

describe('a damaged file', () => {
  it.each(files)('%s: with random bytes changed it loads or is refused', async (name, whole) => {
    const random = randomNumbers(whole.length);
    let refused = 0;
    for (let round = 0; round < 300; round++) {
      const bytes = whole.slice();
      for (let flips = 1 + Math.floor(random() * 4); flips > 0; flips--) {
        bytes[Math.floor(random() * bytes.length)] = Math.floor(random() * 256);
      }
      const error = await tryToLoad(bytes, name);
      if (error) refused++;
      if (error) expect(error.message.startsWith(name), error.message).toBe(true);
    }
    expect(refused).toBeGreaterThan(0);
  });
});

describe('what tensors are built from', () => {
  // torch._utils.<rebuild>(storage of 4 floats, 0, (4,), (1,), False, OrderedDict(), <more>), in a dict
  const built = (rebuild: string, more: string): HostTensor => {
    const tensor =
      `ctorch._utils\n${rebuild}\n((Vstorage\nctorch\nFloatStorage\nV0\nVcpu\nI4\ntQI0\n(I4\nt(I1\nt` +
      `I00\nccollections\nOrderedDict\n(tR${more}tR`;
    const { value } = unpickle(new TextEncoder().encode(`(dVimag\n${tensor}s.`), {
      find: findGlobal,
      persistentLoad: storageOfId,
    });
    const read = async (at: number, length: number): Promise<Uint8Array> =>
      new Uint8Array(16).subarray(at, at + length);
    return (toPlainValue(value, () => ({ size: 16, read })) as Map<string, HostTensor>).get('imag')!;
  };
  const forms: [string, string][] = [
    ['_rebuild_tensor_v2', ''],
    ['_rebuild_tensor_v3', 'ctorch\nfloat32\n'],
  ];

  it.each(forms)('%s takes metadata that says nothing', (rebuild, dtype) => {
    for (const more of ['', 'N', '(d', '(dVneg\nI00\nsVconj\nI00\ns'])
      expect(built(rebuild, dtype + more).shape).toEqual([4]);
  });

  // PyTorch 2 saves `z.conj().imag` as the numbers of z with {'neg': True}.
  it.each(forms)('%s refuses operations that were put off, and what is not known', (rebuild, dtype) => {
    const refused = (more: string): (() => HostTensor) => {
      return () => built(rebuild, dtype + more);
    };
    expect(refused('(dVneg\nI01\ns')).toThrow(/'imag': .* negation put off .*resolve_neg\(\)/);
    expect(refused('(dVconj\nI01\ns')).toThrow(/'imag': .* conjugation put off/);
    expect(refused('(dVscale\nI3\ns')).toThrow(/'imag': .* metadata of an unknown kind: .*scale/);
    expect(refused('I3\n')).toThrow(/'imag': the tensor's metadata is no dict/);
    expect(refused('NI1\n')).toThrow(/of which \d are known/);
  });
});

describe('tensors that do not fit their storage', () => {
  // torch._utils._rebuild_tensor(storage of 4 floats, offset, shape, strides)
  const tensor = (offset: number, shape: string, strides: string) => {
    const text =
      'ctorch._utils\n_rebuild_tensor\n((Vstorage\nctorch\nFloatStorage\nV0\nVcpu\nI4\ntQ' +
      `I${offset}\n(${shape}t(${strides}ttR.`;
    const { value } = unpickle(new TextEncoder().encode(text), {
      find: findGlobal,
      persistentLoad: storageOfId,
    });
    return toPlainValue(value, () => ({
      size: 16,
      read: async (at, length) => new Uint8Array(16).subarray(at, at + length),
    }));
  };

  it('the right ones load', async () => {
    const square = tensor(0, 'I2\nI2\n', 'I1\nI2\n') as HostTensor;
    expect([square.shape, square.strides]).toEqual([[2, 2], [1, 2]]); // prettier-ignore
    expect(await square.toFloat32Array()).toHaveLength(4);
  });

  it.each<[string, number, string, string, RegExp]>([
    ['too long', 0, 'I5\n', 'I1\n', /reaches past its storage of 16 bytes/],
    ['offset past the end', 3, 'I2\n', 'I1\n', /reaches past its storage/],
    ['stride past the end', 0, 'I2\n', 'I9\n', /reaches past its storage/],
    ['a negative stride', 0, 'I2\n', 'I-1\n', /not a whole number/],
    ['a negative size', 0, 'I-2\n', 'I1\n', /not a whole number/],
    ['more strides than sizes', 0, 'I2\n', 'I1\nI1\n', /1 dimensions but 2 strides/],
    [
      'a stride of 0 that claims terabytes',
      0,
      'I1000000\nI1000000\n',
      'I0\nI0\n',
      /expands a storage of 16 bytes to 3\.6 TiB/,
    ],
    [
      'sizes whose product overflows',
      0,
      'I4294967296\nI4294967296\nI4294967296\n',
      'I0\nI0\nI0\n',
      /expands|refused/,
    ],
    ['a hundred dimensions', 0, 'I1\n'.repeat(100), 'I1\n'.repeat(100), /at most 64 numbers/],
  ])('%s', (_, offset, shape, strides, message) => {
    expect(() => tensor(offset, shape, strides)).toThrow(message);
  });

  it('values nested 200,000 deep are refused, not recursed into', () => {
    const deep = new TextEncoder().encode(`${']'.repeat(200_000)}${'a'.repeat(199_999)}.`);
    const { value } = unpickle(deep, { find: findGlobal });
    expect(() => toPlainValue(value, () => ({ size: 0, read: async () => new Uint8Array(0) }))).toThrow(
      /nested more than 1000 deep/,
    );
  });
});

describe('what is not a weight file', () => {
  const text = (value: string) => new TextEncoder().encode(value);
  const tar = new Uint8Array(512);
  tar.set(text('sys_info'), 0);
  tar.set(text('ustar'), 257);
  it.each<[string, Uint8Array, RegExp]>([
    ['an empty file', new Uint8Array(0), /the file is empty/],
    ['an HTML page', text('\n<!DOCTYPE html><html><body>404</body></html>'), /HTML page.*downloaded/],
    ['XML', text('<?xml version="1.0"?><Error>AccessDenied</Error>'), /XML.*server/],
    [
      'a git-lfs pointer',
      text('version https://git-lfs.github.com/spec/v1\noid sha256:0'),
      /git-lfs pointer.*git lfs pull/,
    ],
    ['gzip', Uint8Array.of(0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0), /gzip/],
    ['JSON', text('{"message": "Not Found"}'), /JSON or other text, starting.*Not Found/],
    ['text', text('Not Found: no such thing'), /text, starting "Not Found/],
    ['HDF5', text('\x89HDF\r\n').slice(1), /not a weight file/],
    ['zeros', new Uint8Array(100), /all zero/],
    ['PyTorch 0.1 tar', tar, /tar archive; PyTorch 0\.1/],
    [
      'noise',
      Uint8Array.of(0x9a, 0x80, 0xff, 1, 2, 3, 0xfe, 5, 6, 7, 8, 9, 10),
      /first bytes are 9a 80 ff 01 02 03 fe 05 \(13 bytes/,
    ],
  ])('%s', async (_, bytes, message) => {
    await expect(loadCheckpoint(bytes, { name: 'weights.pth' })).rejects.toThrow(message);
    await expect(loadCheckpoint(bytes, { name: 'weights.pth' })).rejects.toThrow(/^weights\.pth: /);
  });

  it('a path that is not there, or a folder', async () => {
    await expect(loadCheckpoint('no/such/file.pth')).rejects.toThrow('no/such/file.pth: no such file');
    await expect(loadCheckpoint('src')).rejects.toThrow('src: is a folder');
  });

  it('a zip archive of something else names what it holds', async () => {
    // One stored entry `a.txt` of no bytes.
    const name = text('a.txt');
    const local = new Uint8Array(30 + 5);
    local.set([0x50, 0x4b, 3, 4]);
    local[26] = 5;
    local.set(name, 30);
    const central = new Uint8Array(46 + 5);
    central.set([0x50, 0x4b, 1, 2]);
    central[28] = 5;
    central.set(name, 46);
    const end = new Uint8Array(22);
    end.set([0x50, 0x4b, 5, 6, 0, 0, 0, 0, 1, 0, 1, 0, central.length, 0, 0, 0, local.length]);
    const zip = Uint8Array.from([...local, ...central, ...end]);
    await expect(loadValue(zip, { name: 'x.zip' })).rejects.toThrow(
      /x\.zip: a zip archive, but not one by torch\.save: it holds "a\.txt" and no data\.pkl/,
    );
  });
});
