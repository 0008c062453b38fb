/**
 * Pooling and interpolation against plain loops, over shapes the goldens leave out: vec4 lanes, dilation, big
 * windows, f16, double backward.
 */
import { beforeAll, describe, expect, it } from 'vitest';
import * as k from '../../src/index.js';
import type { Tensor } from '../../src/index.js';
import { planMaxPool, tapWords, type PoolProblem } from '../../src/kernels/images/pool.js';
import { planMaxPoolGrad } from '../../src/kernels/images/pool-grad.js';
import { planLimits, runPlan } from '../../src/ops/base/run-plan.js';

beforeAll(() => k.init());

type Shape4 = readonly [n: number, c: number, h: number, w: number];

/** Values with ties, the same on every run. */
function values(count: number, seed = 1): Float32Array {
  let state = seed;
  return Float32Array.from({ length: count }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.round((state / 2 ** 32) * 40 - 20) / 4;
  });
}

const input = (shape: Shape4, seed = 1): Tensor =>
  k.tensor(values(shape[0] * shape[1] * shape[2] * shape[3], seed), { shape });

/** Rows `[first, last)` of output row `o`, and the taps in it. */
type Window = (o: number, size: number) => number[];

const strided =
  (kernel: number, stride: number, pad: number, dilation: number): Window =>
  (o, size) =>
    Array.from({ length: kernel }, (_, i) => o * stride - pad + i * dilation).filter(
      (y) => y >= 0 && y < size,
    );
const adaptive =
  (out: number): Window =>
  (o, size) => {
    const first = Math.floor((o * size) / out);
    return Array.from({ length: Math.ceil(((o + 1) * size) / out) - first }, (_, i) => first + i);
  };

interface Pooled {
  readonly max: number[];
  readonly indices: number[];
  readonly mean: number[];
  /** Gradients of sum(result * weights). */
  readonly maxGrad: number[];
  readonly meanGrad: number[];
}

function reference(
  x: ArrayLike<number>,
  [n, c, h, w]: Shape4,
  out: readonly [number, number],
  rows: Window,
  columns: Window,
  weights: ArrayLike<number>,
): Pooled {
  const r: Pooled = {
    max: [],
    indices: [],
    mean: [],
    maxGrad: new Array<number>(x.length).fill(0),
    meanGrad: new Array<number>(x.length).fill(0),
  };
  for (let plane = 0; plane < n * c; plane++) {
    for (let oy = 0; oy < out[0]; oy++) {
      for (let ox = 0; ox < out[1]; ox++) {
        const taps = rows(oy, h).flatMap((y) => columns(ox, w).map((column) => y * w + column));
        let best = taps[0]!;
        let sum = 0;
        const at = (i: number): number => x[plane * h * w + i]!;
        for (const tap of taps) {
          if (at(tap) > at(best)) best = tap;
          sum += at(tap);
        }
        const g = weights[r.max.length]!;
        r.max.push(at(best));
        r.indices.push(best);
        r.mean.push(sum / taps.length);
        r.maxGrad[plane * h * w + best]! += g;
        for (const tap of taps) r.meanGrad[plane * h * w + tap]! += g / taps.length;
      }
    }
  }
  return r;
}

async function close(got: Tensor, want: ArrayLike<number>, tolerance = 1e-5): Promise<void> {
  const data = await got.data();
  expect(data.length).toBe(want.length);
  let worst = 0;
  for (let i = 0; i < data.length; i++)
    worst = Math.max(worst, Math.abs(data[i]! - want[i]!) / (1 + Math.abs(want[i]!)));
  expect(worst).toBeLessThan(tolerance);
}

/** Value and gradient of sum(f(x) * weights), weights by the output's size. */
function pulled(f: (x: Tensor) => Tensor, x: Tensor): { y: Tensor; weights: Tensor; dx: Tensor } {
  const leaf = x.detach().requiresGrad_();
  const y = f(leaf);
  const weights = input(y.shape as unknown as Shape4, 7);
  const [dx] = k.autograd.grad([k.sum(k.mul(y, weights))], [leaf]) as [Tensor];
  return { y, weights, dx };
}

