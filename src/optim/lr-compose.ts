import type { LRScheduler, Scheduler } from './lr-base.js';
import type { Optimizer } from './optimizer.js';
import { readFields, type SavedState, type SchedulerState } from './scheduler-state.js';

function loadEach(what: string, schedulers: readonly Scheduler[], saved: unknown): void {
  if (!Array.isArray(saved) || saved.length !== schedulers.length)
    throw new Error(`${what}.loadStateDict: the state is not of ${schedulers.length} schedulers`);
  schedulers.forEach((scheduler, i) => scheduler.loadStateDict(saved[i] as SavedState));
}

/**
 * Runs one scheduler after another; scheduler `i + 1` takes over at epoch `milestones[i]`, from its own epoch
 * 0.
 */
export class SequentialLR implements Scheduler {
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

  loadStateDict(state: SavedState): void {
    const saved = readFields(state);
    if (typeof saved['last_epoch'] === 'number') this.lastEpoch = saved['last_epoch'];
    loadEach('SequentialLR', this.schedulers, saved['_schedulers']);
  }
}

interface Steppable extends Scheduler {
  step(): void;
}

/** Steps several schedulers at once, each changing what the one before it set. */
export class ChainedScheduler implements Scheduler {
  readonly optimizer: Optimizer;
  lastEpoch = 0;

  constructor(private readonly schedulers: readonly Steppable[]) {
    const first = schedulers[0];
    if (first === undefined) throw new Error('ChainedScheduler: give it at least one scheduler');
    if (schedulers.some(({ optimizer }) => optimizer !== first.optimizer))
      throw new Error('ChainedScheduler: every scheduler must belong to the same optimizer');
    this.optimizer = first.optimizer;
  }

  step(): void {
    this.lastEpoch++;
    for (const scheduler of this.schedulers) scheduler.step();
  }

  getLastLr(): readonly number[] {
    return this.optimizer.paramGroups.map((group) => group.lr);
  }

  stateDict(): SchedulerState {
    return {
      last_epoch: this.lastEpoch,
      _last_lr: [...this.getLastLr()],
      _schedulers: this.schedulers.map((scheduler) => scheduler.stateDict()),
    };
  }

  loadStateDict(state: SavedState): void {
    const saved = readFields(state);
    if (typeof saved['last_epoch'] === 'number') this.lastEpoch = saved['last_epoch'];
    loadEach('ChainedScheduler', this.schedulers, saved['_schedulers']);
  }
}
