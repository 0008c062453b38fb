/**
 * Ops in float16, there and back: results and gradients stay float16, and are float32's but for rounding. Of
 * each op that has rows the smallest with a gradient, and what is made of several ops.
 */
import { beforeAll, describe, expect, it } from 'vitest';
import * as k from '../../src/index.js';
import type { Tensor } from '../../src/index.js';
import { upload } from '../rows.js';
import { every } from '../tooling/full.js';
import { evaluate, loadFamilies, type Case, type Golden } from './cases.js';

beforeAll(() => k.init());

const F = k.nn.functional;
const ints = (...list: number[]): Tensor => k.tensor(list, { dtype: 'int32' });

type Inputs = Readonly<Record<string, Tensor>>;
type Call = (inputs: Inputs) => Tensor | readonly Tensor[];
type Floats = 'float16' | 'float32';

interface Numbers {
  readonly dtype: string;
  readonly values: readonly number[];
}

const numbersOf = async (t: Tensor): Promise<Numbers> => ({
  dtype: t.dtype,
  values: Array.from(await t.detach().data(), Number),
});

/** Results and gradients of `call` for cotangents of ones; inputs hold what float16 can. */
async function run(call: Call, inputs: Inputs, wanted: readonly string[], dtype: Floats): Promise<Numbers[]> {
  const leaves = Object.entries(inputs).map(([name, x]) => {
    const leaf = k.isFloatingPoint(x) ? x.half().to(dtype).clone() : x;
    return [name, wanted.includes(name) ? leaf.detach().requiresGrad_() : leaf] as const;
  });
  // Leaves must not be written; the op gets views of them.
  const given = leaves.map(
    ([name, leaf]) => [name, leaf.requiresGrad ? leaf.view(leaf.shape) : leaf] as const,
  );
  const results = [call(Object.fromEntries(given))].flat();
  const roots = results.filter((y) => y.requiresGrad);
  k.autograd.backward(
    roots,
    roots.map((y) => k.onesLike(y)),
  );
  const grads = leaves.flatMap(([, leaf]) => leaf.grad ?? []);
  return Promise.all([...results, ...grads].map(numbersOf));
}

/** Within a few roundings of the largest value: what is between the ops of a composition is rounded too. */
function expectAlike(got: readonly Numbers[], want: readonly Numbers[]): void {
  expect(got.map(({ dtype }) => dtype)).toEqual(
    want.map(({ dtype }) => (dtype === 'float32' ? 'float16' : dtype)),
  );
  got.forEach(({ values }, i) => {
    const exact = want[i]!.values;
    const largest = Math.max(0, ...exact.filter(Number.isFinite).map(Math.abs));
    const wrong = exact.flatMap((value, j) => {
      const alike = Object.is(values[j], value) || values[j] === value;
      return alike || Math.abs(values[j]! - value) <= 4e-3 * Math.abs(value) + 1e-3 * largest + 1e-6
        ? []
        : [`${i}, ${j}: ${values[j]} for ${value}`];
    });
    expect(wrong).toEqual([]);
  });
}

async function check(
  call: Call,
  inputs: Inputs,
  wanted: readonly string[] = Object.keys(inputs),
): Promise<void> {
  const of = (dtype: Floats): Promise<Numbers[]> => run(call, inputs, wanted, dtype);
  expectAlike(await of('float16'), await of('float32'));
}

/** What float16 has reasons to refuse, or to give in another dtype. */
const apart: Readonly<Record<string, string>> = {
  batchNorm: 'training takes float32 statistics and parameters',
  to: 'its rows name the dtype',
};

const sizeOf = ({ inputs }: Golden): number =>
  [...inputs.values()].reduce((sum, { data }) => sum + data.length, 0);

/** The smallest row of an op that has a gradient. */
function smallest(cases: readonly { readonly row: Case; readonly golden: Golden }[]) {
  return cases
    .filter(({ row, golden }) => row.grad !== undefined && !row.raises && sizeOf(golden) > 1)
    .sort((a, b) => sizeOf(a.golden) - sizeOf(b.golden))[0];
}

describe('rows', () => {
  const chosen = loadFamilies().flatMap(({ ops }) =>
    [...ops].flatMap(([op, cases]) => {
      const found = op in apart ? undefined : smallest(cases);
      return found ? [[op, found] as const] : [];
    }),
  );
  it.each(every(8, chosen))('%s', async (_, { row, golden }) => {
    const inputs = Object.fromEntries([...golden.inputs].map(([name, host]) => [name, upload(host)]));
    await check((given) => evaluate(row, given), inputs, row.grad);
  });
});

const x = (): Tensor =>
  k.tensor([
    [0.5, -1.25, 2, 0.75],
    [-0.5, 3, 0.25, -2],
    [1, 0.5, -1.5, 0.125],
  ]);
const y = (): Tensor => x().flip(0).mul(0.5).add(0.25);
const image = (): Tensor => k.arange(32).sin().reshape(1, 2, 4, 4);
const of =
  (fn: (x: Tensor) => Tensor | readonly Tensor[]): Call =>
  (given) =>
    fn(given['x']!);
const both =
  (fn: (x: Tensor, y: Tensor) => Tensor): Call =>
  (given) =>
    fn(given['x']!, given['y']!);

