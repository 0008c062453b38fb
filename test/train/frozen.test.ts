/** Training a part of a model: frozen trunks, their features, stages, and what they leave alone. */
import { beforeAll, describe, expect, it } from 'vitest';
import { data, init, manualSeed, models, optim, tensor, type nn, type Tensor } from '../../src/index.js';
import {
  balancedClassWeights,
  mixing,
  Trainer,
  trainUnfrozen,
  trunkFeatures,
  Unfreezing,
} from '../../src/train/index.js';
import { bytesOf, type Loader } from './support.js';

beforeAll(() => init());

let shapes: data.ShapesDataset;
beforeAll(() => {
  const normalize = data.shapesStatistics;
  shapes = new data.ShapesDataset({ classes: 'novel', perClass: 4, seed: 1, normalize });
});
const images = (options: object = {}): Loader =>
  new data.DataLoader(shapes, { batchSize: 5, shuffle: true, seed: 3, ...options }) as unknown as Loader;

function pretrained(): nn.TensorModule {
  manualSeed(4);
  const model = models.cifarResnet8();
  models.replaceHead(model, 5);
  return model;
}

describe('a frozen trunk', () => {
  it('run once gives the training of its head that the whole model gives', async () => {
    const train = async (cached: boolean): Promise<nn.TensorModule> => {
      const model = pretrained();
      const stages = new Unfreezing(model);
      const optimizer = new optim.SGD(stages.parameters, { lr: 0.05, momentum: 0.9 });
      const { layer } = models.findHead(model);
      const features = cached ? await trunkFeatures(model, images({ shuffle: false })) : null;
      const loader =
        features &&
        (new data.DataLoader(features, { batchSize: 5, shuffle: true, seed: 3 }) as unknown as Loader);
      const trainer = new Trainer({
        ...{ model, optimizer, changing: stages.changing },
        onEpochStart: (epoch) => {
          stages.enter(epoch);
          return loader === null ? {} : { model: layer as nn.TensorModule, train: loader };
        },
      });
      await trainer.fit(images(), { epochs: 3 });
      return model;
    };
    const [whole, cached] = [await train(false), await train(true)];
    expect(await bytesOf(cached)).toEqual(await bytesOf(whole));
  });

  it('is validated as the same part of a moving average', async () => {
    const losses: number[] = [];
    for (const cached of [false, true]) {
      const model = pretrained();
      const stages = new Unfreezing(model);
      const optimizer = new optim.SGD(stages.parameters, { lr: 0.05 });
      const inOrder = (): Loader => images({ shuffle: false });
      const features = await trunkFeatures(model, inOrder());
      const ofFeatures = (): Loader => new data.DataLoader(features!, { batchSize: 5 }) as unknown as Loader;
      const layer = models.findHead(model).layer as nn.TensorModule;
      const trainer = new Trainer({
        ...{ model, optimizer, ema: 0.5 },
        onEpochStart: (epoch) => {
          stages.enter(epoch);
          return cached ? { model: layer, train: ofFeatures(), validation: ofFeatures() } : {};
        },
      });
      await trainer.fit(inOrder(), { epochs: 2, validation: inOrder() });
      losses.push(trainer.history[1]?.validationLoss ?? NaN);
    }
    expect(losses[1]).toBe(losses[0]);
  });

  it('keeps its bytes, running statistics too, and leaves the mode and the hooks as they were', async () => {
    const model = pretrained();
    const before = await bytesOf(model);
    const modes = model.modules().map(({ training }) => training);
    const features = await trunkFeatures(model, images({ shuffle: false }));
    expect(features?.length).toBe(20);
    expect(model.modules().map(({ training }) => training)).toEqual(modes);
    const stages = new Unfreezing(model);
    const optimizer = new optim.SGD(stages.parameters, { lr: 0.05 });
    await new Trainer({ model, optimizer, onEpochStart: (epoch) => stages.enter(epoch) }).fit(images(), {
      epochs: 1,
    });
    const after = await bytesOf(model);
    const changed = Object.keys(before).filter((key) => before[key] !== after[key]);
    expect(changed.sort()).toEqual([...stages.changing].sort());
  });

  it('has no features where the head does not come last, or they would be too large', async () => {
    const model = pretrained();
    expect(await trunkFeatures(model, images({ shuffle: false }), { maxBytes: 100 })).toBeNull();
    const other = models.squeezenet1_1({ numClasses: 5 });
    const large = [
      tensor(new Float32Array(3 * 64 * 64), { shape: [1, 3, 64, 64] }),
      tensor([1], { dtype: 'int32' }),
    ];
    expect(await trunkFeatures(other, [large as [Tensor, Tensor]])).toBeNull();
  });
});

