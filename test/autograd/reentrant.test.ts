import { beforeAll, describe, expect, it } from 'vitest';
import * as k from '../../src/index.js';

/** Hooks that call backward() or grad() themselves: allowed, as in PyTorch, whose numbers these are. */
beforeAll(() => k.init());

const leaf = (values: number[]): k.Tensor => k.tensor(values, { requiresGrad: true });
const values = async (x: k.Tensor | null): Promise<k.NestedArray | null> => (x === null ? null : x.toArray());

describe('backward in a hook', () => {
  it('of another graph adds to its own leaves only', async () => {
    const [x, w] = [leaf([1, 2]), leaf([3])];
    const y = x.mul(x);
    y.registerHook(() => {
      k.enableGrad(() => w.mul(w).sum()).backward();
    });
    y.sum().backward();
    expect([await values(x.grad), await values(w.grad)]).toEqual([[2, 4], [6]]);
  });

  it('of the same graph adds to the same leaves', async () => {
    const x = leaf([1, 2]);
    const y = x.mul(x);
    let once = true;
    const z = y.mul(y);
    z.registerHook((grad) => {
      if (!once) return;
      once = false;
      y.backward(grad, { retainGraph: true });
    });
    z.sum().backward();
    // d sum(y) / dx = 2 x from within, d sum(y^2) / dx = 4 x^3 from without.
    expect(await values(x.grad)).toEqual([2 + 4, 4 + 32]);
  });

  it('of a leaf runs before that leaf has its own gradient', async () => {
    const x = leaf([2]);
    let before: k.NestedArray | null = [0];
    const inner = x.mul(3);
    let once = true;
    x.registerHook((grad) => {
      if (!once) return;
      once = false;
      before = x.grad === null ? null : [];
      inner.backward(grad);
    });
    x.mul(x).backward();
    expect([before, await values(x.grad)]).toEqual([null, [4 + 4 * 3]]);
  });

  it('may be nested, and finds the modes and the tape as they were', async () => {
    const x = leaf([1]);
    const depth = 5;
    const modes: boolean[] = [];
    const go = (level: number): void => {
      const y = k.enableGrad(() => x.mul(2).mul(1));
      y.registerHook(() => {
        modes.push(k.isGradEnabled());
        if (level > 1) go(level - 1);
        modes.push(k.isGradEnabled());
      });
      y.backward();
    };
    go(depth);
    expect(await values(x.grad)).toEqual([2 * depth]);
    expect([modes.length, modes.includes(true), k.isGradEnabled()]).toEqual([2 * depth, false, true]);
  });

  it('may be grad(), with a penalty on the way', async () => {
    const x = leaf([1, 3]);
    const y = x.mul(x);
    y.registerHook((grad) => {
      const [inner] = k.enableGrad(() => {
        const c = x.detach().requiresGrad_();
        return k.autograd.grad(c.mul(c).mul(c).sum(), [c]);
      });
      return grad.add(inner as k.Tensor);
    });
    y.sum().backward();
    // (1 + 3 x^2) 2 x
    expect(await values(x.grad)).toEqual([8, 28 * 6]);
  });

  it('may be in a module hook', async () => {
    const layer = new k.nn.Linear(2, 1, { bias: false });
    const probe = leaf([1]);
    layer.registerFullBackwardHook(() => {
      k.enableGrad(() => probe.mul(5)).backward();
    });
    for (let i = 0; i < 3; i++) layer(k.ones(1, 2).requiresGrad_()).sum().backward();
    expect([await values(probe.grad), await values(layer.weight.grad)]).toEqual([[15], [[3, 3]]]);
  });

  it('and may be in a checkpointed call', async () => {
    const x = leaf([2]);
    const w = leaf([3]);
    const y = k.utils.checkpoint((a: k.Tensor) => {
      const b = a.mul(w);
      return b.mul(b);
    }, x);
    y.registerHook(() => k.enableGrad(() => k.utils.checkpoint((a: k.Tensor) => a.mul(a), w)).backward());
    y.backward();
    // y = x^2 w^2; and w^2 from within.
    expect([await values(x.grad), await values(w.grad)]).toEqual([[2 * 2 * 9], [2 * 4 * 3 + 6]]);
  });

  it('frees what it made; the gradients that hooks were shown go with their handles', async () => {
    const collected = async (): Promise<number> => {
      // Handles go with the collector, which may take a few rounds to find them.
      for (let round = 0; round < 10; round++) {
        await k.synchronize();
        (globalThis as unknown as { gc(): void }).gc();
        await new Promise((resolve) => void setImmediate(resolve));
      }
      return k.memoryStats().liveBuffers;
    };
    const x = k.ones(64, { requiresGrad: true });
    const step = (): void => {
      const y = k.tidy(() => x.mul(2).sum());
      y.registerHook(() => {
        k.tidy(() => k.enableGrad(() => x.mul(x).sum()).backward());
      });
      y.backward();
      y.dispose();
      x.grad = null;
    };
    step();
    const before = await collected();
    for (let i = 0; i < 20; i++) step();
    expect((await collected()) - before).toBeLessThanOrEqual(2);
  });
});

