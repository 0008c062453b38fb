import { decodeHalf, encodeHalf, type HalfType } from './half.js';
import { Meeting, type InitOptions } from './meeting.js';
import { Mpi, type ReduceOp, type WireArray, type WireType } from './mpi.js';
import { Watch } from './watch.js';

export { DistributedError, RankFailure, type GroupInfo, type InitOptions, type Traffic } from './meeting.js';

/** What the launchers of MPI, and Slurm's, leave in the environment. */
const launchers = ['OMPI_COMM_WORLD_SIZE', 'PMI_SIZE', 'PMIX_RANK', 'MPI_LOCALNRANKS', 'PMI_RANK'];

/** @internal */
export const isLaunched = (): boolean => launchers.some((name) => process.env[name] !== undefined);

/** @internal The processes of a job, and what they do with values on the host. */
export class Group extends Meeting {
  static async open({ timeout = 30 * 60_000 }: InitOptions): Promise<Group> {
    if (!(timeout > 0)) throw new Error(`distributed: timeout must be above 0 milliseconds, got ${timeout}`);
    if (!isLaunched()) return new Group(null, null, timeout);
    const library = await Mpi.load();
    const group = new Group(library, await Watch.open(library), timeout);
    group.attend(library);
    return group;
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

  /**
   * The ranks' mean of values that travel in two bytes each. MPI has no type for these: every rank sums its
   * part of them in float32, in the order of the ranks, and tells the others.
   */
  async meanInHalf(given: Float32Array | Promise<Float32Array>, type: HalfType): Promise<Float32Array> {
    const ranks = this.worldSize;
    const all = await this.collective(
      given,
      (data) => `mean of ${data.length} values in ${type}`,
      async (mpi, data) => {
        const part = Math.ceil(data.length / ranks);
        const padded = new Uint8Array(2 * part * ranks);
        padded.set(encodeHalf(data, type));
        this.traffic.bytes += 2 * data.length;
        const theirs = new Uint8Array(padded.length);
        await mpi.allToAll(padded, theirs, 'uint8');
        const sums = new Float32Array(part);
        for (let rank = 0; rank < ranks; rank++) {
          const values = decodeHalf(theirs.slice(2 * part * rank, 2 * part * (rank + 1)), type);
          for (let i = 0; i < part; i++) sums[i]! += values[i] as number;
        }
        for (let i = 0; i < part; i++) sums[i]! /= ranks;
        await mpi.allGather(encodeHalf(sums, type), padded, 'uint8');
        return decodeHalf(padded, type).subarray(0, data.length);
      },
    );
    return all ?? decodeHalf(encodeHalf(await given, type), type);
  }

  checkRank(op: string, rank: number): void {
    if (!Number.isInteger(rank) || rank < 0 || rank >= this.worldSize)
      throw new Error(`${op}: src must be a rank, from 0 to ${this.worldSize - 1}, got ${rank}`);
  }

  /** Rank `source`'s values take the place of the others'. */
  async broadcast<A extends WireArray>(
    given: A | Promise<A>,
    type: WireType,
    source: number | Promise<number>,
  ): Promise<A> {
    if (typeof source === 'number') this.checkRank('broadcast', source);
    await this.collective(
      Promise.all([given, source]),
      ([data, from]) => `broadcast of ${data.length} ${type} from rank ${from}`,
      (mpi, [data, from]) => {
        this.traffic.bytes += data.byteLength;
        return mpi.broadcast(data, type, from);
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
      (mpi) => this.gatherBytes(mpi, own),
    );
    return all ?? [own];
  }

  /** Rank `source`'s bytes, whose number the others need not know. */
  async broadcastBytes(own: Uint8Array, source: number): Promise<Uint8Array> {
    this.checkRank('broadcastObject', source);
    const all = await this.collective(
      own,
      () => `broadcast of an object from rank ${source}`,
      async (mpi) => {
        const length = Float64Array.of(own.length);
        await mpi.broadcast(length, 'float64', source);
        const bytes = this.rank === source ? own : new Uint8Array(length[0] as number);
        await mpi.broadcast(bytes, 'uint8', source);
        this.traffic.bytes += bytes.byteLength;
        return bytes;
      },
    );
    return all ?? own;
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
