import { writeSync } from 'node:fs';
import { DeviceError } from '../device/index.js';
import { Mpi, type ReduceOp, type WireArray, type WireType } from './mpi.js';
import { observing } from './observe.js';
import { Watch } from './watch.js';

/** A rank has ended, or cannot be reached, or the ranks do not call the same. Names the ranks. */
export class DistributedError extends DeviceError {
  override name = 'DistributedError';
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

/** What the launchers of MPI, and Slurm's, leave in the environment. */
const launchers = ['OMPI_COMM_WORLD_SIZE', 'PMI_SIZE', 'PMIX_RANK', 'MPI_LOCALNRANKS', 'PMI_RANK'];

/** @internal */
export const isLaunched = (): boolean => launchers.some((name) => process.env[name] !== undefined);

/** FNV-1a, 31 bits. */
function hashOf(text: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  return hash & 0x7fffffff;
}

const callBytes = 256;

/** Milliseconds in which a waiting rank asks without a pause: in step, others come at once. */
const eager = 2;

const pause = (since: number): Promise<void> =>
  new Promise((resolve) => {
    if (performance.now() - since < eager) setImmediate(resolve);
    else setTimeout(resolve, 1);
  });

/** @internal The processes of a job. One at a time, in the order of the calls. */
export class Group implements GroupInfo {
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

  private constructor(
    private readonly library: Mpi | null,
    private readonly watch: Watch | null,
    private readonly timeout: number,
  ) {
    this.rank = library?.rank ?? 0;
    this.worldSize = library?.size ?? 1;
    this.localRank = library?.localRank ?? 0;
    this.localWorldSize = library?.localSize ?? 1;
  }

  static async open({ timeout = 30 * 60_000 }: InitOptions): Promise<Group> {
    if (!(timeout > 0)) throw new Error(`distributed: timeout must be above 0 milliseconds, got ${timeout}`);
    if (!isLaunched()) return new Group(null, null, timeout);
    const library = await Mpi.load();
    const group = new Group(library, await Watch.open(library), timeout);
    process.once('beforeExit', () => {
      void group.close();
    });
    process.once('exit', (code) => {
      group.leave(code);
    });
    process.on('SIGTERM', group.ended);
    process.on('uncaughtExceptionMonitor', group.tell);
    return group;
  }

  get mpi(): string | null {
    return this.library?.version ?? null;
  }

  /** The launcher ends a job of which a rank was lost: says which, where nobody else answers the signal. */
  private readonly ended = (): void => {
    setTimeout(() => {
      const lost = this.lost();
      if (lost !== null) process.stderr.write(`${lost.message}\n`);
      if (process.listenerCount('SIGTERM') === 1) process.exit(143);
    }, 100);
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

  private leave(code: number): void {
    if (this.closed || this.library === null) return;
    this.closed = true;
    // Where a rank is lost all others notice it and end; `abort` would wait for a launcher that kills.
    if (this.lost() !== null) this.library.quit(code || 1);
    else if (code !== 0 || this.failure !== null) this.library.abort(code || 1);
    else {
      this.watch?.close();
      this.library.finalize();
    }
  }

  /** Ends the part of this process in the job, once all ranks have come here. */
  async close(): Promise<void> {
    if (this.closed || this.closing) return;
    this.closing = true;
    await this.collective(
      null,
      () => 'close',
      async () => undefined,
    );
    this.closed = true;
    process.off('SIGTERM', this.ended);
    process.off('uncaughtExceptionMonitor', this.tell);
    this.watch?.close();
    this.library?.finalize();
  }

  private lost(): DistributedError | null {
    const { watch } = this;
    if (watch === null || watch.gone.size === 0) return null;
    const gone = [...watch.gone];
    const first = gone.find(([, { orderly }]) => !orderly) ?? (this.closing ? undefined : gone[0]);
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

  /** Combines the ranks' values, in place. */
  async allReduce<A extends WireArray>(given: A | Promise<A>, type: WireType, op: ReduceOp): Promise<A> {
    await this.collective(
      given,
      (data) => `allReduce of ${data.length} ${type} (${op})`,
      (mpi, data) => {
        this.traffic.bytes += data.byteLength;
        return mpi.allReduce(data, type, op);
      },
    );
    return given;
  }

  checkRank(op: string, rank: number): void {
    if (!Number.isInteger(rank) || rank < 0 || rank >= this.worldSize)
      throw new Error(`${op}: src must be a rank, from 0 to ${this.worldSize - 1}, got ${rank}`);
  }

  /** Rank `source`'s values take the place of the others'. */
  async broadcast<A extends WireArray>(given: A | Promise<A>, type: WireType, source: number): Promise<A> {
    this.checkRank('broadcast', source);
    await this.collective(
      given,
      (data) => `broadcast of ${data.length} ${type} from rank ${source}`,
      (mpi, data) => {
        this.traffic.bytes += data.byteLength;
        return mpi.broadcast(data, type, source);
      },
    );
    return given;
  }

  /** The ranks' values, one after another. */
  async allGather<A extends WireArray>(given: A | Promise<A>, type: WireType): Promise<A> {
    const all = await this.collective(
      given,
      (data) => `allGather of ${data.length} ${type}`,
      async (mpi, data) => {
        const to = like(data, data.length * this.worldSize);
        this.traffic.bytes += to.byteLength;
        await mpi.allGather(data, to, type);
        return to;
      },
    );
    return all ?? given;
  }

  /** This rank's block of the combined values. */
  async reduceScatter<A extends WireArray>(given: A | Promise<A>, type: WireType, op: ReduceOp): Promise<A> {
    const part = await this.collective(
      given,
      (data) => `reduceScatter of ${data.length} ${type} (${op})`,
      async (mpi, data) => {
        const to = like(data, data.length / this.worldSize);
        this.traffic.bytes += data.byteLength;
        await mpi.reduceScatter(data, to, type, op);
        return to;
      },
    );
    return part ?? given;
  }

  /** The ranks' bytes, of which each may have another number. */
  async allGatherBytes(own: Uint8Array): Promise<Uint8Array[]> {
    const all = await this.collective(
      own,
      () => 'allGather of an object',
      async (mpi) => {
        const lengths = new Int32Array(this.worldSize);
        await mpi.allGather(Int32Array.of(own.length), lengths, 'int32');
        const longest = Math.max(...lengths);
        const padded = new Uint8Array(longest);
        padded.set(own);
        const to = new Uint8Array(longest * this.worldSize);
        await mpi.allGather(padded, to, 'uint8');
        this.traffic.bytes += to.byteLength;
        return Array.from(lengths, (length, rank) => to.subarray(rank * longest, rank * longest + length));
      },
    );
    return all ?? [own];
  }

  async barrier(): Promise<void> {
    await this.collective(
      null,
      () => 'barrier',
      async () => undefined,
    );
  }
}

const like = <A extends WireArray>(values: A, length: number): A =>
  new (values.constructor as new (n: number) => A)(length);
