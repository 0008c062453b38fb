import { noMore } from '../../tensor/options.js';
import { readFile } from 'node:fs/promises';
import type { Sharp, SharpOptions } from 'sharp';
import type { RGBImage } from '../host.js';
import { decodeGIF } from './gif.js';
import { decodeBMP, decodePNM } from './plain-images.js';

type SharpModule = typeof import('sharp').default;

let loading: Promise<SharpModule> | undefined;

/** Loads sharp on first use, so that only people who read image files need it. */
async function loadSharp(): Promise<SharpModule> {
  loading ??= import('sharp').then(
    (module) => module.default,
    (cause: unknown) => {
      loading = undefined;
      throw new Error('reading image files needs the package sharp; run: npm install sharp', { cause });
    },
  );
  return loading;
}

/** How image files are read. */
export interface ImageOptions {
  /**
   * Turns the picture as its EXIF orientation says, as viewers do. Default false: torchvision's loader does
   * not, and neither did what its networks were trained on.
   */
  readonly exifOrientation?: boolean;
  /** Refuses pictures of more pixels before decoding them. Default 178,956,970 (Pillow's error limit). */
  readonly maxPixels?: number;
}

/**
 * Twice Pillow's `MAX_IMAGE_PIXELS`, where it turns from a warning to an error: a quarter of a gigabyte as
 * RGB, doubled.
 */
export const defaultMaxPixels = 2 * Math.floor((1024 * 1024 * 1024) / 4 / 3);

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

async function rawRGB(image: Sharp, space: string | undefined): Promise<RGBImage> {
  const pipeline =
    space === 'cmyk'
      ? image.pipelineColourspace('cmyk').toColourspace('cmyk')
      : image.removeAlpha().toColourspace('srgb');
  const { data, info } = await pipeline.raw({ depth: 'uchar' }).toBuffer({ resolveWithObject: true });
  const { width, height, channels } = info;
  if (channels === 4) return { width, height, data: cmykToRGB(data, width * height) };
  if (channels !== 3) throw new Error(`decoded to ${channels} channels instead of 3`);
  return { width, height, data: new Uint8Array(data.buffer, data.byteOffset, data.length) };
}

function startsWith(bytes: Uint8Array, text: string): boolean {
  return text.length <= bytes.length && [...text].every((letter, i) => bytes[i] === letter.charCodeAt(0));
}

/** The formats that sharp does not read, or not as Pillow does; null leaves the file to sharp. */
function decodeHere(encoded: Uint8Array, maxPixels: number): RGBImage | null {
  if (startsWith(encoded, 'BM')) return decodeBMP(encoded, maxPixels);
  if (startsWith(encoded, 'GIF8')) return decodeGIF(encoded, maxPixels);
  if (encoded[0] === 0x50 && encoded[1]! >= 0x31 && encoded[1]! <= 0x36) return decodePNM(encoded, maxPixels);
  return null;
}

/**
 * Decodes an encoded image (JPEG, PNG, WebP, TIFF, the first frame of a GIF, BMP, PPM/PGM/PBM) to 8-bit RGB
 * as torchvision's loader does, which is Pillow's `convert('RGB')`: grey and palette images become RGB, alpha
 * and transparent colours are dropped (not blended), CMYK is converted without a profile, embedded colour
 * profiles are ignored, and the EXIF orientation is not applied unless asked for. One difference: of 16-bit
 * grey PNGs the upper byte is kept, where Pillow turns everything from 255 on to white.
 *
 * @param name used in errors
 * @throws Error naming the image when it is empty, damaged, cut off, too large or of an unknown format, or
 * when sharp is missing
 */
export async function decodeImage(
  encoded: Uint8Array,
  name = 'image',
  options: ImageOptions = {},
): Promise<RGBImage> {
  noMore('decodeImage', arguments, 3);
  const { exifOrientation = false, maxPixels = defaultMaxPixels } = options;
  if (encoded.length === 0) throw new Error(`${name}: the file is empty (0 bytes)`);
  const fail = (cause: unknown): never => {
    const reason = cause instanceof Error ? cause.message.trim().split('\n')[0] : String(cause);
    throw new Error(`${name}: cannot decode this image (${reason})`, { cause });
  };
  try {
    const image = decodeHere(encoded, maxPixels);
    if (image !== null) return image;
  } catch (cause) {
    return fail(cause);
  }
  const sharp = await loadSharp();
  try {
    const settings: SharpOptions = { ignoreIcc: true, failOn: 'error', limitInputPixels: false };
    const image = sharp(encoded, settings);
    const { space, width, height } = await image.metadata();
    if (width * height > maxPixels) {
      throw new Error(
        `${width} x ${height} pixels are more than maxPixels, ${maxPixels}; a small file that unpacks to so many may be meant as an attack`,
      );
    }
    return await rawRGB(exifOrientation ? image.autoOrient() : image, space);
  } catch (cause) {
    return fail(cause);
  }
}

/** Reads and decodes an image file; see {@link decodeImage}. */
export async function readImage(path: string, options: ImageOptions = {}): Promise<RGBImage> {
  noMore('readImage', arguments, 2);
  const encoded = await readFile(path).catch((cause: NodeJS.ErrnoException) => {
    throw new Error(`${path}: ${cause.code === 'ENOENT' ? 'no such file' : cause.message}`, { cause });
  });
  return decodeImage(encoded, path, options);
}
