import { existsSync, mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeAll, beforeEach, describe, expect, it } from 'vitest';
import * as kd from '../../src/index.js';
import { saveTorch } from '../../src/node.js';
import { DataError, init, runtime, synchronize, tensor, type Tensor } from '../../src/index.js';

beforeAll(() => init());

const ints = (values: Values): Tensor => tensor(values, { dtype: 'int32' });
/** The same, as if computed: the host knows nothing of the values. */
const made = (values: Values): Tensor => ints(values).add(0);

type Values = number[] | number[][];
const size = 5;
/** [3, 5] */
const table = (): Tensor => kd.arange(15).to('float32').reshape([3, 5]);
const rows = (): Tensor => kd.arange(20).to('float32').reshape([5, 4]);

/** Ops with an index of dims of size 5; `call` gets the index of the middle entry. */
const ops: Record<string, { op: string; call: (index: (values: Values) => Tensor, i: number) => Tensor }> = {
  gather: { op: 'gather', call: (index, i) => table().gather(1, index([[0], [i], [4]])) },
  'gather, odd sizes': { op: 'gather', call: (index, i) => kd.arange(5).gather(0, index([i])) },
  'gather along the outer dim': {
    op: 'gather',
    call: (index, i) => rows().gather(0, index([[0, 1, 2, i]])),
  },
  takeAlongDim: {
    op: 'takeAlongDim',
    call: (index, i) => table().takeAlongDim(index([[0], [i], [4]]), 1),
  },
  indexSelect: { op: 'indexSelect', call: (index, i) => table().indexSelect(1, index([i, 0])) },
  'indexSelect of rows': { op: 'indexSelect', call: (index, i) => rows().indexSelect(0, index([0, i])) },
  embedding: { op: 'embedding', call: (index, i) => kd.embedding(index([0, i, 2]), rows()) },
  'embedding with padding': {
    op: 'embedding',
    call: (index, i) => kd.embedding(index([1, i]), rows(), { paddingIdx: 1 }),
  },
  scatter: {
    op: 'scatter',
    call: (index, i) => table().scatter(1, index([[0], [i], [4]]), kd.ones(3, 1)),
  },
  'scatter of a number': { op: 'scatter', call: (index, i) => kd.zeros(5).scatter(0, index([0, i]), 1) },
  scatterAdd: {
    op: 'scatterAdd',
    call: (index, i) => table().scatterAdd(1, index([[0], [i], [4]]), kd.ones(3, 1)),
  },
  indexAdd: { op: 'indexAdd', call: (index, i) => rows().indexAdd(0, index([0, i]), kd.ones(2, 4)) },
  oneHot: { op: 'oneHot', call: (index, i) => kd.oneHot(index([0, i, 1]), size) },
};

const labelled: Record<string, { op: string; call: (labels: Tensor) => Tensor }> = {
  crossEntropy: { op: 'crossEntropy', call: (y) => kd.crossEntropy(table(), y) },
  'crossEntropy, weighted and smoothed': {
    op: 'crossEntropy',
    call: (y) => kd.crossEntropy(table(), y, { weight: kd.ones(5), labelSmoothing: 0.1 }),
  },
  'crossEntropy, unreduced': {
    op: 'crossEntropy',
    call: (y) => kd.crossEntropy(table(), y, { reduction: 'none' }),
  },
  nllLoss: { op: 'nllLoss', call: (y) => kd.nllLoss(table(), y) },
};

const outside = [5, 6, 1_000_000, -1, -5, -6, 2 ** 31 - 1, -(2 ** 31)];

describe.each(Object.entries(ops))('%s of indices made on the device', (_, { op, call }) => {
  it.each(outside)('refuses %i at the next await', async (i) => {
    const out = call((values) => made(values), i);
    const error: unknown = await out.data().catch((e: unknown) => e);
    expect(error).toBeInstanceOf(DataError);
    expect(error).toMatchObject({
      op,
      message: `${op}: index ${i} is out of range for a dim of size 5 (0 to 4)`,
    });
    await synchronize();
  });

  it('says of the same indices from the host the same, at once', () => {
    expect(() => call((values) => ints(values), 5)).toThrow(
      `${op}: index 5 is out of range for a dim of size 5 (0 to 4)`,
    );
  });

  it('gives for good ones what it gives for those of the host', async () => {
    for (let i = 0; i < size; i++) {
      const values = await call((v) => made(v), i).data();
      expect([...values]).toEqual([...(await call((v) => ints(v), i).data())]);
    }
  });
});

describe.each(Object.entries(labelled))('%s of labels made on the device', (_, { op, call }) => {
  it.each(outside)('refuses %i at the next await', async (label) => {
    await expect(call(made([0, label, 2])).data()).rejects.toThrow(
      `${op}: label ${label} at position 1 is out of range for 5 classes (0 to 4, or ignoreIndex -100)`,
    );
    await synchronize();
  });

  it('takes good ones, and ignoreIndex', async () => {
    const [here, there] = [call(made([0, -100, 4])), call(ints([0, -100, 4]))];
    expect([...(await here.data())]).toEqual([...(await there.data())]);
  });
});

describe('crossEntropy of four classes, which are read together', () => {
  it('refuses 4 and takes 3', async () => {
    const loss = (label: number): Promise<number> =>
      kd.crossEntropy(rows(), made([0, 1, 2, label, 3])).item();
    await expect(loss(4)).rejects.toThrow('label 4 at position 3 is out of range for 4 classes');
    expect(await loss(3)).toBeGreaterThan(0);
  });
});

