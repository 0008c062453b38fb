import { spawn } from 'node:child_process';
import {
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, it } from 'vitest';
import {
  encodeSafetensors,
  HostTensor,
  loadCheckpoint,
  loadValue,
  saveSafetensors,
} from '../../src/formats/index.js';
import { fixturePath, hex, tensorsOf } from './support.js';

const folder = mkdtempSync(join(tmpdir(), 'kindling-formats-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** A file with this header (padded as given) and so many data bytes. */
function file(header: string | object, dataBytes: number): Uint8Array {
  const json = new TextEncoder().encode(typeof header === 'string' ? header : JSON.stringify(header));
  const bytes = new Uint8Array(8 + json.length + dataBytes);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(json.length), true);
  bytes.set(json, 8);
  return bytes;
}

describe('safetensors', () => {
  it('what PyTorch wrote comes back with the same keys, dtypes, shapes and bytes', async () => {
    for (const source of ['dtypes.zip.pth', 'layouts.legacy.pth', 'checkpoint.zip.pth']) {
      const { tensors } = await loadCheckpoint(fixturePath(source), {
        key: source.startsWith('check') ? 'state_dict' : [],
      });
      // The format has 64-bit complex numbers only.
      for (const [key, tensor] of tensors) if (tensor.dtype === 'complex128') tensors.delete(key);
      const path = join(folder, `${source}.safetensors`);
      await saveSafetensors(path, tensors, { metadata: { format: 'pt', note: 'ü "quoted"' } });
      const back = await loadCheckpoint(path);
      expect(back.container).toBe('safetensors');
      expect([...back.extra]).toEqual([['format', 'pt'], ['note', 'ü "quoted"']]); // prettier-ignore
      expect([...back.tensors.keys()]).toEqual([...tensors.keys()]);
      for (const [key, tensor] of tensors) {
        const again = back.tensors.get(key)!;
        expect([again.dtype, again.shape], key).toEqual([tensor.dtype, tensor.shape]);
        expect(hex(await again.bytes()), key).toBe(hex(await tensor.bytes()));
      }
    }
  });

  it('aligns the data and each tensor, and fills the file exactly', async () => {
    const bytes = await encodeSafetensors(
      new Map([
        ['byte', HostTensor.from('uint8', [3], [1, 2, 3])],
        ['double', HostTensor.from('float64', [1], [0.5])],
        ['half', HostTensor.from('float16', [1], [1.5])],
        ['none', HostTensor.from('float32', [0, 4], [])],
      ]),
    );
    const headerBytes = Number(new DataView(bytes.buffer).getBigUint64(0, true));
    expect((8 + headerBytes) % 8).toBe(0);
    const header = JSON.parse(new TextDecoder().decode(bytes.subarray(8, 8 + headerBytes))) as Record<
      string,
      object
    >;
    expect(header).toEqual({
      __metadata__: { 'kindling.crc32': expect.stringMatching(/^[0-9a-f]{40}$/) as string },
      byte: { dtype: 'U8', shape: [3], data_offsets: [10, 13] },
      double: { dtype: 'F64', shape: [1], data_offsets: [0, 8] },
      half: { dtype: 'F16', shape: [1], data_offsets: [8, 10] },
      none: { dtype: 'F32', shape: [0, 4], data_offsets: [8, 8] },
    });
    expect(bytes.length).toBe(8 + headerBytes + 13);
  });

  it('tells a file with a 640-byte header from a pickle, which also starts with 80 02', async () => {
    const header = JSON.stringify({ a: { dtype: 'U8', shape: [1], data_offsets: [0, 1] } }).padEnd(640);
    const bytes = file(header, 1);
    expect([bytes[0], bytes[1]]).toEqual([0x80, 0x02]);
    expect((await loadCheckpoint(bytes)).container).toBe('safetensors');
  });

  const described = '{"dtype":"U8","shape":[1],"data_offsets":[0,1]}';
  it.each([
    ["'a'", `{"a":${described},"a":${described}}`],
    ["'a'", `{"a":${described},"\\u0061":${described}}`],
    ["'x'", `{"__metadata__":{"x":"1","y":"\\"x\\":","x":"2"},"a":${described}}`],
    ["'dtype'", '{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1],"dtype":"I8"}}'],
  ])('a header with the key %s twice is refused: %s', async (key, header) => {
    await expect(loadCheckpoint(file(header, 1))).rejects.toThrow(
      `the safetensors header has the key ${key} twice in one object`,
    );
  });

  it('names of one spelling in different objects, and colons in strings, are no such keys', async () => {
    const header = `{"__metadata__":{"a":"a: b","dtype":"{\\"x\\":1}"},"a":${described}}`;
    expect([...(await loadCheckpoint(file(header, 1))).tensors.keys()]).toEqual(['a']);
  });

  const one = (info: object) => ({ a: { dtype: 'F32', shape: [2], data_offsets: [0, 8], ...info } });
  it.each<[string, Uint8Array, RegExp]>([
    [
      'a hole',
      file({ ...one({}), b: { dtype: 'U8', shape: [1], data_offsets: [9, 10] } }, 10),
      /"b".*leaves a hole/,
    ],
    [
      'an overlap',
      file({ ...one({}), b: { dtype: 'U8', shape: [4], data_offsets: [4, 8] } }, 8),
      /"b".*overlaps/,
    ],
    ['a late start', file(one({ data_offsets: [4, 12] }), 12), /leaves a hole/],
    ['trailing bytes', file(one({}), 9), /should end at byte \d+, but the file has/],
    [
      'offsets that disagree with the shape',
      file(one({ data_offsets: [0, 4] }), 4),
      /takes 8 bytes, but its offsets span 4/,
    ],
    ['offsets that go backwards', file(one({ data_offsets: [8, 0] }), 8), /offsets span -8/],
    ['an unknown dtype', file(one({ dtype: 'F4' }), 8), /dtype "F4", which is not supported/],
    ['a dtype of Object.prototype', file(one({ dtype: 'constructor' }), 8), /not supported/],
    ['a fractional size', file(one({ shape: [1.5] }), 8), /no valid shape/],
    ['a negative size', file(one({ shape: [-2] }), 8), /no valid shape/],
    [
      'a shape whose product overflows',
      file(one({ shape: [2 ** 52, 2 ** 52] }), 8),
      /takes .* bytes, but its offsets span 8/,
    ],
    ['missing offsets', file({ a: { dtype: 'F32', shape: [2] } }, 8), /no valid data_offsets/],
    ['metadata that is no text', file({ __metadata__: { a: 1 } }, 0), /metadata "a" is not a string/],
    ['a header that is no JSON', file('{"a":', 0), /not valid JSON/],
    [
      'a header that is too long',
      file('{', 0).fill(0xff, 2, 4),
      /the safetensors header needs bytes 8 to \d+, but the file ends/,
    ],
  ])('refuses %s', async (_, bytes, message) => {
    await expect(loadCheckpoint(bytes, { name: 'x' })).rejects.toThrow(message);
    await expect(loadCheckpoint(bytes, { name: 'x' })).rejects.toThrow(/^x: /);
  });

  it('refuses what the format cannot hold', async () => {
    const complex = HostTensor.fromBytes('complex128', [1], new Uint8Array(16));
    await expect(encodeSafetensors(new Map([['z', complex]]))).rejects.toThrow(
      /tensor 'z': the format has no dtype complex128/,
    );
    const reserved = new Map([['__metadata__', HostTensor.from('uint8', [1], [1])]]);
    await expect(encodeSafetensors(reserved)).rejects.toThrow(/may not be called '__metadata__'/);
  });
});

describe('saving is atomic', () => {
  const ones = new Map([['a', HostTensor.from('float32', [4], [1, 1, 1, 1])]]);
  const leftovers = () => readdirSync(folder).filter((name) => name.endsWith('.tmp'));

  it('replaces a file, follows a link, keeps the mode and leaves nothing behind', async () => {
    const path = join(folder, 'model.safetensors');
    writeFileSync(path, 'old', { mode: 0o640 });
    symlinkSync(path, join(folder, 'link.safetensors'));
    await saveSafetensors(join(folder, 'link.safetensors'), ones);
    expect((await loadCheckpoint(path)).tensors.size).toBe(1);
    expect(statSync(path).mode & 0o777).toBe(0o640);
    expect(leftovers()).toEqual([]);
  });

  it('a checkpoint can be saved over the file it is read from', async () => {
    const path = join(folder, 'self.safetensors');
    await saveSafetensors(path, ones);
    const before = await loadCheckpoint(path);
    await saveSafetensors(path, before.tensors);
    expect([...(await (await loadCheckpoint(path)).tensors.get('a')!.toFloat32Array())]).toEqual([
      1, 1, 1, 1,
    ]);
    // The old handle notices that its file is gone instead of reading the new one's bytes.
    await expect(before.tensors.get('a')!.bytes()).rejects.toThrow(
      /was changed after it was opened; load it again/,
    );
  });

  it('an error midway leaves the old file and no temporary one', async () => {
    const path = join(folder, 'kept.safetensors');
    await saveSafetensors(path, ones);
    const broken = new HostTensor({
      dtype: 'float32',
      shape: [4],
      storage: { size: 16, read: () => Promise.reject(new Error('disk on fire')) },
    });
    await expect(saveSafetensors(path, new Map([['a', broken]]))).rejects.toThrow(
      /kept\.safetensors: cannot be written: disk on fire/,
    );
    expect((await loadCheckpoint(path)).tensors.size).toBe(1);
    expect(leftovers()).toEqual([]);
    await expect(saveSafetensors(join(folder, 'none', 'x.safetensors'), ones)).rejects.toThrow(
      /x\.safetensors: cannot be written: ENOENT/,
    );
  });

  it('kill -9 midway leaves the old file whole', async () => {
    const path = join(folder, 'killed.safetensors');
    await saveSafetensors(path, ones);
    const before = readFileSync(path);
    const script = fileURLToPath(new URL('./kill-child.ts', import.meta.url));
    const child = spawn(process.execPath, ['--import', 'tsx', script, path], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const killed = new Promise<string | null>((resolve) => child.on('exit', (_, signal) => resolve(signal)));
    await new Promise<void>((resolve, reject) => {
      child.stdout.once('data', () => resolve());
      child.once('exit', () => reject(new Error('the child ended early')));
    });
    child.kill('SIGKILL');
    expect(await killed).toBe('SIGKILL');
    expect(readFileSync(path).equals(before)).toBe(true);
    const partial = leftovers();
    expect(partial).toHaveLength(1);
    expect(statSync(join(folder, partial[0]!)).size).toBeGreaterThan(1_000_000);
    // What the killed process left does not hinder the next save.
    await saveSafetensors(path, ones);
    expect(tensorsOf(await loadValue(path)).size).toBe(1);
  });
});
