import { readdirSync } from 'node:fs';
import { beforeAll, describe, expect, it } from 'vitest';
import { init, manualSeed, nn, noGrad, ones, tensor, zeros, type Tensor } from '../../src/index.js';
import { uniform } from '../models/fill.js';
import { difference, loadRows, unpack, upload, type Packed } from '../rows.js';

/** scripts/goldens/layers.py says what is in a row and in its golden. */
interface LayerRow {
  readonly ts: string;
  readonly tolerance?: readonly [rtol: number, atol: number];
}
interface LayerGolden {
  readonly printed: string;
  readonly keys: readonly string[];
  readonly inputs?: Readonly<Record<string, Packed>>;
  readonly output: Packed;
  /** What else the layer returns, nested tuples flattened. */
  readonly more?: readonly Packed[];
  readonly grads: Readonly<Record<string, Packed>>;
  readonly buffers: Readonly<Record<string, Packed>>;
}

beforeAll(() => init());

const filled = (key: string, shape: readonly number[]): Tensor => tensor(uniform(key, shape), { shape });

const flat = (output: unknown): Tensor[] =>
  Array.isArray(output) ? output.flatMap(flat) : output === null ? [] : [output as Tensor];

/** Layers are rows of files that begin so, a family each. */
const layerRows = readdirSync(new URL('../cases/nn/', import.meta.url))
  .filter((file) => file.startsWith('layers'))
  .flatMap((file) => loadRows<LayerRow, LayerGolden>(`nn/${file.replace('.json', '')}`));

/** The layer's call in training mode, by the names that the golden has. */
function train(layer: nn.Module, inputs: Readonly<Record<string, Packed>>) {
  for (const [key, parameter] of layer.namedParameters())
    noGrad(() => parameter.copy_(filled(key, parameter.shape)));
  const made = Object.entries(inputs).map(([name, packed]) => [name, upload(unpack(packed))] as const);
  const leaves = new Map(
    made.filter(([, x]) => x.isFloatingPoint()).map(([name, x]) => [name, x.requiresGrad_()]),
  );
  // Layers may overwrite the result of an op, but no leaf.
  const call = layer as unknown as (...inputs: Tensor[]) => unknown;
  const outputs = flat(call(...made.map(([, x]) => (x.isFloatingPoint() ? x.mul(1) : x))));
  const terms = outputs
    .map((y, i) => (y.requiresGrad ? y.mul(filled(`grad${i || ''}`, y.shape)).sum() : null))
    .filter((term) => term !== null);
  if (terms.length > 0) terms.reduce((a, b) => a.add(b)).backward();
  for (const [key, parameter] of layer.namedParameters()) leaves.set(key, parameter);
  return { outputs, leaves, buffers: new Map(layer.namedBuffers()) };
}

describe("every layer is PyTorch's", () => {
  it.each(layerRows)('$key', async ({ row, golden }) => {
    const make = new Function(...Object.keys(nn), `return ${row.ts}`) as (...parts: unknown[]) => nn.Module;
    const layer = make(...Object.values(nn));
    const keys = [...layer.stateDict()].map(([key, { shape }]) => `${key} [${shape.join(', ')}]`);
    expect({ printed: String(layer), keys }).toEqual({ printed: golden.printed, keys: golden.keys });
    if (!golden.inputs) return;
    const { outputs, leaves, buffers } = train(layer, golden.inputs);
    const expectClose = async (what: string, got: Tensor | null | undefined, want: Packed): Promise<void> => {
      expect(got?.shape, what).toEqual(want[1]);
      expect(difference(await (got as Tensor).data(), unpack(want), row.tolerance), what).toBeNull();
    };
    const wanted = [golden.output, ...(golden.more ?? [])];
    expect(outputs).toHaveLength(wanted.length);
    for (const [i, want] of wanted.entries()) await expectClose(`output ${i}`, outputs[i], want);
    for (const [key, want] of Object.entries(golden.grads))
      await expectClose(`gradient of ${key}`, leaves.get(key)?.grad, want);
    for (const [key, want] of Object.entries(golden.buffers)) await expectClose(key, buffers.get(key), want);
  });
});

