/** Runs plans with packed weights, and plain float64 loops to compare them with. */
import { runtime } from '../../src/device/index.js';
import type { Conv2dProblem } from '../../src/kernels/conv/problem.js';
import type { AdapterClass, Target } from '../../src/kernels/base/kernel.js';
import type { Epilogue, Plan, PlanLimits } from '../../src/kernels/base/plan.js';
import type { Tile } from '../../src/kernels/matmul/tile.js';
import { runPlan } from './harness.js';

let seed = 7;
export const random = (n: number): Float32Array =>
  Float32Array.from({ length: n }, () => {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
    return seed / 2 ** 31 - 1;
  });

/**
 * The adapter's own kernels, those without subgroups, and those for GPUs; all run on the software adapter.
 */
export const targets: Record<string, () => Target> = {
  native: () => runtime().target,
  register: () => ({ ...runtime().target, subgroupSize: 0 }),
  gpu: () => ({ ...runtime().target, kind: 'gpu', subgroupSize: 0 }),
  discrete: () => classOf('discrete'),
  apple: () => classOf('apple'),
  integrated: () => classOf('integrated'),
  tall: () => ({ ...runtime().target, tuning: { id: 0, choose: () => ({ tile: tallTile }) } }),
};
/** Those that choose by the table: every kernel runs with each. */
export const tables = ['native', 'register', 'gpu'];
/** A GPU of a class, with what the adapter here has of limits. */
const classOf = (kind: AdapterClass): Target => ({
  ...runtime().target,
  kind: 'gpu',
  class: kind,
  subgroupSize: 0,
});

let forcedTables = 1e6;
/** What plans for `target`, with `tile` wherever a product or convolution is planned. */
export const withTile = (target: Target, tile: Tile): Target => ({
  ...target,
  tuning: { id: ++forcedTables, choose: () => ({ tile }) },
});

/** What the table has for large products only. */
const tallTile: Tile = { style: 'subgroup', rows: 32, cols: 4, lanes: 8, lanesY: 1 };

export const limits = (maxBinding?: number): PlanLimits => ({
  maxBinding: maxBinding ?? runtime().maxBinding,
  offsetAlignment: runtime().limits.minStorageBufferOffsetAlignment,
});

/** Room behind every operand that no kernel may read into a result or write. */
const slack = 24;

/** `data` from element `offset` on, NaN before and after. */
function poisoned(data: Float32Array, offset = 0): Float32Array {
  const whole = new Float32Array(offset + data.length + slack).fill(NaN);
  whole.set(data, offset);
  return whole;
}

/**
 * Runs `plan` over NaN and returns `output`; throws when something outside of it was written.
 */
export async function run(
  plan: Plan,
  inputs: Readonly<Record<string, { data: Float32Array; offset?: number }>>,
  output: { name: string; count: number; offset?: number; data?: Float32Array },
): Promise<Float32Array> {
  const f32 = (data: ArrayLike<number>) => ({ data, dtype: 'float32' as const });
  const given = Object.fromEntries(
    Object.entries(inputs).map(([name, { data, offset }]) => [name, f32(poisoned(data, offset))]),
  );
  if (plan.weights !== undefined) {
    const count = plan.weights.bytes / 4;
    const packed = await runPlan(
      { launches: plan.weights.launches, workspaces: {} },
      { weight: given['w']! },
      { packed: { count, dtype: 'float32', data: new Float32Array(count).fill(NaN) } },
    );
    given['w'] = f32(packed['packed']!);
  }
  const { name, count, offset = 0 } = output;
  const data = poisoned(output.data ?? new Float32Array(count).fill(NaN), offset);
  const result = await runPlan(plan, given, { [name]: { count: data.length, dtype: 'float32', data } });
  const whole = result[name] as Float32Array;
  for (let i = 0; i < whole.length; i++) {
    if ((i < offset || i >= offset + count) && !Number.isNaN(whole[i]))
      throw new Error(`wrote ${name}[${i - offset}]`);
  }
  return whole.slice(offset, offset + count);
}

/** Largest difference relative to the root mean square of `want`; NaN where a value is missing. */
export function relativeError(got: Float32Array, want: Float64Array): number {
  const rms = Math.sqrt(want.reduce((a, v) => a + v * v, 0) / want.length);
  return got.reduce((worst, v, i) => {
    const d = Math.abs(v - want[i]!) / rms;
    return d <= worst ? worst : d;
  }, 0);
}

export interface EpilogueData {
  readonly bias: Float32Array;
  readonly scale: Float32Array;
  readonly shift: Float32Array;
  readonly residual: Float32Array;
}

