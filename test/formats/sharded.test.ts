import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { HostTensor, loadCheckpoint, saveSafetensors } from '../../src/formats/index.js';

const root = mkdtempSync(join(tmpdir(), 'kindling-shards-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));

let folders = 0;

/** A folder with two shards and an index that says so, or something else. */
async function model(change: (map: Record<string, unknown>) => unknown = (map) => map): Promise<string> {
  const folder = join(root, String(folders++));
  mkdirSync(folder);
  const shard = (key: string, value: number) => new Map([[key, HostTensor.from('float32', [1], [value])]]);
  await saveSafetensors(join(folder, 'model-00001-of-00002.safetensors'), shard('a', 1));
  await saveSafetensors(join(folder, 'model-00002-of-00002.safetensors'), shard('b', 2));
  const map = { a: 'model-00001-of-00002.safetensors', b: 'model-00002-of-00002.safetensors' };
  const index = { metadata: { total_size: 8 }, weight_map: change(map) };
  writeFileSync(join(folder, 'model.safetensors.index.json'), JSON.stringify(index, null, 2));
  return folder;
}

describe('sharded safetensors', () => {
  it('are read by the path of the folder or of the index', async () => {
    const folder = await model();
    for (const path of [folder, join(folder, 'model.safetensors.index.json')]) {
      const { container, tensors, extra } = await loadCheckpoint(path);
      expect([container, ...tensors.keys()]).toEqual(['safetensors-index', 'a', 'b']);
      expect([...extra]).toEqual([['total_size', 8]]);
      const values = await Promise.all([...tensors.values()].map((t) => t.toFloat32Array()));
      expect(values.map(([value]) => value)).toEqual([1, 2]);
    }
  });

  it.each([
    ['a missing shard', { a: 'gone.safetensors' }, /shard "gone\.safetensors".*no such file/],
    ['a tensor elsewhere', { a: 'model-00002-of-00002.safetensors' }, /"a" is not in/],
    ['a path out of the folder', { a: '../secret.safetensors' }, /no name of a file beside it/],
    ['an absolute path', { a: '/etc/passwd' }, /no name of a file beside it/],
    ['no name', { a: 3 }, /no name of a file/],
    ['no map', [], /no `weight_map`/],
  ])('refuse %s', async (_, map, message) => {
    await expect(loadCheckpoint(await model(() => map))).rejects.toThrow(message);
  });

  it('need a place', async () => {
    const bytes = readFileSync(join(await model(), 'model.safetensors.index.json'));
    await expect(loadCheckpoint(new Uint8Array(bytes))).rejects.toThrow(/give its path or URL/);
    await expect(loadCheckpoint(root)).rejects.toThrow(/is a folder without/);
  });
});
