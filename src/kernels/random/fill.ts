/**
 * Random numbers by Philox4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"): a
 * keyed bijection of a 128-bit counter, so that any thread computes its numbers from (seed, offset, position)
 * alone. Position 4 i + j of a call is word j of counter (i, 0, offset); the same call gives the same numbers
 * on every adapter, up to rounding in log and cos.
 */
import { foldGrid, linearWorkgroup, memoKernel, type Kernel } from '../base/kernel.js';
import {
  bytesOf,
  ceilDiv,
  type BufferRef,
  type Elem,
  type Launch,
  type Plan,
  type PlanLimits,
} from '../base/plan.js';
import { reads, shader, writes } from '../base/shader.js';
import { philox } from './philox.js';
import { kLog } from '../expr/math.js';
import { WgslFunctions } from '../expr/wgsl-function.js';

/** Seed and offset as two u32 each. */
export interface RandomKey {
  readonly seed: number;
  readonly offset: number;
}

/** The low and the high word of an integer below 2^53. */
export const words = (value: number): readonly [low: number, high: number] => [
  value % 2 ** 32,
  Math.floor(value / 2 ** 32),
];

/** The u32 at position `i` of a call, on the host. */
export function hostWords({ seed, offset }: RandomKey, count: number): Uint32Array {
  const out = new Uint32Array(Math.ceil(count / 4) * 4);
  const key = words(seed);
  for (let i = 0; i < out.length; i += 4) philox([i / 4, 0, ...words(offset)], key, out.subarray(i, i + 4));
  return out.subarray(0, count);
}

const round = `
  { let high0 = mulhi(0xd2511f53u, c.x); let high1 = mulhi(0xcd9e8d57u, c.z);
    c = vec4<u32>(high1 ^ c.y ^ k.x, 0xcd9e8d57u * c.z, high0 ^ c.w ^ k.y, 0xd2511f53u * c.x);
    k += vec2<u32>(0x9e3779b9u, 0xbb67ae85u); }`;

/**
 * @internal `random4(parameters)`: the four words of counter (i, `second`, offset). Draws that take as many
 * words as it happens count by `second`.
 */
export const generatorOf = (parameters: string, second: string): string => `
fn mulhi(a: u32, b: u32) -> u32 {
  let al = a & 0xffffu; let ah = a >> 16u; let bl = b & 0xffffu; let bh = b >> 16u;
  let t = ah * bl + ((al * bl) >> 16u);
  return ah * bh + (t >> 16u) + ((al * bh + (t & 0xffffu)) >> 16u);
}
fn random4(${parameters}) -> vec4<u32> {
  var c = vec4<u32>(i, ${second}, p.offset0, p.offset1);
  var k = vec2<u32>(p.seed0, p.seed1);${round.repeat(10)}
  return c;
}
// 24 random bits: every value of [0, 1) is a float32, and 1 is never reached.
fn unit4(bits: vec4<u32>) -> vec4<f32> { return vec4<f32>(bits >> vec4<u32>(8u)) * 5.9604644775390625e-8; }`;
const generator = generatorOf('i: u32', '0u');

/** @internal */
export const keyParams = [
  ['count', 'u32'],
  ['first', 'u32'],
  ['seed0', 'u32'],
  ['seed1', 'u32'],
  ['offset0', 'u32'],
  ['offset1', 'u32'],
  ['a', 'f32'],
  ['b', 'f32'],
  ['low', 'i32'],
  ['range', 'u32'],
] as const;

/** What is drawn. `bits` are the raw words. */
export type Distribution =
  | { readonly kind: 'bits' }
  /** Uniform in [low, high). */
  | { readonly kind: 'uniform'; readonly low: number; readonly high: number }
  | { readonly kind: 'normal'; readonly mean: number; readonly std: number }
  /** Exponential of rate `rate`; never 0. */
  | { readonly kind: 'exponential'; readonly rate: number }
  /**
   * Integers in [low, low + range); range up to 2^32, of which some values are likelier by at most range /
   * 2^32.
   */
  | { readonly kind: 'integer'; readonly low: number; readonly range: number }
  /** 1 with probability p, else 0. */
  | { readonly kind: 'bernoulli'; readonly p: number };

/** Element types that are drawn into; `u32` holds bool and uint8. */
export type RandomElem = Elem | 'i32' | 'u32';

