import { readFile } from 'node:fs/promises';
import type { RGBImage } from '../host.js';

type Sharp = typeof import('sharp').default;

let loading: Promise<Sharp> | undefined;

/** Loads sharp on first use, so that only people who read image files need it. */
async function loadSharp(): Promise<Sharp> {
  loading ??= import('sharp').then(
    (module) => module.default,
    (cause: unknown) => {
      loading = undefined;
      throw new Error('reading image files needs the package sharp; run: npm install sharp', { cause });
    },
  );
  return loading;
}

/** Pillow's CMYK to RGB (`cmyk2rgb` in Convert.c): ink over white, without a colour profile. */
function cmykToRGB(inks: Uint8Array, area: number): Uint8Array {
  const data = new Uint8Array(area * 3);
  for (let i = 0; i < area; i++) {
    const white = 255 - inks[i * 4 + 3]!;
    for (let channel = 0; channel < 3; channel++) {
      // Pillow's MULDIV255: a * b / 255, rounded, in integers.
      const product = inks[i * 4 + channel]! * white + 128;
      data[i * 3 + channel] = white - (((product >> 8) + product) >> 8);
    }
  }
  return data;
}

/**
 * Decodes an encoded image (JPEG, PNG, WebP, TIFF, GIF: what sharp reads) to 8-bit RGB as torchvision's loader does, which is
 * Pillow's `convert('RGB')`: grey and palette images become RGB, alpha is dropped (not blended), CMYK is converted without a
 * profile, embedded colour profiles are ignored, and the EXIF orientation is NOT applied.
 * @param name used in errors
 * @throws Error naming the image when it is empty, damaged, cut off or of an unknown format, or when sharp is missing
 */
export async function decodeImage(encoded: Uint8Array, name = 'image'): Promise<RGBImage> {
  const sharp = await loadSharp();
  if (encoded.length === 0) throw new Error(`${name}: the file is empty (0 bytes)`);
  try {
    const image = sharp(encoded, { ignoreIcc: true, failOn: 'error' });
    const { space } = await image.metadata();
    const pipeline =
      space === 'cmyk'
        ? image.pipelineColourspace('cmyk').toColourspace('cmyk')
        : image.removeAlpha().toColourspace('srgb');
    const { data, info } = await pipeline.raw({ depth: 'uchar' }).toBuffer({ resolveWithObject: true });
    const { width, height, channels } = info;
    if (channels === 4) return { width, height, data: cmykToRGB(data, width * height) };
    if (channels !== 3) throw new Error(`decoded to ${channels} channels instead of 3`);
    return { width, height, data: new Uint8Array(data.buffer, data.byteOffset, data.length) };
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message.trim().split('\n')[0] : String(cause);
    throw new Error(`${name}: cannot decode this image (${reason})`, { cause });
  }
}

/** Reads and decodes an image file; see {@link decodeImage}. */
export async function readImage(path: string): Promise<RGBImage> {
  const encoded = await readFile(path).catch((cause: NodeJS.ErrnoException) => {
    throw new Error(`${path}: ${cause.code === 'ENOENT' ? 'no such file' : cause.message}`, { cause });
  });
  return decodeImage(encoded, path);
}
