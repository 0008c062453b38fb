import { writeSync } from 'node:fs';
import { Mpi, type ReduceOp, type WireArray, type WireType } from './mpi.js';
import { Watch } from './watch.js';

/** A rank has ended, or cannot be reached, or the ranks do not call the same. Names the ranks. */
export class DistributedError extends Error {
  override readonly name = 'DistributedError';
}

export interface InitOptions {
  /**
   * Milliseconds that a collective waits for other ranks to call it too. Default 30 minutes, as PyTorch's. A rank
   * that ends is noticed at once, a broken link in about ten seconds.
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
  /** Bytes that collectives were called with, and milliseconds spent in them. */
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
    if (code !== 0 || this.lost() !== null || this.failure !== null) this.library.abort(code || 1);
    else {
      this.watch?.close();
      this.library.finalize();
    }
  }

  /** Ends the part of this process in the job, once all ranks have come here. */
  async close(): Promise<void> {
    if (this.closed || this.closing) return;
    this.closing = true;
    await this.collective('close', async () => undefined);
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

  /** Runs `move` once all ranks have called the same, after what was called before. */
  async collective<T>(call: string, move: (mpi: Mpi) => Promise<T>): Promise<T | undefined> {
    this.checkUsable();
    const { library } = this;
    if (library === null) return undefined;
    const turn = this.last.then(async () => {
      this.checkUsable();
      try {
        const [started, number] = [performance.now(), ++this.calls];
        await this.meet(library, `${call}, call ${number}`);
        const met = performance.now();
        const result = await this.unlessLost(move(library), call);
        this.traffic.calls++;
        this.traffic.waiting += met - started;
        this.traffic.moving += performance.now() - met;
        return result;
      } catch (error) {
        this.failure ??= error instanceof DistributedError ? error : null;
        throw error;
      }
    });
    this.last = turn.catch(() => undefined);
    return turn;
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

  async allReduce(data: WireArray, type: WireType, op: ReduceOp): Promise<void> {
    this.traffic.bytes += data.byteLength;
    await this.collective(`allReduce of ${data.length} ${type} (${op})`, (mpi) =>
      mpi.allReduce(data, type, op),
    );
  }

  checkRank(op: string, rank: number): void {
    if (!Number.isInteger(rank) || rank < 0 || rank >= this.worldSize)
      throw new Error(`${op}: src must be a rank, from 0 to ${this.worldSize - 1}, got ${rank}`);
  }

  async broadcast(data: WireArray, type: WireType, source: number): Promise<void> {
    this.checkRank('broadcast', source);
    this.traffic.bytes += data.byteLength;
    await this.collective(`broadcast of ${data.length} ${type} from rank ${source}`, (mpi) =>
      mpi.broadcast(data, type, source),
    );
  }

  async allGather<A extends WireArray>(data: A, to: A, type: WireType): Promise<void> {
    this.traffic.bytes += to.byteLength;
    if (this.library === null) (to as Float32Array).set(data as Float32Array);
    await this.collective(`allGather of ${data.length} ${type}`, (mpi) => mpi.allGather(data, to, type));
  }

  async reduceScatter<A extends WireArray>(data: A, to: A, type: WireType, op: ReduceOp): Promise<void> {
    this.traffic.bytes += data.byteLength;
    if (this.library === null) (to as Float32Array).set(data as Float32Array);
    await this.collective(`reduceScatter of ${data.length} ${type} (${op})`, (mpi) =>
      mpi.reduceScatter(data, to, type, op),
    );
  }

  async barrier(): Promise<void> {
    await this.collective('barrier', async () => undefined);
  }
}
