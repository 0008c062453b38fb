/** What metrics do with the device, with bad input and with each other's states. */
import { inspect } from 'node:util';
import { beforeAll, describe, expect, it } from 'vitest';
import * as k from '../../src/index.js';
import type { Tensor } from '../../src/index.js';
import {
  Accuracy,
  AUROC,
  AveragePrecision,
  CohenKappa,
  ConfusionMatrix,
  F1Score,
  MatthewsCorrCoef,
  Mean,
  MeanAbsoluteError,
  MeanMetric,
  MeanSquaredError,
  type Metric,
  MetricCollection,
  Precision,
  R2Score,
  Recall,
} from '../../src/metrics/index.js';
import { Counts, ExactSums } from '../../src/metrics/state.js';

const ints = (values: number[] | number[][]): Tensor => k.tensor(values, { dtype: 'int32' });
/** Labels that the host does not know. */
const computed = (values: number[]): Tensor => ints(values).add(0);

const makers: Readonly<Record<string, () => Metric>> = {
  Accuracy: () => new Accuracy({ numClasses: 3 }),
  'top-2 accuracy': () => new Accuracy({ numClasses: 3, topK: 2 }),
  'precision per class': () => new Precision({ numClasses: 3, average: 'none' }),
  ConfusionMatrix: () => new ConfusionMatrix({ numClasses: 3 }),
  CohenKappa: () => new CohenKappa({ numClasses: 3 }),
  'exact AUROC': () => new AUROC({ numClasses: 3 }),
  'AUROC by thresholds': () => new AUROC({ numClasses: 3, thresholds: 11 }),
};
const regressions: Readonly<Record<string, () => Metric>> = {
  MeanSquaredError: () => new MeanSquaredError(),
  R2Score: () => new R2Score(),
  MeanMetric: () => new MeanMetric(),
};
const labelled = { task: 'multilabel', numLabels: 3 } as const;
const multilabel: Readonly<Record<string, () => Metric>> = {
  'F1Score of labels': () => new F1Score(labelled),
  'ConfusionMatrix of labels': () => new ConfusionMatrix(labelled),
  'AUROC of labels': () => new AUROC({ ...labelled, average: 'micro' }),
};
const all = { ...makers, ...regressions, ...multilabel };

/** A batch that any of them takes. */
const batch = (name: string, seed: number): [Tensor, Tensor] => {
  k.manualSeed(seed);
  if (name in regressions) return [k.randn(8), k.randn(8).abs()];
  if (name in multilabel) return [k.randn(8, 3), k.randint(0, 2, [8, 3], { dtype: 'int32' })];
  return [k.randn(8, 3), k.randint(0, 3, [8], { dtype: 'int32' })];
};

beforeAll(() => k.init());

