import { beforeAll, describe, expect, it } from 'vitest';
import { compile, init, nn, ones, tensor, zeros, type Tensor } from '../../src/index.js';

const { BatchNorm1d, Linear, ReLU, Sequential } = nn;

beforeAll(() => init());

const small = (): InstanceType<typeof Sequential> => new Sequential(new Linear(2, 1), new BatchNorm1d(1));

/** A tensor as a weight file gives it. */
const fromFile = (shape: readonly number[], values: readonly number[]) => ({
  shape,
  toFloat32Array: async () => Float32Array.from(values),
  toInt32Array: async () => Int32Array.from(values),
});

describe('stateDict', () => {
  it('shares memory with the model and is detached from the tape', async () => {
    const model = new Linear(1, 1);
    const state = model.stateDict();
    expect(state.get('weight')?.requiresGrad).toBe(false);
    nn.init.constant_(model.weight, 7);
    expect(await state.get('weight')?.item()).toBe(7);
  });
});

describe('loadStateDict', () => {
  it('copies in place: parameters stay the same objects', async () => {
    const [from, to] = [small(), small()];
    const weight = to.getParameter('0.weight');
    const result = to.loadStateDict(from.stateDict());
    expect(result).toEqual({ missingKeys: [], unexpectedKeys: [] });
    expect(to.getParameter('0.weight')).toBe(weight);
    expect(weight.requiresGrad).toBe(true);
    expect(await weight.toArray()).toEqual(await from.getParameter('0.weight').toArray());
  });

  it('reads tensors of a file, and counters as int32', async () => {
    const model = small();
    const loading = model.loadStateDict({
      '0.weight': fromFile([1, 2], [3, 4]),
      '0.bias': fromFile([1], [5]),
      '1.weight': fromFile([1], [6]),
      '1.bias': { shape: [1], data: [7] },
      '1.running_mean': fromFile([1], [8]),
      '1.running_var': ones(1),
      '1.num_batches_tracked': fromFile([], [123456789]),
    });
    expect(loading).toBeInstanceOf(Promise);
    await loading;
    const state = model.stateDict();
    expect(await state.get('0.weight')?.toArray()).toEqual([[3, 4]]);
    expect(await state.get('1.bias')?.toArray()).toEqual([7]);
    expect(await state.get('1.num_batches_tracked')?.item()).toBe(123456789);
    expect(state.get('1.num_batches_tracked')?.dtype).toBe('int32');
  });

  it('lists every missing, unexpected and misshapen key at once and loads nothing', async () => {
    const model = small();
    const before = await model.getParameter('1.bias').toArray();
    const state: Record<string, Tensor> = {
      '0.weight': zeros(3, 2),
      '1.bias': tensor([9]),
      '1.running_mean': zeros(2),
      head: zeros(1),
      'tail.bias': zeros(1),
    };
    let message = '';
    try {
      model.loadStateDict(state);
    } catch (error) {
      message = (error as Error).message;
    }
    expect(message.split('\n')).toEqual([
      'loadStateDict: the state dict does not fit Sequential; nothing was loaded.',
      '  3 missing in the state dict: 0.bias, 1.weight, 1.running_var',
      '  2 unexpected in the state dict: head, tail.bias',
      '  2 of another shape: 0.weight is [3, 2] in the state dict and [1, 2] in the model, ' +
        '1.running_mean is [2] in the state dict and [1] in the model',
    ]);
    expect(await model.getParameter('1.bias').toArray()).toEqual(before);
  });

  it('without strict returns the keys that did not match', async () => {
    const model = new Linear(1, 1);
    const result = model.loadStateDict({ weight: tensor([[5]]), gain: ones(1) }, { strict: false });
    expect(result).toEqual({ missingKeys: ['bias'], unexpectedKeys: ['gain'] });
    expect(await model.weight.item()).toBe(5);
  });

  it('recognises the prefix of DataParallel', () => {
    const state = new Map(
      [...new Linear(1, 1).stateDict()].map(([key, value]) => [`module.${key}`, value] as const),
    );
    expect(() => new Linear(1, 1).loadStateDict(state)).toThrow('drop that prefix from every key');
  });
});

