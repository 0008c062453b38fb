import { lineOf } from '../tensor/line.js';
import { type Trailing } from '../tensor/options.js';
import { aNumber, anAmount, eachGroup, oneOf, readSchedule, requireOptimizer } from './lr-args.js';
import { perGroup, type Scheduler } from './lr-base.js';
import type { Optimizer } from './optimizer.js';
import { fieldsOf, loadFields, saveFields, type SavedState, type SchedulerState } from './scheduler-state.js';
import { show } from './show.js';

export interface PlateauOptions {
  /** Is a lower (`min`) or a higher (`max`) metric better? */
  mode?: 'min' | 'max';
  factor?: number;
  /** Epochs without an improvement that are let pass. */
  patience?: number;
  threshold?: number;
  thresholdMode?: 'rel' | 'abs';
  /** Epochs after a reduction that do not count. */
  cooldown?: number;
  /** Lower bound, one for all groups or one each. */
  minLr?: number | readonly number[];
  /** Smaller changes are not made. */
  eps?: number;
}

/** Times `factor` when a metric has stopped improving: `scheduler.step(validationLoss)`. */
export class ReduceLROnPlateau implements Scheduler {
  readonly mode: 'min' | 'max';
  readonly factor: number;
  readonly patience: number;
  readonly threshold: number;
  readonly thresholdMode: 'rel' | 'abs';
  readonly cooldown: number;
  readonly minLrs: readonly number[];
  readonly eps: number;
  lastEpoch = 0;
  best: number;
  numBadEpochs = 0;
  cooldownCounter = 0;
  protected lastLr: number[];

  constructor(
    readonly optimizer: Optimizer,
    ...args: Trailing<
      [mode: 'min' | 'max', factor: number, patience: number, threshold: number],
      PlateauOptions
    >
  ) {
    requireOptimizer('ReduceLROnPlateau', optimizer);
    const { mode, factor, patience, threshold, thresholdMode, cooldown, minLr, eps } = readSchedule<
      Required<PlateauOptions>
    >(
      'ReduceLROnPlateau',
      optimizer,
      args,
      {
        mode: 'min',
        factor: 0.1,
        patience: 10,
        threshold: 1e-4,
        thresholdMode: 'rel',
        cooldown: 0,
        minLr: 0,
        eps: 1e-8,
      },
      {
        mode: oneOf('min', 'max'),
        patience: anAmount,
        thresholdMode: oneOf('rel', 'abs'),
        cooldown: anAmount,
        minLr: eachGroup(optimizer, aNumber),
      },
    );
    if (!(factor < 1)) throw new Error(`ReduceLROnPlateau: factor must be below 1, got ${factor}`);
    this.minLrs = perGroup('ReduceLROnPlateau: minLr', optimizer, minLr);
    this.mode = mode;
    this.factor = factor;
    this.patience = patience;
    this.threshold = threshold;
    this.thresholdMode = thresholdMode;
    this.cooldown = cooldown;
    this.eps = eps;
    this.best = mode === 'min' ? Infinity : -Infinity;
    this.lastLr = optimizer.paramGroups.map((group) => group.lr);
  }

  private isBetter(metric: number): boolean {
    const { mode, thresholdMode, threshold, best } = this;
    if (mode === 'min') return metric < (thresholdMode === 'rel' ? best * (1 - threshold) : best - threshold);
    return metric > (thresholdMode === 'rel' ? best * (threshold + 1) : best + threshold);
  }

  /**
   * @param metric a number: `await loss.item()`
   * @throws Error where it is missing or something else
   */
  step(metric: number): void {
    if (typeof metric !== 'number')
      throw new Error(
        `ReduceLROnPlateau.step: expected the metric, a number, got ${show(metric)}; as in step(await loss.item())`,
      );
    this.lastEpoch++;
    if (this.isBetter(metric)) {
      this.best = metric;
      this.numBadEpochs = 0;
    } else this.numBadEpochs++;
    if (this.cooldownCounter > 0) {
      this.cooldownCounter--;
      this.numBadEpochs = 0;
    }
    if (this.numBadEpochs > this.patience) {
      this.optimizer.paramGroups.forEach((group, i) => {
        const lr = Math.max(group.lr * this.factor, this.minLrs[i] as number);
        if (group.lr - lr > this.eps) group.lr = lr;
      });
      this.cooldownCounter = this.cooldown;
      this.numBadEpochs = 0;
    }
    this.lastLr = this.optimizer.paramGroups.map((group) => group.lr);
  }

  getLastLr(): readonly number[] {
    return this.lastLr;
  }

  stateDict(): SchedulerState {
    return saveFields(this);
  }

  /** @throws Error, and changes nothing, where a field is missing, unknown, or of another kind */
  loadStateDict(state: SavedState): void {
    loadFields(this, state);
  }

  /** The class with its options, where it stands and the rates. */
  toString(): string {
    return lineOf(this.constructor.name, fieldsOf(this));
  }

  [Symbol.for('nodejs.util.inspect.custom')](): string {
    return this.toString();
  }
}
