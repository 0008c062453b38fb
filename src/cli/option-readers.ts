import { InvalidArgumentError } from 'commander';
import { defaultLimits, type ReadLimits } from '../formats/index.js';

/**
 * Readers of option values: they return the value or throw commander's error, which becomes a usage error.
 */

/** Empty text is what an unset variable of the shell leaves. */
export function someText(text: string): string {
  if (text === '') throw new InvalidArgumentError('It must not be empty.');
  return text;
}

export function positiveInteger(text: string): number {
  const value = Number(text);
  if (!/^\d+$/.test(text.trim()) || !Number.isSafeInteger(value) || value < 1) {
    throw new InvalidArgumentError('It must be a whole number of 1 or more.');
  }
  return value;
}

export function seedNumber(text: string): number {
  const value = Number(text);
  if (!/^\d+$/.test(text.trim()) || !Number.isSafeInteger(value)) {
    throw new InvalidArgumentError('It must be a whole number of 0 or more.');
  }
  return value;
}

export function nonNegative(text: string): number {
  const value = Number(text);
  if (text.trim() === '' || !Number.isFinite(value) || value < 0) {
    throw new InvalidArgumentError('It must be a number of 0 or more.');
  }
  return value;
}

export function positive(text: string): number {
  const value = nonNegative(text);
  if (value === 0) throw new InvalidArgumentError('It must be a number above 0.');
  return value;
}

/** `memory=268435456`, added to those before it. */
export function limit(text: string, before: ReadLimits = {}): ReadLimits {
  const [, name = '', digits = ''] = /^(\w+)=(\d+)$/.exec(text) ?? [];
  if (!Object.hasOwn(defaultLimits, name) || !Number.isSafeInteger(Number(digits))) {
    throw new InvalidArgumentError(
      `It must be NAME=NUMBER; the names are ${Object.keys(defaultLimits).join(', ')}.`,
    );
  }
  return { ...before, [name]: Number(digits) };
}

/** Three numbers, one for each of red, green and blue: `0.485,0.456,0.406`. */
export function perChannel(text: string): number[] {
  const values = text.split(',').map((part) => (part.trim() === '' ? NaN : Number(part)));
  if (values.length !== 3 || !values.every(Number.isFinite)) {
    throw new InvalidArgumentError(
      'It must be three numbers with commas between them, such as 0.485,0.456,0.406.',
    );
  }
  return values;
}

/** Output numbers of a model: `310,309`. */
export function indexList(text: string): number[] {
  return text.split(',').map((part) => seedNumber(part.trim()));
}

/** Collects the values of an option that may be given again. */
export function collect(value: string, previous: readonly string[] | undefined): string[] {
  return [...(previous ?? []), value];
}

/** A number above 0 and below 1. */
export function fraction(text: string): number {
  const value = positive(text);
  if (value >= 1) throw new InvalidArgumentError('It must be above 0 and below 1.');
  return value;
}

/** A number of 0 or more and below 1. */
export function share(text: string): number {
  const value = nonNegative(text);
  if (value >= 1) throw new InvalidArgumentError('It must be 0 or more and below 1.');
  return value;
}

/** Collects names with commas between them, of an option that may be given again. */
export function collectList(value: string, previous: readonly string[] | undefined): string[] {
  const names = value.split(',').map((name) => name.trim());
  if (names.includes('')) throw new InvalidArgumentError('It must be names with commas between them.');
  return [...(previous ?? []), ...names];
}

/** A shape such as `1x3x224x224`. */
export function shape(text: string): number[] {
  const sizes = text.split('x').map((part) => (/^[1-9]\d*$/.test(part) ? Number(part) : NaN));
  if (sizes.length < 2 || !sizes.every(Number.isSafeInteger)) {
    throw new InvalidArgumentError('It must be sizes with x between them, such as 1x3x224x224.');
  }
  return sizes;
}
