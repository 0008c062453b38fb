import { beforeAll, describe, expect, it } from 'vitest';
import { init, manualSeed, nn, noGrad, ones, randn, tensor, zeros, type Tensor } from '../../src/index.js';

/* Layers beyond what rows of test/cases/nn can say: refusals, random ones, what PyTorch 1.13 has not. */

beforeAll(() => init());

const close = async (got: Tensor, want: readonly number[], digits = 5): Promise<void> => {
  const values = await got.data();
  expect(values).toHaveLength(want.length);
  want.forEach((value, i) => expect(values[i]).toBeCloseTo(value, digits));
};

describe('RMSNorm', () => {
  it('divides by the root of the mean square', async () => {
    const layer = new nn.RMSNorm(2, { eps: 0 });
    await close(layer(tensor([[3, 4]])), [3 / Math.sqrt(12.5), 4 / Math.sqrt(12.5)]);
    expect(String(layer)).toBe('RMSNorm((2,), eps=0.0, elementwise_affine=True)');
    expect(String(new nn.RMSNorm([2, 3], { elementwiseAffine: false }))).toBe(
      'RMSNorm((2, 3), eps=None, elementwise_affine=False)',
    );
  });

  it('takes no other shape', () => {
    expect(() => new nn.RMSNorm(3)(zeros(2, 4))).toThrow(/\[2, 4\] does not end in normalizedShape \[3\]/);
  });
});

describe('random layers', () => {
  it('RReLU draws slopes in training and takes their mean in evaluation', async () => {
    const layer = new nn.RReLU(0.1, 0.3);
    const values = await layer(ones(1000).mul(-1)).data();
    expect(Math.min(...values)).toBeGreaterThanOrEqual(-0.3);
    expect(Math.max(...values)).toBeLessThanOrEqual(-0.1);
    expect(new Set(values).size).toBeGreaterThan(500);
    layer.eval();
    await close(layer(tensor([-1, 2])), [-0.2, 2]);
  });

  it('AlphaDropout keeps mean and variance', async () => {
    manualSeed(0);
    const y = new nn.AlphaDropout(0.3)(randn(20000));
    expect(Math.abs(await y.mean().item())).toBeLessThan(0.05);
    expect(Math.abs((await y.var().item()) - 1)).toBeLessThan(0.05);
  });

  it('FeatureAlphaDropout, Dropout1d and Dropout3d drop whole channels', async () => {
    manualSeed(0);
    for (const layer of [new nn.FeatureAlphaDropout(), new nn.Dropout1d()]) {
      const y = layer(ones(10, 10, 7));
      expect(await y.std(2, { unbiased: false }).abs().max().item()).toBeLessThan(1e-5);
    }
    const y = await new nn.Dropout3d()(ones(64, 1, 1, 1)).data();
    expect([...new Set(y)].sort()).toEqual([0, 2]);
    expect(() => new nn.Dropout1d()(ones(2, 2, 2, 2))).toThrow(/2 or 3 dims, got \[2, 2, 2, 2\]/);
  });
});

describe('AdaptiveLogSoftmaxWithLoss', () => {
  it('is a distribution over all classes', async () => {
    const layer = new nn.AdaptiveLogSoftmaxWithLoss(8, 7, [2, 4], { divValue: 2 });
    const x = randn(3, 8);
    await close(layer.logProb(x).exp().sum(1), [1, 1, 1]);
    const labels = tensor([0, 3, 6], { dtype: 'int32' });
    const [output] = layer(x, labels);
    await close(output, [...(await layer.logProb(x).gather(1, labels.reshape(3, 1)).data())]);
    expect(layer.predict(x).shape).toEqual([3]);
  });

  it('wants rising cutoffs below the number of classes', () => {
    expect(() => new nn.AdaptiveLogSoftmaxWithLoss(8, 7, [4, 4])).toThrow(/rising integers.*\[4, 4\]/);
    expect(() => new nn.AdaptiveLogSoftmaxWithLoss(8, 7, [7])).toThrow(/between 0 and 7/);
  });
});

