/** What waits in front of a closed gate. */

import { DroppedError } from './errors.js';
import type { Gate, Line } from './gate.js';

/** A call to the queue. */
interface Held {
  readonly run: () => void;
  readonly drop: () => void;
}

/** Work of the host between what was recorded before it and what is recorded after. */
export interface GateStep {
  /** Resolves when the host is done, with what writes its results; rejects where it failed. */
  readonly done: Promise<() => void>;
  /** What follows is dropped. Called before that. */
  readonly failed: (error: unknown) => void;
}

export class WaitingLine implements Line {
  private waiting: (Held | GateStep)[] = [];
  private onOpen: (() => void)[] = [];
  /** The step that is waited for. */
  private current: GateStep | null = null;

  private constructor(private readonly gate: Gate) {}

  /** Closes the gate until `step` is done, or stands in line. */
  static close(gate: Gate, step: GateStep): void {
    // It may fail long before its turn.
    step.done.catch(() => undefined);
    if (gate.line instanceof WaitingLine) {
      gate.line.waiting.push(step);
      return;
    }
    const line = new WaitingLine(gate);
    gate.line = line;
    line.waiting.push(step);
    line.drain();
  }

  add(run: () => void, drop: () => void): void {
    this.waiting.push({ run, drop });
  }

  later<T>(call: () => Promise<T>): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      const run = (): void => {
        call().then(resolve, reject);
      };
      this.add(run, () => {
        reject(new DroppedError());
      });
    });
  }

  opened(): Promise<void> {
    return new Promise((resolve) => this.onOpen.push(resolve));
  }

  abandon(): void {
    this.current = null;
    const dropped = this.waiting;
    this.waiting = [];
    for (const each of dropped) if ('drop' in each) each.drop();
    this.open();
  }

  private drain(): void {
    for (;;) {
      const next = this.waiting.shift();
      if (next === undefined) {
        this.open();
        return;
      }
      if ('run' in next) {
        next.run();
        continue;
      }
      this.current = next;
      next.done.then(
        (write) => {
          this.end(next, write);
        },
        (error: unknown) => {
          this.fail(next, error);
        },
      );
      return;
    }
  }

  private end(step: GateStep, write: () => void): void {
    if (this.current !== step) return;
    try {
      write();
    } catch (error) {
      this.fail(step, error);
      return;
    }
    this.current = null;
    this.drain();
  }

  private fail(step: GateStep, error: unknown): void {
    if (this.current !== step) return;
    step.failed(error);
    this.abandon();
  }

  private open(): void {
    this.gate.line = null;
    const waiters = this.onOpen;
    this.onOpen = [];
    for (const resolve of waiters) resolve();
  }
}
