import { writeSync } from 'node:fs';
import { DeviceError } from '../device/index.js';
import type { Mpi } from './mpi.js';
import { observing } from './observe.js';
import type { Watch } from './watch.js';

/** A rank has ended, or cannot be reached, or the ranks do not call the same. Names the ranks. */
export class DistributedError extends DeviceError {
  override name = 'DistributedError';
}

/** Another rank has ended its part with an error, and said so. */
export class RankFailure extends DistributedError {
  override name = 'RankFailure';
  constructor(
    readonly rank: number,
    /** What it said. */
    readonly reason: string,
    name: string,
  ) {
    super(`${name}: ${reason}`);
  }
}

export interface InitOptions {
  /**
   * Milliseconds that a collective waits for other ranks to call it too. Default 30 minutes, as PyTorch's. A
   * rank that ends is noticed at once, a broken link in about ten seconds.
   */
  readonly timeout?: number;
}

/** What `init()` found. */
export interface GroupInfo {
  readonly rank: number;
  readonly worldSize: number;
  /** Number of this process among those of its host. */
  readonly localRank: number;
  readonly localWorldSize: number;
  /** The library's own words; null without MPI. */
  readonly mpi: string | null;
}

/** What collectives have cost so far. */
export interface Traffic {
  readonly calls: number;
  /** That they were called with. */
  readonly bytes: number;
  /** Milliseconds spent in waiting for other ranks ... */
  readonly waiting: number;
  /** ... and in moving data. */
  readonly moving: number;
}

/** FNV-1a, 31 bits. */
function hashOf(text: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  return hash & 0x7fffffff;
}

const callBytes = 256;

/** Milliseconds: less than the second that Open MPI's launcher leaves between SIGTERM and SIGKILL. */
const endWithin = 500;

const noAnswer = (): undefined => undefined;

/** Milliseconds that a launcher may need to pass on what was written last. */
const passedOnWithin = 200;

/** The call of a rank that ends with an error. */
const failing = 'an end with an error';

/** Milliseconds in which a waiting rank asks without a pause: in step, others come at once. */
const eager = 2;

const pause = (since: number): Promise<void> =>
  new Promise((resolve) => {
    if (performance.now() - since < eager) setImmediate(resolve);
    else setTimeout(resolve, 1);
  });

/** @internal How the processes of a job come together, call after call, in the program's order, and part. */
export class Meeting implements GroupInfo {
  readonly rank: number;
  readonly worldSize: number;
  readonly localRank: number;
  readonly localWorldSize: number;
  readonly traffic = { calls: 0, bytes: 0, waiting: 0, moving: 0 };
  private last: Promise<unknown> = Promise.resolve();
  private failure: DistributedError | null = null;
  private calls = 0;
  private closed = false;
  /** All that is left is to leave: others may have left. */
  private closing = false;
  /** What this rank ends with, for the others. */
  private lastWords = '';
  /** All ranks are about to leave, so that one may be gone in good order. */
  private leaving = false;
  /** The ranks have met to end with an error of one of them, so that each can leave in good order. */
  private parted = false;

  protected constructor(
    private readonly library: Mpi | null,
    private readonly watch: Watch | null,
    private readonly timeout: number,
  ) {
    this.rank = library?.rank ?? 0;
    this.worldSize = library?.size ?? 1;
    this.localRank = library?.localRank ?? 0;
    this.localWorldSize = library?.localSize ?? 1;
  }

  /** From now on this process answers to the job. */
  protected attend(library: Mpi): void {
    process.once('beforeExit', () => {
      void this.close();
    });
    process.once('exit', (code) => {
      this.leave(code);
    });
    process.on('SIGTERM', this.ended);
    // By itself Node answers it by opening a port for a debugger.
    if (library.isMpich && process.listenerCount('SIGUSR1') === 0) process.on('SIGUSR1', noAnswer);
    process.on('uncaughtExceptionMonitor', this.tell);
  }

  get mpi(): string | null {
    return this.library?.version ?? null;
  }

  /** The launcher ends a job of which a rank was lost: says which, where nobody else answers the signal. */
  private readonly ended = (): void => {
    const until = performance.now() + endWithin;
    const look = (): void => {
      const lost = this.lost();
      // The news may come after the signal, where JavaScript was busy.
      if (lost === null && performance.now() < until) return void setTimeout(look, 20);
      if (lost !== null) process.stderr.write(`${lost.message}\n`);
      if (process.listenerCount('SIGTERM') === 1) process.exit(143);
    };
    setTimeout(look, 20);
  };

