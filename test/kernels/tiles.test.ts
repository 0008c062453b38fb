/**
 * The tiles for GPUs by what can be counted of them: which are chosen, what they need, and where they meet
 * banks.
 */
import { describe, expect, it } from 'vitest';
import { adapterClass } from '../../src/device/adapter.js';
import type { AdapterClass, Target } from '../../src/kernels/base/kernel.js';
import { planConv2d } from '../../src/kernels/conv/plan.js';
import { planConv2dInputGrad } from '../../src/kernels/conv/input-grad.js';
import { planConv2dWeightGrad } from '../../src/kernels/conv/weight-grad.js';
import type { Plan } from '../../src/kernels/base/plan.js';
import { planGemm } from '../../src/kernels/matmul/plan.js';
import type { GemmProblem } from '../../src/kernels/matmul/problem.js';
import { kStride, lineStride, sharedBytes } from '../../src/kernels/matmul/shared-tile.js';
import { blocksOf, chooseTile, coresOf, sharedTiles } from '../../src/kernels/matmul/tile-table.js';
import { sharedDepth, tileCols, tileRows, tileThreads, type Tile } from '../../src/kernels/matmul/tile.js';
import { conv } from './heavy-harness.js';

const classes: readonly AdapterClass[] = ['discrete', 'apple', 'integrated', 'unknown'];
const gpu = (kind: AdapterClass, more: Partial<Target> = {}): Target => ({
  kind: 'gpu',
  class: kind,
  subgroupSize: 32,
  f16: true,
  maxInvocations: 1024,
  maxWorkgroupStorage: 32768,
  maxStorageBuffers: 10,
  ...more,
});
const limits = { maxBinding: 2 ** 30, offsetAlignment: 256 };

describe('the class of an adapter', () => {
  const of = (vendor: string, architecture: string, description = ''): AdapterClass =>
    adapterClass({ vendor, architecture, device: '', description });

  it('follows from vendor and architecture', () => {
    expect(of('nvidia', 'hopper', 'NVIDIA H100 PCIe')).toBe('discrete');
    expect(of('amd', 'rdna-3', 'AMD Radeon RX 7900 XTX')).toBe('discrete');
    expect(of('apple', 'metal-3', 'Apple M2')).toBe('apple');
    expect(of('intel', 'xe-lpg')).toBe('integrated');
    expect(of('intel', 'xe-hpg', 'Intel Arc A770')).toBe('integrated');
    expect(of('arm', 'valhall')).toBe('unknown');
    expect(of('', '')).toBe('unknown');
  });

  it("tells AMD's processors from its cards by name or generation", () => {
    expect(of('amd', 'rdna-3', 'AMD Radeon 780M (RADV PHOENIX)')).toBe('integrated');
    expect(of('amd', 'rdna-2', 'AMD Radeon(TM) Graphics')).toBe('integrated');
    expect(of('amd', 'gcn-5', '')).toBe('integrated');
    expect(of('amd', 'rdna-2', '')).toBe('discrete');
  });
});

/** Rows and columns of the tile of a square product. */
const tileOf = (kind: AdapterClass, rows: number, columns: number, depth: number): Tile =>
  chooseTile(gpu(kind), { rows, columns, depth, terms: depth, major: 'k', elem: 'f32' });
const size = (t: Tile): [number, number] => [tileRows(t), tileCols(t)];

describe('the table of tiles', () => {
  it('gives large products the largest tile of the class', () => {
    expect(classes.map((kind) => size(tileOf(kind, 8192, 8192, 64)))).toEqual([
      [128, 128],
      [64, 64],
      [64, 64],
      [32, 32],
    ]);
  });

  it('leaves two workgroups of 256, or as many invocations, per assumed core', () => {
    for (const kind of classes)
      for (const rows of [512, 1024, 4096]) {
        const tile = tileOf(kind, rows, 1024, 64);
        const least = sharedTiles(gpu(kind)).at(-1)!;
        const invocations = blocksOf(tile, rows, 1024, 1) * tileThreads(tile);
        const enough = invocations >= 512 * coresOf(gpu(kind));
        expect(enough || tileKeyOf(tile) === tileKeyOf(least)).toBe(true);
      }
  });

  it('covers few columns by a narrow tile rather than half of a wide one', () => {
    expect(size(tileOf('discrete', 100_352, 64, 64))).toEqual([128, 64]);
    expect(size(tileOf('discrete', 100_352, 32, 64))).toEqual([128, 32]);
  });

  it('splits a long sum of few results up to eight workgroups per core, in at most 32 parts', () => {
    const workgroups = (m: number, n: number, k: number): number => {
      const [{ grid }] = planGemm(gpu('discrete'), limits, { m, n, k }).launches as [
        Plan['launches'][number],
      ];
      return grid[0] * grid[1] * grid[2];
    };
    expect(workgroups(512, 512, 8192)).toBeGreaterThanOrEqual(512);
    expect(workgroups(512, 512, 8192)).toBeLessThanOrEqual(1100);
    expect(workgroups(64, 64, 1 << 20)).toBeLessThanOrEqual(4 * 32);
    expect(workgroups(4096, 4096, 8192)).toBe(1024);
  });
});