describe('an update', () => {
  it.each(Object.entries(all))('of %s leaves its state alive and nothing else', (name, make) => {
    const metric = make();
    const [preds, target] = batch(name, 0);
    metric.update(preds, target);
    const live = (): number => k.memoryStats().requestedBytes;
    const before = live();
    // Exact curves keep scores and labels.
    const copies = ['exact AUROC', 'AUROC of labels'].includes(name) ? [preds.clone(), target.clone()] : [];
    const kept = live() - before;
    metric.update(preds, target);
    metric.update(preds, target);
    expect(live() - before - kept).toBe(2 * kept);
    for (const copy of copies) copy.dispose();
    metric.reset();
    preds.dispose();
    target.dispose();
  });

  it.each(Object.entries(all))('of %s records no tape', async (name, make) => {
    const metric = make();
    const [preds, target] = batch(name, 1);
    preds.requiresGrad_();
    const logits = preds.mul(2);
    metric.update(logits, target);
    // The tape would tell of the write.
    logits.detach().zero_();
    logits.sum().backward();
    expect(await preds.grad!.sum().item()).toBe(2 * preds.numel());
  });

  it('waits for nothing', () => {
    const accuracy = new Accuracy({ numClasses: 3 });
    expect(accuracy.update(...batch('Accuracy', 2))).toBeUndefined();
  });

  it('may be made in inference mode, and others outside of it', async () => {
    const mean = new Mean();
    k.inferenceMode(() => mean.update(k.tensor([1, 2])));
    mean.update(k.tensor([3, 4]));
    expect(await mean.compute()).toBe(2.5);
  });

  it('is not undone by what the caller writes over its tensors afterwards', async () => {
    const auroc = new AUROC({ task: 'binary' });
    const [scores, labels] = [k.tensor([0.1, 0.9]), ints([0, 1])];
    auroc.update(scores, labels);
    scores.fill_(0.5);
    labels.fill_(0);
    expect(await auroc.compute()).toBe(1);
  });

  it('makes a compiled step run as it is, so that every call counts', async () => {
    const mean = new Mean();
    const step = k.compile((x: Tensor) => {
      const loss = x.sum();
      mean.update(loss);
      return loss;
    });
    for (const value of [1, 2, 3, 4]) step(k.tensor([value]));
    expect(await mean.compute()).toBe(2.5);
  });

  it('takes float16 scores, uint8 labels and batches without samples', async () => {
    const accuracy = new Accuracy({ numClasses: 2 });
    accuracy.update(k.tensor([[1, 3]], { dtype: 'float16' }), k.tensor([1], { dtype: 'uint8' }));
    accuracy.update(k.zeros(0, 2), ints([]));
    expect(await accuracy.compute()).toBe(1);
    const auroc = new AUROC({ numClasses: 2 });
    auroc.update(k.zeros(0, 2), ints([]));
    auroc.update(k.tensor([[0.9, 0.1], [0.2, 0.8]]), ints([0, 1])); // prettier-ignore
    expect(await auroc.compute()).toBe(1);
  });

  it('takes views and other memory orders as they read', async () => {
    const scores = k.tensor([[[1, 9], [9, 1]], [[5, 5.5], [2, 3]]]); // prettier-ignore
    const target = k.tensor([[1, 0], [0, 0]], { dtype: 'int32' }); // prettier-ignore
    const plain = new ConfusionMatrix({ numClasses: 2 });
    plain.update(scores.contiguous(), target);
    const turned = new ConfusionMatrix({ numClasses: 2 });
    turned.update(scores.transpose(0, 2).contiguous().transpose(0, 2), target.t().contiguous().t());
    expect(await turned.compute()).toEqual(await plain.compute());
    expect(await plain.compute()).toEqual([[3, 0], [0, 1]]); // prettier-ignore
  });
});

describe('a value', () => {
  it.each(Object.entries(all))('of %s is an error before any update', async (_, make) => {
    await expect(make().compute()).rejects.toThrow(/there is no value yet; call update/);
  });

  it('is that of the updates before the call', async () => {
    const mean = new Mean();
    mean.update(k.tensor(1));
    const first = mean.compute();
    mean.update(k.tensor(3));
    mean.update(5);
    expect(await first).toBe(1);
    expect(await mean.compute()).toBe(3);
  });

  it('starts anew after reset', async () => {
    const accuracy = new Accuracy({ numClasses: 2 });
    accuracy.update(ints([0, 0]), ints([0, 1]));
    accuracy.reset();
    accuracy.update(ints([1]), ints([1]));
    expect(await accuracy.compute()).toBe(1);
  });

  it('has the type that the average says', async () => {
    const one = new Recall({ numClasses: 2, average: 'macro' });
    const each = new Recall({ numClasses: 2, average: 'none' });
    for (const metric of [one, each]) metric.update(ints([0, 1, 1]), ints([0, 1, 0]));
    const value: number = await one.compute();
    const values: number[] = await each.compute();
    expect([value, values]).toEqual([0.75, [0.5, 1]]);
  });
});

it('of several yes and no is a matrix for each', async () => {
  const matrix = new ConfusionMatrix(labelled);
  matrix.update(k.tensor([[0.9, 0.1, 0.6], [0.2, 0.3, 0.5]]), ints([[1, 1, 0], [0, 0, 1]])); // prettier-ignore
  const value: number[][][] = await matrix.compute();
  expect(value).toEqual([[[1, 0], [0, 1]], [[1, 0], [1, 0]], [[0, 1], [1, 0]]]); // prettier-ignore
});