describe('an ignoreIndex within or beyond the classes', () => {
  it.each([255, 3, -1])('%i is legal as a label', async (ignoreIndex) => {
    for (const loss of [kd.crossEntropy, kd.nllLoss]) {
      const value = await loss(table(), made([0, ignoreIndex, 2]), { ignoreIndex }).item();
      expect(value).toBe(await loss(table(), ints([0, ignoreIndex, 2]), { ignoreIndex }).item());
    }
  });
});

describe('the error', () => {
  let bad: Tensor;
  beforeEach(() => {
    bad = rows().indexSelect(0, made([7]));
  });

  it('comes by item, data, toArray, format, a file, and synchronize', async () => {
    const text = 'indexSelect: index 7 is out of range for a dim of size 5';
    const again = (): Tensor => rows().indexSelect(0, made([7]));
    await expect(bad.data()).rejects.toThrow(text);
    await expect(again().sum().item()).rejects.toThrow(text);
    await expect(again().toArray()).rejects.toThrow(text);
    await expect(kd.format(again())).rejects.toThrow(text);
    const file = join(mkdtempSync(join(tmpdir(), 'kindling-')), 'w.pth');
    await expect(saveTorch(file, { w: again() })).rejects.toThrow(text);
    expect(existsSync(file)).toBe(false);
    again();
    await expect(synchronize()).rejects.toThrow(text);
  });

  it('comes once; what follows is right', async () => {
    await expect(bad.data()).rejects.toThrow('indexSelect');
    expect(
      await rows()
        .indexSelect(0, made([1]))
        .toArray(),
    ).toEqual([[4, 5, 6, 7]]);
  });

  it('comes from a training step, through backward, by its forward op', async () => {
    await expect(bad.data()).rejects.toThrow('indexSelect');
    const weight = rows().requiresGrad_();
    kd.embedding(made([1, 9]), weight)
      .sum()
      .backward();
    await expect(weight.grad!.data()).rejects.toThrow('embedding: index 9 is out of range');
    await synchronize();
  });

  it('comes from a double backward', async () => {
    await expect(bad.data()).rejects.toThrow('indexSelect');
    const x = table().requiresGrad_();
    const y = x.gather(1, made([[1], [2], [8]]));
    const [g] = kd.autograd.grad(y.mul(y).sum(), [x], { createGraph: true });
    g!.sum().backward();
    await expect(x.grad!.data()).rejects.toThrow('gather: index 8');
  });
});

describe('launches', () => {
  /** Dispatches by kernel name of `fn`. */
  async function counted(fn: () => void): Promise<Record<string, number>> {
    await synchronize();
    runtime().resetOpCounts();
    fn();
    return Object.fromEntries(runtime().opCounts());
  }

  it('are the same whether the host knows the indices or not', async () => {
    const [known, computed] = [ints([1, 2]), made([1, 2])];
    for (const call of [
      (index: Tensor) => rows().indexSelect(0, index),
      (index: Tensor) => kd.embedding(index, rows()),
      (index: Tensor) => rows().indexAdd(0, index, kd.ones(2, 4)),
      (index: Tensor) => kd.crossEntropy(kd.zeros(2, 3), index),
    ]) {
      expect(await counted(() => call(computed))).toEqual(await counted(() => call(known)));
    }
  });

  it('of a check come only with labels that the host does not know', async () => {
    const [known, computed] = [ints([1, 2]), made([1, 2])];
    expect(await counted(() => kd.nllLoss(kd.zeros(2, 3), known))).not.toHaveProperty('nllLoss.check');
    expect(await counted(() => kd.nllLoss(kd.zeros(2, 3), computed))).toHaveProperty('nllLoss.check', 1);
    expect(await counted(() => kd.oneHot(known, 3))).toEqual({ oneHot: 1 });
    expect(await counted(() => kd.oneHot(computed, 3))).toEqual({ oneHot: 1, 'oneHot.check': 1 });
  });
});

describe('draws', () => {
  it.each([
    [1.5, '1.5'],
    [-0.25, '-0.25'],
    [NaN, 'NaN'],
    [Infinity, 'Infinity'],
  ])('bernoulli refuses the probability %f', async (p, shown) => {
    await expect(kd.bernoulli(tensor([0, 1, p])).data()).rejects.toThrow(
      `bernoulli: ${shown} is no probability (0 to 1)`,
    );
  });

  it('bernoulli takes 0, -0 and 1', async () => {
    expect([...(await kd.bernoulli(tensor([0, -0, 1])).data())]).toEqual([0, 0, 1]);
  });

  it.each([
    [-1, '-1'],
    [NaN, 'NaN'],
    [Infinity, 'Infinity'],
  ])('multinomial refuses the weight %f', async (w, shown) => {
    for (const replacement of [true, false]) {
      const drawn = kd.multinomial(tensor([1, w, 2]), 1, { replacement });
      await expect(drawn.data()).rejects.toThrow(`multinomial: weight ${shown} is negative, infinite or NaN`);
    }
  });

  it('multinomial refuses rows without weight', async () => {
    const weights = tensor([
      [1, 0],
      [0, 0],
    ]);
    await expect(kd.multinomial(weights, 1, { replacement: true }).data()).rejects.toThrow(
      'multinomial: the weights of a row add up to 0; at least one must be positive',
    );
    await expect(kd.multinomial(weights, 1).data()).rejects.toThrow(
      'multinomial: a row has fewer positive weights than samples are drawn',
    );
    await expect(kd.multinomial(tensor([0, 3, 0]), 2).data()).rejects.toThrow('fewer positive weights');
    expect(await kd.multinomial(tensor([0, 3, 0]), 1).toArray()).toEqual([1]);
  });
});
