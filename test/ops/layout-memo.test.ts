import { describe, expect, it } from 'vitest';
import { LayoutMemo } from '../../src/ops/layout-memo.js';
import type { DType } from '../../src/tensor/dtype.js';

interface Layout {
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly strides: readonly number[];
  readonly offset: number;
}

const plain: Layout = { dtype: 'float32', shape: [2, 3], strides: [3, 1], offset: 0 };

describe('LayoutMemo', () => {
  it('makes a value once for layouts that are equal, not the same objects', () => {
    const memo = new LayoutMemo<object>();
    const first = memo.get(0, [plain], plain, () => ({}));
    const again = memo.get(0, [{ ...plain, shape: [2, 3], strides: [3, 1] }], { ...plain }, () => ({}));
    expect(again).toBe(first);
  });

  it.each<[string, number, Layout[], Layout]>([
    ['flags', 1, [plain], plain],
    ['a shape', 0, [{ ...plain, shape: [3, 2] }], plain],
    ['strides', 0, [{ ...plain, strides: [1, 2] }], plain],
    ['an offset', 0, [{ ...plain, offset: 4 }], plain],
    ['a dtype', 0, [{ ...plain, dtype: 'int32' }], plain],
    ['the result', 0, [plain], { ...plain, offset: 2 ** 33 }],
    ['the number of inputs', 0, [plain, plain], plain],
    ['the rank', 0, [{ ...plain, shape: [2, 3, 1], strides: [3, 1, 1] }], plain],
  ])('tells %s apart', (_what, flags, inputs, out) => {
    const memo = new LayoutMemo<string>();
    memo.get(0, [plain], plain, () => 'plain');
    expect(memo.get(flags, inputs, out, () => 'other')).toBe('other');
    expect(memo.get(0, [plain], plain, () => 'new')).toBe('plain');
  });

  it('keeps layouts apart whose numbers differ past 32 bits', () => {
    const memo = new LayoutMemo<number>();
    const at = (offset: number): number => memo.get(0, [], { ...plain, offset }, () => offset);
    expect([at(0), at(2 ** 32), at(2 ** 33), at(0)]).toEqual([0, 2 ** 32, 2 ** 33, 0]);
  });
});