describe('counts', () => {
  it('go on as numbers of the host before an int32 overflows', async () => {
    const counts = new Counts(1, 2, 5);
    for (let i = 0; i < 7; i++) counts.count('test', ints([[0, 1, 1]]));
    expect(await counts.read()).toEqual([7, 14]);
  });

  it('are those of the call, whatever folds come behind it', async () => {
    const counts = new Counts(1, 1, 2);
    counts.count('test', ints([[0, 0]]));
    const first = counts.read();
    for (let i = 0; i < 3; i++) counts.count('test', ints([[0, 0]]));
    expect(await first).toEqual([2]);
    expect(await counts.read()).toEqual([8]);
  });

  it('go past 2^31 by a merge', async () => {
    const accuracy = new Accuracy({ numClasses: 2 });
    const { settings } = await accuracy.stateDict();
    accuracy.merge({ settings: settings!, updates: [1], counts: [2 ** 40, 2 ** 40, 2 ** 41, 0, 2 ** 40, 0] });
    accuracy.update(ints([1]), ints([1]));
    expect((await accuracy.stateDict())['counts']).toEqual([2 ** 40, 2 ** 40 + 1, 2 ** 41, 1, 2 ** 40, 1]);
  });
});

describe('sums', () => {
  it('hold where float32 sums would stand still', async () => {
    const mean = new Mean();
    mean.update(k.tensor(2 ** 24));
    for (let i = 0; i < 130; i++) mean.update(k.tensor(1));
    expect(await mean.compute()).toBe((2 ** 24 + 130) / 131);
  });

  it('lose nothing to large terms that cancel, in any order', async () => {
    const sums = new ExactSums(1);
    for (const value of [1e100, 1, -1e100, 1e-30, 3, -3]) sums.add([value]);
    expect(await sums.totals()).toEqual([1]);
    sums.add([-1]);
    expect(await sums.totals()).toEqual([1e-30]);
  });

  it('stay infinite or NaN', async () => {
    const sums = new ExactSums(2);
    for (const value of [Infinity, 1, -1]) sums.add([value, NaN]);
    expect(await sums.totals()).toEqual([Infinity, NaN]);
  });
});

describe('a state dict', () => {
  it.each(Object.entries(all))('of %s, by way of JSON, goes on', async (name, make) => {
    const [whole, first, second] = [make(), make(), make()];
    for (const seed of [3, 4, 5]) whole.update(...batch(name, seed));
    first.update(...batch(name, 3));
    first.update(...batch(name, 4));
    second.update(...batch(name, 9)); // replaced
    second.loadStateDict(JSON.parse(JSON.stringify(await first.stateDict())) as never);
    second.update(...batch(name, 5));
    expect(await second.compute()).toEqual(await whole.compute());
  });

  it.each(Object.entries(all))('of %s is plain data', async (name, make) => {
    const metric = make();
    metric.update(...batch(name, 3));
    const state = await metric.stateDict();
    expect(JSON.parse(JSON.stringify(state))).toEqual(state);
  });

  it('of other options or another kind is refused, and nothing changes', async () => {
    const accuracy = new Accuracy({ numClasses: 2 });
    accuracy.update(ints([0]), ints([0]));
    const other = await new Accuracy({ numClasses: 3 }).stateDict();
    const state = await accuracy.stateDict();
    expect(() => accuracy.loadStateDict(other)).toThrow(
      'Accuracy.loadStateDict: it is of a metric with other options: numClasses is 2 here and 3 there',
    );
    const micro = new F1Score({ numClasses: 2 });
    expect(() => micro.loadStateDict(state)).toThrow(/metric is "F1Score" here and "Accuracy" there/);
    expect(() => accuracy.merge({ updates: [1], sums: [] })).toThrow(
      'Accuracy.merge: expected settings, updates, counts; missing: settings, counts, unexpected: sums',
    );
    const negative = { ...state, counts: [-1, 0, 0, 0, 0, 0] };
    expect(() => accuracy.loadStateDict(negative)).toThrow(/expected 6 counts/);
    expect(() => accuracy.loadStateDict(null as never)).toThrow(/expected what stateDict\(\) resolves to/);
    expect(await accuracy.compute()).toBe(1);
  });
});

