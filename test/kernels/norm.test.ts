/** Batch norm's kernels for GPUs beside those of the software adapter, which the goldens hold. */
import { beforeAll, describe, expect, it } from 'vitest';
import { init, runtime } from '../../src/device/index.js';
import { planBatchNorm } from '../../src/kernels/norm/plan.js';
import * as k from '../../src/index.js';
import { batchNormThen } from '../../src/ops/norm/batch-norm.js';
import type { Activation } from '../../src/kernels/base/plan.js';
import { gpu, plannedFor } from '../forced-target.js';
import { every } from '../tooling/full.js';
import { relativeError } from './heavy-harness.js';
import { host, runPlan } from './harness.js';

beforeAll(() => init());

interface Case {
  readonly shape: readonly number[];
  readonly residual?: boolean;
  readonly activation?: Activation;
  /** Of the images and the residual, whose values are those of float16 where it is given. */
  readonly dtype?: 'float32' | 'float16';
}

/** Result, statistics and gradients. */
async function train({ shape, residual = false, activation = 'none', dtype }: Case): Promise<Float32Array[]> {
  k.manualSeed(3);
  const channels = shape[1]!;
  const leaf = (t: k.Tensor): k.Tensor => t.requiresGrad_();
  const rounded = (t: k.Tensor): k.Tensor => (dtype === undefined ? t : t.half().to(dtype));
  const x = leaf(rounded(k.randn(shape).add(5)));
  const more = residual ? leaf(rounded(k.randn(shape))) : null;
  const [weight, bias] = [leaf(k.rand([channels])), leaf(k.randn([channels]))];
  const [mean, variance] = [k.zeros([channels]), k.ones([channels])];
  const numBatchesTracked = k.zeros([], { dtype: 'int32' });
  const options = { weight, bias, training: true, numBatchesTracked };
  const y = batchNormThen(x, mean, variance, options, { residual: more, activation });
  y.mul(k.randn(shape)).sum().backward();
  const made = [
    y,
    mean,
    variance,
    numBatchesTracked,
    ...[x, more, weight, bias].flatMap((t) => t?.grad ?? []),
  ];
  return Promise.all(made.map(async (t) => Float32Array.from(await t.data())));
}

describe('batch norm planned for a GPU gives what the software plan gives', () => {
  const cases: [string, Case][] = [
    ['channels in fours', { shape: [3, 12, 7, 9] }],
    ['odd channels', { shape: [5, 7, 6, 5] }],
    ['more columns than a workgroup has', { shape: [4, 100, 3, 3] }],
    ['many rows of one channel', { shape: [2, 1, 70, 90] }],
    ['a batch of vectors', { shape: [130, 16] }],
    ['two rows', { shape: [2, 8] }],
    ['an activation', { shape: [3, 12, 7, 9], activation: 'relu' }],
    ['a residual and an activation', { shape: [3, 12, 7, 9], residual: true, activation: 'relu6' }],
    ['many blocks', { shape: [6, 8, 50, 50], residual: true }],
  ];
  it.each(every(2, cases))('%s', async (_, problem) => {
    const expected = await train(problem);
    const got = await plannedFor(gpu(), () => train(problem));
    expect(got.length).toBe(expected.length);
    // A gradient may be the sum of what nearly cancels.
    got.forEach((values, i) =>
      expect(relativeError(values, Float64Array.from(expected[i]!))).toBeLessThan(1e-4),
    );
  });

  const halves: [string, Case][] = [
    ['channels in fours', { shape: [3, 12, 7, 9], activation: 'relu' }],
    ['odd channels', { shape: [5, 7, 6, 5], residual: true }],
    ['a residual and an activation', { shape: [3, 12, 7, 9], residual: true, activation: 'relu6' }],
    ['a matrix of vectors', { shape: [130, 16] }],
  ];
  it.each(every(2, halves, 1))('float16: %s', async (_, problem) => {
    const exact = await train({ ...problem, dtype: 'float32' });
    const half = { ...problem, dtype: 'float16' } as const;
    for (const got of [await train(half), await plannedFor(gpu(), () => train(half))])
      got.forEach((values, i) =>
        // Half a step of the largest results, of the root mean square.
        expect(relativeError(values, Float64Array.from(exact[i]!))).toBeLessThan(6e-3),
      );
  });

  it('float16: can be differentiated twice', async () => {
    const gradient = async (dtype: 'float32' | 'float16'): Promise<Float64Array> => {
      k.manualSeed(4);
      const x = k.randn([6, 4]).half().to(dtype).requiresGrad_();
      const weight = k.rand([4]).requiresGrad_();
      const y = k.batchNorm(x, null, null, { weight, bias: k.zeros([4]), training: true });
      const [dx] = k.autograd.grad(y.mul(y).mul(y).sum(), [x], { createGraph: true });
      const [twice] = k.autograd.grad(dx!.float().square().sum(), [weight]);
      return Float64Array.from(await twice!.data());
    };
    const [exact, half] = [await gradient('float32'), await gradient('float16')];
    expect(relativeError(Float32Array.from(half), exact)).toBeLessThan(2e-2);
  });

  it('on a device with small workgroups', async () => {
    const problem: Case = { shape: [3, 12, 17, 9] };
    const [expected] = await train(problem);
    const [got] = await plannedFor({ ...gpu(), maxInvocations: 128 }, () => train(problem));
    expect(relativeError(got!, Float64Array.from(expected!))).toBeLessThan(1e-5);
  });
});

