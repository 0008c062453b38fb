/** What a process is told from outside while a command runs: signals, and output that nobody takes. */
import { Interrupted } from './errors.js';
import type { CommandRanks } from './ranks.js';

/** Requests to end, by number; shells give 128 and the number as the exit status. */
const requests = { SIGHUP: 1, SIGINT: 2, SIGTERM: 15 } as const;
const brokenPipe = 13;

/** npm passes Ctrl-C on to a child that the terminal has told already. Less than this apart, two are one. */
const onePress = 300;

/** Turns what comes from outside into one abort of `signal`. */
export class Interrupts {
  private readonly controller = new AbortController();
  readonly signal = this.controller.signal;
  private answering = false;
  /** Of the first Ctrl-C, by `performance.now()`. */
  private pressedAt: number | null = null;

  /** @param ranks that run the command together: rank 0 alone answers in words */
  constructor(private readonly ranks: Pick<CommandRanks, 'rank' | 'lost'> | null = null) {}

  /**
   * Answers signals from now on; until then they end the process as they end any other.
   *
   * Ctrl-C pressed again ends the process without waiting for a safe place. Other signals come twice by
   * themselves (a closed terminal and the shell in it both send SIGHUP), so the second changes nothing.
   */
  answer(): void {
    if (this.answering) return;
    this.answering = true;
    for (const name of Object.keys(requests) as (keyof typeof requests)[])
      process.on(name, () => this.receive(name));
  }

  private receive(name: keyof typeof requests): void {
    const exitCode = 128 + requests[name];
    const now = performance.now();
    const pressed = name === 'SIGINT';
    if (pressed && this.pressedAt !== null && now - this.pressedAt >= onePress) process.exit(exitCode);
    if (pressed) this.pressedAt ??= now;
    if (this.signal.aborted) return;
    const again = pressed ? '; press Ctrl-C again to stop at once' : '';
    // A launcher ends the others when one is lost, of which an error tells.
    const quiet = this.ranks !== null && (this.ranks.rank > 0 || this.ranks.lost());
    if (!quiet) process.stderr.write(`\nkindling: stopping after the work under way${again}\n`);
    this.controller.abort(new Interrupted(pressed ? 'interrupted' : `interrupted by ${name}`, exitCode));
  }

  /**
   * Watches the process's own streams. A reader of standard output that has had enough, such as `head`, ends
   * what is still to do; a full disk below it is an error. Without standard error the work goes on.
   *
   * @returns the exit status that a command which ran to its end has nevertheless
   */
  watchStreams(): () => number {
    let status = 0;
    process.stdout.on('error', (error: NodeJS.ErrnoException) => {
      // EIO is what a terminal that was closed gives.
      if (error.code === 'EPIPE' || error.code === 'EIO') {
        this.controller.abort(new Interrupted('interrupted: nobody reads the output', 128 + brokenPipe));
        return;
      }
      const failure = new Interrupted(`standard output cannot be written: ${error.message}`, 1);
      if (status === 0 && !this.signal.aborted) process.stderr.write(`kindling: ${failure.message}\n`);
      status = failure.exitCode;
      this.controller.abort(failure);
    });
    process.stderr.on('error', () => undefined);
    return () => status;
  }
}
