import type { Optimizer } from './optimizer.js';
import { loadFields, saveFields, type SchedulerState } from './scheduler-state.js';

/** `torch.optim.lr_scheduler`: what sets the learning rate of an optimizer's groups from epoch to epoch. */

/**
 * `torch.optim.lr_scheduler.LRScheduler`. Subclasses say in `getLr` what the rates of epoch `lastEpoch` are, and call `start()`
 * at the end of their constructor. Call `step()` after each epoch, once the optimizer has stepped.
 */
export abstract class LRScheduler {
  readonly baseLrs: number[];
  lastEpoch: number;
  protected stepCount = 0;
  protected lastLr: number[] = [];

  constructor(
    readonly optimizer: Optimizer,
    lastEpoch = -1,
  ) {
    optimizer.paramGroups.forEach((group, i) => {
      if (lastEpoch === -1) group.initialLr ??= group.lr;
      else if (group.initialLr === undefined) {
        throw new Error(
          `${this.constructor.name}: group ${i} has no initialLr to resume from; load the optimizer's state first`,
        );
      }
    });
    this.baseLrs = optimizer.paramGroups.map((group) => group.initialLr as number);
    this.lastEpoch = lastEpoch;
  }

  /** The rate of each group at `lastEpoch`, usually from the group's present rate. */
  protected abstract getLr(): number[];

  /** The rate of each group at `lastEpoch` from the base rates alone, where there is such a formula. */
  protected closedForm(): number[] {
    return this.getLr();
  }

  protected start(): void {
    this.stepCount = 0;
    this.step();
  }

  /** @internal Starts over, for SequentialLR. */
  restart(): void {
    this.start();
  }

  step(): void {
    this.stepCount++;
    this.lastEpoch++;
    this.apply(this.getLr());
  }

  /** @internal Jumps to an epoch, as `step(epoch)` in PyTorch. */
  jump(epoch: number): void {
    this.stepCount++;
    this.lastEpoch = epoch;
    this.apply(this.closedForm());
  }

  private apply(rates: readonly number[]): void {
    this.optimizer.paramGroups.forEach((group, i) => (group.lr = rates[i] ?? group.lr));
    this.lastLr = this.optimizer.paramGroups.map((group) => group.lr);
  }

  /** The rates that the last `step()` set. */
  getLastLr(): readonly number[] {
    return this.lastLr;
  }

  stateDict(): SchedulerState {
    return saveFields(this);
  }

  loadStateDict(state: SchedulerState | ReadonlyMap<string, unknown>): void {
    loadFields(this, state);
  }

  /** The groups' present rates through `change`. */
  protected each(change: (lr: number, base: number, group: number) => number): number[] {
    return this.optimizer.paramGroups.map((group, i) => change(group.lr, this.baseLrs[i] as number, i));
  }
}

/** The base rate times `lrLambda(epoch)`; one function, or one per group. */
export class LambdaLR extends LRScheduler {
  private readonly lambdas: readonly ((epoch: number) => number)[];

  constructor(
    optimizer: Optimizer,
    lrLambda: ((epoch: number) => number) | readonly ((epoch: number) => number)[],
    { lastEpoch = -1 }: { lastEpoch?: number } = {},
  ) {
    super(optimizer, lastEpoch);
    const groups = optimizer.paramGroups.length;
    this.lambdas =
      typeof lrLambda === 'function' ? new Array<typeof lrLambda>(groups).fill(lrLambda) : [...lrLambda];
    if (this.lambdas.length !== groups) {
      throw new Error(
        `LambdaLR: ${this.lambdas.length} functions for ${groups} parameter groups; give one, or one for each`,
      );
    }
    this.start();
  }

  protected getLr(): number[] {
    return this.each((_, base, i) => base * (this.lambdas[i] as (epoch: number) => number)(this.lastEpoch));
  }
}

/** Times `gamma` every `stepSize` epochs. */
export class StepLR extends LRScheduler {
  readonly gamma: number;

