/**
 * What a function asked of the runtime, to be asked for again without the function: dispatches with their
 * bind groups and parameters, copies, and calls on the host in between. The memory that it took stays its
 * own.
 */

import type { BindGroupEntry, BufferArg } from './bindgroups.js';
import type { Encoder } from './encoder.js';
import { DeviceError } from './errors.js';
import { DeviceBuffer, type Block } from './pool.js';
import type { Program } from './programs.js';

export interface RecordedDispatch {
  readonly kind: 'dispatch';
  readonly program: Program;
  readonly entry: BindGroupEntry;
  /** As packed; words of a random key are set anew. */
  readonly params: Uint32Array<ArrayBuffer> | undefined;
  readonly grid: readonly [number, number, number];
}

export interface RecordedCopy {
  readonly kind: 'copy';
  readonly src: DeviceBuffer;
  readonly srcOffset: number;
  readonly dst: DeviceBuffer;
  readonly dstOffset: number;
  readonly bytes: number;
}

export interface RecordedClear {
  readonly kind: 'clear';
  readonly buffer: DeviceBuffer;
  readonly offset: number;
  readonly bytes: number;
}

export type Recorded =
  | RecordedDispatch
  | RecordedCopy
  | RecordedClear
  /** Host code, run again: an optimizer's step, a schedule. */
  | { readonly kind: 'host'; readonly run: () => void };

/** A number that launches were given and that is another one in each run, word by word. */
interface Draw {
  readonly words: () => readonly number[];
  readonly places: { readonly params: Uint32Array; readonly at: number }[];
  readonly found: readonly number[];
}

export class Recording {
  /** @param owner the runtime that it was recorded on */
  constructor(readonly owner: object) {}

  readonly steps: Recorded[] = [];
  /** Memory that was taken while it was recorded. */
  readonly own = new Set<Block>();
  /** Buffers from outside. */
  private readonly others = new Map<Block, DeviceBuffer>();
  /** Hold what the host uploaded, for as long as it may be run. */
  private readonly constants: DeviceBuffer[] = [];
  private readonly draws: Draw[] = [];
  /** What has to hold for it to be run again. */
  private readonly guards: (() => boolean)[] = [];
  /** What is done before it is run again, by what it is done to. */
  private readonly before = new Map<object, () => void>();
  private readonly dropped = new WeakSet<object>();
  private readonly held: { release(): void }[] = [];
  /** Why it cannot be run again, if it cannot. */
  refused: string | null = null;
  private suspended = 0;

  /** Nothing is noted while host code runs that will run again by itself. */
  get isSuspended(): boolean {
    return this.suspended > 0;
  }

  /** Runs `run` now, and again in each replay. */
  host<R>(run: () => R): R {
    if (this.isSuspended) return run();
    this.steps.push({ kind: 'host', run });
    this.suspended++;
    try {
      return run();
    } finally {
      this.suspended--;
    }
  }

  allocated(buffer: DeviceBuffer): void {
    if (!this.isSuspended) this.own.add(buffer.block);
  }

  dispatched(
    program: Program,
    entry: BindGroupEntry,
    buffers: readonly BufferArg[],
    grid: RecordedDispatch['grid'],
  ): void {
    if (this.isSuspended) return;
    const params = program.params && new Uint32Array(program.params.buffer.slice(0));
    this.steps.push({ kind: 'dispatch', program, entry, params, grid });
    for (const arg of buffers) this.use(arg instanceof DeviceBuffer ? arg : arg.buffer);
    if (params === undefined) return;
    for (const { found, places } of this.draws) {
      for (let at = 0; at + found.length <= params.length; at++)
        if (found.every((word, i) => params[at + i] === word)) places.push({ params, at });
    }
  }

  copied(step: Omit<RecordedCopy, 'kind'>): void {
    if (this.isSuspended) return;
    this.steps.push({ kind: 'copy', ...step });
    this.use(step.src);
    this.use(step.dst);
  }

  cleared(step: Omit<RecordedClear, 'kind'>): void {
    if (this.isSuspended) return;
    this.steps.push({ kind: 'clear', ...step });
    this.use(step.buffer);
  }

