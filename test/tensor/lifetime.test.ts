import { beforeAll, describe, expect, it } from 'vitest';
import * as k from '../../src/index.js';

beforeAll(() => k.init());

describe('tidy', () => {
  it('frees what it made, except what it returns and what was kept', () => {
    let inner: k.Tensor | undefined;
    let kept: k.Tensor | undefined;
    const out = k.tidy(() => {
      inner = k.ones(4);
      kept = k.ones(4).keep();
      return { nested: [inner.mul(2)] };
    });
    expect([inner?.isDisposed, kept?.isDisposed, out.nested[0]?.isDisposed]).toEqual([true, false, false]);
  });

  it('frees everything when the callback throws', () => {
    let inner: k.Tensor | undefined;
    expect(() =>
      k.tidy(() => {
        inner = k.ones(4);
        throw new Error('inside');
      }),
    ).toThrow('inside');
    expect(inner?.isDisposed).toBe(true);
  });

  it('refuses async callbacks', () => {
    expect(() => k.tidy(async () => k.ones(1))).toThrow(/must not be async/);
  });
});

describe('a freed tensor', () => {
  it('says who freed it and how to keep it', () => {
    const x = k.ones(2, 3);
    x.dispose();
    expect(() => x.add(1)).toThrow(/shape \[2, 3\] was freed by dispose\(\).*keep\(\)/s);
  });

  it('leaves views of its memory usable', async () => {
    const x = k.tensor([1, 2, 3, 4]);
    const view = x.reshape(2, 2);
    x.dispose();
    expect(await view.toArray()).toEqual([
      [1, 2],
      [3, 4],
    ]);
  });

  it('may still be needed by the tape, which holds the memory itself', async () => {
    const x = k.tensor([1, 2], { requiresGrad: true });
    const y = x.mul(3);
    const z = y.mul(y).sum();
    y.dispose();
    z.backward();
    expect(await x.grad?.toArray()).toEqual([18, 36]);
  });
});

describe('memory', () => {
  it('goes back to the pool and is used again', () => {
    const first = k.zeros(1000);
    first.dispose();
    const before = k.memoryStats();
    k.zeros(1000).dispose();
    const after = k.memoryStats();
    expect([after.liveBytes, after.reservedBytes]).toEqual([before.liveBytes, before.reservedBytes]);
  });

  it('of a dropped graph is returned by the garbage collector', async () => {
    const live = (): number => k.memoryStats().liveBytes;
    const w = k.ones(1 << 18).requiresGrad_();
    const start = live();
    (() => void w.mul(2).exp().sum())();
    expect(live()).toBeGreaterThan(start + 2 ** 20 - 1);
    for (let i = 0; i < 20 && live() > start; i++) {
      (globalThis as { gc?: () => void }).gc?.();
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    expect(live()).toBeLessThanOrEqual(start);
  });
});
