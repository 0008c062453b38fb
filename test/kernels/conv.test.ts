import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { close, init } from '../../src/device/index.js';
import { planConv2d } from '../../src/kernels/conv/plan.js';
import { planConv2dInputGrad } from '../../src/kernels/conv/input-grad.js';
import type { Target } from '../../src/kernels/base/kernel.js';
import type { Conv2dProblem } from '../../src/kernels/conv/problem.js';
import { planConv2dWeightGrad } from '../../src/kernels/conv/weight-grad.js';
import { sharedTiles } from '../../src/kernels/matmul/tile-table.js';
import { every } from '../tooling/full.js';
import {
  applyEpilogue,
  conv,
  limits,
  random,
  reference,
  relaid,
  relativeError,
  run,
  tables,
  targets,
  withTile,
  type Pass,
} from './heavy-harness.js';

beforeAll(() => init());
afterAll(() => close());

const planners = { forward: planConv2d, inputGrad: planConv2dInputGrad, weightGrad: planConv2dWeightGrad };

async function error(
  target: string | Target,
  pass: Pass,
  p: Conv2dProblem,
  maxBinding?: number,
): Promise<number> {
  const x = random(p.n * p.h * p.w * p.cIn);
  const w = random((p.cOut * p.cIn * p.kernelH * p.kernelW) / p.groups);
  const dy = random(p.n * p.outH * p.outW * p.cOut);
  const channels = pass === 'forward' ? p.cOut : p.cIn;
  const count = { forward: dy.length, inputGrad: x.length, weightGrad: w.length }[pass];
  const data = {
    bias: random(channels),
    scale: random(channels),
    shift: random(channels),
    residual: random(count),
  };
  const got = await run(
    planners[pass](typeof target === 'string' ? targets[target]!() : target, limits(maxBinding), p),
    {
      x: { data: x },
      w: { data: p.weights === 'hwio' ? relaid(w, p, 'oihw') : w },
      dy: { data: dy },
      bias: { data: data.bias },
      scale: { data: data.scale },
      shift: { data: data.shift },
      residual: { data: data.residual },
    },
    {
      name: { forward: 'y', inputGrad: 'dx', weightGrad: 'dw' }[pass],
      count,
    },
  );
  const want = reference(p, pass, x, w, dy);
  return relativeError(
    pass === 'weightGrad' && p.weights === 'hwio' ? relaid(got, p, 'hwio') : got,
    pass === 'weightGrad' ? want : applyEpilogue(want, channels, p.epilogue ?? {}, data),
  );
}

async function all(target: string | Target, p: Conv2dProblem, bound = 1e-5): Promise<void> {
  for (const pass of ['forward', 'inputGrad', 'weightGrad'] as const) {
    expect(await error(target, pass, p), pass).toBeLessThan(bound);
  }
}

const shapes: Record<string, Conv2dProblem> = {
  '3x3': conv({ n: 2, h: 9, w: 7, cIn: 20, cOut: 24, pad: 1 }),
  '3x3, stride 2': conv({ n: 2, h: 8, w: 9, cIn: 16, cOut: 32, pad: 1, stride: 2 }),
  'three channels, 7x7, stride 2': conv({ h: 15, w: 17, cIn: 3, cOut: 32, kernel: 7, pad: 3, stride: 2 }),
  'groups of odd channels': conv({ h: 8, w: 10, cIn: 6, cOut: 10, groups: 2, pad: 2, dilation: 2 }),
};

describe.each(tables)('conv2d and gradients, %s tiles', (target) => {
  it.each(Object.keys(shapes))('%s', (name) => all(target, shapes[name]!));
});

