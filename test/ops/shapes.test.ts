import { beforeAll, expect, test } from 'vitest';
import * as k from '../../src/index.js';
import { arange, init, rand, tensor, type Tensor } from '../../src/index.js';

beforeAll(() => init());

const values = (x: Tensor): Promise<unknown> => x.toArray();

test('splits, diagonals and transposes are views that may be written in place', async () => {
  const x = arange(9).float().reshape(3, 3);
  x.tensorSplit(2, 1)[1]?.zero_();
  x.diagonal().fill_(7);
  x.T.select(0, 0).mul_(10);
  expect(await values(x)).toEqual([
    [70, 1, 0],
    [30, 7, 0],
    [60, 7, 7],
  ]);
});

test('a write through a part of tensorSplit is recorded, through one of split it is refused', async () => {
  const x = rand(4).requiresGrad_();
  const y = x.mul(1);
  y.tensorSplit(2)[0]?.mul_(3);
  y.sum().backward();
  expect(await values(x.grad as Tensor)).toEqual([3, 3, 1, 1]);
  expect(() => x.mul(1).split(2)[0]?.mul_(3)).toThrow('several views at once');
});

test('movedim of several dims, by PyTorch’s names for it too', () => {
  const x = rand(2, 3, 4, 5);
  expect(x.movedim([0, 1], [-1, 0]).shape).toEqual([3, 4, 5, 2]);
  expect(x.moveaxis(3, 0).shape).toEqual(x.swapaxes(0, 3).swapdims(1, 3).swapdims(2, 3).shape);
  expect(() => x.movedim([0, 0], [1, 2])).toThrow('as many different dims');
});

test('parts that are no numbers are refused by name', () => {
  const x = rand(4, 4);
  const wrong = k as unknown as Record<string, (...args: unknown[]) => unknown>;
  expect(() => wrong['split']?.(x, 'a')).toThrow('split: sizes must be an array of integers');
  expect(() => wrong['hsplit']?.(x, tensor(2))).toThrow('hsplit: expected a number of parts or an array');
});

test('a tensor of indices is read first', async () => {
  const parts = await rand(5).tensorSplit(tensor([1, 3], { dtype: 'int32' }));
  expect(parts.map((part) => part.shape)).toEqual([[1], [2], [2]]);
});

test('int64 and float64 are held as int32 and float32, and what does not fit is an error', () => {
  expect(tensor([1, 2], { dtype: 'int64' }).dtype).toBe('int32');
  expect(tensor(BigInt64Array.of(1n, 2n)).dtype).toBe('int32');
  expect(rand(2, { dtype: 'double' }).long().dtype).toBe('int32');
  expect(rand(2).to('half').to(rand(1)).dtype).toBe('float32');
  expect(() => tensor([2 ** 31], { dtype: 'long' })).toThrow('does not fit int32');
  expect(() => tensor(BigInt64Array.of(2n ** 40n))).toThrow('does not fit int32');
  expect(() => tensor([1e300], { dtype: 'float64' })).toThrow('does not fit float32');
  expect(() => k.zeros(2, { dtype: 'int16' as k.DType })).toThrow("'int16' is not a dtype");
});

test('what is asked of dtypes', () => {
  expect(k.finfo('float16')).toMatchObject({ bits: 16, eps: 2 ** -10, max: 65504, tiny: 2 ** -14 });
  expect(k.finfo()).toMatchObject({ eps: 2 ** -23, max: 3.4028234663852886e38, tiny: 2 ** -126 });
  expect(k.iinfo('int64')).toMatchObject({ bits: 32, max: 2147483647 });
  expect(k.canCast('float32', 'int32')).toBe(false);
  expect(k.promoteTypes('uint8', 'half')).toBe('float16');
  expect(() => {
    k.setDefaultDtype('float16');
  }).toThrow('the default is float32');
});

test('beta 0 leaves out what is added to, NaN too', async () => {
  const [a, b] = [tensor([[1, 2]]), tensor([[3], [4]])];
  expect(await values(tensor([[NaN]]).addmm(a, b, { beta: 0 }))).toEqual([[11]]);
  expect(() => rand(3, 1).addmm(a, b)).toThrow('does not broadcast');
  expect(await values(tensor([[1]]).addmm_(a, b, { alpha: 2 }))).toEqual([[23]]);
});

test('in-place draws lie where they should', async () => {
  const x = k.zeros(4096);
  const within = async (low: number, high: number): Promise<void> => {
    const all = await x.data();
    expect(Math.min(...all)).toBeGreaterThanOrEqual(low);
    expect(Math.max(...all)).toBeLessThanOrEqual(high);
    expect(new Set(all).size).toBeGreaterThan(3);
  };
  x.random_(3, 9);
  await within(3, 8);
  x.geometric_(0.5);
  await within(1, 40);
  x.logNormal_();
  await within(0, Infinity);
  x.cauchy_();
  const inside = (await x.data()).filter((value) => Math.abs(value) < 1).length;
  expect(inside / 4096).toBeCloseTo(0.5, 1);
});

test('Tensor.prototype can be listed', () => {
  expect((k.Tensor.prototype as Partial<Tensor>).T).toBeUndefined();
  expect(() => rand(2, 2, 2).H).toThrow('use mH');
  expect(() => rand(2).mT).toThrow('expected a matrix');
});

// What `flatten` and `reshape` can give as a view depends on it. Strides are PyTorch 1.13's.
const t = (...shape: number[]): Tensor => k.zeros(shape);
test.each<[string, () => Tensor, number[]]>([
  ['a matrix and its windows', () => t(3, 3).add(t(3, 3).unfold(0, 3, 2)), [9, 3, 1]],
  [
    'a transposed one that is broadcast, first',
    () =>
      t(3, 3)
        .t()
        .add(t(2, 3, 3)),
    [9, 1, 3],
  ],
  ['the same, second', () => t(2, 3, 3).add(t(3, 3).t()), [9, 3, 1]],
  ['an expanded one says nothing of its dim', () => t(1, 3).expand(4, 3).add(t(3, 4).t()), [1, 4]],
  ['nor a row', () => t(1, 4).mul(t(4, 3).t()), [1, 3]],
  ['one with gaps', () => t(4, 6).slice(1, 0, 6, 2).t().add(1), [1, 3]],
  ['permuted', () => t(2, 3, 4).permute(2, 0, 1).mul(t(3)), [1, 12, 4]],
  ['several', () => t(4, 1, 3).permute(2, 1, 0).add(t(2, 4)), [1, 3, 6]],
  ['a condition', () => k.where(k.zeros(3, 3, { dtype: 'bool' }).t(), t(2, 3, 3), t(3)), [9, 1, 3]],
])('the memory order is that of the first operand that tells two dims apart: %s', (_, op, strides) => {
  expect(op().strides).toEqual(strides);
});