describe('a load that fails', () => {
  const broken = { shape: [1], toInt32Array: fail, toFloat32Array: fail };
  function fail(): Promise<never> {
    return Promise.reject(new Error('the file ends here'));
  }

  it('midway leaves no model of two halves', async () => {
    const model = new Sequential(new Linear(1, 1));
    const load = model.loadStateDict({ '0.weight': tensor([[5]]), '0.bias': broken });
    await expect(load).rejects.toThrow('the file ends here');
    const refusal = 'Sequential: loadStateDict() failed midway, so that some of the weights are the old ones';
    expect(() => model(ones(1, 1))).toThrow(refusal);
    expect(() => model[0]?.(ones(1, 1))).toThrow(refusal);
    void model.loadStateDict({ '0.weight': tensor([[2]]), '0.bias': tensor([1]) });
    expect(await model(ones(1, 1)).item()).toBe(3);
  });

  it('before anything was written leaves the model as it was', async () => {
    const model = new Linear(1, 1);
    const before = await model(ones(1, 1)).item();
    const load = model.loadStateDict({ weight: { ...broken, shape: [1, 1] }, bias: tensor([1]) });
    await expect(load).rejects.toThrow('the file ends here');
    expect(await model(ones(1, 1)).item()).toBe(before);
  });
});

describe('a load that nobody has awaited yet', () => {
  const unfinished = 'loadStateDict() has not finished: await it before the model is used';
  const values = (): Record<string, ReturnType<typeof fromFile>> => ({
    '0.weight': fromFile([1, 2], [3, 4]),
    '0.bias': fromFile([1], [5]),
  });
  const build = (): InstanceType<typeof Sequential> => new Sequential(new Linear(2, 1), new ReLU());

  it('lets the model be neither called nor saved, copied, converted or loaded again', async () => {
    const model = build();
    const loading = model.loadStateDict(values());
    for (const use of [
      () => model(ones(1, 2)),
      () => model.stateDict(),
      () => nn.deepcopy(model),
      () => model.half(),
      () => model.loadStateDict(build().stateDict()),
    ])
      expect(use).toThrow(`Sequential: ${unfinished}`);
    await loading;
    expect(await model(ones(1, 2)).item()).toBe(12);
  });

  it('holds for every module of the tree, and for a model that has it as a part', async () => {
    const part = build();
    const model = new Sequential(part, new Linear(1, 1));
    const loading = part.loadStateDict(values());
    expect(() => part[0]?.(ones(1, 2))).toThrow(`Sequential: ${unfinished}`);
    expect(() => model(ones(1, 2))).toThrow(unfinished);
    expect(() => model.stateDict()).toThrow(unfinished);
    await loading;
    expect(model(ones(1, 2)).shape).toEqual([1, 1]);
  });

  it('holds for layers that run as one with others', async () => {
    const [conv, relu] = [new nn.Conv2d(1, 1, 1), new ReLU()];
    const loading = conv.loadStateDict({ weight: fromFile([1, 1, 1, 1], [2]), bias: fromFile([1], [1]) });
    expect(() => nn.fused(ones(1, 1, 1, 1), [conv, relu])).toThrow(`Conv2d: ${unfinished}`);
    await loading;
    expect(await nn.fused(ones(1, 1, 1, 1), [conv, relu]).item()).toBe(3);
  });

  it('holds for a compiled function that was recorded before', async () => {
    const model = build();
    const run = compile((x: Tensor) => model(x));
    for (let call = 0; call < 4; call++) run(ones(1, 2));
    const loading = model.loadStateDict(values());
    expect(() => run(ones(1, 2))).toThrow(`Sequential: ${unfinished}`);
    await loading;
    expect(await run(ones(1, 2)).item()).toBe(12);
  });

  it('is over when it fails', async () => {
    const model = build();
    const broken = { ...fromFile([1], [5]), toFloat32Array: () => Promise.reject(new Error('disk')) };
    await expect(model.loadStateDict({ ...values(), '0.bias': broken })).rejects.toThrow('disk');
    await model.loadStateDict(values());
    expect(model(ones(1, 2)).shape).toEqual([1, 1]);
  });
});