describe('a merge', () => {
  it.each(Object.entries(all))(
    'of %s with parts in any order is the whole, to the last bit',
    async (name, make) => {
      const [whole, left, right] = [make(), make(), make()];
      for (const seed of [3, 4, 5]) whole.update(...batch(name, seed));
      right.update(...batch(name, 5));
      right.update(...batch(name, 3));
      left.update(...batch(name, 4));
      left.merge(right);
      expect(await left.compute()).toEqual(await whole.compute());
      right.update(...batch(name, 6)); // of no consequence for the other
      expect(await left.compute()).toEqual(await whole.compute());
      const fresh = make();
      for (const part of [left]) fresh.merge(await part.stateDict());
      expect(await fresh.compute()).toEqual(await whole.compute());
    },
  );

  it('is with another metric of the same kind', () => {
    const f1 = new F1Score({ numClasses: 3 });
    expect(() => f1.merge(f1)).toThrow('F1Score.merge: cannot be merged with itself');
    expect(() => f1.merge(new Accuracy({ numClasses: 3 }))).toThrow(/expected another F1Score \(counts\)/);
  });

  const curve = { numClasses: 3, thresholds: 5 };
  it.each<[string, Metric, Metric]>([
    ['numClasses is 2 here and 3 there', new Accuracy({ numClasses: 2 }), new Accuracy({ numClasses: 3 })],
    ['topK is 1 here and 2 there', new Accuracy({ numClasses: 3 }), new Accuracy({ numClasses: 3, topK: 2 })],
    ['average is "micro" here and "none" there', new Recall({ numClasses: 3 }), new Recall({ numClasses: 3, average: 'none' })], // prettier-ignore
    ['ignoreIndex is null here and 1 there', new CohenKappa({ numClasses: 3 }), new CohenKappa({ numClasses: 3, ignoreIndex: 1 })], // prettier-ignore
    ['thresholds is [0,0.25,0.5,0.75,1] here and [0,1] there', new AUROC(curve), new AUROC({ ...curve, thresholds: 2 })], // prettier-ignore
    ['threshold is 0.5 here and 0.25 there', new F1Score(labelled), new F1Score({ ...labelled, threshold: 0.25 })], // prettier-ignore
    ['task is "multiclass" here and "binary" there', new ConfusionMatrix({ numClasses: 2 }), new ConfusionMatrix({ task: 'binary', numClasses: 2 })], // prettier-ignore
    ['squared is true here and false there', new MeanSquaredError(), new MeanSquaredError({ squared: false })], // prettier-ignore
    ['adjusted is 0 here and 1 there', new R2Score(), new R2Score({ adjusted: 1 })],
    ['nanStrategy is "error" here and 2 there', new MeanMetric(), new MeanMetric({ nanStrategy: 2 })],
  ])('with other options is refused, as is their state: %s', async (why, one, other) => {
    const state = await other.stateDict();
    for (const given of [other, state]) expect(() => one.merge(given as Metric)).toThrow(why);
    expect(() => one.loadStateDict(state)).toThrow(why);
  });
});

describe('its line on the console', () => {
  it.each<[string, object]>([
    ["Accuracy(task='multiclass', numClasses=10, average='micro', topK=5, threshold=0.5, updates=0)", new Accuracy({ numClasses: 10, topK: 5 })], // prettier-ignore
    ["AUROC(task='multilabel', numLabels=3, average='macro', thresholds=[0, 1], updates=0)", new AUROC({ ...labelled, thresholds: 2 })], // prettier-ignore
    ["MeanMetric(nanStrategy='error', updates=0)", new MeanMetric()],
    ['R2Score(numOutputs=2, adjusted=0, multioutput=\'uniform_average\', updates=0)', new R2Score({ numOutputs: 2 })], // prettier-ignore
    ["MetricCollection(\n  (mse): MeanSquaredError(numOutputs=1, squared=true, updates=0)\n  prefix='val_'\n)", new MetricCollection({ mse: new MeanSquaredError() }, { prefix: 'val_' })], // prettier-ignore
  ])('is %s', (line, metric) => expect(inspect(metric)).toBe(line));

  it('says how many batches it has seen', () => {
    const mean = new Mean();
    mean.update(3);
    expect(inspect([mean])).toBe("[ MeanMetric(nanStrategy='error', updates=1) ]");
  });
});

