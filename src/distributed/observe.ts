/** Where the time of collectives goes, for a benchmark that asks. Nothing is kept or called otherwise. */

/** @internal One collective on this rank, in milliseconds of `performance.now()`. */
export interface CollectiveTimes {
  /** What was called, with its size. */
  readonly call: string;
  /** The program came to it ... */
  readonly asked: number;
  /** ... its values were on the host ... */
  readonly ready: number;
  /** ... and the calls before it were done; all ranks had called the same; the data had moved. */
  readonly started: number;
  readonly met: number;
  readonly moved: number;
}

/** @internal */
export interface Observer {
  collective(times: CollectiveTimes): void;
  /** The averages of a backward pass are on the host: what waits for them in front of the GPU goes on. */
  averaged(at: number): void;
}

let observer: Observer | null = null;

/** @internal Tells `of` about every collective from now on; null tells nobody. */
export function observe(of: Observer | null): void {
  observer = of;
}

/** @internal */
export const observing = (): Observer | null => observer;
