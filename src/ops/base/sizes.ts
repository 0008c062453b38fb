import { isPlainObject, optionReader, required } from '../../tensor/options.js';

/** Height and width. */
export type Pair = readonly [height: number, width: number];
/** Depth, height and width. */
export type Triple = readonly [depth: number, height: number, width: number];

/** The size of a line. */
export type Size1d = number | readonly [number];
/** Height and width; one number stands for both. */
export type Size2d = number | Pair;
/** Depth, height and width; one number stands for all. */
export type Size3d = number | Triple;
/** A size of any number of dims, as it is read. */
export type SizeNd = number | readonly number[];

const several = ['', '', ' or a pair of them', ' or three of them'];

/**
 * @internal `value` for each of `dims` dims.
 *
 * @throws Error, naming `op` and `what`, when they are no integers of at least `least`
 */
export function sizesOf(op: string, what: string, value: SizeNd, dims: number, least: number): number[] {
  const list = typeof value === 'number' ? [value] : value;
  const all = list.length === 1 ? new Array<number>(dims).fill(list[0] as number) : [...list];
  if (all.length !== dims || !all.every((v) => Number.isInteger(v) && v >= least)) {
    throw new Error(
      `${op}: ${what} must be an integer of at least ${least}${several[dims]}, got ${JSON.stringify(value)}`,
    );
  }
  return all;
}

/** @internal As {@link sizesOf}, of height and width. */
export const pairOf = (op: string, what: string, value: Size2d, least: number): Pair =>
  sizesOf(op, what, value, 2, least) as unknown as Pair;

/** Sizes as separate arguments or as one array, as PyTorch takes them; or by PyTorch's name for them. */
export type Sizes<Name extends string = never> =
  | number[]
  | [sizes: readonly number[]]
  | ([Name] extends [never] ? never : [options: Record<Name, readonly number[]>]);

/**
 * @internal One array from any form; `name` is what an object has them under.
 *
 * @throws Error for what follows an array, and for what is no integer
 */
export function listOf(op: string, given: readonly unknown[], name = 'size'): readonly number[] {
  const [first] = given;
  if (given.length === 1 && isPlainObject(first)) {
    const read = optionReader(op, { [name]: required<unknown>() }, name)(given);
    return listOf(op, [read[name]], name);
  }
  const list = Array.isArray(first) && given.length === 1 ? (first as unknown[]) : given;
  if (!list.every(Number.isInteger))
    throw new Error(
      `${op}: expected integers, one by one or in one array, got ${given.map(String).join(', ')}`,
    );
  return list as readonly number[];
}
