import type { HostArray, RGBImage } from '../host.js';
import { roundHalfEven } from '../pixels/boxes.js';
import type { Random } from '../random.js';
import { checkProbability, checkRange, type Range, Transform } from './base.js';
import { checkOptions, noMore } from '../../tensor/options.js';

/** torchvision's `ToTensor`: float32 planes [3, height, width] in 0 ... 1. */
export class ToTensor extends Transform<RGBImage, HostArray<Float32Array>> {
  override forward({ width, height, data: pixels }: RGBImage): HostArray<Float32Array> {
    const area = width * height;
    const data = new Float32Array(area * 3);
    for (let i = 0, from = 0; i < area; i++) {
      data[i] = pixels[from++]! / 255;
      data[area + i] = pixels[from++]! / 255;
      data[2 * area + i] = pixels[from++]! / 255;
    }
    return { data, shape: [3, height, width] };
  }
}

/** torchvision's `Normalize`: (x - mean[channel]) / std[channel] on [channels, height, width]. */
export class Normalize extends Transform<HostArray<Float32Array>, HostArray<Float32Array>> {
  constructor(
    readonly mean: readonly number[],
    readonly std: readonly number[],
  ) {
    noMore(new.target.name, arguments, 2);
    super();
    if (!Array.isArray(mean) || !Array.isArray(std) || mean.length !== std.length) {
      throw new Error(
        `Normalize: mean and std must be lists of one length, got ${String(mean)} and ${String(std)}`,
      );
    }
    if (std.some((value) => !(value > 0))) {
      throw new Error(`Normalize: standard deviations must be positive, got [${std.join(', ')}]`);
    }
  }

  override settings(): readonly unknown[] {
    return [this.mean, this.std];
  }

  override forward({ data: source, shape }: HostArray<Float32Array>): HostArray<Float32Array> {
    const channels = shape[0];
    if (shape.length !== 3 || channels !== this.mean.length) {
      throw new Error(
        `Normalize: expected [${this.mean.length}, height, width], got [${shape.join(', ')}]; put ToTensor before it`,
      );
    }
    const area = source.length / channels;
    const data = new Float32Array(source.length);
    for (let channel = 0; channel < channels; channel++) {
      const mean = Math.fround(this.mean[channel]!);
      const std = Math.fround(this.std[channel]!);
      const end = (channel + 1) * area;
      for (let i = channel * area; i < end; i++) data[i] = Math.fround(source[i]! - mean) / std;
    }
    return { data, shape };
  }
}

export interface RandomErasingOptions {
  /** Default 0.5. */
  readonly p?: number;
  /** Erased share of the area. Default [0.02, 0.33]. */
  readonly scale?: Range;
  /** Height / width of the box. Default [0.3, 3.3]. */
  readonly ratio?: Range;
  /** What the box is filled with: a number, one per channel, or normally distributed noise. Default 0. */
  readonly value?: number | readonly number[] | 'random';
}

/**
 * torchvision's `RandomErasing` (Zhong et al., "Random Erasing Data Augmentation", AAAI 2020): overwrites a
 * random box of a [channels, height, width] array. It stands after `ToTensor`, usually after `Normalize`.
 */
export class RandomErasing extends Transform<HostArray<Float32Array>, HostArray<Float32Array>> {
  readonly p: number;
  readonly scale: Range;
  readonly ratio: Range;
  readonly value: number | readonly number[] | 'random';

  constructor(options: RandomErasingOptions = {}) {
    noMore(new.target.name, arguments, 1);
    super();
    checkOptions('RandomErasing', options, 'p', 'scale', 'ratio', 'value');
    this.p = checkProbability('RandomErasing', options.p ?? 0.5);
    this.scale = checkRange('RandomErasing: scale', options.scale ?? [0.02, 0.33], 0, 1);
    this.ratio = checkRange('RandomErasing: ratio', options.ratio ?? [0.3, 3.3], Number.MIN_VALUE);
    this.value = options.value ?? 0;
  }

  override settings(): readonly unknown[] {
    return [{ p: this.p, scale: this.scale, ratio: this.ratio, value: this.value }];
  }

  override forward(input: HostArray<Float32Array>, random: Random): HostArray<Float32Array> {
    const [channels, height, width] = input.shape;
    if (input.shape.length !== 3 || channels === undefined || height === undefined || width === undefined) {
      throw new Error(
        `RandomErasing: expected [channels, height, width], got [${input.shape.join(', ')}]; put ToTensor before it`,
      );
    }
    const { value } = this;
    if (typeof value === 'object' && value.length !== 1 && value.length !== channels) {
      throw new Error(`RandomErasing: ${value.length} values for ${channels} channels`);
    }
    if (!random.chance(this.p)) return input;
    const [low, high] = this.ratio.map(Math.log);
    for (let attempt = 0; attempt < 10; attempt++) {
      const area = height * width * random.uniform(...this.scale);
      const ratio = Math.exp(random.uniform(low!, high!));
      const h = roundHalfEven(Math.sqrt(area * ratio));
      const w = roundHalfEven(Math.sqrt(area / ratio));
      if (h >= height || w >= width) continue;
      const top = random.integer(height - h + 1);
      const left = random.integer(width - w + 1);
      const data = input.data.slice();
      for (let channel = 0; channel < channels; channel++) {
        for (let y = top; y < top + h; y++) {
          const start = (channel * height + y) * width + left;
          if (value === 'random') {
            for (let x = 0; x < w; x++) data[start + x] = random.normal();
          } else {
            const grey = typeof value === 'number' ? value : (value[channel] ?? value[0]!);
            data.fill(grey, start, start + w);
          }
        }
      }
      return { data, shape: input.shape };
    }
    return input;
  }
}
