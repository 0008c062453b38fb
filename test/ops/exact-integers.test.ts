import { beforeAll, describe, expect, it } from 'vitest';
import * as kd from '../../src/index.js';
import { DataError, init, runtime, synchronize, tensor, type DType, type Tensor } from '../../src/index.js';

/*
 * Integer results are PyTorch's int64 ones where those fit int32, and an error where they do not; only
 * pointwise ops wrap.
 */

beforeAll(() => init());

const largest = 2 ** 31 - 1;
const least = -(2 ** 31);
const ints = (values: number[], shape?: number[]): Tensor =>
  tensor(Int32Array.from(values), { dtype: 'int32', ...(shape && { shape }) });

const fits = (value: bigint): boolean => BigInt.asIntN(32, value) === value;
const sumOf = (values: readonly number[]): bigint => values.reduce((a, v) => a + BigInt(v), 0n);
const prodOf = (values: readonly number[]): bigint => values.reduce((a, v) => a * BigInt(v), 1n);

/** A small generator of its own, so that every run sees the same cases (Vigna's splitmix, 32 bits). */
function generator(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x9e3779b9) | 0;
    let z = state ^ (state >>> 16);
    z = Math.imul(z, 0x21f0aaad);
    z ^= z >>> 15;
    z = Math.imul(z, 0x735a2d97);
    return ((z ^ (z >>> 15)) >>> 0) / 2 ** 32;
  };
}

/** `out` holds `expected`, or the read says that one of them does not fit. */
async function expectExact(op: string, out: Tensor, expected: readonly bigint[]): Promise<void> {
  const wrong = expected.filter((v) => !fits(v));
  const values = await out.data().catch((error: unknown) => error);
  if (wrong.length === 0) {
    expect(values).toEqual(Int32Array.from(expected, Number));
    return;
  }
  expect(values).toBeInstanceOf(DataError);
  const { message } = values as Error;
  if (op.includes('prod')) expect(message).toMatch(`${op}: the result does not fit int32`);
  else {
    const shown =
      /^(\w+): the result (-?\d+) does not fit int32 .*; convert the input with \.to\('float32'\)/.exec(
        message,
      );
    expect(shown?.[1]).toBe(op);
    expect(wrong).toContain(BigInt(shown![2]!));
  }
  await synchronize();
}

describe('sum', () => {
  it.each([
    [[largest, 1]],
    [[least, -1]],
    [[largest, 1, -1]],
    [[largest, largest, -largest]],
    [[least, least]],
    [[least, largest, 1]],
    [[least, least, largest, largest, 2]],
    [[2 ** 30, 2 ** 30, -1]],
  ])('of %j', async (values) => {
    await expectExact('sum', ints(values).sum(), [sumOf(values)]);
  });

  it('of nine million bytes of 255', async () => {
    const sum = tensor(new Uint8Array(9_000_000).fill(255)).sum();
    await expect(sum.item()).rejects.toThrow(
      'sum: the result 2295000000 does not fit int32 (-2147483648 to 2147483647); ' +
        "convert the input with .to('float32') first",
    );
  });

  it('of nine million bytes that fits', async () => {
    const bytes = new Uint8Array(9_000_000).fill(238, 0, 8_900_000);
    expect(await tensor(bytes).sum().item()).toBe(238 * 8_900_000);
  });

  it('goes past int32 on the way, in many launches worth of partial sums', async () => {
    const values = Array.from({ length: 40_000 }, (_, i) =>
      i < 20_000 ? largest - i : i - 20_000 - largest,
    );
    await expectExact('sum', ints(values).sum(), [sumOf(values)]);
    values[7] = 40_000;
    await expectExact('sum', ints(values).sum(), [sumOf(values)]);
  });

  const layouts: Record<string, (x: Tensor) => Tensor> = {
    contiguous: (x) => x,
    transposed: (x) => x.transpose(0, 2),
    permuted: (x) => x.permute(1, 2, 0),
    sliced: (x) => x.slice(2, 1, 12, 2),
    expanded: (x) => x.slice(1, 0, 1).expand([x.size(0), 5, x.size(2)]),
  };

  it.each(Object.entries(layouts))('of every dim of random values near the border, %s', async (_, lay) => {
    const random = generator(17);
    const shape = [6, 8, 12];
    for (let round = 0; round < 6; round++) {
      const values = Array.from({ length: 576 }, () =>
        Math.floor((random() * 2 - 1) * (round < 3 ? largest : 3e8)),
      );
      const x = lay(ints(values, shape));
      const host = Array.from(await x.data());
      for (const dims of [[0], [1], [2], [0, 2], [0, 1, 2]]) {
        const kept = x.shape.map((_, d) => d).filter((d) => !dims.includes(d));
        const sums = new Map<number, bigint>();
        host.forEach((value, i) => {
          const at = x.shape.map(
            (n, d) => Math.floor(i / x.shape.slice(d + 1).reduce((a, b) => a * b, 1)) % n,
          );
          const o = kept.reduce((acc, d) => acc * x.shape[d]! + at[d]!, 0);
          sums.set(o, (sums.get(o) ?? 0n) + BigInt(value));
        });
        const expected = [...sums.entries()].sort(([a], [b]) => a - b).map(([, v]) => v);
        await expectExact('sum', x.sum(dims), expected);
      }
    }
  });
});

