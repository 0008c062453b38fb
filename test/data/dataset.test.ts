import { describe, expect, it } from 'vitest';
import { ConcatDataset, randomSplit, Subset, type Dataset } from '../../src/data/dataset.js';
import { TensorDataset } from '../../src/data/tensor-dataset.js';

const squares: Dataset<number> = { length: 10, get: (index) => index * index };
const all = <T>(dataset: Dataset<T>) => Array.from({ length: dataset.length }, (_, i) => dataset.get(i));

describe('Subset', () => {
  it('shows the chosen samples in the given order', () => {
    expect(all(new Subset(squares, [3, 1, 3]))).toEqual([9, 1, 9]);
  });

  it('refuses indices outside the dataset', () => {
    expect(() => new Subset(squares, [10])).toThrow('Subset: index 10 is outside 0 ... 9');
    expect(() => new Subset(squares, [1]).get(1)).toThrow('Subset: index 1 is outside 0 ... 0');
  });

  it('passes whole batches on to datasets that build them', () => {
    const data = new TensorDataset({ data: Float32Array.of(0, 1, 2, 3), shape: [4] });
    const [rows] = new Subset(data, [3, 2, 1]).getBatch!([0, 2], () => {
      throw new Error('not random');
    }) as ReturnType<typeof data.getBatch>;
    expect(rows).toEqual({ data: Float32Array.of(3, 1), shape: [2] });
  });
});

describe('ConcatDataset', () => {
  it('puts datasets end to end', () => {
    const joined = new ConcatDataset([new Subset(squares, [1, 2]), new Subset(squares, [5])]);
    expect(all(joined)).toEqual([1, 4, 25]);
    expect(() => joined.get(3)).toThrow('outside 0 ... 2');
  });
});

describe('randomSplit', () => {
  it('deals every sample to exactly one part, by the seed', () => {
    const parts = randomSplit(squares, [7, 3], { seed: 4 });
    expect(parts.map((part) => part.length)).toEqual([7, 3]);
    const indices = parts.flatMap((part) => part.indices);
    expect([...indices].sort((a, b) => a - b)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    expect(randomSplit(squares, [7, 3], { seed: 4 })[0]!.indices).toEqual(parts[0]!.indices);
    expect(randomSplit(squares, [7, 3], { seed: 5 })[0]!.indices).not.toEqual(parts[0]!.indices);
  });

  it('takes fractions and deals out the remainder from the first part on, as PyTorch', () => {
    const thirds = randomSplit(squares, [1 / 3, 1 / 3, 1 / 3]);
    expect(thirds.map((part) => part.length)).toEqual([4, 3, 3]);
  });

  it('refuses lengths that do not add up', () => {
    expect(() => randomSplit(squares, [5, 4])).toThrow(
      "randomSplit: lengths [5, 4] must be counts that sum to the dataset's 10 samples, or fractions that sum to 1",
    );
  });
});

describe('TensorDataset', () => {
  const images = { data: Float32Array.of(1, 2, 3, 4, 5, 6), shape: [3, 2] };
  const labels = { data: Int32Array.of(7, 8, 9), shape: [3] };

  it('gives rows of host arrays', () => {
    const data = new TensorDataset(images, labels);
    expect(data.length).toBe(3);
    expect(data.get(1)).toEqual([
      { data: Float32Array.of(3, 4), shape: [2] },
      { data: Int32Array.of(8), shape: [] },
    ]);
    expect(data.getBatch([2, 0])).toEqual([
      { data: Float32Array.of(5, 6, 1, 2), shape: [2, 2] },
      { data: Int32Array.of(9, 7), shape: [2] },
    ]);
  });

  it('names the arguments that do not match', () => {
    const short = { data: Int32Array.of(7, 8), shape: [2] };
    expect(() => new TensorDataset(images, short)).toThrow(
      'argument 0 has 3 rows but argument 1 has 2 (shapes [3, 2] and [2])',
    );
    expect(() => new TensorDataset({ ...images, shape: [3, 3] })).toThrow(
      'holds 6 values, which do not fill [3, 3]',
    );
    expect(() => new TensorDataset({ data: Float32Array.of(1), shape: [] })).toThrow('has no dimensions');
  });
});