const cases: readonly (readonly [
  name: string,
  shape: Shape4,
  kernel: number,
  stride: number,
  pad: number,
  dilation: number,
])[] = [
  ['3/2/1 vec4', [2, 8, 13, 11], 3, 2, 1, 1],
  ['3/2/1 single lanes', [1, 5, 8, 9], 3, 2, 1, 1],
  ['stride over kernel', [1, 4, 11, 12], 2, 3, 0, 1],
  ['5/1/2', [2, 4, 7, 9], 5, 1, 2, 1],
  ['dilated', [1, 8, 12, 11], 3, 2, 1, 2],
  ['big window, loops', [1, 4, 15, 14], 7, 3, 3, 1],
  ['window of more than 256 taps', [1, 4, 20, 19], 17, 2, 8, 1],
];

describe('pooling', () => {
  it.each(cases)('%s', async (_, shape, kernel, stride, pad, dilation) => {
    const x = input(shape);
    const window = strided(kernel, stride, pad, dilation);
    const size = (s: number): number => Math.floor((s + 2 * pad - dilation * (kernel - 1) - 1) / stride) + 1;
    const out = [size(shape[2]), size(shape[3])] as const;
    const max = pulled((t) => k.maxPool2d(t, kernel, { stride, padding: pad, dilation }), x);
    const want = reference(await x.data(), shape, out, window, window, await max.weights.data());
    await close(max.y, want.max, 1e-9);
    await close(max.dx, want.maxGrad);
    const [, indices] = k.maxPool2d(x, kernel, { stride, padding: pad, dilation, returnIndices: true });
    expect([...(await indices.data())]).toEqual(want.indices);
    if (dilation > 1) return;
    const mean = pulled((t) => k.avgPool2d(t, kernel, { stride, padding: pad, countIncludePad: false }), x);
    await close(mean.y, want.mean);
    await close(mean.dx, want.meanGrad);
  });

  it.each([
    ['uneven', [2, 8, 7, 9], [3, 4]],
    ['larger than the input', [1, 4, 3, 3], [5, 7]],
    ['one', [2, 8, 6, 5], [1, 1]],
    ['single lanes', [1, 3, 8, 5], [3, 2]],
  ] as readonly (readonly [string, Shape4, readonly [number, number]])[])(
    'adaptive: %s',
    async (_, shape, out) => {
      const x = input(shape);
      const max = pulled((t) => k.adaptiveMaxPool2d(t, out), x);
      const want = reference(
        await x.data(),
        shape,
        out,
        adaptive(out[0]),
        adaptive(out[1]),
        await max.weights.data(),
      );
      await close(max.y, want.max, 1e-9);
      await close(max.dx, want.maxGrad);
      const [, indices] = k.adaptiveMaxPool2d(x, out, { returnIndices: true });
      expect([...(await indices.data())]).toEqual(want.indices);
      const mean = pulled((t) => k.adaptiveAvgPool2d(t, out), x);
      await close(mean.y, want.mean);
      await close(mean.dx, want.meanGrad);
    },
  );

  it('keeps null sizes, takes unbatched images, and answers in channels-last storage', () => {
    const x = input([1, 4, 6, 5]);
    expect(k.adaptiveAvgPool2d(x, [null, 2]).shape).toEqual([1, 4, 6, 2]);
    expect(k.adaptiveMaxPool2d(k.reshape(x, [4, 6, 5]), 3).shape).toEqual([4, 3, 3]);
    expect(k.maxPool2d(x, 2).strides).toEqual([24, 1, 8, 4]);
  });

  it('lets NaN win, and nothing win over -Infinity by default', async () => {
    const x = k.tensor([NaN, 9, -Infinity, -Infinity, 1, NaN, -Infinity, -Infinity], { shape: [1, 1, 2, 4] });
    const [y, indices] = k.maxPool2d(x, 2, { returnIndices: true });
    expect([...(await y.data())]).toEqual([NaN, -Infinity]);
    expect([...(await indices.data())]).toEqual([5, 2]);
  });

  it('takes float16', async () => {
    const x = k.to(input([1, 4, 6, 6]), 'float16').requiresGrad_();
    for (const f of [(t: Tensor) => k.maxPool2d(t, 2), (t: Tensor) => k.avgPool2d(t, 2)]) {
      const y = f(x);
      expect(y.dtype).toBe('float16');
      await close(y, await f(k.to(x.detach(), 'float32')).data(), 2e-3);
      const [dx] = k.autograd.grad([k.sum(y)], [x]) as [Tensor];
      expect(dx.dtype).toBe('float16');
    }
  });

  it('cuts a batch into ranges where one binding does not hold it', async () => {
    const [n, c, h, w] = [5, 4, 6, 6];
    const x = input([n, h, w, c]);
    const window = {
      kernelH: 2,
      kernelW: 2,
      strideH: 2,
      strideW: 2,
      padTop: 0,
      padLeft: 0,
      dilationH: 1,
      dilationW: 1,
    };
    const problem: PoolProblem = { elem: 'f32', n, c, h, w, outH: 3, outW: 3, window };
    const run = async (maxBinding: number): Promise<[Tensor, Tensor, number]> => {
      const [y, taps, dx] = [
        k.zeros([n, 3, 3, c]),
        k.zeros([tapWords(problem)], { dtype: 'int32' }),
        k.zeros([n, h, w, c]),
      ];
      const limits = { ...planLimits(), maxBinding };
      const plan = planMaxPool(limits, problem, true);
      runPlan('test', plan, { x, y, taps });
      runPlan('test', planMaxPoolGrad(limits, problem), { dy: y, taps, dx });
      return [y, dx, plan.launches.length];
    };
    const whole = await run(1 << 20);
    const cut = await run(2 * h * w * c * 4 + 256);
    expect([whole[2], cut[2]]).toEqual([1, 3]);
    await close(cut[0], await whole[0].data(), 1e-9);
    await close(cut[1], await whole[1].data(), 1e-9);
    expect(() => planMaxPool({ ...planLimits(), maxBinding: 256 }, problem, true)).toThrow(
      /larger than a binding/,
    );
  });

  it('refuses integers', () => {
    const x = k.zeros([1, 1, 4, 4], { dtype: 'int32' });
    expect(() => k.maxPool2d(x, 2)).toThrow(/maxPool2d.*int32/);
    expect(() => k.avgPool2d(x, 2)).toThrow(/avgPool2d.*int32/);
  });

  it('has second derivatives', async () => {
    // All different by more than the step below, so that no maximum changes hands.
    const x = k.tensor(
      Float32Array.from({ length: 100 }, (_, i) => ((i * 37) % 100) / 25 - 2),
      { shape: [1, 4, 5, 5] },
    );
    const v = input([1, 4, 5, 5], 9);
    const eps = 1e-3;
    for (const f of [
      (t: Tensor) => k.maxPool2d(t, 3, { stride: 2, padding: 1 }),
      (t: Tensor) => k.avgPool2d(t, 3, { stride: 2, padding: 1 }),
      (t: Tensor) => k.interpolate(t, { size: [7, 8], mode: 'bilinear' }),
    ]) {
      const firstGrad = (leaf: Tensor, createGraph: boolean): Tensor => {
        const y = f(leaf);
        return (k.autograd.grad([k.sum(k.mul(k.mul(y, y), y))], [leaf], { createGraph }) as [Tensor])[0];
      };
      const leaf = x.detach().requiresGrad_();
      const [second] = k.autograd.grad([k.sum(k.mul(firstGrad(leaf, true), v))], [leaf]) as [Tensor];
      const at = (step: number): Tensor => firstGrad(k.add(x, k.mul(v, step)).requiresGrad_(), false);
      await close(second, await k.mul(k.sub(at(eps), at(-eps)), 1 / (2 * eps)).data(), 0.02);
    }
  });
});

