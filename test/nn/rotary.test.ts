import { beforeAll, describe, expect, it } from 'vitest';
import { arange, init, nn, noGrad, runtime, tensor, type Tensor } from '../../src/index.js';
import { uniform } from '../models/fill.js';

beforeAll(() => init());

const filled = (key: string, ...shape: number[]): Tensor => tensor(uniform(key, shape), { shape });

/** The paper's formula, one feature after the other, in double precision. */
function turned(x: ArrayLike<number>, shape: readonly number[], positions: (n: number, s: number) => number) {
  const [, length, heads, dim] = shape as [number, number, number, number];
  return Array.from(x, (value, at) => {
    const i = at % dim;
    const s = Math.floor(at / (dim * heads)) % length;
    const angle = positions(Math.floor(at / (dim * heads * length)), s) * 10_000 ** ((-2 * (i >> 1)) / dim);
    const other = x[at ^ 1] as number;
    return value * Math.cos(angle) + (i % 2 === 0 ? -other : other) * Math.sin(angle);
  });
}

function expectClose(got: ArrayLike<number>, want: readonly number[]): void {
  want.forEach((value, i) => expect(got[i]).toBeCloseTo(value, 6));
}

describe('nn.RotaryPositionalEmbeddings', () => {
  it('turns pairs of features by the angle of their position', async () => {
    const x = filled('x', 2, 5, 3, 8);
    const y = new nn.RotaryPositionalEmbeddings(8)(x);
    expectClose(
      await y.data(),
      turned(await x.data(), x.shape, (_, s) => s),
    );
  });

  it('takes positions, one row for all samples or one each', async () => {
    const rope = new nn.RotaryPositionalEmbeddings({ dim: 4, maxSeqLen: 2000 });
    const x = filled('x', 2, 3, 1, 4);
    const [far, own] = [
      [1999, 7, 0],
      [
        [5, 6, 7],
        [0, 1500, 2],
      ],
    ] as const;
    const row = rope(x, { inputPos: tensor([...far], { dtype: 'int32' }) });
    expectClose(
      await row.data(),
      turned(await x.data(), x.shape, (_, s) => far[s] as number),
    );
    const each = rope(x, {
      inputPos: tensor(
        own.map((positions) => [...positions]),
        { dtype: 'int32' },
      ),
    });
    expectClose(
      await each.data(),
      turned(await x.data(), x.shape, (n, s) => own[n]?.[s] as number),
    );
  });

  it('leaves products of queries and keys that are equally far apart the same', async () => {
    const rope = new nn.RotaryPositionalEmbeddings(16);
    const query = filled('query', 1, 1, 1, 16).expand(1, 9, 1, 16);
    const key = filled('key', 1, 1, 1, 16).expand(1, 9, 1, 16);
    const products = rope(query)
      .narrow(1, 3, 6)
      .mul(rope(key).narrow(1, 0, 6))
      .sum(3);
    const values = await products.data();
    for (const value of values) expect(value).toBeCloseTo(values[0] as number, 5);
  });

  it('has no parameters and nothing in its state dict', () => {
    const rope = new nn.RotaryPositionalEmbeddings(4, 16);
    expect(rope.parameters()).toEqual([]);
    expect([...rope.stateDict().keys()]).toEqual([]);
    expect(String(rope)).toBe('RotaryPositionalEmbeddings(dim=4, max_seq_len=16, base=10000.0)');
  });

  it('refuses what it cannot turn', () => {
    expect(() => new nn.RotaryPositionalEmbeddings(5)).toThrow('dim must be even');
    const rope = new nn.RotaryPositionalEmbeddings(4, 16);
    expect(() => rope(filled('x', 1, 17, 1, 4))).toThrow('a sequence of 17 is longer than maxSeqLen, 16');
    const x = filled('x', 1, 3, 1, 4);
    const positions = tensor([5, 6, 7], { dtype: 'int32' });
    expect(() => rope(x, { input_pos: positions } as never)).toThrow("did you mean 'inputPos'");
    expect(() => rope(x, positions as never)).toThrow('RotaryPositionalEmbeddings');
    expect(() => rope(filled('x', 17, 4))).toThrow('expected [N, S, heads, 4], got [17, 4]');
  });
});

describe('rotaryEmbedding', () => {
  const { rotaryEmbedding } = nn.functional;

  it('is one launch forward and one backward', () => {
    const x = filled('x', 2, 3, 5, 8).keep();
    x.requiresGrad = true;
    const angles = arange(20).reshape(5, 4);
    const [cos, sin] = [angles.cos(), angles.sin()];
    const ones = filled('g', 2, 3, 5, 8);
    runtime().resetOpCounts();
    rotaryEmbedding(x, cos, sin).backward(ones);
    const count = [...runtime().opCounts().values()].reduce((a, b) => a + b, 0);
    expect(count).toBe(2);
  });

  it('keeps the dtype of half precision beside angles in float32', async () => {
    const [x, angles] = [filled('x', 3, 4), arange(6).reshape(3, 2)];
    const full = await rotaryEmbedding(x, angles.cos(), angles.sin()).data();
    const half = rotaryEmbedding(x.half(), angles.cos(), angles.sin());
    expect(half.dtype).toBe('float16');
    (await half.float().data()).forEach((value, i) => expect(value).toBeCloseTo(full[i] as number, 2));
  });

  it('names the shapes that do not fit', () => {
    const x = filled('x', 3, 4);
    expect(() => rotaryEmbedding(x, filled('c', 2, 2), filled('s', 2, 2))).toThrow(
      'rotaryEmbedding: cos [2, 2] and sin [2, 2] must broadcast to [..., S, n / 2]',
    );
    expect(() => noGrad(() => rotaryEmbedding(x, filled('c', 3, 3), filled('s', 3, 3)))).toThrow(
      'n at most D',
    );
    expect(() => rotaryEmbedding(x.int(), filled('c', 3, 2), filled('s', 3, 2))).toThrow(
      'x must hold floats, got int32',
    );
  });
});
