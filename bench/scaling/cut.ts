/** A link is cut in the middle of a step: what each rank says, and when it has ended. */
import type { Hosts } from './hosts.js';
import { ends, launch, sleep } from './launch.js';

export interface CutResult {
  /** The host whose link it was, and milliseconds of training until then. */
  readonly host: number;
  readonly wait: number;
  readonly ranks: readonly {
    readonly rank: number;
    /** Until it has ended; infinite where it did not within the limit. */
    readonly ms: number;
    /** The lines that say why, and all that it has printed. */
    readonly said: readonly string[];
    readonly text: string;
  }[];
  readonly launcherMs: number;
}

export async function cutLink(
  program: string,
  hosts: Hosts,
  { host, wait, limit }: { host: number; wait: number; limit: number },
): Promise<CutResult> {
  const ranks = hosts.names.length;
  const args = ['steps', 'resnet18', '4', '64', '100000', 'ddp'];
  // Open MPI's launcher waits for its daemons.
  const job = launch({ ranks, program, args, hosts, limit: 200_000 });
  const all = Array.from({ length: ranks }, (_, rank) => rank);
  const pids = await Promise.all(all.map((rank) => job.pid(rank)));
  while (all.some((rank) => !job.text(rank).includes('training'))) await sleep(10);
  await sleep(wait);
  hosts.cut(host);
  const began = performance.now();
  const launcher = job.ended.then(() => performance.now() - began);
  const times = await ends(pids, began, limit);
  const said = all.map((rank) => job.text(rank).match(/^.*cannot go on.*$/gm) ?? []);
  const launcherMs = await Promise.race([launcher, sleep(limit).then(() => Infinity)]);
  job.kill();
  for (const pid of pids)
    try {
      process.kill(pid, 'SIGKILL');
    } catch {
      // It has ended.
    }
  return {
    host,
    wait,
    ranks: all.map((rank) => ({
      rank,
      ms: times[rank] as number,
      said: said[rank] as string[],
      text: job.text(rank),
    })),
    launcherMs,
  };
}
