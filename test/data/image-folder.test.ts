import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DataLoader } from '../../src/data/loader.js';
import { decodeImage, ImageFolder, readImage } from '../../src/data/node/index.js';

let root: string;
beforeAll(() => (root = mkdtempSync(join(tmpdir(), 'kindling-images-'))));
afterAll(() => rmSync(root, { recursive: true }));

/** A picture of one colour. */
const png = (...[r, g, b]: [number, number, number]): Promise<Buffer> =>
  sharp({ create: { width: 3, height: 2, channels: 3, background: { r, g, b } } })
    .png()
    .toBuffer();

let folders = 0;
/** Writes files into a new folder; a path that ends in `/` makes an empty folder. */
function folder(files: Record<string, Uint8Array>): string {
  const base = join(root, String(folders++));
  mkdirSync(base);
  for (const [path, bytes] of Object.entries(files)) {
    const target = join(base, path);
    mkdirSync(path.endsWith('/') ? target : join(target, '..'), { recursive: true });
    if (!path.endsWith('/')) writeFileSync(target, bytes);
  }
  return base;
}

const none = new Uint8Array();

describe('ImageFolder', () => {
  it('lists sorted classes and images at any depth, in torchvision order, ignoring other files', () => {
    const base = folder({
      'dogs/b.PNG': none,
      'dogs/a.jpeg': none,
      'dogs/notes.txt': none,
      'Cats/deep/z.webp': none,
      'Cats/x.jpg': none,
      'Cats/deep-er/a.tif': none,
      'Cats/deep/more/q.bmp': none,
      'readme.md': none,
    });
    const data = new ImageFolder(base);
    expect(data.classes).toEqual(['Cats', 'dogs']);
    expect(data.samples.map(([path, label]) => [path.slice(base.length + 1), label])).toEqual([
      ['Cats/x.jpg', 0],
      ['Cats/deep/z.webp', 0],
      ['Cats/deep-er/a.tif', 0],
      ['Cats/deep/more/q.bmp', 0],
      ['dogs/a.jpeg', 1],
      ['dogs/b.PNG', 1],
    ]);
  });

  it('gives decoded images and labels', async () => {
    const data = new ImageFolder(folder({ 'a/1.png': await png(10, 20, 30), 'b/1.png': await png(1, 2, 3) }));
    const [image, label] = (await data.get(1))!;
    expect([image.width, image.height, label]).toEqual([3, 2, 1]);
    expect([...image.data.subarray(0, 6)]).toEqual([1, 2, 3, 1, 2, 3]);
  });

  it('explains folders it cannot use', () => {
    expect(() => new ImageFolder(join(root, 'nowhere'))).toThrow('nowhere: no such folder');
    expect(() => new ImageFolder(folder({}))).toThrow(/has no class folders; expected one folder per class/);
    expect(() => new ImageFolder(folder({ '1.jpg': none }))).toThrow(
      /no class folders \(1 images lie directly in it; sort them into class folders\)/,
    );
    expect(() => new ImageFolder(folder({ 'train/a/1.jpg': none }))).toThrow(
      /only one class folder, train.*If train holds the class folders, give that folder/,
    );
    expect(() => new ImageFolder(folder({ 'a/1.jpg': none, 'b/': none, 'c/notes.txt': none }))).toThrow(
      /no images for classes b, c; put images there \(\.jpg .*\), remove the folder, or pass { allowEmpty: true }/,
    );
    const file = join(folder({ 'file.txt': none }), 'file.txt');
    expect(() => new ImageFolder(file)).toThrow('is a file; give the folder of class folders');
  });

  it('leaves out what no person meant as a class or an image, on request, and names it', () => {
    const files = { 'a/1.jpg': none, 'a/._1.jpg': none, 'b/2.jpg': none, 'b/Thumbs.db': none, 'c/': none };
    const base = folder({ ...files, '.ipynb_checkpoints/1.jpg': none, '__MACOSX/a/1.jpg': none });
    const data = new ImageFolder(base, { skipStray: true });
    expect([data.classes, data.samples.length]).toEqual([['a', 'b'], 2]);
    expect(data.stray).toEqual(['.ipynb_checkpoints', '__MACOSX', 'a/._1.jpg', 'b/Thumbs.db', 'c']);
    const all = new ImageFolder(base, { allowEmpty: true });
    expect([all.classes, all.stray]).toEqual([['.ipynb_checkpoints', '__MACOSX', 'a', 'b', 'c'], []]);
  });

  it('accepts empty classes on request, which keep their label', () => {
    const base = folder({ 'a/': none, 'b/1.jpg': none });
    const data = new ImageFolder(base, { allowEmpty: true });
    expect([data.classes, data.samples[0]![1]]).toEqual([['a', 'b'], 1]);
    const bare = folder({ 'a/': none, 'b/': none });
    expect(() => new ImageFolder(bare, { allowEmpty: true })).toThrow('no images for classes a, b');
  });

  it('follows links, leaves out broken ones, and ends in a loop of them', async () => {
    const shared = folder({ 'x.png': await png(4, 5, 6), 'more/y.png': await png(7, 8, 9) });
    const base = folder({ 'a/1.png': await png(1, 2, 3) });
    symlinkSync(shared, join(base, 'b'));
    symlinkSync(join(shared, 'x.png'), join(base, 'a', '2.png'));
    symlinkSync(join(shared, 'gone.png'), join(base, 'a', '3.png'));
    const data = new ImageFolder(base);
    expect(data.samples.map(([path, label]) => [path.slice(base.length + 1), label])).toEqual([
      ['a/1.png', 0],
      ['a/2.png', 0],
      ['b/x.png', 1],
      ['b/more/y.png', 1],
    ]);
    expect((await data.get(3))![0].data[0]).toBe(7);
    symlinkSync(base, join(base, 'a', 'loop'));
    expect(() => new ImageFolder(base)).toThrow(/nested too deep \(a link to itself\?\)/);
  });

  it('takes names of any script, sorted by code point as Python sorts them', async () => {
    const base = folder({
      '\u{1f41d}/\u{1f600}.png': await png(1, 1, 1),
      'ameise/\u00fc.png': none,
      '\uff21/b c.png': none,
    });
    const data = new ImageFolder(base);
    expect(data.classes).toEqual(['ameise', '\uff21', '\u{1f41d}']);
    expect((await data.get(2))![1]).toBe(2);
  });

  it('refuses pictures that unpack to too many pixels', async () => {
    const bomb = await sharp({ create: { width: 3000, height: 3000, channels: 3, background: 'black' } })
      .png()
      .toBuffer();
    const data = new ImageFolder(folder({ 'a/1.png': bomb, 'b/1.png': none }), { maxPixels: 1e6 });
    await expect(data.get(0)).rejects.toThrow(
      /a\/1\.png: .*3000 x 3000 pixels are more than maxPixels, 1000000/,
    );
  });

  it('names a damaged, cut off or empty file, or skips it and says so', async () => {
    const noise = Buffer.alloc(64 * 64 * 3, 0).map((_, i) => (i * 7919) % 251);
    const whole = await sharp(noise, { raw: { width: 64, height: 64, channels: 3 } })
      .jpeg()
      .toBuffer();
    const base = folder({
      'a/cut.jpg': whole.subarray(0, whole.length >> 1),
      'a/empty.jpg': none,
      'a/good.png': await png(1, 1, 1),
      'b/text.png': Buffer.from('not an image'),
    });
    const strict = new ImageFolder(base);
    await expect(strict.get(0)).rejects.toThrow(/a\/cut\.jpg: cannot decode this image .*onError: 'skip'/);
    await expect(strict.get(1)).rejects.toThrow('a/empty.jpg: the file is empty (0 bytes)');
    await expect(strict.get(3)).rejects.toThrow('b/text.png: cannot decode this image');

    const lenient = new ImageFolder(base, { onError: 'skip', transform: ({ width }) => width });
    const loader = new DataLoader(lenient, { batchSize: 4, collate: (samples) => samples });
    for await (const batch of loader) expect(batch).toEqual([[3, 0]]);
    expect([...lenient.skipped.keys()].map((path) => path.slice(base.length + 1)).sort()).toEqual([
      'a/cut.jpg',
      'a/empty.jpg',
      'b/text.png',
    ]);
  });
});

