/**
 * Kernels whose products go through subgroup matrices: by loops in their place here, and before Dawn's
 * validation as they are.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { close, init, runtime } from '../../src/device/index.js';
import { matrixFeature } from '../../src/device/adapter.js';
import { ErrorLog } from '../../src/device/errors.js';
import { UniformArena } from '../../src/device/params.js';
import { ProgramCache } from '../../src/device/programs.js';
import { planConv2d } from '../../src/kernels/conv/plan.js';
import { planConv2dInputGrad } from '../../src/kernels/conv/input-grad.js';
import type { Conv2dProblem } from '../../src/kernels/conv/problem.js';
import { planConv2dWeightGrad } from '../../src/kernels/conv/weight-grad.js';
import { planGemm } from '../../src/kernels/matmul/plan.js';
import type { Target } from '../../src/kernels/base/kernel.js';
import type { Launch, Plan } from '../../src/kernels/base/plan.js';
import { runPlan } from './harness.js';
import { conv, limits, random, reference, relaid, relativeError, type Pass } from './heavy-harness.js';

beforeAll(() => init());
afterAll(() => close());

const target = (matrices: 'native' | 'emulated'): Target => ({
  ...runtime().target,
  kind: 'gpu',
  subgroupSize: 0,
  matrices,
});

/** Values that float16 holds exactly. */
const sixtyFourths = (count: number): Float32Array => random(count).map((v) => Math.round(v * 64) / 64);

const half = (data: Float32Array) => ({ data, dtype: 'float16' as const });

async function run(plan: Plan, inputs: Record<string, Float32Array>, output: string, count: number) {
  const given = Object.fromEntries(Object.entries(inputs).map(([name, data]) => [name, half(data)]));
  if (plan.weights) {
    const packed = plan.weights.bytes / 2;
    const { launches } = plan.weights;
    const made = await runPlan(
      { launches, workspaces: {} },
      { weight: given['w']! },
      { packed: { count: packed, dtype: 'float16' } },
    );
    given['w'] = half(Float32Array.from(made['packed']!));
  }
  const result = await runPlan(plan, given, { [output]: { count, dtype: 'float16' } });
  return Float32Array.from(result[output]!);
}

/** A result in float16 is off by half of its last bit. */
const bound = 2e-3;
const usesMatrices = (launches: readonly Launch[]): boolean =>
  launches.some((l) => l.kernel.wgsl.includes('multiplyBlock'));

const shape = conv({ n: 2, h: 9, w: 7, cIn: 20, cOut: 40, pad: 1 });
const stem = conv({ n: 1, h: 15, w: 17, cIn: 3, cOut: 32, kernel: 7, pad: 3, stride: 2 });
const strided = conv({ n: 2, h: 8, w: 10, cIn: 24, cOut: 36, pad: 1, stride: 2, extra: { weights: 'hwio' } });
const problems: Record<string, Conv2dProblem> = {
  '3x3': shape,
  '7x7 of RGB': stem,
  'stride 2, HWIO': strided,
};

const planners = { forward: planConv2d, inputGrad: planConv2dInputGrad, weightGrad: planConv2dWeightGrad };

describe('products by subgroup matrices (emulated)', () => {
  it.each([
    [false, false],
    [false, true],
    [true, false],
  ])('matmul with transA %s, transB %s', async (transA, transB) => {
    const [m, n, k] = [70, 52, 36];
    const a = sixtyFourths(m * k);
    const b = sixtyFourths(k * n);
    const plan = planGemm(target('emulated'), limits(), { m, n, k, transA, transB, elem: 'f16' });
    expect(usesMatrices(plan.launches)).toBe(true);
    const want = Float64Array.from({ length: m * n }, (_, at) => {
      const [i, j] = [Math.floor(at / n), at % n];
      let sum = 0;
      for (let t = 0; t < k; t++)
        sum += a[transA ? t * m + i : i * k + t]! * b[transB ? j * k + t : t * n + j]!;
      return sum;
    });
    expect(relativeError(await run(plan, { a, b }, 'c', m * n), want)).toBeLessThan(bound);
  });

  it.each(['stride 2, HWIO'])('convolution and gradients, %s', async (name) => {
    const p: Conv2dProblem = { ...problems[name]!, elem: 'f16' };
    const x = sixtyFourths(p.n * p.h * p.w * p.cIn);
    const w = sixtyFourths(p.cOut * p.cIn * p.kernelH * p.kernelW);
    const dy = sixtyFourths(p.n * p.outH * p.outW * p.cOut);
    const passes: readonly [Pass, string, number][] = [
      ['forward', 'y', dy.length],
      ['inputGrad', 'dx', x.length],
      ['weightGrad', 'dw', w.length],
    ];
    for (const [pass, output, count] of passes) {
      const plan = planners[pass](target('emulated'), limits(), p);
      const given = p.weights === 'hwio' ? relaid(w, p, 'oihw') : w;
      const inputs: Record<Pass, Record<string, Float32Array>> = {
        forward: { x, w: given },
        inputGrad: { dy, w: given },
        weightGrad: { x, dy },
      };
      const got = await run(plan, inputs[pass], output, count);
      const plain = pass === 'weightGrad' && p.weights === 'hwio' ? relaid(got, p, 'hwio') : got;
      expect(relativeError(plain, reference(p, pass, x, w, dy)), pass).toBeLessThan(bound * 4);
      if (pass === 'forward') expect(usesMatrices(plan.launches)).toBe(true);
    }
  });

  it('leaves float32 alone', () => {
    const plan = planGemm(target('emulated'), limits(), { m: 70, n: 52, k: 36 });
    expect(usesMatrices(plan.launches)).toBe(false);
  });
});

describe('products by subgroup matrices (as they are)', () => {
  it("pass Dawn's validation", async () => {
    // Dawn's null backend has every feature and runs nothing.
    const webgpu = 'webgpu';
    const { create } = (await import(/* @vite-ignore */ webgpu)) as { create(flags: string[]): GPU };
    const gpu = create(['backend=null', 'enable-dawn-features=allow_unsafe_apis']);
    pinned.push(gpu);
    const adapter = await gpu.requestAdapter();
    const features = ['shader-f16', 'subgroups', matrixFeature].filter((f) => adapter!.features.has(f));
    const device = await adapter!.requestDevice({
      requiredFeatures: features as GPUFeatureName[],
      requiredLimits: { maxComputeWorkgroupStorageSize: adapter!.limits.maxComputeWorkgroupStorageSize },
    });
    const errors = new ErrorLog();
    const cache = new ProgramCache(device, target('native'), 0, new UniformArena(device), errors);
    const plans = [
      planGemm(target('native'), limits(), { m: 70, n: 52, k: 36, elem: 'f16' }),
      planGemm(target('native'), limits(), { m: 70, n: 52, k: 36, transB: true, elem: 'f16' }),
      ...Object.values(problems).flatMap((p) =>
        Object.values(planners).map((plan) => plan(target('native'), limits(), { ...p, elem: 'f16' })),
      ),
    ];
    const kernels = new Set(plans.flatMap((p) => p.launches.map((l) => l.kernel)));
    device.pushErrorScope('validation');
    for (const kernel of kernels) cache.get(kernel);
    expect((await device.popErrorScope())?.message ?? '').toBe('');
    await errors.settle();
    expect(errors.take()?.message ?? '').toBe('');
    device.destroy();
  });
});

/** Dawn aborts the process when what `create` returned is collected. */
const pinned: GPU[] = [];
