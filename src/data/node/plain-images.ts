/**
 * Image files without compression, which torchvision's ImageFolder counts as images and sharp does not read.
 */

import type { RGBImage } from '../host.js';

function checkSize(width: number, height: number, maxPixels: number): void {
  if (!(width > 0 && height > 0)) throw new Error(`a picture of ${width} x ${height} pixels`);
  if (width * height > maxPixels) {
    throw new Error(`${width} x ${height} pixels are more than maxPixels, ${maxPixels}`);
  }
}

/**
 * PPM, PGM and PBM, plain (P1 to P3) and raw (P4 to P6), of the Netpbm specification. Values are scaled to 0
 * ... 255.
 *
 * @throws Error when the file is cut off or damaged, or has more than `maxPixels` pixels
 */
export function decodePNM(bytes: Uint8Array, maxPixels: number): RGBImage {
  const type = bytes[1]! - 0x30;
  let at = 2;
  const isSpace = (value: number): boolean => value === 32 || (value >= 9 && value <= 13);
  const integer = (single = false): number => {
    for (;;) {
      const value = bytes[at];
      if (value === undefined) throw new Error('the file is cut off');
      if (value === 0x23) while (at < bytes.length && bytes[at] !== 10 && bytes[at] !== 13) at++;
      else if (isSpace(value)) at++;
      else break;
    }
    let number = 0;
    let digits = 0;
    for (; bytes[at]! >= 0x30 && bytes[at]! <= 0x39 && !(single && digits === 1); at++, digits++) {
      number = number * 10 + bytes[at]! - 0x30;
    }
    if (digits === 0) throw new Error(`a number is expected at byte ${at}`);
    return number;
  };
  const width = integer();
  const height = integer();
  checkSize(width, height, maxPixels);
  const bitmap = type === 1 || type === 4;
  const most = bitmap ? 1 : integer();
  if (most < 1 || most > 65535) throw new Error(`a largest value of ${most}`);
  const channels = type === 3 || type === 6 ? 3 : 1;
  if (type > 3) at++;
  const perRow = bitmap ? Math.ceil(width / 8) : width * channels * (most > 255 ? 2 : 1);
  if (type > 3 && at + perRow * height > bytes.length) throw new Error('the file is cut off');

  const value = (y: number, i: number): number => {
    if (type === 1) return 1 - integer(true);
    if (type < 4) return integer();
    const row = at + y * perRow;
    if (type === 4) return 1 - ((bytes[row + (i >> 3)]! >> (7 - (i & 7))) & 1);
    return most > 255 ? (bytes[row + 2 * i]! << 8) | bytes[row + 2 * i + 1]! : bytes[row + i]!;
  };
  const data = new Uint8Array(width * height * 3);
  for (let y = 0, to = 0; y < height; y++) {
    for (let i = 0; i < width * channels; i++) {
      const level = Math.min(most === 255 ? value(y, i) : Math.round((value(y, i) / most) * 255), 255);
      data[to++] = level;
      if (channels === 1) {
        data[to++] = level;
        data[to++] = level;
      }
    }
  }
  return { width, height, data };
}

/** Shift and largest value of the channel that a mask cuts out of a pixel. */
function field(mask: number): { shift: number; most: number } {
  let shift = 0;
  while (shift < 32 && ((mask >>> shift) & 1) === 0) shift++;
  return { shift, most: shift < 32 ? mask >>> shift : 0 };
}

/**
 * Windows and OS/2 bitmaps without compression: 1, 4 and 8 bits with a palette, 16, 24 and 32 bits. Alpha is
 * dropped.
 *
 * @throws Error when the file is cut off, compressed or damaged, or has more than `maxPixels` pixels
 */
export function decodeBMP(bytes: Uint8Array, maxPixels: number): RGBImage {
  if (bytes.length < 26) throw new Error('the BMP file is cut off');
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const pixels = view.getUint32(10, true);
  const headerSize = view.getUint32(14, true);
  const old = headerSize === 12;
  if (!old && (headerSize < 40 || bytes.length < 14 + headerSize))
    throw new Error('the BMP header is damaged');
  const width = old ? view.getUint16(18, true) : view.getInt32(18, true);
  const signedHeight = old ? view.getInt16(20, true) : view.getInt32(22, true);
  const height = Math.abs(signedHeight);
  checkSize(width, height, maxPixels);
  const bits = view.getUint16(old ? 24 : 28, true);
  const compression = old ? 0 : view.getUint32(30, true);
  if (![1, 4, 8, 16, 24, 32].includes(bits) || (compression !== 0 && compression !== 3)) {
    throw new Error(
      `BMP files of ${bits} bits with compression ${compression} are not read; save it as PNG or without compression`,
    );
  }
  const perRow = Math.ceil((width * bits) / 32) * 4;
  if (pixels + perRow * height > bytes.length) throw new Error('the BMP file is cut off');

  const palette = 14 + headerSize;
  const entry = old ? 3 : 4;
  const masks =
    compression === 3
      ? [view.getUint32(54, true), view.getUint32(58, true), view.getUint32(62, true)]
      : [0x7c00, 0x3e0, 0x1f];
  const fields = masks.map(field);
  const data = new Uint8Array(width * height * 3);
  for (let y = 0, to = 0; y < height; y++) {
    const row = pixels + (signedHeight < 0 ? y : height - 1 - y) * perRow;
    for (let x = 0; x < width; x++, to += 3) {
      let from = row + (x * bits) / 8;
      if (bits <= 8) {
        const perByte = 8 / bits;
        const packed = bytes[row + Math.floor(x / perByte)]!;
        const index = (packed >> (bits * (perByte - 1 - (x % perByte)))) & ((1 << bits) - 1);
        from = palette + index * entry;
      } else if (bits === 16 || compression === 3) {
        const pixel = bits === 16 ? view.getUint16(from, true) : view.getUint32(from, true);
        fields.forEach(({ shift, most }, channel) => {
          const level = (pixel >>> shift) & most;
          data[to + channel] = most === 255 ? level : most === 0 ? 0 : Math.trunc((level * 255) / most);
        });
        continue;
      }
      data[to] = bytes[from + 2] ?? 0;
      data[to + 1] = bytes[from + 1] ?? 0;
      data[to + 2] = bytes[from] ?? 0;
    }
  }
  return { width, height, data };
}
