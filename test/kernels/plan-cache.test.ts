import { describe, expect, it } from 'vitest';
import type { DType } from '../../src/kernels/base/dtype.js';
import type { Target } from '../../src/kernels/base/kernel.js';
import { PlanCache, planKey, problemKey, type PlanKey } from '../../src/kernels/base/plan-cache.js';

interface Layout {
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly strides: readonly number[];
  readonly offset: number;
}

const target: Target = {
  kind: 'gpu',
  subgroupSize: 0,
  f16: false,
  maxInvocations: 256,
  maxWorkgroupStorage: 16384,
  maxStorageBuffers: 10,
};
const plain: Layout = { dtype: 'float32', shape: [2, 3], strides: [3, 1], offset: 0 };
const keyOf = (name: string, inputs: readonly Layout[], out: Layout): PlanKey =>
  planKey(target, {}).text(name).layouts(inputs).layout(out);

describe('PlanCache', () => {
  it('makes a plan once for layouts that are equal, not the same objects', () => {
    const cache = new PlanCache<object>();
    const first = cache.get(keyOf('op', [plain], plain), () => ({}));
    const copy = { ...plain, shape: [2, 3], strides: [3, 1] };
    expect(cache.get(keyOf('op', [copy], { ...plain }), () => ({}))).toBe(first);
  });

  it.each<[string, string, Layout[], Layout]>([
    ['a name', 'other', [plain], plain],
    ['a shape', 'op', [{ ...plain, shape: [3, 2] }], plain],
    ['strides', 'op', [{ ...plain, strides: [1, 2] }], plain],
    ['an offset', 'op', [{ ...plain, offset: 4 }], plain],
    ['a dtype', 'op', [{ ...plain, dtype: 'int32' }], plain],
    ['the result', 'op', [plain], { ...plain, offset: 2 ** 33 }],
    ['the number of inputs', 'op', [plain, plain], plain],
    ['the rank', 'op', [{ ...plain, shape: [2, 3, 1], strides: [3, 1, 1] }], plain],
  ])('tells %s apart', (_what, name, inputs, out) => {
    const cache = new PlanCache<string>();
    cache.get(keyOf('op', [plain], plain), () => 'plain');
    expect(cache.get(keyOf(name, inputs, out), () => 'other')).toBe('other');
    expect(cache.get(keyOf('op', [plain], plain), () => 'new')).toBe('plain');
  });

  it('tells adapters and their limits apart', () => {
    const cache = new PlanCache<string>();
    const get = (on: Target, maxBinding: number, made: string): string =>
      cache.get(planKey(on, { maxBinding }).text('op'), () => made);
    expect(get(target, 256, 'first')).toBe('first');
    expect(get(target, 512, 'larger bindings')).toBe('larger bindings');
    expect(get({ ...target, f16: true }, 256, 'f16')).toBe('f16');
    expect(get(target, 256, 'again')).toBe('first');
  });

  it('tells problems apart by every value, an epilogue by its parts', () => {
    const cache = new PlanCache<string>();
    const get = (problem: object, made: string): string =>
      cache.get(problemKey(target, {}, problem), () => made);
    expect(get({ m: 1, elem: 'f32' }, 'first')).toBe('first');
    expect(get({ m: 1, elem: 'f16' }, 'f16')).toBe('f16');
    expect(get({ m: 1, elem: 'f32', epilogue: { bias: true } }, 'bias')).toBe('bias');
    expect(get({ m: 1, elem: 'f32', epilogue: { activation: 'relu' } }, 'relu')).toBe('relu');
    expect(get({ m: 1, elem: 'f32', accumulate: undefined }, 'again')).toBe('first');
  });

  it('keeps layouts apart whose numbers differ past 32 bits', () => {
    const cache = new PlanCache<number>();
    const at = (offset: number): number => cache.get(keyOf('op', [], { ...plain, offset }), () => offset);
    expect([at(0), at(2 ** 32), at(2 ** 33), at(0)]).toEqual([0, 2 ** 32, 2 ** 33, 0]);
  });

  it('keeps a key whole while its plan asks for others', () => {
    const inner = new PlanCache<string>();
    const outer = new PlanCache<string>();
    const get = (made: string): string =>
      outer.get(keyOf('outer', [plain], plain), () => made + inner.get(keyOf('inner', [], plain), () => '!'));
    expect(get('made')).toBe('made!');
    expect(get('again')).toBe('made!');
  });
});
