import { beforeAll, describe, expect, it } from 'vitest';
import {
  init,
  manualSeed,
  matmul,
  nn,
  noGrad,
  ones,
  optim,
  sum,
  tensor,
  zeros,
  type Tensor,
} from '../../src/index.js';

beforeAll(() => init());

describe('a lazy layer', () => {
  it('prints what it knows and becomes the layer at its first call', () => {
    const net = new nn.Sequential(new nn.LazyConv2d(4, 3, { padding: 1 }), new nn.LazyBatchNorm2d());
    const [conv, bn] = [...net];
    expect(String(conv)).toBe('LazyConv2d(0, 4, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1))');
    expect(String(bn)).toBe(
      'LazyBatchNorm2d(0, eps=1e-05, momentum=0.1, affine=True, track_running_stats=True)',
    );
    expect([...net.stateDict().keys()]).toContain('1.running_mean');
    net(zeros(2, 3, 5, 5));
    expect(conv).toBeInstanceOf(nn.Conv2d);
    expect(String(conv)).toBe('Conv2d(3, 4, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1))');
    expect(net.getParameter('0.weight').shape).toEqual([4, 3, 3, 3]);
    expect((bn as nn.BatchNorm2d).runningVar?.shape).toEqual([4]);
  });

  it.each<[string, () => nn.Module, readonly number[], string]>([
    [
      'Conv1d',
      () => new nn.LazyConv1d(4, 3, { groups: 2 }),
      [2, 6, 5],
      'Conv1d(6, 4, kernel_size=(3,), stride=(1,), groups=2)',
    ],
    [
      'ConvTranspose1d',
      () => new nn.LazyConvTranspose1d(4, 3),
      [2, 3, 5],
      'ConvTranspose1d(3, 4, kernel_size=(3,), stride=(1,))',
    ],
    [
      'Conv3d',
      () => new nn.LazyConv3d(4, 2),
      [1, 3, 4, 4, 4],
      'Conv3d(3, 4, kernel_size=(2, 2, 2), stride=(1, 1, 1))',
    ],
    [
      'BatchNorm1d',
      () => new nn.LazyBatchNorm1d(),
      [2, 3],
      'BatchNorm1d(3, eps=1e-05, momentum=0.1, affine=True, track_running_stats=True)',
    ],
    [
      'InstanceNorm2d',
      () => new nn.LazyInstanceNorm2d(),
      [2, 3, 4, 4],
      'InstanceNorm2d(3, eps=1e-05, momentum=0.1, affine=True, track_running_stats=True)',
    ],
  ])('%s', (_, make, shape, printed) => {
    const layer = make();
    (layer as nn.TensorModule)(zeros(shape));
    expect(String(layer)).toBe(printed);
  });

  it('takes its arguments by name, and says in its own name what is wrong with them', () => {
    const conv = new nn.LazyConv2d({ outChannels: 4, kernelSize: 3, groups: 2 });
    conv(zeros(1, 6, 5, 5));
    expect(String(conv)).toBe('Conv2d(6, 4, kernel_size=(3, 3), stride=(1, 1), groups=2)');
    const linear = new nn.LazyLinear({ outFeatures: 2, bias: false });
    linear(zeros(1, 3));
    expect(String(linear)).toBe('Linear(in_features=3, out_features=2, bias=False)');
    expect(() => new nn.LazyConv2d(4, 3, { zzz: 1 } as object)).toThrow(
      "LazyConv2d: there is no option 'zzz'",
    );
    expect(() => new (nn.LazyLinear as unknown as new () => object)()).toThrow(
      "LazyLinear: 'outFeatures' is missing",
    );
  });

  it('takes its size from a state dict', async () => {
    const net = new nn.Sequential(new nn.LazyLinear(2));
    const from = new nn.Sequential(new nn.Linear(3, 2));
    net.loadStateDict(from.stateDict());
    expect(String(net)).toBe(String(from));
    expect(await net(ones(1, 3)).toArray()).toEqual(await from(ones(1, 3)).toArray());
  });

  it('stays frozen when it was frozen before its first call, and can be copied before it', () => {
    const lazy = new nn.LazyLinear(2);
    lazy.requiresGrad_(false);
    const copy = nn.deepcopy(lazy);
    for (const layer of [lazy, copy]) {
      layer(ones(1, 3));
      expect(layer).toBeInstanceOf(nn.Linear);
      expect(layer.parameters().map((p) => p.requiresGrad)).toEqual([false, false]);
    }
    expect(lazy.parameters()[0]).not.toBe(copy.parameters()[0]);
  });

  it('keeps its mode, and has no parameters for an optimizer before', () => {
    const layer = new nn.LazyLinear(2, { bias: false }).eval();
    expect(layer.parameters()[0]).toBeInstanceOf(nn.UninitializedParameter);
    expect(() => new optim.SGD(layer.parameters(), { lr: 0.1 })).toThrow('call the model once before');
    layer(ones(1, 3));
    expect(layer.training).toBe(false);
    expect(() => new optim.SGD(layer.parameters(), { lr: 0.1 })).not.toThrow();
  });
});

