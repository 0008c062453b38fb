import { beforeAll, describe, expect, it } from 'vitest';
import * as kd from '../../src/index.js';
import { init, tensor, type Tensor } from '../../src/index.js';

/*
 * A number of the host that an integer dtype does not hold is refused where it comes in: "value cannot be
 * converted without overflow".
 */

beforeAll(() => init());

const mask = (): Tensor => tensor([true, false]);
const zeros = (dtype: 'int32' | 'uint8'): Tensor => kd.zeros(2, { dtype });

/** Every way by which a number from the host becomes an element. */
const ways: Record<string, (value: number, dtype: 'int32' | 'uint8') => Tensor> = {
  tensor: (value, dtype) => tensor([0, value], { dtype }),
  'tensor, of a typed array': (value, dtype) => tensor(Float64Array.of(0, value), { dtype }),
  full: (value, dtype) => kd.full([2], value, { dtype }),
  fullLike: (value, dtype) => kd.fullLike(zeros(dtype), value),
  where: (value, dtype) => kd.where(mask(), value, zeros(dtype)),
  maskedFill: (value, dtype) => zeros(dtype).maskedFill(mask(), value),
  maskedFill_: (value, dtype) => zeros(dtype).maskedFill_(mask(), value),
  fill_: (value, dtype) => zeros(dtype).fill_(value),
  scatter: (value, dtype) => zeros(dtype).scatter(0, tensor([1], { dtype: 'int32' }), value),
  pad: (value, dtype) => kd.pad(zeros(dtype), [0, 1], { value }),
};
const opOf = (way: string): string => way.replace(/,.*/, '');

describe.each(Object.entries(ways))('%s', (way, make) => {
  it.each([
    ['int32', 3e9],
    ['int32', 2 ** 31],
    ['int32', -(2 ** 31) - 1],
    ['uint8', 256],
    ['uint8', -1],
  ] as const)('refuses as %s the value %d', (dtype, value) => {
    expect(() => make(value, dtype)).toThrow(`${opOf(way)}: value ${value}`);
    expect(() => make(value, dtype)).toThrow(`does not fit ${dtype}`);
  });

  it.each([
    ['int32', 2 ** 31 - 1],
    ['int32', -(2 ** 31)],
    ['uint8', 255],
  ] as const)('takes as %s the value %d', async (dtype, value) => {
    expect(Array.from(await make(value, dtype).data())).toContain(value);
  });
});

describe.each(['tensor', 'full', 'fullLike', 'maskedFill', 'fill_'])('%s', (way) => {
  it.each([NaN, Infinity, -Infinity])('refuses %d as an integer', (value) => {
    expect(() => ways[way]!(value, 'int32')).toThrow(`does not fit int32`);
  });

  it('cuts fractions towards zero', async () => {
    expect(Array.from(await ways[way]!(-2.7, 'int32').data())).toContain(-2);
    expect(Array.from(await ways[way]!(255.5, 'uint8').data())).toContain(255);
  });
});

describe('sequences', () => {
  it('that leave the dtype are refused, and those up to its ends are not', async () => {
    expect(() => kd.arange(2147483640, 2147483660)).toThrow('arange: value 2147483659 does not fit int32');
    expect(() => kd.arange(-2147483648, -2147483660, -4)).toThrow('arange: value -2147483656');
    expect(() => kd.arange(250, 260, { dtype: 'uint8' })).toThrow('arange: value 259 does not fit uint8');
    expect(() => kd.linspace(0, 5e9, 3, { dtype: 'int32' })).toThrow('linspace: value 5000000000');
    expect(await kd.arange(2147483640, 2147483648, 7).toArray()).toEqual([2147483640, 2147483647]);
  });

  it('random integers that the dtype does not hold are refused', () => {
    expect(() => kd.randint(0, 1000, [4], { dtype: 'uint8' })).toThrow(
      'randint: value 999 does not fit uint8',
    );
    expect(() => kd.randint(-1, 10, [4], { dtype: 'uint8' })).toThrow('randint: value -1 does not fit uint8');
    expect(() => kd.randintLike(zeros('uint8'), 0, 257)).toThrow('value 256 does not fit uint8');
    expect(kd.randint(0, 256, [4], { dtype: 'uint8' }).dtype).toBe('uint8');
    expect(kd.randint(-(2 ** 31), 2 ** 31, [4]).dtype).toBe('int32');
  });
});

describe('fill_ and scalars of arithmetic', () => {
  it('that no int32 holds are refused, not wrapped', () => {
    expect(() => zeros('int32').fill_(3e9)).toThrow('value 3000000000');
    expect(() => zeros('int32').add(3e9)).toThrow('value 3000000000');
    expect(() => zeros('int32').eq(3e9)).toThrow('value 3000000000');
  });
});