describe('prod', () => {
  it.each([
    [[65536, 32768]],
    [[65536, -32768]],
    [[-65536, -32768]],
    [[46341, 46341]],
    [[46340, 46341]],
    [[-46341, 46340]],
    [[least, 1]],
    [[least, -1]],
    [[least, -1, 0]],
    [[largest, largest, largest, 0]],
    [[0, largest, largest]],
    [[65536, 65536]],
    [[65536, 65536, 65536, 65536]],
    [[-1, -1, -1, largest]],
    [[2, 3, 5, 7, 11, 13, 17, 19, 23]],
    [[2, 3, 5, 7, 11, 13, 17, 19, 23, 29]],
  ])('of %j', async (values) => {
    await expectExact('prod', ints(values).prod(), [prodOf(values)]);
  });

  it('of long rows and columns of ones, signs and a few factors', async () => {
    const random = generator(5);
    for (let round = 0; round < 12; round++) {
      const values = Array.from({ length: 64 * 256 }, (): number => (random() < 0.5 ? 1 : -1));
      for (let i = 0; i < 250; i++)
        values[Math.floor(random() * values.length)] = Math.floor(random() * 40) - 20 || 7;
      const [rows, columns] = [64, 256];
      const x = ints(values, [rows, columns]);
      await expectExact(
        'prod',
        x.prod(1),
        Array.from({ length: rows }, (_, r) => prodOf(values.slice(r * columns, (r + 1) * columns))),
      );
      await expectExact(
        'prod',
        x.prod(0),
        Array.from({ length: columns }, (_, c) => prodOf(values.filter((__, i) => i % columns === c))),
      );
    }
  });

  it('of bytes', async () => {
    expect(
      await tensor(Uint8Array.of(255, 255, 255))
        .prod()
        .item(),
    ).toBe(255 ** 3);
    await expectExact('prod', tensor(Uint8Array.of(255, 255, 255, 255)).prod(), [255n ** 4n]);
    expect(
      await tensor(Uint8Array.of(200, 200, 200, 200, 0))
        .prod()
        .item(),
    ).toBe(0);
  });
});

describe.each(['cumsum', 'cumprod'] as const)('%s', (op) => {
  const prefixes = (values: readonly number[]): bigint[] =>
    values.map((_, i) => (op === 'cumsum' ? sumOf : prodOf)(values.slice(0, i + 1)));

  it.each([
    [[largest, 1, -1]],
    [[largest, -1, 1]],
    [[least, 1, -2]],
    [[65536, 32767, 1, -1]],
    [[65536, -32768, 1]],
    [[65536, -32768, -1]],
    [[3, 0, largest, largest]],
  ])('of %j', async (values) => {
    await expectExact(op, ints(values)[op](0), prefixes(values));
  });

  it('of lines long enough to be cut', async () => {
    const random = generator(3);
    for (const slack of [0, 1]) {
      const values = Array.from({ length: 3000 }, () =>
        op === 'cumsum' ? Math.floor(random() * 3) : random() < 0.5 ? 1 : -1,
      );
      if (op === 'cumsum') values[0] = largest - Number(sumOf(values.slice(1))) + slack;
      else {
        values[500] = 65536;
        values[2500] = -32768 - slack;
      }
      await expectExact(op, ints(values)[op](0), prefixes(values));
      // The same along the other dim of a matrix, beside a column of ones.
      const both = values.flatMap((v) => [v, 1]);
      const want = prefixes(values).flatMap((v, i) => [v, op === 'cumsum' ? BigInt(i + 1) : 1n]);
      await expectExact(op, ints(both, [3000, 2])[op](0), want);
    }
  });
});

describe('matmul of integers', () => {
  const product = (a: number[], b: number[], m: number, k: number, n: number): bigint[] =>
    Array.from({ length: m * n }, (_, i) => {
      const [r, c] = [Math.floor(i / n), i % n];
      return (
        sumOf([]) +
        Array.from({ length: k }, (__, j) => BigInt(a[r * k + j]!) * BigInt(b[j * n + c]!)).reduce(
          (x, y) => x + y,
          0n,
        )
      );
    });

  it.each([1, 1000, 30_000, 50_000, largest])('with factors up to %i', async (most) => {
    const random = generator(most);
    const draw = (count: number): number[] =>
      Array.from({ length: count }, () => Math.round((random() * 2 - 1) * most));
    for (let round = 0; round < 4; round++) {
      const [a, b] = [draw(3 * 8), draw(8 * 4)];
      await expectExact('matmul', ints(a, [3, 8]).matmul(ints(b, [8, 4])), product(a, b, 3, 8, 4));
    }
  });

  it('cancels what is larger than int32 on the way', async () => {
    await expectExact('matmul', ints([least, least, 5]).matmul(ints([least, 1, 2])), [
      2n ** 62n - 2n ** 31n + 10n,
    ]);
    await expectExact('matmul', ints([least, largest, least]).matmul(ints([largest, largest, 1])), [
      -(2n ** 31n) * BigInt(largest) + BigInt(largest) ** 2n - 2n ** 31n,
    ]);
    expect(
      await ints([least, largest])
        .matmul(ints([largest, largest]))
        .item(),
    ).toBe(-largest);
  });

  it('of bytes does not wrap at 256', async () => {
    expect(
      await tensor(Uint8Array.of(200, 200))
        .matmul(tensor(Uint8Array.of(200, 200)))
        .item(),
    ).toBe(80_000);
  });
});

