/** In front of the queue: what is recorded behind a host step waits here until the host has done its part. */

/** Those who wait, while the gate is closed (host-steps.ts). */
export interface Line {
  /** `run` in its turn, or `drop` where what it builds on did not happen. */
  add(run: () => void, drop: () => void): void;
  /** As {@link add}; gives what `call` gives. @throws (rejects) DroppedError */
  later<T>(call: () => Promise<T>): Promise<T>;
  /** Resolves when nobody waits. */
  opened(): Promise<void>;
  /** Drops all. */
  abandon(): void;
}

/**
 * The queue as the rest of the device uses it. Open, which it is without host steps, it hands everything on;
 * closed, it keeps calls in their order. An upload keeps a copy of its data.
 */
export class Gate {
  /** @internal Null: open. */
  line: Line | null = null;

  constructor(private readonly queue: GPUQueue) {}

  get isOpen(): boolean {
    return this.line === null;
  }

  /** Runs `run` in its turn: at once where the gate is open. */
  pass(run: () => void, drop: () => void): void {
    if (this.line === null) run();
    else this.line.add(run, drop);
  }

  submit(commands: GPUCommandBuffer): void {
    this.queue.submit([commands]);
  }

  /** An upload happens even where what is before it is dropped: others may have made their data with it. */
  writeBuffer(to: GPUBuffer, offset: number, data: ArrayBuffer, start = 0, bytes = data.byteLength): void {
    if (this.line === null) {
      this.queue.writeBuffer(to, offset, data, start, bytes);
      return;
    }
    const copy = data.slice(start, start + bytes);
    const write = (): void => {
      this.queue.writeBuffer(to, offset, copy);
    };
    this.line.add(write, write);
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

  /** What `call` gives when it is its turn. */
  later<T>(call: () => Promise<T>): Promise<T> {
    return this.line === null ? call() : this.line.later(call);
  }
}
