/** Python's `x[...]`, results whose size depends on data, and writes at indices. Expected values are PyTorch's. */
import { beforeAll, describe, expect, it } from 'vitest';
import * as kd from '../../src/index.js';
import { DataError, init, nn, tensor, type BoolTensor, type Tensor } from '../../src/index.js';

beforeAll(() => init());

const ints = (values: number[] | number[][]): Tensor => tensor(values, { dtype: 'int32' });
const bools = (values: boolean[] | boolean[][]): BoolTensor => tensor(values) as BoolTensor;
const block = (): Tensor => kd.arange(24).to('float32').reshape(2, 3, 4);
const list = async (x: Tensor): Promise<number[]> => Array.from(await x.data());
const leaf = (values: number[] | number[][]): Tensor => tensor(values, { requiresGrad: true });
/** From plain JavaScript, where types hold nobody back. */
const untyped = (x: Tensor): Record<string, (...args: unknown[]) => Tensor> => x as never;

describe('index', () => {
  const [i, j] = [(): Tensor => ints([1, 0]), (): Tensor => ints([2, -1])];

  it('leaves lists that stand beside each other in their place', async () => {
    const out = block().index([], ints([1, 0, 2]), ints([0, -1, 3]));
    expect(await out.toArray()).toEqual([
      [4, 3, 11],
      [16, 15, 23],
    ]);
  });

  it('puts lists that stand apart in front', async () => {
    expect(await block().index(i(), [], j()).toArray()).toEqual([
      [14, 18, 22],
      [3, 7, 11],
    ]);
  });

  it('takes a number, and a zero-dim tensor, before it looks where lists stand', async () => {
    const expected = [
      [2, 3],
      [6, 7],
      [10, 11],
    ];
    expect(await block().index(0, [], j()).toArray()).toEqual(expected);
    expect(
      await block()
        .index(tensor(0, { dtype: 'int32' }), [], j())
        .toArray(),
    ).toEqual(expected);
  });

  it('broadcasts lists, beside new dims and slices', () => {
    expect(block().index([], ints([[0], [2]]), ints([0, 1])).shape).toEqual([2, 2, 2]);
    expect(block().index(null, i(), '...', null).shape).toEqual([1, 2, 3, 4, 1]);
    expect(block().index([], [1], null, ints([0])).shape).toEqual([2, 2, 1, 1]);
  });

  it('takes true and false as masks of a new dim', () => {
    expect(block().index(true).shape).toEqual([1, 2, 3, 4]);
    expect(block().index(false).shape).toEqual([0, 2, 3, 4]);
    expect(block().index([], true).shape).toEqual([2, 1, 3, 4]);
  });

  it('promises what a mask picks, of one dim or several', async () => {
    const rows = await block().index([], bools([true, false, true]));
    expect(rows.shape).toEqual([2, 2, 4]);
    expect(await list(rows)).toEqual([0, 1, 2, 3, 8, 9, 10, 11, 12, 13, 14, 15, 20, 21, 22, 23]);
    const even = block().index(0).remainder(2).eq(0);
    expect(await list(await block().index(1, even))).toEqual([12, 14, 16, 18, 20, 22]);
    expect((await block().index(tensor(false) as BoolTensor)).shape).toEqual([0, 2, 3, 4]);
  });

  it('lets a mask stand beside a list', async () => {
    const together = await block().index([], bools([true, false, true]), ints([0, 3]));
    expect(await list(together)).toEqual([0, 11, 12, 23]);
    const apart = await block().index(bools([true, true]), [], ints([0, 3]));
    expect(await list(apart)).toEqual([0, 4, 8, 15, 19, 23]);
  });

  it('gives gradients to what was picked, as often as it was', async () => {
    const x = leaf([1, 2, 3]);
    x.index(ints([0, 2, 0]))
      .sum()
      .backward();
    (await x.index(bools([false, true, true]))).mul(10).sum().backward();
    expect(await list(x.grad as Tensor)).toEqual([2, 10, 11]);
  });

  it('records a promised result in the grad mode of its call', async () => {
    const x = leaf([1, 2, 3]);
    let promised: Promise<Tensor>;
    {
      using _ = kd.noGrad();
      promised = x.maskedSelect(x.gt(1));
    }
    expect((await promised).requiresGrad).toBe(false);
    expect((await x.maskedSelect(x.gt(1))).requiresGrad).toBe(true);
  });

  it('refuses what is no index, by its place', () => {
    const x = untyped(block());
    expect(() => x.index?.(0, 'all')).toThrow(
      /^index: index 1 is all, expected an integer, \[start, end, step\]/,
    );
    expect(() => x.index?.(0.5)).toThrow('index: index 0 is 0.5');
    expect(() => x.index?.([0, 1, 1, 0])).toThrow('give a tensor of int32');
    expect(() => x.index?.([[0, 1]])).toThrow('which is no slice');
    expect(() => x.index?.(kd.ones(2))).toThrow('index 0 is a tensor of float32');
    expect(() => x.index?.(tensor([1, 0], { dtype: 'uint8' }))).toThrow("use .to('bool') or .to('int32')");
    expect(() => x.index?.('...', '...')).toThrow("'...' may stand only once");
    expect(() => x.index?.(0, 0, 0, 0)).toThrow('4 indices for a tensor of shape [2, 3, 4]');
    expect(() => x.index?.(bools([true]))).toThrow(
      'a mask of shape [1] does not fit dims of shape [2] of [2, 3, 4]',
    );
    expect(() => x.index?.(ints([2]))).toThrow('index: index 2 is out of range for a dim of size 2 (0 to 1)');
  });

  it('raises an index that was computed out of range at the next await', async () => {
    const out = block().index(ints([-3]).add(0));
    await expect(out.data()).rejects.toThrow(DataError);
    expect(await list(block().index(ints([-2]).add(0), 0, 0))).toEqual([0]);
  });

  it('takes keys as Python has them under the name that Python calls', async () => {
    const x = block();
    const key = [{ start: null, stop: null, step: 2 }, [0, 2], 1];
    expect(await list((await x.__getitem__(key)) as Tensor)).toEqual([1, 9]);
    expect(((await x.__getitem__([1, 0, 1])) as Tensor).shape).toEqual([3, 3, 4]);
    expect(((await x.__getitem__([[true, false], 1])) as Tensor).shape).toEqual([1, 4]);
    expect(() => x.__getitem__({ start: 0, end: 1 } as never)).toThrow("no 'end'");
  });
});