  /** Node prints an error after the event `exit`, in which the job is ended and this process with it. */
  private readonly tell = (error: unknown): void => {
    const text =
      error instanceof DistributedError
        ? error.message
        : error instanceof Error
          ? error.stack
          : String(error);
    writeSync(2, `rank ${this.rank}: ${text}\n`);
  };

  /** The program tells itself of errors and of a rank that is lost. */
  speakForItself(): void {
    process.off('SIGTERM', this.ended);
    process.off('uncaughtExceptionMonitor', this.tell);
  }

  /** A rank has gone without a word, or the ranks are out of step: all that is left is to end the job. */
  get isBroken(): boolean {
    return !this.parted && (this.failure !== null || this.lost() !== null);
  }

  private leave(code: number): void {
    if (this.closed || this.library === null) return;
    if (this.parted) {
      this.finish();
      return;
    }
    this.closed = true;
    if (code !== 0 || this.lost() !== null || this.failure !== null) {
      if (this.library.isMpich) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, passedOnWithin);
      // Where a rank is lost all others notice it and end; `abort` would wait for a launcher about to kill.
      if (this.lost() !== null) this.library.quit(code || 1);
      else this.library.abort(code || 1);
    } else {
      this.watch?.close();
      this.library.finalize();
    }
  }

  /** Ends the part of this process in the job, once all ranks have come here. */
  async close(): Promise<void> {
    if (this.closed || this.closing) return;
    if (!this.parted) {
      this.closing = this.leaving = true;
      await this.collective(
        null,
        () => 'close',
        async () => undefined,
      );
    }
    this.finish();
  }

  /**
   * Ends the part of this process with an error: at their next call the others end with a
   * {@link RankFailure} that has `reason` in it. Resolves when they have been told, or cannot be.
   */
  async fail(reason: string): Promise<void> {
    if (this.closed || this.closing || this.library === null) return;
    this.lastWords = reason;
    this.leaving = true;
    await this.collective(
      null,
      () => failing,
      async () => {
        this.parted = true;
      },
    ).catch(() => undefined);
  }

  private finish(): void {
    this.closed = true;
    process.off('SIGTERM', this.ended);
    process.off('SIGUSR1', noAnswer);
    process.off('uncaughtExceptionMonitor', this.tell);
    this.watch?.close();
    this.library?.finalize();
  }

  private lost(): DistributedError | null {
    const { watch } = this;
    if (watch === null || watch.gone.size === 0) return null;
    const gone = [...watch.gone];
    const first = gone.find(([, { orderly }]) => !orderly) ?? (this.leaving ? undefined : gone[0]);
    if (first === undefined) return null;
    const [rank, how] = first;
    const what = how.orderly ? 'has ended its part' : 'has ended, or its host cannot be reached any more';
    return new DistributedError(`distributed: ${watch.nameOf(rank)} ${what}; rank ${this.rank} cannot go on`);
  }

  private checkUsable(): void {
    if (this.closed)
      throw new DistributedError('distributed: close() was called; init() begins anew in a new process only');
    const failure = this.failure ?? this.lost();
    if (failure !== null) throw failure;
  }

  /**
   * Runs `move` with what is `given` once all ranks have called the same. The order is that of the calls
   * here, whenever what each is given comes: it is the program's, and so the same on all ranks.
   *
   * @returns what `move` gives; undefined without MPI
   */
  async collective<A, T>(
    given: A | Promise<A>,
    callOf: (given: A) => string,
    move: (mpi: Mpi, given: A) => Promise<T>,
  ): Promise<T | undefined> {
    // It may be that nobody comes to it.
    if (given instanceof Promise) given.catch(() => undefined);
    this.checkUsable();
    const { library } = this;
    if (library === null) {
      await given;
      return undefined;
    }
    const seen = observing();
    const asked = performance.now();
    let ready = asked;
    if (seen !== null && given instanceof Promise)
      given.then(
        () => (ready = performance.now()),
        () => undefined,
      );
    const turn = this.last.then(async () => {
      this.checkUsable();
      const data = await this.part(given);
      const call = callOf(data);
      try {
        const [started, number] = [performance.now(), ++this.calls];
        await this.meet(library, `${call}, call ${number}`);
        const met = performance.now();
        const result = await this.unlessLost(move(library, data), call);
        const moved = performance.now();
        this.traffic.calls++;
        this.traffic.waiting += met - started;
        this.traffic.moving += moved - met;
        seen?.collective({ call, asked, ready, started, met, moved });
        return result;
      } catch (error) {
        this.failure ??= error instanceof DistributedError ? error : null;
        throw error;
      }
    });
    this.last = turn.catch(() => undefined);
    return turn;
  }

  /** Without this rank's part the others go without a call that it has made: they are out of step. */
  private async part<A>(given: A | Promise<A>): Promise<A> {
    try {
      return await given;
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      this.failure ??= new DistributedError(
        `distributed: rank ${this.rank} had nothing to give for a call, so that the ranks are out of step: ${why}`,
      );
      throw error;
    }
  }

  /** Waits until all ranks have called `call`. */
  private async meet(library: Mpi, call: string): Promise<void> {
    const { watch } = this;
    const hash = hashOf(call);
    const bounds = Int32Array.of(hash, -hash);
    const started = performance.now();
    if (watch !== null) watch.doing = `waits in ${call}`;
    const all = library.startMax(bounds);
    while (!all.done()) {
      const lost = this.lost();
      if (lost !== null) throw lost;
      if (performance.now() - started > this.timeout) throw await this.late(call);
      await pause(started);
    }
    if (bounds[0] !== -(bounds[1] as number)) throw await this.mismatch(library, call);
    if (watch !== null) watch.doing = `went on after ${call}`;
  }

  private async late(call: string): Promise<DistributedError> {
    const others = [...((await this.watch?.ask()) ?? [])].filter(([, doing]) => doing !== `waits in ${call}`);
    const named = others.map(([rank, doing]) => `${this.watch?.nameOf(rank)} ${doing}`).join('; ');
    return new DistributedError(
      `distributed: rank ${this.rank} has waited ${this.timeout / 1000} s in ${call}: ${named || 'all others are there, so MPI does not move'}`,
    );
  }

  private async mismatch(library: Mpi, call: string): Promise<DistributedError> {
    const own = new Uint8Array(callBytes);
    own.set(Buffer.from(call).subarray(0, callBytes));
    const all = new Uint8Array(callBytes * this.worldSize);
    await this.unlessLost(library.allGather(own, all, 'uint8'), call);
    const calls = Array.from({ length: this.worldSize }, (_, rank) =>
      Buffer.from(all.subarray(rank * callBytes, (rank + 1) * callBytes))
        .toString('utf8')
        .replace(/\0.*$/s, ''),
    );
    const failed = calls.findIndex((text) => text.startsWith(failing));
    if (failed >= 0) {
      this.leaving = true;
      const own = new Uint8Array(Buffer.from(this.lastWords));
      const words = await this.unlessLost(this.gatherBytes(library, own), call);
      this.parted = true;
      return new RankFailure(failed, Buffer.from(words[failed]!).toString('utf8'), this.nameOf(failed));
    }
    const other = calls.findIndex((text) => text !== calls[0]);
    return new DistributedError(
      `distributed: the ranks do not call the same: ${this.nameOf(0)} calls ${calls[0]}, ${this.nameOf(other)} ${calls[other]}`,
    );
  }

  private nameOf(rank: number): string {
    return this.watch?.nameOf(rank) ?? `rank ${rank}`;
  }

  /** A call of MPI never returns once a rank is gone. */
  private async unlessLost<T>(moving: Promise<T>, call: string): Promise<T> {
    const { watch } = this;
    if (watch === null) return moving;
    let forget = (): unknown => undefined;
    const gone = new Promise<never>((_, reject) => {
      forget = watch.onGone(() => {
        const lost = this.lost();
        if (lost !== null) reject(new DistributedError(`${lost.message}; it was in ${call}`));
      });
    });
    try {
      return await Promise.race([moving, gone]);
    } finally {
      forget();
      moving.catch(() => undefined);
    }
  }

  /** The ranks' bytes, of which each may have another number; within a call. */
  protected async gatherBytes(mpi: Mpi, own: Uint8Array): Promise<Uint8Array[]> {
    const lengths = new Int32Array(this.worldSize);
    await mpi.allGather(Int32Array.of(own.length), lengths, 'int32');
    const longest = Math.max(...lengths);
    const padded = new Uint8Array(longest);
    padded.set(own);
    const to = new Uint8Array(longest * this.worldSize);
    await mpi.allGather(padded, to, 'uint8');
    this.traffic.bytes += to.byteLength;
    return Array.from(lengths, (length, rank) => to.subarray(rank * longest, rank * longest + length));
  }
}
