import { required, type Needed, type Trailing } from '../tensor/options.js';
import { aCount, aNumber, aPositive, aWhole, epochs, readSchedule } from './lr-args.js';
import { LRScheduler } from './lr-base.js';
import type { Optimizer } from './optimizer.js';
import { show } from './show.js';

/** `torch.optim.lr_scheduler`: what sets the learning rate of an optimizer's groups from epoch to epoch. */

type Lambda = (epoch: number) => number;
type Lambdas = Lambda | readonly Lambda[];

/** The arguments of a scheduler that takes a decay behind its first. */
type Decay = { gamma?: number; lastEpoch?: number };

function functions(what: string, value: unknown): void {
  const list: readonly unknown[] = Array.isArray(value) ? value : [value];
  if (!list.every((item) => typeof item === 'function'))
    throw new Error(`${what} must be a function of the epoch, or a list of them, got ${show(value)}`);
}

abstract class LambdaScheduler extends LRScheduler {
  private readonly lrLambda: Lambdas;

  constructor(
    optimizer: Optimizer,
    ...args: Needed<[lrLambda: Lambdas], ['lrLambda'], [lastEpoch: number], { lastEpoch?: number }>
  ) {
    const { lrLambda, lastEpoch } = readSchedule(
      new.target.name,
      optimizer,
      args,
      { lrLambda: required<Lambdas>(), lastEpoch: -1 },
      { lrLambda: functions },
    );
    super(optimizer, lastEpoch);
    this.lrLambda = lrLambda;
    const groups = optimizer.paramGroups.length;
    if (typeof lrLambda !== 'function' && lrLambda.length !== groups) {
      throw new Error(
        `${this.constructor.name}: ${lrLambda.length} functions for ${groups} parameter groups; give one, or one for each`,
      );
    }
    this.start();
  }

  protected factor(group: number): number {
    const lambda = typeof this.lrLambda === 'function' ? this.lrLambda : this.lrLambda[group];
    if (lambda === undefined) return NaN;
    const factor: unknown = lambda(this.lastEpoch);
    if (typeof factor !== 'number' || Number.isNaN(factor))
      throw new Error(
        `${this.constructor.name}: lrLambda must give a number, but gave ${show(factor)} for epoch ${this.lastEpoch}`,
      );
    return factor;
  }
}

/** The base rate times `lrLambda(epoch)`; one function, or one per group. */
export class LambdaLR extends LambdaScheduler {
  protected getLr(): number[] {
    return this.each((_, base, group) => base * this.factor(group));
  }
}

/** The present rate times `lrLambda(epoch)` every epoch; one function, or one per group. */
export class MultiplicativeLR extends LambdaScheduler {
  protected getLr(): number[] {
    return this.each((lr, _, group) => (this.lastEpoch > 0 ? lr * this.factor(group) : lr));
  }
}

/** Times `gamma` every `stepSize` epochs. */
export class StepLR extends LRScheduler {
  readonly stepSize: number;
  readonly gamma: number;

  /** @throws Error unless `stepSize` is a positive integer and `gamma` a number */
  constructor(
    optimizer: Optimizer,
    ...args: Needed<[stepSize: number], ['stepSize'], [gamma: number, lastEpoch: number], Decay>
  ) {
    const { stepSize, gamma, lastEpoch } = readSchedule(
      'StepLR',
      optimizer,
      args,
      { stepSize: required<number>(), gamma: 0.1, lastEpoch: -1 },
      { stepSize: aCount },
    );
    super(optimizer, lastEpoch);
    this.stepSize = stepSize;
    this.gamma = gamma;
    this.start();
  }

  protected getLr(): number[] {
    const hold = this.lastEpoch === 0 || this.lastEpoch % this.stepSize !== 0;
    return this.each((lr) => (hold ? lr : lr * this.gamma));
  }

  protected override closedForm(): number[] {
    return this.each((_, base) => base * this.gamma ** Math.floor(this.lastEpoch / this.stepSize));
  }
}

/** Times `gamma` at each milestone. */
export class MultiStepLR extends LRScheduler {
  readonly milestones: readonly number[];
  readonly gamma: number;

