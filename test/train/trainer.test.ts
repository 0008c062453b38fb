/** What a Trainer does around the steps, seen from outside. */
import { inspect } from 'node:util';
import { beforeAll, describe, expect, it } from 'vitest';
import { init, manualSeed, nn, noGrad, optim, randn, tensor, type Tensor } from '../../src/index.js';
import {
  evaluate,
  scheduleOf,
  Trainer,
  trainStep,
  type LossFunction,
  type TrainEvent,
} from '../../src/train/index.js';
import { bytesOf, fresh, network, numbers, trainLoader, valLoader } from './support.js';

beforeAll(() => init());

async function eventsOf(trainer: Trainer, epochs: number): Promise<TrainEvent[]> {
  const events: TrainEvent[] = [];
  const options = { epochs, validation: valLoader(), stepEvery: 2 };
  for await (const event of trainer.fit(trainLoader(), options)) events.push(event);
  return events;
}

describe('events', () => {
  it('come in order: the start, of each epoch its steps, validation, report and whether it is the best, the end', async () => {
    const events = await eventsOf(fresh(), 2);
    const epoch = (best: boolean): string[] => [
      ...['epochStart', 'step', 'step', 'step'],
      ...Array.from({ length: 4 }, () => 'validationStep'),
      'epoch',
      ...(best ? ['best'] : []),
    ];
    const improved = events.flatMap((event) => (event.type === 'epoch' ? [event.improved] : []));
    expect(improved[0]).toBe(true);
    expect(events.map(({ type }) => type)).toEqual([
      'start',
      ...improved.flatMap((best) => epoch(best)),
      'end',
    ]);
  });

  it('of steps come every so many batches, and at the end of an epoch', async () => {
    const steps = (await eventsOf(fresh(), 1)).flatMap((event) => (event.type === 'step' ? [event] : []));
    expect(steps.map(({ batch, batches }) => [batch, batches])).toEqual([
      [2, 5],
      [4, 5],
      [5, 5],
    ]);
    expect(steps.at(-1)?.meanLoss).toBeGreaterThan(0);
  });

  it('give the same numbers as callbacks', async () => {
    const looped = fresh();
    const fromEvents: number[] = [];
    for await (const event of looped.fit(trainLoader(), {
      epochs: 3,
      validation: valLoader(),
      stepEvery: 1,
    })) {
      if (event.type === 'step') fromEvents.push(event.loss);
      if (event.type === 'epoch') fromEvents.push(event.report.validationLoss ?? NaN);
    }
    const called = fresh();
    const fromCallbacks: number[] = [];
    const result = await called.fit(trainLoader(), {
      epochs: 3,
      validation: valLoader(),
      stepEvery: 1,
      onStep: ({ loss }) => void fromCallbacks.push(loss),
      onEpoch: ({ report }) => void fromCallbacks.push(report.validationLoss ?? NaN),
    });
    expect(fromCallbacks).toEqual(fromEvents);
    expect(numbers(called)).toEqual(numbers(looped));
    expect(result).toMatchObject({ finished: true, interrupted: false });
    expect(await bytesOf(called.model)).toEqual(await bytesOf(looped.model));
  });
});

describe('a loop of your own', () => {
  it('with PyTorch’s lines comes to the same weights', async () => {
    const model = network();
    const optimizer = new optim.Adam(model.parameters(), { lr: 0.02 });
    const scheduler = new optim.lrScheduler.StepLR(optimizer, 1, { gamma: 0.5 });
    const loader = trainLoader();
    for (let epoch = 0; epoch < 2; epoch++) {
      model.train();
      for await (const [x, y] of loader) {
        optimizer.zeroGrad();
        nn.functional.crossEntropy(model(x), y).backward();
        nn.utils.clipGradNorm_(model.parameters(), 1);
        optimizer.step();
      }
      scheduler.step();
    }
    const trainer = fresh((own) => ({
      scheduler: new optim.lrScheduler.StepLR(own, 1, { gamma: 0.5 }),
      clipGradNorm: 1,
    }));
    await trainer.fit(trainLoader(), { epochs: 2 });
    expect(await bytesOf(trainer.model)).toEqual(await bytesOf(model));
    expect(trainer.history.map(({ lr }) => lr)).toEqual([0.02, 0.01]);
  });

  it('may be made of trainStep and evaluate', async () => {
    const model = network();
    const optimizer = new optim.Adam(model.parameters(), { lr: 0.02 });
    const losses: number[] = [];
    model.train();
    for await (const batch of trainLoader()) {
      const { values } = await trainStep(model, optimizer, batch);
      losses.push((await values).loss);
    }
    const trainer = fresh();
    const steps: number[] = [];
    const validation = valLoader();
    await trainer.fit(trainLoader(), {
      ...{ epochs: 1, validation, stepEvery: 1 },
      onStep: ({ loss }) => void steps.push(loss),
    });
    expect(losses).toEqual(steps);
    const { loss, accuracy, count } = await evaluate(model, valLoader());
    expect([loss, accuracy, count]).toEqual([
      trainer.history[0]?.validationLoss,
      trainer.history[0]?.validationAccuracy,
      30,
    ]);
    expect(await trainer.evaluate(valLoader())).toMatchObject({ loss, accuracy });
  });
});

