/**
 * The values of scripts/goldens/fill.py, bit for bit: weights and inputs that the goldens were made with and
 * that need not be shipped. The mix is "lowbias32" (Chris Wellons, hash-prospector).
 */

const encoder = new TextEncoder();

function seedOf(key: string): number {
  let h = 0x811c9dc5;
  for (const byte of encoder.encode(key)) h = Math.imul(h ^ byte, 0x01000193);
  return h >>> 0;
}

/** 24 bits for element `index`. */
function bits(seed: number, index: number): number {
  let h = (Math.imul(index, 0x9e3779b9) + seed) >>> 0;
  h ^= h >>> 16;
  h = Math.imul(h, 0x21f0aaad);
  h ^= h >>> 15;
  h = Math.imul(h, 0x735a2d97);
  h ^= h >>> 15;
  return h >>> 8;
}

const sizeOf = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);

/** float32(u * scale + shift) with u uniform in [-1, 1). */
export function uniform(key: string, shape: readonly number[], scale = 1, shift = 0): Float32Array {
  const seed = seedOf(key);
  const out = new Float32Array(sizeOf(shape));
  for (let i = 0; i < out.length; i++) out[i] = (bits(seed, i) * 2 ** -23 - 1) * scale + shift;
  return out;
}

export function labels(key: string, count: number, classes: number): Int32Array {
  const seed = seedOf(key);
  return Int32Array.from({ length: count }, (_, i) => Math.floor((bits(seed, i) * classes) / 2 ** 24));
}

function transformerParameter(key: string, shape: readonly number[]): Float32Array {
  if (key.endsWith('bias')) return uniform(key, shape, 0.1);
  if (shape.length === 1) return uniform(key, shape, 0.3, 0.7);
  if (shape.length === 3) return uniform(key, shape, 0.5);
  return uniform(key, shape, Math.sqrt(3 / (shape[1] as number)));
}

/** The value of a ResNet's state-dict entry; fill.py says why these ranges. */
export function parameter(key: string, shape: readonly number[]): Float32Array {
  if (key.endsWith('running_var')) return uniform(key, shape, 2, 6);
  if (key.endsWith('running_mean') || key === 'fc.bias') return uniform(key, shape, 0.1);
  if (key.endsWith('bias') && key.includes('.conv.')) return uniform(key, shape, 0.5, 1.2);
  if (key.endsWith('bias')) return uniform(key, shape).map((u) => u + (u < 0 ? -1.5 : 1.5));
  if (shape.length === 1) return uniform(key, shape, 0.3, 0.7);
  return uniform(key, shape, Math.sqrt(6 / sizeOf(shape.slice(1))));
}

/** The same for evaluation mode in deep networks; fill.py says why these ranges. */
export function signalParameter(key: string, shape: readonly number[], deep = false): Float32Array {
  if (key.endsWith('running_var')) return uniform(key, shape, 0.2, 1);
  if (key.includes('layer_scale')) return uniform(key, shape, 0.3, 0.5);
  if (key.startsWith('encoder.') || key === 'class_token') return transformerParameter(key, shape);
  if (key.endsWith('fc2.bias')) return uniform(key, shape, 0.1, 1.5);
  if (key.endsWith('bn3.weight')) return uniform(key, shape, 0.1, 0.3);
  if (deep && /\.[1-9]\d*\.block\.[13]\.1\.weight$/.test(key)) return uniform(key, shape, 0.1, 0.3);
  if (/\.block\.\d\.1\.weight$/.test(key)) return uniform(key, shape, 0.2, 0.8);
  if (key.endsWith('running_mean') || key.endsWith('bias')) return uniform(key, shape, 0.1);
  if (shape.length === 1) return uniform(key, shape, 0.2, 1);
  return uniform(key, shape, Math.sqrt(6 / sizeOf(shape.slice(1))));
}
