/**
 * Kernels whose products go through subgroup matrices: by loops in their place here, and before Dawn's
 * validation as they are.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { close, init, runtime } from '../../src/device/index.js';
import { matrixFeature, matrixSupport } from '../../src/device/adapter.js';
import { ErrorLog } from '../../src/device/errors.js';
import { UniformArena } from '../../src/device/params.js';
import { ProgramCache } from '../../src/device/programs.js';
import { planConv2d } from '../../src/kernels/conv/plan.js';
import { planConv2dInputGrad } from '../../src/kernels/conv/input-grad.js';
import type { Conv2dProblem } from '../../src/kernels/conv/problem.js';
import { planConv2dWeightGrad } from '../../src/kernels/conv/weight-grad.js';
import { planGemm } from '../../src/kernels/matmul/plan.js';
import type { MatrixConfig, Target } from '../../src/kernels/base/kernel.js';
import { matrixRows } from '../../src/kernels/matmul/matrix-tile.js';
import { sharedBytes } from '../../src/kernels/matmul/shared-tile.js';
import { tileCols, tileRows, type Tile } from '../../src/kernels/matmul/tile.js';
import type { Launch, Plan } from '../../src/kernels/base/plan.js';
import { every } from '../tooling/full.js';
import { runPlan } from './harness.js';
import {
  conv,
  limits,
  random,
  reference,
  relaid,
  relativeError,
  run as runFloat32,
  withTile,
  type Pass,
} from './heavy-harness.js';

beforeAll(() => init());
afterAll(() => close());

const configs = {
  '16x16x16 f16': { m: 16, n: 16, k: 16, elem: 'f16', subgroup: 32 },
  '16x16x16 f16 in subgroups of 64': { m: 16, n: 16, k: 16, elem: 'f16', subgroup: 64 },
  '8x16x16 f16': { m: 8, n: 16, k: 16, elem: 'f16', subgroup: 16 },
  '8x16x16 f16 in subgroups of 32': { m: 8, n: 16, k: 16, elem: 'f16', subgroup: 32 },
  '8x8x8 f16': { m: 8, n: 8, k: 8, elem: 'f16', subgroup: 32 },
  '8x8x8 f32': { m: 8, n: 8, k: 8, elem: 'f32', subgroup: 32 },
} as const satisfies Record<string, MatrixConfig>;
type ConfigName = keyof typeof configs;

const target = (
  mode: 'native' | 'emulated',
  name: ConfigName = '16x16x16 f16',
  more: Partial<Target> = {},
): Target => ({
  ...runtime().target,
  kind: 'gpu',
  subgroupSize: 0,
  matrices: { mode, configs: [configs[name]] },
  ...more,
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
  /** Runs a product on a target and returns its error; the operands are float16 unless said. */
  async function productError(
    planned: Target,
    p: { m: number; n: number; k: number; transA: boolean; transB: boolean },
    elem: 'f16' | 'f32' = 'f16',
  ): Promise<number> {
    const { m, n, k, transA, transB } = p;
    const a = sixtyFourths(m * k);
    const b = sixtyFourths(k * n);
    const plan = planGemm(planned, limits(), { ...p, elem });
    expect(usesMatrices(plan.launches)).toBe(true);
    const want = Float64Array.from({ length: m * n }, (_, at) => {
      const [i, j] = [Math.floor(at / n), at % n];
      let sum = 0;
      for (let t = 0; t < k; t++)
        sum += a[transA ? t * m + i : i * k + t]! * b[transB ? j * k + t : t * n + j]!;
      return sum;
    });
    if (elem === 'f16') return relativeError(await run(plan, { a, b }, 'c', m * n), want);
    return relativeError(
      await runFloat32(plan, { a: { data: a }, b: { data: b } }, { name: 'c', count: m * n }),
      want,
    );
  }

  const layouts = [
    ['16x16x16 f16', false, false],
    ['16x16x16 f16 in subgroups of 64', true, false],
    ['8x16x16 f16', false, true],
    ['8x8x8 f16', true, true],
  ] as const;
  it.each(every(3, layouts))('matmul by %s, transA %s, transB %s', async (name, transA, transB) => {
    const p = { m: 70, n: 52, k: 44, transA, transB };
    expect(await productError(target('emulated', name), p)).toBeLessThan(bound);
  });

  it('matmul of float32 by 8x8x8 f32, split', async () => {
    const p = { m: 37, n: 35, k: 530, transA: false, transB: false };
    expect(await productError(target('emulated', '8x8x8 f32'), p, 'f32')).toBeLessThan(1e-5);
  });

  it('matmul by the largest tile, of 4x4 blocks per subgroup', async () => {
    const planned = target('emulated', '8x8x8 f32', { maxWorkgroupStorage: 32768 });
    const [[tile]] = matrixRows(planned, 'f32') as [[Tile, number]];
    const p = { m: 68, n: 67, k: 37, transA: true, transB: false };
    expect(await productError(withTile(planned, tile), p, 'f32')).toBeLessThan(1e-5);
  });

  it('are for float16 only where the units take nothing else', () => {
    const plan = planGemm(target('emulated'), limits(), { m: 70, n: 52, k: 36 });
    expect(usesMatrices(plan.launches)).toBe(false);
  });

  /** Rows and columns of the largest tile, and k of its slices. */
  const largest = (name: ConfigName, maxWorkgroupStorage: number): [number, number, number] => {
    const [first] = matrixRows(target('native', name, { maxWorkgroupStorage }), configs[name].elem);
    const [tile] = first!;
    expect(tile.lanes * tile.lanesY).toBe(4 * configs[name].subgroup);
    expect(sharedBytes(tile)).toBeLessThanOrEqual(maxWorkgroupStorage);
    return [tileRows(tile), tileCols(tile), tile.depth!];
  };

  it.each(Object.keys(configs) as ConfigName[])('%s: four subgroups of 4x4 blocks, 32 k', (name) => {
    const { m, n } = configs[name];
    expect(largest(name, 32768)).toEqual([8 * m, 8 * n, 32]);
  });

  it('take shorter slices, then smaller tiles, where workgroup memory is small', () => {
    expect(largest('16x16x16 f16', 16384)).toEqual([128, 128, 16]);
    expect(largest('16x16x16 f16', 14336)).toEqual([64, 64, 32]);
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
    // Its limits are WebGPU's defaults, and workgroups must be multiples of its largest subgroup, of 128.
    const planned = (name?: ConfigName): Target => target('native', name, { maxWorkgroupStorage: 16384 });
    const cache = new ProgramCache(device, planned(), 0, new UniformArena(device), errors);
    const plans = [
      planGemm(planned(), limits(), { m: 70, n: 52, k: 36, elem: 'f16' }),
      planGemm(planned(), limits(), { m: 70, n: 52, k: 36, transB: true, elem: 'f16' }),
      planGemm(planned('8x16x16 f16 in subgroups of 32'), limits(), { m: 4096, n: 4096, k: 64, elem: 'f16' }),
      planGemm(planned('8x8x8 f16'), limits(), { m: 70, n: 52, k: 36, elem: 'f16' }),
      planGemm(planned('8x8x8 f32'), limits(), { m: 4096, n: 4096, k: 64 }),
      ...Object.values(problems).flatMap((p) =>
        Object.values(planners).map((plan) => plan(planned(), limits(), { ...p, elem: 'f16' })),
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

describe('which configurations are used', () => {
  const all = new Set(['shader-f16', 'subgroups', matrixFeature]);
  const config = (M: number, N: number, K: number, componentType: string, resultComponentType = 'f32') => ({
    M,
    N,
    K,
    componentType,
    resultComponentType,
  });
  const info = (least: number, most: number, ...subgroupMatrixConfigs: readonly object[]) =>
    ({ subgroupMinSize: least, subgroupMaxSize: most, subgroupMatrixConfigs }) as unknown as GPUAdapterInfo;

  it('are those of the adapter with float32 sums, the best first', () => {
    const found = matrixSupport(
      info(32, 32, config(8, 8, 8, 'f32'), config(8, 8, 8, 'f16', 'f16'), config(16, 16, 16, 'f16')),
      all,
    );
    expect(found.configs).toEqual([configs['16x16x16 f16'], configs['8x8x8 f32']]);
    expect(found.text).toBe('16x16x16 f16, 8x8x8 f32 in subgroups of 32');
  });

  it('are none, with the reason', () => {
    const of = (i: GPUAdapterInfo, features: ReadonlySet<string> = all): string =>
      matrixSupport(i, features).text;
    expect(of(info(32, 64, config(16, 16, 16, 'f16')))).toBe('none: subgroups have 32 to 64 invocations');
    expect(of(info(32, 32, config(8, 8, 8, 'f16', 'f16')))).toMatch(
      /no configuration that the kernels can use/,
    );
    expect(of(info(32, 32), new Set(['subgroups']))).toMatch(/the adapter has no shader-f16, /);
  });
});
