import { beforeAll, describe, expect, it } from 'vitest';
import * as k from '../../src/index.js';
import {
  encodeSafetensors,
  encodeTorch,
  HostTensor,
  loadCheckpoint,
  OpaqueObject,
  UnclearStateDictError,
} from '../../src/formats/index.js';
import type { Checkpoint, PlainValue } from '../../src/formats/index.js';
import { loadWeights } from '../../src/models/index.js';
import { expected, fixturePath, hex } from './support.js';

const state = expected['wild.plain.zip.pth']!;

async function expectState({ tensors }: Checkpoint): Promise<void> {
  expect([...tensors.keys()]).toEqual(Object.keys(state));
  for (const [key, want] of Object.entries(state))
    expect(hex(await tensors.get(key)!.bytes()), key).toBe(want.hex);
}

describe.each(['zip', 'legacy'])('what people save around their weights (%s)', (container) => {
  const path = (name: string) => fixturePath(`wild.${name}.${container}.pth`);

  it.each<[string, string | null, readonly string[], readonly string[]]>([
    ['plain', null, [], []],
    ['parallel-inside', null, ['features.module'], []],
    ['compiled', '_orig_mod.', [], []],
    ['parallel-compiled', 'module._orig_mod.', [], []],
    ['averaged', 'module.', [], []],
    ['nested', null, [], ['state_dict', 'model']],
    ['deep', null, [], ['result', 'best', 'weights']],
  ])('%s: the state dict is found and its keys are the module’s own', async (name, prefix, wrappers, key) => {
    const checkpoint = await loadCheckpoint(path(name));
    expect(checkpoint).toMatchObject({ strippedPrefix: prefix, wrappers, key });
    await expectState(checkpoint);
  });

  it('an averaged model’s counter is kept beside the weights', async () => {
    const { extra } = await loadCheckpoint(path('averaged'));
    expect((extra.get('n_averaged') as HostTensor).shape).toEqual([]);
  });

  it('keys stay as they are when asked', async () => {
    const { tensors } = await loadCheckpoint(path('averaged'), { stripPrefix: false });
    expect([...tensors.keys()].slice(0, 2)).toEqual(['n_averaged', 'module.features.0.weight']);
  });

  it('a criterion beside the weights stands for itself', async () => {
    const checkpoint = await loadCheckpoint(path('criterion'));
    await expectState(checkpoint);
    const criterion = checkpoint.extra.get('criterion');
    expect(criterion).toBeInstanceOf(OpaqueObject);
    expect(String(criterion)).toBe('<object of torch.nn.modules.loss.CrossEntropyLoss>');
  });

  it('so do the objects among hyperparameters', async () => {
    const checkpoint = await loadCheckpoint(path('lightning'));
    await expectState(checkpoint);
    expect(checkpoint.extra.get('epoch')).toBe(2);
    const parameters = checkpoint.extra.get('hyper_parameters') as Map<PlainValue, PlainValue>;
    expect(parameters.get('path')).toBe('a/b');
    expect(['when', 'activation', 'rate'].map((name) => String(parameters.get(name)))).toEqual([
      '<object of datetime.datetime>',
      '<object of functools.partial>',
      '<object of decimal.Decimal>',
    ]);
    const callbacks = checkpoint.extra.get('callbacks') as Map<PlainValue, Map<PlainValue, PlainValue>>;
    expect([...callbacks.get('checkpoint')!.values()].map(String)).toEqual([
      '<object of numpy.ndarray of U1>',
      '<object of numpy.ndarray of objects>',
    ]);
  });

  it('so do the types and functions among arguments, and names of files that are no text', async () => {
    const checkpoint = await loadCheckpoint(path('types'));
    await expectState(checkpoint);
    const { args, rest, path: image } = Object.fromEntries(checkpoint.extra) as Record<string, unknown>;
    expect([...(args as Map<string, PlainValue>)].map(([key, value]) => `${key} ${String(value)}`)).toEqual([
      'lr 1',
      'type __builtin__.long',
      'name __builtin__.unicode',
      'reduce __builtin__.max',
    ]);
    expect((rest as PlainValue[]).slice(0, 2).map(String)).toEqual([
      '__builtin__.Ellipsis',
      '<object of exceptions.ValueError>',
    ]);
    expect(image).toBe('images/caf\udce9');
  });

  it('a whole module under a key is named, with the remedy', async () => {
    await expect(loadCheckpoint(path('module-inside'))).rejects.toThrow(
      /'model' of class torch\.nn\.modules\.container\.Sequential.*nothing was executed.*model\.state_dict\(\)/,
    );
  });

  it.each([
    ['two', ['generator']],
    ['two-deep', ['models', 'a']],
  ])('%s: of several the error lists the choices, and each works', async (name, first) => {
    const error = await loadCheckpoint(path(name)).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(UnclearStateDictError);
    const { choices, message } = error as UnclearStateDictError;
    expect(choices[0]).toEqual(first);
    const advice = /e\.g\. \{ key: (.*) \}$/.exec(message)?.[1] ?? '';
    const given = JSON.parse(advice.replaceAll("'", '"')) as string | string[];
    await expectState(await loadCheckpoint(path(name), { key: given }));
    for (const key of choices) await expectState(await loadCheckpoint(path(name), { key }));
  });
});

