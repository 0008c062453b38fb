/** @internal What the command needs of the ranks, beyond what programs do. */
import type { Group } from './group.js';
import { groupFor, init } from './process.js';

export { ranksFor } from './collectives.js';
export { DistributedDataParallel, share } from './data-parallel.js';
export { RankFailure } from './group.js';

/** @internal `init()`, for a program that says itself what it ends with. */
export async function join(): Promise<Group> {
  await init();
  const group = groupFor('kindling');
  group.speakForItself();
  return group;
}
