/** Convolutions and pools of lines and volumes, and of images where rows do not show them. */
import { beforeAll, describe, expect, it } from 'vitest';
import * as k from '../../src/index.js';
import type { Tensor } from '../../src/index.js';
import { uniform } from '../models/fill.js';

const F = k.nn.functional;
beforeAll(() => k.init());

const input = (name: string, shape: readonly number[]): Tensor => k.tensor(uniform(name, shape), { shape });
const values = async (x: Tensor): Promise<number[]> => [...(await x.data())].map(Number);
const expectClose = async (got: Tensor, want: Tensor): Promise<void> => {
  expect(got.shape).toEqual(want.shape);
  expect(await k.max(k.abs(k.sub(got, want))).item()).toBeLessThan(1e-4);
};

describe('a convolution of volumes', () => {
  const [x, w] = [(): Tensor => input('x', [2, 4, 5, 3, 4]), (): Tensor => input('w', [6, 2, 3, 2, 2])];
  /** Slice by slice. */
  const bySlices = (volumes: Tensor, weight: Tensor): Tensor => {
    const padded = F.pad(volumes, [0, 0, 0, 0, 2, 2]);
    const slice = (at: number): Tensor =>
      [0, 1, 2]
        .map((d) => F.conv2d(k.select(padded, 2, at + 2 * d), k.select(weight, 2, d), null, { groups: 2 }))
        .reduce((a, b) => k.add(a, b));
    return k.stack([slice(0), slice(2), slice(4)], 2);
  };
  const whole = (volumes: Tensor, weight: Tensor): Tensor =>
    F.conv3d(volumes, weight, null, [2, 1, 1], [2, 0, 0], [2, 1, 1], 2);

  it('is a sum over the slices of its kernel', () => expectClose(whole(x(), w()), bySlices(x(), w())));

  it('has second derivatives', async () => {
    const second = (f: typeof whole): Tensor[] => {
      const leaves = [x().requiresGrad_(), w().requiresGrad_()];
      const y = f(leaves[0] as Tensor, leaves[1] as Tensor);
      const first = k.autograd.grad([k.sum(k.mul(y, y))], leaves, { createGraph: true }) as Tensor[];
      const sum = first.map((g) => k.sum(k.mul(g, g))).reduce((a, b) => k.add(a, b));
      return k.autograd.grad([sum], leaves) as Tensor[];
    };
    const [got, want] = [second(whole), second(bySlices)];
    for (const i of [0, 1]) {
      const scale = k.max(k.abs(want[i] as Tensor));
      await expectClose(k.div(got[i] as Tensor, scale), k.div(want[i] as Tensor, scale));
    }
  });

  it('gives a tensor that may be overwritten', async () => {
    const y = whole(x(), w());
    expect(y.isContiguous()).toBe(false);
    k.relu_(y);
    expect(await k.min(y).item()).toBe(0);
  });

  it('takes a batch of none', () => {
    expect(whole(k.zeros(0, 4, 5, 3, 4), w()).shape).toEqual([0, 6, 3, 2, 3]);
    expect(F.convTranspose3d(k.zeros(0, 2, 3, 3, 3), k.ones(2, 1, 2, 2, 2)).shape).toEqual([0, 1, 4, 4, 4]);
    expect(F.conv1d(k.zeros(0, 2, 5), k.ones(3, 2, 2)).shape).toEqual([0, 3, 4]);
  });
});

