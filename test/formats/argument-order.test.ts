/** Savers say the order of their arguments, and what is spread of a state dict is the state dict. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import * as k from '../../src/index.js';
import { saveOnnx } from '../../src/node.js';

const { formats, nn } = k;
const folder = mkdtempSync(join(tmpdir(), 'kindling-order-'));
beforeAll(() => k.init());
afterAll(() => rmSync(folder, { recursive: true }));

const path = (name: string): string => join(folder, name);
const loose = (call: unknown): ((...args: unknown[]) => Promise<unknown>) =>
  call as (...args: unknown[]) => Promise<unknown>;

it.each<[string, () => Promise<unknown>]>([
  ['saveTorch(path, value)', () => loose(formats.saveTorch)({ epoch: 1 }, path('a.pth'))],
  ['saveSafetensors(path, tensors)', () => loose(formats.saveSafetensors)(new Map(), path('a.safetensors'))],
  ['saveNpz(path, tensors)', () => loose(formats.saveNpz)(new Map(), path('a.npz'))],
  ['saveWeights(model, path)', () => loose(k.saveWeights)(path('a.pth'), new nn.ReLU())],
  ['saveOnnx(model, exampleInputs, path)', () => loose(saveOnnx)(new nn.ReLU(), path('a.onnx'), k.ones(1))],
  ['writeFileAtomically(path, chunks)', () => loose(formats.writeFileAtomically)([], path('a'))],
])('%s says so when they are swapped', async (order, call) => {
  const name = order.slice(0, order.indexOf('('));
  await expect(call()).rejects.toThrow(new RegExp(`^${name}: expected the path of a file, got `));
  await expect(call()).rejects.toThrow(`the order is ${order}`);
});

it('what is spread of a state dict, alone or in a checkpoint, comes back from a file', async () => {
  const model = new nn.Linear(2, 1);
  const state = model.stateDict();
  expect(Object.keys(state)).toEqual(['weight', 'bias']);
  await formats.saveTorch(path('spread.pth'), { model: { ...state }, epoch: 1 });
  const { tensors } = await k.loadCheckpoint(path('spread.pth'));
  expect(Object.keys({ ...tensors })).toEqual(['weight', 'bias']);
  const other = new nn.Linear(2, 1);
  await other.loadStateDict({ ...tensors });
  expect(await other.weight.toArray()).toEqual(await model.weight.toArray());
});

it('follows what is set and deleted', () => {
  const state = new nn.Linear(2, 1).stateDict();
  state.set('extra', k.ones(1));
  state.delete('bias');
  expect(Object.keys(state)).toEqual(['weight', 'extra']);
  (state as unknown as Record<string, k.Tensor>)['extra'] = k.ones(3);
  expect(state.get('extra')?.shape).toEqual([3]);
  state.clear();
  expect(Object.keys(state)).toEqual([]);
});

it('a key that every Map has is an error of the spread, not missing in it', () => {
  class Grid extends nn.Module {
    size = new nn.Parameter(k.ones(2));
    forward(): k.Tensor {
      return this.size;
    }
  }
  const state = new Grid().stateDict();
  expect(state.size).toBe(1);
  expect(() => ({ ...state })).toThrow("an entry 'size' cannot be spread");
  expect(Object.fromEntries(state)['size']?.shape).toEqual([2]);
});

it('neither JSON nor a structured clone of a state dict is made without a word', () => {
  const state = new nn.Linear(2, 1).stateDict();
  expect(() => JSON.stringify(state)).toThrow('await x.toArray()');
  expect(() => structuredClone(state)).toThrow();
});

it.each<[string, (empty: Record<string, k.Tensor>) => unknown]>([
  ['saveSafetensors', (empty) => formats.saveSafetensors(path('empty.safetensors'), empty)],
  ['saveNpz', (empty) => formats.saveNpz(path('empty.npz'), empty)],
])('%s refuses an object without entries, as the spread of a plain Map is', async (_, save) => {
  await expect((async () => save({ ...(new Map() as object) }))()).rejects.toThrow(
    'cannot save an object without entries: pass model.stateDict()',
  );
});
