import { mkdtempSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeAll, expect, it } from 'vitest';
import * as k from '../../src/index.js';
import { formats, models, nn } from '../../src/index.js';
import type { NamedTensors } from '../../src/formats/index.js';

/** Everything that saves takes a state dict as the model gives it. */

beforeAll(() => k.init());

const folder = mkdtempSync(join(tmpdir(), 'kindling-saving-'));
const written =
  (save: (path: string, tensors: NamedTensors) => Promise<void>) =>
  async (tensors: NamedTensors): Promise<Uint8Array> => {
    const path = join(folder, 'file');
    await save(path, tensors);
    return new Uint8Array(readFileSync(path));
  };

const writers: [string, (tensors: NamedTensors) => Promise<Uint8Array>][] = [
  ['encodeSafetensors', (tensors) => formats.encodeSafetensors(tensors)],
  ['saveSafetensors', written(formats.saveSafetensors)],
  ['encodeTorch', (tensors) => formats.encodeTorch(tensors)],
  ['saveTorch', written(formats.saveTorch)],
  ['encodeNpz', (tensors) => formats.encodeNpz(tensors)],
  ['saveNpz', written(formats.saveNpz)],
];

const isTensorsOnly = (name: string): boolean => !name.endsWith('Torch');

it.each(writers)('%s takes stateDict(), a plain object and tensors on the host', async (name, write) => {
  const model = new nn.Sequential(new nn.Linear(3, 2), new nn.BatchNorm1d(2));
  const state = model.stateDict();
  const onHost = await models.hostStateDict(model);
  for (const tensors of [state, Object.fromEntries(state), onHost]) {
    const read = await formats.loadCheckpoint(await write(tensors), { name });
    for (const [key, tensor] of onHost) {
      expect(read.tensors.get(key)?.dtype, key).toBe(tensor.dtype);
      expect(await read.tensors.get(key)?.bytes()).toEqual(await tensor.bytes());
    }
  }
});

it.each(writers)('%s says what it wants instead of a model', async (_, write) => {
  const model = new nn.Linear(1, 1);
  await expect(write(model as never)).rejects.toThrow(/stateDict\(\)/);
});

it.each(writers.filter(([name]) => isTensorsOnly(name)))(
  '%s says what else it was given',
  async (_, write) => {
    const wrong = (value: unknown): Promise<unknown> => write(value as never);
    await expect(wrong(k.ones(2))).rejects.toThrow(
      /cannot save a tensor: expected a Map or an object of tensors/,
    );
    await expect(wrong(new Map([['epoch', 3]]))).rejects.toThrow(
      /cannot save 'epoch': .*got 3; saveTorch\(\)/,
    );
    await expect(wrong({ model: new Map() })).rejects.toThrow(/cannot save 'model': .* an object \(Map\)/);
    await expect(wrong(new Map([[1, k.ones(1)]]))).rejects.toThrow(/cannot save the key 1/);
    await expect(wrong(Promise.resolve())).rejects.toThrow(/a promise \(await it first\)/);
    await expect(wrong(undefined)).rejects.toThrow(/cannot save undefined/);
  },
);

it('saveWeights says what it wants instead of a state dict', async () => {
  const save = models.saveWeights(new nn.Linear(1, 1).stateDict() as never, join(folder, 'a.safetensors'));
  await expect(save).rejects.toThrow(/saveWeights: expected a model .* saveSafetensors\(\)/);
  await expect(models.hostStateDict(new Map() as never)).rejects.toThrow(/hostStateDict: expected a model/);
});

it('text with half of a surrogate pair is written and read as Python does', async () => {
  const [key, value] = ['a\ud800b', '\udfff and \u{1f600}'];
  const bytes = await formats.encodeTorch({ [key]: value });
  // pickle's 'surrogatepass', as torch.save writes it.
  const text = Buffer.from(bytes).toString('latin1');
  expect(text).toContain('X\x05\0\0\0a\xed\xa0\x80b');
  expect(text).toContain('\xed\xbf\xbf and \xf0\x9f\x98\x80');
  expect(await formats.loadValue(bytes)).toEqual(new Map([[key, value]]));
});

it('formats whose names are Unicode text refuse it', async () => {
  const tensors = new Map([['a\ud800b', formats.HostTensor.from('float32', [1], [1])]]);
  const refusal = /the name "a\\ud800b(\.npy)?" is no Unicode text/;
  await expect(formats.encodeSafetensors(tensors)).rejects.toThrow(refusal);
  await expect(formats.encodeNpz(tensors)).rejects.toThrow(refusal);
});
