import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { loadCheckpoint, saveSafetensors, HostTensor } from '../../src/formats/index.js';
import { kindling, root, temporaryFolder } from './support.js';

const folder = temporaryFolder();
const fixture = join(root, 'test/fixtures/formats/checkpoint.zip.pth');
const legacy = join(root, 'test/fixtures/formats/checkpoint.legacy.pth');

const bits = async (path: string) => {
  const { tensors } = await loadCheckpoint(path, { stripPrefix: false });
  return Promise.all(
    [...tensors].map(async ([key, tensor]) => [
      key,
      tensor.dtype,
      tensor.shape.join(),
      Buffer.from(await tensor.bytes()).toString('hex'),
    ]),
  );
};

describe('kindling convert', () => {
  it.each(['safetensors', 'pth', 'pt', 'npz'])('to .%s and back, bit for bit', async (ending) => {
    for (const from of [fixture, legacy]) {
      const there = join(folder, `there.${ending}`);
      const back = join(folder, `back-${ending}.pth`);
      const { code, stdout, stderr } = await kindling(['convert', from, there, '--force']);
      expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
      expect(stdout).toMatch(/tensors of .*left out, for they are no tensors: .*epoch/s);
      expect((await kindling(['convert', there, back, '--force'])).code).toBe(0);
      expect(await bits(there)).toEqual(await bits(from));
      expect(await bits(back)).toEqual(await bits(from));
    }
    expect(readdirSync(folder).filter((name) => name.endsWith('.tmp'))).toEqual([]);
  });

  it('converts floating point values, and only those', async () => {
    const to = join(folder, 'half.safetensors');
    const { stdout } = await kindling(['convert', fixture, to, '--dtype', 'bfloat16', '--json']);
    const report = JSON.parse(stdout) as Record<string, unknown>;
    expect(report).toMatchObject({ from: fixture, to, container: 'torch-zip', dtype: 'bfloat16' });
    const [before, after] = [await loadCheckpoint(fixture, { stripPrefix: false }), await loadCheckpoint(to, { stripPrefix: false })]; // prettier-ignore
    expect(report['tensors']).toBe(before.tensors.size);
    for (const [key, { dtype }] of before.tensors)
      expect(after.tensors.get(key)!.dtype, key).toBe(dtype.startsWith('float') ? 'bfloat16' : dtype);
  });

  it('keeps metadata where the format has a place for it', async () => {
    const [from, to] = [join(folder, 'meta.safetensors'), join(folder, 'meta2.safetensors')];
    await saveSafetensors(from, new Map([['a', HostTensor.from('float32', [1], [1])]]), {
      metadata: { note: 'hello' },
    });
    await kindling(['convert', from, to]);
    expect((await loadCheckpoint(to)).extra.get('note')).toBe('hello');
  });

  it('does not overwrite unless it is told to', async () => {
    const to = join(folder, 'mine.pth');
    writeFileSync(to, 'mine');
    const { code, stderr } = await kindling(['convert', fixture, to]);
    expect([code, stderr]).toEqual([1, `kindling: ${to}: is there already; --force replaces it\n`]);
    expect(readFileSync(to, 'utf8')).toBe('mine');
    expect((await kindling(['convert', fixture, to, '--force'])).code).toBe(0);
    // Over the file it reads, too: the old one is whole until the new one is.
    const before = await bits(to);
    expect((await kindling(['convert', to, to, '--force'])).code).toBe(0);
    expect(await bits(to)).toEqual(before);
  });

  it.each([
    ['another ending', [fixture, 'x.onnx'], 2, /\.safetensors, \.pth, \.pt or \.npz/],
    ['no ending', [fixture, 'x'], 2, /the ending says/],
    ['an unknown dtype', [fixture, 'x.pth', '--dtype', 'int8'], 2, /float32, float16, bfloat16/],
    ['a missing file', [join(folder, 'gone.pth'), join(folder, 'x.pth')], 1, /gone\.pth: no such file/],
    ['a folder that is not there', [fixture, join(folder, 'no/x.pth')], 1, /no such folder/],
    [
      'a dtype that numpy lacks',
      [fixture, join(folder, 'y.npz'), '--dtype', 'bfloat16'],
      1,
      /numpy has no bfloat16/,
    ],
  ] as const)('refuses %s', async (_, args, wanted, message) => {
    const { code, stderr } = await kindling(['convert', ...args]);
    expect(stderr).toMatch(message);
    expect(code).toBe(wanted);
    expect(existsSync(join(folder, 'y.npz'))).toBe(false);
  });

  it('stops at Ctrl-C and leaves nothing', async () => {
    const to = join(folder, 'stopped.pth');
    const { code } = await kindling(['convert', fixture, to], { signal: AbortSignal.abort() });
    expect(code).toBe(130);
    expect(readdirSync(folder).filter((name) => name.includes('stopped'))).toEqual([]);
  });
});