  constructor(
    optimizer: Optimizer,
    readonly stepSize: number,
    { gamma = 0.1, lastEpoch = -1 }: { gamma?: number; lastEpoch?: number } = {},
  ) {
    super(optimizer, lastEpoch);
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

  constructor(
    optimizer: Optimizer,
    milestones: readonly number[],
    { gamma = 0.1, lastEpoch = -1 }: { gamma?: number; lastEpoch?: number } = {},
  ) {
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
  constructor(
    optimizer: Optimizer,
    readonly gamma: number,
    { lastEpoch = -1 }: { lastEpoch?: number } = {},
  ) {
    super(optimizer, lastEpoch);
    this.start();
  }

  protected getLr(): number[] {
    return this.each((lr) => (this.lastEpoch === 0 ? lr : lr * this.gamma));
  }

  protected override closedForm(): number[] {
    return this.each((_, base) => base * this.gamma ** this.lastEpoch);
  }
}

/** Half a cosine from the base rate down to `etaMin` in `tMax` epochs, and up again (Loshchilov & Hutter 2017, without restarts). */
export class CosineAnnealingLR extends LRScheduler {
  readonly etaMin: number;

  constructor(
    optimizer: Optimizer,
    readonly tMax: number,
    { etaMin = 0, lastEpoch = -1 }: { etaMin?: number; lastEpoch?: number } = {},
  ) {
    super(optimizer, lastEpoch);
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
    options: { startFactor?: number; endFactor?: number; totalIters?: number; lastEpoch?: number } = {},
  ) {
    const { startFactor = 1 / 3, endFactor = 1, totalIters = 5, lastEpoch = -1 } = options;
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
    {
      factor = 1 / 3,
      totalIters = 5,
      lastEpoch = -1,
    }: { factor?: number; totalIters?: number; lastEpoch?: number } = {},
  ) {
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
    {
      totalIters = 5,
      power = 1,
      lastEpoch = -1,
    }: { totalIters?: number; power?: number; lastEpoch?: number } = {},
  ) {
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

/** Runs one scheduler after another; scheduler `i + 1` takes over at epoch `milestones[i]`, from its own epoch 0. */
export class SequentialLR {
  lastEpoch = 0;

  constructor(
    readonly optimizer: Optimizer,
    private readonly schedulers: readonly LRScheduler[],
    private readonly milestones: readonly number[],
  ) {
    if (schedulers.length === 0 || milestones.length !== schedulers.length - 1) {
      throw new Error(
        `SequentialLR: ${schedulers.length} schedulers need ${schedulers.length - 1} milestones, got ${milestones.length}`,
      );
    }
    if (schedulers.some((scheduler) => scheduler.optimizer !== optimizer)) {
      throw new Error('SequentialLR: every scheduler must belong to the optimizer that is passed in');
    }
    for (const group of optimizer.paramGroups) group.lr = group.initialLr ?? group.lr;
    for (const scheduler of schedulers) scheduler.lastEpoch--;
    schedulers[0]?.restart();
  }

  private get current(): LRScheduler {
    const index = this.milestones.filter((epoch) => epoch <= this.lastEpoch).length;
    return this.schedulers[index] as LRScheduler;
  }

  step(): void {
    this.lastEpoch++;
    if (this.milestones.includes(this.lastEpoch)) this.current.jump(0);
    else this.current.step();
  }

  getLastLr(): readonly number[] {
    return this.current.getLastLr();
  }

  stateDict(): SchedulerState {
    return {
      last_epoch: this.lastEpoch,
      _schedulers: this.schedulers.map((scheduler) => scheduler.stateDict()),
    };
  }

  loadStateDict(state: SchedulerState): void {
    if (typeof state['last_epoch'] === 'number') this.lastEpoch = state['last_epoch'];
    const saved = state['_schedulers'];
    if (Array.isArray(saved))
      this.schedulers.forEach((scheduler, i) => scheduler.loadStateDict(saved[i] as SchedulerState));
  }
}

export { ReduceLROnPlateau, type PlateauOptions } from './plateau.js';
export type { SchedulerState } from './scheduler-state.js';