describe('an error thrown in a hook', () => {
  const failing = (x: k.Tensor, nested: boolean): void => {
    const y = x.mul(x);
    y.registerHook(() => {
      if (nested) k.enableGrad(() => failing(x, false));
      throw new Error('in the hook');
    });
    y.sum().backward();
  };

  it.each([false, true])('leaves modes, scopes and memory clean (nested: %s)', async (nested) => {
    const x = leaf([1, 2]);
    expect(() => failing(x, nested)).toThrow('in the hook');
    expect([k.isGradEnabled(), x.grad]).toEqual([true, null]);
    // A handle made now belongs to no scope: it is not freed behind our back, and a scope frees its own only.
    const y = x.mul(3);
    k.tidy(() => x.mul(4));
    y.sum().backward();
    expect([await values(y), await values(x.grad)]).toEqual([
      [3, 6],
      [3, 3],
    ]);
  });

  it('gives gradients that were under way back', async () => {
    const x = leaf([1, 2]);
    const y = x.mul(x);
    const z = y.sum();
    y.registerHook(() => {
      throw new Error('in the hook');
    });
    await k.synchronize();
    const before = k.memoryStats().liveBuffers;
    expect(() => z.backward()).toThrow('in the hook');
    // At most the gradient that the hook was shown, which is the hook's to keep.
    expect(k.memoryStats().liveBuffers - before).toBeLessThanOrEqual(1);
  });

  it('is no end for the graph: what has not run yet can still be used', async () => {
    const x = leaf([2]);
    const y = x.mul(x);
    const z = y.mul(3);
    const handle = z.registerHook(() => {
      throw new Error('in the hook');
    });
    expect(() => z.backward()).toThrow('in the hook');
    handle.remove();
    z.backward();
    expect(await values(x.grad)).toEqual([12]);
  });

  it('ends with an error when it never would', async () => {
    const x = leaf([2]);
    const y = x.mul(x);
    const handle = y.registerHook((grad) => y.backward(grad, { retainGraph: true }) as undefined);
    expect(() => y.backward(undefined, { retainGraph: true })).toThrow(/called within itself 100 times over/);
    handle.remove();
    x.grad = null;
    y.backward();
    expect(await values(x.grad)).toEqual([4]);
  });

  it('leaves a module hook that failed usable', async () => {
    const layer = new k.nn.Linear(2, 1, { bias: false });
    let fail = true;
    layer.registerFullBackwardHook(() => {
      if (fail) throw new Error('in the hook');
    });
    expect(() => layer(k.ones(1, 2)).sum().backward()).toThrow('in the hook');
    fail = false;
    layer.weight.grad = null;
    layer(k.ones(1, 2)).sum().backward();
    expect(await values(layer.weight.grad)).toEqual([[1, 1]]);
  });
});
