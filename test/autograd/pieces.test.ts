import { beforeAll, describe, expect, it } from 'vitest';
import * as k from '../../src/index.js';

type Tensor = k.Tensor;

beforeAll(() => k.init());

const data = async (x: Tensor | null): Promise<number[]> => Array.from(await (x as Tensor).data());

/** What was launched by `fn`, and how often. */
async function launches(fn: () => void): Promise<Record<string, number>> {
  await k.synchronize();
  k.runtime().resetOpCounts();
  fn();
  return Object.fromEntries([...k.runtime().opCounts()].filter(([, count]) => count > 0));
}

const leaf = (...shape: number[]): Tensor => k.randn(shape).requiresGrad_();

describe('the gradient of what split, chunk and unbind took apart', () => {
  const cuts: Record<string, { several: (x: Tensor) => Tensor[]; alone: (x: Tensor) => Tensor[] }> = {
    'split into sizes': {
      several: (x) => x.split([1, 3, 2], 1),
      alone: (x) => x.unsafeSplit([1, 3, 2], 1),
    },
    'split with a smaller last': { several: (x) => x.split(4, 1), alone: (x) => x.unsafeSplit(4, 1) },
    chunk: { several: (x) => x.chunk(3, -1), alone: (x) => x.unsafeChunk(3, -1) },
    unbind: { several: (x) => x.unbind(1), alone: (x) => [0, 1, 2, 3, 4, 5].map((i) => x.select(1, i)) },
    'split with an empty piece': {
      several: (x) => x.split([0, 6], 1),
      alone: (x) => x.unsafeSplit([0, 6], 1),
    },
  };

  it.each(Object.keys(cuts))('is that of as many slices: %s', async (name) => {
    const { several, alone } = cuts[name]!;
    const x = leaf(4, 6);
    const gradOf = async (cut: (x: Tensor) => Tensor[]): Promise<number[]> => {
      const y = cut(x).reduce<Tensor | null>((sum, piece, i) => {
        const part = piece
          .mul(piece)
          .mul(i + 1)
          .sum();
        return sum?.add(part) ?? part;
      }, null);
      x.grad = null;
      y!.backward();
      return data(x.grad);
    };
    expect(await gradOf(several)).toEqual(await gradOf(alone));
  });

  it('is written once, a copy for each piece', async () => {
    const x = leaf(5, 6);
    const [a, b, c] = x.chunk(3, 1) as [Tensor, Tensor, Tensor];
    const y = a.mul(b).mul(c);
    const seed = k.ones([5, 2]);
    const made = await launches(() => y.backward(seed));
    expect(made['copy']).toBe(3);
    expect(made).not.toHaveProperty('fill');
    expect(made).not.toHaveProperty('add');
  });

  it('is zero where a piece had no part, whatever was in the memory before', async () => {
    k.full([6], 7).dispose();
    const x = leaf(6);
    const [a, , c] = x.split(2) as [Tensor, Tensor, Tensor];
    a.mul(2).add(c.mul(3)).sum().backward();
    expect(await data(x.grad)).toEqual([2, 2, 0, 0, 3, 3]);
    const y = leaf(6);
    y.unbind()[4]!.backward();
    expect(await data(y.grad)).toEqual([0, 0, 0, 0, 1, 0]);
  });

  it('has the order in memory of what was cut', () => {
    const x = leaf(2, 8, 3, 3).contiguous({ memoryFormat: 'channelsLast' }).detach().requiresGrad_();
    const [a, b] = x.chunk(2, 1) as [Tensor, Tensor];
    a.mul(b).sum().backward();
    expect(x.grad!.strides).toEqual(x.strides);
  });

  it('may be written in place, however what was cut lies in memory', async () => {
    const w = leaf(2, 12);
    const [a, b] = w.reshape(2, 3, 4).transpose(1, 2).chunk(2, 1) as [Tensor, Tensor];
    a.mul(b).sum().backward();
    const before = await data(w.grad);
    w.grad!.mul_(2);
    expect(await data(w.grad)).toEqual(before.map((value) => 2 * value));
  });

  it('can be differentiated again', async () => {
    const x = leaf(2, 6);
    const first = (f: (t: Tensor) => Tensor) => (t: Tensor) =>
      k.autograd.grad(f(t).sum(), t, { createGraph: true })[0]!;
    const ofSplit = first((t) => {
      const [a, , c] = t.split(2, 1) as [Tensor, Tensor, Tensor];
      return a.mul(c).mul(a);
    });
    const ofUnbind = first((t) => {
      const [a, b] = t.unbind() as [Tensor, Tensor];
      return a.mul(b).mul(a);
    });
    for (const f of [ofSplit, ofUnbind]) expect(await k.autograd.gradcheck(f, [x])).toBe(true);
  });

  it('belongs to one node of the tape', () => {
    const pieces = leaf(6).split(2);
    expect(new Set(pieces.map(({ gradFn }) => gradFn)).size).toBe(1);
    expect(pieces[0]!.gradFn!.name).toBe('split');
  });
});
