import { beforeAll, describe, expect, it } from 'vitest';
import { init, stack, tensor, type Tensor } from '../../src/index.js';
import { cutmix, mixup, Random } from '../../src/data/index.js';

beforeAll(() => init());

/** A batch whose samples are all of one value: 1, 2, 3, ... */
const batch = (count: number, side: number) =>
  tensor(
    Float32Array.from({ length: count * side * side }, (_, i) => 1 + Math.floor(i / (side * side))),
    { shape: [count, 1, side, side] },
  );

const labelsOf = (...labels: number[]) => tensor(Int32Array.from(labels));

describe('mixup', () => {
  it('blends each sample with the one before it, and the labels in the same proportion', async () => {
    const labels = labelsOf(0, 1, 2);
    const [inputs, targets] = mixup(batch(3, 2), labels, { alpha: 1, numClasses: 3, random: new Random(5) });
    const [values, soft] = [await inputs.data(), await targets.data()];
    expect(targets.shape).toEqual([3, 3]);
    const keep = soft[0]!;
    expect(keep).toBeGreaterThan(0);
    expect(keep).toBeLessThan(1);
    [
      [keep, 0, 1 - keep],
      [1 - keep, keep, 0],
      [0, 1 - keep, keep],
    ].forEach((row, i) => row.forEach((value, j) => expect(soft[3 * i + j]).toBeCloseTo(value, 6)));
    [1, 2, 3].forEach((own, i) => {
      const before = [3, 1, 2][i]!;
      for (let k = 0; k < 4; k++) expect(values[4 * i + k]).toBeCloseTo(keep * own + (1 - keep) * before, 5);
    });
  });

  it('draws its share from Beta(alpha, alpha)', async () => {
    const [x, y] = [batch(2, 1), labelsOf(0, 1)];
    const draw = async (alpha: number): Promise<number[]> => {
      const random = new Random(11);
      const firsts: Tensor[] = [];
      for (let i = 0; i < 400; i++) {
        const [inputs, targets] = mixup(x, y, { alpha, numClasses: 2, random });
        inputs.dispose();
        firsts.push(targets.select(0, 0).select(0, 0));
      }
      return [...(await stack(firsts).data())];
    };
    for (const alpha of [0.2, 1, 4]) {
      const shares = await draw(alpha);
      const mean = shares.reduce((sum, share) => sum + share, 0) / shares.length;
      const variance = shares.reduce((sum, share) => sum + (share - mean) ** 2, 0) / shares.length;
      expect(Math.abs(mean - 0.5)).toBeLessThan(0.08);
      // Beta(a, a) has the variance 1 / (4 (2 a + 1)).
      expect(variance * 4 * (2 * alpha + 1)).toBeGreaterThan(0.8);
      expect(variance * 4 * (2 * alpha + 1)).toBeLessThan(1.2);
    }
  });

  it('refuses what has no meaning', () => {
    const x = batch(2, 1);
    expect(() => mixup(x, labelsOf(0, 1), { alpha: 0, numClasses: 2 })).toThrow('alpha must be above 0');
    expect(() => mixup(x, labelsOf(0, 1, 1), { numClasses: 2 })).toThrow('labels [N]');
  });
});

describe('cutmix', () => {
  it('pastes one box, and mixes the labels by its area', async () => {
    for (let seed = 0; seed < 8; seed++) {
      const options = { alpha: 1, numClasses: 2, random: new Random(seed) };
      const [inputs, targets] = cutmix(batch(2, 6), labelsOf(0, 1), options);
      const [values, soft] = [await inputs.data(), await targets.data()];
      const pasted = values.subarray(0, 36).filter((value) => value === 2).length;
      expect(values.subarray(36).filter((value) => value === 1).length).toBe(pasted);
      expect(soft[1]).toBeCloseTo(pasted / 36, 6);
      expect(soft[0]).toBeCloseTo(1 - pasted / 36, 6);
    }
  });

  it('wants images', () => {
    expect(() => cutmix(tensor([1, 2]), labelsOf(0, 1), { numClasses: 2 })).toThrow('[N, C, H, W]');
  });
});
