import { inspect } from 'node:util';
import { beforeAll, describe, expect, it } from 'vitest';
import * as k from '../../src/index.js';
import { nn, optim } from '../../src/index.js';

/** What hands used to PyTorch type: the harmless thing happens, or the error says which call it is here. */

beforeAll(() => k.init());

describe('devices', () => {
  it.each(['cuda', 'cuda:0', 'mps', 'cpu', 'webgpu'] as const)(
    'a tensor and a model are on %s already',
    (device) => {
      const [x, model] = [k.ones(2), new nn.Linear(2, 2)];
      const { weight } = model;
      expect(x.to(device)).toBe(x);
      expect(x.to({ device })).toBe(x);
      expect(model.to(device)).toBe(model);
      expect(model.weight).toBe(weight);
    },
  );

  it('there is one, to which everything may be moved', () => {
    const x = k.ones(2);
    expect(x.device).toBe('webgpu');
    expect(k.zeros([1], { device: x.device }).to(x.device).device).toBe('webgpu');
    expect([x.cuda(), x.cpu()]).toEqual([x, x]);
    const model = new nn.Linear(1, 1);
    expect(model.cuda().cpu()).toBe(model);
  });

  it('other names are none', () => {
    expect(() => k.ones(1).to('cudaa' as 'cuda')).toThrow(/^to: 'cudaa' is not a dtype/);
    expect(() => new nn.Linear(1, 1).to('gpu' as 'cuda')).toThrow(
      /^to: a module is converted to float32 or float16/,
    );
  });

  it('a dtype goes along', () => {
    expect(k.ones(1).to({ dtype: 'int32', device: 'cuda' }).dtype).toBe('int32');
  });
});

describe('values', () => {
  it('are read with await, says numpy()', () => {
    expect(() => k.ones(1).detach().cpu().numpy()).toThrow(/^numpy: .* await x\.data\(\)/);
  });

  it('are nested arrays by tolist()', async () => {
    expect(await k.ones(1, 2).tolist()).toEqual([[1, 1]]);
  });

  it('are not what JSON of a tensor or an optimizer has', () => {
    const [x, model] = [k.ones(1), new nn.Linear(1, 1)];
    expect(() => JSON.stringify({ loss: x })).toThrow(/await x\.toArray\(\)/);
    expect(() => JSON.stringify([model.weight])).toThrow(/await x\.toArray\(\)/);
    const optimizer = new optim.SGD(model.parameters(), { lr: 1 });
    expect(() => JSON.stringify(optimizer)).toThrow(/^JSON of SGD: .*saveTorch/);
  });
});

describe('isContiguous', () => {
  it('looks at the memory format that it is asked for', () => {
    const x = k.zeros(2, 3, 4, 4);
    const y = x.to({ memoryFormat: 'channelsLast' });
    const formats = ['contiguous', 'channelsLast'] as const;
    const of = (z: k.Tensor): boolean[] => formats.map((memoryFormat) => z.isContiguous({ memoryFormat }));
    expect([of(x), of(y)]).toEqual([
      [true, false],
      [false, true],
    ]);
    expect([x.isContiguous(), y.isContiguous()]).toEqual([true, false]);
  });

  it('refuses others', () => {
    const x = k.zeros(1);
    expect(() => x.isContiguous({ memoryFormat: 'channels_last' as 'channelsLast' })).toThrow(
      /'channelsLast', got 'channels_last'/,
    );
    expect(() => x.isContiguous({ format: 1 } as never)).toThrow(/isContiguous: there is no option 'format'/);
  });
});

describe('console.log', () => {
  const T = k.data.transforms;
  it.each([
    ['a tensor', () => k.ones(2), 'tensor(shape=[2], dtype=float32)'],
    ['a parameter', () => new nn.Linear(1, 1).bias, 'Parameter(shape=[1], dtype=float32, requiresGrad=true)'],
    ['a module', () => new nn.ReLU(true), 'ReLU(inplace=True)'],
    [
      'an optimizer',
      () => new optim.Rprop(new nn.Linear(1, 1).parameters(), { lr: 0.5 }),
      'Rprop (\nParameter Group 0\n    etas: 0.5,1.2\n    lr: 0.5\n    maximize: false\n    stepSizes: 0.000001,50\n)',
    ],
    ['a transform', () => new T.Normalize([0.5], [0.25]), 'Normalize(mean=[0.5], std=[0.25])'],
    [
      'transforms of transforms',
      () => new T.Compose([new T.CenterCrop(8), new T.RandomApply([(x: unknown) => x], 0.1)] as never),
      'Compose(\n    CenterCrop(size=8)\n    RandomApply(\n        a function\n        p=0.1\n    )\n)',
    ],
  ] as [string, () => unknown, string][])('%s', (_, make, text) => {
    expect(inspect(make())).toBe(text);
  });
});
