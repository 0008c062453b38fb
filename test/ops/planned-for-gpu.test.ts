/** Scans, sorts and indexed writes as they are planned for GPUs, with their gradients, beside the software's. */
import { beforeAll, expect, it } from 'vitest';
import * as k from '../../src/index.js';
import { gpu, plannedFor } from '../forced-target.js';

beforeAll(() => k.init());

let seed = 23;
const random = (n: number): number => {
  seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
  return Math.floor((seed / 2 ** 32) * n);
};
/** Sums of these are exact in any order. */
const whole = (shape: number[]): k.Tensor =>
  k
    .tensor(Array.from({ length: shape.reduce((a, b) => a * b, 1) }, () => random(9) - 4))
    .to('float32')
    .reshape(shape);
const ids = (shape: number[], below: number): k.Tensor =>
  k
    .tensor(
      Array.from({ length: shape.reduce((a, b) => a * b, 1) }, () => random(below)),
      { dtype: 'int32' },
    )
    .reshape(shape);

type Inputs = Readonly<Record<string, k.Tensor>>;

/** [name, operands, op]: floats among the operands get a gradient. */
const works: [string, () => Inputs, (t: Inputs) => k.Tensor][] = [
  ['embedding', () => ({ w: whole([1500, 6]), i: ids([5, 90], 1500) }), (t) => k.nn.functional.embedding(t.i!, t.w!, { paddingIdx: 3 })], // prettier-ignore
  ['embedding of a small table', () => ({ w: whole([4, 6]), i: ids([13, 90], 4) }), (t) => k.nn.functional.embedding(t.i!, t.w!)], // prettier-ignore
  [
    'indexSelect of columns',
    () => ({ x: whole([3, 40]), i: ids([700], 40) }),
    (t) => t.x!.indexSelect(1, t.i!),
  ],
  ['gather', () => ({ x: whole([2, 50]), i: ids([2, 600], 50) }), (t) => t.x!.gather(1, t.i!)],
  ['index by two', () => ({ x: whole([30, 50, 2]), i: ids([400], 30), j: ids([400], 50) }), (t) => k.index(t.x!, t.i!, t.j!)], // prettier-ignore
  ['scatterAdd', () => ({ x: whole([40]), i: ids([1300], 40), s: whole([1300]) }), (t) => t.x!.scatterAdd(0, t.i!, t.s!)], // prettier-ignore
  ['scatterReduce to means', () => ({ x: whole([40]), i: ids([1300], 40), s: whole([1300]) }), (t) => t.x!.scatterReduce(0, t.i!, t.s!, 'mean')], // prettier-ignore
  ['scatterReduce to the largest', () => ({ x: whole([1100]), i: ids([1300], 1100), s: whole([1300]) }), (t) => t.x!.scatterReduce(0, t.i!, t.s!, 'amax', { includeSelf: false })], // prettier-ignore
  ['indexAdd to a transposed matrix', () => ({ x: whole([5, 20]), i: ids([400], 20), s: whole([400, 5]) }), (t) => t.x!.t().indexAdd(0, t.i!, t.s!, { alpha: 2 })], // prettier-ignore
  ['indexCopy', () => ({ x: whole([50, 3]), i: ids([400], 50), s: whole([400, 3]) }), (t) => t.x!.indexCopy(0, t.i!, t.s!)], // prettier-ignore
  ['cumsum', () => ({ x: whole([2, 3000]) }), (t) => t.x!.cumsum(1)],
  ['cummax of columns', () => ({ x: whole([900, 5]) }), (t) => k.cummax(t.x!, 0)[0]],
  ['sort', () => ({ x: whole([2, 1200]) }), (t) => t.x!.sort(1, true)[0]],
  ['topk', () => ({ x: whole([2, 9000]) }), (t) => t.x!.topk(4)[0]],
];

async function outcome(made: Inputs, op: (t: Inputs) => k.Tensor): Promise<number[][]> {
  const leaves = Object.values(made).filter((t) => t.dtype === 'float32');
  for (const leaf of leaves) leaf.requiresGrad = true;
  const out = op(made);
  const weights = k.arange(out.numel()).remainder(7).sub(3).to('float32').reshape(out.shape);
  const grads = k.autograd.grad(out, leaves, { gradOutputs: weights });
  const all = await Promise.all([out, ...grads].map((t) => t!.detach().data()));
  return all.map((data) => [...data].map((v) => v + 0));
}

it.each(works)('%s', async (_, inputs, op) => {
  const made = inputs();
  const expected = await outcome(made, op);
  expect(await plannedFor(gpu(), () => outcome(made, op))).toEqual(expected);
});

it('nothing is written by no indices, and nothing scanned or sorted of empty tensors', async () => {
  await plannedFor(gpu(), async () => {
    const none = k.zeros([0], { dtype: 'int32' });
    expect([
      ...(await k
        .ones([3])
        .scatterAdd(0, none, k.zeros([0]))
        .data()),
    ]).toEqual([1, 1, 1]);
    expect([
      ...(await k
        .ones([3, 2])
        .indexAdd(0, none, k.zeros([0, 2]))
        .data()),
    ]).toEqual([1, 1, 1, 1, 1, 1]);
    expect(k.zeros([0, 400]).cumsum(0).shape).toEqual([0, 400]);
    expect(k.zeros([400, 0]).sort(0)[0].shape).toEqual([400, 0]);
  });
});

it('second derivatives go through writes of many sources', async () => {
  const second = async (): Promise<number[]> => {
    const x = whole([30]).requiresGrad_();
    const i = k.tensor(
      Array.from({ length: 700 }, (_, n) => (n * n) % 30),
      { dtype: 'int32' },
    );
    const [first] = k.autograd.grad(x.indexSelect(0, i).pow(3).sum(), [x], { createGraph: true });
    const [grad] = k.autograd.grad(first!.sum(), [x]);
    const [values, got] = [await x.detach().data(), await grad!.data()];
    const counts = new Array<number>(30).fill(0);
    for (const n of await i.data()) counts[n]!++;
    expect([...got]).toEqual([...values].map((v, j) => 6 * v * counts[j]! + 0));
    return [...got];
  };
  await plannedFor(gpu(), second);
});