describe('convolutions refuse', () => {
  it.each<[() => Tensor, string]>([
    [() => F.conv1d(k.zeros(1, 3, 4), k.zeros(2, 4, 2)), 'conv1d: input [1, 3, 4] has 3 channels'],
    [() => F.conv1d(k.zeros(1, 3, 4), k.zeros(2, 3, 5)), 'conv1d: a kernel of 5 (with dilation) is larger'],
    [() => F.conv1d(k.zeros(4), k.zeros(2, 3, 5)), 'expected an input of shape [N, C, L] or [C, L], got [4]'],
    [() => F.conv3d(k.zeros(1, 3, 4, 4, 4), k.zeros(2, 3, 2, 2)), 'conv3d: expected a weight of 5 dims'],
    [() => F.conv2d(k.zeros(1, 3, 4, 4), k.zeros(2, 3, 2, 2), k.zeros(3)), 'the bias has shape [3]'],
    [
      () => F.conv3d(k.zeros(1, 1, 4, 4, 4), k.zeros(1, 1, 2, 2, 2), null, [1, 2] as never),
      'conv3d: stride must be an integer of at least 1 or three of them, got [1,2]',
    ],
    [
      () => F.conv1d(k.zeros(1, 1, 4), k.zeros(1, 1, 2), null, { stride: 2, padding: 'same' }),
      "conv1d: padding 'same' needs stride 1",
    ],
    [
      () => F.convTranspose1d(k.zeros(1, 1, 4), k.zeros(1, 1, 2), null, { outputPadding: 1 }),
      'convTranspose1d: outputPadding must be smaller than stride or dilation',
    ],
    [
      () => F.conv2d(k.zeros(1, 1, 4, 4), k.zeros(1, 1, 2, 2), null, { strides: 2 } as object),
      "conv2d: there is no option 'strides'; did you mean 'stride'?",
    ],
    [
      () => F.conv2d(k.zeros(1, 1, 4, 4), k.zeros(1, 1, 2, 2), null, 2, { stride: 2 } as object),
      "conv2d: 'stride' is given twice",
    ],
  ])('%s', (call, message) => expect(call).toThrow(message));
});

describe('a max pool of volumes', () => {
  it('takes the first of equal maxima, slice by slice, and gives it the gradient', async () => {
    const x = k.zeros(1, 1, 2, 2, 4).requiresGrad_();
    const [y, indices] = F.maxPool3d(x, 2, { returnIndices: true });
    expect(await values(indices)).toEqual([0, 2]);
    const [dx] = k.autograd.grad([k.sum(y)], [x]) as [Tensor];
    expect(await values(dx)).toEqual([1, 0, 1, 0, ...new Array<number>(12).fill(0)]);
  });

  it('prefers a later slice only where it is larger, and NaN to all', async () => {
    const x = k.tensor([1, 5, NaN, 2, 3, 9, 5, 4, 8, 1, 7, NaN], { shape: [1, 3, 2, 2] });
    const [y, indices] = F.maxPool3d(x, [2, 2, 2], 1, 0, 1, false, { returnIndices: true });
    expect(await values(y)).toEqual([NaN, NaN]);
    expect(await values(indices)).toEqual([2, 11]);
  });

  it('finds nothing but -Infinity in a window of it, at its first place', async () => {
    const [y, indices] = F.maxPool3d(k.full([1, 2, 2, 2], -Infinity), 2, { returnIndices: true });
    expect([...(await values(y)), ...(await values(indices))]).toEqual([-Infinity, 0]);
  });

  it('says what does not fit in its own dims', () => {
    expect(() => F.maxPool3d(k.zeros(1, 2, 2, 2), 3)).toThrow(
      'maxPool3d: the result for input [1, 1, 2, 2, 2] and a window of 3x3x3 would have size 0x0x0',
    );
    expect(() => F.avgPool1d(k.zeros(1, 4), 2, { padding: 2 })).toThrow('padding [2] is more than half');
    expect(() => F.adaptiveAvgPool1d(k.zeros(1, 4), -1)).toThrow('the output size must be a number');
    expect(() => F.avgPool3d(k.zeros(1, 4), 2)).toThrow('[N, C, D, H, W] or [C, D, H, W], got [1, 4]');
  });
});

