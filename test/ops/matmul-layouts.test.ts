import { beforeAll, describe, expect, it } from 'vitest';
import * as k from '../../src/index.js';

type Tensor = k.Tensor;

beforeAll(() => k.init());

/** [n, heads, rows, size], as heads lie between rows and columns of a projection. */
const byHead = (n: number, heads: number, rows: number, size: number): Tensor =>
  k.randn([n, rows, heads, size]).permute(0, 2, 1, 3);

async function launches(fn: () => unknown): Promise<Record<string, number>> {
  await k.synchronize();
  k.runtime().resetOpCounts();
  fn();
  return Object.fromEntries([...k.runtime().opCounts()].filter(([, count]) => count > 0));
}

const data = async (x: Tensor): Promise<number[]> => Array.from(await x.data());

describe('batches of matrices that lie between other dims', () => {
  const pairs: Record<string, () => [Tensor, Tensor]> = {
    'queries by keys': () => [byHead(2, 3, 5, 8), byHead(2, 3, 7, 8).transpose(-2, -1)],
    'weights by values': () => [k.randn([2, 3, 5, 7]), byHead(2, 3, 7, 8)],
    'a matrix for all': () => [byHead(2, 3, 5, 8), k.randn([3, 8, 4])],
    'one matrix for each of the outer': () => [byHead(2, 3, 5, 8), k.randn([2, 1, 8, 4])],
    'three dims of batch': () => [k.randn([2, 5, 2, 3, 8]).permute(0, 2, 3, 1, 4), k.randn([2, 2, 3, 8, 4])],
  };

  it.each(Object.keys(pairs))('are multiplied where they are: %s', async (name) => {
    const [a, b] = pairs[name]!();
    let product!: Tensor;
    const made = await launches(() => (product = a.matmul(b)));
    expect(made).not.toHaveProperty('copy');
    const dense = (x: Tensor): Tensor => x.contiguous();
    expect(await data(product)).toEqual(await data(dense(a).matmul(dense(b))));
  });

  it('have the same gradients', async () => {
    const [q, v] = [byHead(2, 3, 5, 8).requiresGrad_(), byHead(2, 3, 8, 4).requiresGrad_()];
    const seed = byHead(2, 3, 5, 4);
    const made = await launches(() => q.matmul(v).backward(seed));
    expect(made).toEqual({ gemm: 3 });
    const [qDense, vDense] = [q, v].map((x) => x.detach().contiguous().requiresGrad_()) as [Tensor, Tensor];
    qDense.matmul(vDense).backward(seed.contiguous());
    expect(await data(q.grad!)).toEqual(await data(qDense.grad!));
    expect(await data(v.grad!)).toEqual(await data(vDense.grad!));
  });

  it('may be written in place afterwards, as where they are copied', async () => {
    const x = byHead(2, 3, 5, 8).requiresGrad_();
    const w = byHead(2, 3, 8, 4).requiresGrad_();
    const q = x.mul(1);
    const product = q.matmul(w);
    const expected = await data(k.autograd.grad(product.sum(), w, { retainGraph: true })[0]!);
    q.mul_(3);
    expect(await data(k.autograd.grad(product.sum(), w)[0]!)).toEqual(expected);
  });

  it('can be differentiated twice', async () => {
    const x = k.randn([2, 3, 2, 2]).requiresGrad_();
    const first = (t: Tensor): Tensor => {
      const heads = t.permute(0, 2, 1, 3);
      return k.autograd.grad(heads.matmul(heads.transpose(-2, -1)).square().sum(), t, {
        createGraph: true,
      })[0]!;
    };
    expect(await k.autograd.gradcheck(first, [x], { atol: 1e-2, rtol: 1e-2 })).toBe(true);
  });

  it('are copied where no two strides lead to them', async () => {
    const a = k.randn([2, 3, 4, 5, 6]).permute(2, 1, 0, 3, 4);
    const b = k.randn([4, 3, 2, 6, 5]);
    expect(await data(a.matmul(b))).toEqual(await data(a.contiguous().matmul(b)));
  });
});
