/**
 * Ranks with fewer batches than others (`DistributedDataParallel.join`): one that has no more calls what the
 * others call, with gradients of zero, until all have none.
 */
import { noGrad } from '../autograd/mode.js';
import { zeros } from '../ops/index.js';
import type { Tensor } from '../tensor/tensor.js';
import type { Bucket } from './buckets.js';
import { broadcastInStream } from './collectives.js';
import { checkReduced, GradBucket, GradFuture } from './comm-hooks.js';
import { groupFor } from './process.js';
import { byType, flatten, readFlat, spread, wireOf, writeFlats } from './wire.js';

export interface JoinOptions {
  /**
   * Gradients are divided by the number of all ranks (default true), or by that of those which still have
   * batches.
   */
  readonly divideByInitialWorldSize?: boolean;
}

/** What ranks tell each other at the beginning of each forward pass; 0 where there are no more batches. */
const flags = { active: 1, averages: 2, shares: 4 } as const;

/** By rank. */
type Round = Int32Array;

const lowest = (round: Round): number => round.findIndex((flag) => flag !== 0);
const countOf = (round: Round): number => round.filter((flag) => flag !== 0).length;

/** What a model's passes send. */
interface Sent {
  readonly buckets: readonly Bucket[];
  readonly hook: (bucket: GradBucket) => unknown;
  readonly buffers: readonly Tensor[];
  readonly state: readonly Tensor[];
  /** Parameters whose use is told after each pass; null where it is not. */
  readonly told: number | null;
}

/** @internal */
export class Joining {
  private last: Promise<Round> | null = null;

  constructor(private readonly byAll: boolean) {}

  /** A forward pass begins. */
  announce(averages: boolean, shares: boolean): void {
    const flag = flags.active + (averages ? flags.averages : 0) + (shares ? flags.shares : 0);
    this.last = this.tell(flag);
    // What follows in the pass has the same error.
    this.last.catch(() => undefined);
  }

  private async tell(flag: number): Promise<Round> {
    return groupFor('join').allGather(Int32Array.of(flag), 'int32');
  }

  private get round(): Promise<Round> {
    if (this.last === null) throw new Error('internal: no forward pass was announced');
    return this.last;
  }

  /** The buffers of the first rank that still has batches, for all that have. */
  share(buffers: readonly Tensor[]): void {
    const group = groupFor('join');
    for (const list of byType(buffers)) {
      const flat = flatten(list);
      const values = group.broadcast(readFlat(flat), wireOf(flat), this.round.then(lowest));
      writeFlats(
        values.then((all) => [all]),
        [flat],
      );
      spread(flat, list);
      flat.dispose();
    }
  }

  /** What a mean over all ranks must be multiplied by. */
  async scale(): Promise<number> {
    return this.byAll ? 1 : groupFor('join').worldSize / countOf(await this.round);
  }

  get scales(): boolean {
    return !this.byAll;
  }

  /** Goes along until no rank has batches, then gives all the state of one that had the last one. */
  async finish(sent: Sent): Promise<void> {
    let before = this.last === null ? null : await this.last;
    for (;;) {
      const round = await this.tell(0);
      if (round.every((flag) => flag === 0)) break;
      before = round;
      await this.shadow(round, sent);
    }
    if (before === null) return;
    const source = lowest(before);
    await Promise.all(byType(sent.state).map((list) => broadcastInStream('join', list, source)));
  }

  /** The calls of one pass. */
  private async shadow(round: Round, { buckets, hook, buffers, told }: Sent): Promise<void> {
    const group = groupFor('join');
    const first = lowest(round);
    const flag = round[first] as number;
    const calls: Promise<unknown>[] = [];
    if ((flag & flags.shares) !== 0)
      for (const list of byType(buffers)) {
        const flat = flatten(list);
        calls.push(group.broadcast(readFlat(flat), wireOf(flat), Promise.resolve(first)));
        flat.dispose();
      }
    if ((flag & flags.averages) !== 0) {
      buckets.forEach(({ parameters }, i) => {
        const count = parameters.reduce((n, parameter) => n + parameter.numel(), 0);
        const flat = noGrad(() => zeros([count]).keep());
        const reduced = checkReduced(
          noGrad(() => hook(new GradBucket(i, i === buckets.length - 1, parameters, flat))),
          flat,
        );
        if (reduced instanceof GradFuture) calls.push(reduced.values);
        else if (reduced !== flat) reduced.dispose();
        flat.dispose();
      });
      if (told !== null) calls.push(group.allReduce(new Int32Array(told), 'int32', 'sum'));
    }
    await Promise.all(calls);
  }
}