describe('decodeImage', () => {
  const colours = { r: 200, g: 100, b: 50 };
  const first = async (encoded: Uint8Array) => [...(await decodeImage(encoded)).data.subarray(0, 3)];

  it('drops alpha without blending', async () => {
    const background = { ...colours, alpha: 0.25 };
    const encoded = await sharp({ create: { width: 2, height: 2, channels: 4, background } })
      .png()
      .toBuffer();
    expect(await first(encoded)).toEqual([200, 100, 50]);
  });

  it('spreads grey and looks up palettes', async () => {
    const plain = sharp({ create: { width: 2, height: 2, channels: 3, background: colours } });
    expect(await first(await plain.clone().png({ palette: true }).toBuffer())).toEqual([200, 100, 50]);
    const grey = Buffer.from([90, 90, 90, 90]);
    const encoded = await sharp(grey, { raw: { width: 2, height: 2, channels: 1 } })
      .toColourspace('b-w')
      .png()
      .toBuffer();
    expect(await first(encoded)).toEqual([90, 90, 90]);
  });

  it('does not apply the EXIF orientation', async () => {
    const encoded = await sharp(await png(1, 2, 3))
      .withMetadata({ orientation: 6 })
      .jpeg()
      .toBuffer();
    const { width, height } = await decodeImage(encoded);
    expect([width, height]).toEqual([3, 2]);
  });

  it('names a file that is not there', async () => {
    await expect(readImage(join(root, 'no.png'))).rejects.toThrow('no.png: no such file');
  });

  it('says what to install when sharp is missing', () => {
    // A loader hook hides the package from a fresh process.
    const hook = `export const resolve = (name, context, next) => {
      if (name === 'sharp') throw new Error('not found');
      return next(name, context);
    };`;
    const script = `
      import { register } from 'node:module';
      register('data:text/javascript,' + encodeURIComponent(${JSON.stringify(hook)}));
      const { decodeImage } = await import(${JSON.stringify(new URL('../../src/data/node/image.ts', import.meta.url).href)});
      await decodeImage(Uint8Array.of(1)).catch((error) => console.log(error.message));
    `;
    const printed = execFileSync(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', script], {
      encoding: 'utf8',
    });
    expect(printed).toContain('reading image files needs the package sharp; run: npm install sharp');
  });
});
