/** Waiting for a software adapter without stealing its cores. */

import { nodeBuiltin } from './adapter.js';

const lock = typeof SharedArrayBuffer === 'function' ? new Int32Array(new SharedArrayBuffer(4)) : undefined;

/** Turns of the event loop without a nap, so that short reads stay short. */
const eagerTurns = 30;
const napMs = 0.3;

/**
 * Dawn in Node polls for completion in a busy loop. On a software adapter the polling thread competes with the
 * threads that compute, so while a wait is under way each turn of the event loop naps a little.
 */
export class PoliteWaiter {
  private waiting = 0;
  private turns = 0;
  private scheduled = false;
  private readonly schedule: ((callback: () => void) => void) | undefined;

  constructor(software: boolean) {
    this.schedule = software && lock && nodeBuiltin ? (callback) => void setImmediate(callback) : undefined;
  }

  async during<T>(promise: Promise<T>): Promise<T> {
    if (!this.schedule) return promise;
    this.turns = 0;
    this.waiting++;
    if (!this.scheduled) {
      this.scheduled = true;
      this.schedule(this.turn);
    }
    try {
      return await promise;
    } finally {
      this.waiting--;
    }
  }

  private readonly turn = (): void => {
    if (this.waiting === 0) {
      this.scheduled = false;
      return;
    }
    if (++this.turns > eagerTurns) Atomics.wait(lock!, 0, 0, napMs);
    this.schedule!(this.turn);
  };
}