const stored: Record<string, Conv2dProblem> = {
  '3x3': conv({ n: 2, h: 9, w: 7, cIn: 20, cOut: 24, pad: 1 }),
  '3x3, stride 2': conv({ n: 2, h: 8, w: 9, cIn: 16, cOut: 32, pad: 1, stride: 2 }),
  'odd channels': conv({ n: 2, h: 5, w: 6, cIn: 6, cOut: 10, pad: 1 }),
  'three channels, 7x7, stride 2': conv({ h: 15, w: 17, cIn: 3, cOut: 32, kernel: 7, pad: 3, stride: 2 }),
  '5x2, stride and dilation': conv({
    h: 15,
    w: 14,
    cIn: 4,
    cOut: 8,
    kernel: [5, 2],
    stride: [3, 2],
    pad: [2, 0],
    dilation: [2, 3],
  }),
  '1x1': conv({ n: 2, h: 7, w: 9, cIn: 8, cOut: 12, kernel: 1 }),
  'one channel': conv({ h: 9, w: 9, cIn: 1, cOut: 6, kernel: 3 }),
  'small maps': conv({ n: 9, h: 2, w: 3, cIn: 20, cOut: 24, pad: 1 }),
  'small maps, stride 2': conv({ n: 8, h: 4, w: 5, cIn: 8, cOut: 16, pad: 1, stride: 2 }),
  'one pixel': conv({ n: 3, h: 1, w: 1, cIn: 4, cOut: 8, pad: 1 }),
  'padding past the image': conv({ n: 2, h: 2, w: 2, cIn: 8, cOut: 8, kernel: 5, pad: 4 }),
  'a sum in parts': conv({ n: 8, h: 16, w: 16, cIn: 8, cOut: 8, pad: 1 }),
};

describe.each(tables)('weights with output channels innermost, %s tiles', (target) => {
  it.each(every(3, Object.keys(stored)))('%s', (name) => all(target, { ...stored[name]!, weights: 'hwio' }));
});

describe("conv2d and gradients, GPUs' largest tiles", () => {
  it.each(every(2, ['discrete', 'apple']))('%s: odd rows and columns, weights as stored', async (kind) => {
    const target = targets[kind]!();
    const tile = sharedTiles(target)[0]!;
    const p = conv({ n: 3, h: 9, w: 7, cIn: 20, cOut: 40, pad: 1, stride: 2, extra: { weights: 'hwio' } });
    await all(withTile(target, tile), p);
  });
});

describe('conv2d and gradients', () => {
  it('tall tiles', () =>
    all(
      'tall',
      conv({ n: 3, h: 9, w: 7, cIn: 20, cOut: 40, pad: 1, stride: 2, extra: { weights: 'hwio' } }),
    ));
  it('every axis its own size, stride and dilation', () =>
    all(
      'native',
      conv({ h: 15, w: 14, cIn: 4, cOut: 5, kernel: [5, 2], stride: [3, 2], pad: [2, 0], dilation: [2, 3] }),
    ));
  it('1x1', () => all('native', conv({ n: 2, h: 7, w: 9, cIn: 8, cOut: 12, kernel: 1 })));
  it('1x1 with stride 3: positions that no tap reaches get zero', () =>
    all('native', conv({ h: 8, w: 8, cIn: 8, cOut: 12, kernel: 1, stride: 3 })));
  it('more padding on one side', () =>
    all('native', conv({ h: 8, w: 8, cIn: 8, cOut: 8, pad: [1, 0], out: [8, 8] })));
  it('images smaller than a step, many of them', () =>
    all('native', conv({ n: 9, h: 2, w: 2, cIn: 8, cOut: 8, pad: 1 })));
  it('one channel', () => all('native', conv({ h: 9, w: 9, cIn: 1, cOut: 6, kernel: 5 })));
  it('Winograd-transformed weights larger than a binding: computed directly', async () => {
    const p = conv({ h: 8, w: 8, cIn: 64, cOut: 64, pad: 1 });
    for (const pass of ['forward', 'inputGrad', 'weightGrad'] as const)
      expect(await error('native', pass, p, 256 * 1024), pass).toBeLessThan(1e-5);
  });
  it('images in ranges when a binding holds only some', async () => {
    const p = conv({ n: 5, h: 8, w: 8, cIn: 12, cOut: 16, pad: 1 });
    for (const pass of ['forward', 'inputGrad', 'weightGrad'] as const) {
      expect(await error('native', pass, p, 12000), pass).toBeLessThan(1e-5);
    }
  });
  it('epilogue', async () => {
    const epilogue = { bias: true, scale: true, shift: true, residual: true, activation: 'relu6' } as const;
    const p = conv({ h: 7, w: 6, cIn: 8, cOut: 20, pad: 1, stride: 2, extra: { epilogue } });
    expect(await error('native', 'forward', p)).toBeLessThan(1e-5);
    expect(await error('native', 'inputGrad', p)).toBeLessThan(1e-5);
  });
  it('keeps NaN through relu', async () => {
    const p = conv({
      h: 2,
      w: 2,
      cIn: 4,
      cOut: 4,
      kernel: 1,
      stride: 2,
      extra: { epilogue: { activation: 'relu' } },
    });
    const x = new Float32Array(16).fill(NaN);
    const plan = planConv2d(targets['native']!(), limits(), p);
    const y = await run(plan, { x: { data: x }, w: { data: random(16) } }, { name: 'y', count: 4 });
    expect([...y]).toEqual([NaN, NaN, NaN, NaN]);
  });
  it('says what is wrong with groups', () => {
    const p = conv({ h: 4, w: 4, cIn: 6, cOut: 8, groups: 4 });
    expect(() => planConv2d(targets['native']!(), limits(), p)).toThrow(/groups \(4\) must divide cIn \(6\)/);
  });
});

