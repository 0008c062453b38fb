/**
 * What follows an op's or a layer's required arguments: a few of them by position, all of them by name in one
 * object at the end.
 *
 *     const readAll = optionReader('all', { dim: null as Dims | null, keepdim: false }, 'dim', 'keepdim');
 *     export function all(x: Tensor, ...args: Trailing<[dim: Dims, keepdim: boolean], AllOptions>): Tensor {
 *       const { dim, keepdim } = readAll(args);
 *
 * From plain JavaScript nothing is ignored: what is not known or does not fit throws.
 */
import { closeNames } from './close-names.js';

/** The arguments of `P` or the first few of them, then options if any. */
export type Trailing<P extends readonly unknown[], O> =
  [...P, options?: O] | (P extends readonly [...infer First, unknown] ? Trailing<First, O> : never);

/**
 * What must be given, `P` by position or from some place on by their names `K`, and behind it or among the
 * named ones what may be: `T` by position, `O` by name.
 */
export type Needed<
  P extends readonly unknown[],
  K extends readonly string[],
  T extends readonly unknown[] = [],
  O = never,
> = ([O] extends [never] ? P : [...P, ...Trailing<T, O>]) | ByName<P, K, [O] extends [never] ? unknown : O>;

type ByName<P extends readonly unknown[], K extends readonly string[], O> = P extends readonly [
  ...infer First,
  infer Value,
]
  ? K extends readonly [...infer Names extends readonly string[], infer Name extends string]
    ? | [...First, options: O & Readonly<Record<Name, Value>>]
      | ByName<First, Names, O & Readonly<Record<Name, Value>>>
    : never
  : never;

const missing: unknown = Symbol();

/** The default of what must be given: `optionReader('topk', { k: required(), dim: -1 }, 'k', 'dim')`. */
export const required = <T>(): T => missing as T;

const noArguments: readonly unknown[] = [];

/** Whether `value` is an object of options: no array, no tensor, nothing with a class of its own. */
export function isPlainObject(value: unknown): value is Readonly<Record<string, unknown>> {
  if (typeof value !== 'object' || value === null) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}

/**
 * Reads the arguments of `op`. An option that is left out or undefined has its default; those in `positional`
 * are taken by position too.
 * @param defaults every option there is
 * @throws Error for an unknown option, for more arguments than there are, for an option that is given twice,
 *   and where one whose default is {@link required} is not given
 */
export function optionReader<T extends object>(
  op: string,
  defaults: Readonly<T>,
  ...positional: readonly (keyof T & string)[]
): (args?: readonly unknown[]) => Readonly<T> {
  const needed = positional.filter((key) => defaults[key] === missing);
  const complete = (read: object): Readonly<T> => {
    for (const key of needed)
      if ((read as T)[key] === missing)
        throw new Error(`${op}: '${key}' is missing; give it by position or by name`);
    return read as T;
  };
  return (args = noArguments) => {
    if (args.length === 0) return complete(defaults);
    const last = args[args.length - 1];
    const named = isPlainObject(last) ? last : null;
    const count = named === null ? args.length : args.length - 1;
    if (count > positional.length)
      throw new Error(surplus(op, args, count, positional, Object.keys(defaults)));
    const read: Record<string, unknown> = { ...defaults };
    const take = (key: string, value: unknown): void => {
      if (value === undefined) return;
      if (typeof read[key] === 'boolean' && typeof value !== 'boolean')
        requireBoolean(`${op}: ${key}`, value);
      read[key] = value;
    };
    for (let i = 0; i < count; i++) take(positional[i] as string, args[i]);
    if (named === null) return complete(read);
    for (const key of Object.keys(named)) {
      const value = named[key];
      if (!Object.hasOwn(defaults, key)) throw new Error(unknown(op, key, Object.keys(defaults)));
      const at = positional.indexOf(key as keyof T & string);
      if (at >= 0 && at < count)
        throw new Error(`${op}: '${key}' is given twice, by position and as an option`);
      take(key, value);
    }
    return complete(read);
  };
}

