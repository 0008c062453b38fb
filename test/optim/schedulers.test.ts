import { inspect } from 'node:util';
import { beforeAll, describe, expect, it } from 'vitest';
import { formats, init, optim, zeros, type Tensor } from '../../src/index.js';
import { loadRows } from '../rows.js';

/** A row of test/cases/optim/schedulers.json; scripts/goldens/optim.py says what is in it. */
interface Row {
  readonly name: string;
  readonly ts: string;
  readonly optimizer?: 'Adam';
  readonly steps?: readonly number[];
}
interface Golden {
  readonly rates: readonly (readonly number[])[];
  readonly momenta: readonly (readonly number[])[] | null;
}

const given = ({ steps }: Row, at: number): [number?] => (steps?.slice(at, at + 1) ?? []) as [number?];
type Scheduler = optim.lrScheduler.Scheduler & { step(argument?: number): void };

beforeAll(() => init());

const groups = (): [{ params: Tensor[]; lr: number }, { params: Tensor[] }] => [
  { params: [zeros(1)], lr: 0.3 },
  { params: [zeros(1)] },
];
const sgd = (): optim.SGD => new optim.SGD(groups(), { lr: 0.05, momentum: 0.9 });
const scope = { ...optim.lrScheduler, ...optim.swaUtils };
const made = ({ ts, optimizer: kind }: Row): { optimizer: optim.Optimizer; scheduler: Scheduler } => {
  const optimizer = kind === 'Adam' ? new optim.Adam(groups(), { lr: 0.05 }) : sgd();
  const build = new Function(...Object.keys(scope), 'o', `return ${ts}`) as (...args: unknown[]) => Scheduler;
  return { optimizer, scheduler: build(...Object.values(scope), optimizer) };
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

describe.each(loadRows<Row, Golden>('optim/schedulers'))('$key', ({ row, golden }) => {
  it("sets PyTorch's rates and momenta", () => {
    const { optimizer, scheduler } = made(row);
    golden.rates.forEach((expected, epoch) => {
      if (epoch > 0) scheduler.step(...given(row, epoch - 1));
      expectClose(rates(optimizer), expected, epoch);
      if (golden.momenta) expectClose(momenta(optimizer), golden.momenta[epoch] as number[], epoch);
      expect(scheduler.getLastLr()).toEqual(rates(optimizer));
    });
  });

  it('goes on from state dicts in a file', async () => {
    const first = made(row);
    for (let epoch = 0; epoch < 5; epoch++) first.scheduler.step(...given(row, epoch));
    const file = await formats.encodeTorch({
      optimizer: first.optimizer.stateDict(),
      scheduler: first.scheduler.stateDict(),
    });
    const saved = (await formats.loadValue(file)) as Map<string, Map<string, unknown>>;
    const second = made(row);
    await second.optimizer.loadStateDict(saved.get('optimizer'));
    second.scheduler.loadStateDict(saved.get('scheduler') as Map<string, unknown>);
    expect(second.scheduler.stateDict()).toEqual(first.scheduler.stateDict());
    for (let epoch = 6; epoch < golden.rates.length; epoch++) {
      for (const { scheduler } of [first, second]) scheduler.step(...given(row, epoch - 1));
      expect(rates(second.optimizer)).toEqual(rates(first.optimizer));
      expect(momenta(second.optimizer)).toEqual(momenta(first.optimizer));
      expectClose(rates(second.optimizer), golden.rates[epoch] as number[], epoch);
    }
  });

  it('refuses a state that lacks a field, has another or one of another kind, and stays as it was', () => {
    const [from, { scheduler }] = [made(row), made(row)];
    for (let epoch = 0; epoch < 3; epoch++) from.scheduler.step(...given(row, epoch));
    const [saved, before] = [from.scheduler.stateDict(), scheduler.stateDict()];
    for (const key of Object.keys(saved)) {
      const { [key]: _, ...without } = saved;
      // A chain takes these from its schedulers; PyTorch's has no place of its own.
      if (!('_schedulers' in saved && '_last_lr' in saved && key !== '_schedulers'))
        expect(() => scheduler.loadStateDict(without), key).toThrow(`missing: ${key}, unexpected: none`);
      if (key !== '_last_lr')
        expect(() => scheduler.loadStateDict({ ...saved, [key]: {} }), key).toThrow(/loadStateDict/);
      expect(scheduler.stateDict()).toEqual(before);
    }
    expect(() => scheduler.loadStateDict({ ...saved, speed: 1 })).toThrow(/missing: none, unexpected: speed/);
    expect(scheduler.stateDict()).toEqual(before);
  });

  it('shows its class, its options and where it stands in one line', () => {
    const { scheduler } = made(row);
    const line = inspect(scheduler);
    expect(line).toMatch(new RegExp(`^${scheduler.constructor.name}\\(.*lastEpoch=\\d`));
    expect(line).not.toContain('\n');
  });
});

it('a composition whose second part does not fit leaves the first as it was', () => {
  const { SequentialLR, ChainedScheduler, ConstantLR, StepLR } = optim.lrScheduler;
  const parts = (optimizer: optim.SGD) => [new ConstantLR(optimizer), new StepLR(optimizer, 2)];
  const [a, b] = [sgd(), sgd()];
  for (const scheduler of [
    new SequentialLR(a, parts(a), { milestones: [3] }),
    new ChainedScheduler(parts(b)),
  ]) {
    const before = scheduler.stateDict();
    const [first, second] = before['_schedulers'] as Record<string, number>[];
    const moved = {
      ...before,
      last_epoch: 9,
      _schedulers: [
        { ...first, last_epoch: 9 },
        { ...second, extra: 1 },
      ],
    };
    expect(() => scheduler.loadStateDict(moved)).toThrow(/StepLR.loadStateDict: .* unexpected: extra/);
    expect(scheduler.stateDict()).toEqual(before);
  }
});

it("what PyTorch's schedulers keep besides is no unknown field", () => {
  const scheduler = new optim.lrScheduler.StepLR(sgd(), 5);
  const theirs = { verbose: false, _get_lr_called_within_step: false, _is_initial: false };
  scheduler.loadStateDict({ ...scheduler.stateDict(), ...theirs, last_epoch: 4n });
  expect(scheduler.lastEpoch).toBe(4);
});

it("a chain takes its place from its schedulers where PyTorch's state has none", () => {
  const { ChainedScheduler, ConstantLR } = optim.lrScheduler;
  const chain = () => new ChainedScheduler([new ConstantLR(sgd())]);
  const [from, to] = [chain(), chain()];
  for (let epoch = 0; epoch < 3; epoch++) from.step();
  const { last_epoch: _, ...theirs } = from.stateDict();
  to.loadStateDict(theirs);
  expect(to.lastEpoch).toBe(3);
});

it('schedulers show their options', () => {
  const { StepLR, SequentialLR, ConstantLR } = optim.lrScheduler;
  const optimizer = sgd();
  expect(inspect(new StepLR(optimizer, 5))).toBe(
    'StepLR(lastEpoch=0, stepSize=5, gamma=0.1, lr=[0.3, 0.05])',
  );
  const both = [new ConstantLR(optimizer), new StepLR(optimizer, 2)];
  expect(inspect(new SequentialLR(optimizer, both, [3]))).toMatch(
    /^SequentialLR\(schedulers=\[ConstantLR\(.*\), StepLR\(.*\)\], milestones=\[3\], lastEpoch=0\)$/,
  );
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
