/** GPU time per kernel: timestamp queries around each dispatch, or the times at which submits complete. */

import type { Gate } from './gate.js';
import { bufferUsage } from './pool.js';
import { currentTrail, type HostSpan, type Phase } from './trail.js';

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

/** One dispatch. */
export interface ProfiledDispatch {
  /** The kernel's name. */
  readonly name: string;
  /** The module that it was recorded in, or in whose backward; '' outside of modules. */
  readonly path: string;
  readonly phase: Phase;
  /** When it was recorded, in milliseconds of `performance.now()`. */
  readonly recordedMs: number;
  /**
   * When the GPU began it, on the same clock. The GPU's own clock is shifted so that nothing begins before it
   * was recorded: distances are exact, the beginning of the whole is not.
   */
  readonly startMs: number;
  readonly ms: number;
}

/** What `runtime().profile` measures. */
export interface DeviceProfile<T> {
  /** What the function returned. */
  readonly result: T;
  /** A row per kernel, the one that took longest first. */
  readonly rows: ProfileRow[];
  /** In the order of recording. */
  readonly dispatches: readonly ProfiledDispatch[];
  /** Module calls, tape nodes and ranges, in the order of their ends. */
  readonly spans: readonly HostSpan[];
  /** From the call to the end of the last dispatch's work, as the host saw it, in milliseconds. */
  readonly wallMs: number;
}

type Recorded = Pick<ProfiledDispatch, 'name' | 'path' | 'phase' | 'recordedMs'>;

function recorded(name: string): Recorded {
  const trail = currentTrail();
  return { name, path: trail?.path ?? '', phase: trail?.phase ?? 'forward', recordedMs: performance.now() };
}

export abstract class Profiler {
  readonly dispatches: ProfiledDispatch[] = [];
  abstract readonly source: ProfileRow['source'];
  /** Ends the measurement; all work must have been submitted. */
  abstract finish(): Promise<void>;

  /** Longest first. */
  rows(): ProfileRow[] {
    const totals = new Map<string, { calls: number; ms: number }>();
    for (const { name, ms } of this.dispatches) {
      const total = totals.get(name);
      if (total) {
        total.calls++;
        total.ms += ms;
      } else {
        totals.set(name, { calls: 1, ms });
      }
    }
    return [...totals]
      .map(([name, { calls, ms }]) => ({ name, calls, ms, source: this.source }))
      .sort((a, b) => b.ms - a.ms);
  }
}

const queriesPerSet = 4096;

interface Segment {
  readonly queries: GPUQuerySet;
  readonly entries: Recorded[];
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
    if (!segment || segment.readback || segment.entries.length * 2 === queriesPerSet) {
      this.close();
      segment = {
        queries: this.device.createQuerySet({ label: 'profile', type: 'timestamp', count: queriesPerSet }),
        entries: [],
        resolve: undefined,
        readback: undefined,
      };
      this.segments.push(segment);
    }
    const index = 2 * (segment.entries.push(recorded(name)) - 1);
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
    const count = 2 * segment.entries.length;
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
    const timed: (Recorded & { startMs: number; ms: number })[] = [];
    let origin: bigint | undefined;
    for (const { queries, entries, resolve, readback } of this.segments) {
      if (!readback) continue;
      await readback.mapAsync(1 /* GPUMapMode.READ */);
      const times = new BigUint64Array(readback.getMappedRange());
      entries.forEach((entry, i) => {
        const [from, to] = [times[2 * i]!, times[2 * i + 1]!];
        origin ??= from;
        // Clocks of some drivers step back by a tick between two queries.
        timed.push({
          ...entry,
          startMs: Number(from - origin) / 1e6,
          ms: Math.max(0, Number(to - from) / 1e6),
        });
      });
      resolve?.destroy();
      readback.destroy();
      queries.destroy();
    }
    const shift = timed.reduce(
      (most, { recordedMs, startMs }) => Math.max(most, recordedMs - startMs),
      -Infinity,
    );
    for (const entry of timed) this.dispatches.push({ ...entry, startMs: entry.startMs + shift });
  }
}

export class WallClockProfiler extends Profiler {
  readonly source = 'wallclock';
  private last = 0;
  private readonly pending: Promise<void>[] = [];

  constructor(private readonly gate: Gate) {
    super();
  }

  /** Called after the submit that holds one dispatch of `name` only. */
  submitted(name: string): void {
    const entry = recorded(name);
    this.pending.push(
      this.gate.onSubmittedWorkDone().then(() => {
        const now = performance.now();
        const startMs = Math.max(entry.recordedMs, this.last);
        this.dispatches.push({ ...entry, startMs, ms: now - startMs });
        this.last = now;
      }),
    );
  }

  async finish(): Promise<void> {
    await Promise.all(this.pending);
  }
}