describe('layer and RMS norm by rows, planned for a GPU', () => {
  /** Result and gradients, by rows or (from a transposed input) by ordinary reductions. */
  async function normed(
    norm: 'layerNorm' | 'rmsNorm',
    [rows, classes]: readonly [number, number],
    affine: boolean,
    transposed: boolean,
  ): Promise<Float32Array[]> {
    k.manualSeed(5);
    const given = k.randn([rows, classes]).add(3);
    const x = (transposed ? given.t().contiguous().t() : given.clone()).requiresGrad_();
    const weight = affine ? k.rand([classes]).requiresGrad_() : null;
    const bias = affine && norm === 'layerNorm' ? k.randn([classes]).requiresGrad_() : null;
    const y =
      norm === 'layerNorm'
        ? k.nn.functional.layerNorm(x, classes, { weight, bias })
        : k.nn.functional.rmsNorm(x, classes, { weight });
    y.mul(k.randn([rows, classes]))
      .sum()
      .backward();
    const made = [y, x.grad!, ...[weight, bias].flatMap((t) => t?.grad ?? [])];
    return Promise.all(made.map(async (t) => Float32Array.from(await t.contiguous().data())));
  }
  const shapes: [string, readonly [number, number]][] = [
    ['rows held in registers', [37, 660]],
    ['odd rows', [9, 333]],
    ['several rows of a workgroup', [35, 24]],
    ['rows too long to be held', [3, 4420]],
    ['one row', [1, 100]],
  ];
  it.each(every(2, shapes))('%s', async (_, shape) => {
    const norms = shape[1] === 660 ? (['layerNorm', 'rmsNorm'] as const) : (['layerNorm'] as const);
    for (const norm of norms) {
      for (const affine of shape[0] === 1 ? [true, false] : [true]) {
        const expected = await normed(norm, shape, affine, true);
        const got = await plannedFor(gpu(), () => normed(norm, shape, affine, false));
        expect(got.length).toBe(expected.length);
        got.forEach((values, i) =>
          expect(relativeError(values, Float64Array.from(expected[i]!))).toBeLessThan(5e-5),
        );
      }
    }
  });

  it('takes one launch forward and three backward', async () => {
    const x = k.randn([64, 768]).requiresGrad_();
    const [weight, bias] = [k.ones([768]).requiresGrad_(), k.zeros([768]).requiresGrad_()];
    const launches = async (fn: () => unknown): Promise<number> => (await k.profile(fn)).dispatches.length;
    await plannedFor(gpu(), async () => {
      let y!: k.Tensor;
      expect(await launches(() => (y = k.nn.functional.layerNorm(x, 768, { weight, bias })))).toBe(1);
      const gradOutputs = k.ones(y.shape);
      expect(await launches(() => k.autograd.grad(y, [x, weight, bias], { gradOutputs }))).toBe(3);
    });
  });
});

it.each(['float32', 'float16'] as const)(
  'a %s matrix larger than a binding is normalised in parts',
  async (dtype) => {
    const [rows, channels] = [1000, 8];
    const data = Float32Array.from({ length: rows * channels }, (_, i) => Math.sin(i) + (i % channels));
    const run = async (maxBinding?: number): Promise<Float32Array> => {
      const problem = {
        rows,
        channels,
        elem: dtype === 'float16' ? ('f16' as const) : ('f32' as const),
        affine: false,
        running: false,
        counted: false,
        ...(maxBinding && { maxBinding }),
      };
      const plan = planBatchNorm({ ...gpu() }, problem, { residual: false, activation: 'none' }, 1e-5, 0.1);
      const { y } = await runPlan(
        plan,
        { x: host(data, [rows, channels], { dtype }) },
        { y: { count: data.length, dtype }, stats: { count: 4 * channels, dtype: 'float32' } },
      );
      return y as Float32Array;
    };
    expect(runtime().limits.minStorageBufferOffsetAlignment).toBeLessThanOrEqual(256);
    const limit = dtype === 'float16' ? 1e-3 : 1e-5;
    expect(relativeError(await run(8192), Float64Array.from(await run()))).toBeLessThan(limit);
  },
);
