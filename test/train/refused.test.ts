/** What plain JavaScript may give a Trainer by mistake, and what it is told. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { init, nn, optim, tensor, type Tensor } from '../../src/index.js';
import { RunFolder } from '../../src/train/node/index.js';
import { evaluate, Trainer, trainStep } from '../../src/train/index.js';
import { bytesOf, fresh, trainLoader, valLoader } from './support.js';

let folder = '';
beforeAll(async () => {
  await init();
  folder = mkdtempSync(join(tmpdir(), 'kindling-refused-'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const made = (options?: object): Trainer => new Trainer(options as never);
const withModel = (model: unknown): Trainer =>
  made({ model, optimizer: new optim.SGD(new nn.Linear(1, 1).parameters(), { lr: 1 }) });
function* batches(): Generator<[Tensor, Tensor]> {
  yield [tensor([[1, 2]]), tensor([0], { dtype: 'int32' })];
}

describe('a Trainer is not made', () => {
  it.each([
    ['of nothing', () => made(), /Trainer: expected options, such as \{ model, optimizer \}, got undefined/],
    ['of a plain function', () => withModel((x: Tensor) => x), /must be a module, and is a function/],
    ['with an optimizer of another model', () => withModel(new nn.Linear(1, 1)), /none of the parameters/],
    [
      'with a metric that measures nothing',
      () => fresh({ metrics: { a: {} } as never }),
      /'a' has no update/,
    ],
    [
      'with class weights in a list',
      () => fresh({ classWeights: [1, 2] as never }),
      /such as tensor\(\[1, 2\]\)/,
    ],
    ['with a loss that is no function', () => fresh({ loss: 'mse' as never }), /`loss` must be a function/],
  ])('%s', (_, make, message) => {
    expect(make).toThrow(message);
  });
});

describe('a fit is not begun', () => {
  it.each([
    ['without options', undefined, /expected options, such as \{ epochs: 10 \}/],
    ['with a callback that is none', { epochs: 1, onEpoch: 3 }, /`onEpoch` must be a function, and is 3/],
    ['with a path as folder', { epochs: 1, folder: 'runs/x' }, /`folder` has no keep\(\).*openOrCreate/],
    ['with a number as validation', { epochs: 1, validation: 3 }, /validation: a loader must be/],
  ])('%s', (_, options, message) => {
    expect(() => fresh().fit(trainLoader(), options as never)).toThrow(message);
  });

  it('with a generator function, which is not called yet', () => {
    expect(() => fresh().fit(batches as never, { epochs: 1 })).toThrow(
      /\{ \[Symbol\.asyncIterator\]: batches \}/,
    );
  });

  it('with nothing to train', async () => {
    const trainer = fresh();
    trainer.model.requiresGrad_(false);
    await expect(trainer.fit(trainLoader(), { epochs: 1 })).rejects.toThrow(/nothing to train in epoch 1/);
  });

  it('with something unknown from onEpochStart', async () => {
    const trainer = fresh({ onEpochStart: () => ({ loader: trainLoader() }) as never });
    await expect(trainer.fit(trainLoader(), { epochs: 1 })).rejects.toThrow(/unknown option 'loader'/);
  });

  it('in a folder that was closed', async () => {
    const run = await RunFolder.create(join(folder, 'closed'));
    await run.close();
    await expect(fresh().fit(trainLoader(), { epochs: 1, folder: run })).rejects.toThrow(/was closed/);
  });

  it.each([
    ['that knows its length', (list: [Tensor, Tensor][]) => list],
    ['that does not', (list: [Tensor, Tensor][]) => ({ [Symbol.iterator]: () => list.values() })],
  ])('from a place behind the end of a loader %s', async (_, loaderOf) => {
    const trainer = fresh();
    for await (const event of trainer.fit(trainLoader(), { epochs: 1, stepEvery: 1 }))
      if (event.type === 'step' && event.batch === 2) break;
    const before = await bytesOf(trainer.model);
    const short = loaderOf([...batches(), ...batches()]);
    await expect(trainer.fit(short, { epochs: 1 })).rejects.toThrow(
      /3 batches of epoch 1 are done, but the loader has only 2/,
    );
    expect(await bytesOf(trainer.model)).toEqual(before);
  });
});

describe('elsewhere are refused', () => {
  it('a path to resume from', async () => {
    await expect(fresh().resume('runs/x' as never)).rejects.toThrow(/the folder has no load\(\), keep\(\)/);
  });

  it('what evaluate cannot go through or call', async () => {
    const { model } = fresh();
    await expect(evaluate(model, batches as never)).rejects.toThrow(/evaluate: a loader must be/);
    await expect(evaluate(((x: Tensor) => x) as never, valLoader())).rejects.toThrow(/must be a module/);
    await expect(evaluate(model, valLoader(), { metrics: { a: {} } as never })).rejects.toThrow(/no update/);
  });

  it('class weights of trainStep in a list', async () => {
    const model = new nn.Linear(2, 2);
    const optimizer = new optim.SGD(model.parameters(), { lr: 1 });
    const [batch] = [...batches()];
    await expect(trainStep(model, optimizer, batch!, { classWeights: [1, 2] as never })).rejects.toThrow(
      /trainStep: `classWeights` must be a tensor/,
    );
  });

  it('other settings for a run that is there', async () => {
    const path = join(folder, 'settings');
    await (await RunFolder.openOrCreate(path, { lr: 0.1, momentum: 0.9 })).close();
    await (await RunFolder.openOrCreate(path, { momentum: 0.9, lr: 0.1 })).close();
    await expect(RunFolder.openOrCreate(path, { lr: 0.2 })).rejects.toThrow(
      /other settings, \{"lr":0\.1,"momentum":0\.9\} where now \{"lr":0\.2\}/,
    );
    await (await RunFolder.openOrCreate(path)).close();
  });
});
