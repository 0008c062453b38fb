/** Norms: second derivatives, memory order, large means; losses at their edges. */
import { beforeAll, describe, expect, it } from 'vitest';
import * as k from '../../src/index.js';
import type { Tensor } from '../../src/index.js';

beforeAll(() => k.init());

const input = (shape: readonly number[], seed: number): Tensor => {
  const count = shape.reduce((a, b) => a * b, 1);
  return k.tensor(
    Float32Array.from({ length: count }, (_, i) => Math.sin(i * 1.7 + seed) + 0.3 * Math.cos(i * 0.9)),
    { shape },
  );
};

async function close(got: Tensor, want: Tensor, tolerance: number): Promise<void> {
  const [a, b] = [await got.data(), await want.data()];
  expect(got.shape).toEqual(want.shape);
  let worst = 0;
  for (let i = 0; i < a.length; i++) worst = Math.max(worst, Math.abs(a[i]! - b[i]!) / (1 + Math.abs(b[i]!)));
  expect(worst).toBeLessThan(tolerance);
}

const norms: readonly (readonly [
  name: string,
  (x: Tensor, w: Tensor, b: Tensor) => Tensor,
  affine: readonly number[],
])[] = [
  ['layerNorm', (x, w, b) => k.layerNorm(x, [3, 4], { weight: w, bias: b }), [3, 4]],
  ['groupNorm', (x, w, b) => k.groupNorm(x, 2, { weight: w, bias: b }), [4]],
  ['instanceNorm', (x, w, b) => k.instanceNorm(x, { weight: w, bias: b }), [4]],
];

describe.each(norms)('%s', (_, norm, affine) => {
  it('gives the same gradients fused and by ordinary ops; second ones match differences', async () => {
    const [x, w, b] = [input([2, 4, 3, 4], 1), input(affine, 2), input(affine, 3)];
    const [v, u] = [input([2, 4, 3, 4], 4), input([2, 4, 3, 4], 5)];
    const grads = (at: Tensor, createGraph: boolean): [Tensor, Tensor, Tensor, Tensor] => {
      const leaves = [at, w, b].map((t) => t.detach().requiresGrad_()) as [Tensor, Tensor, Tensor];
      const y = norm(...leaves);
      const [dx, dw, db] = k.autograd.grad([k.sum(k.mul(k.mul(y, y), v))], leaves, { createGraph }) as [
        Tensor,
        Tensor,
        Tensor,
      ];
      return [dx, dw, db, leaves[0]];
    };
    const fused = grads(x, false);
    const composed = grads(x, true);
    for (let i = 0; i < 3; i++) await close(composed[i]!, fused[i]!, 1e-4);
    const [second] = k.autograd.grad([k.sum(k.mul(composed[0], u))], [composed[3]]) as [Tensor];
    const step = 1e-2;
    const moved = (sign: number): Tensor => grads(k.add(x, k.mul(u, sign * step)), false)[0];
    await close(second, k.mul(k.sub(moved(1), moved(-1)), 1 / (2 * step)), 2e-2);
  });

  it('keeps channels-last storage, with the same values', async () => {
    const [x, w, b] = [input([2, 4, 3, 4], 1), input(affine, 2), input(affine, 3)];
    const nhwc = k.contiguous(x, { memoryFormat: 'channelsLast' });
    const y = norm(nhwc, w, b);
    expect(y.strides).toEqual(nhwc.strides);
    await close(y, norm(x, w, b), 1e-5);
  });

  it('keeps its digits under a large mean, and takes float16', async () => {
    const [x, w, b] = [k.mul(input([2, 4, 3, 4], 1), 8), input(affine, 2), input(affine, 3)];
    // Multiples of 1/128 up to 16 stay exact next to 4096.
    const coarse = k.mul(k.round(k.mul(x, 128)), 1 / 128);
    await close(norm(k.add(coarse, 4096), w, b), norm(coarse, w, b), 1e-3);
    const half = norm(k.to(x, 'float16'), w, b);
    expect(half.dtype).toBe('float16');
    await close(k.to(half, 'float32'), norm(x, w, b), 1e-2);
  });
});

describe('errors', () => {
  it('name the op and the shapes', () => {
    const x = input([2, 4, 3, 4], 1);
    expect(() => k.layerNorm(x, [4], { weight: input([3], 1) })).toThrow(/layerNorm.*weight.*\[4\].*\[3\]/);
    expect(() => k.groupNorm(x, 3)).toThrow(/4 channels.*3 groups/);
    expect(() => k.instanceNorm(input([2, 4, 1, 1], 1))).toThrow(/more than one value/);
    expect(() => k.layerNorm(k.zeros([2, 3], { dtype: 'int32' }), 3)).toThrow(/int32/);
    expect(() => k.binaryCrossEntropy(x, input([2, 4], 1))).toThrow(/binaryCrossEntropy.*same shape/);
    expect(() => k.mseLoss(x, x, { reduction: 'max' as 'mean' })).toThrow(/mseLoss.*reduction/);
    expect(() => k.huberLoss(x, x, { delta: 0 })).toThrow(/delta/);
  });
});

describe('losses', () => {
  it('smoothL1Loss with beta 0 is the L1 loss', async () => {
    const [x, y] = [input([5], 1), input([5], 2)];
    await close(k.smoothL1Loss(x, y, { beta: 0 }), k.l1Loss(x, y), 1e-6);
  });

  it('pairwiseDistance', async () => {
    const d = k.pairwiseDistance(
      k.tensor([
        [3, 0],
        [1, 1],
      ]),
      k.tensor([
        [0, 4],
        [1, 1],
      ]),
    );
    await close(d, k.tensor([5, Math.SQRT2 * 1e-6]), 1e-5);
  });

  it('have second derivatives', async () => {
    const x = k.tensor([0.3, -1.2, 2.5]).requiresGrad_();
    const y = k.tensor([1, 0, 1]);
    const [first] = k.autograd.grad([k.binaryCrossEntropyWithLogits(x, y, { reduction: 'sum' })], [x], {
      createGraph: true,
    }) as [Tensor];
    const [second] = k.autograd.grad([k.sum(first)], [x]) as [Tensor];
    const s = k.sigmoid(x.detach());
    await close(second, k.mul(s, k.rsub(s, 1)), 1e-4);
  });
});

it('batch norm in training refuses float16 parameters instead of misreading them', () => {
  const norm = new k.nn.BatchNorm2d(4).half();
  expect(() => norm(input([2, 4, 3, 3], 1))).toThrow(/training needs a float32 runningMean, got float16/);
});

describe('layerNorm of rows with a large mean', () => {
  it.each([
    [4, 2048, 100],
    [4, 511, 1e4],
    [1, 2048, 1e4],
    [40, 2048, 1e4],
  ])('%i rows of %i around %d: as far off as the numbers themselves are', async (rows, classes, mean) => {
    const x = k.add(input([rows, classes], 1), mean);
    const [values, got] = [await x.data(), await k.layerNorm(x, [classes]).data()];
    let worst = 0;
    for (let r = 0; r < rows; r++) {
      const row = Array.from(values.subarray(r * classes, (r + 1) * classes));
      const centre = row.reduce((a, b) => a + b, 0) / classes;
      const spread = Math.sqrt(row.reduce((sum, v) => sum + (v - centre) ** 2, 0) / classes + 1e-5);
      row.forEach((v, i) => {
        worst = Math.max(worst, Math.abs((v - centre) / spread - got[r * classes + i]!));
      });
    }
    expect(worst).toBeLessThan(2e-6);
  });
});
