import { beforeAll, describe, expect, it } from 'vitest';
import * as k from '../../src/index.js';
import type { Tensor } from '../../src/index.js';

/* What losses refuse, and what samples of PyTorch's do not reach. */

beforeAll(() => k.init());

const F = k.nn.functional;

describe('values that are no probabilities', () => {
  it('binaryCrossEntropy raises for them', async () => {
    const loss = F.binaryCrossEntropy(k.tensor([0.5, 1.5]), k.tensor([0, 1]));
    await expect(loss.item()).rejects.toThrow('binaryCrossEntropy: 1.5 is no probability (0 to 1)');
    expect(await F.binaryCrossEntropy(k.tensor([0, 1]), k.tensor([0, 1])).item()).toBe(0);
  });

  it('gaussianNllLoss raises for negative variances', async () => {
    const zero = k.zeros(2);
    const loss = F.gaussianNllLoss(zero, zero, k.tensor([1, -2]));
    await expect(loss.item()).rejects.toThrow('gaussianNllLoss: -2 is negative');
  });
});

describe('ctcLoss', () => {
  const scores = (): Tensor => k.zeros(3, 1, 3).logSoftmax(2);

  it('counts alignments: of 27 paths through 3 steps and 3 classes, 6 read as the label 1', async () => {
    const loss = F.ctcLoss(scores(), k.tensor([[1]], { dtype: 'int32' }), [3], [1], { reduction: 'sum' });
    expect(await loss.item()).toBeCloseTo(-Math.log(6 / 27), 5);
  });

  it('is infinite without an alignment, or 0 with zeroInfinity', async () => {
    const labels = k.tensor([[1, 1]], { dtype: 'int32' });
    expect(await F.ctcLoss(scores(), labels, [2], [2]).item()).toBe(Infinity);
    const x = scores().detach().requiresGrad_();
    const loss = F.ctcLoss(x, labels, [2], [2], { zeroInfinity: true });
    loss.backward();
    expect(await loss.item()).toBe(0);
    expect(await (x.grad as Tensor).abs().max().item()).toBe(0);
  });

  it('takes a sample without a batch', async () => {
    const x = scores().squeeze(1);
    const loss = F.ctcLoss(x, k.tensor([1], { dtype: 'int32' }), 3, 1, { reduction: 'none' });
    expect(loss.shape).toEqual([]);
    expect(await loss.item()).toBeCloseTo(-Math.log(6 / 27), 5);
  });

  it('refuses lengths and a blank out of range', () => {
    const labels = k.tensor([[1]], { dtype: 'int32' });
    expect(() => F.ctcLoss(scores(), labels, [4], [1])).toThrow(/inputLengths must be integers from 0 to 3/);
    expect(() => F.ctcLoss(scores(), labels, [3], [1, 1])).toThrow(/expected 1 targetLengths/);
    expect(() => F.ctcLoss(scores(), labels, [3], [1], { blank: 3 })).toThrow(
      /blank must be a class from 0 to 2/,
    );
  });

  it('says that its gradient has none', () => {
    const x = scores().detach().requiresGrad_();
    const loss = F.ctcLoss(x, k.tensor([[1]], { dtype: 'int32' }), [3], [1]);
    const [g] = k.autograd.grad([loss], [x], { createGraph: true });
    expect(() => (g as Tensor).sum().backward()).toThrow(/cannot be differentiated again/);
  });
});

describe('refusals', () => {
  const x = (): Tensor => k.zeros(2, 3);
  it.each([
    ['an unknown option', () => F.hingeEmbeddingLoss(x(), x(), { marge: 1 } as never), /no option 'marge'/],
    ['an unknown reduction', () => F.poissonNllLoss(x(), x(), { reduction: 'avg' as never }), /'avg'/],
    ['p of 3', () => F.multiMarginLoss(x(), k.zeros([2], { dtype: 'int32' }), { p: 3 }), /p must be 1 or 2/],
    ['labels of another shape', () => F.multilabelMarginLoss(x(), k.zeros(3, 2)), /one shape \[N, C\]/],
    ['variances that fit nothing', () => F.gaussianNllLoss(x(), x(), k.ones(3)), /fit neither/],
    [
      'targets of another rank',
      () => F.cosineEmbeddingLoss(x(), x(), x()),
      /inputs \[N, D\] with targets \[N\]/,
    ],
  ])('%s', (_, call, message) => {
    expect(call).toThrow(message);
  });
});