  /**
   * The host uploads into `buffer`. Memory of its own may hold something else before and after, so each run
   * copies the data there anew, from where `keep` puts it; into memory from outside it uploads never.
   */
  written(buffer: DeviceBuffer, offset: number, keep: () => DeviceBuffer): void {
    if (this.isSuspended) return;
    if (!this.own.has(buffer.block)) {
      this.refuse(`it uploads into '${buffer.label}'`);
      return;
    }
    const src = keep();
    this.constants.push(src);
    this.copied({ src, srcOffset: 0, dst: buffer, dstOffset: offset, bytes: Math.ceil(src.bytes / 4) * 4 });
  }

  /** It may be run again only while `holds`. */
  guard(holds: () => boolean): void {
    this.guards.push(holds);
  }

  /** As {@link guard}, for the gradient of `leaf`, unless the recording drops that itself before. */
  guardGrad(leaf: object, holds: () => boolean): void {
    if (!this.dropped.has(leaf)) this.guards.push(holds);
  }

  /** The gradient of `leaf` is dropped, in each replay too. */
  clears(leaf: object): void {
    this.dropped.add(leaf);
  }

  /** Runs `run` in each replay, at this place; what it does has been done now. */
  later(run: () => void): void {
    if (!this.isSuspended) this.steps.push({ kind: 'host', run });
  }

  /** Before it is run again `run` is called, once for each `subject`. */
  prepare(subject: object, run: () => void): void {
    if (!this.isSuspended && !this.before.has(subject)) this.before.set(subject, run);
  }

  /** `thing` is released with the recording. */
  hold(thing: { release(): void }): void {
    this.held.push(thing);
  }

  /** It cannot be run again. */
  refuse(why: string): void {
    if (!this.isSuspended) this.refused ??= why;
  }

  /** Launches get the `words` that it gives now, and in each replay those that it gives then. */
  drawn(words: () => readonly number[]): readonly number[] {
    const found = words();
    if (!this.isSuspended) this.draws.push({ words, found, places: [] });
    return found;
  }

  /** Asks for everything again; `serial` is that of the open batch. */
  run(encoder: Encoder, serial: () => number): void {
    for (const run of this.before.values()) run();
    this.redraw();
    for (const step of this.steps) {
      if (step.kind === 'dispatch') {
        const { program, entry, params, grid } = step;
        encoder.makeRoom(program);
        encoder.dispatch(program, entry, params?.buffer, ...grid);
      } else if (step.kind === 'copy') {
        encoder.copy(step.src, step.srcOffset, step.dst, step.dstOffset, step.bytes);
      } else if (step.kind === 'clear') {
        encoder.clear(step.buffer, step.offset, step.bytes);
      } else {
        // It may upload or free, for which the batch has to be known that used what.
        this.usedBy(serial());
        step.run();
      }
    }
    this.usedBy(serial());
  }

  private redraw(): void {
    for (const { words, places } of this.draws) {
      const now = words();
      for (const { params, at } of places) params.set(now, at);
    }
  }

  /** Ends the recording. */
  close(): void {
    if (this.draws.some(({ places }) => places.length === 0))
      this.refuse('it draws random numbers on the host');
  }

  /** Whether all that it uses is still there, and nothing has changed that it took for granted. */
  get isUsable(): boolean {
    if (!this.guards.every((holds) => holds())) return false;
    for (const buffer of this.others.values()) if (!buffer.live) return false;
    for (const block of this.own) if (block.broken) return false;
    for (const step of this.steps) if (step.kind === 'dispatch' && step.program.pipeline.error) return false;
    return true;
  }

  private usedBy(serial: number): void {
    for (const block of this.own) block.lastUse = serial;
    for (const block of this.others.keys()) block.lastUse = serial;
  }

  /** Whether a launch binds `buffer`, which is from outside. */
  uses(buffer: DeviceBuffer): boolean {
    return this.others.has(buffer.block);
  }

  private use(buffer: DeviceBuffer): void {
    if (!this.own.has(buffer.block)) this.others.set(buffer.block, buffer);
  }

  /** Gives back what only it has kept. */
  release(free: (buffer: DeviceBuffer) => void): void {
    for (const thing of this.held) thing.release();
    this.constants.splice(0).forEach(free);
  }

  private reads = false;

  /**
   * A value is asked for while it is made. The read itself is answered: whoever has its promise may have let
   * go of it, and nobody would handle that it rejects.
   */
  noteRead(): void {
    if (!this.isSuspended) this.reads = true;
  }

  /** @throws DeviceError: a value was asked for while it was made */
  checkReads(): void {
    if (!this.reads) return;
    throw new DeviceError(
      'compile: the function reads a value while it is recorded; return the tensor and read it outside.',
      'compile',
    );
  }
}