describe('weights in models', () => {
  beforeAll(() => k.init());

  class Tied extends k.nn.Module {
    embed = new k.nn.Linear(3, 3, { bias: false });
    decode = new k.nn.Linear(3, 3, { bias: false });
    constructor() {
      super();
      this.decode.weight = this.embed.weight;
    }
    forward(x: k.Tensor): k.Tensor {
      return this.decode(this.embed(x));
    }
  }
  const values = [1, 2, 3, 4, 5, 6, 7, 8, 9];

  it.each(['embed.weight', 'decode.weight'])(
    'of a tied parameter the file may hold %s alone',
    async (key) => {
      const model = new Tied();
      const file = await encodeSafetensors(new Map([[key, HostTensor.from('float32', [3, 3], values)]]));
      const { missingKeys } = await loadWeights(model, file);
      expect(missingKeys).toEqual([]);
      expect([...(await model.embed.weight.data())]).toEqual(values);
      expect(model.decode.weight).toBe(model.embed.weight);
    },
  );

  it('a parameter that is not tied may not be left out', async () => {
    const model = new Tied();
    model.decode = new k.nn.Linear(3, 3, { bias: false });
    const file = await encodeSafetensors(
      new Map([['embed.weight', HostTensor.from('float32', [3, 3], values)]]),
    );
    await expect(loadWeights(model, file)).rejects.toThrow(/1 missing in the state dict: decode\.weight/);
  });

  class Wrapper extends k.nn.Module {
    module = new k.nn.Linear(3, 1);
    forward(x: k.Tensor): k.Tensor {
      return this.module(x);
    }
  }

  it('a model that is itself called as wrappers are keeps its keys', async () => {
    const saved = new Wrapper();
    const file = await encodeTorch(saved.stateDict());
    const model = new Wrapper();
    await loadWeights(model, file);
    expect(await model.module.weight.data()).toEqual(await saved.module.weight.data());
  });

  it('an error about keys says what was taken out of them, and the advice works', async () => {
    const file = await encodeTorch(new Wrapper().stateDict());
    const other = new k.nn.Sequential(new k.nn.Linear(3, 1));
    await expect(loadWeights(other, file)).rejects.toThrow(
      /with 'module' taken out of its keys \(which \{ stripPrefix: false \} prevents\)/,
    );
    await expect(loadWeights(other, file, { stripPrefix: false })).rejects.toThrow(
      /unexpected in the state dict: module\.weight, module\.bias/,
    );
  });
});
