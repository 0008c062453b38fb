import { currentRecording } from '../device/index.js';
import { lineOf } from '../tensor/line.js';
import { checkCount } from '../tensor/options.js';
import { aWhole } from './lr-args.js';
import type { Optimizer } from './optimizer.js';
import { fieldsOf, loadFields, saveFields, type SavedState, type SchedulerState } from './scheduler-state.js';

/** @internal Runs `step` now, and again in each replay of a compiled function that calls it. */
export function recorded(step: () => void): void {
  const recording = currentRecording();
  if (recording === null) step();
  else recording.host(step);
}

/** What all schedulers can do. */
export interface Scheduler {
  readonly optimizer: Optimizer;
  lastEpoch: number;
  /** The rates that the last `step()` set. */
  getLastLr(): readonly number[];
  /** Plain values under PyTorch's names; what a function computes is not among them. */
  stateDict(): SchedulerState;
  /**
   * Goes on where the other stopped. The rates themselves come back with the optimizer's state dict.
   *
   * @throws Error, and changes nothing, where a field is missing, unknown, or of another kind
   */
  loadStateDict(state: SavedState): void;
}

/**
 * `torch.optim.lr_scheduler.LRScheduler`. Subclasses say in `getLr` what the rates of epoch `lastEpoch` are,
 * and call `start()` at the end of their constructor. Call `step()` after each epoch, once the optimizer has
 * stepped.
 */
export abstract class LRScheduler implements Scheduler {
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

  /** @param epoch jumps there, to the rates that the base rates have in it, as PyTorch does */
  step(epoch?: number): void {
    const name = `${this.constructor.name}.step`;
    checkCount(name, arguments.length, 1);
    if (epoch !== undefined) aWhole(`${name}: the epoch`, epoch);
    recorded(() => {
      if (epoch === undefined) this.advance();
      else this.jump(epoch);
    });
  }

  private advance(): void {
    this.stepCount++;
    this.lastEpoch++;
    this.adoptGroups();
    this.apply(this.getLr());
  }

  /** Groups added since (a layer was unfrozen) start from their own rate. */
  protected adoptGroups(): void {
    for (const group of this.optimizer.paramGroups.slice(this.baseLrs.length))
      this.baseLrs.push((group.initialLr ??= group.lr));
  }

  /** @internal */
  jump(epoch: number): void {
    this.stepCount++;
    this.lastEpoch = epoch;
    this.adoptGroups();
    this.apply(this.closedForm());
  }

  protected apply(rates: readonly number[]): void {
    rates.forEach((rate, i) => {
      if (!Number.isNaN(rate)) return;
      throw new Error(
        `${this.constructor.name}: it has no rate for group ${i}; make the scheduler again after addParamGroup`,
      );
    });
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

  /** The groups' present rates through `change`. */
  protected each(change: (lr: number, base: number, group: number) => number): number[] {
    return this.optimizer.paramGroups.map((group, i) => change(group.lr, this.baseLrs[i] as number, i));
  }
}

/** @internal One value for every group, or one each. */
export function perGroup(
  what: string,
  optimizer: Optimizer,
  value: number | readonly number[],
): readonly number[] {
  const groups = optimizer.paramGroups.length;
  if (typeof value === 'number') return new Array<number>(groups).fill(value);
  if (value.length !== groups)
    throw new Error(
      `${what}: ${value.length} values for ${groups} parameter groups; give one, or one for each`,
    );
  return [...value];
}