const tileKeyOf = (t: Tile): string => JSON.stringify(t);

const problems: readonly GemmProblem[] = [
  { m: 4096, n: 4096, k: 4096 },
  { m: 70, n: 52, k: 36, transB: true },
  { m: 4, n: 4096, k: 4096, transB: true },
  { m: 8, n: 300, k: 512 },
  { m: 64, n: 64, k: 100_000, transA: true },
];
const image = conv({ n: 2, h: 28, w: 28, cIn: 64, cOut: 96, pad: 1 });
const plansOf = (target: Target): Plan[] => [
  ...problems.map((p) => planGemm(target, limits, p)),
  planConv2d(target, limits, image),
  planConv2dInputGrad(target, limits, image),
  planConv2dWeightGrad(target, limits, image),
];

describe('what the kernels need of an adapter', () => {
  it.each([
    [128, 16384],
    [256, 16384],
    [256, 4096],
    [1024, 49152],
  ])(
    'stays within %i invocations and %i bytes of workgroup memory',
    (maxInvocations, maxWorkgroupStorage) => {
      for (const kind of classes)
        for (const { launches } of plansOf(gpu(kind, { maxInvocations, maxWorkgroupStorage })))
          for (const { kernel } of launches) {
            const [, group] = /@workgroup_size\(([\d, ]+)\)/.exec(kernel.wgsl)!;
            const threads = group!.split(',').reduce((all, n) => all * Number(n), 1);
            expect(threads).toBeLessThanOrEqual(maxInvocations);
            let bytes = 0;
            for (const [, count] of kernel.wgsl.matchAll(/var<workgroup> \w+: array<vec4<f32>, (\d+)>/g))
              bytes += 16 * Number(count);
            expect(bytes).toBeLessThanOrEqual(maxWorkgroupStorage);
          }
    },
  );

  it('is one slice in workgroup memory where two do not fit', () => {
    const [whole] = sharedTiles(gpu('discrete'));
    const [less] = sharedTiles(gpu('discrete', { maxWorkgroupStorage: 16384 }));
    expect([whole!.buffers, less!.buffers]).toEqual([2, 1]);
    expect(sharedBytes(less!)).toBeLessThanOrEqual(16384);
    expect(size(less!)).toEqual([128, 128]);
  });
});

describe('workgroup memory', () => {
  /**
   * The most of eight neighbouring invocations that meet in one of eight banks of vectors, at different
   * places.
   */
  const conflicts = (threads: number, place: (tid: number) => number): number => {
    let worst = 0;
    for (let first = 0; first < threads; first += 8) {
      const places = new Set(Array.from({ length: 8 }, (_, i) => place(first + i)));
      const banks = [...places].map((at) => at % 8);
      for (const bank of banks) worst = Math.max(worst, banks.filter((b) => b === bank).length);
    }
    return worst;
  };
  const all = classes.flatMap((kind) => sharedTiles(gpu(kind)));

  it('takes a right operand along k without bank conflicts', () => {
    for (const t of all) {
      const alongK = sharedDepth(t) / 4;
      const place = (tid: number): number => {
        const line = Math.floor(tid / alongK);
        return (tid % alongK) * kStride(t) + (line & 3) * lineStride(t) + (line >> 2);
      };
      expect(conflicts(tileThreads(t), place), tileKeyOf(t)).toBe(1);
      // No two invocations write the same vector, and none beyond what readers take for another k.
      const places = Array.from({ length: tileThreads(t) }, (_, tid) => place(tid));
      expect(new Set(places).size).toBe(tileThreads(t));
    }
  });

  it('would have eightfold conflicts without the padding', () => {
    const plain = (tid: number): number => (tid & 3) * 64 + ((tid >> 2) & 3) * 16 + (tid >> 4);
    expect(conflicts(256, plain)).toBe(8);
  });
});

describe("Winograd's kernels", () => {
  const p = conv({ n: 32, h: 56, w: 56, cIn: 64, cOut: 64, pad: 1 });
  it.each(classes)('go through their scratch at once where it holds a layer of ResNet, %s', (kind) => {
    const names = planConv2d(gpu(kind), limits, p).launches.map(({ kernel }) => kernel.name);
    expect(names).toEqual(['winogradInput', 'gemm', 'winogradOutput']);
  });

  it('take more turns where a binding or the class has no room', () => {
    const launches = (kind: AdapterClass, maxBinding: number): number =>
      planConv2d(gpu(kind), { ...limits, maxBinding }, { ...p, n: 128 }).launches.length;
    expect(launches('discrete', 2 ** 30)).toBe(3);
    expect(launches('apple', 2 ** 30)).toBe(12);
    expect(launches('discrete', 2 ** 27)).toBe(6);
  });
});