describe('evaluation', () => {
  it('leaves every module in its mode, and measures in evaluation mode', async () => {
    const model = network();
    model[1]?.eval();
    const before = model.modules().map(({ training }) => training);
    const [one, other] = [await evaluate(model, valLoader()), await evaluate(model, valLoader())];
    expect(one).toEqual(other);
    expect(model.modules().map(({ training }) => training)).toEqual(before);
  });

  it('is the mean cross-entropy and the share that is right', async () => {
    const model = network().eval();
    let [sum, right] = [0, 0];
    for await (const [x, y] of valLoader()) {
      const scores = noGrad(() => model(x));
      sum += 10 * (await nn.functional.crossEntropy(scores, y).item());
      right += await scores.argmax(1).eq(y).sum().item();
    }
    const { loss, correct, accuracy } = await evaluate(model, valLoader());
    expect(loss).toBeCloseTo(sum / 30, 5);
    expect([correct, accuracy]).toEqual([right, right / 30]);
  });

  it('leaves out labels of -100, and refuses others that are no class', async () => {
    const scores = new nn.Identity();
    const x = tensor([
      [0, 1],
      [1, 0],
      [5, 0],
    ]);
    const of = (labels: number[]) =>
      evaluate(scores, [[x, tensor(labels, { dtype: 'int32' })]] as [Tensor, Tensor][]);
    const without = await of([1, -100, 1]);
    expect(without.count).toBe(2);
    expect(without.accuracy).toBe(0.5);
    await expect(of([1, 0, 2])).rejects.toThrow(/sample 2 has the label 2, but the model tells 2 classes/);
  });

  it('takes a loss of your own and metrics by their form', async () => {
    const model = new nn.Linear(2, 1);
    let seen = 0;
    const metric = {
      reset: () => void (seen = 0),
      update: (outputs: Tensor) => void (seen += outputs.shape[0] ?? 0),
      compute: () => Promise.resolve(seen),
    };
    const x = tensor([
      [1, 2],
      [3, 4],
    ]);
    const batches: [Tensor, Tensor][] = [[x, tensor([[1], [2]])]];
    const result = await evaluate(model, batches, { loss: nn.functional.mseLoss, metrics: { seen: metric } });
    expect(result).toMatchObject({ accuracy: null, metrics: { seen: 2 } });
    expect(result.loss).toBeCloseTo(await nn.functional.mseLoss(model(x), tensor([[1], [2]])).item(), 5);
  });
});

it('shows what it trains and how far it has come', async () => {
  const model = new nn.Sequential(new nn.Linear(2, 3));
  const optimizer = new optim.SGD(model.parameters(), { lr: 0.1 });
  const trainer = new Trainer({
    model,
    optimizer,
    scheduler: new optim.lrScheduler.StepLR(optimizer, 1),
    ema: 0.9,
  });
  expect(inspect(trainer)).toBe(
    'Trainer(model=Sequential, optimizer=SGD, scheduler=StepLR, epochs=0, ema=true)',
  );
  await trainer.fit(trainLoader(), { epochs: 1, validation: valLoader() });
  expect(inspect(trainer)).toMatch(/scheduler=StepLR, epochs=1, best=1, ema=true\)$/);
});

