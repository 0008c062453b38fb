import { readFileSync } from 'node:fs';
import { beforeAll, describe, expect, it } from 'vitest';
import { init, optim, zeros } from '../../src/index.js';

const { schedulers } = JSON.parse(
  readFileSync(new URL('../goldens/optim.json', import.meta.url), 'utf8'),
) as {
  schedulers: {
    runs: { name: string; ts: string; rates: number[][] }[];
    plateau: { metrics: number[]; rates: number[][] };
  };
};

interface Scheduler {
  step(): void;
  getLastLr(): readonly number[];
  stateDict(): Record<string, unknown>;
  loadStateDict(state: Record<string, unknown>): void;
}

beforeAll(() => init());

const sgd = (): optim.SGD =>
  new optim.SGD([{ params: [zeros(1)], lr: 0.3 }, { params: [zeros(1)] }], { lr: 0.05 });
const make = (source: string, optimizer: optim.SGD): Scheduler =>
  (new Function('s', `return ${source}`)(optim.lrScheduler) as (o: optim.SGD) => Scheduler)(optimizer);
const rates = (optimizer: optim.SGD): number[] => optimizer.paramGroups.map((group) => group.lr);

function expectRates(got: readonly number[], want: readonly number[], epoch: number): void {
  got.forEach((rate, i) =>
    expect(Math.abs(rate - (want[i] as number)), `epoch ${epoch}, group ${i}`).toBeLessThan(1e-15),
  );
}

describe.each(schedulers.runs)('$name', ({ ts, rates: want }) => {
  it("sets PyTorch's rates", () => {
    const optimizer = sgd();
    const scheduler = make(ts, optimizer);
    want.forEach((expected, epoch) => {
      if (epoch > 0) scheduler.step();
      expectRates(rates(optimizer), expected, epoch);
      expect(scheduler.getLastLr()).toEqual(rates(optimizer));
    });
  });

  it('goes on from a state dict', () => {
    const first = sgd();
    const scheduler = make(ts, first);
    for (let epoch = 0; epoch < 5; epoch++) scheduler.step();
    const second = sgd();
    const resumed = make(ts, second);
    resumed.loadStateDict(JSON.parse(JSON.stringify(scheduler.stateDict())) as Record<string, unknown>);
    second.paramGroups.forEach((group, i) => (group.lr = rates(first)[i] as number));
    for (let epoch = 6; epoch < want.length; epoch++) {
      resumed.step();
      expectRates(rates(second), want[epoch] as number[], epoch);
    }
  });
});

it('ReduceLROnPlateau waits, reduces, cools down and stops at the minimum', () => {
  const optimizer = sgd();
  const { metrics, rates: want } = schedulers.plateau;
  const scheduler = new optim.lrScheduler.ReduceLROnPlateau(optimizer, {
    patience: 1,
    cooldown: 1,
    factor: 0.5,
    minLr: [0.1, 0.02],
  });
  metrics.forEach((metric, epoch) => {
    scheduler.step(metric);
    expectRates(rates(optimizer), want[epoch + 1] as number[], epoch);
  });
});

it("a scheduler's state dict has PyTorch's names", () => {
  const scheduler = new optim.lrScheduler.CosineAnnealingLR(sgd(), 5, { etaMin: 0.1 });
  expect(scheduler.stateDict()).toEqual({
    T_max: 5,
    eta_min: 0.1,
    base_lrs: [0.3, 0.05],
    last_epoch: 0,
    _step_count: 1,
    _last_lr: [0.3, 0.05],
  });
});