/**
 * As {@link optionReader} for arguments that must all be given: in the order of `names`, by position, or the
 * last of them, or all, by name. By position they cost next to nothing.
 */
export function argumentReader<P extends readonly unknown[]>(
  op: string,
  ...names: readonly string[]
): (args: readonly unknown[]) => P {
  const read = optionReader<Record<string, unknown>>(
    op,
    Object.fromEntries(names.map((name) => [name, missing])),
    ...names,
  );
  return (args) => {
    if (args.length === names.length && args.every((arg) => arg !== undefined && !isPlainObject(arg)))
      return args as unknown as P;
    const values = read(args);
    return names.map((name) => values[name]) as unknown as P;
  };
}

/**
 * The options of `where` (a class or a function) with what is not given from `defaults`, which has every
 * option there is. @throws Error for an unknown one, and for what is no object of options
 */
export const readOptions = <T extends object>(
  where: string,
  defaults: Readonly<T>,
  options: Partial<T> | undefined,
): Readonly<T> => optionReader(where, defaults)(options === undefined ? noArguments : [options]);

/** @throws Error for a key of `options` that is not in `known` */
export function checkOptions<O extends object>(
  where: string,
  options: O,
  ...known: readonly (keyof O & string)[]
): void {
  optionReader(where, Object.fromEntries(known.map((key) => [key, undefined])))([options]);
}

/**
 * For a function that takes no options: refuses what follows its last argument. `count` and `most` include
 * the tensor that a method is called on.
 * @throws Error for more arguments than there are
 */
export function checkCount(op: string, count: number, most: number): void {
  if (count > most)
    throw new Error(
      `${op}: takes ${most} argument${most === 1 ? '' : 's'} (a method's own tensor is the first), got ${count}`,
    );
}

/**
 * For what takes its arguments by position and no options behind them: refuses what follows the last one.
 * `given` is the caller's own `arguments`.
 * @throws Error that names the first argument too many, or the options that it has
 */
export function noMore(where: string, given: ArrayLike<unknown>, most: number): void {
  if (given.length <= most) return;
  const surplus = given[most];
  const names = isPlainObject(surplus) ? Object.keys(surplus) : [];
  const what =
    names.length > 0
      ? `there is no option '${names.join("' and no option '")}'`
      : `it does not know what to do with ${String(surplus).slice(0, 40)}`;
  const wanted = most === 0 ? 'no arguments' : `${most} argument${most === 1 ? '' : 's'}`;
  throw new Error(`${where}: takes ${wanted}, got ${given.length}; ${what}`);
}

/** `value` as a number. @throws Error unless it is one, or true or false; `what` names it */
export function requireNumber(what: string, value: unknown): number {
  if (typeof value === 'number' || typeof value === 'boolean') return Number(value);
  throw new Error(`${what}: expected a number, got ${String(value)}`);
}

/** @throws Error unless `value` is true or false; `what` names it */
export function requireBoolean(what: string, value: unknown): void {
  if (typeof value !== 'boolean') throw new Error(`${what} must be true or false, got ${String(value)}`);
}

function unknown(op: string, key: string, options: readonly string[]): string {
  const [close] = closeNames(key, options);
  const hint = close === undefined ? '.' : `; did you mean '${close}'?`;
  return `${op}: there is no option '${key}'${hint} Its options are ${options.join(', ')}`;
}

function surplus(
  op: string,
  args: readonly unknown[],
  count: number,
  positional: readonly string[],
  options: readonly string[],
): string {
  const given = String(args[positional.length]).slice(0, 40);
  const wanted =
    positional.length === 0
      ? 'options are given by name'
      : `only ${positional.join(', ')} may be given by position`;
  return `${op}: does not know what to do with its argument ${given} (${count - positional.length} too many); ${wanted}, as in { ${options[0] ?? ''}: ... }. Its options are ${options.join(', ')}`;
}