describe('in sync', () => {
  /** Two processes, the other of which has seen `state`. */
  const withOther = (state: unknown) => ({
    allGatherObject: <T>(own: T): Promise<T[]> => Promise.resolve([own, state as T]),
  });

  it('a metric has seen what all have, and its own again afterwards', async () => {
    const [mine, other] = [new Accuracy({ numClasses: 3 }), new Accuracy({ numClasses: 3 })];
    mine.update(ints([0, 1]), ints([0, 1]));
    other.update(ints([0, 1, 2, 0, 0, 0]), ints([1, 2, 0, 1, 1, 2]));
    await mine.sync(withOther(await other.stateDict()));
    expect(await mine.compute()).toBe(0.25);
    mine.unsync();
    expect(await mine.compute()).toBe(1);
    mine.update(ints([2]), ints([0]));
    expect(await mine.compute()).toBeCloseTo(2 / 3);
  });

  it('it takes nothing in, and is not brought in sync again', async () => {
    const mean = new MeanMetric();
    mean.update(k.tensor([1, 3]));
    expect(() => mean.unsync()).toThrow('MeanMetric.unsync: it is not in sync');
    const ranks = withOther(await mean.stateDict());
    await mean.sync(ranks);
    expect(() => mean.update(k.tensor([1]))).toThrow(
      'MeanMetric.update: the state is that of all ranks; call unsync() first',
    );
    await expect(mean.sync(ranks)).rejects.toThrow('MeanMetric.sync: it is in sync already');
    mean.reset();
    mean.update(k.tensor([5]));
    expect(await mean.compute()).toBe(5);
  });

  it('it refuses the state of another kind', async () => {
    const f1 = new F1Score({ numClasses: 3 });
    f1.update(ints([1]), ints([1]));
    await expect(f1.sync(withOther({ updates: [1], sums: [] }))).rejects.toThrow(
      'F1Score.sync: expected settings, updates, counts; missing: settings, counts, unexpected: sums',
    );
    expect(await f1.compute()).toBe(1);
  });
});

