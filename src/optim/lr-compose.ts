import { lineOf } from '../tensor/line.js';
import { argumentReader, checkCount, required, type Needed } from '../tensor/options.js';
import { epochs, readSchedule } from './lr-args.js';
import { LRScheduler, recorded, type Scheduler } from './lr-base.js';
import type { Optimizer } from './optimizer.js';
import { readFields, type SavedState, type SchedulerState } from './scheduler-state.js';
import { show } from './show.js';

/** What a composition's state must have, and PyTorch's has besides. */
const composed = ['last_epoch', '_schedulers'];
const composedKeys = [...composed, '_last_lr', '_milestones'];

/**
 * Loads the states of all schedulers.
 *
 * @returns `last_epoch`, which PyTorch's ChainedScheduler has not
 * @throws Error where the state does not fit; then all are as they were
 */
function loadEach(what: string, schedulers: readonly Scheduler[], state: SavedState): number | undefined {
  const where = `${what}.loadStateDict`;
  const saved = readFields(what, state);
  const needed = what === 'ChainedScheduler' && Object.hasOwn(saved, '_last_lr') ? ['_schedulers'] : composed;
  const missing = needed.filter((key) => !Object.hasOwn(saved, key));
  const unknown = Object.keys(saved).filter((key) => !composedKeys.includes(key));
  if (missing.length + unknown.length > 0)
    throw new Error(
      `${where}: the state does not fit; missing: ${missing.join(', ') || 'none'}, unexpected: ${unknown.join(', ') || 'none'}`,
    );
  const { last_epoch: given, _schedulers: states } = saved;
  const lastEpoch = typeof given === 'bigint' ? Number(given) : given;
  if (Object.hasOwn(saved, 'last_epoch') && !Number.isInteger(lastEpoch))
    throw new Error(`${where}: 'last_epoch' must be a whole number, got ${show(lastEpoch)}`);
  if (!Array.isArray(states) || states.length !== schedulers.length)
    throw new Error(`${where}: the state is not of ${schedulers.length} schedulers`);
  const before = schedulers.map((scheduler) => scheduler.stateDict());
  try {
    schedulers.forEach((scheduler, i) => scheduler.loadStateDict(states[i] as SavedState));
  } catch (error) {
    schedulers.forEach((scheduler, i) => scheduler.loadStateDict(before[i] as SavedState));
    throw error;
  }
  return lastEpoch as number | undefined;
}

function requireSchedulers(what: string, value: unknown, fits: (item: unknown) => boolean): void {
  if (!Array.isArray(value)) throw new Error(`${what} must be a list of schedulers, got ${show(value)}`);
  const wrong = value.findIndex((item) => !fits(item));
  if (wrong >= 0)
    throw new Error(
      `${what}, item ${wrong}, must be a scheduler that steps by epochs, got ${show(value[wrong])}`,
    );
}

/**
 * Runs one scheduler after another; scheduler `i + 1` takes over at epoch `milestones[i]`, from its own epoch
 * 0.
 */
export class SequentialLR implements Scheduler {
  lastEpoch: number;
  private readonly schedulers: readonly LRScheduler[];
  private readonly milestones: readonly number[];

  /** @throws Error unless there is one milestone fewer than schedulers, all of this optimizer */
  constructor(
    readonly optimizer: Optimizer,
    ...args: Needed<
      [schedulers: readonly LRScheduler[], milestones: readonly number[]],
      ['schedulers', 'milestones'],
      [lastEpoch: number],
      { lastEpoch?: number }
    >
  ) {
    const { schedulers, milestones, lastEpoch } = readSchedule(
      'SequentialLR',
      optimizer,
      args,
      {
        schedulers: required<readonly LRScheduler[]>(),
        milestones: required<readonly number[]>(),
        lastEpoch: -1,
      },
      {
        schedulers: (what, value) => requireSchedulers(what, value, (item) => item instanceof LRScheduler),
        milestones: epochs,
      },
    );
    this.schedulers = schedulers;
    this.milestones = milestones;
    this.lastEpoch = lastEpoch + 1;
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
    checkCount('SequentialLR.step', arguments.length, 0);
    recorded(() => this.advance());
  }

  private advance(): void {
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

  /** @throws Error, and changes nothing, where the state does not fit */
  loadStateDict(state: SavedState): void {
    this.lastEpoch = loadEach('SequentialLR', this.schedulers, state) as number;
  }

  /** The class with its schedulers and where it stands. */
  toString(): string {
    const { schedulers, milestones, lastEpoch } = this;
    return lineOf('SequentialLR', { schedulers, milestones, lastEpoch });
  }

  [Symbol.for('nodejs.util.inspect.custom')](): string {
    return this.toString();
  }
}

interface Steppable extends Scheduler {
  step(): void;
}

/** Steps several schedulers at once, each changing what the one before it set. */
export class ChainedScheduler implements Scheduler {
  readonly optimizer: Optimizer;
  lastEpoch = 0;
  private readonly schedulers: readonly Steppable[];

  /** @throws Error unless it is given a list of schedulers that belong to the same optimizer */
  constructor(...args: Needed<[schedulers: readonly Steppable[]], ['schedulers']>) {
    const read = argumentReader<[readonly Steppable[]]>('ChainedScheduler', 'schedulers');
    const [schedulers] = read(args);
    requireSchedulers(
      'ChainedScheduler: schedulers',
      schedulers,
      (item) => typeof (item as Partial<Steppable> | null | undefined)?.step === 'function',
    );
    this.schedulers = schedulers;
    const first = schedulers[0];
    if (first === undefined) throw new Error('ChainedScheduler: give it at least one scheduler');
    if (schedulers.some(({ optimizer }) => optimizer !== first.optimizer))
      throw new Error('ChainedScheduler: every scheduler must belong to the same optimizer');
    this.optimizer = first.optimizer;
  }

  step(): void {
    checkCount('ChainedScheduler.step', arguments.length, 0);
    recorded(() => this.advance());
  }

  private advance(): void {
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

  /** @throws Error, and changes nothing, where the state does not fit */
  loadStateDict(state: SavedState): void {
    const lastEpoch = loadEach('ChainedScheduler', this.schedulers, state);
    this.lastEpoch = lastEpoch ?? this.schedulers[0]?.lastEpoch ?? 0;
  }

  /** The class with its schedulers and where it stands. */
  toString(): string {
    const { schedulers, lastEpoch } = this;
    return lineOf('ChainedScheduler', { schedulers, lastEpoch });
  }

  [Symbol.for('nodejs.util.inspect.custom')](): string {
    return this.toString();
  }
}
