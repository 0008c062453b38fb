/**
 * Memory for loops that ask for the same again and again. Buffers cannot be parts of a larger one (WebGPU
 * lets no dispatch read one part of a buffer and write another), so which requests share a buffer decides how
 * many bytes lie idle. First come, first served wastes a quarter and more of a training step; once steps have
 * repeated, it can be planned.
 */

/** A buffer that several requests of a step use in turn; whoever follows the plan keeps it here. */
export class Slot<Block> {
  block: Block | null = null;
  idle = false;

  constructor(readonly bytes: number) {}
}

interface Request {
  readonly bytes: number;
  /**
   * How many requests had been made since the step began when it was given back; Infinity while it is held.
   */
  freedAt: number;
}

/** What a buffer's request was, while steps are recorded. */
export interface Ticket {
  readonly request: Request;
  /** Count of requests at the beginning of its step. */
  readonly stepStart: number;
}

/** Smaller requests are not worth a plan. */
const plannedBytes = 16 * 1024;
/** A plan of more requests takes too long to make. */
const maxRequests = 20_000;
/** Steps in a row that may differ before the plan is given up. */
const maxMisses = 3;

export class MemoryPlan<Block> {
  /** Slots of the plan; empty while there is none. */
  slots: readonly Slot<Block>[] = [];
  private assigned: readonly (Slot<Block> | null)[] | null = null;
  private planned: readonly number[] = [];
  private current: Request[] = [];
  private previous: Request[] = [];
  private made = 0;
  private stepStart = 0;
  private followed = true;
  private misses = 0;

  /** @param fits may a buffer of this capacity hold a request of so many bytes? */
  constructor(private readonly fits: (bytes: number, capacity: number) => boolean) {}

  /** Has this step asked for what was planned so far? */
  get isFollowed(): boolean {
    return this.followed;
  }

  /** The slot planned for the next request, if any. Called for every request, in order. */
  next(bytes: number): Slot<Block> | null {
    const at = this.made++ - this.stepStart;
    if (this.assigned === null || !this.followed) return null;
    if (this.planned[at] === bytes) return this.assigned[at] ?? null;
    this.followed = false;
    return null;
  }

  /** Notes the request that {@link next} was asked about; null while none is recorded. */
  record(bytes: number): Ticket | null {
    if (this.assigned !== null || this.current.length > maxRequests) return null;
    const request = { bytes, freedAt: Infinity };
    this.current.push(request);
    return { request, stepStart: this.stepStart };
  }

  freed({ request, stepStart }: Ticket): void {
    request.freedAt = this.made - stepStart;
  }

  /**
   * A step of training is over.
   *
   * @returns what became of the plan: `followed` to the end, `made` or `dropped` just now, or none of these
   */
  endStep(): 'followed' | 'made' | 'dropped' | 'none' {
    const length = this.made - this.stepStart;
    this.stepStart = this.made;
    if (this.assigned !== null) {
      const followed = this.followed && length === this.assigned.length;
      this.followed = true;
      this.misses = followed ? 0 : this.misses + 1;
      if (followed) return 'followed';
      if (this.misses < maxMisses) return 'none';
      this.assigned = null;
      this.misses = 0;
      return 'dropped';
    }
    const { previous, current } = this;
    this.previous = current;
    this.current = [];
    const repeats =
      current.length > 0 &&
      current.length <= maxRequests &&
      previous.length === current.length &&
      previous.every(({ bytes }, i) => bytes === (current[i] as Request).bytes);
    if (!repeats) return 'none';
    this.previous = [];
    this.planned = previous.map(({ bytes }) => bytes);
    this.make(previous);
    return 'made';
  }

  /**
   * Largest first, each request takes the buffer that fits best of those that are free in its time, or a new
   * one (the greedy assignment by size of Pisarchyk & Lee 2020, https://arxiv.org/abs/2001.03288), on the
   * circle of a repeating step.
   */
  private make(requests: readonly Request[]): void {
    const length = requests.length;
    interface Interval {
      readonly from: number;
      readonly to: number;
    }
    const meet = (a: Interval, b: Interval): boolean => {
      for (const turn of [-length, 0, length]) if (a.from < b.to + turn && b.from + turn < a.to) return true;
      return false;
    };
    const users: { slot: Slot<Block>; intervals: Interval[] }[] = [];
    const assigned = new Array<Slot<Block> | null>(length).fill(null);
    const order = requests
      .map(({ bytes, freedAt }, from) => ({ bytes, from, to: freedAt }))
      // What outlives the next step as well is no part of the circle.
      .filter(({ bytes, from, to }) => bytes >= plannedBytes && to - from < length)
      .sort((a, b) => b.bytes - a.bytes || b.to - b.from - (a.to - a.from));
    for (const request of order) {
      // Buffers come in falling size: the last that is free fits best.
      const free = users.findLast(
        ({ slot, intervals }) =>
          this.fits(request.bytes, slot.bytes) && !intervals.some((interval) => meet(interval, request)),
      );
      if (free !== undefined) {
        free.intervals.push(request);
        assigned[request.from] = free.slot;
      } else {
        const slot = new Slot<Block>(Math.ceil(request.bytes / 16) * 16);
        users.push({ slot, intervals: [request] });
        assigned[request.from] = slot;
      }
    }
    this.slots = users.map(({ slot }) => slot);
    this.assigned = assigned;
  }
}
