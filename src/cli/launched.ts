/** How the process of a rank speaks and ends. */
import { shownError, type Streams } from './output.js';
import { plainest } from './errors.js';
import { joinRanks, launchedRank, sharedCommands, type CommandRanks } from './ranks.js';

/** The ranks of a command that shares its work; an Error where there must be some and cannot. */
export async function findRanks(args: readonly string[]): Promise<CommandRanks | Error | null> {
  if (!sharedCommands.includes(args[0] ?? '')) return null;
  try {
    return await joinRanks();
  } catch (error) {
    return plainest(error);
  }
}

/** Every process has the same to say. */
export function reportLaunch(error: Error): number {
  if (launchedRank() === 0) process.stderr.write(shownError(error.message));
  return 1;
}

/**
 * Rank 0's are its process's, without bars: launchers give a rank a terminal also where there is none. The
 * others speak only where rank 0 is lost.
 */
export const streamsOf = (ranks: CommandRanks): Streams =>
  ranks.rank === 0 ? plainStreams : quietStreams(ranks);

const plainStreams: Streams = {
  stdout: { write: (text) => process.stdout.write(text) },
  stderr: { write: (text) => process.stderr.write(text) },
};

const quietStreams = (ranks: CommandRanks): Streams => ({
  stdout: { write: () => true },
  stderr: {
    write: (text: string) =>
      ranks.rank === 1 && ranks.lost() && text.includes('rank 0 (') ? process.stderr.write(text) : true,
  },
});

/** Rank 0 gives the exit status for all that have met; a launcher reports the first that is not 0. */
export const statusFor = (ranks: CommandRanks | null, status: number): number =>
  ranks !== null && ranks.rank > 0 && !ranks.lost() ? 0 : status;
