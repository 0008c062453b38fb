/** A training that is stopped and gone on with comes to the bits of one that was not. */
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { data, formats, init, manualSeed, rand, snapshot, type optim } from '../../src/index.js';
import { EarlyStopping, lrScheduler } from '../../src/optim/index.js';
import { RunFolder } from '../../src/train/node/index.js';
import type { Trainer, TrainerOptions, TrainingState } from '../../src/train/index.js';
import {
  bytesOf,
  fresh,
  network,
  numbers,
  throughFile,
  trainLoader,
  trainPoints,
  valLoader,
  type Loader,
} from './support.js';

let folder = '';
beforeAll(async () => {
  await init();
  folder = mkdtempSync(join(tmpdir(), 'kindling-train-'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Everything that has a state. */
const everything = (optimizer: optim.Optimizer): Omit<TrainerOptions, 'model' | 'optimizer'> => ({
  scheduler: new lrScheduler.OneCycleLR(optimizer, 0.05, { epochs: 3, stepsPerEpoch: 5 }),
  earlyStopping: new EarlyStopping({ patience: 9 }),
  ema: 0.8,
  amp: true,
  clipGradNorm: 1,
});

/** Trains until a batch of an epoch is done. */
async function stopAt(trainer: Trainer, loader: Loader, epoch: number, batch: number): Promise<void> {
  const options = { epochs: 3, validation: valLoader(), stepEvery: 1 };
  for await (const event of trainer.fit(loader, options))
    if (event.type === 'step' && event.epoch === epoch && event.batch === batch) break;
}

describe('a state dict', () => {
  it.each([
    ['dropout and Adam', () => ({})],
    ['all that has a state', everything],
  ])('taken in the middle of an epoch, with %s', async (_, options) => {
    const whole = fresh(options);
    await whole.fit(trainLoader(), { epochs: 3, validation: valLoader() });
    const stopped = fresh(options);
    await stopAt(stopped, trainLoader(), 2, 2);
    const state = await throughFile(stopped);
    manualSeed(99);
    rand(10).dispose();

    const resumed = fresh(options);
    await resumed.loadStateDict(state);
    expect(resumed.history.length).toBe(1);
    await resumed.fit(trainLoader(), { epochs: 3, validation: valLoader() });
    expect(numbers(resumed)).toEqual(numbers(whole));
    expect(await bytesOf(resumed.model)).toEqual(await bytesOf(whole.model));
    expect(await bytesOf(resumed.saved)).toEqual(await bytesOf(whole.saved));
  });

  it('may be asked for while an event is looked at, and holds that place', async () => {
    const trainer = fresh();
    let state: unknown;
    for await (const event of trainer.fit(trainLoader(), { epochs: 2, stepEvery: 1 }))
      if (event.type === 'step' && event.epoch === 1 && event.batch === 3) state = await throughFile(trainer);
    const resumed = fresh();
    await resumed.loadStateDict(state);
    await resumed.fit(trainLoader(), { epochs: 2 });
    expect(await bytesOf(resumed.model)).toEqual(await bytesOf(trainer.model));
  });

  it('knows the seed of a loader that has drawn its own', async () => {
    const unseeded = (): Loader =>
      new data.DataLoader(trainPoints, { batchSize: 8, shuffle: true }) as unknown as Loader;
    const loader = unseeded();
    const whole = fresh();
    await whole.fit(loader, { epochs: 1, stepEvery: 1, onStep: () => undefined });
    const state = await throughFile(whole);
    await whole.fit(loader, { epochs: 2 });
    const resumed = fresh();
    await resumed.loadStateDict(state);
    await resumed.fit(unseeded(), { epochs: 2 });
    expect(await bytesOf(resumed.model)).toEqual(await bytesOf(whole.model));
  });

  it('goes on with a loader that cannot begin in the middle, past the batches that were done', async () => {
    const batches = async () => {
      const list = [];
      for await (const batch of trainLoader()) list.push(batch);
      return list;
    };
    const whole = fresh();
    await whole.fit(await batches(), { epochs: 1 });
    const stopped = fresh();
    const list = await batches();
    for await (const event of stopped.fit(list, { epochs: 1, stepEvery: 1 }))
      if (event.type === 'step' && event.batch === 2) break;
    await stopped.fit(list, { epochs: 1 });
    expect(await bytesOf(stopped.model)).toEqual(await bytesOf(whole.model));
  });

  it('is no part of a snapshot, which could not wait for it', async () => {
    await expect(snapshot({ trainer: fresh() })).rejects.toThrow(/'trainer' gives its state as a promise/);
  });

  it('is refused by a Trainer that is made otherwise, which it leaves alone', async () => {
    const trainer = fresh({ ema: 0.9 });
    await trainer.fit(trainLoader(), { epochs: 1 });
    const state = await throughFile(trainer);
    const other = fresh();
    const before = await bytesOf(other.model);
    await expect(other.loadStateDict(state)).rejects.toThrow(
      /the state has 'average', and this Trainer has none/,
    );
    await expect(other.loadStateDict({ model: new Map() })).rejects.toThrow(/not the state of a training/);
    expect(await bytesOf(other.model)).toEqual(before);
  });
});

describe('a state that does not fit', () => {
  const trained = async (options: Parameters<typeof fresh>[0]): Promise<TrainingState> => {
    const trainer = fresh(options);
    await trainer.fit(trainLoader(), { epochs: 1, validation: valLoader() });
    return trainer.stateDict();
  };
  const everyBit = async (trainer: Trainer): Promise<string> =>
    Buffer.from(await formats.encodeTorch(await trainer.stateDict())).toString('base64');

  it.each([
    ['model', new Map()],
    ['average', new Map()],
    ['optimizer', { state: {}, param_groups: [] }],
    ['optimizer', 3],
    ['scaler', { scale: 'large' }],
    ['random', null],
    ['random', { seed: 'x', offset: 0 }],
    ['progress', '{'],
  ] as const)('in its %s leaves everything as it was: %j', async (part, value) => {
    const state = await trained(everything);
    const trainer = fresh(everything);
    await trainer.fit(trainLoader(), { epochs: 2, validation: valLoader() });
    manualSeed(5);
    const before = await everyBit(trainer);
    await expect(trainer.loadStateDict({ ...state, [part]: value })).rejects.toThrow();
    expect(await everyBit(trainer)).toBe(before);
    await trainer.fit(trainLoader(), { epochs: 3, validation: valLoader() });
  });

  it('is no obstacle to one that does, also where the model was left half loaded', async () => {
    const trainer = fresh();
    const state = await trainer.stateDict();
    const broken = { shape: [16], toFloat32Array: () => Promise.reject(new Error('cut off')) };
    const half = new Map<string, unknown>([...trainer.model.stateDict(), ['1.bias', broken]]);
    await expect(trainer.model.loadStateDict(half as never)).rejects.toThrow(/cut off/);
    await trainer.loadStateDict(state);
    await trainer.fit(trainLoader(), { epochs: 1 });
    expect(trainer.history.length).toBe(1);
  });

  it('nor with the weights of its folder', async () => {
    const state = { ...(await trained({})), optimizer: 3 };
    const weights = network().stateDict();
    const trainer = fresh({ changing: new Set(['4.weight', '4.bias']) });
    await trainer.fit(trainLoader(), { epochs: 1 });
    const before = await bytesOf(trainer.model);
    const kept = { load: () => Promise.resolve({ state, weights }), keep: () => expect.unreachable() };
    await expect(trainer.resume(kept as never)).rejects.toThrow(/the state dict is not a dict/);
    expect(await bytesOf(trainer.model)).toEqual(before);
  });
});

describe('a run folder', () => {
  const path = (name: string): string => join(folder, name);
  const fit = async (run: RunFolder, trainer: Trainer, epochs: number): Promise<void> => {
    await trainer.fit(trainLoader(), { epochs, validation: valLoader(), folder: run });
    await run.close();
  };

  it('holds settings, history, the best weights, the last, and the state', async () => {
    const trainer = fresh();
    await fit(await RunFolder.create(path('whole'), { lr: 0.02 }), trainer, 3);
    expect(readdirSync(path('whole')).sort()).toEqual([
      ...['best.safetensors', 'config.json', 'history.jsonl', 'last.safetensors', 'state.pth'],
    ]);
    const lines = readFileSync(join(path('whole'), 'history.jsonl'), 'utf8')
      .trim()
      .split('\n');
    expect(lines.map((line) => JSON.parse(line) as object)).toEqual(trainer.history);
    const run = await RunFolder.open(path('whole'));
    expect(run.config).toMatchObject({ kind: 'kindling training', settings: { lr: 0.02 } });
    const best = network();
    await run.loadBest(best);
    await run.close();
    const again = fresh();
    await again.fit(trainLoader(), { epochs: trainer.best?.epoch ?? 0, validation: valLoader() });
    expect(await bytesOf(best)).toEqual(await bytesOf(again.model));
  });

  it('is what a training is taken up from, in another process too', async () => {
    const whole = fresh(everything);
    await fit(await RunFolder.create(path('unbroken')), whole, 3);
    const stopped = fresh(everything);
    const run = await RunFolder.create(path('broken'));
    const controller = new AbortController();
    await stopped.fit(trainLoader(), {
      ...{ epochs: 3, validation: valLoader(), folder: run, signal: controller.signal, stepEvery: 1 },
      onStep: ({ epoch, batch }) => void (epoch === 2 && batch === 2 && controller.abort()),
    });
    await run.close();

    const resumed = fresh(everything);
    const reopened = await RunFolder.openOrCreate(path('broken'));
    expect(await resumed.resume(reopened)).toBe(true);
    await fit(reopened, resumed, 3);
    expect(numbers(resumed)).toEqual(numbers(whole));
    for (const file of ['best.safetensors', 'last.safetensors']) {
      const of = async (name: string): Promise<Record<string, string>> => {
        const { tensors } = await formats.loadCheckpoint(join(path(name), file));
        const bytes = [...tensors].map(async ([key, tensor]) => [key, String(await tensor.bytes())] as const);
        return Object.fromEntries(await Promise.all(bytes));
      };
      expect(await of('broken')).toEqual(await of('unbroken'));
    }
  });

  it('has nothing to take up before its first state', async () => {
    const run = await RunFolder.create(path('new'));
    expect(await fresh().resume(run)).toBe(false);
    await run.close();
  });

  it('is not written over: not by another run, and not by a training that was not taken up from it', async () => {
    await fit(await RunFolder.create(path('kept')), fresh(), 1);
    await expect(RunFolder.create(path('kept'))).rejects.toThrow(/holds a run; go on with it/);
    const run = await RunFolder.open(path('kept'));
    const before = readFileSync(run.file('state'));
    await expect(fresh().fit(trainLoader(), { epochs: 1, folder: run })).rejects.toThrow(
      /holds another training of 1 epochs; go on with it \(await trainer\.resume\(folder\)\)/,
    );
    expect(readFileSync(run.file('state'))).toEqual(before);
    await run.close();
    await fit(await RunFolder.create(path('kept'), {}, { force: true }), fresh(), 1);
  });

  it('takes a training that was begun without it only while the best weights are there', async () => {
    const trainer = fresh({ better: ({ epoch }) => epoch === 1 });
    await trainer.fit(trainLoader(), { epochs: 1 });
    const run = await RunFolder.create(path('late'));
    await trainer.fit(trainLoader(), { epochs: 2, folder: run });
    expect(existsSync(run.file('best'))).toBe(true);
    await run.close();
    const later = await RunFolder.create(path('later'));
    await expect(trainer.fit(trainLoader(), { epochs: 3, folder: later })).rejects.toThrow(
      /has gone on since its best epoch, 1, whose weights were not kept/,
    );
    await later.close();
  });

  it('has one owner at a time, and is no other program’s', async () => {
    const run = await RunFolder.create(path('owned'));
    await expect(RunFolder.open(path('owned'))).rejects.toThrow(/is in use by process/);
    await run.close();
    writeFileSync(run.file('config'), '{ "kind": "kindling run", "version": 1 }');
    await expect(RunFolder.open(path('owned'))).rejects.toThrow(
      /is not the configuration of a 'kindling training'/,
    );
  });

  it('cannot be gone on with when a file is missing, and says which', async () => {
    await fit(await RunFolder.create(path('torn')), fresh(), 1);
    rmSync(join(path('torn'), 'best.safetensors'));
    const run = await RunFolder.open(path('torn'));
    await expect(fresh().resume(run)).rejects.toThrow(
      /cannot be gone on with, as best\.safetensors is missing; nothing was changed\. Put the file back, or begin/,
    );
    await run.close();
  });
});