describe('ParameterDict and ParameterList', () => {
  it('print as in PyTorch 1.13 and have their keys in the state dict', () => {
    const dict = new nn.ParameterDict({ leftSide: zeros(2, 3) });
    dict.set('b', zeros(4));
    expect(String(dict)).toBe(
      [
        'ParameterDict(',
        '    (leftSide): Parameter containing: [torch.FloatTensor of size 2x3]',
        '    (b): Parameter containing: [torch.FloatTensor of size 4]',
        ')',
      ].join('\n'),
    );
    expect([...dict.stateDict().keys()]).toEqual(['leftSide', 'b']);
    expect(() => dict.get('c')).toThrow("there is no 'c' (there is: leftSide, b)");
    expect(String(new nn.ParameterList([zeros(2, 3), zeros(4)]))).toBe(
      [
        'ParameterList(',
        '    (0): Parameter containing: [torch.float32 of size 2x3]',
        '    (1): Parameter containing: [torch.float32 of size 4]',
        ')',
      ].join('\n'),
    );
  });
});

describe('nn.utils', () => {
  const layer = (): nn.Linear => {
    const made = new nn.Linear(2, 2, { bias: false });
    noGrad(() => made.weight.copy_(tensor([[3, 4], [0, 2]]))); // prettier-ignore
    return made;
  };

  it('weightNorm splits a weight into length and direction', async () => {
    const made = nn.utils.weightNorm(layer());
    expect([...made.stateDict()].map(([key, { shape }]) => [key, shape])).toEqual([
      ['weight_g', [2, 1]],
      ['weight_v', [2, 2]],
    ]);
    const y = made(tensor([[1, 1]]));
    expect(await y.toArray()).toEqual([[7, 2]]);
    sum(y).backward();
    expect(await made.getParameter('weight_g').grad?.toArray()).toEqual([[expect.closeTo(1.4, 5)], [1]]);
    const plain = nn.utils.removeWeightNorm(made);
    expect([...plain.stateDict().keys()]).toEqual(['weight']);
    expect(await plain(tensor([[1, 1]])).toArray()).toEqual([[7, 2]]);
  });

  it('spectralNorm makes the largest singular value 1, also with two calls before backward', async () => {
    const made = nn.utils.spectralNorm(layer(), 'weight', { nPowerIterations: 30 });
    expect([...made.stateDict().keys()]).toEqual(['weight_orig', 'weight_u', 'weight_v']);
    const x = tensor([[1, 1]]);
    made(x).add(made(x)).sum().backward();
    expect(made.getParameter('weight_orig').grad?.shape).toEqual([2, 2]);
    // The singular values of [[3, 4], [0, 2]] are the roots of 29 ± sqrt(29² - 4 * 36), halved.
    const largest = Math.sqrt((29 + Math.sqrt(29 ** 2 - 144)) / 2);
    const [row] = (await made(x).toArray()) as number[][];
    expect(row?.[0]).toBeCloseTo(7 / largest, 4);
    expect([...nn.utils.removeSpectralNorm(made).stateDict().keys()]).toEqual(['weight']);
  });

  it.each([
    ['weightNorm', nn.utils.weightNorm, nn.utils.removeWeightNorm],
    ['spectralNorm', nn.utils.spectralNorm, nn.utils.removeSpectralNorm],
  ])('a copy of a layer with %s is trained and rid of it by itself', async (name, normed, remove) => {
    const made = normed(layer());
    const x = tensor([[1, 1]]);
    const copy = nn.deepcopy(made).eval();
    made.eval();
    const before = await made(x).toArray();
    expect(await copy(x).toArray()).toEqual(before);
    sum(copy(x)).backward();
    expect(made.parameters().map(({ grad }) => grad)).toEqual(made.parameters().map(() => null));
    noGrad(() => copy.parameters().forEach((p) => p.sub_(p.grad as Tensor)));
    expect(await copy(x).toArray()).not.toEqual(before);
    const trained = await copy(x).toArray();
    expect(await remove(copy)(x).toArray()).toEqual(trained);
    expect(await made(x).toArray()).toEqual(before);
    expect(() => normed(made)).toThrow(`${name}: 'weight' is computed by another norm already`);
  });

  it('fuseConvBnEval gives one convolution that does the same', async () => {
    const [conv, bn] = [new nn.Conv2d(2, 3, 3).eval(), new nn.BatchNorm2d(3).eval()];
    noGrad(() => {
      bn.runningMean?.copy_(tensor([0.1, -0.2, 0.3]));
      bn.runningVar?.copy_(tensor([1, 2, 0.5]));
      bn.bias?.copy_(tensor([1, 0, -1]));
    });
    const x = ones(1, 2, 4, 4);
    const [got, want] = [nn.utils.fuseConvBnEval(conv, bn)(x), bn(conv(x))];
    const values = await want.data();
    (await got.data()).forEach((value, i) => expect(value).toBeCloseTo(values[i] as number, 5));
    expect(() => nn.utils.fuseConvBnEval(conv.train(), bn)).toThrow('evaluation mode');
  });
});

