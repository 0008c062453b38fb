import { beforeAll, describe, expect, it } from 'vitest';
import * as k from '../../src/index.js';
import type { Tensor } from '../../src/index.js';

beforeAll(() => k.init());

const F = k.nn.functional;
const list = async (x: Tensor): Promise<number[]> => Array.from(await x.data());

describe('interpolate', () => {
  const row = (): Tensor => k.tensor([[[1, 2, 4, 8]]]);

  it('takes what PyTorch takes by position', async () => {
    expect(await list(F.interpolate(row(), 2))).toEqual([1, 4]);
    expect(await list(F.interpolate(row(), null, 0.5, 'area'))).toEqual([1.5, 6]);
    expect(await list(F.interpolate(row(), [7], null, 'linear', true))).toEqual([1, 1.5, 2, 3, 4, 6, 8]);
  });

  it('keeps channels-last images as they are in memory', async () => {
    const x = k.randn(1, 3, 4, 4).contiguous({ memoryFormat: 'channelsLast' });
    const y = F.interpolate(x, { size: [3, 5], mode: 'bicubic' });
    expect(y.strides[1]).toBe(1);
    const same = F.interpolate(x.contiguous(), { size: [3, 5], mode: 'bicubic' });
    expect(await list(y.contiguous())).toEqual(await list(same));
  });

  it('leaves out pixels without weight, even infinite ones', async () => {
    const x = k.tensor([[[Infinity, 1, 2, 3]]]);
    expect((await list(F.interpolate(x, [2], null, 'linear', true)))[1]).toBe(3);
  });

  it('can be differentiated twice', async () => {
    const x = k.tensor([[[1, 2, 3]]]).requiresGrad_();
    const y = F.interpolate(x, { size: 5, mode: 'linear' });
    const [g] = k.autograd.grad([y.mul(y).sum()], [x], { createGraph: true });
    const [gg] = k.autograd.grad([(g as Tensor).sum()], [x]);
    const total = (await list(gg as Tensor)).reduce((a, b) => a + b, 0);
    expect(total).toBeCloseTo(10, 4);
  });

  it('refuses what does not fit', () => {
    const image = k.zeros(1, 1, 2, 2);
    expect(() => F.interpolate(row(), { size: 2, mode: 'bilinear' })).toThrow(/works on 2 spatial dims/);
    expect(() => F.interpolate(image, { size: 2, alignCorners: true })).toThrow(
      /linear and cubic modes only/,
    );
    expect(() => F.interpolate(image, { size: 2, mode: 'area', antialias: true })).toThrow(/antialias/);
    expect(() => F.interpolate(image, { size: [2, 2, 2] })).toThrow(/size must be a positive integer, or 2/);
    expect(() => F.interpolate(image, {})).toThrow(/either size or scaleFactor/);
    expect(() => F.interpolate(image, { size: 3, mode: 'cubic' as never })).toThrow(
      /mode must be one of nearest/,
    );
  });
});

describe('gridSample', () => {
  it('reads the image itself on an identity grid', async () => {
    const x = k.randn(1, 2, 3, 4);
    const theta = k.tensor([
      [
        [1, 0, 0],
        [0, 1, 0],
      ],
    ]);
    for (const alignCorners of [true, false]) {
      const grid = F.affineGrid(theta, [1, 2, 3, 4], { alignCorners });
      for (const mode of ['bilinear', 'nearest', 'bicubic'] as const) {
        const y = F.gridSample(x, grid, { mode, alignCorners });
        expect(await y.sub(x).abs().max().item()).toBeLessThan(1e-4);
      }
    }
  });

  it('refuses unknown modes and grids of another rank', () => {
    const x = k.zeros(1, 1, 2, 2);
    expect(() => F.gridSample(x, k.zeros(1, 2, 2, 3))).toThrow(/grid \[N, oH, oW, 2\]/);
    expect(() => F.gridSample(x, k.zeros(1, 2, 2, 2), { mode: 'cubic' as never })).toThrow(/mode must be/);
    expect(() => F.gridSample(k.zeros(1, 1, 2, 2, 2), k.zeros(1, 2, 2, 2, 3), 'bicubic')).toThrow(
      /images only/,
    );
  });
});