describe('EmbeddingBag', () => {
  it('takes offsets and weights by position and by name', async () => {
    const bag = new nn.EmbeddingBag(4, 2, { mode: 'sum' });
    const ids = tensor([0, 1, 2], { dtype: 'int32' });
    const offsets = tensor([0, 2], { dtype: 'int32' });
    const perSampleWeights = tensor([1, 2, 3]);
    const want = await bag(ids, offsets, perSampleWeights).data();
    expect(await bag(ids, { offsets, perSampleWeights }).data()).toEqual(want);
    expect(await bag(ids, offsets, { perSampleWeights }).data()).toEqual(want);
    expect(() => bag(ids, { offset: offsets } as object)).toThrow("there is no option 'offset'");
  });
});

describe('Embedding', () => {
  it('scales rows that are too long down in place when they are looked up', async () => {
    const layer = new nn.Embedding(3, 2, { maxNorm: 1 });
    noGrad(() =>
      layer.weight.copy_(
        tensor([
          [3, 4],
          [0.3, 0.4],
          [6, 8],
        ]),
      ),
    );
    await close(layer(tensor([0, 1], { dtype: 'int32' })), [0.6, 0.8, 0.3, 0.4]);
    await close(layer.weight, [0.6, 0.8, 0.3, 0.4, 6, 8]);
  });

  it.each([
    ['Embedding', nn.Embedding],
    ['EmbeddingBag', nn.EmbeddingBag],
  ])('%s is made of given weights, in their memory', async (name, layerOf) => {
    const weights = tensor([
      [1, 2],
      [3, 4],
    ]);
    const layer = layerOf.fromPretrained(weights, { paddingIdx: 0 });
    expect(layer.weight.requiresGrad).toBe(false);
    expect(layerOf.fromPretrained(weights, false).weight.requiresGrad).toBe(true);
    expect(String(layer)).toContain('padding_idx=0');
    weights.mul_(2);
    await close(layer.weight, [2, 4, 6, 8]);
    expect(() => layerOf.fromPretrained(ones(3))).toThrow(`${name}.fromPretrained: weights must be`);
    expect(() => layerOf.fromPretrained(weights, { frozen: true } as object)).toThrow(/no option 'frozen'/);
  });
});

describe('outputSize', () => {
  const loose = (layer: unknown) => layer as (x: Tensor, ...args: unknown[]) => Tensor;

  it('of transposed convolutions is given by name or by position, with or without the dims before', () => {
    const layer = new nn.ConvTranspose2d(2, 3, 3, { stride: 2, padding: 1 });
    const x = zeros(1, 2, 4, 4);
    expect(layer(x).shape).toEqual([1, 3, 7, 7]);
    expect(layer(x, { outputSize: [7, 8] }).shape).toEqual([1, 3, 7, 8]);
    expect(new nn.LazyConvTranspose2d(3, 3, { stride: 2, padding: 1 })(x, [7, 8]).shape).toEqual([
      1, 3, 7, 8,
    ]);
    expect(layer(x, [1, 3, 8, 7]).shape).toEqual([1, 3, 8, 7]);
    expect(layer(zeros(2, 4, 4), [3, 8, 8]).shape).toEqual([3, 8, 8]);
    expect(() => layer(x, [9, 8])).toThrow('size 0 of outputSize must be from 7 to 8, got [9, 8]');
    for (const wrong of [[3, 8, 7], [8], 8, [7.5, 7]])
      expect(() => loose(layer)(x, wrong)).toThrow('ConvTranspose2d: for an input of shape [1, 2, 4, 4]');
    expect(() => loose(layer)(x, { size: [8, 8] })).toThrow("there is no option 'size'");
  });

  it('of unpooling too', () => {
    const [unpool, x] = [new nn.MaxUnpool2d(2), zeros(1, 2, 2, 2)];
    const at = tensor([0, 1, 2, 3], { dtype: 'int32' }).reshape(1, 1, 2, 2).expand(1, 2, 2, 2);
    expect(unpool(x, at, { outputSize: [5, 5] }).shape).toEqual([1, 2, 5, 5]);
    expect(unpool(x, at, [1, 2, 5, 4]).shape).toEqual([1, 2, 5, 4]);
    expect(() => unpool(x, at, [6, 4])).toThrow('within a stride of [4, 4], got [6,4]');
    expect(() => unpool(x, at, [2, 5, 4])).toThrow('MaxUnpool2d: for an input of shape [1, 2, 2, 2]');
  });
});

