/**
 * The data room's random numbers: Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2,
 * 3", SC 2011), the counter-based generator that PyTorch uses on CUDA. A stream is named by a seed and up to
 * three integers, so the numbers for (epoch, sample) do not depend on the order in which samples are asked
 * for, and they are the same on every platform: only integer and correctly rounded operations are used.
 */
import { philox } from '../kernels/random/philox.js';

/** Throws unless `seed` is an integer that a double holds exactly. */
function checkSeed(seed: number): void {
  if (!Number.isSafeInteger(seed) || seed < 0) {
    throw new RangeError(`Random: the seed must be a non-negative safe integer, got ${String(seed)}`);
  }
}

/** A stream of random numbers, named by a seed and up to three integers (taken modulo 2^32). */
export class Random {
  private readonly key: [number, number];
  private readonly counter: [number, number, number, number];
  private readonly block = new Uint32Array(4);
  private used = 4;

  /**
   * @param seed non-negative safe integer
   * @param stream integers that select independent streams under one seed, e.g. `(epoch, sample)`
   */
  constructor(
    readonly seed: number,
    ...stream: readonly number[]
  ) {
    checkSeed(seed);
    if (stream.length > 3) throw new RangeError(`Random: at most 3 stream numbers, got ${stream.length}`);
    const wrong = stream.find((number) => !Number.isInteger(number));
    if (wrong !== undefined)
      throw new RangeError(`Random: the stream's numbers must be integers, got ${String(wrong)}`);
    this.key = [seed >>> 0, Math.floor(seed / 0x100000000) >>> 0];
    this.counter = [0, (stream[0] ?? 0) >>> 0, (stream[1] ?? 0) >>> 0, (stream[2] ?? 0) >>> 0];
  }

  /** Uniform over 0 ... 2^32 - 1. */
  uint32(): number {
    if (this.used === 4) {
      philox(this.counter, this.key, this.block);
      this.counter[0] = (this.counter[0] + 1) >>> 0;
      this.used = 0;
    }
    return this.block[this.used++]!;
  }

  /** Uniform over [0, 1), in steps of 2^-32. */
  float(): number {
    return this.uint32() * 2 ** -32;
  }

  /** Uniform over [low, high). */
  uniform(low: number, high: number): number {
    return low + (high - low) * this.float();
  }

  /** Uniform over the integers 0 ... bound - 1, without bias; `bound` from 1 to 2^32. */
  integer(bound: number): number {
    if (!Number.isInteger(bound) || bound < 1 || bound > 0x100000000) {
      throw new RangeError(`Random.integer: the bound must be an integer from 1 to 2^32, got ${bound}`);
    }
    const limit = 0x100000000 - (0x100000000 % bound);
    let word = this.uint32();
    while (word >= limit) word = this.uint32();
    return word % bound;
  }

  /** Standard normal (Box and Muller's cosine). Its last bits are those of the platform's `log` and `cos`. */
  normal(): number {
    const radius = Math.sqrt(-2 * Math.log((this.uint32() + 1) * 2 ** -32));
    return radius * Math.cos(2 * Math.PI * this.float());
  }

  /** True with probability `p`. */
  chance(p: number): boolean {
    return this.float() < p;
  }

  /** One element, each equally likely. */
  pick<T>(items: readonly T[]): T {
    return items[this.integer(items.length)]!;
  }

  /** A uniformly random order of 0 ... n - 1 (Fisher and Yates). */
  permutation(n: number): Uint32Array {
    if (!Number.isInteger(n) || n < 0 || n > 0x100000000)
      throw new RangeError(`Random.permutation: n must be an integer from 0 to 2^32, got ${String(n)}`);
    const order = Uint32Array.from({ length: n }, (_, i) => i);
    for (let i = n - 1; i > 0; i--) {
      const j = this.integer(i + 1);
      const swap = order[i]!;
      order[i] = order[j]!;
      order[j] = swap;
    }
    return order;
  }
}

/** A seed from the platform's entropy, for when the caller asked for none. */
export function entropySeed(): number {
  return crypto.getRandomValues(new Uint32Array(1))[0]!;
}