describe('labels and indices that are no integers are refused, not cut off', () => {
  const x = (): Tensor => k.zeros(2, 3).logSoftmax(1);
  const int = (...shape: number[]): Tensor => k.zeros(shape, { dtype: 'int32' });
  /** Each is given labels or indices of any shape. */
  const calls: Readonly<Record<string, (at: (...shape: number[]) => Tensor) => unknown>> = {
    nllLoss: (at) => F.nllLoss(x(), at(2)),
    multiMarginLoss: (at) => F.multiMarginLoss(x(), at(2)),
    multilabelMarginLoss: (at) => F.multilabelMarginLoss(x(), at(2, 3)),
    ctcLoss: (at) => F.ctcLoss(k.zeros(3, 1, 3), at(1, 1), [3], [1]),
    'ctcLoss, inputLengths': (at) => F.ctcLoss(k.zeros(3, 1, 3), int(1, 1), at(1), [1]),
    'ctcLoss, targetLengths': (at) => F.ctcLoss(k.zeros(3, 1, 3), int(1, 1), [3], at(1)),
    embedding: (at) => F.embedding(at(2), x()),
    embeddingBag: (at) => F.embeddingBag(at(2, 1), x()),
    'embeddingBag, offsets': (at) => F.embeddingBag(int(2), x(), at(1)),
    oneHot: (at) => F.oneHot(at(2), 3),
    gather: (at) => k.gather(x(), 0, at(1, 3)),
    scatter: (at) => k.scatter(x(), 0, at(1, 3), x()),
    scatterAdd: (at) => k.scatterAdd(x(), 0, at(1, 3), x()),
    scatterReduce: (at) => k.scatterReduce(x(), 0, at(1, 3), x(), 'amax'),
    indexSelect: (at) => k.indexSelect(x(), 0, at(2)),
    indexAdd: (at) => k.indexAdd(x(), 0, at(2), x()),
    indexCopy: (at) => k.indexCopy(x(), 0, at(2), x()),
    indexFill: (at) => k.indexFill(x(), 0, at(2), 1),
    take: (at) => k.take(x(), at(2)),
    put: (at) => k.put(x(), at(2), k.ones(2)),
    takeAlongDim: (at) => k.takeAlongDim(x(), at(1, 3), 0),
    maxUnpool1d: (at) => F.maxUnpool1d(x(), at(2, 3), 2),
    repeatInterleave: (at) => k.repeatInterleave(x(), at(2), { dim: 0, outputSize: 0 }),
    searchsorted: (at) => k.searchsorted(k.arange(3), x(), { sorter: at(3) }),
    bincount: (at) => k.bincount(at(2)),
  };

  it.each(Object.entries(calls))('%s', async (_, call) => {
    for (const dtype of ['float32', 'float16', 'bool'] as const) {
      // Values that the host does not know.
      const made = async (): Promise<unknown> => call((...shape) => k.ones(shape, { dtype }).clone());
      await expect(made()).rejects.toThrow(/int/);
      await expect(made()).rejects.toThrow(dtype);
    }
  });

  it('crossEntropy takes floats for probabilities, and no bool', () => {
    expect(() => F.crossEntropy(x(), k.ones([2], { dtype: 'bool' }))).toThrow(
      "crossEntropy: labels must be int32, got bool; convert them with .to('int32')",
    );
    expect(() => F.crossEntropy(x(), k.ones(2))).toThrow(/a float target holds probabilities/);
  });
});

