import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { close, init, runtime } from '../../src/device/index.js';
import { planConv2d } from '../../src/kernels/conv/plan.js';
import { planConv2dInputGrad } from '../../src/kernels/conv/input-grad.js';
import { planConv2dWeightGrad } from '../../src/kernels/conv/weight-grad.js';
import { planGemm } from '../../src/kernels/matmul/plan.js';
import type { Target } from '../../src/kernels/base/kernel.js';
import {
  candidates,
  candidateTiles,
  isCandidate,
  ProblemRecorder,
  TuningTable,
  tuningKey,
} from '../../src/kernels/tuning/table.js';
import type { TunedChoice } from '../../src/kernels/matmul/choice.js';
import { conv, limits, random, reference, relativeError, run } from './heavy-harness.js';

beforeAll(() => init());
afterAll(() => close());

const small = conv({ n: 2, h: 9, w: 7, cIn: 12, cOut: 20, kernel: 3, pad: 1 });
const wide = conv({ n: 2, h: 8, w: 8, cIn: 32, cOut: 32, kernel: 3, pad: 1 });

const tunedFor = (key: string, choice: TunedChoice): Target => ({
  ...runtime().target,
  tuning: new TuningTable([[key, choice]]),
});
/** The candidate with the fewest rows and columns, which is no default of these problems. */
const unusual = (): TunedChoice => ({ tile: candidateTiles(runtime().target).at(-1)! });
const firstKernel = (plan: { launches: readonly { kernel: unknown }[] }): unknown => plan.launches[0]!.kernel;

describe('keys', () => {
  it('are the same whether defaults are written out or not, and wherever operands start', () => {
    const written = {
      m: 4,
      n: 5,
      k: 6,
      lda: 6,
      ldb: 5,
      ldc: 5,
      transA: false,
      batch: 1,
      aBatch: 0,
      aOffset: 8,
    };
    expect(tuningKey('gemm', written)).toBe(tuningKey('gemm', { m: 4, n: 5, k: 6 }));
    expect(tuningKey('conv2d', { ...small, epilogue: { bias: true } })).toBe(tuningKey('conv2d', small));
  });

  it('tell operands that lie differently apart', () => {
    const keys = [
      {},
      { transB: true },
      { lda: 8 },
      { batch: 2 },
      { batch: 2, bBatch: 0 },
      { elem: 'f16' as const },
    ];
    expect(new Set(keys.map((more) => tuningKey('gemm', { m: 4, n: 5, k: 6, ...more }))).size).toBe(
      keys.length,
    );
  });
});

describe('a table', () => {
  it("changes a product's tile and not its result", async () => {
    const problem = { m: 37, n: 29, k: 50 };
    const [a, b] = [random(37 * 50), random(50 * 29)];
    const plain = planGemm(runtime().target, limits(), problem);
    const tuned = planGemm(tunedFor(tuningKey('gemm', problem), unusual()), limits(), problem);
    expect(firstKernel(tuned)).not.toBe(firstKernel(plain));
    const operands = { a: { data: a }, b: { data: b } };
    const [want, got] = [
      await run(plain, operands, { name: 'c', count: 37 * 29 }),
      await run(tuned, operands, { name: 'c', count: 37 * 29 }),
    ];
    expect(relativeError(got, Float64Array.from(want))).toBeLessThan(1e-5);
  });

  it.each([
    ['forward', 'conv2d', planConv2d, 'y'],
    ['inputGrad', 'conv2dInputGrad', planConv2dInputGrad, 'dx'],
    ['weightGrad', 'conv2dWeightGrad', planConv2dWeightGrad, 'dw'],
  ] as const)("changes a convolution's tile and not its result: %s", async (pass, op, planner, output) => {
    const p = small;
    const x = random(p.n * p.h * p.w * p.cIn);
    const w = random(p.cOut * p.cIn * 9);
    const dy = random(p.n * p.outH * p.outW * p.cOut);
    const count = { y: dy.length, dx: x.length, dw: w.length }[output];
    const tuned = planner(tunedFor(tuningKey(op, p), unusual()), limits(), p);
    expect(firstKernel(tuned)).not.toBe(firstKernel(planner(runtime().target, limits(), p)));
    const got = await run(
      tuned,
      { x: { data: x }, w: { data: w }, dy: { data: dy } },
      { name: output, count },
    );
    expect(relativeError(got, reference(p, pass, x, w, dy))).toBeLessThan(1e-5);
  });

  it("turns Winograd's kernels off, and on where the cost of fresh weights spoke against them", () => {
    const few = { ...conv({ n: 1, h: 4, w: 4, cIn: 32, cOut: 32, kernel: 3, pad: 1 }), freshWeights: true };
    const first = (p: typeof few, algorithm?: 'direct' | 'winograd'): string => {
      const target = algorithm ? tunedFor(tuningKey('conv2d', p), { algorithm }) : runtime().target;
      return planConv2d(target, limits(), p).launches[0]!.kernel.name;
    };
    const many = { ...wide, freshWeights: false };
    expect([first(many), first(many, 'direct')]).toEqual(['winogradInput', 'conv']);
    expect([first(few), first(few, 'winograd')]).toEqual(['conv', 'winogradInput']);
    // Who asks for the smaller error gets it.
    expect(first({ ...many, algorithm: 'direct' } as typeof few, 'winograd')).toBe('conv');
  });

  it('leaves the plans of targets without one as they were', () => {
    const problem = { m: 40, n: 48, k: 56 };
    const key = tuningKey('gemm', problem);
    const before = planGemm(runtime().target, limits(), problem);
    const tuned = planGemm(tunedFor(key, unusual()), limits(), problem);
    const other = planGemm(tunedFor(key, {}), limits(), problem);
    expect(tuned).not.toBe(before);
    expect(firstKernel(other)).toBe(firstKernel(before));
    expect(planGemm(runtime().target, limits(), problem)).toBe(before);
  });
});

