/** What a step on several ranks takes, from what an all-reduce takes: latency + bytes / bandwidth, and overlap. */

/** An all-reduce between two ranks takes `latency` + bytes / `bandwidth` milliseconds. */
export interface Link {
  /** Milliseconds. */
  readonly latency: number;
  /** Bytes a millisecond. */
  readonly bandwidth: number;
}

export interface AllReduceTime {
  readonly bytes: number;
  readonly ms: number;
}

/** The least squares of the relative errors, so that small messages count as much as large ones. */
export function fitLink(times: readonly AllReduceTime[]): Link {
  // Minimises the sum of ((a + b x) / y - 1)^2: a line through (1 / y, x / y) and 1.
  let [uu, uv, vv, u, v] = [0, 0, 0, 0, 0];
  for (const { bytes, ms } of times) {
    const [p, q] = [1 / ms, bytes / ms];
    uu += p * p;
    uv += p * q;
    vv += q * q;
    u += p;
    v += q;
  }
  const determinant = uu * vv - uv * uv;
  if (!(determinant > 0)) throw new Error('fitLink: needs the times of at least two sizes');
  const slope = (uu * v - uv * u) / determinant;
  if (!(slope > 0)) throw new Error('fitLink: larger messages were not slower; measure more of them');
  // Below what a clock can tell, a latency is none.
  return { latency: Math.max(0, (vv * u - uv * v) / determinant), bandwidth: 1 / slope };
}

/**
 * What each rank sends at least (and a ring does) to sum `bytes` over `ranks`: Patarasuk & Yuan 2009,
 * https://doi.org/10.1016/j.jpdc.2008.09.002.
 */
export const leastBytes = (ranks: number, bytes: number): number => (2 * (ranks - 1) * bytes) / ranks;

/** Milliseconds of a ring: 2 (ranks - 1) turns, of which two ranks have two. */
export const allReduceMs = ({ latency, bandwidth }: Link, ranks: number, bytes: number): number =>
  ranks === 1 ? 0 : latency * (ranks - 1) + leastBytes(ranks, bytes) / bandwidth;

export interface Bucket {
  readonly bytes: number;
  /** Milliseconds before the end of backward at which it is complete. */
  readonly ahead: number;
}

/** Milliseconds after the end of backward at which the last of `buckets`, which go one by one, is summed. */
export function exposedMs(buckets: readonly Bucket[], link: Link, ranks: number): number {
  let free = -Infinity;
  for (const { bytes, ahead } of buckets) free = Math.max(free, -ahead) + allReduceMs(link, ranks, bytes);
  return Math.max(0, free);
}

/** A step alone as a unit of time: `ahead` are parts of it. */
export type Shape = readonly Bucket[];

/** Part of the time that a rank computes, of a step that alone takes `step` milliseconds. */
export function efficiency(shape: Shape, step: number, link: Link, ranks: number): number {
  const buckets = shape.map(({ bytes, ahead }) => ({ bytes, ahead: ahead * step }));
  return step / (step + exposedMs(buckets, link, ranks));
}

/** The shortest step, in milliseconds, that is computing for `part` of its time. */
export function shortestStep(shape: Shape, link: Link, ranks: number, part: number): number {
  let [low, high] = [0, 1];
  while (efficiency(shape, high, link, ranks) < part) high *= 2;
  // Longer steps hide more.
  for (let i = 0; i < 60; i++) {
    const middle = (low + high) / 2;
    if (efficiency(shape, middle, link, ranks) < part) low = middle;
    else high = middle;
  }
  return high;
}
