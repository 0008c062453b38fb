/** GPU time per kernel: timestamp queries around each dispatch, or the times at which submits complete. */

import { bufferUsage } from './pool.js';

export interface ProfileRow {
  /** The kernel's name. */
  readonly name: string;
  readonly calls: number;
  /** GPU time of all calls, in milliseconds. */
  readonly ms: number;
  /**
   * `timestamp`: measured on the GPU. `wallclock`: from one submit's completion to the next, as the host
   * saw it, because the adapter has no timestamp queries; good for long kernels only.
   */
  readonly source: 'timestamp' | 'wallclock';
}

interface Total {
  calls: number;
  ms: number;
}

export abstract class Profiler {
  protected readonly totals = new Map<string, Total>();
  abstract readonly source: ProfileRow['source'];
  /** Ends the measurement; all work must have been submitted. */
  abstract finish(): Promise<void>;

  protected add(name: string, ms: number): void {
    const total = this.totals.get(name);
    if (total) {
      total.calls++;
      total.ms += ms;
    } else {
      this.totals.set(name, { calls: 1, ms });
    }
  }

  /** Longest first. */
  rows(): ProfileRow[] {
    return [...this.totals]
      .map(([name, { calls, ms }]) => ({ name, calls, ms, source: this.source }))
      .sort((a, b) => b.ms - a.ms);
  }
}

const queriesPerSet = 4096;

interface Segment {
  readonly queries: GPUQuerySet;
  readonly names: string[];
  resolve: GPUBuffer | undefined;
  readback: GPUBuffer | undefined;
}

export class TimestampProfiler extends Profiler {
  readonly source = 'timestamp';
  private readonly segments: Segment[] = [];

  constructor(
    private readonly device: GPUDevice,
    private readonly commands: () => GPUCommandEncoder,
  ) {
    super();
  }

  /** Timestamps for the pass of one dispatch. */
  writes(name: string): GPUComputePassTimestampWrites {
    let segment = this.segments.at(-1);
    if (!segment || segment.readback || segment.names.length * 2 === queriesPerSet) {
      this.close();
      segment = {
        queries: this.device.createQuerySet({ label: 'profile', type: 'timestamp', count: queriesPerSet }),
        names: [],
        resolve: undefined,
        readback: undefined,
      };
      this.segments.push(segment);
    }
    const index = 2 * (segment.names.push(name) - 1);
    return {
      querySet: segment.queries,
      beginningOfPassWriteIndex: index,
      endOfPassWriteIndex: index + 1,
    };
  }

  /** Records the copy of the last segment's timestamps. */
  close(): void {
    const segment = this.segments.at(-1);
    if (!segment || segment.readback) return;
    const count = 2 * segment.names.length;
    segment.resolve = this.device.createBuffer({
      label: 'profile',
      size: 8 * count,
      usage: bufferUsage.queryResolve | bufferUsage.copySrc,
    });
    segment.readback = this.device.createBuffer({
      label: 'profile',
      size: 8 * count,
      usage: bufferUsage.mapRead | bufferUsage.copyDst,
    });
    const encoder = this.commands();
    encoder.resolveQuerySet(segment.queries, 0, count, segment.resolve, 0);
    encoder.copyBufferToBuffer(segment.resolve, 0, segment.readback, 0, 8 * count);
  }

  async finish(): Promise<void> {
    for (const { queries, names, resolve, readback } of this.segments) {
      if (!readback) continue;
      await readback.mapAsync(1 /* GPUMapMode.READ */);
      const times = new BigUint64Array(readback.getMappedRange());
      // Clocks of some drivers step back by a tick between two queries.
      names.forEach((name, i) =>
        this.add(name, Math.max(0, Number(times[2 * i + 1]! - times[2 * i]!) / 1e6)),
      );
      resolve?.destroy();
      readback.destroy();
      queries.destroy();
    }
  }
}

export class WallClockProfiler extends Profiler {
  readonly source = 'wallclock';
  private last = 0;
  private readonly pending: Promise<void>[] = [];

  constructor(private readonly queue: GPUQueue) {
    super();
  }

  /** Called after the submit that holds one dispatch of `name` only. */
  submitted(name: string): void {
    const start = performance.now();
    this.pending.push(
      this.queue.onSubmittedWorkDone().then(() => {
        const now = performance.now();
        this.add(name, now - Math.max(start, this.last));
        this.last = now;
      }),
    );
  }

  async finish(): Promise<void> {
    await Promise.all(this.pending);
  }
}