describe('a model that returns several tensors', () => {
  class Returning extends nn.Module {
    readonly one = new nn.Linear(2, 3);
    readonly other = new nn.Linear(2, 3);
    constructor(private readonly form: (one: Tensor, other: Tensor) => unknown) {
      super();
    }
    forward(x: Tensor): unknown {
      return this.form(this.one(x), this.other(x));
    }
  }
  const fitted = async (form: (one: Tensor, other: Tensor) => unknown, loss?: unknown) => {
    manualSeed(4);
    const model = new Returning(form);
    const optimizer = new optim.SGD(model.parameters(), { lr: 0.1 });
    const trainer = new Trainer({ model, optimizer, loss: loss as LossFunction<unknown> });
    await trainer.fit(trainLoader(), { epochs: 1, validation: valLoader() });
    return trainer.history[0]!;
  };
  const both = (one: Tensor, other: Tensor, y: Tensor): Tensor =>
    nn.functional.crossEntropy(one, y).add(nn.functional.crossEntropy(other, y));

  it('gives them whole to a loss of your own: a list, objects, objects in lists', async () => {
    const list = await fitted(
      (one, other) => [one, other],
      ([one, other]: Tensor[], y: Tensor) => both(one!, other!, y),
    );
    const nested = await fitted(
      (one, other) => ({ heads: [{ one }, { other }] }),
      (out: { heads: [{ one: Tensor }, { other: Tensor }] }, y: Tensor) =>
        both(out.heads[0].one, out.heads[1].other, y),
    );
    expect(list.loss).toBeGreaterThan(0);
    expect({ ...nested, seconds: 0 }).toEqual({ ...list, seconds: 0 });
  });

  it('has an accuracy where one is called logits, and none otherwise', async () => {
    const loss = (out: { logits: Tensor; other: Tensor }, y: Tensor) => both(out.logits, out.other, y);
    const named = await fitted((logits, other) => ({ logits, other }), loss);
    expect(named.trainAccuracy).toBeGreaterThan(0);
    expect(named.validationAccuracy).toBeGreaterThan(0);
    const list = await fitted(
      (one) => [one],
      ([one]: Tensor[], y: Tensor) => nn.functional.crossEntropy(one!, y),
    );
    expect([list.trainAccuracy, list.validationAccuracy]).toEqual([null, null]);
  });

  it('needs a loss of your own where none is called logits', async () => {
    await expect(fitted((one, other) => [one, other])).rejects.toThrow(/give a `loss` of your own/);
  });
});

describe('labels of -100', () => {
  /** Trains at rate 0, so that training and validation measure the same model on the same batches. */
  async function measured(model: nn.TensorModule, inputs: Tensor, labels: Tensor, options: object) {
    const optimizer = new optim.SGD(model.parameters(), { lr: 0 });
    const trainer = new Trainer({ model, optimizer, ...options });
    const parts = [0, 2].map((i): [Tensor, Tensor] => [inputs.slice(0, i, i + 2), labels.slice(0, i, i + 2)]);
    const steps: (number | null)[] = [];
    await trainer.fit(parts, {
      ...{ epochs: 1, validation: parts, stepEvery: 1 },
      onStep: ({ accuracy, meanLoss }) => void steps.push(accuracy, meanLoss),
    });
    return { report: trainer.history[0]!, steps };
  }
  const rows = () => tensor([2, -100, 0, 1], { dtype: 'int32' });
  const pixels = () =>
    tensor(
      [
        [0, 1, -100],
        [-100, -100, -100],
        [2, 0, 1],
        [1, 2, -100],
      ],
      { dtype: 'int32' },
    );

  it.each([
    ['a label per sample', 3, {}],
    ['a label per sample and a loss of your own', 3, { loss: nn.functional.crossEntropy }],
    ['several labels per sample', 7, {}],
  ])('count in no sum of training, as in none of an evaluation: %s', async (_, counted, options) => {
    manualSeed(3);
    const { report, steps } =
      counted === 3
        ? await measured(new nn.Linear(2, 3), randn(4, 2), rows(), options)
        : await measured(new nn.Conv1d(2, 3, 1), randn(4, 2, 3), pixels(), options);
    expect(report.trainAccuracy).toBeGreaterThan(0);
    expect(report.trainAccuracy).toBeCloseTo(report.validationAccuracy!, 6);
    expect(report.loss).toBeCloseTo(report.validationLoss!, 5);
    expect(steps.slice(-2)).toEqual([report.trainAccuracy, report.loss]);
    const right = report.trainAccuracy! * counted;
    expect(right).toBeCloseTo(Math.round(right), 5);
  });

  it('that are all there is leave nothing to measure', async () => {
    const model = new nn.Linear(2, 3);
    const data: [Tensor, Tensor][] = [[tensor([[1, 2]]), tensor([-100], { dtype: 'int32' })]];
    await expect(evaluate(model, data)).rejects.toThrow(/all labels of 1 samples are -100/);
  });
});

