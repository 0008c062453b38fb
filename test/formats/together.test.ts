/** Files that belong together: both are of one write, whatever happens. */
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { writeFilesAtomically } from '../../src/formats/node-files.js';

/** A folder with these files. */
function folderOf(files: Readonly<Record<string, string>>): string {
  const folder = mkdtempSync(join(tmpdir(), 'kindling-together-'));
  for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text);
  return folder;
}

const contentsOf = (folder: string): Record<string, string> =>
  Object.fromEntries(
    readdirSync(folder, { withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map(({ name }) => [name, readFileSync(join(folder, name), 'utf8')]),
  );

const bytes = (text: string): Uint8Array[] => [new TextEncoder().encode(text)];
const old = { data: 'old data', model: 'old model' };

/** Writes both, the first one and then the one that refers to it. */
const writeBoth = (folder: string, model: Iterable<Uint8Array>): Promise<void> =>
  writeFilesAtomically([
    { path: join(folder, 'data'), chunks: bytes('new data') },
    { path: join(folder, 'model'), chunks: model },
  ]);

describe('files that belong together', () => {
  it('are both new, with nothing beside them', async () => {
    for (const before of [{}, old]) {
      const folder = folderOf(before);
      await writeBoth(folder, bytes('new model'));
      expect(contentsOf(folder)).toEqual({ data: 'new data', model: 'new model' });
    }
  });

  it('are both old when the second cannot be made', async () => {
    const folder = folderOf(old);
    const failing = function* (): Generator<Uint8Array> {
      yield new Uint8Array(8);
      throw new Error('no more');
    };
    await expect(writeBoth(folder, failing())).rejects.toThrow('model: cannot be written: no more');
    expect(contentsOf(folder)).toEqual(old);
  });

  it('are both old when one of them cannot take its name', async () => {
    const folder = folderOf({ model: 'old model' });
    const inTheWay = function* (): Generator<Uint8Array> {
      mkdirSync(join(folder, 'data'));
      yield* bytes('new model');
    };
    await expect(writeBoth(folder, inTheWay())).rejects.toThrow('data: cannot be written');
    expect(contentsOf(folder)).toEqual({ model: 'old model' });
  });

  it.skipIf(process.platform === 'win32')('are no folders and no devices', async () => {
    const folder = folderOf({});
    mkdirSync(join(folder, 'data'));
    await expect(writeBoth(folder, bytes('new model'))).rejects.toThrow('data: is no plain file');
    const other = folderOf({});
    symlinkSync('/dev/null', join(other, 'model'));
    await expect(writeBoth(other, bytes('new model'))).rejects.toThrow('model: is no plain file');
    expect(contentsOf(other)).toEqual({});
  });
});
