/** Attention without its scores in memory: what the op promises beyond the kernels' results. */
import { beforeAll, describe, expect, it } from 'vitest';
import * as k from '../../src/index.js';
import { gpu, plannedFor } from '../forced-target.js';

const attend = k.nn.functional.scaledDotProductAttention;

beforeAll(async () => {
  await k.init();
  k.manualSeed(3);
});

const leaf = (...shape: number[]): k.Tensor => k.randn(shape).requiresGrad_();
const onGpu = <R>(fn: () => R | Promise<R>): Promise<R> => plannedFor(gpu(), fn);

/** How many launches `fn` makes, by kernel. */
async function launches(fn: () => unknown): Promise<Record<string, number>> {
  k.runtime().resetOpCounts();
  await fn();
  return Object.fromEntries(k.runtime().opCounts());
}

/** Results on a GPU's plans (fused) and on the adapter's own (products and a softmax: few scores). */
async function both(fn: () => k.Tensor[]): Promise<[number[][], number[][]]> {
  const read = async (): Promise<number[][]> =>
    Promise.all(fn().map(async (x) => Array.from(await x.data())));
  return [await onGpu(read), await read()];
}

async function expectSame(fn: () => k.Tensor[]): Promise<void> {
  const [fused, composed] = await both(fn);
  for (const [i, values] of fused.entries()) {
    const want = composed[i]!;
    const most = want.reduce((a, v) => Math.max(a, Math.abs(v)), 1e-3);
    values.forEach((v, j) => expect(Math.abs(v - want[j]!) / most).toBeLessThan(3e-6));
  }
}

describe('on a GPU', () => {
  it('is one launch forward and two backward', async () => {
    const [q, keys, v, g] = [leaf(1, 2, 5, 8), leaf(1, 2, 6, 8), leaf(1, 2, 6, 8), k.ones(1, 2, 5, 8)];
    const counts = await onGpu(() =>
      launches(() => k.autograd.grad(attend(q, keys, v), [q, keys, v], { gradOutputs: g })),
    );
    expect(counts).toEqual({ attention: 1, attentionQueryGrad: 1, attentionKeyGrad: 1 });
  });

  it('reads heads of one projection in place, and leaves heads side by side', async () => {
    const layer = new k.nn.MultiheadAttention(16, 2, { batchFirst: true });
    const x = k.randn(2, 5, 16);
    const counts = await onGpu(() => launches(() => k.noGrad(() => layer(x, x, x, { needWeights: false }))));
    expect(Object.keys(counts).filter((kernel) => kernel !== 'gemm')).toEqual(['attention']);
  });

  it('memory grows with the length, not with its square', async () => {
    const length = 2048;
    const [q, keys, v] = [leaf(1, 4, length, 8), leaf(1, 4, length, 8), leaf(1, 4, length, 8)];
    const g = k.ones(1, 4, length, 8);
    await onGpu(() =>
      k.runtime().withoutWork(() => {
        k.runtime().resetPeakMemory();
        const before = k.memoryStats().requestedBytes;
        k.tidy(() => void k.autograd.grad(attend(q, keys, v), [q, keys, v], { gradOutputs: g }));
        // The result, three gradients, and three numbers per query.
        expect(k.memoryStats().peakRequestedBytes - before).toBeLessThan(
          4 * (4 * q.numel() + 4 * 4 * length),
        );
      }),
    );
  });

  it('gradients are those of finite differences', async () => {
    await onGpu(async () => {
      const [q, keys, v] = [leaf(1, 2, 3, 4), leaf(1, 1, 3, 4), leaf(1, 1, 3, 4)];
      await expect(
        k.autograd.gradcheck(
          (...x) => attend(x[0]!, x[1]!, x[2]!, { isCausal: true, enableGqa: true }),
          [q, keys, v],
        ),
      ).resolves.toBe(true);
    });
  });

  it('gradients can be differentiated again', async () => {
    const [q, keys, v] = [leaf(1, 4, 3, 4), leaf(1, 2, 5, 4), leaf(1, 2, 5, 4)];
    const [g, h] = [k.randn(1, 4, 3, 4), k.randn(1, 2, 5, 4)];
    await expectSame(() => {
      const out = attend(q, keys, v, { isCausal: true, enableGqa: true });
      const [first] = k.autograd.grad(out, [keys], { gradOutputs: g, createGraph: true });
      return k.autograd.grad(first!, [q, keys, v], { gradOutputs: h }) as k.Tensor[];
    });
  });

  it('a query that sees nothing: none of its scores has a gradient, with createGraph too', async () => {
    const [q, keys, v] = [leaf(1, 2, 5, 8), leaf(1, 2, 6, 8), leaf(1, 2, 6, 8)];
    const attnMask = k.arange(5).ne(2).unsqueeze(1).logicalAnd(k.ones(6));
    await expectSame(() => {
      const out = attend(q, keys, v, { attnMask });
      return [false, true].flatMap(
        (createGraph) =>
          k.autograd.grad(out.sum(), [q, keys], { createGraph, retainGraph: true }) as k.Tensor[],
      );
    });
  });

  it.each(['query', 'key', 'value'])('the gradient of the %s alone', async (name) => {
    const all = { query: k.randn(1, 2, 5, 8), key: k.randn(1, 2, 6, 8), value: k.randn(1, 2, 6, 8) };
    const wanted = all[name as 'key'].requiresGrad_();
    await expectSame(
      () => k.autograd.grad(attend(all.query, all.key, all.value).pow(2).sum(), [wanted]) as k.Tensor[],
    );
  });

  it('a float mask that wants a gradient gets one', async () => {
    const [q, keys, v] = [leaf(1, 2, 5, 8), leaf(1, 2, 6, 8), leaf(1, 2, 6, 8)];
    const attnMask = leaf(5, 6);
    await expectSame(
      () => k.autograd.grad(attend(q, keys, v, { attnMask }).pow(2).sum(), [attnMask, q]) as k.Tensor[],
    );
  });

  it('leading dims broadcast, and their gradients add up', async () => {
    const [q, keys, v] = [leaf(2, 1, 3, 5, 8), leaf(4, 1, 6, 8), leaf(6, 8)];
    const attnMask = k.rand(5, 6).gt(0.3);
    await expectSame(() => {
      const out = attend(q, keys, v, { attnMask });
      return [out, ...(k.autograd.grad(out.pow(2).sum(), [q, keys, v]) as k.Tensor[])];
    });
  });

  it('heads of 7 numbers, transposed and offset operands', async () => {
    const whole = leaf(2, 7, 11);
    const transposed = whole.transpose(1, 2);
    await expectSame(() => {
      const out = attend(transposed.narrow(1, 1, 10), transposed, transposed.narrow(2, 0, 6));
      return [out, ...(k.autograd.grad(out.pow(2).sum(), [whole]) as k.Tensor[])];
    });
  });

  it('nothing to attend to, or nobody: the shapes that products give', async () => {
    const shapes = await onGpu(() =>
      [
        attend(k.ones(1, 2, 0, 4), k.ones(1, 2, 3, 4), k.ones(1, 2, 3, 4)),
        attend(k.ones(0, 2, 5, 4), k.ones(0, 2, 3, 4), k.ones(0, 2, 3, 4)),
      ].map(({ shape }) => shape),
    );
    expect(shapes).toEqual([
      [1, 2, 0, 4],
      [0, 2, 5, 4],
    ]);
  });
});