describe('metrics', () => {
  it('stand in the reports of epochs', async () => {
    let rows = 0;
    const rowCount = {
      reset: () => void (rows = 0),
      update: (outputs: Tensor) => void (rows += outputs.shape[0] ?? 0),
      compute: () => Promise.resolve(rows),
    };
    const trainer = fresh({ metrics: { rowCount } });
    await trainer.fit(trainLoader(), { epochs: 2, validation: valLoader() });
    expect(trainer.history.map(({ metrics }) => metrics)).toEqual([{ rowCount: 30 }, { rowCount: 30 }]);
  });
});

describe('early stopping', () => {
  it('ends the training when the validation loss stands still, and another fit does not go on', async () => {
    const trainer = fresh((optimizer) => {
      optimizer.paramGroups[0]!.lr = 0;
      return { earlyStopping: new optim.EarlyStopping({ patience: 2 }), trainMode: (model) => model.eval() };
    });
    const stopped: boolean[] = [];
    const options = { epochs: 9, validation: valLoader() };
    const result = await trainer.fit(trainLoader(), {
      ...options,
      onEpoch: (event) => void stopped.push(event.stopped),
    });
    expect(stopped).toEqual([false, false, true]);
    expect(result).toMatchObject({ finished: true, bestEpoch: 1 });
    await trainer.fit(trainLoader(), options);
    expect(trainer.history.length).toBe(3);
  });

  it('needs what it watches', () => {
    const stopping = (mode: 'min' | 'max') => new optim.EarlyStopping({ mode });
    expect(() => fresh({ earlyStopping: stopping('min') }).fit(trainLoader(), { epochs: 1 })).toThrow(
      /early stopping watches 'validationLoss', but there is no validation data; give \{ validation: loader \}, or watch: 'loss'/,
    );
    expect(() =>
      fresh({ earlyStopping: stopping('max'), watch: 'loss' }).fit(trainLoader(), { epochs: 1 }),
    ).toThrow(/is of mode 'max', but watches 'loss', of which less is better/);
  });

  it('may watch the training loss, or a number of your own', async () => {
    const earlyStopping = new optim.EarlyStopping({ patience: 1 });
    const trainer = fresh({ earlyStopping, watch: ({ epoch }) => epoch });
    expect((await trainer.fit(trainLoader(), { epochs: 5 })).epochs.length).toBe(2);
  });
});

describe('schedules', () => {
  it('that are laid out over batches step after each', async () => {
    const trainer = fresh((optimizer) => ({
      scheduler: new optim.lrScheduler.OneCycleLR(optimizer, 0.05, { epochs: 2, stepsPerEpoch: 5 }),
    }));
    const rates: number[] = [];
    await trainer.fit(trainLoader(), { epochs: 2, stepEvery: 1, onStep: ({ lr }) => void rates.push(lr) });
    expect(new Set(rates).size).toBeGreaterThan(7);
  });

  it('stand in step events as the rate that the batch was trained with, not as the next one', async () => {
    const trainer = fresh((optimizer) => {
      optimizer.paramGroups[0]!.lr = 1;
      const scheduler = new optim.lrScheduler.ExponentialLR(optimizer, 0.5);
      return { scheduler: scheduleOf(scheduler, 'batch') };
    });
    const rates: number[] = [];
    await trainer.fit(trainLoader(), { epochs: 1, stepEvery: 1, onStep: ({ lr }) => void rates.push(lr) });
    expect(rates).toEqual([1, 0.5, 0.25, 0.125, 0.0625]);
  });

  it('that look at a metric get the validation loss', async () => {
    const trainer = fresh((optimizer) => {
      optimizer.paramGroups[0]!.lr = 1e-30;
      const scheduler = new optim.lrScheduler.ReduceLROnPlateau(optimizer, { patience: 1, eps: 0 });
      return { scheduler, trainMode: (model) => model.eval() };
    });
    await trainer.fit(trainLoader(), { epochs: 4, validation: valLoader() });
    expect(trainer.history.map(({ lr }) => lr)).toEqual(
      [1e-30, 1e-30, 1e-30, 1e-31].map((lr) => expect.closeTo(lr, 33)),
    );
  });
});

