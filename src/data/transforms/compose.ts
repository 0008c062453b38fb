import { checkOptions, noMore } from '../../tensor/options.js';
import type { ModuleExport } from '../portable.js';
import type { Random } from '../random.js';
import { type ChanceArgs, readChance, Transform, type TransformFunction } from './base.js';

type AnyTransform = (input: never, random: Random) => unknown;
type First<T extends readonly AnyTransform[]> = T extends readonly [
  infer F extends AnyTransform,
  ...unknown[],
]
  ? Parameters<F>[0]
  : never;
type Last<T extends readonly AnyTransform[]> = T extends readonly [...unknown[], infer L extends AnyTransform]
  ? ReturnType<L>
  : never;

const isDeferred = (transform: unknown): boolean => transform instanceof Transform && transform.isDeferred;

/**
 * torchvision's `Compose`: one transform after the other.
 *
 * @throws Error when a transform other than {@link Lambda} stands behind `OnDevice`, which leaves no image
 */
export class Compose<const T extends readonly [AnyTransform, ...AnyTransform[]]> extends Transform<
  First<T>,
  Last<T>
> {
  constructor(readonly transforms: T) {
    noMore(new.target.name, arguments, 1);
    super();
    transforms.forEach((transform: unknown, i) => {
      if (!isDeferred(transforms[i - 1]) || !(transform instanceof Transform) || transform instanceof Lambda)
        return;
      throw new Error(
        `Compose: ${transform.constructor.name} cannot follow OnDevice; put it before, or apply it to the batch`,
      );
    });
  }

  /** @internal */
  override get isDeferred(): boolean {
    return isDeferred(this.transforms.at(-1));
  }

  override settings(): readonly unknown[] {
    return [this.transforms];
  }

  override forward(input: First<T>, random: Random): Last<T> {
    let value: unknown = input;
    for (const transform of this.transforms) value = transform(value as never, random);
    return value as Last<T>;
  }
}

type List<T> = readonly [TransformFunction<T, T>, ...TransformFunction<T, T>[]];

/** torchvision's `RandomApply`: all of `transforms` with probability `p`, else none. */
export class RandomApply<T> extends Transform<T, T> {
  readonly p: number;

  constructor(
    readonly transforms: List<T>,
    ...args: ChanceArgs
  ) {
    super();
    this.p = readChance('RandomApply', args, 0.5);
  }

  override settings(): readonly unknown[] {
    return [this.transforms, this.p];
  }

  override forward(input: T, random: Random): T {
    if (!random.chance(this.p)) return input;
    return this.transforms.reduce((value, transform) => transform(value, random), input);
  }
}

/** torchvision's `RandomChoice`: one of `transforms`, each equally likely or by the weights `p`. */
export class RandomChoice<T> extends Transform<T, T> {
  constructor(
    readonly transforms: List<T>,
    readonly p?: readonly number[],
  ) {
    noMore(new.target.name, arguments, 2);
    super();
    if (
      p !== undefined &&
      (!Array.isArray(p) ||
        p.length !== transforms.length ||
        p.some((weight) => !(weight >= 0)) ||
        !p.some((weight) => weight > 0))
    ) {
      throw new Error(
        `RandomChoice: p must hold ${transforms.length} weights, none negative and not all 0, got ${JSON.stringify(p)}`,
      );
    }
  }

  override settings(): readonly unknown[] {
    return this.p === undefined ? [this.transforms] : [this.transforms, this.p];
  }

  override forward(input: T, random: Random): T {
    return this.choose(random)(input, random);
  }

  private choose(random: Random): TransformFunction<T, T> {
    if (this.p === undefined) return random.pick(this.transforms);
    let rest = random.float() * this.p.reduce((sum, weight) => sum + weight, 0);
    let last = this.transforms[0];
    for (const [index, weight] of this.p.entries()) {
      if (weight === 0) continue;
      last = this.transforms[index]!;
      if (rest < weight) break;
      rest -= weight;
    }
    return last;
  }
}

/** torchvision's `RandomOrder`: all of `transforms`, in random order. */
export class RandomOrder<T> extends Transform<T, T> {
  constructor(readonly transforms: List<T>) {
    noMore(new.target.name, arguments, 1);
    super();
  }

  override settings(): readonly unknown[] {
    return [this.transforms];
  }

  override forward(input: T, random: Random): T {
    let value = input;
    for (const index of random.permutation(this.transforms.length)) {
      value = this.transforms[index]!(value, random);
    }
    return value;
  }
}

/**
 * torchvision's `Lambda`: a function of your own. A plain function does as well in a `Compose`; this one can
 * be sent to worker threads, when `origin` says which export it is: `new Lambda(half, { module:
 * import.meta.url, name: 'half' })`.
 */
export class Lambda<In, Out> extends Transform<In, Out> {
  constructor(
    readonly run: TransformFunction<In, Out>,
    readonly origin?: ModuleExport,
  ) {
    noMore(new.target.name, arguments, 2);
    super();
    if (typeof run !== 'function') throw new Error(`Lambda: expected a function, got ${String(run)}`);
    if (origin !== undefined) checkOptions('Lambda', origin, 'module', 'name');
  }

  override forward(input: In, random: Random): Out {
    return this.run(input, random);
  }
}
