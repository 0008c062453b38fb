/** In front of the queue: what is recorded behind a host step waits here until the host has done its part. */

import { DroppedError } from './errors.js';

/** A call to the queue. */
interface Held {
  /** It is its turn. */
  readonly run: () => void;
  /** What it builds on did not happen. */
  readonly drop: () => void;
}

/** Work of the host between what was recorded before it and what is recorded after. */
export interface GateStep {
  /** Resolves when the host is done, with what writes its results; rejects where it failed. */
  readonly done: Promise<() => void>;
  /** What follows is dropped. Called before that. */
  readonly failed: (error: unknown) => void;
}

/**
 * The queue as the rest of the device uses it. Open, which it is without host steps, it hands everything on;
 * closed, it keeps calls in their order. An upload keeps a copy of its data.
 */
export class Gate {
  /** Nothing waits here. */
  isOpen = true;
  private waiting: (Held | GateStep)[] = [];
  private onOpen: (() => void)[] = [];
  /** The step that is waited for. */
  private current: GateStep | null = null;

  constructor(private readonly queue: GPUQueue) {}

  /** Runs `run` in its turn: at once where the gate is open. */
  pass(run: () => void, drop: () => void): void {
    if (this.isOpen) run();
    else this.waiting.push({ run, drop });
  }

  submit(commands: GPUCommandBuffer): void {
    this.queue.submit([commands]);
  }

  /** An upload happens even where what is before it is dropped: others may have made their data with it. */
  writeBuffer(to: GPUBuffer, offset: number, data: ArrayBuffer, start = 0, bytes = data.byteLength): void {
    if (this.isOpen) {
      this.queue.writeBuffer(to, offset, data, start, bytes);
      return;
    }
    const copy = data.slice(start, start + bytes);
    const write = (): void => {
      this.queue.writeBuffer(to, offset, copy);
    };
    this.waiting.push({ run: write, drop: write });
  }

  destroy(buffer: GPUBuffer): void {
    const destroy = (): void => {
      buffer.destroy();
    };
    this.pass(destroy, destroy);
  }

  onSubmittedWorkDone(): Promise<undefined> {
    return this.later(() => this.queue.onSubmittedWorkDone());
  }

  /** What `call` gives when it is its turn. @throws (rejects) DroppedError */
  later<T>(call: () => Promise<T>): Promise<T> {
    if (this.isOpen) return call();
    return new Promise<T>((resolve, reject) => {
      this.waiting.push({
        run: () => {
          call().then(resolve, reject);
        },
        drop: () => {
          reject(new DroppedError());
        },
      });
    });
  }

  /** Resolves when nothing waits here. */
  async opened(): Promise<void> {
    if (!this.isOpen) await new Promise<void>((resolve) => this.onOpen.push(resolve));
  }

  /** Closes the gate, or stands in line. */
  close(step: GateStep): void {
    // It may fail long before its turn.
    step.done.catch(() => undefined);
    this.waiting.push(step);
    if (!this.isOpen) return;
    this.isOpen = false;
    this.drain();
  }

  /** Drops all that waits. */
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
    this.isOpen = true;
    const waiters = this.onOpen;
    this.onOpen = [];
    for (const resolve of waiters) resolve();
  }
}