describe('results of integers are int32, as PyTorch gives int64', () => {
  it.each(['int32', 'uint8', 'bool'] as DType[])('%s', (dtype) => {
    const x = kd.ones(4, { dtype });
    for (const out of [x.sum(), x.prod(), x.cumsum(0), x.cumprod(0)]) expect(out.dtype).toBe('int32');
  });
});

describe('pointwise ops', () => {
  it('wrap, as those of PyTorch’s int32 do', async () => {
    const x = ints([65537, 46341, -2]);
    expect(await x.mul(65537).tolist()).toEqual([131073, -1257917179, -131074]);
    expect(await x.pow(2).tolist()).toEqual([131073, -2147479015, 4]);
    expect(await kd.outer(ints([2 ** 30]), ints([2, 3])).tolist()).toEqual([[least, -(2 ** 30)]]);
    expect(await kd.kron(ints([2 ** 30]), ints([4])).tolist()).toEqual([0]);
  });
});

describe('powers of integers', () => {
  const [i, u] = [(): Tensor => ints([-2, -1, 0, 1, 2, 3]), () => tensor([0, 1, 2, 3], { dtype: 'uint8' })];
  const refusal = /^pow_?: integers to negative integer powers are not allowed/;

  it('refuse a negative number as exponent', () => {
    expect(() => i().pow(-1)).toThrow(refusal);
    expect(() => i().pow_(-2)).toThrow(refusal);
    expect(() => i().pow({ exponent: -1 })).toThrow(refusal);
    expect(() => u().pow(-1)).toThrow(refusal);
    expect(() => i().gt(0).pow(-1)).toThrow(refusal);
    expect(() => ints([]).pow(-1)).toThrow(refusal);
  });

  it('take negative ones in a tensor, cut towards zero', async () => {
    expect(
      await i()
        .pow(ints([-2, -3, -1, -1, -1, -2]))
        .toArray(),
    ).toEqual([0, -1, 0, 1, 0, 0]);
    expect(
      await i()
        .pow(ints([-1], []))
        .toArray(),
    ).toEqual([0, -1, 0, 1, 0, 0]);
    expect(
      await u()
        .pow_(ints([-1, -1, -1, -1]))
        .toArray(),
    ).toEqual([0, 1, 0, 0]);
    expect(await ints([2, 2, 2, 2, 2, 2]).pow(i()).toArray()).toEqual([0, 0, 1, 2, 4, 8]);
    expect(await ints([-1], []).pow(i()).toArray()).toEqual([1, -1, 1, -1, 1, -1]);
  });

  it('of bytes are bytes', async () => {
    expect(await u().pow(6).toArray()).toEqual([0, 1, 64, 217]);
    expect(await tensor([3, 3, 3, 3], { dtype: 'uint8' }).pow(u()).toArray()).toEqual([1, 3, 9, 27]);
    expect(await u().pow_(u()).toArray()).toEqual([1, 1, 4, 27]);
  });

  it('of bools by bools are refused', () => {
    expect(() => i().gt(0).pow(i().gt(0))).toThrow(/^pow: bool to bool/);
  });

  it('may be floats: floatPower', async () => {
    expect(await i().floatPower(-1).toArray()).toEqual([-0.5, -1, Infinity, 1, 0.5, Math.fround(1 / 3)]);
  });
});

describe('launches', () => {
  it('are as many as those of floats', async () => {
    const count = async (fn: () => unknown): Promise<Record<string, number>> => {
      await synchronize();
      runtime().resetOpCounts();
      fn();
      return Object.fromEntries(runtime().opCounts());
    };
    const [i, f] = [kd.ones(300, 300, { dtype: 'int32' }), kd.ones(300, 300)];
    for (const call of [
      (x: Tensor) => x.sum(),
      (x: Tensor) => x.sum(0),
      (x: Tensor) => x.prod(1),
      (x: Tensor) => x.cumsum(0),
      (x: Tensor) => x.reshape([-1]).cumprod(0),
    ]) {
      expect(await count(() => call(i))).toEqual(await count(() => call(f)));
    }
  });
});
