import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { models } from '../../src/index.js';
import { uniform } from './fill.js';

/**
 * What is stored of one tensor; scripts/goldens/make_model_goldens.py says how the projections estimate an
 * error.
 */
export interface Summary {
  readonly shape: readonly number[];
  readonly norm: number;
  /** What its error is relative to, where that is not its norm: it is zero but for rounding. */
  readonly scale?: number;
  /** First word of the whole tensor in the .bin file. */
  readonly full?: number;
  readonly projections?: readonly number[];
}

export interface TrainingGolden {
  readonly batch: number;
  readonly loss: number;
  /** SGD with learning rate 0.01, momentum 0.9, weight decay 1e-4 on the same batch; the first is `loss`. */
  readonly sgdLosses: readonly number[];
  readonly gradients: Readonly<Record<string, Summary>>;
  /** Running means and variances after the first forward pass. */
  readonly statistics: Readonly<Record<string, Summary>>;
  /** How far PyTorch's own float32 run is from these float64 figures. */
  readonly float32: { readonly gradients: Readonly<Record<string, number>> };
}

export interface TorchvisionGolden {
  readonly classes: number;
  /** What the model is made with, under kindling's names. Default: nothing. */
  readonly options?: models.ModelOptions;
  readonly evaluations: readonly { batch: number; size: number; logits: number; float32: number }[];
  readonly training: TrainingGolden & { readonly size: number };
}

export interface CifarGolden {
  readonly correct: number;
  readonly logits: number;
  /** One digit per test image. */
  readonly predictions: string;
  readonly training: TrainingGolden;
}

const folder = new URL('../goldens/models/', import.meta.url);
const local = process.env['KINDLING_GOLDENS'] ?? fileURLToPath(new URL('../goldens/local', import.meta.url));

const wordsOf = (path: string | URL): Float32Array => {
  const file = readFileSync(path);
  return new Float32Array(file.buffer.slice(file.byteOffset, file.byteOffset + file.byteLength));
};

const sizeOf = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);

function distance(got: ArrayLike<number>, want: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < want.length; i++) sum += ((got[i] as number) - (want[i] as number)) ** 2;
  return Math.sqrt(sum);
}

export function relativeL2(got: ArrayLike<number>, want: ArrayLike<number>): number {
  if (got.length !== want.length) throw new Error(`${got.length} values, expected ${want.length}`);
  return distance(got, want) / distance(want, new Float32Array(want.length));
}

export class ModelGolden<G> {
  readonly json: G;
  private readonly words: Float32Array;
  /** Whole gradients, where the generator was run with KINDLING_GOLDENS. */
  private readonly whole: { index: Record<string, number>; words: Float32Array } | null;

  constructor(name: string) {
    this.json = JSON.parse(readFileSync(new URL(`${name}.json`, folder), 'utf8')) as G;
    this.words = wordsOf(new URL(`${name}.bin`, folder));
    const index = `${local}/${name}.full.json`;
    this.whole = existsSync(index)
      ? {
          index: JSON.parse(readFileSync(index, 'utf8')) as Record<string, number>,
          words: wordsOf(`${local}/${name}.full.bin`),
        }
      : null;
  }

  get isStrict(): boolean {
    return this.whole !== null;
  }

  slice(first: number, count: number): Float32Array {
    return this.words.subarray(first, first + count);
  }

  /**
   * The relative L2 error of `got`: exact where the whole golden is at hand, else estimated from its
   * projections.
   */
  error(key: string, summary: Summary, got: Float32Array): number {
    const count = sizeOf(summary.shape);
    if (got.length !== count) throw new Error(`${key}: ${got.length} values, expected ${count}`);
    const scale = summary.scale ?? summary.norm;
    const first = this.whole?.index[key];
    if (this.whole && first !== undefined)
      return distance(got, this.whole.words.subarray(first, first + count)) / scale;
    if (summary.full !== undefined) return distance(got, this.slice(summary.full, count)) / scale;
    const projections = summary.projections ?? [];
    let squares = 0;
    projections.forEach((want, j) => {
      const r = uniform(`projection${j}:${key}`, [count]);
      let dot = 0;
      for (let i = 0; i < count; i++) dot += (got[i] as number) * (r[i] as number);
      squares += (dot - want) ** 2;
    });
    return Math.sqrt((3 * squares) / projections.length) / scale;
  }
}

/** The largest of several errors and whose it is. */
export function worst(errors: ReadonlyMap<string, number>): { key: string; error: number } {
  let result = { key: 'none', error: 0 };
  for (const [key, error] of errors) if (!(error <= result.error)) result = { key, error };
  return result;
}
