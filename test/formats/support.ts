import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { CheckpointError, HostTensor, loadValue } from '../../src/formats/index.js';
import type { PlainValue } from '../../src/formats/index.js';

export interface ExpectedTensor {
  dtype: string;
  shape: number[];
  /** Little-endian bytes in C order, as PyTorch has them. */
  hex: string;
  requiresGrad: boolean;
}

const folder = new URL('../fixtures/formats/', import.meta.url);

export const fixturePath = (name: string): string => fileURLToPath(new URL(name, folder));
export const fixture = (name: string): Uint8Array => new Uint8Array(readFileSync(fixturePath(name)));
export const expected = JSON.parse(readFileSync(fixturePath('expected.json'), 'utf8')) as Record<
  string,
  Record<string, ExpectedTensor>
>;

/** A file of the data folder beside the repository, or undefined (with a note) where there is none. */
export function sharedFile(relative: string): string | undefined {
  const path = fileURLToPath(new URL(`../../../shared/data/${relative}`, import.meta.url));
  if (existsSync(path)) return path;
  console.warn(`skipped: ../shared/data/${relative} is not there`);
  return undefined;
}

export const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

/** All tensors in a value, by the path that the fixture script gives them. */
export function tensorsOf(
  value: PlainValue,
  path = '',
  out = new Map<string, HostTensor>(),
): Map<string, HostTensor> {
  if (value instanceof HostTensor) out.set(path, value);
  else if (Array.isArray(value)) value.forEach((item, i) => tensorsOf(item, `${path}[${i}]`, out));
  else if (value instanceof Map) {
    for (const [key, item] of value) tensorsOf(item, path ? `${path}.${String(key)}` : String(key), out);
  }
  return out;
}

/**
 * Loads everything, tensors included; the error if there was one. Anything but a CheckpointError is rethrown.
 */
export async function tryToLoad(bytes: Uint8Array, name: string): Promise<CheckpointError | undefined> {
  try {
    for (const tensor of tensorsOf(await loadValue(bytes, { name })).values()) await tensor.bytes();
    return undefined;
  } catch (error) {
    if (error instanceof CheckpointError) return error;
    throw error;
  }
}

/** Deterministic numbers in [0, 1). */
export function randomNumbers(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}