describe('nonzero and its kin', () => {
  it('find what is not zero, NaN too, in order', async () => {
    const x = tensor([
      [0, NaN],
      [-0, 3],
    ]);
    expect(await (await x.nonzero()).toArray()).toEqual([
      [0, 1],
      [1, 1],
    ]);
    const [rows, columns] = await x.nonzero({ asTuple: true });
    expect([await list(rows as Tensor), await list(columns as Tensor)]).toEqual([
      [0, 1],
      [1, 1],
    ]);
  });

  it('agree on long lists', async () => {
    const x = kd.arange(100_000).remainder(7).eq(3);
    const at = (await x.argwhere()).reshape(-1);
    expect(at.shape).toEqual([14286]);
    expect(await at.remainder(7).eq(3).all().item()).toBe(1);
    expect(
      await at
        .index([1])
        .gt(at.index([0, -1]))
        .all()
        .item(),
    ).toBe(1);
  });

  it('refuse a result whose input was changed before it came', async () => {
    const x = kd.ones(3);
    const promised = x.maskedSelect(x.gt(0));
    x.mul_(2);
    await expect(promised).rejects.toThrow(
      'maskedSelect: mul_ changed its input before the result had come; await maskedSelect first',
    );
  });

  it('refuse masks that are none', () => {
    expect(() => kd.ones(3).maskedSelect(kd.ones(3))).toThrow('the condition must be bool, got float32');
    expect(() => untyped(kd.ones(3)).maskedSelect?.([true])).toThrow('must be a bool tensor');
    expect(() => untyped(kd.ones(3)).nonzero?.({ as_tuple: true })).toThrow("did you mean 'asTuple'?");
  });

  it('maskedScatter asks for enough elements', async () => {
    const mask = bools([true, false, true]);
    expect(await list(kd.zeros(3).maskedScatter(mask, tensor([5, 6, 7])))).toEqual([5, 0, 6]);
    await expect(
      kd
        .zeros(3)
        .maskedScatter(mask, tensor([5]))
        .data(),
    ).rejects.toThrow('maskedScatter: the mask has 2 true elements, the source only 1');
  });
});

