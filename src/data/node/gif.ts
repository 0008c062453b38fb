import type { RGBImage } from '../host.js';

/**
 * The first frame of a GIF (CompuServe, GIF89a specification) as Pillow's `convert('RGB')` gives it: the
 * transparent index keeps its colour, and what the frame does not cover has the screen's background colour.
 * libvips makes such pixels black or white.
 *
 * @throws Error when the file is cut off or damaged, or has more than `maxPixels` pixels
 */
export function decodeGIF(bytes: Uint8Array, maxPixels: number): RGBImage {
  let at = 0;
  const need = (count: number): void => {
    if (at + count > bytes.length) throw new Error('the GIF file is cut off');
  };
  const byte = (): number => {
    need(1);
    return bytes[at++]!;
  };
  const word = (): number => byte() | (byte() << 8);
  const table = (packed: number): Uint8Array => {
    const length = 3 * 2 ** ((packed & 7) + 1);
    need(length);
    at += length;
    return bytes.subarray(at - length, at);
  };
  const skipBlocks = (): void => {
    for (let length = byte(); length > 0; length = byte()) {
      need(length);
      at += length;
    }
  };

  at = 6;
  const width = word();
  const height = word();
  if (width * height > maxPixels) {
    throw new Error(`${width} x ${height} pixels are more than maxPixels, ${maxPixels}`);
  }
  if (width === 0 || height === 0) throw new Error(`the GIF's screen is ${width} x ${height} pixels`);
  const packed = byte();
  const background = byte();
  byte();
  const globalColors = (packed & 0x80) !== 0 ? table(packed) : null;
  let transparent = -1;
  for (let block = byte(); block !== 0x2c; block = byte()) {
    if (block === 0x3b) throw new Error('the GIF file holds no picture');
    if (block !== 0x21) throw new Error(`the GIF file is damaged (block type ${block})`);
    if (byte() === 0xf9 && bytes[at] === 4) {
      need(5);
      transparent = (bytes[at + 1]! & 1) !== 0 ? bytes[at + 4]! : -1;
    }
    skipBlocks();
  }
  const left = word();
  const top = word();
  const frameWidth = word();
  const frameHeight = word();
  const flags = byte();
  const colors = (flags & 0x80) !== 0 ? table(flags) : globalColors;
  const indices = unpack(byte, frameWidth * frameHeight, maxPixels);

  const data = new Uint8Array(width * height * 3);
  // Pillow fills the screen with the transparent index where there is one.
  const empty = transparent >= 0 ? transparent : background;
  const paint = (pixel: number, index: number): void => {
    // Without a table, indices are grey levels.
    for (let c = 0; c < 3; c++) data[pixel * 3 + c] = colors === null ? index : (colors[index * 3 + c] ?? 0);
  };
  const covered = left === 0 && top === 0 && frameWidth >= width && frameHeight >= height;
  if (!covered) for (let pixel = 0; pixel < width * height; pixel++) paint(pixel, empty);
  const rows = (flags & 0x40) !== 0 ? interlacedRows(frameHeight) : null;
  for (let line = 0; line < frameHeight; line++) {
    const y = top + (rows === null ? line : rows[line]!);
    if (y >= height) continue;
    for (let x = 0; x < frameWidth && left + x < width; x++) {
      paint(y * width + left + x, indices[line * frameWidth + x]!);
    }
  }
  return { width, height, data };
}

/** In which order an interlaced picture's rows come. */
function interlacedRows(height: number): number[] {
  const passes = [
    [0, 8],
    [4, 8],
    [2, 4],
    [1, 2],
  ] as const;
  return passes.flatMap(([first, step]) =>
    Array.from({ length: Math.max(Math.ceil((height - first) / step), 0) }, (_, i) => first + i * step),
  );
}

/** Undoes GIF's variable-length LZW. */
function unpack(byte: () => number, count: number, maxPixels: number): Uint8Array {
  if (count > maxPixels) throw new Error(`a frame of ${count} pixels is more than maxPixels, ${maxPixels}`);
  const firstBits = byte();
  if (firstBits < 1 || firstBits > 11) throw new Error(`the GIF file is damaged (code size ${firstBits})`);
  const clear = 1 << firstBits;
  const end = clear + 1;
  const prefix = new Int16Array(4096);
  const suffix = new Uint8Array(4096);
  const lengths = new Uint16Array(4096);
  for (let code = 0; code < clear; code++) {
    suffix[code] = code;
    lengths[code] = 1;
  }
  const out = new Uint8Array(count);
  let written = 0;
  let bits = firstBits + 1;
  let free = end + 1;
  let previous = -1;
  let buffer = 0;
  let available = 0;
  let left = byte();
  const read = (): number => {
    while (available < bits) {
      if (left === 0) throw new Error('the GIF picture is cut off');
      buffer |= byte() << available;
      available += 8;
      if (--left === 0) left = byte();
    }
    const code = buffer & ((1 << bits) - 1);
    buffer >>>= bits;
    available -= bits;
    return code;
  };
  /** Writes the string of a code, back to front, and returns its first element. */
  const write = (code: number): number => {
    const length = lengths[code]!;
    let first = 0;
    for (let i = length - 1, each = code; i >= 0; i--, each = prefix[each]!) {
      first = suffix[each]!;
      if (written + i < count) out[written + i] = first;
    }
    written += length;
    return first;
  };
  while (written < count) {
    const code = read();
    if (code === end) throw new Error('the GIF picture ends too early');
    if (code === clear) {
      bits = firstBits + 1;
      free = end + 1;
      previous = -1;
      continue;
    }
    if (code > free || (code === free && previous < 0)) throw new Error('the GIF picture is damaged');
    if (previous >= 0 && free < 4096) {
      prefix[free] = previous;
      lengths[free] = lengths[previous]! + 1;
      let first = code === free ? previous : code;
      while (first >= clear) first = prefix[first]!;
      suffix[free] = first;
      free++;
      if (free === 1 << bits && bits < 12) bits++;
    } else if (code >= free) {
      throw new Error('the GIF picture is damaged');
    }
    write(code);
    previous = code;
  }
  return out;
}
