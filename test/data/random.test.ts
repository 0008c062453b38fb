import { describe, expect, it } from 'vitest';
import { Random } from '../../src/data/random.js';
import { philox } from '../../src/kernels/random/philox.js';

const block = (counter: number[], key: [number, number]): string[] => {
  const out = new Uint32Array(4);
  philox(counter, key, out);
  return [...out].map((word) => word.toString(16).padStart(8, '0'));
};

describe('Random', () => {
  it("gives Philox4x32-10's published test vectors (Random123, kat_vectors)", () => {
    expect(block([0, 0, 0, 0], [0, 0])).toEqual(['6627e8d5', 'e169c58d', 'bc57ac4c', '9b00dbd8']);
    const ones = 0xffffffff;
    expect(block([ones, ones, ones, ones], [ones, ones])).toEqual([
      '408f276d',
      '41c83b0e',
      'a20bc7c6',
      '6d5451fd',
    ]);
    const digitsOfPi = [0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344];
    expect(block(digitsOfPi, [0xa4093822, 0x299f31d0])).toEqual([
      'd16cfe09',
      '94fdcceb',
      '5001e420',
      '24126ea1',
    ]);
  });

  it('gives the same numbers for the same seed and stream, and others for any other', () => {
    const first = (random: Random) => [random.uint32(), random.uint32()];
    expect(first(new Random(7, 1, 2))).toEqual(first(new Random(7, 1, 2)));
    expect(first(new Random(7, 1, 2))).not.toEqual(first(new Random(7, 1, 3)));
    expect(first(new Random(7, 1, 2))).not.toEqual(first(new Random(8, 1, 2)));
    expect(first(new Random(2 ** 32 + 7))).not.toEqual(first(new Random(7)));
  });

  it('spreads integers evenly and stays in range', () => {
    const random = new Random(3);
    const counts = new Array<number>(7).fill(0);
    for (let i = 0; i < 14_000; i++) counts[random.integer(7)]!++;
    for (const count of counts) expect(Math.abs(count - 2000)).toBeLessThan(200);
    for (let i = 0; i < 1000; i++) {
      const value = random.uniform(-2, 5);
      expect(value).toBeGreaterThanOrEqual(-2);
      expect(value).toBeLessThan(5);
    }
  });

  it('permutes: every index once, in another order', () => {
    const order = [...new Random(1).permutation(100)];
    expect([...order].sort((a, b) => a - b)).toEqual(Array.from({ length: 100 }, (_, i) => i));
    expect(order).not.toEqual(Array.from({ length: 100 }, (_, i) => i));
  });

  it('refuses seeds that a double does not hold exactly', () => {
    expect(() => new Random(1.5)).toThrow('non-negative safe integer, got 1.5');
    expect(() => new Random(-1)).toThrow('got -1');
  });
});
