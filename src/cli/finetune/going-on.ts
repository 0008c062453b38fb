import { CliError, UsageError } from '../errors.js';
import { shellWord } from '../output.js';
import { canBeExtended } from '../schedules.js';
import type { TrainingData } from './data.js';
import { resumeCommand, type RunFolder } from './run-folder.js';
import type { RunState } from './state.js';

/**
 * What stands in the way of more epochs than a run was started for, or null: then they come out as if it had
 * been.
 */
function obstacle({ config: { plan } }: RunFolder, state: RunState | null): string | null {
  if (!canBeExtended(plan.schedule))
    return `--schedule ${plan.schedule} is laid out over its ${plan.epochs} epochs`;
  return state?.stoppedEarly === true ? '--early-stop has ended it, as it would end a longer one' : null;
}

const newRun = (run: RunFolder): string =>
  `begin a new run with its weights (--weights ${shellWord(run.file('last'))} --head keep --out NEW)`;

/** Whether something would be lost if a run began again. */
export const hasTrained = (state: RunState | null): boolean =>
  state !== null && (state.progress.epochs.length > 0 || state.progress.sums.batches > 0);

/**
 * The epochs of a run that goes on with `--epochs`.
 *
 * @throws UsageError where they are fewer than before, or more would not be the same training
 */
export function extended(run: RunFolder, state: RunState | null, epochs: number): number {
  const { plan } = run.config;
  if (epochs < plan.epochs)
    throw new UsageError(
      `--epochs ${epochs}: ${run.path} was started for ${plan.epochs}; it can only get more`,
    );
  const why = epochs === plan.epochs || !hasTrained(state) ? null : obstacle(run, state);
  if (why !== null)
    throw new UsageError(`--epochs ${epochs}: ${run.path} cannot get more, as ${why}; ${newRun(run)}`);
  return epochs;
}

/** What to do for more epochs than a finished run has. */
export function howToExtend(run: RunFolder, state: RunState): string {
  const why = obstacle(run, state);
  if (why !== null) return `it cannot get more epochs, as ${why}; for more, ${newRun(run)}`;
  return `for more epochs: ${resumeCommand(run.path)} --epochs ${2 * run.config.plan.epochs}`;
}

/** Why a run cannot go on with other images than it was trained on. */
export function changedImages(run: RunFolder, { train }: TrainingData): CliError {
  const [then, now] = [run.config.images.train, train.dataset.length];
  const counts = then === now ? '' : `, ${then} then and ${now} now`;
  return new CliError(
    `${run.path}: its images have changed since it was started (names or classes in ${train.name}${counts}), ` +
      'and their order in every epoch with them. Put them back (a file that cannot be decoded may stay: ' +
      `--on-bad-image skip leaves it out), or ${newRun(run)}`,
  );
}
