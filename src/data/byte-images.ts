import type { HostBatch } from './collate.js';
import { checkIndex, type Dataset } from './dataset.js';
import { type HostArray, planesToImage, type RGBImage } from './host.js';
import type { ModuleExport } from './portable.js';
import { Random } from './random.js';
import type { TransformFunction } from './transforms.js';
import { byteMeaning } from '../ops/images/byte-table.js';
import { checkOptions } from '../tensor/options.js';

/** How stored bytes become a sample. */
export interface ByteImageOptions<Sample> {
  /** Per-channel statistics for (x / 255 - mean) / std; without it samples are x / 255. */
  readonly normalize?: { readonly mean: readonly number[]; readonly std: readonly number[] };
  /**
   * Augmentation done while the batch is built: mirror with probability 1/2, and shift by up to `padding`
   * pixels each way, filling with black (before normalisation), which is RandomCrop(size, {padding}) and
   * RandomHorizontalFlip().
   */
  readonly augment?: { readonly flip?: boolean; readonly padding?: number };
  /** Replaces the two options above by a transform of the image. */
  readonly transform?: TransformFunction<RGBImage, Sample>;
}

/**
 * Labelled colour or grey images of one size, held as bytes in planes (channel, row, column). A sample is
 * `[image, label]`; the image is float32 [channels, height, width] unless a `transform` says otherwise.
 */
export abstract class ByteImageDataset<Sample = HostArray<Float32Array>> implements Dataset<
  [Sample, number]
> {
  /** Class names, indexed by label. */
  abstract readonly classes: readonly string[];
  /** Number of images. */
  abstract readonly length: number;
  readonly getBatch?: (
    indices: readonly number[],
    random: (index: number) => Random,
  ) => HostBatch<[Sample, number]>;
  private readonly transform: TransformFunction<RGBImage, Sample> | undefined;
  private readonly table: Float32Array;
  private readonly flip: boolean;
  private readonly padding: number;

  protected constructor(
    /** Used in error messages. */
    protected readonly what: string,
    readonly width: number,
    readonly height: number,
    options: ByteImageOptions<Sample>,
    /** 3 planes, or 1 of grey levels. */
    readonly channels: 1 | 3 = 3,
  ) {
    checkOptions(what, options, 'normalize', 'augment', 'transform');
    const { normalize, augment, transform } = options;
    if (transform !== undefined && (normalize !== undefined || augment !== undefined)) {
      throw new Error(
        `${what}: give either \`transform\` or \`normalize\`/\`augment\`, not both; Compose([..., ToTensor, Normalize]) does it all in one transform`,
      );
    }
    this.transform = transform;
    const mean = normalize?.mean ?? Array<number>(channels).fill(0);
    const std = normalize?.std ?? Array<number>(channels).fill(1);
    this.table = new Float32Array(byteMeaning(what, channels, mean, std, 'float32').table.buffer);
    this.flip = augment?.flip ?? false;
    this.padding = augment?.padding ?? 0;
    if (!Number.isInteger(this.padding) || this.padding < 0) {
      throw new RangeError(`${what}: augment.padding must be a whole number of pixels, got ${this.padding}`);
    }
    if (transform === undefined) {
      this.getBatch = (indices, random) =>
        this.buildBatch(indices, random) as unknown as HostBatch<[Sample, number]>;
    }
  }

  /** The channels * height * width bytes of one image, in planes. Not a copy. */
  abstract bytes(index: number): Uint8Array;

  /** The class of one image, as an index into `classes`. */
  abstract label(index: number): number;

  source(): ModuleExport | undefined {
    return undefined;
  }

  settings(): readonly unknown[] {
    return [];
  }

  /** One image as interleaved pixels (a copy). */
  image(index: number): RGBImage {
    checkIndex(this.what, index, this.length);
    return planesToImage(this.bytes(index), this.width, this.height, this.channels);
  }

  get(index: number, random: Random = new Random(0, index)): [Sample, number] {
    checkIndex(this.what, index, this.length);
    if (this.transform !== undefined) return [this.transform(this.image(index), random), this.label(index)];
    const data = new Float32Array(this.channels * this.height * this.width);
    this.write(index, random, data, 0);
    // Without a transform, Sample is what this branch makes.
    return [
      { data, shape: [this.channels, this.height, this.width] } as unknown as Sample,
      this.label(index),
    ];
  }

  private buildBatch(
    indices: readonly number[],
    random: (index: number) => Random,
  ): [HostArray<Float32Array>, HostArray<Int32Array>] {
    const size = this.channels * this.height * this.width;
    const data = new Float32Array(indices.length * size);
    const labels = new Int32Array(indices.length);
    const augmented = this.flip || this.padding > 0;
    indices.forEach((index, position) => {
      checkIndex(this.what, index, this.length);
      this.write(index, augmented ? random(index) : undefined, data, position * size);
      labels[position] = this.label(index);
    });
    return [
      { data, shape: [indices.length, this.channels, this.height, this.width] },
      { data: labels, shape: [indices.length] },
    ];
  }

  /** Writes one augmented and normalised image to `out` from `offset` on. */
  private write(index: number, random: Random | undefined, out: Float32Array, offset: number): void {
    const { width, height, table, padding } = this;
    const source = this.bytes(index);
    let down = 0;
    let right = 0;
    let mirrored = false;
    if (random !== undefined) {
      if (padding > 0) {
        down = random.integer(2 * padding + 1) - padding;
        right = random.integer(2 * padding + 1) - padding;
      }
      mirrored = this.flip && random.chance(0.5);
    }
    const step = mirrored ? -1 : 1;
    let to = offset;
    for (let channel = 0; channel < this.channels; channel++) {
      const entries = channel * 256;
      const black = table[entries]!;
      for (let y = 0; y < height; y++) {
        const sourceY = y + down;
        if (sourceY < 0 || sourceY >= height) {
          out.fill(black, to, to + width);
          to += width;
          continue;
        }
        const row = (channel * height + sourceY) * width;
        let sourceX = (mirrored ? width - 1 : 0) + right;
        for (let x = 0; x < width; x++, sourceX += step) {
          out[to++] = sourceX < 0 || sourceX >= width ? black : table[entries + source[row + sourceX]!]!;
        }
      }
    }
  }
}