describe('repeatInterleave by a tensor', () => {
  const repeats = (): Tensor => ints([2, 0, 1]);
  const x = (): Tensor => tensor([1, 2, 3]);

  it('promises, or takes the size that it is given', async () => {
    expect(await list(await x().repeatInterleave(repeats()))).toEqual([1, 1, 3]);
    expect(await list(x().repeatInterleave(repeats(), { outputSize: 3 }))).toEqual([1, 1, 3]);
    expect(await list(await x().repeatInterleave(ints([2]), 0))).toEqual([1, 1, 2, 2, 3, 3]);
  });

  it('raises a size that is wrong, and refuses other faults at once', async () => {
    await expect(x().repeatInterleave(repeats(), { outputSize: 4 }).data()).rejects.toThrow(
      'repeatInterleave: repeats add up to 3, outputSize is 4',
    );
    expect(() => x().repeatInterleave(ints([1, -1, 1]))).toThrow('must not be negative, got -1');
    expect(() => x().repeatInterleave(ints([1, 1]))).toThrow('expected 3 repeats in a list, or one for all');
    expect(() => x().repeatInterleave(2, { outputSize: 5 })).toThrow('outputSize is 5');
  });
});

describe('the indices of what is true, or repeated', () => {
  it('where with the condition alone promises a list per dim', async () => {
    const found = await kd.where(
      tensor([
        [1, 0],
        [0, 2],
      ]),
    );
    expect(await Promise.all(found.map(list))).toEqual([
      [0, 1],
      [0, 1],
    ]);
    expect((await kd.where(tensor(false))).map(({ shape }) => shape)).toEqual([[0]]);
    const wrong = kd.where as (...args: unknown[]) => unknown;
    expect(() => wrong(tensor([true]), 1)).toThrow('where: give two values to choose from, or none');
    expect(() => wrong(tensor([true]), 'a', 1)).toThrow('where: expected a number, got a');
  });

  it('repeatInterleave of repeats alone gives the index of each', async () => {
    expect(await list(await kd.repeatInterleave(ints([2, 0, 1])))).toEqual([0, 0, 2]);
    const sized = kd.repeatInterleave(ints([2, 0, 1]), { outputSize: 3 });
    expect([sized.dtype, ...(await list(sized))]).toEqual(['int32', 0, 0, 2]);
    expect(() => kd.repeatInterleave(ints([[2, 0, 1]]))).toThrow('repeats alone must have one dim');
    expect(() => untyped(ints([2])).repeatInterleave?.({ dim: 0 })).toThrow('give the repeats as well');
  });
});

