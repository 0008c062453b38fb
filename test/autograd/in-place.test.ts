import { beforeAll, describe, expect, it } from 'vitest';
import * as k from '../../src/index.js';

const values = async (x: k.Tensor | null): Promise<number[]> => Array.from(await (x as k.Tensor).data());

beforeAll(() => k.init());

describe('in-place ops', () => {
  it('refuse leaves that require grad while grad mode is on', () => {
    const w = k.tensor([1], { requiresGrad: true });
    expect(() => w.add_(1)).toThrow(/leaf.*noGrad/s);
    k.noGrad(() => w.add_(1));
  });

  it('of a saved tensor make backward name the op that changed it', () => {
    const x = k.tensor([1, 2], { requiresGrad: true });
    const y = x.mul(1);
    const z = y.mul(y).sum();
    y.add_(1);
    expect(() => z.backward()).toThrow(/mul needs was changed in place by add_.*clone/s);
  });

  it('take part in the tape', async () => {
    const x = k.tensor([1, 2], { requiresGrad: true });
    const y = x.mul(1);
    y.mul_(x);
    y.sum().backward();
    expect(await values(x.grad)).toEqual([2, 4]);
  });

  it('through a view reach the base and its other views', async () => {
    const x = k.tensor(
      [
        [1, 2],
        [3, 4],
      ],
      { requiresGrad: true },
    );
    const base = x.mul(1);
    const row = base.select(0, 1);
    const column = base.select(1, 1);
    row.mul_(10);
    column.sum().backward();
    expect(await values(base)).toEqual([1, 2, 30, 40]);
    expect(await values(x.grad)).toEqual([0, 1, 0, 10]);
  });

  it('through a view of a tensor with gaps in its memory stay inside that memory', async () => {
    const gappy = k.arange(12, { dtype: 'float32' }).reshape(3, 4).narrow(1, 1, 2).detach();
    const y = k.tensor([1, 2, 3], { requiresGrad: true });
    gappy.select(1, 1).mul_(y);
    gappy.mul(gappy).sum().backward();
    expect(await values(gappy)).toEqual([1, 2, 5, 12, 9, 30]);
    expect(await values(y.grad)).toEqual([8, 144, 600]);
  });

  it('must keep the shape', () => {
    expect(() => k.zeros(1, 2).add_(k.ones(3, 2))).toThrow(/add_.*\[3, 2\].*\[1, 2\]/s);
  });

  it('must keep the dtype category', () => {
    expect(() => k.zeros([2], { dtype: 'int32' }).add_(0.5)).toThrow(/float32.*int32/s);
  });
});