describe('a moving average of the weights', () => {
  it('is what is validated, and stands beside the model', async () => {
    const trainer = fresh({ ema: 0.5 });
    await trainer.fit(trainLoader(), { epochs: 2, validation: valLoader() });
    const model = network();
    const optimizer = new optim.Adam(model.parameters(), { lr: 0.02 });
    const average = new optim.swaUtils.AveragedModel(model, {
      multiAvgFn: optim.swaUtils.getEmaMultiAvgFn(0.5),
    });
    const loader = trainLoader();
    for (let epoch = 0; epoch < 2; epoch++) {
      model.train();
      for await (const batch of loader) {
        await trainStep(model, optimizer, batch);
        average.updateParameters(model);
      }
    }
    expect(await bytesOf(trainer.saved)).toEqual(await bytesOf(average.module));
    expect(await bytesOf(trainer.model)).toEqual(await bytesOf(model));
    const { loss } = await evaluate(average.module, valLoader());
    expect(trainer.history[1]?.validationLoss).toBe(loss);
  });
});

describe('mixed precision', () => {
  it('scales the loss, and learns', async () => {
    const trainer = fresh({ amp: true, clipGradNorm: 1 });
    await trainer.fit(trainLoader(), { epochs: 6 });
    expect(trainer.scaler?.getScale()).toBeGreaterThan(1);
    const [first, last] = [trainer.history[0], trainer.history[5]];
    expect(last?.loss).toBeLessThan(first?.loss ?? 0);
    const plain = fresh({ clipGradNorm: 1 });
    await plain.fit(trainLoader(), { epochs: 1 });
    expect(plain.history[0]?.loss).not.toBe(first?.loss);
    expect(plain.history[0]?.loss).toBeCloseTo(first?.loss ?? 0, 2);
  });
});

describe('gradients over several batches', () => {
  const linear = (): nn.Linear => {
    const model = new nn.Linear(1, 1, { bias: false });
    nn.init.ones_(model.weight);
    return model;
  };
  const batches = () => [1, 2, 3, 4, 5].map((x): [Tensor, Tensor] => [tensor([[x]]), tensor([[0]])]);

  it('make one step of their mean, also where the last step of an epoch has fewer', async () => {
    const model = linear();
    const optimizer = new optim.SGD(model.parameters(), { lr: 0.01 });
    const trainer = new Trainer({ model, optimizer, loss: nn.functional.mseLoss, accumulate: 2 });
    await trainer.fit(batches(), { epochs: 1 });
    // The gradient of (w x)^2 is 2 w x^2.
    const groups = [[1, 2], [3, 4], [5]];
    const w = groups.reduce(
      (w, group) => w - (0.01 * 2 * w * group.reduce((sum, x) => sum + x * x, 0)) / group.length,
      1,
    );
    expect(await model.weight.item()).toBeCloseTo(w, 5);
    expect(trainer.history[0]?.trainAccuracy).toBeNull();
  });

  it('are for optimizers that leave the loss to others', () => {
    const model = linear();
    const optimizer = new optim.LBFGS(model.parameters());
    expect(() => new Trainer({ model, optimizer, accumulate: 2 })).toThrow(/LBFGS evaluates the loss itself/);
  });
});

it('trains with LBFGS, which evaluates a batch several times', async () => {
  const model = network();
  const optimizer = new optim.LBFGS(model.parameters(), { lr: 0.5, maxIter: 4 });
  const trainer = new Trainer({ model, optimizer });
  await trainer.fit(trainLoader(), { epochs: 3 });
  expect(trainer.history[2]?.loss).toBeLessThan(trainer.history[0]?.loss ?? 0);
});

