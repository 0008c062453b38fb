import { readFileSync } from 'node:fs';
import { beforeAll, describe, expect, it } from 'vitest';
import { formats, init, optim, zeros, type Tensor } from '../../src/index.js';

interface Run {
  name: string;
  ts: string;
  rates: number[][];
  momenta: number[][] | null;
}
const { schedulers } = JSON.parse(
  readFileSync(new URL('../goldens/optim.json', import.meta.url), 'utf8'),
) as {
  schedulers: {
    runs: Run[];
    plateau: { metrics: number[]; runs: { options: optim.lrScheduler.PlateauOptions; rates: number[][] }[] };
    fractional: { epochs: number[]; runs: { tMult: number; rates: number[][] }[] };
  };
};

type Scheduler = optim.lrScheduler.Scheduler & { step(): void };

beforeAll(() => init());

const groups = (): [{ params: Tensor[]; lr: number }, { params: Tensor[] }] => [
  { params: [zeros(1)], lr: 0.3 },
  { params: [zeros(1)] },
];
const sgd = (): optim.SGD => new optim.SGD(groups(), { lr: 0.05, momentum: 0.9 });
const made = ({ name, ts }: Run): { optimizer: optim.Optimizer; scheduler: Scheduler } => {
  const optimizer = name.endsWith('Adam') ? new optim.Adam(groups(), { lr: 0.05 }) : sgd();
  const build = new Function('s', 'w', 'o', 'a', `return ${ts}`) as (...args: unknown[]) => Scheduler;
  return { optimizer, scheduler: build(optim.lrScheduler, optim.swaUtils, optimizer, optimizer) };
};
const rates = (optimizer: optim.Optimizer): number[] => optimizer.paramGroups.map((group) => group.lr);
const momenta = (optimizer: optim.Optimizer): number[] =>
  (optimizer.paramGroups as { momentum?: number; betas?: readonly number[] }[]).map(
    ({ momentum, betas }) => momentum ?? betas?.[0] ?? NaN,
  );

function expectClose(got: readonly number[], want: readonly number[], epoch: number): void {
  got.forEach((rate, i) =>
    expect(Math.abs(rate - (want[i] as number)), `epoch ${epoch}, group ${i}`).toBeLessThan(1e-14),
  );
}

describe.each(schedulers.runs)('$name', (run) => {
  it("sets PyTorch's rates and momenta", () => {
    const { optimizer, scheduler } = made(run);
    run.rates.forEach((expected, epoch) => {
      if (epoch > 0) scheduler.step();
      expectClose(rates(optimizer), expected, epoch);
      if (run.momenta) expectClose(momenta(optimizer), run.momenta[epoch] as number[], epoch);
      expect(scheduler.getLastLr()).toEqual(rates(optimizer));
    });
  });

  it('goes on from state dicts in a file', async () => {
    const first = made(run);
    for (let epoch = 0; epoch < 5; epoch++) first.scheduler.step();
    const file = await formats.encodeTorch({
      optimizer: first.optimizer.stateDict(),
      scheduler: first.scheduler.stateDict(),
    });
    const saved = (await formats.loadValue(file)) as Map<string, Map<string, unknown>>;
    const second = made(run);
    await second.optimizer.loadStateDict(saved.get('optimizer'));
    second.scheduler.loadStateDict(saved.get('scheduler') as Map<string, unknown>);
    expect(second.scheduler.stateDict()).toEqual(first.scheduler.stateDict());
    for (let epoch = 6; epoch < run.rates.length; epoch++) {
      first.scheduler.step();
      second.scheduler.step();
      expect(rates(second.optimizer)).toEqual(rates(first.optimizer));
      expect(momenta(second.optimizer)).toEqual(momenta(first.optimizer));
      expectClose(rates(second.optimizer), run.rates[epoch] as number[], epoch);
    }
  });
});

it.each(schedulers.plateau.runs)('ReduceLROnPlateau $options', ({ options, rates: want }) => {
  const optimizer = sgd();
  const scheduler = new optim.lrScheduler.ReduceLROnPlateau(optimizer, options);
  schedulers.plateau.metrics.forEach((metric, epoch) => {
    scheduler.step(metric);
    expectClose(rates(optimizer), want[epoch + 1] as number[], epoch);
  });
});

it.each(schedulers.fractional.runs)('CosineAnnealingWarmRestarts at fractions, tMult $tMult', (run) => {
  const optimizer = sgd();
  const scheduler = new optim.lrScheduler.CosineAnnealingWarmRestarts(optimizer, 3, { tMult: run.tMult });
  schedulers.fractional.epochs.forEach((epoch, i) => {
    scheduler.step(epoch);
    expectClose(rates(optimizer), run.rates[i + 1] as number[], epoch);
  });
});

it('groups added later are scheduled from their own rate, or the scheduler says that it cannot', () => {
  const [optimizer, other] = [sgd(), sgd()];
  const cosine = new optim.lrScheduler.CosineAnnealingLR(optimizer, 4);
  const one = new optim.lrScheduler.LambdaLR(other, [() => 1, () => 1]);
  for (const each of [optimizer, other]) each.addParamGroup({ params: zeros(1), lr: 0.01 });
  for (let epoch = 0; epoch < 2; epoch++) cosine.step();
  expectClose(rates(optimizer), [0.15, 0.025, 0.005], 2);
  expect(() => one.step()).toThrow('LambdaLR: it has no rate for group 2');
});

it('schedulers say what they cannot do', () => {
  const { OneCycleLR, CyclicLR, MultiplicativeLR } = optim.lrScheduler;
  expect(() => new OneCycleLR(sgd(), 1)).toThrow('give totalSteps, or epochs and stepsPerEpoch');
  expect(() => new CyclicLR(new optim.Adagrad([zeros(1)]), 0.1, 1)).toThrow(
    'Adagrad has no momentum to cycle',
  );
  expect(() => new CyclicLR(sgd(), 0.1, [1, 1, 1])).toThrow('maxLr: 3 values for 2 parameter groups');
  expect(() => new MultiplicativeLR(sgd(), [() => 1])).toThrow('1 functions for 2 parameter groups');
  const short = new OneCycleLR(sgd(), 1, { totalSteps: 2 });
  short.step();
  short.step();
  expect(() => short.step()).toThrow('the cycle has 2 steps');
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