describe('BatchNorm', () => {
  const batch = (): Tensor => tensor([[1], [2], [6]]);

  it('keeps running statistics in training: biased to normalise, unbiased to remember', async () => {
    const bn = new nn.BatchNorm1d(1);
    const y = await bn(batch()).data();
    expect(y[0]).toBeCloseTo(-2 / Math.sqrt(14 / 3), 4);
    expect(await bn.runningMean?.item()).toBeCloseTo(0.3, 6);
    expect(await bn.runningVar?.item()).toBeCloseTo(0.9 + 0.7, 6);
    expect(await bn.numBatchesTracked?.item()).toBe(1);
  });

  it('uses them in evaluation and leaves them alone', async () => {
    const bn = new nn.BatchNorm1d(1).eval();
    expect((await bn(batch()).data())[2]).toBeCloseTo(6, 3);
    expect(await bn.runningMean?.item()).toBe(0);
    expect(await bn.numBatchesTracked?.item()).toBe(0);
  });

  it('averages over all batches when momentum is null', async () => {
    const bn = new nn.BatchNorm1d(1, { momentum: null });
    bn(batch());
    bn(batch().add(1));
    expect(await bn.runningMean?.item()).toBeCloseTo(3.5, 5);
    expect(await bn.runningVar?.item()).toBeCloseTo(7, 5);
  });

  it('uses the batch in every mode when it tracks nothing', async () => {
    const bn = new nn.BatchNorm1d(1, { trackRunningStats: false }).eval();
    expect((await bn(batch()).data())[0]).toBeCloseTo(-2 / Math.sqrt(14 / 3), 4);
    expect(bn.buffers()).toEqual([]);
  });

  it('says which shape it wants', () => {
    expect(() => new nn.BatchNorm2d(3)(zeros(2, 3))).toThrow(
      'BatchNorm2d: expected a 4-D input [N, C, H, W], got shape [2, 3]',
    );
  });
});

describe('Dropout', () => {
  it('drops in training only and keeps the mean', async () => {
    manualSeed(0);
    const dropout = new nn.Dropout(0.25);
    const values = await dropout(ones(10000)).data();
    const kept = values.filter((value) => value !== 0);
    expect(kept.every((value) => Math.abs(value - 4 / 3) < 1e-6)).toBe(true);
    expect(kept.length / values.length).toBeCloseTo(0.75, 1);
    const x = ones(3);
    expect(dropout.eval()(x)).toBe(x);
  });
});

describe('Embedding', () => {
  it('has a padding row of zeros without a gradient', async () => {
    const embedding = new nn.Embedding(3, 2, { paddingIdx: 1 });
    const rows = embedding(tensor([1, 2], { dtype: 'int32' }));
    expect(((await rows.toArray()) as number[][])[0]).toEqual([0, 0]);
    rows.sum().backward();
    expect(await embedding.weight.grad?.toArray()).toEqual([
      [0, 0],
      [0, 0],
      [1, 1],
    ]);
  });
});

describe('constructors', () => {
  it.each([
    ['new Linear(0, 3)', () => new nn.Linear(0, 3), 'Linear: inFeatures must be a positive integer, got 0'],
    [
      'groups',
      () => new nn.Conv2d(4, 6, 3, { groups: 4 }),
      '4 input and 6 output channels do not divide into 4 groups',
    ],
    ['kernel', () => new nn.Conv2d(4, 6, 1.5), 'kernelSize must be an integer of at least 1'],
    ['same', () => new nn.Conv2d(4, 6, 3, { padding: 'same', stride: 2 }), "padding 'same' needs stride 1"],
    ['dropout', () => new nn.Dropout(2), 'p must be between 0 and 1, got 2'],
    ['group norm', () => new nn.GroupNorm(3, 4), '4 channels do not divide into 3 groups'],
    ['softmax', () => new nn.Softmax(undefined as never), 'give the dim'],
    [
      'loss',
      () => new nn.MSELoss({ reduction: 'average' as never }),
      'reduction must be one of mean, sum, none',
    ],
    ['upsample', () => new nn.Upsample({}), 'give either size or scaleFactor'],
  ])('say what is wrong: %s', (_, make, message) => {
    expect(make).toThrow(message);
  });
});

