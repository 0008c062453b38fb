/** The command stream: one open encoder with at most one open compute pass, and when it is submitted. */

import type { Chain } from './chain.js';
import type { Commits } from './commits.js';
import { DeviceError, type ErrorLog } from './errors.js';
import type { Gate } from './gate.js';
import type { Target } from '../kernels/base/kernel.js';

/** When a batch is submitted. */
interface Batching {
  /** A batch is submitted at this many dispatches or bytes bound ... */
  readonly dispatches: number;
  readonly bytes: number;
  /** ... and the first one after the GPU fell idle sooner, so that it works while the next is recorded. */
  readonly firstDispatches: number;
  /**
   * With this many submits unfinished the batch grows instead, up to `maxDispatches`: the GPU has enough to
   * do.
   */
  readonly maxInFlight: number;
  readonly maxDispatches: number;
}

/**
 * On a GPU 64 dispatches are a fraction of a millisecond's work, and how many submits are done is learnt only
 * when the event loop turns, which it does not during a step: batches must not wait for that, or the GPU runs
 * dry. A software adapter works for long on each, with the cores that record.
 */
const batching: Readonly<Record<Target['kind'], Batching>> = {
  software: {
    dispatches: 64,
    bytes: 64 * 1024 ** 2,
    firstDispatches: 16,
    maxInFlight: 4,
    maxDispatches: 512,
  },
  gpu: {
    dispatches: 64,
    bytes: 1024 ** 3,
    firstDispatches: 16,
    maxInFlight: Infinity,
    maxDispatches: 64,
  },
};
/** A batch that is held back is submitted at this many all the same. */
const maxHeld = 2048;

export class CommandStream {
  /** Number of the open (or next) encoder; a buffer whose last use equals it is in unsubmitted work. */
  serial = 1;
  pass: GPUComputePassEncoder | undefined;
  /** What the open pass has set. */
  pipeline: GPUComputePipeline | undefined;
  group: GPUBindGroup | undefined;
  private held = false;
  private uncut = 0;
  private encoder: GPUCommandEncoder | undefined;
  private ops: string[] = [];
  private bytes = 0;
  private inFlight = 0;
  private readonly finished = (): void => void this.inFlight--;

  private readonly batching: Batching;

  constructor(
    kind: Target['kind'],
    private readonly device: GPUDevice,
    private readonly errors: ErrorLog,
    private readonly chain: Chain,
    private readonly commits: Commits,
    private readonly hooks: StreamHooks,
    private readonly gate: Gate,
  ) {
    this.batching = batching[kind];
  }

  /** Work is submitted that has not finished. */
  get isBusy(): boolean {
    return this.inFlight > 0;
  }

  beginPass(timestampWrites?: GPUComputePassTimestampWrites): GPUComputePassEncoder {
    this.pass = this.commands().beginComputePass(timestampWrites && { timestampWrites });
    return this.pass;
  }

  endPass(): void {
    if (this.pass === undefined) return;
    this.pass.end();
    this.pass = undefined;
    this.pipeline = undefined;
    this.group = undefined;
  }

  /** The encoder, for commands outside a pass. */
  commands(): GPUCommandEncoder {
    this.endPass();
    if (this.encoder !== undefined) return this.encoder;
    this.encoder = this.device.createCommandEncoder();
    this.chain.handOn(this.encoder, this.serial);
    return this.encoder;
  }

  get hasWork(): boolean {
    return this.encoder !== undefined;
  }

  /** What `fn` (synchronous) records is submitted together, unless it flushes itself. */
  together<R>(fn: () => R): R {
    this.uncut++;
    try {
      return fn();
    } finally {
      this.uncut--;
    }
  }

  /** Lets the open batch grow until something waits for it. */
  hold(): void {
    this.held = true;
  }

  /** Counts a command; true when the batch is due. */
  count(op: string, bytes: number): boolean {
    this.ops.push(op);
    this.bytes += bytes;
    return this.isDue;
  }

