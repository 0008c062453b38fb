import { inspect } from 'node:util';
import { expect, it } from 'vitest';
import { EarlyStopping } from '../../src/optim/early-stopping.js';

it('waits as long as it is told, and counts anew after an improvement', () => {
  const stopping = new EarlyStopping({ patience: 2 });
  expect([1, 0.9, 0.95, 0.8, 0.8, NaN].map((metric) => stopping.step(metric))).toEqual([
    false,
    false,
    false,
    false,
    false,
    true,
  ]);
});

it('ignores improvements below minDelta, and may look for higher values', () => {
  const stopping = new EarlyStopping({ patience: 2, minDelta: 0.1, mode: 'max' });
  expect([0.5, 0.55, 0.59].map((metric) => stopping.step(metric))).toEqual([false, false, true]);
});

it('goes on from its state', () => {
  const first = new EarlyStopping({ patience: 2 });
  first.step(1);
  first.step(2);
  const second = new EarlyStopping({ patience: 2 });
  second.loadStateDict(first.stateDict());
  expect(second.step(3)).toBe(true);
});

it('refuses settings without a meaning', () => {
  expect(() => new EarlyStopping({ patience: 0 })).toThrow('patience must be');
  expect(() => new EarlyStopping({ minDelta: -1 })).toThrow('minDelta');
  const mode = 'least' as 'min';
  expect(() => new EarlyStopping({ mode })).toThrow("mode must be 'min' or 'max', got 'least'");
  const nothing = undefined as unknown as number;
  expect(() => new EarlyStopping().step(nothing)).toThrow('EarlyStopping.step: expected the metric');
});

it('refuses a state that is not its own, by what does not fit, and stays as it was', () => {
  const stopping = new EarlyStopping({ patience: 2 });
  stopping.step(1);
  const before = stopping.stateDict();
  const { best: _, ...without } = before;
  expect(() => stopping.loadStateDict({ ...without, patience: 7, epoch: 3 })).toThrow(
    'EarlyStopping.loadStateDict: the state does not fit; missing: best, unexpected: epoch; load what',
  );
  expect(() => stopping.loadStateDict({ ...before, patience: 7, num_bad_epochs: '1' })).toThrow(
    "EarlyStopping.loadStateDict: 'num_bad_epochs' must be a number, got '1'",
  );
  expect(() => stopping.loadStateDict(null as never)).toThrow('expected what stateDict() gave, got null');
  expect(stopping.stateDict()).toEqual(before);
});

it('shows its options and where it stands', () => {
  expect(inspect(new EarlyStopping({ mode: 'max' }))).toBe(
    "EarlyStopping(patience=5, minDelta=0, mode='max', best=-Infinity, numBadEpochs=0)",
  );
});
