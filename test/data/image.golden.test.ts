import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import sharp from 'sharp';
import { describe, expect, it } from 'vitest';
import { decodeImage } from '../../src/data/node/index.js';

interface Golden {
  name: string;
  size: [width: number, height: number];
  sha256: string;
  file: string;
}

const golden = JSON.parse(readFileSync(new URL('fixtures/images.json', import.meta.url), 'utf8')) as Golden[];
const file = (name: string): Buffer => Buffer.from(golden.find((each) => each.name === name)!.file, 'base64');

describe("decodeImage gives what torchvision's loader gives", () => {
  it.each(golden.map((each) => [each.name, each] as const))('%s', async (name, { size, sha256 }) => {
    const { width, height, data } = await decodeImage(file(name), name);
    expect([width, height]).toEqual(size);
    expect(createHash('sha256').update(data).digest('hex').slice(0, 24)).toBe(sha256);
  });
});

describe('decodeImage', () => {
  it('turns a picture by its EXIF orientation only when asked to', async () => {
    const plain = await decodeImage(file('exif-6.jpg'));
    const turned = await decodeImage(file('exif-6.jpg'), 'x', { exifOrientation: true });
    expect([turned.width, turned.height]).toEqual([plain.height, plain.width]);
    // Orientation 6: the first row is the picture's right edge.
    expect([...turned.data.subarray((turned.width - 1) * 3, turned.width * 3)]).toEqual([
      ...plain.data.subarray(0, 3),
    ]);
  });

  it('keeps the upper byte of 16-bit grey', async () => {
    const levels = new Uint16Array([0, 255, 256, 0x80ff, 0xffff]);
    const encoded = await sharp(levels, { raw: { width: 5, height: 1, channels: 1 } })
      .toColourspace('grey16')
      .png()
      .toBuffer();
    const { data } = await decodeImage(encoded);
    expect([...data].filter((_, i) => i % 3 === 0)).toEqual([0, 0, 1, 128, 255]);
  });

  it.each(golden.map(({ name }) => name).filter((name) => !/^(plain|animated)/.test(name)))(
    'says that %s is cut off, and names it',
    async (name) => {
      const whole = file(name);
      for (const part of [0.3, 0.6]) {
        const cut = whole.subarray(0, Math.floor(whole.length * part));
        await expect(decodeImage(cut, `pets/${name}`)).rejects.toThrow(
          /^pets\/.*: cannot decode this image \(/,
        );
      }
    },
  );

  it.each(['444.jpg', 'rgb.png', 'lossy.webp', 'palette.bmp', 'animated.gif', 'rgb.ppm'])(
    'refuses more pixels than allowed in %s before decoding',
    async (name) => {
      await expect(decodeImage(file(name), name, { maxPixels: 100 })).rejects.toThrow(
        /23 x 17 pixels are more than maxPixels, 100/,
      );
    },
  );

  it('refuses damaged files of its own formats', async () => {
    const gif = file('palette.bmp').subarray(0);
    const damaged = Buffer.from(file('transparent.gif'));
    damaged.fill(0xff, damaged.length - 60, damaged.length - 10);
    await expect(decodeImage(damaged, 'a.gif')).rejects.toThrow(
      /a\.gif: cannot decode .*(damaged|early|cut off)/,
    );
    const compressed = Buffer.from(gif);
    compressed.writeUInt32LE(1, 30);
    await expect(decodeImage(compressed, 'a.bmp')).rejects.toThrow(
      /compression 1 are not read; save it as PNG/,
    );
    await expect(decodeImage(Buffer.from('P6\nx 3 255\n'), 'a.ppm')).rejects.toThrow('a number is expected');
  });
});