it('grouped heads are each for their neighbours, as if they were repeated', async () => {
  const [q, keys, v] = [k.randn(2, 6, 5, 8), k.randn(2, 2, 4, 8), k.randn(2, 2, 4, 8)];
  const got = await attend(q, keys, v, { enableGqa: true }).data();
  const want = await attend(q, keys.repeatInterleave(3, 1), v.repeatInterleave(3, 1)).data();
  expect([...got]).toEqual([...want]);
});

it('groups that do not divide are refused', () => {
  const x = k.ones(1, 4, 2, 8);
  const three = k.ones(1, 3, 2, 8);
  expect(() => attend(x, three, three, { enableGqa: true })).toThrow(
    'with enableGqa key and value must have as many heads (dim -3), which divide the query',
  );
});

/** Key padding and a mask of heads together, without and with weights asked for: the same output. */
it.each([
  { name: 'causal with padding', options: { isCausal: true, keyPaddingMask: true } },
  { name: 'a mask with padding', options: { attnMask: true, keyPaddingMask: true } },
  {
    name: 'more keys than sources',
    options: { isCausal: true },
    layer: { addBiasKv: true, addZeroAttn: true },
  },
])('MultiheadAttention, fused and with weights: $name', async ({ options, layer = {} }) => {
  const attention = new k.nn.MultiheadAttention(16, 2, { batchFirst: true, ...layer });
  const x = k.randn(2, 5, 16);
  const keyPaddingMask = k.tensor([
    [0, 0, 0, 0, 1],
    [0, 0, 0, 1, 1],
  ]);
  const given = {
    isCausal: options.isCausal ?? false,
    keyPaddingMask: options.keyPaddingMask ? keyPaddingMask.to('bool') : null,
    attnMask: options.attnMask ? k.eye(5).to('bool').logicalNot().triu(1).to('bool') : null,
  };
  const [fused, weighed] = await onGpu(async (): Promise<[number[], number[]]> => {
    const run = async (needWeights: boolean): Promise<number[]> =>
      Array.from(await attention(x, x, x, { ...given, needWeights })[0].data());
    return [await run(false), await run(true)];
  });
  fused.forEach((v, i) => expect(v).toBeCloseTo(weighed[i]!, 5));
});

it('scores of float16 tensors are kept in float32: beyond 65504 they are no infinities', async () => {
  const [q, keys] = [k.full([1, 1, 1, 16], 300), k.full([1, 1, 2, 16], 300)];
  const y = k.nn.functional.scaledDotProductAttention(q.half(), keys.half(), k.ones([1, 1, 2, 16]).half());
  expect(y.dtype).toBe('float16');
  expect([...(await y.float().data())]).toEqual(new Array<number>(16).fill(1));
});
