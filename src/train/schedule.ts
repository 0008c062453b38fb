import { CyclicLR, OneCycleLR } from '../optim/lr-cycles.js';
import type { EarlyStopping } from '../optim/early-stopping.js';
import { ReduceLROnPlateau } from '../optim/plateau.js';
import type { lrScheduler } from '../optim/index.js';
import type { EpochReport } from './progress.js';

/** What sets the learning rate while a model is trained. */
export interface Schedule {
  /** Whether it steps after each epoch or after each step. */
  readonly per: 'epoch' | 'batch';
  /** Which metrics are better, where it looks at one; else null. */
  readonly mode: 'min' | 'max' | null;
  /** @param metric NaN where it looks at none */
  step(metric: number): void;
  stateDict(): lrScheduler.SchedulerState;
  loadStateDict(state: lrScheduler.SchedulerState): void;
}

export type AnyScheduler = lrScheduler.LRScheduler | lrScheduler.SequentialLR | lrScheduler.ReduceLROnPlateau;

/**
 * A scheduler with when it steps.
 *
 * @param per default: `batch` for OneCycleLR and CyclicLR, else `epoch`
 */
export function scheduleOf(scheduler: AnyScheduler, per?: 'epoch' | 'batch'): Schedule {
  const cycles = scheduler instanceof OneCycleLR || scheduler instanceof CyclicLR;
  const plateau = scheduler instanceof ReduceLROnPlateau ? scheduler : null;
  if (plateau !== null && per === 'batch')
    throw new Error("scheduleOf: ReduceLROnPlateau looks at an epoch's metric; it steps after epochs");
  return {
    per: per ?? (cycles ? 'batch' : 'epoch'),
    mode: plateau?.mode ?? null,
    step: (metric) => {
      if (plateau !== null) plateau.step(metric);
      else (scheduler as lrScheduler.LRScheduler).step();
    },
    stateDict: () => scheduler.stateDict(),
    loadStateDict: (state) => scheduler.loadStateDict(state),
  };
}

/** Which of an epoch's numbers early stopping and plateaus look at. */
export type Watch =
  'validationLoss' | 'validationAccuracy' | 'loss' | 'trainAccuracy' | ((report: EpochReport) => number);

const modes = {
  validationLoss: 'min',
  loss: 'min',
  validationAccuracy: 'max',
  trainAccuracy: 'max',
} as const;

/** What a schedule or an early stopping of this mode looks at. */
const watched = (watch: Watch | undefined, mode: 'min' | 'max'): Watch =>
  watch ?? (mode === 'max' ? 'validationAccuracy' : 'validationLoss');

/** @throws Error where what is watched will not be there, or is better the other way round */
export function checkWatch(
  watch: Watch | undefined,
  watchers: readonly (Schedule | EarlyStopping | null)[],
  validated: boolean,
): void {
  for (const watcher of watchers) {
    if (watcher === null || watcher.mode === null) continue;
    const what = 'per' in watcher ? 'the schedule' : 'early stopping';
    const name = watched(watch, watcher.mode);
    if (typeof name !== 'string') continue;
    if (name.startsWith('validation') && !validated) {
      throw new Error(
        `Trainer.fit: ${what} watches '${name}', but there is no validation data; give { validation: loader }, or watch: 'loss'`,
      );
    }
    if (modes[name] !== watcher.mode) {
      throw new Error(
        `Trainer: ${what} is of mode '${watcher.mode}', but watches '${name}', of which ${modes[name] === 'min' ? 'less' : 'more'} is better`,
      );
    }
  }
}

/** @throws Error where the number is not there */
export function metricFor(watch: Watch | undefined, mode: 'min' | 'max', report: EpochReport): number {
  const name = watched(watch, mode);
  const value = typeof name === 'string' ? report[name] : name(report);
  if (typeof value === 'number') return value;
  const which = typeof name === 'string' ? `'${name}'` : 'what `watch` returns';
  throw new Error(
    `Trainer.fit: ${which} is watched, but epoch ${report.epoch} has no such number; name another with \`watch\``,
  );
}