const toNumbers: Readonly<Record<Distribution['kind'], (elem: RandomElem, f: WgslFunctions) => string>> = {
  bits: () => 'let v = bits;',
  // Rounding may reach the upper end.
  uniform: (elem) =>
    elem === 'f16'
      ? 'let u = vec4<f32>(bits >> vec4<u32>(21u)) * 4.8828125e-4; let v = p.a + u * (p.b - p.a);'
      : 'let r = p.a + unit4(bits) * (p.b - p.a); let v = select(r, vec4<f32>(p.a), r >= vec4<f32>(p.b));',
  // Box & Muller 1958; 1 - u lies in (0, 1].
  normal: (_, f) => `
    let u = unit4(bits);
    let radius = sqrt(-2.0 * ${f.use(kLog, 4)}(vec4<f32>(1.0 - u.x, 1.0 - u.x, 1.0 - u.z, 1.0 - u.z)));
    let angle = (u.yyww - 0.5) * 6.283185307179586;
    let v = p.a + p.b * radius * vec4<f32>(cos(angle.x), sin(angle.y), cos(angle.z), sin(angle.w));`,
  exponential: (_, f) => `let v = max(-${f.use(kLog, 4)}(1.0 - unit4(bits)), vec4<f32>(2.98e-8)) / p.a;`,
  integer: () => `
    let above = vec4<u32>(mulhi(bits.x, p.range), mulhi(bits.y, p.range), mulhi(bits.z, p.range), mulhi(bits.w, p.range));
    let v = bitcast<vec4<i32>>(bitcast<vec4<u32>>(vec4<i32>(p.low)) + select(above, bits, p.range == 0u));`,
  bernoulli: () => 'let v = vec4<u32>(unit4(bits) < vec4<f32>(p.a));',
};

function distributionParams(d: Distribution): [a: number, b: number, low: number, range: number] {
  switch (d.kind) {
    case 'uniform':
      return [d.low, d.high, 0, 0];
    case 'normal':
      return [d.mean, d.std, 0, 0];
    case 'exponential':
      return [d.rate, 0, 0, 0];
    case 'integer':
      return [0, 0, d.low, d.range % 2 ** 32];
    case 'bernoulli':
      return [d.p, 0, 0, 0];
    case 'bits':
      return [0, 0, 0, 0];
  }
}

/** @internal */
export const group = 64;

/** @internal */
export const entryPoint = { workgroup: group, builtins: ['wid', 'nwg', 'lane'] } as const;
const drawBits = `  let i = ${linearWorkgroup} * ${group}u + lane;
  if (i >= p.count) { return; }
  let bits = random4(p.first + i);`;

/** @internal Launches over vec4s of `count` elements of every buffer, in ranges that the adapter can bind. */
export function launchRanges(
  kernel: Kernel,
  names: readonly string[],
  elem: Elem,
  count: number,
  limits: PlanLimits,
  key: RandomKey,
  rest: readonly number[],
): Plan {
  const most = Math.floor((limits.maxBinding - limits.offsetAlignment) / bytesOf(elem) / 256) * 256;
  const launches: Launch[] = [];
  for (let first = 0; first < count; first += most) {
    const part = Math.min(most, count - first);
    const lanes = ceilDiv(part, 4);
    const size = bytesOf(elem);
    // Ranges start at multiples of 256 elements, which every adapter's alignment divides.
    const buffers = names.map((name): BufferRef =>
      count <= most ? name : { name, offset: first * size, size: lanes * 4 * size },
    );
    launches.push({
      kernel,
      buffers,
      params: [lanes, first / 4, ...words(key.seed), ...words(key.offset), ...rest],
      grid: foldGrid(ceilDiv(lanes, group)),
    });
  }
  return { launches, workspaces: {} };
}

/** Fills `count` elements of buffer `y` (from its start, up to the vec4 that holds the last). */
export function planRandom(
  limits: PlanLimits,
  elem: RandomElem,
  count: number,
  key: RandomKey,
  distribution: Distribution,
): Plan {
  const { kind } = distribution;
  const kernel = memoKernel(`random:${kind}:${elem}`, () => {
    const functions = new WgslFunctions();
    const numbers = toNumbers[kind](elem, functions);
    return {
      name: `random_${kind}`,
      params: keyParams,
      ...shader({
        bindings: [writes('y', `vec4<${elem}>`)],
        functions: `${generator}\n${functions.code()}`,
        ...entryPoint,
        body: `${drawBits}
  ${numbers}
  y[i] = vec4<${elem}>(v);`,
      }),
    };
  });
  return launchRanges(
    kernel,
    ['y'],
    elem === 'f16' ? 'f16' : 'f32',
    count,
    limits,
    key,
    distributionParams(distribution),
  );
}

/**
 * Dropout (Srivastava et al. 2014): `y = x / (1 - p)` where kept, else 0. Which elements are kept follows
 * from the key alone, so the backward pass is the same launch on the gradient. Buffers `x y`, dense, in the
 * same memory order.
 */
export function planDropout(limits: PlanLimits, elem: Elem, count: number, key: RandomKey, p: number): Plan {
  const kernel = memoKernel(`dropout:${elem}`, () => ({
    name: 'dropout',
    params: keyParams,
    ...shader({
      bindings: [reads('x', `vec4<${elem}>`), writes('y', `vec4<${elem}>`)],
      functions: generator,
      ...entryPoint,
      body: `${drawBits}
  let v = vec4<f32>(x[i]) * p.b;
  y[i] = vec4<${elem}>(select(v, vec4<f32>(), unit4(bits) < vec4<f32>(p.a)));`,
    }),
  }));
  return launchRanges(kernel, ['x', 'y'], elem, count, limits, key, [p, p < 1 ? 1 / (1 - p) : 0, 0, 0]);
}