describe('blocks of images', () => {
  it('are one unfold, and windows along a dim another', () => {
    const x = input('x', [1, 2, 4, 4]);
    expect(F.unfold(x, 2, { stride: 2 }).shape).toEqual([1, 8, 4]);
    expect(k.unfold(x, 2, 2, 1).shape).toEqual([1, 2, 3, 4, 2]);
  });

  it('come back from fold, as often as they cover a place', async () => {
    const x = input('x', [2, 3, 5, 4]);
    const there = (images: Tensor): Tensor => F.fold(F.unfold(images, [3, 2], 1, 1), [5, 4], [3, 2], 1, 1);
    await expectClose(there(x), k.mul(x, there(k.onesLike(x))));
  });

  it('must fit', () => {
    expect(() => F.unfold(k.zeros(1, 2, 2), 3)).toThrow('unfold: blocks of 3x3 do not fit an image of 2x2');
    expect(() => F.fold(k.zeros(1, 8, 5), 4, 2)).toThrow('fold: expected [N, C * 4, 9]');
  });
});

describe('max unpooling', () => {
  it('undoes a pool, but for what the maxima hid', async () => {
    const [y, indices] = F.maxPool1d(k.tensor([[1, 4, 3, 2, 5]]), 2, { returnIndices: true });
    expect(await values(F.maxUnpool1d(y, indices, 2, { outputSize: [5] }))).toEqual([0, 4, 3, 0, 0]);
  });

  it('refuses sizes that no pool had, and indices outside', async () => {
    const [y, at] = [k.ones(1, 2), k.tensor([[0, 9]], { dtype: 'int32' })];
    expect(() => F.maxUnpool1d(y, at, 2, { outputSize: [7] })).toThrow('within a stride of [4], got [7]');
    await expect((async () => F.maxUnpool1d(y, at, 2).data())()).rejects.toThrow(/9/);
  });
});

describe('a fractional max pool', () => {
  it('draws other windows each time, the same from the same seed', async () => {
    const draw = (): Promise<number[]> => values(F.fractionalMaxPool2d(input('x', [2, 8, 9, 9]), 2, 5));
    k.manualSeed(1);
    const [first, second] = [await draw(), await draw()];
    k.manualSeed(1);
    expect(await draw()).toEqual(first);
    expect(second).not.toEqual(first);
  });

  it('needs one size, and room for it', () => {
    const x = k.zeros(1, 1, 4, 4);
    expect(() => F.fractionalMaxPool2d(x, 2)).toThrow('give either outputSize or outputRatio');
    expect(() => F.fractionalMaxPool2d(x, 2, 4)).toThrow('4x4 windows of 2x2 do not fit');
    expect(() => F.fractionalMaxPool2d(x, 2, { outputRatio: 1.5 })).toThrow('outputRatio must be in (0, 1)');
  });
});

describe('layers', () => {
  it('of transposed convolutions can be told which of the possible sizes to give', () => {
    const layer = new k.nn.ConvTranspose1d(1, 1, 3, { stride: 2 });
    expect(layer(k.zeros(1, 1, 4), [10]).shape).toEqual([1, 1, 10]);
    expect(() => layer(k.zeros(1, 1, 4), [11])).toThrow('must be from 9 to 10, got [11]');
  });

  it('with a padding mode are not fused, and say what they cannot pad', async () => {
    const conv = new k.nn.Conv2d(2, 4, 3, { padding: 1, paddingMode: 'reflect' });
    const x = input('x', [1, 2, 4, 4]);
    await k.noGrad(() => expectClose(k.nn.fused(x, [conv, new k.nn.ReLU()]), k.relu(conv(x))));
    expect(() => conv(k.zeros(1, 2, 1, 4))).toThrow(
      "Conv2d: paddingMode 'reflect' cannot pad dim 2 of shape [1, 2, 1, 4] by 1",
    );
  });

  it('refuse options that they do not have', () => {
    expect(() => new k.nn.MaxPool2d(2, { strides: 2 } as object)).toThrow("did you mean 'stride'?");
    expect(() => new k.nn.Conv1d(1, 1, 3, { paddingMode: 'wrap' as 'zeros' })).toThrow('paddingMode must be');
  });

  it('keep the samples that a fractional pool was given', () => {
    const randomSamples = k.rand([1, 1, 2]);
    const layer = new k.nn.FractionalMaxPool2d(2, { outputSize: 2, randomSamples });
    expect([...layer.stateDict().keys()]).toEqual(['_random_samples']);
  });
});
