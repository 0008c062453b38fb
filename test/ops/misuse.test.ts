/** What plain JavaScript may do: the error says which op it was. */
import { beforeAll, expect, it } from 'vitest';
import * as k from '../../src/index.js';

beforeAll(() => k.init());

type Call = (...args: unknown[]) => unknown;
const calls = k as unknown as Record<string, Call>;
const linalg = k.linalg as unknown as Record<string, Call>;
const message = (fn: () => unknown): string => {
  try {
    fn();
  } catch (error) {
    expect(error).not.toBeInstanceOf(TypeError);
    return (error as Error).message;
  }
  return 'no error';
};

const binary =
  'mm mv dot outer inner kron matmul tensordot vdot bmm addmm baddbmm cross viewAs reshapeAs ' +
  'expandAs isSameSize isin take put indexSelect maskedFill where cat stack crossEntropy nllLoss ' +
  'cosineSimilarity scaledDotProductAttention layerNorm linear bilinear pad gridSample';

it.each(binary.split(' '))('%s names itself when its second argument is no tensor', (name) => {
  for (const wrong of ['a', null, {}])
    expect(message(() => calls[name]?.(k.ones(2, 2), wrong, wrong))).toMatch(/^[a-zA-Z_.]+: /);
});

it.each('add eq atan2 copy_ lerp pow clamp_ addcmul'.split(' '))(
  '%s names itself without its operands',
  (name) => {
    const x = k.ones(2, 2) as unknown as Record<string, Call>;
    expect(message(() => x[name]?.())).toMatch(new RegExp(`^${name}: `));
  },
);

it.each('frexp where contiguous reshape view sin_ add_ fill_ cumsum_ tensorSplit linear'.split(' '))(
  '%s names itself without its first tensor',
  (name) => {
    expect(message(() => calls[name]?.())).toMatch(new RegExp(`^${name}: `));
    expect(message(() => calls[name]?.())).not.toContain('Cannot read');
  },
);

it('takes by name what PyTorch names', async () => {
  const x = k.tensor([1, 2, 3]);
  expect(await x.pow({ exponent: 2 }).toArray()).toEqual([1, 4, 9]);
  expect(await k.lerp(x, k.ones(3), { weight: 1 }).toArray()).toEqual([1, 1, 1]);
  expect(await x.lerp({ end: k.ones(3), weight: 0 }).toArray()).toEqual([1, 2, 3]);
  expect(x.tensorSplit({ sections: 2 }).map(({ shape }) => shape[0])).toEqual([2, 1]);
  expect(x.tensorSplit({ indices: [1], dim: 0 }).map(({ shape }) => shape[0])).toEqual([1, 2]);
  expect(await x.pow_({ exponent: 2 }).toArray()).toEqual([1, 4, 9]);
  expect(message(() => calls['pow']?.(x, { power: 2 }))).toContain("pow: there is no option 'power'");
  expect(message(() => calls['pow']?.(x, 2, {}))).toContain('pow: takes 2 arguments');
});

it('refuses what a tensor tells without arguments, and formats that there are not', () => {
  const x = k.ones(2, 2) as unknown as Record<string, Call>;
  expect(message(() => x['numel']?.(1))).toMatch(/^numel: takes 1 argument /);
  expect(message(() => x['dim']?.(3))).toMatch(/^dim: takes 1 argument /);
  expect(message(() => x['contiguous']?.({ memoryFormat: 1 }))).toMatch(/^contiguous: memory format must/);
});

it('says what was given', () => {
  const x = k.ones(2, 2);
  expect(message(() => calls['kron']?.(x, 3))).toBe('kron: expected a tensor, got 3');
  expect(message(() => calls['inner']?.(x, 2))).toBe('inner: expected a tensor, got 2');
  expect(message(() => calls['outer']?.(x, 2))).toBe('outer: expected a tensor, got 2');
  expect(message(() => linalg['luSolve']?.(x, 2, x))).toContain('linalg.luSolve: expected a tensor, got 2');
  expect(message(() => calls['luUnpack']?.(x))).toBe('luUnpack: expected a tensor, got undefined');
  expect(message(() => calls['rot90']?.(x, 'a'))).toBe('rot90: k must be an integer, got a');
  expect(message(() => calls['cat']?.(x))).toContain('cat: ');
  expect(message(() => calls['batchNorm']?.(x))).toBe('batchNorm: expected a tensor, got undefined');
  expect(message(() => calls['squeeze']?.(x, 'a'))).toContain('squeeze: dim a is out of range');
});

it('keeps what the engine said', () => {
  try {
    calls['linear']?.(k.ones(2, 2));
  } catch (error) {
    expect((error as Error).message).toContain('linear: wrong argument: got tensor(shape=[2, 2], ');
    expect((error as Error).cause).toBeInstanceOf(TypeError);
  }
});

it('is no number, so that it is neither compared nor added by mistake', () => {
  const x = k.ones(1) as unknown as number;
  expect(() => x > 0).toThrow('await x.item()');
  expect(() => x + 1).toThrow('await x.item()');
  expect(String(x)).toContain('tensor(shape=[1]');
  expect(`${x}`).toContain('dtype=float32');
});

it.each('zeros ones empty rand randn'.split(' '))('%s refuses what follows the sizes', (name) => {
  for (const surplus of ['int32', [4], 5])
    expect(message(() => calls[name]?.([2], surplus))).toMatch(`${name}: [2, `);
});

it('mvlgamma and repeatInterleave say what is missing', () => {
  expect(message(() => calls['mvlgamma']?.(k.ones(1)))).toContain("'p' is missing");
  expect(message(() => calls['repeatInterleave']?.({ repeats: k.ones(1) }))).toMatch(/^repeatInterleave: /);
});
