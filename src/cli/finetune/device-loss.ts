import { existsSync, statSync } from 'node:fs';
import { DeviceLostError, init } from '../../index.js';
import type { Context } from '../context.js';
import { checkInterrupted } from '../context.js';
import { CliError } from '../errors.js';
import { resumeCommand, type RunFolder } from './run-folder.js';
import { readState } from './state.js';

/** Losses in a row, without a new checkpoint in between, after which the device is not opened again. */
const mostLosses = 3;

/**
 * Runs `first`; when the device is lost meanwhile opens it anew and runs `again`, which goes on from the
 * run's last checkpoint, or from the start where there is none. Either comes to the weights of a training
 * that nothing happened to.
 *
 * @throws CliError when the device is lost again and again
 */
export async function survivingLosses<R>(
  context: Context,
  run: RunFolder | null,
  first: () => Promise<R>,
  again: () => Promise<R>,
): Promise<R> {
  // The other ranks are in the middle of the step, and would have to be taken back as well.
  if (context.ranks !== null) return first();
  let [losses, saved] = [0, savedAt(run)];
  for (let job = first; ; job = again) {
    try {
      if (losses > 0) await init();
      return await job();
    } catch (error) {
      const loss = lossIn(error);
      if (loss === null) throw error;
      checkInterrupted(context);
      const now = savedAt(run);
      losses = now === saved ? losses + 1 : 1;
      saved = now;
      if (losses >= mostLosses) {
        throw new CliError(
          `the GPU device was lost ${losses} times in a row: ${loss.message}` +
            (run === null || now === null
              ? ''
              : ` The last checkpoint is whole; go on with: ${resumeCommand(run.path)}`),
          { cause: error },
        );
      }
      context.output.line(`the GPU device was lost; a new one goes on from ${await placeOf(run)}`);
    }
  }
}

/** The loss that an error comes of. */
export function lossIn(error: unknown): DeviceLostError | null {
  for (let at = error; at instanceof Error; at = at.cause) if (at instanceof DeviceLostError) return at;
  return null;
}

/** Tells one checkpoint from the next. */
function savedAt(run: RunFolder | null): string | null {
  const path = run?.file('state');
  if (path === undefined || !existsSync(path)) return null;
  const { mtimeMs, size, ino } = statSync(path);
  return `${mtimeMs} ${size} ${ino}`;
}

async function placeOf(run: RunFolder | null): Promise<string> {
  const state = run === null ? null : await readState(run);
  if (state === null) return 'the start';
  const { epochs, sums, finished } = state.progress;
  if (finished) return 'the end of the training';
  return epochs.length === 0 && sums.count === 0
    ? 'the start'
    : `the last checkpoint, in epoch ${epochs.length + 1}`;
}
