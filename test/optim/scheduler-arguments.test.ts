import { beforeAll, describe, expect, it } from 'vitest';
import { init, optim, zeros } from '../../src/index.js';

beforeAll(() => init());

type Scheduler = optim.lrScheduler.Scheduler & { step(metric?: unknown): void };
const scope = { ...optim.lrScheduler, ...optim.swaUtils };
const sgd = (): optim.SGD => new optim.SGD([{ params: [zeros(1)] }], { lr: 0.1, momentum: 0.9 });
/** What plain JavaScript makes of `code`, in which `o` is an optimizer. */
function made(code: string): Scheduler {
  const run = new Function(...Object.keys(scope), 'o', `return ${code}`);
  return (run as (...args: unknown[]) => Scheduler)(...Object.values(scope), sgd());
}
function course(code: string): number[] {
  const scheduler = made(code);
  return Array.from({ length: 9 }, (_, i) => {
    if (/Plateau/.test(code)) scheduler.step(i + 1);
    else scheduler.step();
    return scheduler.optimizer.paramGroups[0]?.lr as number;
  });
}

it('step() takes the epoch to jump to, and nothing else', () => {
  const scheduler = made('new StepLR(o, 2, 0.5)');
  scheduler.step(5);
  expect(scheduler.optimizer.paramGroups[0]?.lr).toBe(0.1 * 0.5 ** 2);
  expect(() => scheduler.step(zeros(1))).toThrow('StepLR.step: the epoch must be a whole number');
  const chained = made('new ChainedScheduler([new StepLR(o, 2)])');
  expect(() => chained.step(1)).toThrow('ChainedScheduler.step: takes 0 arguments');
});

/** The same by position, in PyTorch's order, and by name. */
const same: [string, string][] = [
  ['StepLR(o, 2, 0.5)', 'StepLR(o, { stepSize: 2, gamma: 0.5 })'],
  ['StepLR(o, 2, { gamma: 0.5 })', 'StepLR(o, { stepSize: 2, gamma: 0.5, lastEpoch: -1 })'],
  ['MultiStepLR(o, [2, 5], 0.5)', 'MultiStepLR(o, { milestones: [2, 5], gamma: 0.5 })'],
  ['ExponentialLR(o, 0.5)', 'ExponentialLR(o, { gamma: 0.5 })'],
  ['CosineAnnealingLR(o, 5, 0.01)', 'CosineAnnealingLR(o, { TMax: 5, etaMin: 0.01 })'],
  ['CosineAnnealingLR(o, 5, -1)', 'CosineAnnealingLR(o, { tMax: 5, etaMin: -1 })'],
  ['CosineAnnealingWarmRestarts(o, 3, 2)', 'CosineAnnealingWarmRestarts(o, { T0: 3, TMult: 2 })'],
  ['CosineAnnealingWarmRestarts(o, 3, 1, 0.01)', 'CosineAnnealingWarmRestarts(o, { t0: 3, etaMin: 0.01 })'],
  ['LambdaLR(o, (epoch) => 0.5 ** epoch)', 'LambdaLR(o, { lrLambda: (epoch) => 0.5 ** epoch })'],
  ['MultiplicativeLR(o, () => 0.5)', 'MultiplicativeLR(o, { lrLambda: [() => 0.5] })'],
  ['LinearLR(o, 0.1, 0.9, 4)', 'LinearLR(o, { startFactor: 0.1, endFactor: 0.9, totalIters: 4 })'],
  ['ConstantLR(o, 0.1, 4)', 'ConstantLR(o, { factor: 0.1, totalIters: 4 })'],
  ['PolynomialLR(o, 4, 2)', 'PolynomialLR(o, { totalIters: 4, power: 2 })'],
  ['OneCycleLR(o, 1, 20)', 'OneCycleLR(o, { maxLr: 1, epochs: 4, stepsPerEpoch: 5 })'],
  ['OneCycleLR(o, 1, null, 4, 5)', 'OneCycleLR(o, { maxLr: 1, totalSteps: 20 })'],
  ['CyclicLR(o, 0.1, 1, 2)', 'CyclicLR(o, { baseLr: 0.1, maxLr: 1, stepSizeUp: 2, stepSizeDown: null })'],
  ["ReduceLROnPlateau(o, 'min', 0.5, 1)", 'ReduceLROnPlateau(o, { factor: 0.5, patience: 1 })'],
  ["SWALR(o, 0.5, 3, 'linear')", "SWALR(o, { swaLr: 0.5, annealEpochs: 3, annealStrategy: 'linear' })"],
  [
    'SequentialLR(o, [new ConstantLR(o, 0.1), new ExponentialLR(o, 0.9)], [3])',
    'SequentialLR(o, { schedulers: [new ConstantLR(o, 0.1), new ExponentialLR(o, 0.9)], milestones: [3] })',
  ],
  [
    'ChainedScheduler([new ConstantLR(o, 0.1), new ExponentialLR(o, 0.9)])',
    'ChainedScheduler({ schedulers: [new ConstantLR(o, 0.1), new ExponentialLR(o, 0.9)] })',
  ],
];

describe('arguments by position and by name are the same', () => {
  it.each(same)('%s', (byPosition, byName) => {
    const rates = course(`new ${byPosition}`);
    expect(course(`new ${byName}`)).toEqual(rates);
    expect(new Set(rates).size).toBeGreaterThan(1);
  });
});

