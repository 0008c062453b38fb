import { isPlainObject, optionReader } from '../tensor/options.js';
import type { Optimizer } from './optimizer.js';
import { show } from './show.js';

/** Throws unless `value` is what the argument named `what` may be. */
type Check = (what: string, value: unknown) => void;

const must =
  (wanted: string, holds: (value: number) => boolean): Check =>
  (what, value) => {
    if (typeof value !== 'number' || !holds(value))
      throw new Error(`${what} must be ${wanted}, got ${show(value)}`);
  };

export const aNumber = must('a number', Number.isFinite);
export const aCount = must('a positive integer', (value) => Number.isInteger(value) && value > 0);
export const aWhole = must('a whole number of at least 0', (value) => Number.isInteger(value) && value >= 0);
export const anAmount = must('a number of at least 0', (value) => value >= 0);
export const aPositive = must('a number above 0', (value) => value > 0 && value < Infinity);
const anEpoch = must('a whole number of at least -1', (value) => Number.isInteger(value) && value >= -1);

export const epochs: Check = (what, value) => {
  if (!Array.isArray(value) || !value.every(Number.isInteger))
    throw new Error(`${what} must be a list of epochs, as in [30, 80], got ${show(value)}`);
};

/** A choice of strings. */
export const oneOf =
  (...choices: readonly string[]): Check =>
  (what, value) => {
    if (typeof value !== 'string' || !choices.includes(value))
      throw new Error(`${what} must be '${choices.join("' or '")}', got ${show(value)}`);
  };

/** What may be left out as null. */
export const orNull =
  (check: Check): Check =>
  (what, value) => {
    if (value !== null) check(what, value);
  };

/** One of `check` for every group, or one each. */
export const eachGroup =
  (optimizer: Optimizer, check: Check): Check =>
  (what, value) => {
    if (!Array.isArray(value)) return check(what, value);
    const groups = optimizer.paramGroups.length;
    if (value.length !== groups)
      throw new Error(
        `${what}: ${value.length} values for ${groups} parameter groups; give one, or one for each`,
      );
    value.forEach((item, i) => check(`${what}, item ${i},`, item));
  };

/** @throws Error where a scheduler is given something else in the place of its optimizer */
export function requireOptimizer(scheduler: string, optimizer: unknown): void {
  if (!Array.isArray((optimizer as Partial<Optimizer> | null | undefined)?.paramGroups))
    throw new Error(`${scheduler}: its first argument must be an optimizer, got ${show(optimizer)}`);
}

/**
 * The arguments of a scheduler behind its optimizer: in the order of `defaults`, which is PyTorch's, by
 * position, and all of them by name. Where `checks` says nothing, what has a number as its default must be
 * one. `aliases` are other spellings of names.
 * @throws Error for unknown or missing arguments and for values without a meaning
 */
export function readSchedule<T extends object>(
  scheduler: string,
  optimizer: unknown,
  args: readonly unknown[],
  defaults: Readonly<T>,
  checks: { readonly [K in keyof NoInfer<T>]?: Check } = {},
  aliases: Readonly<Record<string, keyof NoInfer<T> & string>> = {},
): Readonly<T> {
  requireOptimizer(scheduler, optimizer);
  const names = Object.keys(defaults) as (keyof T & string)[];
  const last = args[args.length - 1];
  let given = args;
  if (isPlainObject(last)) {
    const named: Record<string, unknown> = {};
    for (const [key, value] of Object.entries(last)) {
      const name = (Object.hasOwn(aliases, key) ? aliases[key] : undefined) ?? key;
      if (Object.hasOwn(named, name)) throw new Error(`${scheduler}: '${name}' is given twice`);
      named[name] = value;
    }
    given = [...args.slice(0, -1), named];
  }
  const read = optionReader(scheduler, defaults, ...names)(given);
  for (const name of names) {
    const usual = typeof defaults[name] === 'number' ? aNumber : undefined;
    const check = checks[name] ?? (name === 'lastEpoch' ? anEpoch : usual);
    check?.(`${scheduler}: ${name}`, read[name]);
  }
  return read;
}