describe('of one tensor', () => {
  it.each<[string, Call]>([
    ['norm', of((x) => x.norm())],
    ['norm over a dim', of((x) => x.norm({ dim: 1 }))],
    ['norm, p of 3', of((x) => x.norm(3))],
    ['norm, p of 0.5', of((x) => x.norm(0.5))],
    ['norm, p of infinity', of((x) => x.norm(Infinity))],
    ['linalg.vectorNorm', of((x) => k.linalg.vectorNorm(x))],
    ['normalize', of((x) => F.normalize(x))],
    ['renorm', of((x) => x.renorm(2, 0, 1))],
    ['amax of all', of((x) => x.amax())],
    ['amin of dims', of((x) => x.amin([0, 1]))],
    ['max', of((x) => x.max())],
    ['min', of((x) => x.min())],
    ['max along a dim', of((x) => x.max(1))],
    ['aminmax', of((x) => Object.values(k.aminmax(x)) as Tensor[])],
    ['std', of((x) => x.std(1))],
    ['logsumexp of large values', of((x) => x.mul(300).logsumexp(1))],
    ['logcumsumexp of large values', of((x) => x.mul(300).logcumsumexp(1))],
    ['softmax without dims', of((x) => x.sum().softmax(0))],
    ['logSoftmax without dims', of((x) => x.sum().logSoftmax(0))],
    ['median', of((x) => x.median())],
    ['sort', of((x) => x.sort(1))],
    ['cumprod', of((x) => x.cumprod(1))],
    ['prod', of((x) => x.prod(1))],
  ])('%s', (_, call) => check(call, { x: x() }));
});

describe('of images', () => {
  it.each<[string, Call]>([
    ['maxPool2d with indices', of((x) => F.maxPool2d(x, 2, { returnIndices: true }))],
    ['maxPool1d with indices', of((x) => F.maxPool1d(x.flatten(2), 2, { returnIndices: true }))],
    ['maxPool3d with indices', of((x) => F.maxPool3d(x, 2, { returnIndices: true }))],
    ['adaptiveMaxPool2d with indices', of((x) => F.adaptiveMaxPool2d(x, 2, { returnIndices: true }))],
    ['lpPool2d', of((x) => F.lpPool2d(x, 2, 2))],
    ['localResponseNorm', of((x) => F.localResponseNorm(x, 2))],
    ['groupNorm', of((x) => F.groupNorm(x, 1))],
    ['interpolate', of((x) => F.interpolate(x, { scaleFactor: 2, mode: 'bilinear' }))],
  ])('%s', (_, call) => check(call, { x: image() }));
});

describe('of two tensors', () => {
  it.each<[string, Call]>([
    ['cdist', both((x, y) => k.cdist(x, y))],
    ['cdist, p of infinity', both((x, y) => k.cdist(x.mul(1.37), y, Infinity))],
    ['pairwiseDistance', both((x, y) => F.pairwiseDistance(x, y))],
    ['cosineSimilarity', both((x, y) => F.cosineSimilarity(x, y))],
    ['tripletMarginLoss', both((x, y) => F.tripletMarginLoss(x, y, x.flip(1)))],
    ['crossEntropy with weights', both((x, y) => F.crossEntropy(x, ints(0, 3, 1), y.detach().abs().sum(0)))],
    ['crossEntropy of probabilities', both((x, y) => F.crossEntropy(x, y.softmax(1)))],
    ['nllLoss with weights', both((x, y) => F.nllLoss(x, ints(0, 3, 1), y.detach().abs().sum(0)))],
    ['multiMarginLoss', both((x, y) => F.multiMarginLoss(x, ints(0, 3, 1)).add(y.sum()))],
    [
      'multilabelMarginLoss',
      both((x, y) => F.multilabelMarginLoss(x.select(0, 1), ints(0, 3, -1, 1)).add(y.sum())),
    ],
    ['huberLoss', both((x, y) => F.huberLoss(x, y))],
    ...(['sum', 'mean', 'max'] as const).map((mode): [string, Call] => [
      `embeddingBag, ${mode}`,
      of((x) => F.embeddingBag(ints(0, 2, 1), x, ints(0, 2), { mode, paddingIdx: 1 })),
    ]),
  ])('%s', (_, call) => check(call, { x: x(), y: y() }));
});

describe('what float16 cannot count is not counted in it', () => {
  it('the ties that share a gradient', async () => {
    const x = k.ones([70_000], { dtype: 'float16' }).requiresGrad_();
    x.amax().mul(32_768).backward();
    expect(await x.grad!.max().item()).toBeCloseTo(32_768 / 70_000, 3);
  });

  it('the ranks of a quantile', async () => {
    const x = k.arange(5000).div(5000).half();
    expect(await x.quantile(0.4213).item()).toBeCloseTo(0.4213, 3);
    expect(await x.quantile(k.tensor([0.25, 0.75]).half()).toArray()).toEqual([0.25, 0.75]);
    await expect(x.quantile(k.tensor([0.25, 1.5]).half()).toArray()).rejects.toThrow('1.5 is no probability');
  });

  it('the pixels of an image', async () => {
    const x = k
      .arange(100 * 100)
      .fmod(251)
      .reshape(1, 1, 100, 100)
      .half();
    const grid = F.affineGrid(
      k
        .tensor([
          [
            [1, 0, 0],
            [0, 1, 0],
          ],
        ])
        .half(),
      [1, 1, 100, 100],
      {
        alignCorners: false,
      },
    );
    expect(grid.dtype).toBe('float16');
    const y = F.gridSample(x, grid, { mode: 'nearest', alignCorners: false });
    expect(y.dtype).toBe('float16');
    expect(await y.equal(x)).toBe(true);
  });

  it('the weights of many labels', async () => {
    const x = k.zeros([1, 2, 300, 300]).logSoftmax(1).half();
    const labels = k.zeros([1, 300, 300], { dtype: 'int32' });
    const weight = k.ones(2).half();
    expect(await F.nllLoss(x, labels, weight).item()).toBeCloseTo(Math.LN2, 3);
    expect(await F.crossEntropy(x, labels, weight).item()).toBeCloseTo(Math.LN2, 3);
  });
});
