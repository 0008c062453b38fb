import { describe, expect, it } from 'vitest';
import { classBalancedWeights, stratifiedSplit } from '../../src/data/splits.js';

const labels = Array.from({ length: 100 }, (_, i) => (i % 10 === 0 ? 1 : 0));

describe('stratifiedSplit', () => {
  it('keeps each class in proportion, and every sample in one half', () => {
    const { train, val } = stratifiedSplit(labels, 0.2, 1);
    expect(val.length).toBe(20);
    expect(val.filter((i) => labels[i] === 1).length).toBe(2);
    expect([...train, ...val].sort((a, b) => a - b)).toEqual(labels.map((_, i) => i));
    expect(stratifiedSplit(labels, 0.2, 1)).toEqual({ train, val });
    expect(stratifiedSplit(labels, 0.2, 2).val).not.toEqual(val);
  });

  it('leaves at least one sample of a class on either side', () => {
    expect(stratifiedSplit([0, 0, 1, 1], 0.01, 0).val.length).toBe(2);
    expect(stratifiedSplit([0, 0, 1, 1], 0.99, 0).train.length).toBe(2);
  });

  it('refuses what it cannot split', () => {
    expect(() => stratifiedSplit([0, 0, 3], 0.5, 0)).toThrow('class 3 has a single sample');
    expect(() => stratifiedSplit([0, 0], 1, 0)).toThrow('between 0 and 1, got 1');
    expect(() => stratifiedSplit([0.5], 0.5, 0)).toThrow('label 0 is 0.5, not an integer');
  });
});

describe('classBalancedWeights', () => {
  it('sums to one over each class', () => {
    const weights = classBalancedWeights(labels);
    expect(weights[0]).toBe(1 / 10);
    expect(weights[1]).toBe(1 / 90);
  });
});