describe('a recorder', () => {
  it('counts what another one has counted before', () => {
    for (let i = 0; i < 2; i++) {
      const recorder = new ProblemRecorder();
      planGemm({ ...runtime().target, tuning: recorder }, limits(), { m: 4, n: 5, k: 6 });
      expect(recorder.problems()).toMatchObject([{ calls: 1 }]);
    }
  });

  it('notes each problem once, counts its calls, and finds the product within a convolution', () => {
    const recorder = new ProblemRecorder();
    const target = { ...runtime().target, tuning: recorder };
    const pointwise = conv({ n: 2, h: 5, w: 5, cIn: 8, cOut: 12, kernel: 1 });
    planConv2d(target, limits(), small);
    planConv2d(target, limits(), { ...small, epilogue: { bias: true } });
    planConv2d(target, limits(), pointwise);
    planConv2d(target, limits(), wide);
    const found = recorder.problems();
    expect(found.map(({ op, calls }) => [op, calls])).toEqual([
      ['conv2d', 2],
      ['gemm', 1],
      ['conv2d', 1],
      ['gemm', 1],
    ]);
    expect(found[1]!.key).toBe('gemm 50x12x8 NT f32');
    expect(found[0]!.problem).toEqual(small);
  });
});

describe('candidates', () => {
  const adapters: readonly Target[] = [
    {
      kind: 'software',
      subgroupSize: 8,
      f16: true,
      maxInvocations: 1024,
      maxWorkgroupStorage: 32768,
      maxStorageBuffers: 8,
    },
    {
      kind: 'software',
      subgroupSize: 0,
      f16: false,
      maxInvocations: 256,
      maxWorkgroupStorage: 16384,
      maxStorageBuffers: 8,
    },
    {
      kind: 'gpu',
      subgroupSize: 32,
      f16: true,
      maxInvocations: 1024,
      maxWorkgroupStorage: 49152,
      maxStorageBuffers: 8,
    },
    {
      kind: 'gpu',
      subgroupSize: 32,
      f16: true,
      maxInvocations: 64,
      maxWorkgroupStorage: 4096,
      maxStorageBuffers: 8,
    },
  ];

  it.each(adapters)('are different tiles that the adapter can run ($kind, $subgroupSize lanes)', (target) => {
    const tiles = candidateTiles(target);
    expect(new Set(tiles.map((t) => JSON.stringify(t))).size).toBe(tiles.length);
    expect(tiles.length).toBeGreaterThan(1);
    for (const tile of tiles) {
      expect(tile.lanes * tile.lanesY).toBeLessThanOrEqual(target.maxInvocations);
      expect(isCandidate(target, { tile })).toBe(true);
    }
    expect(tiles.some(({ style }) => style === 'shared')).toBe(target.kind === 'gpu');
  });

  it('refuse tiles that the adapter has no kernels for', () => {
    const [software, , gpu] = adapters as [Target, Target, Target];
    const tile = candidateTiles(software)[0]!;
    expect(isCandidate(gpu, { tile })).toBe(false);
    expect(isCandidate(software, { tile: { ...tile, rows: 7 } })).toBe(false);
    expect(isCandidate(software, { tile: { ...tile, rows: '16' as unknown as number } })).toBe(false);
    expect(isCandidate(software, {})).toBe(false);
  });

  it("include the other algorithm only where Winograd's kernels apply", () => {
    const of = (winograd: 'no' | 'possible' | 'default') =>
      candidates(runtime().target, { op: 'conv2d', problem: small }, winograd);
    expect(of('no').some(({ algorithm }) => algorithm !== undefined)).toBe(false);
    expect(of('possible')[0]).toEqual({ algorithm: 'winograd' });
    expect(of('default')[0]).toEqual({ algorithm: 'direct' });
  });
});
