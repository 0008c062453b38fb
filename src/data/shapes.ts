import { noMore } from '../tensor/options.js';
import { ByteImageDataset, type ByteImageOptions } from './byte-images.js';
import type { HostArray } from './host.js';
import { exportedClass, type ModuleExport } from './portable.js';
import { Random } from './random.js';
import { baseOutlines, novelOutlines, type Outline } from './shapes/outlines.js';
import { renderShape } from './shapes/render.js';

export interface ShapesOptions<Sample> extends ByteImageOptions<Sample> {
  /**
   * `base`: ten shapes to pretrain on. `novel`: five other shapes, none of them in `base`, to fine-tune on.
   */
  readonly classes: 'base' | 'novel';
  /** Images per class. */
  readonly perClass: number;
  /**
   * Different seeds give independent images of the same classes, so a test set is another seed. 0 unless
   * told.
   */
  readonly seed?: number;
  /** Pixels along each side. 32 unless told. */
  readonly size?: number;
}

/** Keeps the streams of the two worlds apart under one seed. */
const worldNumber = { base: 0, novel: 1 } as const;

/** Per-channel mean and standard deviation of the base world in 0 ... 1. */
export const shapesStatistics = { mean: [0.473, 0.473, 0.473], std: [0.283, 0.283, 0.283] } as const;

/**
 * A world of small synthetic photographs: one textured shape per image, whose class is its outline. Place,
 * size, rotation, colours, texture, background, lighting and clutter vary freely and say nothing about the
 * class. Images are drawn on first use and then kept; each depends only on (seed, class, number), and its
 * bytes are the same on every platform. Samples are `[float32 [3, size, size], label]`, ordered class by
 * class.
 */
export class ShapesDataset<Sample = HostArray<Float32Array>> extends ByteImageDataset<Sample> {
  readonly classes: readonly string[];
  readonly length: number;
  readonly perClass: number;
  readonly seed: number;
  private readonly world: 'base' | 'novel';
  private readonly outlines: readonly Outline[];
  private readonly store: Uint8Array;
  private readonly drawn: Uint8Array;
  private readonly options: ShapesOptions<Sample>;

  constructor(options: ShapesOptions<Sample>) {
    noMore(new.target.name, arguments, 1);
    const { classes, perClass, seed = 0, size = 32, ...images } = options;
    if (!Number.isInteger(size) || size < 8) {
      throw new RangeError(`ShapesDataset: size must be an integer of at least 8 pixels, got ${size}`);
    }
    if (!Number.isInteger(perClass) || perClass < 1) {
      throw new RangeError(`ShapesDataset: perClass must be a positive integer, got ${perClass}`);
    }
    super('ShapesDataset', size, size, images);
    if (classes !== 'base' && classes !== 'novel') {
      throw new Error(`ShapesDataset: classes must be 'base' or 'novel', got ${JSON.stringify(classes)}`);
    }
    const table: Record<string, Outline> = classes === 'base' ? baseOutlines : novelOutlines;
    this.world = classes;
    this.classes = Object.keys(table);
    this.outlines = Object.values(table);
    this.perClass = perClass;
    this.seed = seed;
    this.length = this.classes.length * perClass;
    this.store = new Uint8Array(this.length * 3 * size * size);
    this.drawn = new Uint8Array(this.length);
    this.options = options;
  }

  override source(): ModuleExport | undefined {
    return exportedClass(this, ShapesDataset, import.meta.url, 'ShapesDataset');
  }

  override settings(): readonly unknown[] {
    return [this.options];
  }

  override bytes(index: number): Uint8Array {
    const count = 3 * this.width * this.height;
    const pixels = this.store.subarray(index * count, (index + 1) * count);
    if (this.drawn[index] === 0) {
      const label = this.label(index);
      const random = new Random(this.seed, worldNumber[this.world], label, index % this.perClass);
      renderShape(this.outlines[label]!, random, this.width, pixels);
      this.drawn[index] = 1;
    }
    return pixels;
  }

  override label(index: number): number {
    return Math.floor(index / this.perClass);
  }
}
