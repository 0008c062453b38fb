import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { labels, parameter, uniform } from './fill.js';

const golden = JSON.parse(
  readFileSync(new URL('../goldens/models/resnet18.json', import.meta.url), 'utf8'),
) as {
  fill: Record<string, number[]>;
};

it('makes the weights that numpy made', () => {
  const shapes: Record<string, number[]> = {
    'conv1.weight': [64, 3, 7, 7],
    'bn1.bias': [64],
    'layer4.1.bn1.running_var': [512],
    'fc.bias': [1000],
  };
  expect(Object.keys(golden.fill).sort()).toEqual(Object.keys(shapes).sort());
  for (const [key, want] of Object.entries(golden.fill)) {
    const values = parameter(key, shapes[key]!);
    expect([values[0], values[1], values[2], values.at(-1)]).toEqual(want);
  }
});

it('is uniform in [-1, 1)', () => {
  const u = uniform('anything', [10000]);
  expect(Math.min(...u)).toBeGreaterThanOrEqual(-1);
  expect(Math.max(...u)).toBeLessThan(1);
  expect(u.reduce((a, b) => a + b, 0) / u.length).toBeCloseTo(0, 1);
  expect(u.reduce((a, b) => a + b * b, 0) / u.length).toBeCloseTo(1 / 3, 1);
  const y = labels('labels', 1000, 10);
  expect([Math.min(...y), Math.max(...y)]).toEqual([0, 9]);
});