it('losses are their functions', async () => {
  const [x, y] = [tensor([[1, 2, 3]]), tensor([2], { dtype: 'int32' })];
  const byLayer = new nn.CrossEntropyLoss({ labelSmoothing: 0.1 })(x, y);
  const byFunction = nn.functional.crossEntropy(x, y, { labelSmoothing: 0.1 });
  expect(await byLayer.item()).toBe(await byFunction.item());
  expect(await new nn.HuberLoss({ delta: 2 })(tensor([3]), tensor([0])).item()).toBe(4);
});

describe('initialisation', () => {
  async function moments(x: Tensor): Promise<{ mean: number; std: number; max: number }> {
    const values = Array.from(await x.data());
    const mean = values.reduce((a, b) => a + b, 0) / values.length;
    const std = Math.sqrt(values.reduce((a, b) => a + (b - mean) ** 2, 0) / values.length);
    return { mean, std, max: values.reduce((a, b) => Math.max(a, Math.abs(b)), 0) };
  }

  beforeAll(() => void manualSeed(1));
  const weight = (): Tensor => zeros(64, 32, 3, 3);
  const near = (value: number, want: number): void => expect(Math.abs(value / want - 1)).toBeLessThan(0.02);

  it('of Linear and Conv2d is uniform in ±1/sqrt(fan in)', async () => {
    const conv = await moments(new nn.Conv2d(32, 64, 3).weight);
    const bound = 1 / Math.sqrt(32 * 9);
    expect(conv.max).toBeLessThanOrEqual(bound);
    near(conv.std, bound / Math.sqrt(3));
    const linear = await moments(new nn.Linear(400, 2000).bias as Tensor);
    expect(linear.max).toBeLessThanOrEqual(0.05);
    near(linear.max, 0.05);
  });

  it.each([
    [
      'kaimingNormal_ fan out',
      (w: Tensor) => nn.init.kaimingNormal_(w, { mode: 'fan_out', nonlinearity: 'relu' }),
      Math.sqrt(2 / (64 * 9)),
    ],
    [
      'kaimingUniform_',
      (w: Tensor) => nn.init.kaimingUniform_(w, { nonlinearity: 'relu' }),
      Math.sqrt(2 / (32 * 9)),
    ],
    ['xavierNormal_', (w: Tensor) => nn.init.xavierNormal_(w), Math.sqrt(2 / (96 * 9))],
    ['xavierUniform_', (w: Tensor) => nn.init.xavierUniform_(w, 2), 2 * Math.sqrt(2 / (96 * 9))],
    ['normal_', (w: Tensor) => nn.init.normal_(w, 0, 0.3), 0.3],
    // The standard deviation of a normal cut at two of its own is 0.8796 of it.
    ['truncNormal_', (w: Tensor) => nn.init.truncNormal_(w, 0, 0.02, -0.04, 0.04), 0.02 * 0.8796],
  ])('%s has the standard deviation it should', async (_, fill, want) => {
    const { mean, std } = await moments(fill(weight()));
    near(std, want);
    expect(Math.abs(mean)).toBeLessThan(want / 20);
  });

  it('works on parameters in grad mode and leaves them leaves', () => {
    const layer = new nn.Linear(2, 2);
    nn.init.ones_(layer.weight);
    expect([layer.weight.isLeaf, layer.weight.requiresGrad]).toEqual([true, true]);
    expect(noGrad(() => layer(ones(1, 2))).requiresGrad).toBe(false);
  });
});

it('calculateGain takes a slope by name, and nothing that is no number', () => {
  const { calculateGain } = nn.init;
  expect(calculateGain('leaky_relu', { param: 0.2 })).toBeCloseTo(1.3867504905630728);
  expect(calculateGain('leaky_relu', null)).toBe(calculateGain('leaky_relu', 0.01));
  expect(calculateGain({ nonlinearity: 'relu' })).toBe(Math.SQRT2);
  expect(() => calculateGain('leaky_relu', 'x' as never)).toThrow('calculateGain: param: expected a number');
  expect(() => calculateGain('leaky_relu', { slope: 1 } as never)).toThrow("there is no option 'slope'");
});