  /** @throws Error unless `milestones` is a list of whole numbers and `gamma` a number */
  constructor(
    optimizer: Optimizer,
    ...args: Needed<
      [milestones: readonly number[]],
      ['milestones'],
      [gamma: number, lastEpoch: number],
      Decay
    >
  ) {
    const { milestones, gamma, lastEpoch } = readSchedule(
      'MultiStepLR',
      optimizer,
      args,
      { milestones: required<readonly number[]>(), gamma: 0.1, lastEpoch: -1 },
      { milestones: epochs },
    );
    super(optimizer, lastEpoch);
    this.milestones = [...milestones].sort((a, b) => a - b);
    this.gamma = gamma;
    this.start();
  }

  protected getLr(): number[] {
    const hits = this.milestones.filter((epoch) => epoch === this.lastEpoch).length;
    return this.each((lr) => (hits === 0 ? lr : lr * this.gamma ** hits));
  }

  protected override closedForm(): number[] {
    const passed = this.milestones.filter((epoch) => epoch <= this.lastEpoch).length;
    return this.each((_, base) => base * this.gamma ** passed);
  }
}

/** Times `gamma` every epoch. */
export class ExponentialLR extends LRScheduler {
  readonly gamma: number;

  /** @throws Error unless `gamma` is a number */
  constructor(
    optimizer: Optimizer,
    ...args: Needed<[gamma: number], ['gamma'], [lastEpoch: number], { lastEpoch?: number }>
  ) {
    const { gamma, lastEpoch } = readSchedule(
      'ExponentialLR',
      optimizer,
      args,
      { gamma: required<number>(), lastEpoch: -1 },
      { gamma: aNumber },
    );
    super(optimizer, lastEpoch);
    this.gamma = gamma;
    this.start();
  }

  protected getLr(): number[] {
    return this.each((lr) => (this.lastEpoch === 0 ? lr : lr * this.gamma));
  }

  protected override closedForm(): number[] {
    return this.each((_, base) => base * this.gamma ** this.lastEpoch);
  }
}

type CosineArgs<Name extends string> = Needed<
  [tMax: number],
  [Name],
  [etaMin: number, lastEpoch: number],
  { etaMin?: number; lastEpoch?: number }
>;

/**
 * Half a cosine from the base rate down to `etaMin` in `tMax` epochs, and up again (Loshchilov & Hutter 2017,
 * without restarts).
 */
export class CosineAnnealingLR extends LRScheduler {
  readonly tMax: number;
  readonly etaMin: number;

  /** @throws Error unless `tMax`, by name `TMax` too, is above 0 */
  constructor(optimizer: Optimizer, ...args: CosineArgs<'tMax'> | CosineArgs<'TMax'>) {
    const { tMax, etaMin, lastEpoch } = readSchedule(
      'CosineAnnealingLR',
      optimizer,
      args,
      { tMax: required<number>(), etaMin: 0, lastEpoch: -1 },
      { tMax: aPositive },
      { TMax: 'tMax' },
    );
    super(optimizer, lastEpoch);
    this.tMax = tMax;
    this.etaMin = etaMin;
    this.start();
  }

  protected getLr(): number[] {
    const { lastEpoch: t, tMax, etaMin } = this;
    if (t === 0) return this.each((lr) => lr);
    if (this.stepCount === 1) return this.closedForm();
    // PyTorch's recursive form; where it would divide by zero the closed form's difference is added instead.
    if ((t - 1 - tMax) % (2 * tMax) === 0) {
      return this.each((lr, base) => lr + ((base - etaMin) * (1 - Math.cos(Math.PI / tMax))) / 2);
    }
    const ratio = (1 + Math.cos((Math.PI * t) / tMax)) / (1 + Math.cos((Math.PI * (t - 1)) / tMax));
    return this.each((lr) => ratio * (lr - etaMin) + etaMin);
  }

  protected override closedForm(): number[] {
    const { lastEpoch: t, tMax, etaMin } = this;
    return this.each((_, base) => etaMin + ((base - etaMin) * (1 + Math.cos((Math.PI * t) / tMax))) / 2);
  }
}

/** From `startFactor` to `endFactor` times the base rate in `totalIters` equal steps: a warm-up. */
export class LinearLR extends LRScheduler {
  readonly startFactor: number;
  readonly endFactor: number;
  readonly totalIters: number;

