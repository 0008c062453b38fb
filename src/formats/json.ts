/** JSON from files, measured before it is parsed: JSON.parse makes whatever it is told to. */

import { CheckpointError } from './errors.js';
import type { Budget } from './limits.js';

/** Bytes of host memory that a value takes once parsed: a slot, and an object's own words where it is one. */
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
  /** Members of objects by how deep the objects are: those of the outermost first. */
  readonly members: readonly number[];
}

/** Counts what JSON text would make, byte by byte; of text that is no JSON it says something harmless. */
export function measureJson(bytes: Uint8Array): JsonMeasure {
  const members = new Array<number>(4).fill(0);
  let objects = 0;
  let commas = 0;
  let depth = 0;
  let deepest = 0;
  for (let i = 0; i < bytes.length; i++) {
    const byte = bytes[i];
    if (byte === quoteMark) {
      for (i++; i < bytes.length && bytes[i] !== quoteMark; i++) if (bytes[i] === backslash) i++;
    } else if (byte === comma) commas++;
    else if (byte === colon) {
      if (depth > 0 && depth <= members.length) members[depth - 1]!++;
    } else if (byte === openObject || byte === openList) {
      objects++;
      if (++depth > deepest) deepest = depth;
    } else if (byte === closeObject || byte === closeList) depth--;
  }
  return { objects, commas, depth: deepest, members };
}

/**
 * Parses UTF-8 JSON that has been measured. Refuses what is too deep or takes too much memory.
 *
 * @throws CheckpointError that does not name the file
 */
export function parseJson(bytes: Uint8Array, measure: JsonMeasure, what: string, budget: Budget): unknown {
  if (measure.depth > maxDepth)
    throw new CheckpointError(
      `${what} is nested ${measure.depth} deep, and at most ${maxDepth} are read; refused`,
    );
  const { objects, commas } = measure;
  budget.holdWhole(
    valueCost * commas + objectCost * objects,
    `${what}, of ${objects} objects and ${commas} commas,`,
  );
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (cause) {
    const why = cause instanceof Error ? cause.message.slice(0, 120) : 'unreadable';
    throw new CheckpointError(`${what} is not valid JSON (${why})`, { cause });
  }
}

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