describe('interpolation', () => {
  const source = (
    mode: string,
    aligned: boolean,
    size: number,
    out: number,
    scale: number,
    i: number,
  ): [number, number, number] => {
    if (mode === 'nearest') {
      const at = Math.min(Math.floor(Math.fround(i * Math.fround(scale))), size - 1);
      return [at, at, 0];
    }
    const at = aligned ? (out > 1 ? (i * (size - 1)) / (out - 1) : 0) : Math.max(0, (i + 0.5) * scale - 0.5);
    const low = Math.min(Math.floor(at), size - 1);
    return [low, Math.min(low + 1, size - 1), at - low];
  };

  it.each([
    ['nearest', false, [2, 4, 5, 7], [11, 3]],
    ['nearest', false, [1, 3, 4, 4], [40, 9]],
    ['bilinear', false, [2, 4, 5, 7], [37, 3]],
    ['bilinear', true, [1, 3, 3, 4], [40, 23]],
    ['bilinear', true, [1, 4, 9, 8], [1, 5]],
    ['bilinear', false, [1, 8, 9, 8], [4, 1]],
  ] as readonly (readonly ['nearest' | 'bilinear', boolean, Shape4, readonly [number, number]])[])(
    '%s, aligned %s, %j to %j',
    async (mode, aligned, shape, size) => {
      const x = input(shape);
      const { y, weights, dx } = pulled(
        (t) => k.interpolate(t, mode === 'nearest' ? { size, mode } : { size, mode, alignCorners: aligned }),
        x,
      );
      const [n, c, h, w] = shape;
      const [data, g] = [await x.data(), await weights.data()];
      const want: number[] = [];
      const grad = new Array<number>(data.length).fill(0);
      for (let plane = 0; plane < n * c; plane++) {
        for (let oy = 0; oy < size[0]; oy++) {
          for (let ox = 0; ox < size[1]; ox++) {
            const [y0, y1, my] = source(mode, aligned, h, size[0], h / size[0], oy);
            const [x0, x1, mx] = source(mode, aligned, w, size[1], w / size[1], ox);
            let sum = 0;
            for (const [row, wy] of [
              [y0, 1 - my],
              [y1, my],
            ] as const) {
              for (const [column, wx] of [
                [x0, 1 - mx],
                [x1, mx],
              ] as const) {
                const at = (plane * h + row) * w + column;
                sum += wy * wx * data[at]!;
                grad[at]! += wy * wx * g[want.length]!;
              }
            }
            want.push(sum);
          }
        }
      }
      await close(y, want);
      await close(dx, grad);
    },
  );

  it('uses a given factor for the coordinates even where the size was rounded', async () => {
    const x = k.tensor([0, 1, 2, 3, 4], { shape: [1, 1, 1, 5] });
    const y = k.interpolate(x, { scaleFactor: [1, 1.5], mode: 'nearest' });
    expect([...(await y.data())]).toEqual([0, 0, 1, 2, 2, 3, 4]);
  });

  it('explains itself', () => {
    const x = input([1, 1, 2, 2]);
    expect(() => k.interpolate(x, {})).toThrow(/size or scaleFactor/);
    expect(() => k.interpolate(x, { size: 4, alignCorners: true })).toThrow(/alignCorners/);
    expect(() => k.interpolate(k.reshape(x, [2, 2]), { size: 4 })).toThrow(/\[N, C, ...\].*got \[2, 2\]/);
    expect(() => k.interpolate(k.reshape(x, [1, 2, 2]), { size: 4, mode: 'bilinear' })).toThrow(
      /2 spatial dims/,
    );
  });
});
