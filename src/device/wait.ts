/** Waiting for a software adapter without stealing its cores. */

import { nodeBuiltin } from './adapter.js';

const lock = typeof SharedArrayBuffer === 'function' ? new Int32Array(new SharedArrayBuffer(4)) : undefined;

/** Turns of the event loop without a nap, so that short reads stay short. */
const eagerTurns = 5;
/**
 * A nap is this share of the wait so far, within bounds: what it adds to the wait and the turns it saves are
 * both a few per cent.
 */
const napShare = 0.04;
const shortestNapMs = 0.05;
const longestNapMs = 2;

/**
 * Dawn in Node polls for completion in a busy loop. On a software adapter the polling thread competes with
 * the threads that compute, so while a wait is under way each turn of the event loop naps a little.
 */
export class PoliteWaiter {
  private waiting = 0;
  private turns = 0;
  private since = 0;
  private scheduled = false;
  private readonly schedule: ((callback: () => void) => void) | undefined;

  constructor(software: boolean) {
    this.schedule = software && lock && nodeBuiltin ? (callback) => void setImmediate(callback) : undefined;
  }

  async during<T>(promise: Promise<T>): Promise<T> {
    if (!this.schedule) return promise;
    this.turns = 0;
    this.since = performance.now();
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
    if (++this.turns > eagerTurns) {
      const nap = napShare * (performance.now() - this.since);
      Atomics.wait(lock!, 0, 0, Math.min(longestNapMs, Math.max(shortestNapMs, nap)));
    }
    this.schedule!(this.turn);
  };
}