describe('shapes', () => {
  it('padding layers say how many amounts and dims they take', () => {
    expect(() => new nn.ReflectionPad2d([1, 2] as never)).toThrow(
      /ReflectionPad2d: padding must be.*4 of them/,
    );
    expect(() => new nn.CircularPad1d(1)(zeros(3))).toThrow(
      /CircularPad1d: expected an input of 2 or 3 dims/,
    );
  });

  it('CircularPad goes on at the other end', async () => {
    await close(new nn.CircularPad1d([2, 1])(tensor([[1, 2, 3]])), [2, 3, 1, 2, 3, 1]);
  });

  it('ChannelShuffle takes the groups in turn, and passes gradients', async () => {
    const x = tensor([1, 2, 3, 4, 5, 6]).reshape(1, 6, 1).detach().requiresGrad_();
    const y = new nn.ChannelShuffle(2)(x);
    await close(y, [1, 4, 2, 5, 3, 6]);
    y.mul(tensor([1, 2, 3, 4, 5, 6]).reshape(1, 6, 1))
      .sum()
      .backward();
    await close(x.grad as Tensor, [1, 3, 5, 2, 4, 6]);
  });
});

describe('an empty batch', () => {
  type Made = readonly [layer: (x: Tensor) => Tensor, input: readonly number[], output: readonly number[]];
  const { Conv1d, Conv2d, Conv3d, ConvTranspose1d, ConvTranspose2d, ConvTranspose3d } = nn;
  const made: Readonly<Record<string, () => Made>> = {
    Conv1d: () => [new Conv1d(2, 3, 3), [0, 2, 5], [0, 3, 3]],
    Conv2d: () => [new Conv2d(2, 3, 3), [0, 2, 5, 5], [0, 3, 3, 3]],
    'Conv2d of two groups': () => [new Conv2d(2, 4, 3, { groups: 2 }), [0, 2, 5, 5], [0, 4, 3, 3]],
    Conv3d: () => [new Conv3d(2, 3, 3), [0, 2, 5, 5, 5], [0, 3, 3, 3, 3]],
    ConvTranspose1d: () => [new ConvTranspose1d(2, 3, 3), [0, 2, 5], [0, 3, 7]],
    ConvTranspose2d: () => [new ConvTranspose2d(2, 3, 3), [0, 2, 5, 5], [0, 3, 7, 7]],
    ConvTranspose3d: () => [new ConvTranspose3d(2, 3, 3), [0, 2, 1, 1, 1], [0, 3, 3, 3, 3]],
    BatchNorm1d: () => [new nn.BatchNorm1d(2), [0, 2], [0, 2]],
    BatchNorm2d: () => [new nn.BatchNorm2d(2), [0, 2, 5, 5], [0, 2, 5, 5]],
    'BatchNorm2d in evaluation': () => [new nn.BatchNorm2d(2).eval(), [0, 2, 5, 5], [0, 2, 5, 5]],
    LayerNorm: () => [new nn.LayerNorm(2), [0, 2], [0, 2]],
    GroupNorm: () => [new nn.GroupNorm(2, 4), [0, 4, 3], [0, 4, 3]],
    Linear: () => [new nn.Linear(2, 3), [0, 2], [0, 3]],
    MaxPool2d: () => [new nn.MaxPool2d(2), [0, 2, 4, 4], [0, 2, 2, 2]],
    LSTM: () => {
      const lstm = new nn.LSTM(3, 4, 2, { bidirectional: true });
      return [Object.assign((x: Tensor) => lstm(x)[0], { parameters: () => lstm.parameters() }), [5, 0, 3], [5, 0, 8]];
    }, // prettier-ignore
  };

  it.each(Object.keys(made))('goes through %s and gives its parameters zeros', async (name) => {
    const [layer, input, output] = (made[name] as () => Made)();
    const x = zeros(input).requiresGrad_();
    const y = layer(x);
    expect(y.shape).toEqual(output);
    y.sum().backward();
    expect(x.grad?.shape).toEqual(input);
    for (const parameter of (layer as unknown as nn.Module).parameters()) {
      expect(parameter.grad?.shape).toEqual(parameter.shape);
      expect(await parameter.grad?.abs().sum().item()).toBe(0);
    }
  });

  it.each([0.1, null])('leaves running statistics alone, but counts (momentum %s)', async (momentum) => {
    const norm = new nn.BatchNorm1d(2, { momentum });
    norm(zeros(0, 2));
    await close(norm.runningMean as Tensor, [0, 0]);
    await close(norm.runningVar as Tensor, [1, 1]);
    expect(await norm.numBatchesTracked?.item()).toBe(1);
  });
});