describe('weight gradients of many positions on a GPU', () => {
  const many: Record<string, Conv2dProblem> = {
    'in groups': conv({ n: 8, h: 20, w: 21, cIn: 6, cOut: 10, groups: 2, pad: 1 }),
    'odd channels': conv({ n: 8, h: 20, w: 21, cIn: 5, cOut: 7, pad: 1 }),
    depthwise: conv({ n: 4, h: 19, w: 9, cIn: 6, cOut: 6, groups: 6, pad: 1 }),
  };
  it.each(Object.keys(many))('teams add the parts up: %s', async (name) => {
    const plan = planConv2dWeightGrad(targets['discrete']!(), limits(), many[name]!);
    const { kernel, params } = plan.launches.at(-1)!;
    expect(kernel.params.map(([field]) => field)).toContain('team');
    expect(params[kernel.params.findIndex(([field]) => field === 'splits')]).toBeGreaterThan(8);
    expect(await error('discrete', 'weightGrad', many[name]!)).toBeLessThan(1e-5);
  });
});

describe('Winograd', () => {
  const shape = conv({ n: 2, h: 15, w: 18, cIn: 32, cOut: 36, pad: 1 });
  it.each(['native', 'gpu'])('forward and gradients within 1e-5, %s tiles', (target) => all(target, shape));
  it('weights with output channels innermost', () => all('native', { ...shape, weights: 'hwio' }));
  it('in chunks of tiles', async () => {
    for (const pass of ['forward', 'inputGrad', 'weightGrad'] as const) {
      const p = { ...shape, n: 4 };
      expect(planners[pass](targets['native']!(), limits(300_000), p).launches.length).toBeGreaterThan(4);
      expect(await error('native', pass, p, 300_000), pass).toBeLessThan(1e-5);
    }
  });
  it("steps aside for algorithm 'direct'", async () => {
    const p = { ...shape, algorithm: 'direct' as const };
    expect(planConv2d(targets['native']!(), limits(), p).launches).toHaveLength(1);
    await all('native', p);
  });
  it('epilogue', async () => {
    const epilogue = { bias: true, residual: true, activation: 'relu' } as const;
    const p = { ...shape, epilogue };
    expect(await error('native', 'forward', p)).toBeLessThan(1e-5);
  });
});

describe('depthwise', () => {
  it('3x3', () => all('native', conv({ n: 2, h: 9, w: 7, cIn: 8, cOut: 8, groups: 8, pad: 1 })));
  it('5x5, stride 2', () =>
    all('native', conv({ h: 12, w: 11, cIn: 12, cOut: 12, groups: 12, kernel: 5, pad: 2, stride: 2 })));
  it('dilated, stride 3', () =>
    all('native', conv({ h: 12, w: 12, cIn: 8, cOut: 8, groups: 8, pad: 1, dilation: 2, stride: 3 })));
  it('several outputs per channel', () =>
    all('native', conv({ h: 9, w: 8, cIn: 5, cOut: 10, groups: 5, pad: 1, stride: 2 })));
  it('epilogue', async () => {
    const epilogue = { bias: true, scale: true, residual: true, activation: 'relu6' } as const;
    const p = conv({ h: 7, w: 6, cIn: 8, cOut: 8, groups: 8, pad: 1, extra: { epilogue } });
    expect(await error('native', 'forward', p)).toBeLessThan(1e-5);
    expect(await error('native', 'inputGrad', { ...p, strideH: 2, outH: 4 })).toBeLessThan(1e-5);
  });
});