describe('an abort', () => {
  it('ends it after the batch under way, and another fit goes on to the same bits', async () => {
    const whole = fresh();
    await whole.fit(trainLoader(), { epochs: 2, validation: valLoader() });
    const trainer = fresh();
    const controller = new AbortController();
    const loader = trainLoader();
    const options = { epochs: 2, validation: valLoader(), stepEvery: 1 };
    const result = await trainer.fit(loader, {
      ...options,
      signal: controller.signal,
      onStep: ({ epoch, batch }) => void (epoch === 2 && batch === 2 && controller.abort()),
    });
    expect(result).toMatchObject({ interrupted: true, sums: { batches: 3 } });
    expect(trainer.history.length).toBe(1);
    await trainer.fit(loader, options);
    expect(numbers(trainer)).toEqual(numbers(whole));
    expect(await bytesOf(trainer.model)).toEqual(await bytesOf(whole.model));
  });

  it('that came before the training trains nothing', async () => {
    const trainer = fresh();
    const before = await bytesOf(trainer.model);
    const types: string[] = [];
    const signal = AbortSignal.abort();
    for await (const event of trainer.fit(trainLoader(), { epochs: 1, signal })) types.push(event.type);
    expect(types).toEqual(['start', 'end']);
    expect(await bytesOf(trainer.model)).toEqual(before);
    expect(await trainer.fit(trainLoader(), { epochs: 1, signal })).toMatchObject({
      interrupted: true,
      sums: { batches: 0 },
    });
  });

  it('while an epoch begins trains nothing of it', async () => {
    const trainer = fresh();
    const before = await bytesOf(trainer.model);
    const controller = new AbortController();
    for await (const event of trainer.fit(trainLoader(), { epochs: 1, signal: controller.signal }))
      if (event.type === 'epochStart') controller.abort();
    expect(await bytesOf(trainer.model)).toEqual(before);
  });

  it('may come by leaving the loop over the events', async () => {
    const whole = fresh();
    await whole.fit(trainLoader(), { epochs: 1 });
    const left = fresh();
    for await (const event of left.fit(trainLoader(), { epochs: 1, stepEvery: 1 }))
      if (event.type === 'step' && event.batch === 2) break;
    await left.fit(trainLoader(), { epochs: 1 });
    expect(await bytesOf(left.model)).toEqual(await bytesOf(whole.model));
  });
});

describe('what is refused, and how', () => {
  const batch = (x: number): [Tensor, Tensor] => [tensor([[x, x]]), tensor([0], { dtype: 'int32' })];

  it('a loss that is not finite: with epoch, batch and learning rate', async () => {
    const model = new nn.Linear(2, 3);
    const trainer = new Trainer({ model, optimizer: new optim.SGD(model.parameters(), { lr: 0.25 }) });
    await expect(trainer.fit([batch(1), batch(Infinity)], { epochs: 1 })).rejects.toThrow(
      /epoch 1, batch 2: the loss is NaN; try a lower learning rate \(now 0\.25\)/,
    );
  });

  it('a loader that gives nothing, in any epoch', async () => {
    await expect(fresh().fit([], { epochs: 1 })).rejects.toThrow(/the loader gave no batch in epoch 1/);
    async function* once() {
      await Promise.resolve();
      yield batch(1);
      yield batch(2);
    }
    const model = new nn.Linear(2, 3);
    const trainer = new Trainer({ model, optimizer: new optim.SGD(model.parameters(), { lr: 0.1 }) });
    await expect(trainer.fit(once(), { epochs: 2 })).rejects.toThrow(
      /no batch in epoch 2.* A generator can be gone through only once/,
    );
    await expect(evaluate(model, [])).rejects.toThrow(/evaluate: the loader gave no batch/);
  });

  it('batches of another form', async () => {
    await expect(fresh().fit([tensor([1])] as never, { epochs: 1 })).rejects.toThrow(
      /a batch must be \[inputs, targets\]/,
    );
    const uneven = [tensor([[1, 2]]), tensor([0, 1], { dtype: 'int32' })] as [Tensor, Tensor];
    await expect(fresh().fit([uneven], { epochs: 1 })).rejects.toThrow(/inputs \[1, 2\] and targets \[2\]/);
  });

  it('a loss that is no single number', async () => {
    const trainer = fresh({ loss: (outputs) => outputs });
    await expect(trainer.fit(trainLoader(), { epochs: 1 })).rejects.toThrow(
      /the loss must be a tensor of one element and has the shape \[8, 3\]; take its mean/,
    );
  });

  it('unknown options, and those that do not go together', () => {
    expect(() => fresh({ clipGradNrom: 1 } as never)).toThrow(/unknown option 'clipGradNrom'; did you mean/);
    expect(() => fresh().fit(trainLoader(), { epoch: 3 } as never)).toThrow(/unknown option 'epoch'/);
    expect(() => fresh({ loss: nn.functional.mseLoss, labelSmoothing: 0.1 })).toThrow(/of the default loss/);
    expect(() => fresh().fit(trainLoader(), { epochs: 0 })).toThrow(/epochs must be a whole number of 1/);
  });

  it('two trainings at once', async () => {
    const trainer = fresh();
    for await (const event of trainer.fit(trainLoader(), { epochs: 1 })) {
      if (event.type !== 'start') continue;
      await expect(trainer.fit(trainLoader(), { epochs: 1 })).rejects.toThrow(/under way already/);
      await expect(trainer.loadStateDict({})).rejects.toThrow(/under way/);
    }
  });
});
