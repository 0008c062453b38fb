import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { ShapesDataset, shapesStatistics } from '../../src/data/shapes.js';

describe('ShapesDataset', () => {
  it('has ten classes to pretrain on and five others to fine-tune on', () => {
    const base = new ShapesDataset({ classes: 'base', perClass: 3 });
    const novel = new ShapesDataset({ classes: 'novel', perClass: 3 });
    expect([base.classes.length, base.length, novel.classes.length, novel.length]).toEqual([10, 30, 5, 15]);
    expect(base.classes.filter((name) => novel.classes.includes(name))).toEqual([]);
    expect([0, 2, 3, 29].map((i) => base.label(i))).toEqual([0, 0, 1, 9]);
  });

  it('gives float32 [3, size, size] samples of the asked size', () => {
    const [image, label] = new ShapesDataset({ classes: 'novel', perClass: 1, size: 48 }).get(4);
    expect([image.shape, label]).toEqual([[3, 48, 48], 4]);
    expect(Math.min(...image.data)).toBeGreaterThanOrEqual(0);
    expect(Math.max(...image.data)).toBeLessThanOrEqual(1);
  });

  it('draws an image from (seed, class, number) alone, in any order', () => {
    const few = new ShapesDataset({ classes: 'base', perClass: 2, seed: 7 });
    const many = new ShapesDataset({ classes: 'base', perClass: 5, seed: 7 });
    expect(few.bytes(3)).toEqual(many.bytes(6));
    const other = new ShapesDataset({ classes: 'base', perClass: 2, seed: 8 });
    expect(few.bytes(3)).not.toEqual(other.bytes(3));
    expect(few.bytes(2)).not.toEqual(few.bytes(3));
  });

  it('draws the same bytes on every platform', () => {
    const hash = createHash('sha256');
    for (const classes of ['base', 'novel'] as const) {
      const data = new ShapesDataset({ classes, perClass: 10, seed: 1 });
      for (let i = 0; i < data.length; i++) hash.update(data.bytes(i));
    }
    expect(hash.digest('hex')).toBe('84e8465480010667761a9e1a8951321c5f4f244dae701263dce608294becdfc3');
  });

  it('has the colour statistics it says', () => {
    const data = new ShapesDataset({ classes: 'base', perClass: 60, seed: 2 });
    for (let channel = 0; channel < 3; channel++) {
      let sum = 0;
      let squares = 0;
      for (let i = 0; i < data.length; i++) {
        for (const byte of data.bytes(i).subarray(channel * 1024, (channel + 1) * 1024)) {
          sum += byte / 255;
          squares += (byte / 255) ** 2;
        }
      }
      const count = data.length * 1024;
      const mean = sum / count;
      expect(mean).toBeCloseTo(shapesStatistics.mean[channel]!, 1);
      expect(Math.sqrt(squares / count - mean * mean)).toBeCloseTo(shapesStatistics.std[channel]!, 1);
    }
  });

  it('refuses what it cannot draw', () => {
    expect(() => new ShapesDataset({ classes: 'base', perClass: 0 })).toThrow(
      'perClass must be a positive integer',
    );
    expect(() => new ShapesDataset({ classes: 'base', perClass: 1, size: 4 })).toThrow(
      'at least 8 pixels, got 4',
    );
  });
});
