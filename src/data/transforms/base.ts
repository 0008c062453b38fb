import { noMore, optionReader, type Trailing } from '../../tensor/options.js';
import type { ModuleExport, Portable } from '../portable.js';
import { entropySeed, Random } from '../random.js';

/** Height and width in pixels; one number means both, except in `Resize`. */
export type Size = number | readonly [height: number, width: number];

/** Anything that can stand in a `Compose`: a {@link Transform} or a plain function. */
export type TransformFunction<In, Out> = (input: In, random: Random) => Out;

export interface Transform<In, Out> {
  (input: In, random?: Random): Out;
}

let fallback: Random | undefined;

/**
 * Base of the transforms: calling an instance runs `forward`. A class of your own that is to run in worker
 * threads defines `source` and, if its constructor takes arguments, `settings`.
 */
export abstract class Transform<In, Out> implements Portable {
  constructor() {
    noMore(new.target.name, arguments, 0);
    const call = (input: In, random?: Random): Out =>
      (call as unknown as Transform<In, Out>).forward(
        input,
        random ?? (fallback ??= new Random(entropySeed())),
      );
    return Object.setPrototypeOf(call, new.target.prototype) as Transform<In, Out>;
  }

  /** @internal What it returns waits for the device, and no transform of images or arrays can take it. */
  get isDeferred(): boolean {
    return false;
  }

  /** What calling the transform does. */
  abstract forward(input: In, random: Random): Out;

  /** The exported class, so that worker threads can import it. kindling's own need none. */
  source(): ModuleExport | undefined {
    return undefined;
  }

  /** The class with its settings, as torchvision prints transforms. */
  toString(): string {
    const fields = Object.entries(this).filter(([, value]) => value !== undefined);
    if (!fields.some(([, value]) => hasTransforms(value)))
      return `${this.constructor.name}(${fields.map(([name, value]) => `${name}=${shown(value)}`).join(', ')})`;
    const lines = fields.flatMap(([name, value]) =>
      hasTransforms(value) ? value.map(shown) : [`${name}=${shown(value)}`],
    );
    return `${this.constructor.name}(\n${lines.join('\n').replace(/^/gm, '    ')}\n)`;
  }

  [Symbol.for('nodejs.util.inspect.custom')](): string {
    return this.toString();
  }

  /** Constructor arguments that make an equal transform, in a worker thread for one. None unless told. */
  settings(): readonly unknown[] {
    return [];
  }
}

const hasTransforms = (value: unknown): value is readonly unknown[] =>
  Array.isArray(value) && value.some((item) => typeof item === 'function');

function shown(value: unknown): string {
  if (value instanceof Transform) return value.toString();
  if (typeof value === 'function') return value.name === '' ? 'a function' : `function ${value.name}`;
  if (Array.isArray(value)) return `[${value.map(shown).join(', ')}]`;
  return typeof value === 'object' && value !== null ? value.constructor.name : String(value);
}

export function pair(what: string, size: Size): readonly [height: number, width: number] {
  const both = typeof size === 'number' ? ([size, size] as const) : size;
  if (both.length !== 2 || both.some((length) => !Number.isInteger(length) || length < 1)) {
    throw new RangeError(
      `${what}: the size must be a positive integer or [height, width], got ${JSON.stringify(size)}`,
    );
  }
  return both;
}

export function checkProbability(what: string, p: number): number {
  if (!(p >= 0 && p <= 1)) throw new RangeError(`${what}: the probability must be in 0 ... 1, got ${p}`);
  return p;
}

export type ChanceArgs = Trailing<[p: number], { p?: number }>;

/** The probability, by position or by name. */
export function readChance(what: string, args: ChanceArgs, usual: number): number {
  return checkProbability(what, optionReader(what, { p: usual }, 'p')(args).p);
}

/** Two numbers, the lower first. */
export type Range = readonly [low: number, high: number];

export function checkRange(what: string, range: Range, least = -Infinity, most = Infinity): Range {
  const [low, high] = Array.isArray(range) ? (range as Range) : [NaN, NaN];
  if (range.length !== 2 || !(low <= high && low >= least && high <= most)) {
    const bounds =
      least === -Infinity && most === Infinity ? '' : ` within ${least} ... ${most === Infinity ? '' : most}`;
    throw new RangeError(`${what} must be [low, high]${bounds}, got ${JSON.stringify(range)}`);
  }
  return range;
}
