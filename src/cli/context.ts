import type { Output } from './output.js';
import { Interrupted } from './errors.js';
import type { CommandRanks } from './ranks.js';

/** What every command is given. */
export interface Context {
  readonly output: Output;
  /**
   * Aborted by Ctrl-C and its kin, with an {@link Interrupted} as the reason: commands stop at the next safe
   * place.
   *
   * Until a command first asks for it, signals end the process at once, also while JavaScript is busy (with a
   * file from a stranger, for one). So ask for it when there is something to put in order, not before.
   */
  readonly signal: AbortSignal;
  /** The processes that the command is run by; null where it is this one alone. */
  readonly ranks: CommandRanks | null;
  /** `init()`. */
  readonly openDevice: () => Promise<void>;
}

/** @throws Interrupted after Ctrl-C and its kin */
export function checkInterrupted({ signal }: Context): void {
  if (signal.aborted) throw interruptionOf(signal);
}

/** Why an aborted signal was aborted. */
export function interruptionOf({ reason }: AbortSignal): Interrupted {
  return reason instanceof Interrupted ? reason : new Interrupted();
}
