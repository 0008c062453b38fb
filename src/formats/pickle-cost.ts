/** What the values of a pickle cost in memory and time. */

import type { PickleValue } from './pickle-types.js';

/** Bytes of host memory that values take in V8, measured and rounded up. */
export const cost = {
  /** A slot of a list that grows, and a number that has a place of its own. */
  slot: 24,
  text: 32,
  bytes: 240,
  tuple: 120,
  list: 200,
  dict: 240,
  entry: 64,
  memo: 32,
  object: 200,
  // Finding out what a name is takes time, too; honest files have a few dozen.
  global: 2000,
} as const;

/** Elements, characters and bytes in a value and, `depth` levels down, in the first items of lists in it. */
export function weigh(value: PickleValue | readonly PickleValue[], depth: number): number {
  if (typeof value === 'string' || value instanceof Uint8Array) return value.length;
  if (value instanceof Map || value instanceof Set) return value.size;
  if (!Array.isArray(value)) return 0;
  let sum: number = value.length;
  if (depth > 0) {
    const count = Math.min(64, value.length);
    for (let i = 0; i < count; i++) sum += weigh(value[i] as PickleValue, depth - 1);
  }
  return sum;
}
