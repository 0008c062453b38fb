/** A training that goes on after its device was lost: the same objects, the same bits. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { formats } from '../../src/index.js';
import * as k from '../../src/index.js';

let device: GPUDevice;
const wrapDevice = (opened: GPUDevice): GPUDevice => (device = opened);
/** The device goes, and the engine hears of it as it would of a driver that crashed. */
async function lose(): Promise<void> {
  device.destroy();
  await k.synchronize().catch(() => undefined);
}

beforeEach(() => k.init({ wrapDevice }));
afterEach(() => k.close());

function training() {
  k.manualSeed(5);
  const model = new k.nn.Sequential(
    new k.nn.Linear(4, 8),
    new k.nn.BatchNorm1d(8),
    new k.nn.Dropout(0.5),
    new k.nn.Linear(8, 2),
  );
  const optimizer = new k.optim.AdamW(model.parameters(), { lr: 0.1 });
  const scheduler = new k.optim.lrScheduler.StepLR(optimizer, 2, { gamma: 0.5 });
  const step = (): void =>
    k.tidy(() => {
      optimizer.zeroGrad();
      model(k.randn(6, 4)).square().mean().backward();
      optimizer.step();
      scheduler.step();
    });
  const state = async (): Promise<unknown> => {
    const tensors = [...model.parameters(), ...model.buffers()];
    for (const own of optimizer.state.values())
      tensors.push(...Object.values(own).filter((value) => value instanceof k.Tensor));
    return [
      await Promise.all(tensors.map((tensor) => tensor.toArray())),
      scheduler.getLastLr(),
      k.getRngState(),
    ];
  };
  return { model, optimizer, scheduler, step, state };
}

describe('a lost device', () => {
  it('rejects the reads under way, and says what to do', async () => {
    const x = k.ones(4);
    const read = x.data();
    device.destroy();
    await expect(read).rejects.toThrow(k.DeviceLostError);
    await expect(x.data()).rejects.toThrow(/device was lost .*await init\(\).*restore/s);
  });

  it('is followed by init() with the options of before', async () => {
    k.close();
    await k.init({ wrapDevice, memoryBudget: 12345678 });
    await lose();
    await k.init();
    expect(k.memoryStats().budgetBytes).toBe(12345678);
    expect(await k.ones(2).toArray()).toEqual([1, 1]);
  });

  it('leaves tensors that say which they are and how to go on', async () => {
    const x = k.ones(4);
    await lose();
    await k.init();
    expect(() => x.add(1)).toThrow(/made by fill|ones.*was closed or lost.*restore\(\)/);
  });
});

describe('restore', () => {
  it('goes on after a loss with the same objects and the same bits', async () => {
    const whole = training();
    for (let i = 0; i < 6; i++) whole.step();
    const want = await whole.state();

    const { model, optimizer, scheduler, step, state } = training();
    for (let i = 0; i < 3; i++) step();
    const saved = await k.snapshot({ model, optimizer, scheduler });
    const parameters = model.parameters();
    const moments = parameters.map((parameter) => optimizer.state.get(parameter)?.['exp_avg']);
    step();
    await lose();
    await k.init();
    await k.restore(saved, { model, optimizer, scheduler });
    expect(parameters.map((parameter) => optimizer.state.get(parameter)?.['exp_avg'])).toEqual(moments);
    expect(model.parameters().every((parameter, i) => parameter === parameters[i])).toBe(true);
    for (let i = 0; i < 3; i++) step();
    expect(await state()).toEqual(want);
  });

  it('undoes steps on a device that is well', async () => {
    const { model, optimizer, scheduler, step, state } = training();
    step();
    const saved = await k.snapshot({ model, optimizer, scheduler });
    const before = await state();
    step();
    await k.restore(saved, { model, optimizer, scheduler });
    expect(await state()).toEqual(before);
  });

  it('takes the dict of a checkpoint file', async () => {
    const { model, optimizer, scheduler, step, state } = training();
    step();
    const before = await state();
    const bytes = await formats.encodeTorch({
      model: model.stateDict(),
      optimizer: optimizer.stateDict() as object,
      scheduler: scheduler.stateDict(),
      random: { ...k.getRngState() },
      epoch: 7,
    });
    step();
    await lose();
    await k.init();
    const file = (await formats.loadValue(bytes)) as ReadonlyMap<string, unknown>;
    await k.restore(file, { model, optimizer, scheduler });
    expect(await state()).toEqual(before);
  });

  it('is plain data: a structured clone does as well', async () => {
    const { model, optimizer, state } = training();
    const before = await state();
    const saved = structuredClone(await k.snapshot({ model, optimizer }));
    await lose();
    await k.init();
    await k.restore(saved, { model, optimizer });
    expect(await state()).toEqual(before);
  });

  it('keeps tied parameters tied, brings buffers back that are in no state dict, and drops gradients', async () => {
    class Tied extends k.nn.Module {
      one = new k.nn.Linear(2, 2, { bias: false });
      two = new k.nn.Linear(2, 2, { bias: false });
      declare mask: k.Tensor;
      constructor() {
        super();
        this.two.weight = this.one.weight;
        this.registerBuffer('mask', k.tensor([1, 0]), false);
      }
      forward(x: k.Tensor): k.Tensor {
        return this.two(this.one(x)).mul(this.mask);
      }
    }
    const model = new Tied();
    const x = [[1, 2]];
    const want = await model(k.tensor(x)).toArray();
    model(k.tensor(x)).sum().backward();
    const saved = await k.snapshot({ model });
    await lose();
    await k.init();
    await k.restore(saved, { model });
    expect(model.one.weight.grad).toBe(null);
    expect(model.one.weight).toBe(model.two.weight);
    expect(await model(k.tensor(x)).toArray()).toEqual(want);
    await lose();
    await k.init();
    const file = { model: saved.parts['model'] };
    await expect(k.restore(file, { model })).rejects.toThrow(
      "buffer 'model.mask' of shape [2] was on a device",
    );
  });

  it('checks names before it changes anything', async () => {
    const { model, optimizer, state } = training();
    const saved = await k.snapshot({ model });
    const before = await state();
    await expect(k.restore(saved, { model, optimizer })).rejects.toThrow(
      "restore: there is no state for 'optimizer'; the source has 'model'",
    );
    await expect(k.restore(saved, {})).rejects.toThrow('name at least one part');
    expect(await state()).toEqual(before);
  });
});
