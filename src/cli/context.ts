import type { Output } from './output.js';
import { Interrupted } from './errors.js';

/** What every command is given. */
export interface Context {
  readonly output: Output;
  /** Aborted by Ctrl-C: commands stop at the next safe place. */
  readonly signal: AbortSignal;
}

/** @throws Interrupted after Ctrl-C */
export function checkInterrupted({ signal }: Context): void {
  if (signal.aborted) throw new Interrupted();
}