describe('what cannot be counted', () => {
  it('is told at once where the host knows the labels, and counts nothing', async () => {
    const accuracy = new Accuracy({ numClasses: 3, ignoreIndex: -1 });
    expect(() => accuracy.update(ints([0, 1]), ints([0, 3]))).toThrow(
      'Accuracy.update (target): label 3 at position 1 is out of range for 3 classes (0 to 2, or ignoreIndex -1)',
    );
    await expect(accuracy.compute()).rejects.toThrow(/no value yet/);
    const plain = new Accuracy({ numClasses: 3 });
    expect(() => plain.update(ints([7, 1]), ints([0, 1]))).toThrow(/Accuracy.update \(preds\): label 7/);
  });

  it('is told at the next await where the GPU computed the labels', async () => {
    const matrix = new ConfusionMatrix({ numClasses: 3 });
    matrix.update(ints([0, 1]), computed([0, -4]));
    await expect(matrix.compute()).rejects.toThrow(
      /ConfusionMatrix.update \(target\): label -4 at position 1 is out of range for 3 classes \(0 to 2\)$/,
    );
    matrix.reset();
    matrix.update(computed([0, 3]), computed([0, 1]));
    await expect(matrix.compute()).rejects.toThrow(/ConfusionMatrix.update \(preds\): label 3 at position 1/);
  });

  it('is no prediction beside an ignored label', async () => {
    const accuracy = new Accuracy({ numClasses: 2, ignoreIndex: -1 });
    accuracy.update(ints([0, -1]), ints([0, -1]));
    accuracy.update(computed([0, 99]), computed([0, -1]));
    expect(await accuracy.compute()).toBe(1);
  });

  it.each([
    ['binary accuracy', () => new Accuracy({ task: 'binary' })],
    ['AUROC', () => new AUROC({ task: 'binary' })],
    ['AveragePrecision by thresholds', () => new AveragePrecision({ task: 'binary', thresholds: 3 })],
  ])('is a score that is NaN: %s', async (_, make) => {
    const metric = make();
    metric.update(k.tensor([0.5, NaN]), ints([0, 1]));
    await expect(metric.compute()).rejects.toThrow(/update \(preds\): NaN is no score/);
  });

  it('is a mean of NaN, unless it is told to leave it out or to become NaN', async () => {
    const mean = new MeanMetric();
    expect(() => mean.update(NaN)).toThrow(
      "MeanMetric.update: got NaN; leave it out by { nanStrategy: 'ignore' }",
    );
    mean.update(k.tensor([1, NaN]));
    await expect(mean.compute()).rejects.toThrow(/MeanMetric.update \(value\): NaN/);
    const ignoring = new MeanMetric({ nanStrategy: 'ignore' });
    ignoring.update(k.tensor([1, NaN, 3, 9]), k.tensor([1, 1, 1, NaN]));
    ignoring.update(NaN);
    expect(await ignoring.compute()).toBe(2);
    const open = new MeanMetric({ nanStrategy: 'disable' });
    open.update(k.tensor([1, NaN]));
    expect(await open.compute()).toBeNaN();
  });

  it('is NaN that a mean has another number for, with weight 1', async () => {
    const mean = new MeanMetric({ nanStrategy: 5 });
    mean.update(NaN, 3);
    mean.update(k.tensor([NaN, 2]), k.tensor([4, 2]));
    expect(await mean.compute()).toBe((5 + 5 + 2 * 2) / 4);
  });

  it.each<[string, RegExp, () => void]>([
    ['labels of another number', /numLabels 3 needs shape \[N, 3, ...\], got \[2, 4\]/, () => {
      new F1Score(labelled).update(k.zeros(2, 4), k.zeros([2, 4], { dtype: 'int32' }));
    }],
    ['a label that is neither yes nor no', /label 2 at position 1 is out of range for 2 classes/, () => {
      new Accuracy(labelled).update(k.zeros(1, 3), ints([[0, 2, 1]]));
    }],
    ['no scores of the classes', /needs scores of shape \[N, C, ...\] with C = 3/, () => {
      new Accuracy({ numClasses: 3 }).update(k.zeros(2, 4), ints([0, 1]));
    }],
    ['float labels', /Accuracy.update: target must be int32, got float32/, () => {
      new Accuracy({ numClasses: 3 }).update(k.zeros(2, 3), k.tensor([0, 1]));
    }],
    ['classes of another shape', /preds \[2\] do not fit target \[3\]: class indices/, () => {
      new Accuracy({ numClasses: 3 }).update(ints([0, 1]), ints([0, 1, 2]));
    }],
    ['binary scores of another shape', /preds \[2, 1\] do not fit target \[2\]: they must have the same/, () => {
      new AUROC({ task: 'binary' }).update(k.zeros(2, 1), ints([0, 1]));
    }],
    ['classes where scores are needed', /AUROC.update: preds must be floating point, got int32/, () => {
      new AUROC({ task: 'binary' }).update(ints([0, 1]), ints([0, 1]));
    }],
    ['the k best of classes', /topK 2 needs scores/, () => {
      new Accuracy({ numClasses: 3, topK: 2 }).update(ints([0]), ints([0]));
    }],
    ['arrays', /Accuracy.update: preds must be a tensor, got 1,0/, () => {
      new Accuracy({ numClasses: 3 }).update([1, 0] as never, ints([0, 1]));
    }],
    ['values of other shapes', /preds \[2\] and target \[3\] must have the same shape/, () => {
      new MeanAbsoluteError().update(k.zeros(2), k.zeros(3));
    }],
    ['other outputs', /numOutputs 2 needs shape \[N, 2\], got \[4\]/, () => {
      new R2Score({ numOutputs: 2 }).update(k.zeros(4), k.zeros(4));
    }],
  ])('is %s', (_, error, run) => expect(run).toThrow(error)); // prettier-ignore

  it('is R2 of one sample', async () => {
    const r2 = new R2Score();
    r2.update(k.ones(1), k.ones(1));
    await expect(r2.compute()).rejects.toThrow('R2Score.compute: needs two samples or more, got 1');
  });
});

