/**
 * Images as one block of words, to be uploaded in one piece and read by `bytes.ts`: a table of the floats
 * that bytes stand for, a place for each image, and the images' bytes without gaps. It is made on the host,
 * in a worker thread if there is one.
 */

/** A rectangle in pixels; it may leave the image. */
export interface Box {
  readonly top: number;
  readonly left: number;
  readonly height: number;
  readonly width: number;
}

/** How an image comes into a batch. */
export interface PlacedImage {
  /** Rows of pixels, channels innermost, `width` pixels apart. */
  readonly data: Uint8Array;
  readonly width: number;
  /** What is seen of the image: inside it. */
  readonly window: Box;
  /** What becomes the result, in the image's coordinates; outside the window it is `fill`. */
  readonly box: Box;
  /** Left and right are exchanged in the result. */
  readonly mirrored: boolean;
  /** Top and bottom are exchanged in the result. */
  readonly upsideDown: boolean;
  /** A byte for each channel. */
  readonly fill: readonly number[];
}

/** What bytes become. */
export interface ByteMeaning {
  /** For channel c and byte b, at c * 256 + b: the bits of a float32, or of a float16 in the lower half. */
  readonly table: Uint32Array;
  readonly dtype: 'float32' | 'float16';
}

/** A batch that is not on the device yet. */
export interface PackedImages {
  /** The table, {@link placeWords} words for each image, and the bytes. */
  readonly packed: Uint32Array;
  /** Of the batch: n, channels, height, width. */
  readonly shape: readonly [n: number, c: number, h: number, w: number];
  readonly dtype: 'float32' | 'float16';
}

/**
 * Words of an image's place: first byte, counted from the start of the block; height and width in pixels; row
 * and column of the result's upper left corner, signed; flags; fill, channel c at bit 8 c; nothing.
 */
export const placeWords = 8;

export const isPackedImages = (value: unknown): value is PackedImages =>
  typeof value === 'object' && value !== null && 'packed' in value && value.packed instanceof Uint32Array;

/** Of so many channels, a table's words. */
export const tableWords = (channels: number): number => 256 * channels;

/**
 * For channel c and byte b, at c * 256 + b: (b / 255 - mean) / std, rounded to float32 after each step.
 */
export function byteTable(mean: readonly number[], std: readonly number[]): Float32Array {
  return Float32Array.from({ length: tableWords(mean.length) }, (_, i) => {
    const channel = i >> 8;
    const value = Math.fround((i & 255) / 255);
    return Math.fround(value - Math.fround(mean[channel]!)) / Math.fround(std[channel]!);
  });
}

/** The part that two boxes share, of no height and width where there is none. */
export function intersection(a: Box, b: Box): Box {
  const top = Math.max(a.top, b.top);
  const left = Math.max(a.left, b.left);
  const height = Math.min(a.top + a.height, b.top + b.height) - top;
  const width = Math.min(a.left + a.width, b.left + b.width) - left;
  if (height <= 0 || width <= 0) return { top, left, height: 0, width: 0 };
  return { top, left, height, width };
}

/** Packs images whose boxes are of one size. Only what is seen of them is copied. */
export function packImages(images: readonly PlacedImage[], meaning: ByteMeaning): PackedImages {
  const { table, dtype } = meaning;
  const channels = table.length / 256;
  const { height, width } = images[0]!.box;
  const seen = images.map(({ window, box }) => intersection(window, box));
  const head = table.length + placeWords * images.length;
  const bytes = seen.reduce((sum, part) => sum + part.height * part.width, 0) * channels;
  const packed = new Uint32Array(head + Math.ceil(bytes / 4));
  packed.set(table);
  const target = new Uint8Array(packed.buffer);
  let to = 4 * head;
  images.forEach(({ data, width: rowLength, box, mirrored, upsideDown, fill }, i) => {
    const part = seen[i]!;
    const color = fill.reduce((word, byte, channel) => word | (byte << (8 * channel)), 0);
    const flags = (mirrored ? 1 : 0) | (upsideDown ? 2 : 0);
    const corner = [box.top - part.top, box.left - part.left];
    packed.set([to, part.height, part.width, ...corner, flags, color, 0], table.length + placeWords * i);
    for (let y = 0; y < part.height; y++) {
      const from = ((part.top + y) * rowLength + part.left) * channels;
      target.set(data.subarray(from, from + part.width * channels), to);
      to += part.width * channels;
    }
  });
  return { packed, shape: [images.length, channels, height, width], dtype };
}