describe('stages', () => {
  it('thaw by name and epoch; what is not trained yet does not move', async () => {
    const model = pretrained();
    const stages = new Unfreezing(model, { at: [{ epoch: 2, names: ['layer3'] }] });
    const optimizer = new optim.SGD(stages.parameters, { lr: 0.05 });
    const trainer = new Trainer({
      ...{ model, optimizer, changing: stages.changing },
      onEpochStart: (epoch) => stages.enter(epoch),
    });
    const moved = async (epochs: number): Promise<string[]> => {
      const before = await bytesOf(model);
      await trainer.fit(images(), { epochs });
      const after = await bytesOf(model);
      const keys = Object.keys(before).filter((key) => before[key] !== after[key]);
      return [...new Set(keys.map((key) => key.split('.')[0] as string))];
    };
    expect(await moved(1)).toEqual(['linear']);
    expect(await moved(2)).toEqual(['layer3', 'linear']);
  });

  it('names what there is where a name is wrong', () => {
    expect(() => new Unfreezing(pretrained(), { freeze: ['layer9'] })).toThrow(
      /freeze 'layer9': the model has no parameters of that name; its parts are conv1, bn1, layer1/,
    );
  });

  it('may be your own: modes follow what is frozen', () => {
    const model = pretrained();
    model.requiresGrad_(false);
    models.findHead(model).layer.requiresGrad_();
    trainUnfrozen(model);
    const training = model.namedModules().flatMap(([path, module]) => (module.training ? [path] : []));
    expect(training).toContain('linear');
    expect(training).not.toContain('bn1');
  });
});

describe('balanced classes and mixtures', () => {
  it('weigh classes as scikit-learn does', async () => {
    const weights = balancedClassWeights([0, 0, 0, 1], 2);
    expect(await weights.toArray()).toEqual([Math.fround(4 / 6), 2]);
    expect(() => balancedClassWeights([0, 2], 2)).toThrow(/label 1 is 2; classes are 0 to 1/);
  });

  it('mix the same batch of the same epoch in the same way, and others otherwise', async () => {
    const mix = mixing({ mixup: 0.5, cutmix: 1, numClasses: 2, seed: 1 });
    const inputs = tensor(
      Float32Array.from({ length: 2 * 3 * 16 }, (_, i) => i),
      { shape: [2, 3, 4, 4] },
    );
    const targets = tensor([0, 1], { dtype: 'int32' });
    const of = async (epoch: number, batch: number): Promise<unknown> =>
      mix({ inputs, targets }, { epoch, batch }).targets.toArray();
    expect(await of(1, 1)).toEqual(await of(1, 1));
    expect(await of(1, 1)).not.toEqual(await of(1, 2));
    expect(() => mixing({ numClasses: 2, seed: 1 })).toThrow(/give `mixup`, `cutmix` or both/);
  });

  it('are part of a training', async () => {
    const model = pretrained();
    const optimizer = new optim.SGD(model.parameters(), { lr: 0.02 });
    const trainer = new Trainer({
      ...{ model, optimizer, labelSmoothing: 0.1 },
      classWeights: balancedClassWeights(
        Array.from({ length: 20 }, (_, i) => shapes.label(i)),
        5,
      ),
      mix: mixing({ mixup: 0.4, numClasses: 5, seed: 2 }),
    });
    await trainer.fit(images(), { epochs: 2 });
    expect(trainer.history[1]?.loss).toBeLessThan(3);
  });
});

it('adds the losses of auxiliary classifiers, a share of each', async () => {
  const { nn, ones } = await import('../../src/index.js');
  class Auxiliary extends nn.Module {
    main = new nn.Linear(2, 2);
    side = new nn.Linear(2, 2);
    forward(x: Tensor): Tensor {
      const logits = this.main(x);
      return (this.training ? { logits, auxLogits: this.side(x) } : logits) as Tensor;
    }
  }
  manualSeed(1);
  const model = new Auxiliary();
  const { main, side } = model;
  const [x, y] = [ones(1, 2), tensor([1], { dtype: 'int32' })];
  const expected = nn.functional
    .crossEntropy(main(x), y)
    .add(nn.functional.crossEntropy(side(x), y).mul(0.3));
  const wanted = await expected.item();
  const optimizer = new optim.SGD(model.parameters(), { lr: 0.1 });
  const trainer = new Trainer({ model, optimizer });
  await trainer.fit([[x, y]], { epochs: 1, validation: [[x, y]] });
  expect(trainer.history[0]?.loss).toBeCloseTo(wanted, 6);
  expect(trainer.history[0]?.validationLoss).toBeLessThan(wanted);
});