describe('writes at indices', () => {
  it('indexPut_ writes where lists stand apart, and at numbers and slices', async () => {
    const x = block();
    x.indexPut_([ints([1, 0]), null, ints([2, -1])], tensor([-1, -2, -3]));
    expect(await list(x.index(0, [], 3))).toEqual([-1, -2, -3]);
    expect(await list(x.index(1, [], 2))).toEqual([-1, -2, -3]);
    x.indexPut_([0, [0, 2], [null, null, 2]], 7);
    expect(await list(x.index(0))).toEqual([7, 1, 7, -1, 7, 5, 7, -2, 8, 9, 10, -3]);
  });

  it('indexPut with a mask broadcasts values, or takes them one after another', async () => {
    const mask = bools([true, false, true]);
    expect(await list(tensor([1, 2, 3]).indexPut([mask], 9))).toEqual([9, 2, 9]);
    expect(await list(tensor([1, 2, 3]).indexPut([mask], tensor([8, 9]), { accumulate: true }))).toEqual([
      9, 2, 12,
    ]);
    const rows = block().indexPut([[], mask], tensor([[-1], [-2]]));
    expect(await list(rows.index(1, [], 0))).toEqual([-1, 16, -2]);
    await expect(
      kd
        .ones(3)
        .indexPut([kd.ones(3).gt(0)], tensor([1, 2]))
        .data(),
    ).rejects.toThrow('indexPut: the mask has 3 true elements, which 2 values do not fit');
    const surplus = kd.ones(3).indexPut([mask], tensor([1, 2, 3]));
    await expect(surplus.data()).rejects.toThrow('2 true elements, which 3 values do not fit');
    expect(await list(kd.zeros(3).indexPut([mask], tensor([[5]])))).toEqual([5, 0, 5]);
  });

  it('indexPut takes a zero-dim tensor as a list, whose place is in front where it stands apart', async () => {
    const values = tensor([
      [-1, -2, -3],
      [-4, -5, -6],
    ]);
    const out = block().indexPut([tensor(1, { dtype: 'int32' }), null, ints([0, 2])], values);
    expect(await out.index(1).toArray()).toEqual([
      [-1, 13, -4, 15],
      [-2, 17, -5, 19],
      [-3, 21, -6, 23],
    ]);
  });

  it('indexPut refuses what does not fit', () => {
    expect(() => kd.ones(3).indexPut([ints([0, 1])], kd.ones(3))).toThrow(
      'values of shape [3] do not broadcast to [2], which the indices pick',
    );
    expect(() => kd.ones(3).indexPut([ints([0])], ints([1]))).toThrow(
      'the tensor is float32 but the source is int32',
    );
    expect(() => kd.ones(3, 3).indexPut([bools([true, true, true]), ints([0])], 1)).toThrow('nonzero(mask');
    expect(() => untyped(kd.ones(3)).indexPut?.(ints([0]), 1)).toThrow('indices must be a list');
  });

  it('indexFill counts negative indices from the end, unlike its kin', async () => {
    const x = (): Tensor => leaf([0, 1, 2]).mul(1);
    expect(
      await list(
        x()
          .indexFill(0, ints([-1]), 5)
          .detach(),
      ),
    ).toEqual([0, 1, 5]);
    expect(
      await list(
        x()
          .indexFill(0, ints([-1]).add(0), 5)
          .detach(),
      ),
    ).toEqual([0, 1, 5]);
    const value = tensor(5, { requiresGrad: true });
    x()
      .indexFill(0, ints([-1, 0]), value)
      .sum()
      .backward();
    expect(await (value.grad as Tensor).item()).toBe(2);
    expect(() => x().indexFill(0, ints([-4]), 5)).toThrow('indexFill: index -4 is out of range');
    await expect(
      x()
        .indexFill(0, ints([-4]).add(0), 5)
        .data(),
    ).rejects.toThrow('out of range');
    expect(() => x().indexFill(0, ints([[0]]), 5)).toThrow('indexFill: index must have one dim');
    expect(() => x().indexFill(0, ints([0]), 'a' as never)).toThrow('indexFill: expected a number, got a');
    expect(() => x().indexCopy(0, ints([-1]), tensor([5]))).toThrow('indexCopy: index -1 is out of range');
    expect(() => x().indexSelect(0, ints([-1]))).toThrow('indexSelect: index -1 is out of range');
  });

  it('of several values for one place the last wins, or they add up', async () => {
    const at = ints([1, 1]);
    expect(await list(kd.ones(3).put(at, tensor([5, 6])))).toEqual([1, 6, 1]);
    expect(await list(kd.ones(3).put(at, tensor([5, 6]), true))).toEqual([1, 12, 1]);
    expect(await list(kd.ones(3).indexCopy(0, at, tensor([5, 6])))).toEqual([1, 6, 1]);
  });

  it('in-place forms go through views, for gradients too', async () => {
    const base = kd.ones(4);
    base.index([1]).indexAdd_(0, ints([0, 0]), tensor([1, 2]));
    expect(await list(base)).toEqual([1, 4, 1, 1]);
    const s = leaf([2, 3]);
    const out = kd.ones(4).mul(1);
    out.index([1]).scatter_(0, ints([0, 2]), s);
    out.mul(kd.arange(4)).sum().backward();
    expect(await list(s.grad as Tensor)).toEqual([1, 3]);
    expect(() => leaf([1, 2]).scatter_(0, ints([0]), 1)).toThrow('scatter_: a leaf that requires grad');
  });

  it('maskedFill_ takes a zero-dim tensor, and gives it a gradient', async () => {
    const value = tensor(5, { requiresGrad: true });
    const x = kd.zeros(3).maskedFill_(bools([true, false, true]), value);
    x.mul(kd.arange(3)).sum().backward();
    expect(await list(x.detach())).toEqual([5, 0, 5]);
    expect(await (value.grad as Tensor).item()).toBe(2);
    expect(() => kd.zeros(3).maskedFill_(bools([true, false, true]), kd.ones(3))).toThrow('zero-dim tensor');
  });

  it('scatter adds and multiplies', async () => {
    const at = ints([0, 0]);
    expect(await list(kd.full([2], 3.5).scatter(0, at, 2, { reduce: 'add' }))).toEqual([7.5, 3.5]);
    expect(await list(kd.full([2], 3.5).scatter(0, at, tensor([2, 2]), 'multiply'))).toEqual([14, 3.5]);
    expect(() => untyped(kd.ones(2)).scatter?.(0, at, 1, { reduce: 'max' })).toThrow("got 'max'");
  });

  it('scatterReduce keeps to integers, and leaves out what was there', async () => {
    const at = ints([0, 0, 1]);
    const start = ints([7, 1, 1]);
    const self = { includeSelf: false };
    expect(await list(start.scatterReduce(0, at, ints([3, 4, -5]), 'mean', self))).toEqual([3, -5, 1]);
    expect(await list(start.scatterReduce(0, at, ints([3, -9, -5]), 'amin', self))).toEqual([-9, -5, 1]);
    expect(() => untyped(start).scatterReduce?.(0, at, start, 'max')).toThrow("'amax', 'amin', got 'max'");
    expect(() => untyped(start).indexReduce?.(0, at, start, 'sum')).toThrow(
      "indexReduce: reduce must be 'prod'",
    );
  });

  it('scatterReduce shares the gradient of an extreme among ties', async () => {
    const [x, src] = [leaf([3, 0]), leaf([3, 3, 1])];
    x.scatterReduce(0, ints([0, 0, 0]), src, 'amax')
      .sum()
      .backward();
    expect((await list(x.grad as Tensor)).map((v) => v.toFixed(3))).toEqual(['0.333', '1.000']);
    expect((await list(src.grad as Tensor)).map((v) => v.toFixed(3))).toEqual(['0.333', '0.333', '0.000']);
  });
});