describe('an option', () => {
  it.each<[RegExp, () => unknown]>([
    [/Accuracy: task must be one of 'binary', 'multiclass', 'multilabel'; or give numClasses/, () => new Accuracy()],
    [/CohenKappa: task must be one of 'binary', 'multiclass'; or/, () => new CohenKappa({ task: 'multilabel' as never })],
    [/CohenKappa: weights must be one of 'linear'/, () => new CohenKappa({ numClasses: 3, weights: 'cubic' as never })],
    [/no option 'numLabels'/, () => new CohenKappa({ numClasses: 3, numLabels: 2 } as never)],
    [/MatthewsCorrCoef: numLabels must be an integer of 2 or more, got null/, () => new MatthewsCorrCoef({ task: 'multilabel' })],
    [/numLabels is of a multilabel task/, () => new Accuracy({ numClasses: 3, numLabels: 3 })],
    [/a multilabel task has numLabels, got numClasses 3/, () => new Accuracy({ task: 'multilabel', numClasses: 3 })],
    [/topK must be an integer from 1 to 1/, () => new Accuracy({ ...labelled, topK: 2 })],
    [/average must be one of 'macro', 'weighted', 'none'; got micro/, () => new AUROC({ numClasses: 3, average: 'micro' })],
    [/nanStrategy 'warn' is not supported; say 'error' to be told of NaN, or 'ignore'/, () => new MeanMetric({ nanStrategy: 'warn' as never })],
    [/nanStrategy must be one of .*, or a number; got NaN/, () => new MeanMetric({ nanStrategy: NaN })],
    [/numClasses must be an integer of 2 or more, got 1/, () => new Accuracy({ numClasses: 1 })],
    [/a binary task has two classes/, () => new Accuracy({ task: 'binary', numClasses: 3 })],
    [/topK must be an integer from 1 to 3, got 4/, () => new Accuracy({ numClasses: 3, topK: 4 })],
    [/average must be one of 'micro'/, () => new Accuracy({ numClasses: 3, average: 'mean' as never })],
    [/there is no option 'beta'/, () => new F1Score({ numClasses: 3, beta: 2 } as never)],
    [/did you mean 'numClasses'/, () => new Accuracy({ numclasses: 3 } as never)],
    [/threshold must be a number from 0 to 1/, () => new Accuracy({ task: 'binary', threshold: 2 })],
    [/ignoreIndex must be an integer/, () => new Recall({ numClasses: 3, ignoreIndex: 0.5 })],
    [/thresholds must be numbers from 0 to 1/, () => new AUROC({ numClasses: 3, thresholds: [0.5, 0.1] })],
    [/thresholds must be an integer of 2 or more/, () => new AUROC({ numClasses: 3, thresholds: 1 })],
    [/normalize must be one of/, () => new ConfusionMatrix({ numClasses: 3, normalize: 'rows' as never })],
    [/more than 2\^31 - 1 places/, () => new ConfusionMatrix({ numClasses: 50000 })],
    [/numOutputs must be an integer/, () => new MeanSquaredError({ numOutputs: 0 })],
    [/'b' is in it twice|'a' is in it twice/, () => {
      const mean = new Mean();
      return new MetricCollection({ a: mean, b: mean });
    }],
    [/'a' is no metric/, () => new MetricCollection({ a: 1 as never })],
  ])('that is wrong says %s', (error, make) => expect(make).toThrow(error)); // prettier-ignore
});

describe('a collection', () => {
  const make = () =>
    new MetricCollection(
      { top1: new Accuracy({ numClasses: 3 }), matrix: new ConfusionMatrix({ numClasses: 3 }) },
      { prefix: 'val_' },
    );

  it('has the values of all by their names', async () => {
    const scores = make();
    scores.update(ints([0, 1, 2]), ints([0, 1, 1]));
    const { val_top1, val_matrix } = await scores.compute();
    expect(val_top1).toBeCloseTo(2 / 3);
    expect(val_matrix).toEqual([[1, 0, 0], [0, 1, 1], [0, 0, 0]]); // prettier-ignore
  });

  it('is saved, loaded, merged and reset as one', async () => {
    const [a, b, whole] = [make(), make(), make()];
    for (const one of [a, whole]) one.update(ints([0, 1]), ints([0, 2]));
    for (const one of [b, whole]) one.update(ints([2, 1]), ints([2, 1]));
    const loaded = make();
    loaded.loadStateDict(await a.stateDict());
    loaded.merge(b);
    expect(await loaded.compute()).toEqual(await whole.compute());
    const misfit = { ...(await a.stateDict()), matrix: await new Mean().stateDict() };
    expect(() => loaded.loadStateDict(misfit)).toThrow(/ConfusionMatrix.loadStateDict/);
    expect(() => loaded.merge(misfit)).toThrow(/ConfusionMatrix.merge/);
    expect(await loaded.compute()).toEqual(await whole.compute());
    loaded.reset();
    await expect(loaded.compute()).rejects.toThrow(/no value yet/);
    expect(() => loaded.loadStateDict({ top1: { updates: [0] } })).toThrow(
      'MetricCollection.loadStateDict: expected matrix, top1; got top1',
    );
  });
});
