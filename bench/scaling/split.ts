/** A step taken apart: what was computed, what had to be waited for. Times are in milliseconds. */
import type { CollectiveTimes } from '../../src/distributed/observe.js';

export interface StepTimes {
  readonly began: number;
  readonly ended: number;
  /** When the averages of the gradients were there. */
  readonly averaged: number;
  readonly collectives: readonly CollectiveTimes[];
  readonly rank: number;
}

/** A bucket of gradients. */
export interface BucketTimes {
  readonly bytes: number;
  /** From its values being on the host to the last bucket's, which is the end of backward. */
  readonly ahead: number;
  readonly moving: number;
}

export interface Split {
  readonly wall: number;
  /** The step without `exposed`: forward, backward, optimizer, recording and reading. */
  readonly compute: number;
  /** The GPU had nothing to do until values came: `waiting` and `moving`. */
  readonly exposed: number;
  /** Of `exposed`: until the other ranks had called the same (and all knew). */
  readonly waiting: number;
  /** Of `exposed`: MPI moved and summed, the host divided. */
  readonly moving: number;
  /** Part of the gradients' moving that was over before backward was. */
  readonly hidden: number;
  readonly buckets: readonly BucketTimes[];
}

interface Span {
  readonly from: number;
  readonly to: number;
}

const overlap = (a: Span, b: Span): number => Math.max(0, Math.min(a.to, b.to) - Math.max(a.from, b.from));
const total = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0);

const isGradient = ({ call }: CollectiveTimes): boolean => call.startsWith('allReduce of ');
const bytesOf = (call: string): number => 4 * Number(/ of (\d+) /.exec(call)?.[1]);

/**
 * The spans in which the GPU had to wait: from the end of backward to the averages, and, where rank 0's
 * buffers are waited for before forward, from the beginning of the step until they have come.
 */
function exposures({ began, averaged, collectives, rank }: StepTimes): Span[] {
  const spans: Span[] = [];
  const buffers = collectives.filter(({ call }) => call.startsWith('broadcast of '));
  if (rank !== 0 && buffers.length > 0)
    spans.push({ from: began, to: Math.max(...buffers.map(({ moved }) => moved)) });
  const gradients = collectives.filter(isGradient);
  if (gradients.length > 0)
    spans.push({ from: Math.max(...gradients.map(({ ready }) => ready)), to: averaged });
  return spans;
}

export function splitStep(times: StepTimes): Split {
  const spans = exposures(times);
  const within = (span: Span): number => total(spans.map((exposure) => overlap(span, exposure)));
  const wall = times.ended - times.began;
  const exposed = total(spans.map(({ from, to }) => to - from));
  const waiting = total(times.collectives.map(({ started, met }) => within({ from: started, to: met })));
  const gradients = times.collectives.filter(isGradient);
  const over = Math.max(...gradients.map(({ ready }) => ready));
  const moved = total(gradients.map(({ met, moved }) => moved - met));
  const hidden = total(
    gradients.map(({ met, moved }) => overlap({ from: met, to: moved }, { from: -Infinity, to: over })),
  );
  return {
    wall,
    compute: wall - exposed,
    exposed,
    waiting,
    moving: exposed - waiting,
    hidden: moved > 0 ? hidden / moved : 0,
    buckets: gradients.map(({ call, ready, met, moved }) => ({
      bytes: bytesOf(call),
      ahead: over - ready,
      moving: moved - met,
    })),
  };
}

const mean = (values: readonly number[]): number => total(values) / values.length;

/** The mean of several steps, part by part, so that the parts add up. */
export function meanSplit(steps: readonly Split[]): Split {
  const of = (part: Exclude<keyof Split, 'buckets'>): number => mean(steps.map((step) => step[part]));
  return {
    wall: of('wall'),
    compute: of('compute'),
    exposed: of('exposed'),
    waiting: of('waiting'),
    moving: of('moving'),
    hidden: of('hidden'),
    buckets: (steps[0]?.buckets ?? []).map(({ bytes }, i) => ({
      bytes,
      ahead: mean(steps.map(({ buckets }) => buckets[i]?.ahead ?? NaN)),
      moving: mean(steps.map(({ buckets }) => buckets[i]?.moving ?? NaN)),
    })),
  };
}