describe('embeddingBag', () => {
  const weight = (): Tensor =>
    k.tensor([
      [1, 2],
      [3, 4],
      [5, 6],
    ]);
  const ids = (...list: number[]): Tensor => k.tensor(list, { dtype: 'int32' });

  it('stays on the tape where no bag has an id', async () => {
    for (const mode of ['sum', 'mean', 'max'] as const) {
      const w = weight().requiresGrad_();
      const y = F.embeddingBag(ids(), w, ids(0, 0), { mode });
      y.sum().backward();
      expect(await y.tolist()).toEqual(await k.zeros(2, 2).tolist());
      expect(await (w.grad as Tensor).tolist()).toEqual(await k.zeros(3, 2).tolist());
    }
  });

  it('gives zeros for an empty bag', async () => {
    for (const mode of ['sum', 'mean', 'max'] as const) {
      const y = F.embeddingBag(ids(0, 2), weight(), ids(0, 0, 2), { mode });
      expect(Array.from(await y.data()).slice(0, 2)).toEqual([0, 0]);
      expect(Array.from(await y.data()).slice(4)).toEqual([0, 0]);
    }
  });

  it('leaves out what lies behind the last offset when that is the end', async () => {
    const y = F.embeddingBag(ids(0, 1, 2, 2), weight(), ids(0, 1, 3), {
      mode: 'sum',
      includeLastOffset: true,
    });
    expect(await y.toArray()).toEqual([
      [1, 2],
      [8, 10],
    ]);
  });

  // PyTorch 1.13 takes the counts of other rows here on CPUs; this is what it documents.
  it("divides a row's gradient by how often it is looked up", async () => {
    const w = weight().requiresGrad_();
    F.embeddingBag(ids(2, 0, 2, 2), w, ids(0), { mode: 'sum', scaleGradByFreq: true })
      .sum()
      .backward();
    expect(Array.from(await (w.grad as Tensor).data())).toEqual([1, 1, 0, 0, 1, 1]);
  });

  it('refuses weights with another mode than sum, and offsets where bags are rows', () => {
    const call = (options: object): Tensor => F.embeddingBag(ids(0, 1).reshape(1, 2), weight(), options);
    expect(() => call({ perSampleWeights: k.ones(1, 2) })).toThrow(/go with mode 'sum'/);
    expect(() => call({ offsets: ids(0) })).toThrow(/one-dim ids need offsets/);
    expect(() => call({ mode: 'min' })).toThrow(/'sum', 'mean' or 'max'/);
  });
});

describe('labels and lengths made on the GPU that a loss cannot use', () => {
  const made = (...list: number[]): Tensor => k.tensor(list, { dtype: 'int32' }).add(0);
  const scores = (): Tensor => k.ones(3, 1, 3).logSoftmax(2);
  it.each<[string, () => Tensor]>([
    ['ctcLoss', () => F.ctcLoss(scores(), made(1, 2).reshape(1, 2), made(4), made(2))],
    ['ctcLoss', () => F.ctcLoss(scores(), made(1, 3).reshape(1, 2), [3], [2])],
    ['ctcLoss', () => F.ctcLoss(scores(), made(1, -1), [3], [2])],
    ['multilabelMarginLoss', () => F.multilabelMarginLoss(k.ones(1, 3), made(0, -4, -1).reshape(1, 3))],
  ])('%s', async (op, loss) => {
    await expect((async () => loss().item())()).rejects.toThrow(op);
  });

  it('ctcLoss does not look behind the length of a row', async () => {
    const loss = F.ctcLoss(scores(), made(1, -1).reshape(1, 2), [3], [1]);
    expect(Number.isFinite(await loss.item())).toBe(true);
  });
});

describe('losses with a margin, exactly on it', () => {
  it.each(['multiMarginLoss', 'multilabelMarginLoss'] as const)('%s has no gradient there', async (loss) => {
    const x = k.tensor([[0, 1, 0.5]]).requiresGrad_();
    const labels = loss === 'multiMarginLoss' ? [1] : [[1, -1, -1]];
    k.nn.functional[loss](x, k.tensor(labels, { dtype: 'int32' })).backward();
    const third = Math.fround(1 / 3);
    expect(await x.grad!.toArray()).toEqual([[0, -third, third]]);
  });
});
