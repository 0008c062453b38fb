/** JSON from files, measured before it is parsed: JSON.parse makes whatever it is told to. */

import { CheckpointError, quoteKey } from './errors.js';
import type { Budget } from './limits.js';

/**
 * Bytes of host memory that a value takes once parsed: a slot, and an object's own words where it is one. A
 * member of a large object takes as much, for its entry and its name.
 */
const valueCost = 24;
const objectCost = 96;
const maxDepth = 64;

const code = (character: string): number => character.charCodeAt(0);
const quoteMark = code('"');
const backslash = code('\\');
const comma = code(',');
const colon = code(':');
const openList = code('[');
const closeList = code(']');
const openObject = code('{');
const closeObject = code('}');

export interface JsonMeasure {
  /** Objects and lists. */
  readonly objects: number;
  readonly commas: number;
  readonly depth: number;
  /** Members of all objects. */
  readonly colons: number;
  /** Members of objects by how deep the objects are: those of the outermost first. */
  readonly members: readonly number[];
}

/** Counts what JSON text would make, byte by byte; of text that is no JSON it says something harmless. */
export function measureJson(bytes: Uint8Array): JsonMeasure {
  const members = new Array<number>(4).fill(0);
  let objects = 0;
  let commas = 0;
  let colons = 0;
  let depth = 0;
  let deepest = 0;
  for (let i = 0; i < bytes.length; i++) {
    const byte = bytes[i];
    if (byte === quoteMark) {
      for (i++; i < bytes.length && bytes[i] !== quoteMark; i++) if (bytes[i] === backslash) i++;
    } else if (byte === comma) commas++;
    else if (byte === colon) {
      colons++;
      if (depth > 0 && depth <= members.length) members[depth - 1]!++;
    } else if (byte === openObject || byte === openList) {
      objects++;
      if (++depth > deepest) deepest = depth;
    } else if (byte === closeObject || byte === closeList) depth--;
  }
  return { objects, commas, colons, depth: deepest, members };
}

/**
 * Parses UTF-8 JSON that has been measured. Refuses what is too deep, takes too much memory, or has a key
 * twice in one object.
 *
 * @throws CheckpointError that does not name the file
 */
export function parseJson(bytes: Uint8Array, measure: JsonMeasure, what: string, budget: Budget): unknown {
  if (measure.depth > maxDepth)
    throw new CheckpointError(
      `${what} is nested ${measure.depth} deep, and at most ${maxDepth} are read; refused`,
    );
  const { objects, commas, colons } = measure;
  budget.holdWhole(
    valueCost * commas + objectCost * Math.max(objects, colons),
    `${what}, of ${objects} objects, ${colons} members and ${commas} commas,`,
  );
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (cause) {
    const why = cause instanceof Error ? cause.message.slice(0, 120) : 'unreadable';
    throw new CheckpointError(`${what} is not valid JSON (${why})`, { cause });
  }
  // JSON.parse takes the last of several members of one name, another reader perhaps the first.
  if (countMembers(value) !== measure.colons) {
    const key = firstRepeated(bytes);
    throw new CheckpointError(
      `${what} has ${key === null ? 'a key' : `the key ${quoteKey(key)}`} twice in one object; refused, since readers differ in which counts`,
    );
  }
  return value;
}

function countMembers(value: unknown): number {
  if (typeof value !== 'object' || value === null) return 0;
  const items: readonly unknown[] = Object.values(value);
  let count = Array.isArray(value) ? 0 : items.length;
  for (const item of items) count += countMembers(item);
  return count;
}

/** How many keys, and bytes of them, are looked at for the one to name. */
const mostKeys = 100_000;
const mostKeyBytes = 2 ** 22;

/** The first key of valid JSON that its object has already; null where it would take too much to find. */
function firstRepeated(bytes: Uint8Array): string | null {
  const open: (Set<string> | null)[] = [];
  const decoder = new TextDecoder();
  let [keys, keyBytes, start, end] = [0, 0, 0, 0];
  for (let i = 0; i < bytes.length; i++) {
    const byte = bytes[i];
    if (byte === quoteMark) {
      start = i;
      for (i++; bytes[i] !== quoteMark; i++) if (bytes[i] === backslash) i++;
      end = i + 1;
    } else if (byte === openObject) open.push(new Set());
    else if (byte === openList) open.push(null);
    else if (byte === closeObject || byte === closeList) open.pop();
    else if (byte === colon) {
      if (++keys > mostKeys || (keyBytes += end - start) > mostKeyBytes) return null;
      const key = JSON.parse(decoder.decode(bytes.subarray(start, end))) as string;
      const seen = open.at(-1);
      if (seen?.has(key)) return key;
      seen?.add(key);
    }
  }
  return null;
}

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