  get isDue(): boolean {
    const n = this.ops.length;
    const { dispatches, bytes, firstDispatches, maxInFlight, maxDispatches } = this.batching;
    if (this.uncut > 0) return false;
    if (this.held) return n >= maxHeld;
    if (n < firstDispatches) return this.bytes >= bytes && this.inFlight < maxInFlight;
    if (this.inFlight === 0) return true;
    if (this.inFlight < maxInFlight) return n >= dispatches || this.bytes >= bytes;
    return n >= maxDispatches;
  }

  flush(): void {
    const { encoder, ops, device, serial } = this;
    if (encoder === undefined) return;
    this.endPass();
    this.reset();
    this.hooks.beforeSubmit();
    this.checkCreations(ops);
    if (this.gate.isOpen) {
      this.judge(
        serial,
        ops,
        this.attempt(() => this.gate.submit(encoder.finish())),
      );
    } else this.submitLater(encoder, serial, ops);
    device.pushErrorScope('validation');
    this.serial++;
    this.inFlight++;
    this.gate.onSubmittedWorkDone().then(this.finished, this.finished);
    this.hooks.afterSubmit();
  }

  /** Encodes now, and submits when the gate lets it through. */
  private submitLater(encoder: GPUCommandEncoder, serial: number, ops: readonly string[]): void {
    let commands: GPUCommandBuffer | undefined;
    const encoded = this.attempt(() => (commands = encoder.finish()));
    const submit = (): void => {
      const submitted = commands && this.attempt(() => this.gate.submit(commands as GPUCommandBuffer));
      this.judge(
        serial,
        ops,
        Promise.all([encoded, submitted]).then(([first, then]) => first ?? then ?? null),
      );
    };
    this.gate.pass(submit, () => {
      this.errors.track(encoded.then(() => undefined));
      this.commits.dropped(serial);
    });
  }

  /** Why the device refused `call`, if it did. */
  private attempt(call: () => void): Promise<string | null> {
    const { device } = this;
    device.pushErrorScope('validation');
    let thrown: string | null = null;
    try {
      call();
    } catch (error) {
      thrown = textOf(error);
    }
    return device.popErrorScope().then((error) => error?.message ?? thrown);
  }

  private judge(serial: number, ops: readonly string[], refusal: Promise<string | null>): void {
    this.errors.track(
      refusal.then((text) => {
        if (text === null) return this.commits.passed(serial);
        this.commits.dropped(serial);
        this.errors.record(batchError(text, ops));
      }),
    );
  }

  /** Has what was made so far checked, without a batch. */
  check(): void {
    this.checkCreations([]);
    this.device.pushErrorScope('validation');
  }

  /** Gives up the open batch, which an exception has left half done. */
  discard(): void {
    const { serial } = this;
    try {
      this.endPass();
    } catch {
      // The encoder goes in any case.
    }
    this.pass = undefined;
    this.reset();
    this.commits.dropped(serial);
    this.serial++;
    this.hooks.afterSubmit();
  }

  private reset(): void {
    this.encoder = undefined;
    this.held = false;
    this.ops = [];
    this.bytes = 0;
  }

  /**
   * A scope is open at all times, from the runtime's start on, so that what is made invalid while a batch is
   * recorded (a bind group) is reported with the batch, before what comes of it. The caller opens the next.
   */
  private checkCreations(ops: readonly string[]): void {
    const forget = this.hooks.madeSince();
    this.errors.track(
      this.device.popErrorScope().then((error) => {
        if (error === null) return;
        forget();
        this.errors.record(batchError(error.message, ops));
      }),
    );
  }
}

/** What the runtime does around a submit. */
export interface StreamHooks {
  readonly beforeSubmit: () => void;
  readonly afterSubmit: () => void;
  /** Returns what forgets the objects that were made since the last call. */
  readonly madeSince: () => () => void;
}

const textOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

/** Objects carry their op's name as a label, which Dawn quotes; otherwise the batch's ops are named. */
function batchError(message: string, ops: readonly string[]): DeviceError {
  const names = [...new Set(ops)];
  const op = names.find((name) => message.includes(`"${name}"`));
  const where = op ?? (names.length > 6 ? `${names.slice(0, 6).join(', ')}, ...` : names.join(', '));
  return new DeviceError(`GPU validation error in ${where || 'a copy'}: ${message}`, op ?? names[0]);
}