describe('nn.init', () => {
  it.each([[[4, 6]], [[6, 4]], [[5, 5]], [[3, 2, 2]]])('orthogonal_ of %j', async (shape: number[]) => {
    const w = nn.init.orthogonal_(zeros(shape), 2) as Tensor;
    const flat = w.reshape(shape[0] as number, -1);
    const [rows, columns] = flat.shape as [number, number];
    const gram = rows <= columns ? matmul(flat, flat.t()) : matmul(flat.t(), flat);
    const identity = (await gram.toArray()) as number[][];
    identity.forEach((row, i) => row.forEach((value, j) => expect(value).toBeCloseTo(i === j ? 4 : 0, 4)));
  });

  it('eye_ and dirac_ pass inputs on', async () => {
    expect(await nn.init.eye_(zeros(2, 3)).toArray()).toEqual([[1, 0, 0], [0, 1, 0]]); // prettier-ignore
    const w = nn.init.dirac_(zeros(4, 2, 3), 2);
    expect(await w.select(2, 1).toArray()).toEqual([[1, 0], [0, 1], [1, 0], [0, 1]]); // prettier-ignore
    expect(await sum(w).item()).toBe(4);
  });

  it('sparse_ leaves the share of each column that it should', async () => {
    const values = (await nn.init.sparse_(zeros(10, 4), 0.25, 1).toArray()) as number[][];
    for (let j = 0; j < 4; j++) expect(values.filter((row) => row[j] === 0)).toHaveLength(3);
  });

  const { init: fill } = nn;
  it.each<[string, (w: Tensor) => Tensor, (w: Tensor) => Tensor]>([
    ['uniform_', (w) => fill.uniform_(w, { b: 3, a: 2 }), (w) => fill.uniform_(w, 2, 3)],
    ['normal_', (w) => fill.normal_(w, { std: 2 }), (w) => fill.normal_(w, 0, 2)],
    ['constant_', (w) => fill.constant_(w, { val: 2 }), (w) => fill.constant_(w, 2)],
    ['truncNormal_', (w) => fill.truncNormal_(w, 0, { std: 2, b: 1 }), (w) => fill.truncNormal_(w, 0, 2, -2, 1)],
    ['kaimingNormal_', (w) => fill.kaimingNormal_(w, { a: 2, mode: 'fan_out' }), (w) => fill.kaimingNormal_(w, 2, 'fan_out')],
    ['kaimingUniform_', (w) => fill.kaimingUniform_(w, { nonlinearity: 'relu' }), (w) => fill.kaimingUniform_(w, 0, 'fan_in', 'relu')],
    ['xavierNormal_', (w) => fill.xavierNormal_(w, { gain: 2 }), (w) => fill.xavierNormal_(w, 2)],
    ['xavierUniform_', (w) => fill.xavierUniform_(w, { gain: 2 }), (w) => fill.xavierUniform_(w, 2)],
    ['orthogonal_', (w) => fill.orthogonal_(w, { gain: 2 }), (w) => fill.orthogonal_(w, 2)],
    ['sparse_', (w) => fill.sparse_(w, { sparsity: 0.5, std: 2 }), (w) => fill.sparse_(w, 0.5, 2)],
  ])('%s takes options as it takes positions', async (_, byName, byPosition) => {
    manualSeed(1);
    const named = await byName(zeros(3, 4)).data();
    manualSeed(1);
    expect(await byPosition(zeros(3, 4)).data()).toEqual(named);
  }); // prettier-ignore

  type Loose = Readonly<Record<string, (...args: unknown[]) => unknown>>;
  it.each([
    ['uniform_', [{ low: 1 }], "no option 'low'"],
    ['normal_', [0, 1, 2], 'does not know what to do with its argument 2'],
    ['normal_', [0, '1'], 'normal_: std: expected a number, got 1'],
    ['normal_', [0, -1], 'std must not be negative'],
    ['kaimingNormal_', [0, 'fan'], "mode must be 'fan_in' or 'fan_out', got 'fan'"],
    ['truncNormal_', [{ low: 1 }], "no option 'low'"],
    ['sparse_', [], 'sparsity must be between 0 and 1'],
    ['constant_', [], 'constant_: val: expected a number, got undefined'],
    ['ones_', [1], 'takes 1 argument'],
    ['dirac_', [0], 'groups'],
  ])('%s refuses %j', (name, args, message) => {
    const weight = name === 'dirac_' ? zeros(4, 2, 3) : zeros(2, 3);
    expect(() => (fill as unknown as Loose)[name]!(weight, ...args)).toThrow(message);
    expect(() => (fill as unknown as Loose)[name]!(undefined)).toThrow(/tensor|dims/);
  });
});