const refused: [string, string][] = [
  ['StepLR()', 'StepLR: its first argument must be an optimizer, got undefined'],
  ['StepLR({ stepSize: 2 })', 'StepLR: its first argument must be an optimizer, got an object'],
  ['StepLR(o)', "StepLR: 'stepSize' is missing; give it by position or by name"],
  ['StepLR(o, 0)', 'StepLR: stepSize must be a positive integer, got 0'],
  ['StepLR(o, 1.5)', 'StepLR: stepSize must be a positive integer, got 1.5'],
  ["StepLR(o, 'a')", "StepLR: stepSize must be a positive integer, got 'a'"],
  ["StepLR(o, 2, { gamma: 'a' })", "StepLR: gamma must be a number, got 'a'"],
  ['StepLR(o, 2, NaN)', 'StepLR: gamma must be a number, got NaN'],
  ['StepLR(o, 2, { gama: 1 })', "StepLR: there is no option 'gama'; did you mean 'gamma'?"],
  ['StepLR(o, 2, { stepSize: 2 })', "StepLR: 'stepSize' is given twice"],
  ['StepLR(o, 2, { lastEpoch: -2 })', 'StepLR: lastEpoch must be a whole number of at least -1, got -2'],
  ['MultiStepLR(o, 3)', 'MultiStepLR: milestones must be a list of epochs, as in [30, 80], got 3'],
  ["MultiStepLR(o, ['a'])", "MultiStepLR: milestones must be a list of epochs, as in [30, 80], got ['a']"],
  ['ExponentialLR(o)', "ExponentialLR: 'gamma' is missing"],
  ['ExponentialLR(o, null)', 'ExponentialLR: gamma must be a number, got null'],
  ['CosineAnnealingLR(o)', "CosineAnnealingLR: 'tMax' is missing"],
  ['CosineAnnealingLR(o, 0)', 'CosineAnnealingLR: tMax must be a number above 0, got 0'],
  ['CosineAnnealingLR(o, { TMax: 1, tMax: 2 })', "CosineAnnealingLR: 'tMax' is given twice"],
  ['CosineAnnealingWarmRestarts(o, 0)', 'CosineAnnealingWarmRestarts: t0 must be a positive integer, got 0'],
  ['LambdaLR(o)', "LambdaLR: 'lrLambda' is missing"],
  ['LambdaLR(o, 0.5)', 'LambdaLR: lrLambda must be a function of the epoch, or a list of them, got 0.5'],
  ['LambdaLR(o, () => {})', 'LambdaLR: lrLambda must give a number, but gave undefined for epoch 0'],
  ["LinearLR(o, 'a')", "LinearLR: startFactor must be a number, got 'a'"],
  ['ConstantLR(o, 0.1, 2.5)', 'ConstantLR: totalIters must be a whole number of at least 0, got 2.5'],
  ['PolynomialLR(o, { totalIters: -1 })', 'PolynomialLR: totalIters must be a whole number of at least 0'],
  ['OneCycleLR(o)', "OneCycleLR: 'maxLr' is missing"],
  ['OneCycleLR(o, 1, 2.5)', 'OneCycleLR: totalSteps must be a positive integer, got 2.5'],
  ['OneCycleLR(o, 1, 9, { divFactor: 0 })', 'OneCycleLR: divFactor must be a number above 0, got 0'],
  ["OneCycleLR(o, 1, 9, { annealStrategy: 'sin' })", "annealStrategy must be 'cos' or 'linear', got 'sin'"],
  ['CyclicLR(o)', "CyclicLR: 'baseLr' is missing"],
  ['CyclicLR(o, 0.1)', "CyclicLR: 'maxLr' is missing"],
  ['CyclicLR(o, 0.1, 1, 0)', 'CyclicLR: stepSizeUp must be a number above 0, got 0'],
  ["CyclicLR(o, 0.1, ['a'])", "CyclicLR: maxLr, item 0, must be a number, got 'a'"],
  ['CyclicLR(o, 0.1, 1, { scaleFn: 3 })', 'CyclicLR: scaleFn must be a function, got 3'],
  ['SequentialLR(o)', "SequentialLR: 'schedulers' is missing"],
  ['SequentialLR(o, new StepLR(o, 1), [])', 'schedulers must be a list of schedulers, got a StepLR'],
  ['SequentialLR(o, [new ReduceLROnPlateau(o)], [])', 'item 0, must be a scheduler that steps by epochs'],
  ['SequentialLR(o, [new StepLR(o, 1)], 3)', 'SequentialLR: milestones must be a list of epochs'],
  ['ChainedScheduler()', "ChainedScheduler: 'schedulers' is missing"],
  ['ChainedScheduler([3])', 'ChainedScheduler: schedulers, item 0, must be a scheduler'],
  ["ReduceLROnPlateau(o, 'least')", "ReduceLROnPlateau: mode must be 'min' or 'max', got 'least'"],
  ["ReduceLROnPlateau(o, { patience: 'a' })", 'patience must be a number of at least 0'],
  ['ReduceLROnPlateau(o).step()', 'ReduceLROnPlateau.step: expected the metric, a number, got undefined'],
  ["ReduceLROnPlateau(o).step('a')", 'ReduceLROnPlateau.step: expected the metric'],
  ['SWALR(o)', "SWALR: 'swaLr' is missing"],
];

describe('refused when made', () => {
  it.each(refused)('%s', (code, message) => {
    expect(() => made(`new ${code}`)).toThrow(message);
  });
});