describe('asStrided', () => {
  it('is a view: writes go through', async () => {
    const x = kd.zeros(2, 3);
    x.asStrided([2], [4], 1).fill_(5);
    expect(await list(x)).toEqual([0, 5, 0, 0, 0, 5]);
  });

  it('gives elements that are seen twice both gradients, and one that is expanded its share', async () => {
    const x = leaf([1, 2, 3]);
    x.asStrided([2, 2], [1, 1]).sum().backward();
    expect(await list(x.grad as Tensor)).toEqual([1, 2, 1]);
    const e = leaf([1, 1]);
    e.expand(3, 2).asStrided([2], [1]).sum().backward();
    expect(await list(e.grad as Tensor)).toEqual([1, 1]);
  });

  it('stays in its memory', () => {
    expect(() => kd.zeros(4).asStrided([3], [2])).toThrow('reach element 4 of memory that holds 4');
    expect(() => kd.zeros(4).asStrided([2], [-1])).toThrow('all integers of 0 or more');
  });

  it('asStridedScatter gives no gradient to what it overwrites', async () => {
    const x = leaf([1, 2, 3]);
    x.asStridedScatter(kd.zeros(2), [2], [2]).sum().backward();
    expect(await list(x.grad as Tensor)).toEqual([0, 1, 0]);
  });

  it('fillDiagonal_ begins again in tall matrices', async () => {
    const x = kd.zeros(7, 3).fillDiagonal_(5, { wrap: true });
    expect(await list(x.sum(1))).toEqual([5, 5, 5, 0, 5, 5, 5]);
    expect(await list(kd.zeros(3, 2).fillDiagonal_(1).sum(0))).toEqual([1, 1]);
    expect(() => kd.zeros(2, 2, 3).fillDiagonal_(1)).toThrow('dims of one size');
  });
});

describe('narrow', () => {
  it('starts at a tensor that was uploaded', async () => {
    expect(await list(kd.arange(5).narrow(0, tensor(-2, { dtype: 'int32' }), 2))).toEqual([3, 4]);
    expect(() => kd.arange(5).narrow(0, tensor(1, { dtype: 'int32' }).add(1), 2)).toThrow(
      'await start.item()',
    );
  });
});

describe('embedding', () => {
  const table = (): number[][] => [
    [3, 4],
    [1, 0],
    [6, 8],
  ];

  it('scales rows that are looked up down to maxNorm, in place', async () => {
    const weight = tensor(table());
    const out = nn.functional.embedding(ints([0, 1, 0]), weight, { maxNorm: 2.5 });
    expect((await list(weight)).map((v) => Math.round(v * 1e4) / 1e4)).toEqual([1.5, 2, 1, 0, 6, 8]);
    expect((await list(out)).map((v) => Math.round(v * 1e4) / 1e4)).toEqual([1.5, 2, 1, 0, 1.5, 2]);
  });

  it('shares gradients by frequency', async () => {
    const weight = leaf(table());
    const options = { paddingIdx: 2, scaleGradByFreq: true };
    nn.functional
      .embedding(ints([0, 1, 0, 2]), weight, options)
      .sum()
      .backward();
    expect(await list(weight.grad as Tensor)).toEqual([1, 1, 1, 1, 0, 0]);
  });

  it('refuses rows that are none', () => {
    expect(() => nn.functional.embedding(ints([0]), tensor(table()), { paddingIdx: 3 })).toThrow(
      'paddingIdx 3',
    );
    expect(() => nn.functional.oneHot(ints([0]), 1.5)).toThrow('numClasses must be an integer');
  });
});
