import type { Progress } from '../../train/progress.js';
import { plain, progressOf } from '../../train/state.js';
import { inWords, type RunFolder } from './run-folder.js';

/** A run's state.pth. */
export interface RunState {
  readonly values: ReadonlyMap<string, unknown>;
  readonly progress: Progress;
  /** Early stopping has ended the training. */
  readonly stoppedEarly: boolean;
}

/**
 * A run's state.pth, or null where the run was ended before it had the first.
 *
 * @throws CliError when files are missing without which the run cannot go on, or could only start over and
 * lose what it has
 */
export async function readState(run: RunFolder): Promise<RunState | null> {
  // Epochs may have been added to the plan since.
  const isFinished = (progress: Progress, values: ReadonlyMap<string, unknown>): boolean =>
    progress.finished && (hasStoppedEarly(values) || progress.epochs.length >= run.config.plan.epochs);
  const isComplete = (progress: Progress, values: ReadonlyMap<string, unknown>): boolean =>
    isFinished(progress, values) && run.has('report');
  const values = await inWords(run.path, () => run.readState(isComplete));
  if (values === null) return null;
  const stored = progressOf(values);
  return {
    values,
    progress: { ...stored, finished: isFinished(stored, values) },
    stoppedEarly: hasStoppedEarly(values),
  };
}

function hasStoppedEarly(values: ReadonlyMap<string, unknown>): boolean {
  const { num_bad_epochs: bad, patience } = (plain(values.get('early_stopping') ?? null) ?? {}) as Partial<
    Record<string, number>
  >;
  return bad !== undefined && patience !== undefined && bad >= patience;
}
