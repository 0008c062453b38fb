/** The command on several ranks: `mpirun -n 2 kindling finetune ...`. Rank 0 alone prints and writes. */
import { isDeepStrictEqual } from 'node:util';
import type { DistributedDataParallel } from '../distributed/index.js';
import type { Module, TensorModule } from '../nn/index.js';
import type { Ranks } from '../train/ranks.js';
import { CliError, Interrupted, plainest } from './errors.js';

/** The processes of a command that were started by an MPI launcher. */
export interface CommandRanks extends Ranks {
  /** Number of this process among those of its host. */
  readonly localRank: number;
  barrier(): Promise<void>;
  /** Rank 0's weights and statistics for all. */
  share(module: Module): void;
  /** A model whose gradients are averaged over the ranks. */
  parallel(
    model: TensorModule,
    options: { readonly broadcastBuffers: boolean },
  ): DistributedDataParallel<TensorModule>;
  /** Leaves in good order, once all ranks have come here. */
  close(): Promise<void>;
  /**
   * Ends all ranks with an error of one of them, and leaves.
   *
   * @returns the error that the command ends with: rank 0's own, or the one of the rank that had one
   */
  fail(error: unknown): Promise<unknown>;
  /** Whether a rank has gone without a word. */
  lost(): boolean;
}

/** Commands that share their work among ranks. */
export const sharedCommands: readonly string[] = ['finetune', 'predict', 'eval'];

/** What one rank tells the others before it leaves. */
interface LastWords {
  readonly message: string;
  /** Of an interruption. */
  readonly exitCode: number | null;
}

/** Number of this process by the launcher's word, before MPI is there. */
export const launchedRank = (): number =>
  Number(
    ['OMPI_COMM_WORLD_RANK', 'PMIX_RANK', 'PMI_RANK']
      .map((name) => process.env[name])
      .find((rank) => rank !== undefined) ?? 0,
  );

/**
 * Joins the ranks that a launcher has started.
 *
 * @returns null for a process that was started without one, or alone
 * @throws CliError without koffi or an MPI library
 */
export async function joinRanks(): Promise<CommandRanks | null> {
  const { isLaunched } = await import('../distributed/group.js');
  if (!isLaunched()) return null;
  const library = await import('../distributed/command.js');
  const group = await library.join().catch((error: unknown) => {
    const { message } = plainest(error);
    throw new CliError(
      `this was started by an MPI launcher (mpirun, mpiexec, srun), but MPI cannot be had: ${message.replace(/^distributed: /, '')}`,
      { cause: error },
    );
  });
  if (group.worldSize === 1) {
    await group.close();
    return null;
  }
  const { rank, worldSize, localRank } = group;
  return {
    ...library.ranksFor('kindling'),
    ...{ rank, worldSize, localRank },
    barrier: () => group.barrier(),
    share: (module) => library.share([...module.parameters(), ...module.buffers()]),
    // What no rank uses has no gradient; with auxiliary heads that is a part of some models.
    parallel: (model, options) =>
      new library.DistributedDataParallel(model, { ...options, findUnusedParameters: true }),
    lost: () => group.isBroken,
    close: () => group.close(),
    fail: async (error) => {
      const theirs = failureIn(error);
      if (theirs === null && !group.isBroken) await group.fail(JSON.stringify(wordsOf(error)));
      if (!group.isBroken) await group.close();
      return theirs ?? error;
    },
  };

  function failureIn(error: unknown): unknown {
    for (let at = error; at instanceof Error; at = at.cause)
      if (at instanceof library.RankFailure) return inWords(at.rank, at.reason, error);
    return null;
  }
}

function wordsOf(error: unknown): LastWords {
  const plain = plainest(error);
  return { message: plain.message, exitCode: plain instanceof Interrupted ? plain.exitCode : null };
}

function inWords(rank: number, reason: string, cause: unknown): CliError {
  const { message, exitCode } = JSON.parse(reason) as LastWords;
  if (exitCode !== null) return new Interrupted(message, exitCode);
  return new CliError(`rank ${rank}: ${message}`, { cause });
}

interface Ranked {
  readonly ranks: CommandRanks | null;
}

/** Whether this process is the one that writes. */
export const isLead = ({ ranks }: Ranked): boolean => (ranks?.rank ?? 0) === 0;

/** Does something on one rank of each host first (a download into the cache), then on the others. */
export async function oneFirst<T>({ ranks }: Ranked, work: () => Promise<T>): Promise<T> {
  if (ranks === null) return work();
  const first = ranks.localRank === 0;
  const own = first ? await work() : null;
  await ranks.barrier();
  return first ? (own as T) : work();
}

/** @throws CliError where a rank has found something else than rank 0 */
export async function sameOnAll({ ranks }: Ranked, what: string, own: unknown): Promise<void> {
  if (ranks === null) return;
  const all = await ranks.allGatherObject(own);
  const other = all.findIndex((each) => !isDeepStrictEqual(each, all[0]));
  if (other >= 0)
    throw new CliError(
      `rank ${other} has found other ${what} than rank 0; files must be the same, at the same place, on all hosts`,
    );
}

/** Says to all ranks which samples could not be read by those who tried. */
export async function shareSkipped(
  { ranks }: Ranked,
  {
    dataset,
    skipped,
    skip,
  }: {
    readonly dataset: { readonly length: number };
    readonly skipped?: (index: number) => string | undefined;
    readonly skip?: (index: number, reason: string) => void;
  },
): Promise<void> {
  if (ranks === null || skipped === undefined) return;
  const own: [number, string][] = [];
  for (let i = 0; i < dataset.length; i++) {
    const reason = skipped(i);
    if (reason !== undefined) own.push([i, reason]);
  }
  for (const list of await ranks.allGatherObject(own))
    for (const [index, reason] of list) skip?.(index, reason);
}