/** Applies an epilogue to values whose fastest dimension has `channels`. */
export function applyEpilogue(
  values: Float64Array,
  channels: number,
  e: Epilogue,
  data: EpilogueData,
): Float64Array {
  return values.map((value, i) => {
    const c = i % channels;
    let v = value;
    if (e.bias) v += data.bias[c]!;
    if (e.scale) v *= data.scale[c]!;
    if (e.shift) v += data.shift[c]!;
    if (e.residual) v += data.residual[i]!;
    if (e.activation === 'relu' || e.activation === 'relu6') v = Math.max(0, v);
    if (e.activation === 'relu6') v = Math.min(6, v);
    return v;
  });
}

/** Values of a weight in the other layout. */
export function relaid(w: Float32Array, p: Conv2dProblem, from: 'oihw' | 'hwio'): Float32Array {
  const taps = p.kernelH * p.kernelW;
  const out = new Float32Array(w.length);
  for (let o = 0; o < p.cOut; o++)
    for (let i = 0; i < p.cIn; i++)
      for (let t = 0; t < taps; t++) {
        const rowMajor = (o * p.cIn + i) * taps + t;
        const packed = (t * p.cIn + i) * p.cOut + o;
        if (from === 'oihw') out[packed] = w[rowMajor]!;
        else out[rowMajor] = w[packed]!;
      }
  return out;
}

export type Pass = 'forward' | 'inputGrad' | 'weightGrad';

/** The convolution and its gradients by definition; tensors are channels-last, the weight OIHW. */
export function reference(
  p: Conv2dProblem,
  pass: Pass,
  x: Float32Array,
  w: Float32Array,
  dy: Float32Array,
): Float64Array {
  const ci = p.cIn / p.groups;
  const co = p.cOut / p.groups;
  const size = { forward: dy.length, inputGrad: x.length, weightGrad: w.length }[pass];
  const out = new Float64Array(size);
  const rows = p.n * p.outH * p.outW;
  for (let m = 0; m < rows; m++) {
    const j = m % p.outW;
    const i = Math.floor(m / p.outW) % p.outH;
    const n = Math.floor(m / (p.outW * p.outH));
    for (let tap = 0; tap < p.kernelH * p.kernelW; tap++) {
      const ih = i * p.strideH - p.padTop + Math.floor(tap / p.kernelW) * p.dilationH;
      const iw = j * p.strideW - p.padLeft + (tap % p.kernelW) * p.dilationW;
      if (ih < 0 || ih >= p.h || iw < 0 || iw >= p.w) continue;
      for (let o = 0; o < p.cOut; o++) {
        const yi = m * p.cOut + o;
        const xBase = ((n * p.h + ih) * p.w + iw) * p.cIn + Math.floor(o / co) * ci;
        for (let c = 0; c < ci; c++) {
          const xi = xBase + c;
          const wi = (o * ci + c) * p.kernelH * p.kernelW + tap;
          if (pass === 'forward') out[yi]! += x[xi]! * w[wi]!;
          else if (pass === 'inputGrad') out[xi]! += dy[yi]! * w[wi]!;
          else out[wi]! += dy[yi]! * x[xi]!;
        }
      }
    }
  }
  return out;
}

/** A problem from its usual description; the output size follows from a symmetric padding unless given. */
export function conv(o: {
  n?: number;
  h: number;
  w: number;
  cIn: number;
  cOut: number;
  kernel?: number | [number, number];
  stride?: number | [number, number];
  pad?: number | [number, number];
  dilation?: number | [number, number];
  groups?: number;
  out?: [number, number];
  extra?: Partial<Conv2dProblem>;
}): Conv2dProblem {
  const two = (v: number | [number, number]): [number, number] => (typeof v === 'number' ? [v, v] : v);
  const [kernelH, kernelW] = two(o.kernel ?? 3);
  const [strideH, strideW] = two(o.stride ?? 1);
  const [padTop, padLeft] = two(o.pad ?? 0);
  const [dilationH, dilationW] = two(o.dilation ?? 1);
  const size = (n: number, k: number, s: number, p: number, d: number): number =>
    Math.floor((n + 2 * p - d * (k - 1) - 1) / s) + 1;
  const [outH, outW] = o.out ?? [
    size(o.h, kernelH, strideH, padTop, dilationH),
    size(o.w, kernelW, strideW, padLeft, dilationW),
  ];
  const shape = { n: o.n ?? 1, h: o.h, w: o.w, cIn: o.cIn, cOut: o.cOut, groups: o.groups ?? 1 };
  const taps = { kernelH, kernelW, strideH, strideW, padTop, padLeft, dilationH, dilationW };
  return { ...shape, ...taps, outH, outW, ...o.extra };
}