  constructor(
    optimizer: Optimizer,
    ...args: Trailing<
      [startFactor: number, endFactor: number, totalIters: number, lastEpoch: number],
      { startFactor?: number; endFactor?: number; totalIters?: number; lastEpoch?: number }
    >
  ) {
    const { startFactor, endFactor, totalIters, lastEpoch } = readSchedule(
      'LinearLR',
      optimizer,
      args,
      { startFactor: 1 / 3, endFactor: 1, totalIters: 5, lastEpoch: -1 },
      { totalIters: aWhole },
    );
    super(optimizer, lastEpoch);
    if (!(startFactor > 0 && startFactor <= 1))
      throw new Error(`LinearLR: startFactor must be above 0 and at most 1, got ${startFactor}`);
    if (!(endFactor >= 0 && endFactor <= 1))
      throw new Error(`LinearLR: endFactor must be between 0 and 1, got ${endFactor}`);
    this.startFactor = startFactor;
    this.endFactor = endFactor;
    this.totalIters = totalIters;
    this.start();
  }

  protected getLr(): number[] {
    const { lastEpoch: t, startFactor, endFactor, totalIters } = this;
    if (t === 0) return this.each((lr) => lr * startFactor);
    if (t > totalIters) return this.each((lr) => lr);
    const change = endFactor - startFactor;
    return this.each((lr) => lr * (1 + change / (totalIters * startFactor + (t - 1) * change)));
  }

  protected override closedForm(): number[] {
    const { lastEpoch: t, startFactor, endFactor, totalIters } = this;
    return this.each(
      (_, base) => base * (startFactor + ((endFactor - startFactor) * Math.min(totalIters, t)) / totalIters),
    );
  }
}

/** `factor` times the base rate for `totalIters` epochs, then the base rate. */
export class ConstantLR extends LRScheduler {
  readonly factor: number;
  readonly totalIters: number;

  constructor(
    optimizer: Optimizer,
    ...args: Trailing<
      [factor: number, totalIters: number, lastEpoch: number],
      { factor?: number; totalIters?: number; lastEpoch?: number }
    >
  ) {
    const { factor, totalIters, lastEpoch } = readSchedule(
      'ConstantLR',
      optimizer,
      args,
      { factor: 1 / 3, totalIters: 5, lastEpoch: -1 },
      { totalIters: aWhole },
    );
    super(optimizer, lastEpoch);
    if (!(factor > 0 && factor <= 1))
      throw new Error(`ConstantLR: factor must be above 0 and at most 1, got ${factor}`);
    this.factor = factor;
    this.totalIters = totalIters;
    this.start();
  }

  protected getLr(): number[] {
    const { lastEpoch: t, factor, totalIters } = this;
    if (t === 0) return this.each((lr) => lr * factor);
    return this.each((lr) => (t === totalIters ? lr * (1 / factor) : lr));
  }

  protected override closedForm(): number[] {
    const done = this.lastEpoch >= this.totalIters ? 1 : 0;
    return this.each((_, base) => base * (this.factor + done * (1 - this.factor)));
  }
}

/** The base rate times (1 - epoch / totalIters)^power. */
export class PolynomialLR extends LRScheduler {
  readonly totalIters: number;
  readonly power: number;

  constructor(
    optimizer: Optimizer,
    ...args: Trailing<
      [totalIters: number, power: number, lastEpoch: number],
      { totalIters?: number; power?: number; lastEpoch?: number }
    >
  ) {
    const { totalIters, power, lastEpoch } = readSchedule(
      'PolynomialLR',
      optimizer,
      args,
      { totalIters: 5, power: 1, lastEpoch: -1 },
      { totalIters: aWhole },
    );
    super(optimizer, lastEpoch);
    this.totalIters = totalIters;
    this.power = power;
    this.start();
  }

  protected getLr(): number[] {
    const { lastEpoch: t, totalIters, power } = this;
    if (t === 0 || t > totalIters) return this.each((lr) => lr);
    const factor = ((1 - t / totalIters) / (1 - (t - 1) / totalIters)) ** power;
    return this.each((lr) => lr * factor);
  }

  protected override closedForm(): number[] {
    const { lastEpoch: t, totalIters, power } = this;
    return this.each((_, base) => base * (1 - Math.min(totalIters, t) / totalIters) ** power);
  }
}

export { LRScheduler, type Scheduler } from './lr-base.js';
export { ChainedScheduler, SequentialLR } from './lr-compose.js';
export {
  CosineAnnealingWarmRestarts,
  CyclicLR,
  OneCycleLR,
  type CyclicOptions,
  type OneCycleOptions,
} from './lr-cycles.js';
export { ReduceLROnPlateau, type PlateauOptions } from './plateau.js';
export type { SavedState, SchedulerState } from './scheduler-state.js';
