import { beforeAll, describe, expect, it } from 'vitest';
import * as k from '../../src/index.js';

beforeAll(() => k.init());

describe('noGrad', () => {
  it('records nothing inside a callback and restores the mode after it', () => {
    const x = k.tensor([1], { requiresGrad: true });
    expect(k.noGrad(() => x.mul(2)).requiresGrad).toBe(false);
    expect(x.mul(2).requiresGrad).toBe(true);
  });

  it('lasts until an async callback has settled', async () => {
    const x = k.tensor([1], { requiresGrad: true });
    const inside = await k.noGrad(async () => {
      await x.item();
      return x.mul(2).requiresGrad;
    });
    expect([inside, k.isGradEnabled()]).toEqual([false, true]);
  });

  it('restores the mode when the callback throws', () => {
    expect(() =>
      k.noGrad(() => {
        throw new Error('inside');
      }),
    ).toThrow('inside');
    expect(k.isGradEnabled()).toBe(true);
  });

  it('is a guard for `using`', () => {
    const guard = k.noGrad();
    expect(k.isGradEnabled()).toBe(false);
    guard[Symbol.dispose]();
    expect(k.isGradEnabled()).toBe(true);
  });

  it('can be lifted by enableGrad', () => {
    expect(k.noGrad(() => k.enableGrad(() => k.isGradEnabled()))).toBe(true);
  });
});

describe('inferenceMode', () => {
  it('makes tensors that autograd refuses to save', () => {
    const made = k.inferenceMode(() => k.tensor([1, 2]).mul(2));
    const w = k.tensor([1, 2], { requiresGrad: true });
    expect(() => w.mul(made)).toThrow(/inferenceMode.*clone/s);
  });
});
