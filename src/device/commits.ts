/** Changes that happen as a whole or not at all, and what JavaScript believed of them. */

import type { DeviceError } from './errors.js';

interface Commit {
  /** Of the batch it was recorded in. */
  readonly serial: number;
  /** Takes back what JavaScript noted when it was recorded. */
  readonly undo: () => void;
}

interface Failure {
  readonly from: number;
  readonly to: number;
  readonly error: DeviceError;
}

/**
 * Commits whose batches have not been checked yet. The GPU does none that follows a batch which did not run
 * (see {@link Chain}); what JavaScript noted about those (step counts, new state) is undone here, the latest
 * first.
 */
export class Commits {
  private commits: Commit[] = [];
  private brokenAt = Infinity;
  private failures: Failure[] = [];
  private waits = 0;
  /** Counts breaks of the chain: what was computed before the last one may never have been. */
  breaks = 0;

  add(serial: number, undo: () => void): void {
    this.commits.push({ serial, undo });
  }

  /** Batch `serial` was accepted, as all before it whose check is done. */
  passed(serial: number): void {
    if (serial >= this.brokenAt) return;
    let done = 0;
    while (done < this.commits.length && (this.commits[done] as Commit).serial <= serial) done++;
    if (done > 0) this.commits.splice(0, done);
  }

  /** Batch `serial` did not run. */
  dropped(serial: number): void {
    this.brokenAt = Math.min(this.brokenAt, serial);
  }

  /** What batch `serial` computes is not to be had. */
  isLost(serial: number): boolean {
    return serial >= this.brokenAt || this.failureOf(serial) !== undefined;
  }

  get isBroken(): boolean {
    return this.brokenAt !== Infinity;
  }

  /**
   * Ends a break; `next` is the first batch after it, which is not begun. Reads of batches in between fail
   * with `error`.
   */
  rollBack(next: number, error: DeviceError): void {
    for (const { serial, undo } of this.commits.reverse()) if (serial >= this.brokenAt) undo();
    this.commits = [];
    this.failures.push({ from: this.brokenAt, to: next - 1, error });
    this.brokenAt = Infinity;
    this.breaks++;
  }

  /** A read or another wait has begun ... */
  beginWait(): void {
    this.waits++;
  }

  /**
   * ... and is over. Errors are kept for those that are under way only: with their stacks they hold on to
   * what they were thrown in.
   */
  endWait(): void {
    if (--this.waits === 0) this.failures = [];
  }

  /**
   * Why what batch `serial` computed is not to be trusted, although the error has been reported elsewhere.
   */
  failureOf(serial: number): DeviceError | undefined {
    return this.failures.find(({ from, to }) => serial >= from && serial <= to)?.error;
  }
}
