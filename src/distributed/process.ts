import { Group, type GroupInfo, type InitOptions, type Traffic } from './group.js';
import { optionReader } from '../tensor/options.js';

const readInit = optionReader<Required<InitOptions>>('distributed.init', { timeout: 30 * 60_000 });

let opening: Promise<Group> | null = null;
let group: Group | null = null;

/**
 * Joins the processes that a launcher of MPI (`mpirun`, `mpiexec`, `srun`) has started, as
 * `torch.distributed.init_process_group`. Started without one, the process is the only rank, and no MPI is
 * needed. Idempotent.
 *
 * @throws Error without koffi, without an MPI library, or where rank 0 cannot be reached
 */
export async function init(...args: [options?: InitOptions]): Promise<GroupInfo> {
  opening ??= Group.open(readInit(args));
  try {
    group = await opening;
  } catch (error) {
    opening = null;
    throw error;
  }
  return infoOf(group);
}

const infoOf = ({ rank, worldSize, localRank, localWorldSize, mpi }: Group): GroupInfo => ({
  rank,
  worldSize,
  localRank,
  localWorldSize,
  mpi,
});

/** @internal */
export function groupFor(op: string): Group {
  if (group === null) throw new Error(`${op}: call 'await distributed.init()' first`);
  return group;
}

export const isInitialized = (): boolean => group !== null;

/** `torch.distributed.get_rank`: this process's number, from 0. */
export const getRank = (): number => groupFor('getRank').rank;

/** `torch.distributed.get_world_size`: the number of processes. */
export const getWorldSize = (): number => groupFor('getWorldSize').worldSize;

/** This process's number among those of its host. */
export const getLocalRank = (): number => groupFor('getLocalRank').localRank;

/**
 * Calls, bytes handed to them, and milliseconds spent in waiting for other ranks and in moving data, since
 * init.
 */
export const traffic = (): Traffic => ({ ...groupFor('traffic').traffic });

/** Waits for all ranks and leaves. A process that ends without an error does so by itself. */
export async function close(): Promise<void> {
  await group?.close();
}
