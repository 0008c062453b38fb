import { beforeAll, expect, it } from 'vitest';
import { init, manualSeed, models, ones } from '../../src/index.js';

beforeAll(() => init());

it('drops whole rows in training and keeps the mean', async () => {
  manualSeed(0);
  const layer = new models.StochasticDepth(0.25, 'row');
  const x = ones(4000, 1, 2);
  const values = await layer(x).data();
  for (let row = 0; row < 4000; row++) expect(values[2 * row]).toBe(values[2 * row + 1]);
  const kept = values.filter((value) => value !== 0);
  expect(kept.every((value) => Math.abs(value - 4 / 3) < 1e-6)).toBe(true);
  expect(kept.length / values.length).toBeCloseTo(0.75, 1);
  expect(layer.eval()(x)).toBe(x);
});

it('drops whole batches', async () => {
  manualSeed(0);
  const layer = new models.StochasticDepth(0.5, 'batch');
  const seen = new Set<number>();
  for (let i = 0; i < 20; i++) for (const value of await layer(ones(3, 2)).data()) seen.add(value);
  expect([...seen].sort()).toEqual([0, 2]);
  expect(await new models.StochasticDepth(1, 'batch')(ones(2, 2)).sum().item()).toBe(0);
});

it('prints as in torchvision and checks its arguments', () => {
  expect(String(new models.StochasticDepth(0.2, 'row'))).toBe('StochasticDepth(p=0.2, mode=row)');
  expect(() => new models.StochasticDepth(1.5, 'row')).toThrow('p must be between 0 and 1, got 1.5');
  expect(() => new models.StochasticDepth(0.5, 'column' as never)).toThrow("mode must be 'row' or 'batch'");
});
